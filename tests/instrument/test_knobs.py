"""Every knob reaches every signal that it should: the table in docs/knobs.md, pair by pair."""

from functools import cache
from pathlib import Path

import pytest

from stemtwin.twin.instrument import survey
from stemtwin.twin.instrument.knobs import NAMES
from stemtwin.twin.instrument.stage import AXES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "knobs.md"


def table() -> dict[tuple[str, str], float]:
    """Return what the page says of each (knob, signal), per cent."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {(row[0], signal): float(cell) for row in rows[2:] for signal, cell in zip(rows[0][1:], row[1:], strict=True)}


TABLE = table()


@cache
def turned(knob: str) -> survey.Turn:
    """Turn one knob, once."""
    (turn,) = survey.survey(only=(knob,))
    return turn


def test_no_knob_and_no_signal_is_left_out() -> None:
    """The page has every knob, stage axis and aberration (of azimuths one stands for all), and every signal of each."""
    wanted = {name for name in NAMES if not name.startswith("phi")} | {f"stage {axis}" for axis in AXES}
    assert wanted <= {knob for knob, _ in TABLE}
    assert set(TABLE) == {(knob, signal) for knob in survey.knobs() for signal in survey.SIGNALS}


@pytest.mark.parametrize(("knob", "signal"), list(TABLE))
def test_every_knob_reaches_its_signals(knob: str, signal: str) -> None:
    """Turned, the knob changes the signal by more than noise could, 8 standard deviations, by at least 0.2 %, and by as much as the page says."""
    turn = turned(knob)
    assert turn.certainty(signal) > 8
    assert turn.change(signal) > 0.002
    assert 100 * turn.change(signal) == pytest.approx(TABLE[knob, signal], rel=0.05)
