"""Wrong types and snapshots of other microscopes: one sentence says what is wrong, and nothing has changed."""

import math
import pickle
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from stemtwin.twin.errors import SettingsError, StemtwinError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scan import LissajousScan, PathScan, RasterScan, SerpentineScan, SparseScan, SpiralScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.spectra import EDXDetector, EELSDetector
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample

SCAN = RasterScan(shape=(2, 2), field_of_view_angstrom=(4, 4))
NONSENSE = ("x", b"x", object(), {}, {1, 2}, 1j, math.nan, 10**400, np.array([1, 2, 3]), np.array([]), [None, None], [[1]], ("a", "b", "c"))
"""What is no flag, no number, no pair, no name of anything and no function."""
USUAL: dict[str, dict[str, Any]] = {
    "acquire": {"scan": SCAN, "dwell_time_us": 1.0, "frames": 1, "detectors": ("bf",), "average": False, "progress": None},
    "acquire_spectrum": {"at": (1, 1), "dwell_time_us": 1.0, "frames": 1, "detectors": ("bf",), "edges": (), "average": False, "progress": None},
    "move_stage": {"relative": False, "x_angstrom": 1.0, "beta_mrad": 1.0},
    "advance_time": {"seconds": 1.0},
    "shower": {"dose_e_per_angstrom2": 1.0},
    "measure": {"kind": "C1A1", "angle_mrad": 9.0, "max_fit": "B2", "progress": None},
    "correct": {"name": "B2", "value": 1.0, "target": 0.0, "conjugate_mixed": False},
    "set": {
        **dict.fromkeys(("energy_ev", "semiangle_mrad", "current_pa", "source_size_angstrom", "focal_spread_angstrom", "C10", "C56", "phi12"), 1.0),
        **dict.fromkeys(("beam_tilt_mrad", "beam_shift_angstrom"), (0.0, 0.0)),
        "camera_length_mm": 100.0,
        "blanked": False,
    },
}
"""Every argument of every command, with a value that is right."""
RIGHT = {("correct", "value"): complex, ("correct", "target"): complex}
"""What is nonsense elsewhere and right here."""
PIECES: tuple[Callable[..., object], ...] = (
    lambda **more: RasterScan(**{"shape": (2, 2), "field_of_view_angstrom": (4, 4)} | more),
    lambda **more: SerpentineScan(**{"shape": (2, 2), "field_of_view_angstrom": (4, 4)} | more),
    lambda **more: SparseScan(**{"shape": (2, 2), "field_of_view_angstrom": (4, 4), "fraction": 0.5} | more),
    lambda **more: SpiralScan(**{"shape": 5, "diameter_angstrom": 3.0} | more),
    lambda **more: LissajousScan(**{"shape": 5, "field_of_view_angstrom": (3, 3)} | more),
    lambda **more: PathScan(**{"positions_angstrom": [[0, 0]]} | more),
    lambda **more: AnnularDetector(**{"inner_mrad": 1.0, "outer_mrad": 20.0} | more),
    lambda **more: EELSDetector(**{"energy_range_ev": (440.0, 600.0), "dispersion_ev": 1.0, "collection_mrad": 24.0} | more),
    EDXDetector,
)


def is_sentence(error: pytest.ExceptionInfo[StemtwinError]) -> bool:
    """Return whether a message is short, on one line, and ends."""
    text = str(error.value.args[0])
    return "\n" not in text and text.endswith((".", "?")) and len(text) < 900


@pytest.mark.parametrize(("command", "argument"), [(command, argument) for command, given in USUAL.items() for argument in given])
def test_commands_refuse_nonsense(nothing: PotentialSlices, command: str, argument: str) -> None:
    """Whatever is wrong of one argument: one sentence, from the command and from its price alike, and the state is the same."""
    scope = Microscope(nothing, "ideal")
    before = scope.snapshot()
    others = {} if command == "set" else USUAL[command]
    if command == "measure" and argument != "angle_mrad":
        others = {"kind": "Fast"}
    for wrong in NONSENSE:
        if isinstance(wrong, RIGHT.get((command, argument), ())):
            continue
        given = others | {argument: wrong}
        with pytest.raises(StemtwinError) as caught:
            getattr(scope, command)(**given)
        assert is_sentence(caught), caught.value
        with pytest.raises(StemtwinError):
            scope.estimate_cost(command, **given)
        assert scope.snapshot() is before


def test_there_is_no_command_of_that_name(nothing: PotentialSlices) -> None:
    """What is no command has no price, whatever its type; a dose map is of a raster, and a snapshot is one."""
    scope = Microscope(nothing, "ideal")
    before = scope.snapshot()
    for wrong in NONSENSE:
        for call in (scope.estimate_cost, scope.dose_map, scope.restore):
            with pytest.raises(SettingsError) as caught:
                call(wrong)  # type: ignore[operator]
            assert is_sentence(caught), caught.value
    assert scope.snapshot() is before


@pytest.mark.parametrize("argument", ["sample", "instrument", "seed", "phonons", "misalignment", "window_angstrom", "engine", "damage", "losses"])
def test_no_microscope_is_made_of_nonsense(nothing: PotentialSlices, argument: str) -> None:
    """Each argument of a microscope has one type."""
    for wrong in NONSENSE:
        if argument == "seed" and isinstance(wrong, int):
            continue  # large, and a whole number
        with pytest.raises(StemtwinError) as caught:
            Microscope(**({"sample": nothing, "instrument": "ideal"} | {argument: wrong}))
        assert is_sentence(caught), caught.value


@pytest.mark.parametrize("make", PIECES)
def test_scans_and_detectors_refuse_nonsense(make: Callable[..., object]) -> None:
    """Each number, pair, flag and name of a scan or a detector has one type."""
    for item in fields(make()):  # type: ignore[arg-type]
        for wrong in NONSENSE:
            if (item.name == "seed" and isinstance(wrong, int)) or (item.name == "name" and isinstance(wrong, str)):
                continue
            with pytest.raises(StemtwinError) as caught:
                make(**{item.name: wrong})
            assert is_sentence(caught), caught.value


def test_a_scan_is_no_region_of_nonsense() -> None:
    """A part of a scan is given by pairs of whole numbers."""
    for wrong in NONSENSE:
        for first, shape in ((wrong, (1, 1)), ((0, 0), wrong)):
            with pytest.raises(SettingsError):
                SCAN.region(first, shape)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "given", "said"),
    [
        ("set", {"energy_ev": 200}, r"at least 1000 .* eV\. Did you pass keV\?"),
        ("set", {"semiangle_mrad": 0.02}, r"at least 0\.1 .* mrad\. Did you pass rad\?"),
        ("set", {"current_pa": 50e-12}, r"at least 0\.001 .* pA\. .* did you pass A or nA\?"),
        ("set", {"camera_length_mm": 0.1}, r"is not a camera length of ideal\. Use one of .* mm"),
        ("set", {"gain": {"eels": 2.0}}, r"gain of 'eels' cannot be set, as this detector has no read-out chain in the instrument ideal"),
        ("acquire", {"scan": SCAN, "dwell_time_us": 4e-6}, r"at least 0\.001 .* us\. It is given in microseconds"),
        ("move_stage", {"x_angstrom": 1e9}, r"out of the stage's reach\. Choose a value from -1e\+07 to 1e\+07 A"),
        ("advance_time", {"seconds": -1.0}, r"at least 0 and at most 1e\+06 s"),
    ],
)
def test_wrong_units_are_recognised(nothing: PotentialSlices, command: str, given: dict[str, Any], said: str) -> None:
    """Numbers in keV, rad, A, m and s, and ways beyond the limits, are refused with the limit and its unit; nothing has changed."""
    scope = Microscope(nothing, "ideal")
    before = scope.snapshot()
    with pytest.raises(StemtwinError, match=said):
        getattr(scope, command)(**given)
    assert scope.snapshot() is before


# ---- snapshots


def test_a_snapshot_is_of_one_microscope(nothing: PotentialSlices, static: Sample) -> None:
    """A state is refused by a microscope made of anything else, which stays as it is; one made of the same takes it, pickled or not."""
    usual: dict[str, Any] = {"sample": nothing, "instrument": "ideal", "seed": 1}
    scope = Microscope(**usual)
    scope.advance_time(5.0)
    kept = scope.snapshot()
    others: dict[str, Any] = {
        "sample": static,
        "instrument": replace(PROFILES["ideal"], current_pa=7.0),
        "seed": 2,
        "misalignment": Aberrations(C10=1.0),
        "window_angstrom": 30.0,
        "engine": "multislice",
    }
    for name, value in others.items():
        other = Microscope(**(usual | {name: value}))
        before = other.snapshot()
        with pytest.raises(SettingsError, match=rf"another {name}\. Restore it in a microscope with the same settings") as caught:
            other.restore(kept)
        assert is_sentence(caught)
        assert other.snapshot() is before
    again = Microscope(**usual)
    again.restore(pickle.loads(pickle.dumps(kept)))
    assert again.time_s == 5.0
    budgeted = Microscope(**usual, dose_budget_e_per_angstrom2=1e3)
    budgeted.restore(kept)
    assert budgeted.time_s == 5.0


def test_a_changed_specimen_is_still_the_same_microscope(static: Sample) -> None:
    """What beam and commands change, the atoms among them, is the state's and no part of what a microscope is made of."""
    scope = Microscope(static, "ideal")
    kept = scope.snapshot()
    lost = replace(kept, specimen=replace(static, name="less", recipe=""))
    scope.restore(lost)
    assert scope.truth()["sample"].name == "less"
