"""Keys of the cache on disk: they change with the code that decides an operator's numbers, and with no other code."""

import ast
import functools
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache
from stemtwin.twin.instrument.simulation.operator_cache import IMAGE_CODE, SPECTRUM_CODE, TWIN
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.spectra import areal_densities
from stemtwin.twin.physics.engine.kernels import array_cache
from stemtwin.twin.physics.engine.kernels.array_cache import ArrayCache
from stemtwin.twin.physics.engine.operator import imaging_operator, inelastic
from stemtwin.twin.samples.sample import Sample

IMAGES = ("instrument/simulation/operator_cache.py", "instrument/simulation/slice_stacks.py", "physics/engine/operator/imaging_cache.py")
"""Modules that make the operators of images, and their keys."""
SPECTRA = (*IMAGES, "instrument/spectra/areal_densities.py")
"""Modules that make the operators of spectra, and their keys."""
NUMBERLESS = {
    "__init__.py": "a text",
    "checks.py": "settings are refused or passed on",
    "errors.py": "errors end a build",
    "files.py": "arrays are written as they are",
    "progress.py": "progress is reported",
    "registry.py": "names are looked up",
    "samples/": "the key holds the hash of the sample's content",
    "instrument/hardware/": "a profile's detectors and beam enter the key by their values",
    "instrument/scan/": "a scan decides where an operator is built, checked and read, not what it holds",
}
"""Modules, or folders of them, that the makers of operators import but that decide no number of an operator, with the reason."""


def decides(path: PurePosixPath, *, spectra: bool) -> bool:
    """Return whether a file below ``twin/`` decides the numbers of operators."""
    layer, room = path.parts[0], path.parts[1] if len(path.parts) > 2 else ""
    if layer == "physics":
        return room in {"", "engine", "tables"} or (spectra and room == "spectra")
    return layer == "instrument" and room not in {"hardware", "scan", "scope"} and (spectra or room != "spectra")


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of ``twin/`` from which keys are computed, each time from the files as they are then."""
    root = tmp_path / "twin"
    shutil.copytree(TWIN, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(operator_cache, "TWIN", root)
    monkeypatch.setattr(array_cache, "code_digest", array_cache.code_digest.__wrapped__)
    monkeypatch.setattr(array_cache, "_IMPORTED", time.time() + 1e6)
    return root


def edit(path: Path) -> Callable[[], int]:
    """Append a comment to a file; return the function that restores it."""
    content = path.read_bytes()
    path.write_bytes(content + b"# edited\n")
    return lambda: path.write_bytes(content)


# ---- which files count ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("patterns", "spectra"), [(IMAGE_CODE, False), (SPECTRUM_CODE, True)], ids=["images", "spectra"])
@pytest.mark.slow
def test_a_key_changes_with_the_files_that_decide_a_result(copy: Path, patterns: tuple[str, ...], spectra: bool) -> None:
    """For every Python file below ``twin/``: its change moves the digest of the code if and only if it decides numbers."""
    before, changed = operator_cache.code(patterns), set()
    files = sorted(PurePosixPath(path.relative_to(copy).as_posix()) for path in copy.rglob("*.py"))
    for file in files:
        restore = edit(copy / file)
        if operator_cache.code(patterns) != before:
            changed.add(file)
        restore()
    assert operator_cache.code(patterns) == before
    assert changed == {file for file in files if decides(file, spectra=spectra)}
    layers = {file.parts[0] for file in files}
    assert {"physics", "instrument", "samples", "envs"} <= layers  # both kinds of files are there


def test_a_key_changes_with_a_table_of_coefficients(copy: Path) -> None:
    """A table that scattering factors are read from counts for images and spectra; a text elsewhere does not."""
    (copy / "physics" / "tables").mkdir(exist_ok=True)
    digests = [(operator_cache.code(), operator_cache.code(SPECTRUM_CODE))]
    (copy / "physics" / "tables" / "a_table.csv").write_text("1, 2\n")
    digests.append((operator_cache.code(), operator_cache.code(SPECTRUM_CODE)))
    (copy / "physics" / "a_note.txt").write_text("a note\n")
    digests.append((operator_cache.code(), operator_cache.code(SPECTRUM_CODE)))
    assert digests[0][0] != digests[1][0]
    assert digests[0][1] != digests[1][1]
    assert digests[2] == digests[1]


# ---- what the makers of operators import -----------------------------------------------------------------------------------------------


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """Return every name that a file imports at run time, also inside functions, but not under TYPE_CHECKING."""
    queue: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    names: set[str] = set()
    while queue:
        node = queue.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            queue.extend(node.orelse)
        elif isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{name.name}" for name in node.names}
        else:
            queue.extend(ast.iter_child_nodes(node))
    return frozenset(names)


def executed(name: str) -> Iterator[PurePosixPath]:
    """Give the files below ``twin/`` that importing a name runs: its module and the packages above it."""
    if name.startswith("stemtwin.twin."):
        parts = name.split(".")[2:]
        for depth in range(len(parts) + 1):
            stem = PurePosixPath(*parts[:depth])
            yield from (file for file in (stem / "__init__.py", stem.with_suffix(".py") if depth else stem) if (TWIN / file).is_file())


def closure(starts: tuple[str, ...]) -> set[PurePosixPath]:
    """Return all files below ``twin/`` that some of them import, directly or not."""
    found: set[PurePosixPath] = set()
    queue = [PurePosixPath(start) for start in starts]
    while queue:
        file = queue.pop()
        if file not in found:
            found.add(file)
            queue.extend(each for name in imported(TWIN / file) for each in executed(name))
    return found


def uncovered(starts: tuple[str, ...], patterns: tuple[str, ...]) -> set[str]:
    """Return the files that the makers of operators import, that no pattern covers and that no reason excuses."""
    covered = {path.relative_to(TWIN).as_posix() for pattern in patterns for path in TWIN.glob(pattern)}
    files = {file.as_posix() for file in closure(starts)} - covered
    return {file for file in files if not any(file == name or (name.endswith("/") and file.startswith(name)) for name in NUMBERLESS)}


@pytest.mark.parametrize(("starts", "patterns"), [(IMAGES, IMAGE_CODE), (SPECTRA, SPECTRUM_CODE)], ids=["images", "spectra"])
def test_keys_cover_what_the_makers_of_operators_import(starts: tuple[str, ...], patterns: tuple[str, ...]) -> None:
    """Every module below ``twin/`` that makes operators, or that such a module imports, is hashed or has no numbers."""
    assert {PurePosixPath(start) for start in starts} <= closure(starts)
    assert uncovered(starts, patterns) == set()


def test_the_judge_of_imports_finds_what_is_left_out() -> None:
    """Without a pattern the files that it covers are named: the beam's settings, the detectors' weights, the loss models."""
    assert "instrument/settings.py" in uncovered(IMAGES, tuple(each for each in IMAGE_CODE if each != "instrument/*.py"))
    assert "physics/detector_weights.py" in uncovered(IMAGES, tuple(each for each in IMAGE_CODE if each != "physics/*.py"))
    assert "physics/spectra/coreloss.py" in uncovered(SPECTRA, IMAGE_CODE)
    assert all((TWIN / name).exists() for name in NUMBERLESS)


# ---- from key to file ------------------------------------------------------------------------------------------------------------------

UNRELATED = (
    "instrument/scope/knobs.py",
    "instrument/hardware/stage.py",
    "instrument/scan/raster.py",
    "samples/metals.py",
    "envs/families/autofocus_v1.py",
)


def test_an_operator_on_disk_outlives_changes_elsewhere(
    copy: Path, thermal: Sample, beam: Beam, raster: RasterScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator of images is read from disk after a change of code that does not decide it, built anew after one that does."""
    cache, built, build = ArrayCache(tmp_path / "operators", 10**9), [], imaging_operator.build
    monkeypatch.setattr(array_cache, "default_cache", lambda: cache)
    monkeypatch.setattr(imaging_operator, "build", lambda *args, **kwargs: built.append(1) or build(*args, **kwargs))
    request = Request(sample=thermal, beam=beam, scan=raster, detectors=("haadf",), phonons=1, engine="operator")
    plan = make_plan(request)

    def image() -> bytes:
        operator_cache.clear()
        return operator_cache.operator_for(request, plan).image(beam.aberrations).coefficients.tobytes()

    first = image()
    for file in UNRELATED:
        edit(copy / file)
        assert image() == first
    edit(copy / "physics/spectra/coreloss.py")
    assert image() == first
    assert len(built) == 1
    for count, file in enumerate(("physics/potential.py", "instrument/settings.py", "instrument/simulation/plan.py"), start=2):
        restore = edit(copy / file)
        assert image() == first
        assert len(built) == count
        restore()
        assert image() == first
        assert len(built) == count  # the first one is there still
    operator_cache.clear()


def test_a_loss_operator_on_disk_is_built_anew_with_the_loss_models(
    copy: Path, make_perovskite: Callable[..., Sample], beam: Beam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator of spectra outlives changes elsewhere; a change of the loss models rebuilds it, and no operator of images."""
    cache = ArrayCache(tmp_path / "operators", 10**9)
    losses: list[int] = []
    images: list[int] = []
    build, image = inelastic.build, imaging_operator.build
    monkeypatch.setattr(array_cache, "default_cache", lambda: cache)
    monkeypatch.setattr(inelastic, "build", lambda *args, **kwargs: losses.append(1) or build(*args, **kwargs))
    monkeypatch.setattr(imaging_operator, "build", lambda *args, **kwargs: images.append(1) or image(*args, **kwargs))
    sample, scan = make_perovskite(sigma=None), PathScan(positions_angstrom=np.array([[0.0, 0.0], [1.0, 2.0]]))
    channel = areal_densities.LossChannel(name="Ti_L3", numbers=(22,), d50=1.0)

    def seen() -> bytes:
        operator_cache.clear()
        areal_densities._remembered.clear()
        found = areal_densities.densities(sample, beam, scan, [channel], collection_mrad=40.0, engine="operator", phonons="static")
        return found.values.tobytes()

    first = seen()
    for file in UNRELATED:
        edit(copy / file)
    assert seen() == first
    assert (len(losses), len(images)) == (1, 1)
    edit(copy / "physics/spectra/coreloss.py")
    assert seen() == first
    assert (len(losses), len(images)) == (2, 1)
    edit(copy / "physics/potential.py")
    assert seen() == first
    assert (len(losses), len(images)) == (3, 2)
    operator_cache.clear()
    areal_densities._remembered.clear()
