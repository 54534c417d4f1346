"""The log of an event: a file of signed lines, each of which holds the hash of the line before it. Lines are added, never changed.

Every action of an organiser and every event of a submission is a line: who was scored or refused, withdrawn or disqualified, and why. Boards follow
from the log and the reports alone.
"""

import dataclasses
import datetime
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemtwin.leaderboard.events.signing import canonical, sha256, signed_by
from stemtwin.twin.errors import SubmissionError
from stemtwin.twin.files import write_atomically

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

START = "0" * 64
"""Hash before the first line."""
KINDS = {
    "created": "the event was made",
    "settings": "event.toml was changed",
    "sealed": "the bundle was sealed",
    "opened": "the key of the bundle was published",
    "scored": "a submission was scored",
    "refused": "a submission was refused",
    "withdrawn": "an entry was withdrawn",
    "disqualified": "a team was disqualified",
    "corrected": "a task was corrected, and all its scores before this line are void",
    "frozen": "no later submission counts",
    "closed": "the keys were published",
}
"""Kinds of lines."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LogLine:
    """One line of a log.

    Parameters
    ----------
    number : int
        Position, from 0.
    time : str
        Time (UTC, ISO 8601).
    kind : str
        One of ``KINDS``.
    content : dict
        Plain values.
    before : str
        Hash of the line before.
    signature : str
        The organiser's signature of :attr:`body`, hexadecimal.
    """

    number: int
    time: str
    kind: str
    content: dict[str, Any]
    before: str
    signature: str

    @property
    def body(self) -> bytes:
        """Canonical JSON of all but the signature, which is what is signed and hashed."""
        return canonical({"number": self.number, "time": self.time, "kind": self.kind, "content": self.content, "before": self.before})

    @property
    def hash(self) -> str:
        """The sha256 of the body."""
        return sha256(self.body)


def now() -> datetime.datetime:
    """Return the time now, UTC, in whole seconds."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def next_line(lines: Sequence[LogLine], kind: str, content: dict[str, Any], key: "Ed25519PrivateKey") -> LogLine:
    """Return the line that follows others, signed."""
    if kind not in KINDS:
        raise KeyError(kind)
    before = lines[-1].hash if lines else START
    line = LogLine(number=len(lines), time=now().isoformat(), kind=kind, content=content, before=before, signature="")
    return dataclasses.replace(line, signature=key.sign(line.body).hex())


def write_log(path: Path, lines: Iterable[LogLine]) -> None:
    """Write a log, one canonical JSON object a line; the file is replaced at once."""
    write_atomically(path, b"".join(canonical(dataclasses.asdict(line)) + b"\n" for line in lines))


def append(path: Path, kind: str, content: dict[str, Any], key: "Ed25519PrivateKey", public_key: str) -> LogLine:
    """Add a signed line to the log of a file, which is checked first, and return it."""
    lines = read_log(path, public_key)
    line = next_line(lines, kind, content, key)
    write_log(path, [*lines, line])
    return line


def read_log(path: Path, public_key: str) -> list[LogLine]:
    """Return the lines of a log after checking chain and signatures; no line where there is no file.

    Raises
    ------
    SubmissionError
        A line is not JSON, does not follow from the line before it, or is not signed by the organiser.
    """
    lines: list[LogLine] = []
    texts = path.read_text(encoding="utf-8").split("\n") if path.is_file() else [""]
    if texts.pop():
        message = f"{path}, line {len(texts)}: the log was altered, its last line is not whole. Take the log from another copy of the event."
        raise SubmissionError(message)
    for number, text in enumerate(texts):
        try:
            line = LogLine(**json.loads(text))
            chained = line.number == number and line.before == (lines[-1].hash if lines else START)
            wrong = "" if chained else "it does not follow from the line before it"
            wrong = wrong or ("" if signed_by(public_key, line.signature, line.body) else "its signature is not the organiser's")
        except (ValueError, TypeError) as error:
            wrong = f"it is not a line of a log ({error})"
        if wrong:
            message = f"{path}, line {number}: the log was altered, {wrong}. Take the log from another copy of the event."
            raise SubmissionError(message)
        lines.append(line)
    return lines
