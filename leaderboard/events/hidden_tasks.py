"""Hidden data and seeds of an event's tasks, derived from the event's keys: build, honeypots, inputs for teams, truth for the organiser.

A honeypot is an unanswerable row. Honeypots are made from rows of additional specimens. Teams do not receive these original
rows, so a team can recognise a honeypot only by its image.
"""

import dataclasses
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stemtwin.benchmarks.honeypots import FORMS, KINDS, Planted, plant
from stemtwin.benchmarks.seed_keys import SeedKeys, seed_from
from stemtwin.benchmarks.submission import Submission, read_submission
from stemtwin.benchmarks.tasks import Task
from stemtwin.datasets.cards import Card, named_card
from stemtwin.datasets.comparison import difference
from stemtwin.datasets.generate import BuildProgress, build
from stemtwin.datasets.hidden import hidden_card, load_given, load_hidden
from stemtwin.datasets.inputs import shown_card, write_inputs, write_shown
from stemtwin.datasets.verify import verify
from stemtwin.leaderboard.events.settings import EventEnvironment, EventSettings, EventTask
from stemtwin.twin.errors import SubmissionError
from stemtwin.twin.files import write_atomically

if TYPE_CHECKING:
    import xarray as xr


HONEYPOTS = "-honeypots.json"
"""End of the name of the file that lists the honeypots of a task in an archive."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HiddenTask:
    """A prediction task with hidden rows.

    Parameters
    ----------
    task : Task
        The task. Its source version is specific to the event; this version distinguishes answers to hidden rows from answers
        to public rows.
    size, split : str
        Size and split of the dataset.
    card : Card
        Card of the released dataset.
    each : int
        Number of honeypots of each kind.
    """

    task: Task
    size: str
    split: str
    card: Card
    each: int = 0

    @property
    def slug(self) -> str:
        """Name of the task's folders."""
        return f"{self.task.name}-{self.task.major}"

    def hidden(self, keys: SeedKeys) -> Card:
        """Return the card of the hidden rows."""
        key, address = bytes.fromhex(keys.environment), self.task.address(self.split)
        root = seed_from(key, f"{address}/rows") << 128 | seed_from(key, f"{address}/specimens")
        return hidden_card(self.card, size=self.size, split=self.split, root=root, further=self.further)

    @property
    def further(self) -> int:
        """Number of additional specimens, from whose rows honeypots are made."""
        rows = self.card.sizes[self.size].images_per_specimen[self.split]
        return -(-self.each * len(KINDS) // rows)

    def build(self, keys: SeedKeys, folder: Path, progress: BuildProgress | None = None) -> None:
        """Build the hidden rows in ``folder/<slug>``, continue an interrupted build, or reuse a complete one."""
        build(self.hidden(keys), self.size, folder / self.slug, progress)

    def write_inputs(self, keys: SeedKeys, folder: Path, target: Path) -> None:
        """Write the inputs for teams to the folder ``target``, from the hidden rows built in ``folder/<slug>``."""
        card = self.hidden(keys)
        if self.each:
            write_shown(self.rows(keys, folder).data, card, self.split, target)
        else:
            write_inputs(card, folder / self.slug, self.split, target)

    def rows(self, keys: SeedKeys, folder: Path) -> Planted:
        """Return the hidden rows built in ``folder/<slug>``, with their truth and with the honeypots, if the task has any."""
        data = load_hidden(self.hidden(keys), folder / self.slug, self.split)
        names = data["sample_id"].values.astype(str).tolist()
        if not self.each:
            return Planted(data=data, honeypots=(), names=dict(zip(names, names, strict=True)))
        seeds = data["structure_seed"].values
        spare = np.flatnonzero(seeds >= np.sort(np.unique(seeds))[-self.further])
        seed = seed_from(bytes.fromhex(keys.environment), f"{self.task.address(self.split)}/honeypots")
        return plant(self.task, data, np.random.Generator(np.random.Philox(seed)), each=self.each, spare=spare.tolist())

    def honeypot_text(self, rows: Planted) -> str:
        """Return the archive's list of honeypots as JSON: the kind of each honeypot, and the original names of all rows that are not honeypots."""
        kinds = {one.sample_id: {"kind": one.kind, "candidates": len(one.candidates), "kept": one.chosen} for one in rows.honeypots}
        content = {"task": self.task.registered, "honeypots": kinds, "rows": rows.names}
        return json.dumps(content, indent=1, sort_keys=True) + "\n"

    def difference(self, given: "xr.Dataset", rows: Planted) -> str:
        """Return a description of the first difference between the rows in a bundle and the rows that the keys give, or "".

        The names of all rows are compared. The inputs of all rows except honeypots are compared within the tolerances for
        rows that were computed on another processor.
        """
        names, own = given["sample_id"].values.astype(str).tolist(), rows.data["sample_id"].values.astype(str).tolist()
        if odd := sorted(set(names) ^ set(own)):
            return f"only one of them has {odd[0]}"
        shown = shown_card(self.card).columns
        stored, made = ({column.name: data[column.name].values for column in shown} for data in (given, rows.data))
        for name in rows.names:
            here, there = names.index(name), own.index(name)
            for column in shown:
                if text := difference(column, column.trimmed(stored, here), column.trimmed(made, there)).text:
                    return f"{name}: {text}"
        return ""

    def reveal(self, keys: SeedKeys, folder: Path) -> None:
        """Write the list of the task's honeypots, if there are any, to ``folder/<slug>-honeypots.json``, beside the built hidden rows."""
        if self.each:
            write_atomically(folder / f"{self.slug}{HONEYPOTS}", self.honeypot_text(self.rows(keys, folder)).encode())

    def verify(self, keys: SeedKeys, folder: Path, tell: Callable[[str], None] | None = None, *, specimens: int | None = None) -> int:
        """Rebuild hidden rows, compare them with the rows in ``folder/<slug>`` within the tolerances of datasets, and return their number.

        By default, all rows are rebuilt. If ``specimens`` is given, only the rows of that number of specimens are rebuilt.
        Each call draws these specimens at random, so nobody can predict them.

        Raises
        ------
        DatasetError
            A file is damaged, or a row differs from the row that the keys give.
        """

        def progress(done: int, total: int, text: str) -> None:
            del text
            if tell is not None and done % 10 == 0:
                tell(f"hidden rows of {self.task.name}: {done} of {total} specimens rebuilt")

        card = self.hidden(keys)
        count = card.sizes[self.size].specimens[self.split]
        seed = secrets.randbits(64)
        return verify(card, folder / self.slug, regenerate=min(count, specimens or count), seed=seed, progress=progress).rows_made_again

    def read(self, folder: Path, data: "xr.Dataset") -> Submission:
        """Return the answers in a submission folder, after a check that they answer the hidden rows.

        Raises
        ------
        SubmissionError
            The submission cannot be read, the answers do not have the required form, or they belong to another split or size.
        """
        submission = read_submission(folder, self.task, data)
        header = submission.header
        if (header.split, header.size) != (self.split, self.size):
            message = f"{folder} is for split {header.split}, size {header.size}, but the event needs split {self.split}, size {self.size}. "
            message += "Correct the header of the submission."
            raise SubmissionError(message)
        return submission

    def given(self, opened: Path) -> "xr.Dataset":
        """Return the inputs of the task from a folder with the contents of a bundle."""
        return load_given(self.card, opened / "inputs" / self.slug, self.split)


def hidden_task(event: EventSettings, part: EventTask) -> HiddenTask:
    """Return one prediction task of an event with its hidden rows."""
    task = part.find()
    card = named_card(task.source, task.source_version)
    there = dataclasses.replace(task, source_version=f"{task.source_version}+{event.name}")
    return HiddenTask(task=there, size=part.size, split=task.splits[0], card=card, each=event.honeypots if task.name in FORMS else 0)


def hidden_tasks(event: EventSettings) -> list[HiddenTask]:
    """Return all prediction tasks of an event with their hidden rows."""
    return [hidden_task(event, part) for part in event.tasks]


def split_of(part: EventEnvironment) -> str:
    """Return the split of an agent task; the split determines the seeds of the episodes."""
    return part.find().splits[0]
