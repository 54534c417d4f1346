"""The dataset of CONTRIBUTING.md, run as it stands there."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import stemtwin as st
from stemtwin.datasets import cards, fetch, verify
from stemtwin.datasets.kinds import GENERATORS
from tests.conftest import ROOT


def blocks(page: str, heading: str, language: str) -> list[str]:
    """Return the code of a language below a heading, up to the next one of its level."""
    level = heading.partition(" ")[0]
    text = re.split(rf"\n#{{2,{len(level)}}} ", (ROOT / page).read_text(encoding="utf-8").partition(heading)[2])[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the card of the walk-through, a file of its own, whose generator was imported from another."""
    (code,), (card,) = (blocks("CONTRIBUTING.md", "### A dataset, walked through", language) for language in ("python", "toml"))
    (tmp_path / "defocus.py").write_text(code, encoding="utf-8")
    (tmp_path / "defocus-1.0.0.toml").write_text(card, encoding="utf-8")
    monkeypatch.setenv("STEMTWIN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("STEMTWIN_DATA_URL", raising=False)
    monkeypatch.setattr(GENERATORS, "_things", dict(GENERATORS._things))
    monkeypatch.setattr(GENERATORS, "_tags", dict(GENERATORS._tags))
    spec = importlib.util.spec_from_file_location("defocus_walkthrough", tmp_path / "defocus.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return tmp_path / "defocus-1.0.0.toml"


def test_the_dataset_of_the_page(walked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Card and generator build where they are first loaded, which is said, and verify.

    Frames near focus are sharper than those far from it, so image and truth belong together.
    """
    images, truth, facts = st.load_arrays(str(walked), size="tiny")
    assert "it is built here in about" in capsys.readouterr().err
    assert (images.shape, images.dtype) == ((6, 32, 32), np.uint16)
    assert len(set(truth["C10_angstrom"])) == 6
    assert set(facts["specimen"]) == {"defocus/0", "defocus/1"}
    card = cards.read_card(walked)
    assert verify.verify(card, fetch.folder_of(card, "tiny"), regenerate=1).rows == 8
    contrast = images.std(axis=(1, 2)) / images.mean(axis=(1, 2))
    for specimen in set(facts["specimen"]):
        rows = np.flatnonzero(facts["specimen"] == specimen)
        far = np.abs(truth["C10_angstrom"][rows])
        assert contrast[rows][far.argmin()] > contrast[rows][far.argmax()]
