"""Every knob reaches every signal that it should: the table in docs/knobs.md, pair by pair."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemtwin.twin.instrument import instabilities
from stemtwin.twin.instrument.chain import DetectorChain
from stemtwin.twin.instrument.knobs import NAMES
from stemtwin.twin.instrument.microscope import Microscope
from stemtwin.twin.instrument.profiles import PROFILES, Profile
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.stage import AXES
from stemtwin.twin.samples.sample import Sample

PAGE = Path(__file__).resolve().parents[2] / "docs" / "knobs.md"
SCAN = RasterScan(shape=(10, 10), field_of_view_angstrom=(3.905, 3.905))
DWELL_US = 2e4
CHAIN = replace(PROFILES["ideal"], chains=(("", DetectorChain(gain_adu=1e-3, offset_adu=100.0, bits=32)),))
UNSTABLE = replace(PROFILES["ideal"], instabilities=replace(instabilities.TYPICAL, drift_speed_angstrom_per_s=0.02))
AMOUNTS = {1: 40.0, 2: 3e3, 3: 3e5, 4: 2e7, 5: 1.5e9}
"""How far an aberration of each order is turned, A."""


def table() -> list[tuple[str, str, bool]]:
    """Return (knob, signal, whether it reaches it) of the page's table."""
    rows = [
        [cell.strip() for cell in line.strip("|\n ").split("|")] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")
    ]
    signals = rows[0][1:]
    return [(row[0], signal, word == "yes") for row in rows[2:] for signal, word in zip(signals, row[1:], strict=True)]


TABLE = table()
SIGNALS = tuple(dict.fromkeys(signal for _, signal, _ in TABLE))
KNOBS = tuple(dict.fromkeys(knob for knob, _, _ in TABLE))


@pytest.fixture(scope="module")
def frames(make_perovskite: Callable[..., Sample]) -> Callable[[str], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return a function of a knob that gives, for each signal, a frame before and a frame after it was turned."""
    sample = make_perovskite(1, 2, sigma=None)

    def acquire(scope: Microscope, scan: RasterScan = SCAN, dwell: float = DWELL_US) -> dict[str, np.ndarray]:
        out = scope.acquire(scan, dwell_time_us=dwell, detectors=SIGNALS)
        return {name: out[name].to_numpy().astype(float) for name in SIGNALS}

    def scope_for(profile: Profile = PROFILES["ideal"]) -> Microscope:
        return Microscope(sample, profile, seed=2)

    @cache
    def both(knob: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        scope = scope_for(CHAIN if knob in ("gain", "offset_adu") else UNSTABLE if knob == "advance_time" else PROFILES["ideal"])
        if knob == "phi12":
            scope.set(C12=40.0)
        before, scan, dwell = acquire(scope), SCAN, DWELL_US
        kind, _, rest = knob.rpartition(" ")
        if kind == "stage":
            scope.move_stage(**{rest: 40.0 if rest.endswith("mrad") else 40.0 if rest.startswith("z") else 1.0})
        elif rest == "dwell_time_us":
            dwell = DWELL_US / 2
        elif kind == "scan":
            turned = {"field_of_view_angstrom": (5.0, 5.0), "origin_angstrom": (0.7, 0.4), "rotation_rad": 0.5}
            scan = replace(SCAN, **{rest: turned[rest]})
        elif knob == "advance_time":
            scope.advance_time(600)
        elif knob == "correct":
            scope.correct("C1", 0.0, 40.0)
        else:
            scope.set(**{knob: value(knob)})
        return {name: (before[name], after) for name, after in acquire(scope, scan, dwell).items()}

    return both


def value(knob: str) -> Any:
    """Return what a knob is turned to."""
    if knob[0] == "C":
        return AMOUNTS[int(knob[1])]
    return {
        "energy_ev": 150e3,
        "semiangle_mrad": 15.0,
        "current_pa": 25.0,
        "source_size_angstrom": 0.5,
        "focal_spread_angstrom": 60.0,
        "phi12": 0.8,
        "beam_tilt_mrad": (5.0, 3.0),
        "beam_shift_angstrom": (0.9, 0.5),
        "blanked": True,
        "camera_length_mm": 200.0,
        "gain": dict.fromkeys(SIGNALS, 2.0),
        "offset_adu": dict.fromkeys(SIGNALS, 500.0),
    }[knob]


def test_no_knob_is_left_out() -> None:
    """The page has every knob, stage axis and aberration (of azimuths one stands for all)."""
    wanted = {name for name in NAMES if not name.startswith("phi")} | {f"stage {axis}" for axis in AXES}
    assert wanted <= set(KNOBS)


@pytest.mark.parametrize(("knob", "signal", "reaches"), TABLE)
def test_every_knob_reaches_its_signals(frames: Callable, knob: str, signal: str, reaches: bool) -> None:
    """Turned, the knob changes the signal by more than noise could: 8 standard deviations at some point, and 1 % of the signal."""
    before, after = frames(knob)[signal]
    changed = np.abs(after - before)
    noise = np.sqrt(np.maximum(before, 1))
    if reaches:
        assert (changed > 8 * noise).any()
        assert changed.max() > 0.01 * before.max()
    else:
        assert (changed < 6 * noise).all()
