"""Log of an event: a file of signed lines, each with the hash of the previous line. Lines are added, never changed.

Each line records an action of the organiser or the result of a submission (for example scored, refused, withdrawn or
disqualified) with its reason. The board can be computed from the log and the reports alone.
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
"""Value of ``before`` in the first line of a log."""
KINDS = {
    "created": "the event was made",
    "settings": "event.toml was changed",
    "sealed": "the bundle was sealed",
    "opened": "the key of the bundle was published",
    "scored": "a submission was scored",
    "refused": "a submission was refused",
    "withdrawn": "an entry was withdrawn",
    "disqualified": "a team was disqualified",
    "corrected": "a task was corrected; all its earlier scores are void",
    "frozen": "the event was frozen; later submissions do not count",
    "closed": "the keys were published",
}
"""Kinds of lines, with a description of each kind."""


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
        Recorded action or result, such as ``"scored"``, ``"withdrawn"`` or ``"closed"``.
    content : dict
        Content of the line as plain values.
    before : str
        Hash of the previous line; 64 zeros in the first line.
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
        """Canonical JSON of all fields except the signature; this text is signed and hashed."""
        return canonical({"number": self.number, "time": self.time, "kind": self.kind, "content": self.content, "before": self.before})

    @property
    def hash(self) -> str:
        """The sha256 of the body, hexadecimal."""
        return sha256(self.body)


def now() -> datetime.datetime:
    """Return the current time, UTC, in whole seconds."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def next_line(lines: Sequence[LogLine], kind: str, content: dict[str, Any], key: "Ed25519PrivateKey") -> LogLine:
    """Return a new signed line that follows the lines of a log."""
    if kind not in KINDS:
        raise KeyError(kind)
    before = lines[-1].hash if lines else START
    line = LogLine(number=len(lines), time=now().isoformat(), kind=kind, content=content, before=before, signature="")
    return dataclasses.replace(line, signature=key.sign(line.body).hex())


def write_log(path: Path, lines: Iterable[LogLine]) -> None:
    """Write a log with one canonical JSON object per line; the file is replaced atomically."""
    write_atomically(path, b"".join(canonical(dataclasses.asdict(line)) + b"\n" for line in lines))


def append(path: Path, kind: str, content: dict[str, Any], key: "Ed25519PrivateKey", public_key: str) -> LogLine:
    """Check the log in a file, add a signed line, and return the line."""
    lines = read_log(path, public_key)
    line = next_line(lines, kind, content, key)
    write_log(path, [*lines, line])
    return line


def read_log(path: Path, public_key: str) -> list[LogLine]:
    """Return the lines of a log after a check of hashes and signatures, or an empty list if the file does not exist.

    Raises
    ------
    SubmissionError
        A line is not JSON, does not follow from the line before it, or is not signed by the organiser.
    """
    lines: list[LogLine] = []
    texts = path.read_text(encoding="utf-8").split("\n") if path.is_file() else [""]
    if texts.pop():
        message = f"{path}, line {len(texts)}: the log was altered; its last line is incomplete. Take the log from another copy of the event."
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
            message = f"{path}, line {number}: the log was altered; {wrong}. Take the log from another copy of the event."
            raise SubmissionError(message)
        lines.append(line)
    return lines
