"""Golden values: small results of engines, microscope, environments, dataset and tasks are those recorded."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.golden import __main__ as command
from tests.golden import benchmark, files
from tests.golden.cases import CASES, Case
from tests.golden.tolerances import CLASSES, class_of, compare

TINY = {"dataset-atoms-2d", "task-atoms-2d"}
"""Cases that read the tiny build of `atoms-2d`."""
LARGEST_FOLDER = 1_500_000
each_case = pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else []) for case in CASES.values()]
)


@pytest.mark.filterwarnings("ignore::stemtwin.twin.errors.PhysicsWarning")  # some cases are damped dark fields
@each_case
def test_results_are_those_recorded(case: Case, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Computed again, each array is within its class's tolerance (``golden/tolerances.py``) of the recorded one."""
    if case.name in TINY:
        monkeypatch.setattr(benchmark, "folder", lambda: SimpleNamespace(name=str(request.getfixturevalue("tiny_atoms"))))
    found = compare(case.name, case.compute(), files.read(files.VALUES, case.name))
    assert found
    assert [f"{one.name}: {one.fault}" for one in found if one.refused(exact=False)] == []


def test_each_case_is_recorded_in_a_small_folder() -> None:
    """There is one file per case and no other; all together take less than 1.5 MB."""
    assert files.names(files.VALUES) == set(CASES)
    assert sum(path.stat().st_size for path in files.VALUES.iterdir()) < LARGEST_FOLDER


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_perturbed_array_is_refused(name: str) -> None:
    """Whatever recorded number is changed beyond its tolerance, the comparison refuses that array and no other."""
    recorded = files.read(files.VALUES, name)
    assert [one.name for one in compare(name, recorded, recorded) if one.refused(exact=True)] == []
    for key, values in recorded.items():
        if not values.size or values.dtype.kind not in "iuf" or not np.isfinite(values).any():
            continue
        place = np.unravel_index(np.argmax(np.isfinite(values)), values.shape)
        changed = values.copy()
        step = 2 + int(0.01 * np.nanmax(np.abs(values[np.isfinite(values)].astype(float))))
        changed[place] = values[place].item() + (step if values[place] < step else -step)
        found = compare(name, recorded | {key: changed}, recorded)
        refused = [one.name for one in found if one.refused(exact=class_of(key) == "bits")]
        assert refused == [f"{name}/{key}"]


@pytest.mark.parametrize(
    ("kind", "dtype", "step", "places", "refused"),
    [
        ("truth", np.int64, 1, 1, True),
        ("truth", np.float64, 1e-6, 1, True),
        ("truth", np.float64, 1e-8, 1, False),
        ("expected", np.float32, 2e-3, 1, True),
        ("expected", np.float32, 5e-4, 100, False),
        ("counts", np.uint16, 2, 1, True),
        ("counts", np.uint16, 1, 1, False),
        ("counts", np.uint16, 1, 2, True),
        ("score", np.float64, 2e-4, 1, True),
        ("score", np.float64, 5e-5, 1, False),
        ("bits", np.int64, 1, 100, False),
    ],
)
def test_each_class_has_its_tolerance(kind: str, dtype: type, step: float, places: int, refused: bool) -> None:
    """Truth is equal to 1e-9, signals to 1e-5 of the largest, counts but for one of 100 by one, scores to 1e-6."""
    recorded = np.full(100, 100, dtype)
    changed = recorded.copy()
    changed[:places] += dtype(step)
    (found,) = compare("case", {f"{kind}/a": changed}, {f"{kind}/a": recorded})
    assert not found.equal
    assert found.refused(exact=True)
    assert found.refused(exact=False) is refused


@pytest.mark.parametrize(("places", "refused"), [(10, False), (11, True)])
def test_more_of_large_counts_may_differ(places: int, refused: bool) -> None:
    """Of 100 counts of a million each, ten may differ by one: means that are rounded by 1e-7 draw as many others."""
    recorded = np.full(100, 10**6, np.uint32)
    changed = recorded + (np.arange(100) < places).astype(np.uint32)
    (found,) = compare("case", {"counts/a": changed}, {"counts/a": recorded})
    assert found.refused(exact=False) is refused


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"truth/a": np.zeros(3)},
        {"truth/a": np.zeros(2, np.float32)},
        {"truth/a": np.array([0, np.nan])},
        {"truth/a": np.zeros(2), "truth/b": np.ones(1)},
    ],
)
def test_another_kind_of_array_is_refused(changed: dict[str, np.ndarray]) -> None:
    """An array that is missing, new, of another shape or type, or undefined elsewhere is refused."""
    assert any(one.refused(exact=False) for one in compare("case", changed, {"truth/a": np.zeros(2)}))


def test_the_command_names_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with 0 within the tolerances; exact, with 1 and the name of the array of other bits."""
    asked = {"quick": True, "only": "ronchigrams"}
    recorded = files.read(files.VALUES, "ronchigrams")
    files.write(tmp_path, "ronchigrams", recorded)
    key = "expected/grating_ronchigram"
    changed = recorded[key].copy()
    changed[3, 4] = np.nextafter(changed[3, 4], np.float32(1))
    files.write(tmp_path, "ronchigrams", recorded | {key: changed})
    assert command.compare(tmp_path, exact=False, **asked) == 0
    assert command.compare(tmp_path, exact=True, **asked) == 1
    assert f"DIFFERS ronchigrams/{key}: other bits" in capsys.readouterr().out


def test_files_hold_the_same_bytes(tmp_path: Path) -> None:
    """Arrays of every class come back with their bits, shapes and types, and written twice they are the same file."""
    arrays = {f"{kind}/a": np.array([[1.5, np.nan]]) for kind in CLASSES} | {
        "truth/text": np.array(["a", "bcd"]),
        "truth/number": np.array(3),
    }
    first, second = (
        files.write(tmp_path / "a", "case", arrays),
        files.write(tmp_path / "b", "case", dict(reversed(arrays.items()))),
    )
    assert first.read_bytes() == second.read_bytes()
    assert all(one.equal for one in compare("case", files.read(tmp_path / "a", "case"), arrays))
