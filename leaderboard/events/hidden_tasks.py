"""Hidden data and seeds of an event's tasks, derived from its keys: build, inputs for teams, truth for the organiser."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stemtwin.benchmarks.seed_keys import SeedKeys, seed_from
from stemtwin.benchmarks.submission import Submission, read_submission
from stemtwin.benchmarks.tasks import Task
from stemtwin.datasets.cards import Card, named_card
from stemtwin.datasets.generate import BuildProgress, build
from stemtwin.datasets.hidden import hidden_card, load_given, load_hidden
from stemtwin.datasets.inputs import write_inputs
from stemtwin.datasets.verify import verify
from stemtwin.leaderboard.events.settings import EventEnvironment, EventSettings, EventTask
from stemtwin.twin.errors import SubmissionError

if TYPE_CHECKING:
    import xarray as xr


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HiddenTask:
    """A prediction task with hidden rows.

    Parameters
    ----------
    task : Task
        The task, whose source is the version of the event: answers to public rows are told apart from answers to hidden ones.
    size, split : str
        Number of the rows and their split.
    card : Card
        The released card.
    """

    task: Task
    size: str
    split: str
    card: Card

    @property
    def slug(self) -> str:
        """Name of its folders."""
        return f"{self.task.name}-{self.task.major}"

    def hidden(self, keys: SeedKeys) -> Card:
        """Return the card of the hidden rows."""
        key, address = bytes.fromhex(keys.environment), self.task.address(self.split)
        root = seed_from(key, f"{address}/rows") << 128 | seed_from(key, f"{address}/specimens")
        return hidden_card(self.card, size=self.size, split=self.split, root=root)

    def build(self, keys: SeedKeys, folder: Path, progress: BuildProgress | None = None) -> None:
        """Build the hidden rows into ``folder/<slug>``; a finished build there is left as it is, a stopped one goes on."""
        build(self.hidden(keys), self.size, folder / self.slug, progress)

    def write_inputs(self, keys: SeedKeys, folder: Path, target: Path) -> None:
        """Write what teams get of a build in ``folder/<slug>``."""
        write_inputs(self.hidden(keys), folder / self.slug, self.split, target)

    def truth(self, keys: SeedKeys, folder: Path) -> "xr.Dataset":
        """Return the rows of a build in ``folder/<slug>`` with their truth."""
        return load_hidden(self.hidden(keys), folder / self.slug, self.split)

    def verify(self, keys: SeedKeys, folder: Path, tell: Callable[[str], None] | None = None) -> int:
        """Make all rows of a build in ``folder/<slug>`` again, compare them with the tolerances of a dataset, and return their number.

        Raises
        ------
        DatasetError
            A file is damaged, or a row is not the one that the keys give.
        """

        def progress(done: int, total: int, text: str) -> None:
            del text
            if tell is not None and done % 10 == 0:
                tell(f"hidden rows of {self.task.name}: {done} of {total} specimens made again")

        card = self.hidden(keys)
        return verify(card, folder / self.slug, regenerate=card.sizes[self.size].specimens[self.split], progress=progress).rows_made_again

    def read(self, folder: Path, data: "xr.Dataset") -> Submission:
        """Return the answers of a submission folder to the hidden rows.

        Raises
        ------
        SubmissionError
            They are wrong, or to rows of another split or size.
        """
        submission = read_submission(folder, self.task, data)
        header = submission.header
        if (header.split, header.size) != (self.split, self.size):
            message = f"{folder}: it is for {header.split} {header.size}, the event asks for {self.split} {self.size}. Correct its header."
            raise SubmissionError(message)
        return submission

    def given(self, opened: Path) -> "xr.Dataset":
        """Return the inputs in the content of a bundle."""
        return load_given(self.card, opened / "inputs" / self.slug, self.split)


def hidden_task(event: EventSettings, part: EventTask) -> HiddenTask:
    """Return the hidden rows of a task of an event."""
    task = part.find()
    card = named_card(task.source, task.source_version)
    there = dataclasses.replace(task, source_version=f"{task.source_version}+{event.name}")
    return HiddenTask(task=there, size=part.size, split=task.splits[0], card=card)


def hidden_tasks(event: EventSettings) -> list[HiddenTask]:
    """Return the hidden rows of all prediction tasks of an event."""
    return [hidden_task(event, part) for part in event.tasks]


def split_of(part: EventEnvironment) -> str:
    """Return the split of seeds of an environment."""
    return part.find().splits[0]
