"""Requests for review: findings of automatic checks that a person must examine. A request is shown beside a row; ranks do not change."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import pydantic

from stemtwin.benchmarks.honeypots import Leak
from stemtwin.benchmarks.names import check_name, printable
from stemtwin.benchmarks.report import Report
from stemtwin.benchmarks.tasks import Task
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.files import write_atomically

SCHEMA = "stemtwin/reviews@1"
LONGEST = 500
"""Largest number of characters of a text."""
KINDS = {
    "duplicate": "closer to the answers of another team than independent answers are",
    "honeypot": "better on unanswerable items, which do not count, than chance allows",
    "bound": "better than the data allow",
}


class Review(pydantic.BaseModel):
    """Request for a person to review one row of the board.

    Parameters
    ----------
    team, name, artefact_sha256 : str
        Team of the row, name of the row, and hash of its answers.
    kind : str
        Finding of the check: ``"duplicate"`` (too close to the answers of another team), ``"honeypot"`` (unanswerable rows answered better than
        chance allows) or ``"bound"`` (a score better than the data allow).
    text : str
        Numerical evidence, in one sentence.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    team: str = ""
    name: str
    artefact_sha256: str
    kind: Literal["duplicate", "honeypot", "bound"]
    text: str

    @pydantic.field_validator("name", "team")
    @classmethod
    def _shown(cls, value: str, info: pydantic.ValidationInfo) -> str:
        """Check a name."""
        return check_name(value, str(info.field_name), empty=info.field_name == "team")

    @pydantic.field_validator("text")
    @classmethod
    def _one_line(cls, value: str) -> str:
        """Return a text on one line."""
        return printable(value)[:LONGEST]


def honeypot_review(team: str, name: str, artefact_sha256: str, leak: Leak) -> Review | None:
    """Return a request for review if an entry's answers to honeypots are better than chance allows, otherwise None."""
    if not leak.suspicious:
        return None
    return Review(team=team, name=name, artefact_sha256=artefact_sha256, kind="honeypot", text=leak.text)


def bound_reviews(report: Report, task: Task) -> tuple[Review, ...]:
    """Return a request for review for each metric whose whole interval is better than the best value that the task's data allow."""
    found = []
    for metric in task.metrics:
        score = next((one for one in report.metrics if one.name == metric.name), None)
        if metric.limit is None or score is None or score.interval is None:
            continue
        low, high = score.interval.low, score.interval.high
        if low > metric.limit if metric.direction == "max" else high < metric.limit:
            text = f"{metric.name} {low:.4g} to {high:.4g} lies beyond {metric.limit:g}, the best value that the data of {task.name} allow"
            found.append(Review(team=report.team, name=report.entry, artefact_sha256=report.artefact_sha256, kind="bound", text=text))
    return tuple(found)


class _Reviews(pydantic.BaseModel):
    """Content of a file of review requests."""

    model_config = pydantic.ConfigDict(extra="forbid", populate_by_name=True)

    schema_name: Literal["stemtwin/reviews@1"] = pydantic.Field(alias="schema")
    reviews: tuple[Review, ...]


def write_reviews(path: Path, reviews: Iterable[Review]) -> Path:
    """Write requests for review as JSON and return the path."""
    content = {"schema": SCHEMA, "reviews": [one.model_dump() for one in reviews]}
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
    return path


def read_reviews(path: Path) -> tuple[Review, ...]:
    """Return the requests for review in a file.

    Raises
    ------
    SettingsError
        The file does not exist or does not contain requests for review.
    """
    try:
        return _Reviews.model_validate_json(path.read_bytes()).reviews
    except OSError as error:
        message = f"{path}: {error.strerror}. Give a file that 'stemtwin review --output' wrote."
        raise SettingsError(message) from None
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole file"
        message = f"{path}: {place}: {first['msg']}. Give a file that 'stemtwin review --output' wrote."
        raise SettingsError(message) from None


def reviews_of(reviews: Sequence[Review], team: str, artefact_sha256: str) -> tuple[Review, ...]:
    """Return the requests for review of one row."""
    return tuple(one for one in reviews if (one.team, one.artefact_sha256) == (team, artefact_sha256))
