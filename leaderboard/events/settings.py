"""Settings of an event, ``event.toml``: tasks, environments, dates, sites, rules, and the keys' public halves."""

import datetime
import re
import tomllib
import zoneinfo
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
import tomli_w

from stemtwin.benchmarks.names import check_name
from stemtwin.benchmarks.tasks import Task, find_task
from stemtwin.twin.errors import SettingsError, StemtwinError
from stemtwin.twin.files import write_atomically

SCHEMA = "stemtwin/event@1"
FILE = "event.toml"
STRICT = pydantic.ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
Hexadecimal = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
LONGEST = 40
"""Characters of an event's name."""


class EventSite(pydantic.BaseModel):
    """A place of the event: its name and its time zone, as ``America/New_York``."""

    model_config = STRICT

    name: str
    zone: str

    @pydantic.field_validator("name")
    @classmethod
    def _shown(cls, value: str) -> str:
        return check_name(value, "site")

    @pydantic.field_validator("zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        """Check a time zone."""
        try:
            zoneinfo.ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            message = f"{value!r} is not a time zone. Name one as 'Europe/Berlin' (https://en.wikipedia.org/wiki/List_of_tz_database_time_zones)"
            raise ValueError(message) from None
        return value


class EventTask(pydantic.BaseModel):
    """A prediction task of the event, and the size of its hidden rows."""

    model_config = STRICT

    task: str
    size: str = "tiny"

    def find(self) -> Task:
        """Return the task."""
        return find_task(self.task)


class EventEnvironment(pydantic.BaseModel):
    """An agent task of the event, with the number of hidden episodes and of attempts at each."""

    model_config = STRICT

    task: str
    episodes: Annotated[int, pydantic.Field(ge=1, le=100_000)]
    attempts: Annotated[int, pydantic.Field(ge=1, le=1000)] = 1

    def find(self) -> Task:
        """Return the task."""
        return find_task(self.task)


class EventSettings(pydantic.BaseModel):
    """An event, checked.

    ``counts`` says which of a team's submissions to a task counts, ``submissions`` how many of them are scored, ``teams`` who may take part
    (everybody where it is empty), ``isolation`` in what agents must run, ``honeypots`` how many rows of each kind that do not count, and that nobody
    can answer, are planted among the hidden rows of a task that has them (see :mod:`stemtwin.benchmarks.honeypots`).
    """

    model_config = STRICT

    schema_name: Literal["stemtwin/event@1"] = pydantic.Field(alias="schema")
    name: Annotated[str, pydantic.Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=LONGEST)]
    title: str
    opens: pydantic.AwareDatetime
    closes: pydantic.AwareDatetime
    counts: Literal["best", "last"] = "best"
    submissions: Annotated[int, pydantic.Field(ge=1, le=10_000)] = 20
    teams: tuple[str, ...] = ()
    isolation: Literal["bubblewrap", "process"] = "bubblewrap"
    honeypots: Annotated[int, pydantic.Field(ge=0, le=20)] = 2
    commitment: Hexadecimal
    public_key: Hexadecimal
    sites: tuple[EventSite, ...] = ()
    tasks: tuple[EventTask, ...] = ()
    environments: tuple[EventEnvironment, ...] = ()

    @pydantic.field_validator("title")
    @classmethod
    def _titled(cls, value: str) -> str:
        return check_name(value, "title")

    @pydantic.field_validator("teams")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_name(one, "team") for one in value)

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        """Check dates and tasks against each other."""
        if self.closes <= self.opens:
            message = f"closes ({self.closes.isoformat()}) is not after opens ({self.opens.isoformat()})"
            raise ValueError(message)
        parts = (*self.tasks, *self.environments)
        names = [part.task for part in parts]
        if not names or len(set(names)) < len(names):
            message = f"{len(names)} tasks and environments with {len(set(names))} names: give at least one, each of them once"
            raise ValueError(message)
        for part in parts:
            kind = "predictions" if isinstance(part, EventTask) else "agent"
            if part.find().kind != kind:
                other = "an environment" if kind == "predictions" else "a task of predictions"
                message = f"{part.task!r} is {other}. Give it {'by --environment' if kind == 'predictions' else 'by --task'}"
                raise ValueError(message)
        return self

    def task(self, name: str) -> EventTask | EventEnvironment:
        """Return the task or environment of a name.

        Raises
        ------
        SettingsError
            The event has none of that name.
        """
        parts = {part.task: part for part in (*self.tasks, *self.environments)}
        if name not in parts:
            message = f"{name!r} is not a task of {self.name}. Its tasks: {', '.join(parts)}."
            raise SettingsError(message)
        return parts[name]

    def times(self) -> list[tuple[str, str, str]]:
        """Return place, opening and end: UTC, then each site in its own time."""
        zones = [("UTC", "UTC"), *((site.name, site.zone) for site in self.sites)]
        return [(name, local_time(self.opens, zone), local_time(self.closes, zone)) for name, zone in zones]


def local_time(when: datetime.datetime, zone: str) -> str:
    """Return a time as a clock of a zone shows it: ``Tue 2026-12-15 04:00 EST``."""
    return when.astimezone(zoneinfo.ZoneInfo(zone)).strftime("%a %Y-%m-%d %H:%M %Z")


def parse_time(text: str, what: str) -> datetime.datetime:
    """Return a time with its offset from UTC, as UTC.

    Raises
    ------
    SettingsError
        Not ISO 8601, or without an offset.
    """
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        message = f"{what} {text!r} is not a time with its offset from UTC. Give it as 2026-12-15T09:00Z or 2026-12-15T10:00+01:00."
        raise SettingsError(message)
    return when.astimezone(datetime.UTC).replace(microsecond=0)


def make_event(values: dict[str, Any], source: str = FILE) -> EventSettings:
    """Return the event of plain values.

    Raises
    ------
    SettingsError
        A key is missing, unknown or wrong; the message names the first such key.
    """
    try:
        return EventSettings.model_validate(values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        reason = first["msg"].removeprefix("Value error, ").rstrip(".")
        message = f"{source}: {place}: {reason}."
        raise SettingsError(message) from None
    except StemtwinError as error:
        message = f"{source}: {error}"
        raise SettingsError(message) from None


def write_event(path: Path, event: EventSettings) -> None:
    """Write the settings of an event as TOML."""
    values = event.model_dump(by_alias=True, exclude={"opens", "closes"})
    dates = {name: getattr(event, name).astimezone(datetime.UTC) for name in ("opens", "closes")}
    ordered = {key: values.pop(key) for key in ("schema", "name", "title")} | dates | values
    for key in ("sites", "tasks", "environments"):
        ordered[key] = [dict(one) for one in ordered[key]]
    write_atomically(path, tomli_w.dumps(ordered).encode())


def read_event(path: Path) -> EventSettings:
    """Return the settings in a TOML file.

    Raises
    ------
    SettingsError
        No such file, not TOML, or a wrong key.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{path}: {error.strerror}. Give the folder of an event, which 'stemtwin event new' makes."
        raise SettingsError(message) from None
    except ValueError as error:
        message = f"{path} is not TOML ({error}). Correct that line."
        raise SettingsError(message) from None
    return make_event(values, str(path))


def parse_parts(tasks: Sequence[str], environments: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return tasks and environments as plain values from ``NAME[:SIZE]`` and ``NAME[:EPISODES[:ATTEMPTS]]``.

    Raises
    ------
    SettingsError
        A text is not of that form.
    """
    made: dict[str, list[dict[str, Any]]] = {"tasks": [], "environments": []}
    for text in tasks:
        name, _, size = text.partition(":")
        made["tasks"].append({"task": find_task(name).registered, "size": size or "tiny"})
    for text in environments:
        found = re.fullmatch(r"([^:]+)(?::(\d{1,9}))?(?::(\d{1,9}))?", text)
        if found is None:
            message = f"environment {text!r} is not of the form NAME, NAME:EPISODES or NAME:EPISODES:ATTEMPTS."
            raise SettingsError(message)
        task = find_task(found[1])
        made["environments"].append({"task": task.registered, "episodes": int(found[2] or task.episodes or 1), "attempts": int(found[3] or 1)})
    return made
