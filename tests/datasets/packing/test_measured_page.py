"""The page on measured data: its numbers come out again from the files, and nothing is made where these are absent."""

from pathlib import Path

import numpy as np
import pytest

from tests.measured import page


def test_without_the_files_nothing_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is printed, page and picture stay; the picture is small, and the page shows it."""
    before = page.PAGE.read_bytes(), page.PICTURE.read_bytes()
    page.main([str(tmp_path)])
    assert capsys.readouterr().out.startswith(f"skipped: {tmp_path / page.IMAGE} is not on this machine")
    assert (page.PAGE.read_bytes(), page.PICTURE.read_bytes()) == before
    assert len(before[1]) < 300e3
    assert page.PICTURE.name in before[0].decode()


def test_labels_lie_on_columns() -> None:
    """The labels of Gaussians on a slope are their centres, to a fifth of a pixel, beside the edges of the frame too."""
    step, rng = 0.15, np.random.default_rng(0)
    y, x = np.mgrid[:96, :128]
    centres = np.array([(a, b) for a in np.arange(14.0, 120, 18) for b in np.arange(13.0, 90, 18)]) + rng.uniform(-0.5, 0.5, (30, 2))
    image = 1000 + 2.0 * x + sum(3000 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * 3.0**2)) for a, b in centres)
    found = page.labels_of(image, step)
    assert len(found) == len(centres)
    nearest = np.linalg.norm(found[:, None] - centres, axis=2)
    assert sorted(nearest.argmin(axis=1).tolist()) == list(range(len(centres)))
    assert nearest.min(axis=1).max() < 0.2


@pytest.mark.slow
@pytest.mark.skipif(not (page.REAL / page.IMAGE).is_file(), reason=f"measured files are not at {page.REAL}")
def test_the_numbers_of_the_page_come_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labelled, packed, verified and scored anew, the measured image gives every line of the page."""
    monkeypatch.setenv("STEMTWIN_DATA_DIR", str(tmp_path / "data"))
    lines, _ = page.measure(page.REAL, tmp_path)
    text = page.PAGE.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line not in text] == []
