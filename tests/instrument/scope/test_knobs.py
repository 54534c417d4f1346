"""Every knob reaches every signal that it should, and no other: the table in docs/knobs.md, pair by pair."""

from functools import cache
from pathlib import Path

import pytest

from stemtwin.twin.instrument.hardware.stage import AXES
from stemtwin.twin.instrument.scope import knob_survey
from stemtwin.twin.instrument.scope.knobs import NAMES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "knobs.md"
NONE = {
    *((knob, signal) for knob in ("gain", "offset_adu") for signal in knob_survey.COUNTED),  # what counts has neither
    *((f"scan {name}", "ronchigram") for name in ("field_of_view_angstrom", "rotation_rad")),  # with the beam parked there is no scan
    ("camera_length_mm", "edx"),  # X-rays do not go through the lenses
}
"""What a knob does not reach on a real microscope."""
QUICK = ("semiangle_mrad", "current_pa", "C10", "blanked", "stage x_angstrom", "camera_length_mm", "dwell_time_us", "gain")
"""Knobs whose effect on spectra and patterns is measured by default too; of the others, those on images."""


def table() -> dict[tuple[str, str], float]:
    """Return what the page says of each (knob, signal), per cent; 0 for a dash."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {(row[0], signal): 0.0 if cell == "-" else float(cell) for row in rows[2:] for signal, cell in zip(rows[0][1:], row[1:], strict=True)}


TABLE = table()
PAIRS = [
    pytest.param(knob, signal, marks=() if knob in QUICK or signal in knob_survey.IMAGES else pytest.mark.slow) for knob, signal in TABLE
]  # fmt: skip


@cache
def turned(knob: str, counted: bool) -> knob_survey.Turn:
    """Turn one knob, once for images and once for what is counted."""
    (turn,) = knob_survey.survey(only=(knob,), signals=knob_survey.COUNTED if counted else knob_survey.IMAGES)
    return turn


def test_no_knob_and_no_signal_is_left_out() -> None:
    """The page has every knob, stage axis and aberration (of azimuths one stands for all), every signal of each, and dashes where they belong."""
    wanted = {name for name in NAMES if not name.startswith("phi")} | {f"stage {axis}" for axis in AXES}
    assert wanted <= {knob for knob, _ in TABLE}
    assert set(TABLE) == {(knob, signal) for knob in knob_survey.knobs() for signal in knob_survey.SIGNALS}
    assert {pair for pair, change in TABLE.items() if not change} == NONE


@pytest.mark.parametrize(("knob", "signal"), PAIRS)
def test_every_knob_reaches_its_signals(knob: str, signal: str) -> None:
    """Turned, the knob changes the signal by 8 standard deviations, 0.2 %, and what the page says; or not, where it does not reach it."""
    turn = turned(knob, signal in knob_survey.COUNTED)
    if (knob, signal) in NONE:
        assert not turn.reaches(signal)
        return
    assert turn.certainty(signal) > 8
    assert turn.change(signal) > 0.002
    assert 100 * turn.change(signal) == pytest.approx(TABLE[knob, signal], rel=0.05)
