"""Settings of an event, ``event.toml``: tasks, environments, dates, sites, rules, public key and commitment to the secret keys."""

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
"""Largest number of characters of an event's name."""


class EventSite(pydantic.BaseModel):
    """Site of the event, with its time zone, for example ``America/New_York``."""

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
            message = f"{value!r} is not a time zone. Use a name like 'Europe/Berlin' (https://en.wikipedia.org/wiki/List_of_tz_database_time_zones)"
            raise ValueError(message) from None
        return value


class EventTask(pydantic.BaseModel):
    """Prediction task of the event; ``size`` is the name of the dataset size in which the hidden rows are built."""

    model_config = STRICT

    task: str
    size: str = "tiny"

    def find(self) -> Task:
        """Return the task that :attr:`task` names."""
        return find_task(self.task)


class EventEnvironment(pydantic.BaseModel):
    """Agent task of the event, with the number of hidden episodes and of attempts at each episode."""

    model_config = STRICT

    task: str
    episodes: Annotated[int, pydantic.Field(ge=1, le=100_000)]
    attempts: Annotated[int, pydantic.Field(ge=1, le=1000)] = 1

    def find(self) -> Task:
        """Return the task that :attr:`task` names."""
        return find_task(self.task)


class EventSettings(pydantic.BaseModel):
    """Checked settings of an event.

    ``counts`` selects the submission of a team that counts for a task, ``"best"`` or ``"last"``. ``submissions`` is the largest
    number of submissions of a team to a task that are scored. ``teams`` lists the teams that are allowed to take part; if
    it is empty, all teams are allowed. ``isolation`` is the level of isolation of agents. ``pad_s`` is the minimum
    duration (s) of every reply to an agent and of the start of every episode except the first. A reply therefore reveals
    nothing about the duration of a shorter computation. ``honeypots`` is the number of unanswerable rows of each kind that
    are added to the hidden rows of a task that supports them. These rows do not count (see
    :mod:`stemtwin.benchmarks.honeypots`).
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
    pad_s: Annotated[float, pydantic.Field(ge=0, le=60)] = 0.0
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
        """Check the dates and the names of tasks; :meth:`check_kinds` checks the tasks themselves, whose import takes seconds."""
        if self.closes <= self.opens:
            message = f"closes ({self.closes.isoformat()}) is not after opens ({self.opens.isoformat()})"
            raise ValueError(message)
        names = [part.task for part in (*self.tasks, *self.environments)]
        if not names or len(set(names)) < len(names):
            message = f"{len(names)} tasks and environments with {len(set(names))} different names: give at least one task, and each task only once"
            raise ValueError(message)
        return self

    def check_kinds(self) -> None:
        """Check that ``tasks`` contains only prediction tasks, and ``environments`` only agent tasks.

        Raises
        ------
        UnknownNameError, SettingsError
            A task does not exist, or is listed under the wrong kind.
        """
        for part in (*self.tasks, *self.environments):
            _check_kind(part)

    def task(self, name: str) -> EventTask | EventEnvironment:
        """Return the task or environment of the given name.

        Raises
        ------
        UnknownNameError, SettingsError
            The event has no task or environment with that name, or the task is listed under the wrong kind.
        """
        parts = {part.task: part for part in (*self.tasks, *self.environments)}
        if name not in parts:
            message = f"{name!r} is not a task of {self.name}. Its tasks: {', '.join(parts)}."
            raise SettingsError(message)
        _check_kind(parts[name])
        return parts[name]

    def times(self) -> list[tuple[str, str, str]]:
        """Return (place, start, end) as texts: first "UTC" with the times of the event in UTC, then each site with its local times."""
        zones = [("UTC", "UTC"), *((site.name, site.zone) for site in self.sites)]
        return [(name, local_time(self.opens, zone), local_time(self.closes, zone)) for name, zone in zones]


def _check_kind(part: EventTask | EventEnvironment) -> None:
    """Raise SettingsError for a prediction task among the environments, or the reverse."""
    kind = "predictions" if isinstance(part, EventTask) else "agent"
    if part.find().kind != kind:
        other = "an environment" if kind == "predictions" else "a prediction task"
        message = f"{part.task!r} is {other}. Give it {'with --environment' if kind == 'predictions' else 'with --task'}."
        raise SettingsError(message)


def local_time(when: datetime.datetime, zone: str) -> str:
    """Return a time as local time of a zone, for example ``Tue 2026-12-15 04:00 EST``."""
    return when.astimezone(zoneinfo.ZoneInfo(zone)).strftime("%a %Y-%m-%d %H:%M %Z")


def parse_time(text: str, what: str) -> datetime.datetime:
    """Return the time in a text as UTC; the text must contain the offset from UTC.

    Raises
    ------
    SettingsError
        The text is not ISO 8601 or has no offset.
    """
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        message = f"{what} {text!r} is not a time with an offset from UTC. Write it as 2026-12-15T09:00Z or 2026-12-15T10:00+01:00."
        raise SettingsError(message)
    return when.astimezone(datetime.UTC).replace(microsecond=0)


def make_event(values: dict[str, Any], source: str = FILE) -> EventSettings:
    """Return checked settings from plain values; :meth:`EventSettings.check_kinds` checks the kinds of tasks separately.

    Raises
    ------
    SettingsError
        A key is missing, unknown or wrong; the message names the first such key.
    """
    try:
        return EventSettings.model_validate(values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the settings"
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
        The file does not exist, is not TOML, or has a wrong key.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{path}: {error.strerror}. Give the folder of an event, made by 'stemtwin event new'."
        raise SettingsError(message) from None
    except ValueError as error:
        message = f"{path} is not TOML ({error}). Correct that line."
        raise SettingsError(message) from None
    return make_event(values, str(path))


def parse_parts(tasks: Sequence[str], environments: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return tasks and environments as plain values from texts ``NAME[:SIZE]`` and ``NAME[:EPISODES[:ATTEMPTS]]``.

    Raises
    ------
    SettingsError
        A text has another form.
    """
    made: dict[str, list[dict[str, Any]]] = {"tasks": [], "environments": []}
    for text in tasks:
        name, _, size = text.partition(":")
        made["tasks"].append({"task": find_task(name).registered, "size": size or "tiny"})
    for text in environments:
        found = re.fullmatch(r"([^:]+)(?::(\d{1,9}))?(?::(\d{1,9}))?", text)
        if found is None:
            message = f"environment {text!r} is not of the form NAME, NAME:EPISODES or NAME:EPISODES:ATTEMPTS. Correct it."
            raise SettingsError(message)
        task = find_task(found[1])
        made["environments"].append({"task": task.registered, "episodes": int(found[2] or task.episodes or 1), "attempts": int(found[3] or 1)})
    return made
