"""The signed log: lines are added, and every other change of the file is found."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from stemtwin.leaderboard.events import log
from stemtwin.leaderboard.events.signing import canonical, draw_signing_key, public_text
from stemtwin.leaderboard.events.standings import read_state, write_state
from stemtwin.twin.errors import SubmissionError

KEY = draw_signing_key()
PUBLIC = public_text(KEY)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a log of four lines."""
    for number in range(4):
        log.append(tmp_path / "log.jsonl", "refused", {"team": "ä\n\u202e", "name": f"try{number}", "reason": "none"}, KEY, PUBLIC)
    return tmp_path / "log.jsonl"


def lines_of(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the lines of a file."""
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def test_lines_come_back_and_more_are_added(path: Path) -> None:
    """The beginning of the file never changes."""
    before = path.read_bytes()
    line = log.append(path, "frozen", {"submissions": []}, KEY, PUBLIC)
    found = log.read_log(path, PUBLIC)
    assert path.read_bytes().startswith(before)
    assert (found[-1], len(found)) == (line, 5)
    assert [one.before for one in found[1:]] == [one.hash for one in found[:-1]]


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[1:],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [*lines[:-1], lines[-1].replace(b"none", b"some")],
        lambda lines: [*lines[:-1], lines[-1][:-1]],
        lambda lines: [*lines, b"{}\n"],
        lambda lines: [*lines, b"[]\n"],
    ],
    ids=["first gone", "second gone", "exchanged", "repeated", "other words", "torn", "empty line", "no line"],
)
def test_every_other_change_is_found(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """The sentence names the line, and nothing is added to such a log."""
    lines_of(path, change)
    for use in (lambda: log.read_log(path, PUBLIC), lambda: log.append(path, "frozen", {}, KEY, PUBLIC)):
        with pytest.raises(SubmissionError, match=r"line \d: the log was altered"):
            use()


def test_only_the_organiser_adds_lines(path: Path) -> None:
    """A line that follows from the others and is signed by another key is refused."""
    lines = log.read_log(path, PUBLIC)
    log.write_log(path, [*lines, log.next_line(lines, "withdrawn", {"team": "a", "name": "b", "reason": "c"}, draw_signing_key())])
    with pytest.raises(SubmissionError, match=r"line 4: .* its signature is not the organiser's"):
        log.read_log(path, PUBLIC)


def test_hashes_follow_from_the_content_alone(path: Path) -> None:
    """Canonical JSON has one form, whatever the order of keys; NaN has none."""
    assert canonical({"b": [1, 2.5, None], "a": "ä"}) == '{"a":"ä","b":[1,2.5,null]}'.encode()
    line = log.read_log(path, PUBLIC)[0]
    assert dataclasses.replace(line, content=dict(reversed(line.content.items()))).hash == line.hash
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(float("nan"))


def test_a_state_is_the_organisers(tmp_path: Path) -> None:
    """Whatever is altered in a signed state is found, and so is another signer."""
    write_state(tmp_path / "board.json", {"rows": [{"team": "ä", "rank": [1, 2]}]}, KEY)
    assert read_state(tmp_path / "board.json", PUBLIC)["rows"][0]["rank"] == [1, 2]
    with pytest.raises(SubmissionError, match="the board was altered"):
        read_state(tmp_path / "board.json", public_text(draw_signing_key()))
    text = (tmp_path / "board.json").read_text()
    (tmp_path / "board.json").write_text(text.replace('"ä"', '"b"'))
    with pytest.raises(SubmissionError, match="the board was altered"):
        read_state(tmp_path / "board.json", PUBLIC)
