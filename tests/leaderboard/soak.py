"""Kills of submitters, scorers, runners and agents at random moments, by ``make soak`` 200 times, in the slow tests 12 times.

Run as ``python -m tests.leaderboard.soak KILLS FOLDER [SEED]``. A process that has everything imported makes children; each does one of five jobs
over and over the same work, and is killed by SIGKILL at a random moment of it, or is not. What a child has been told to be done must be there after
that, whole and once; in the end everything is. Of the job that plays agents, every second kill is one of the agent: its episode has failed then, and
the runner ends by itself.
"""

import contextlib
import dataclasses
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil

from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.episodes import read_episodes
from stemtwin.benchmarks.replays import replay_run
from stemtwin.benchmarks.report import read_report
from stemtwin.benchmarks.runner import score_submission
from stemtwin.benchmarks.submission import read_submission, write_submission
from stemtwin.benchmarks.tasks import find_task
from stemtwin.datasets import storage
from stemtwin.leaderboard.events.creation import new_event
from stemtwin.leaderboard.events.folders import open_organiser
from stemtwin.leaderboard.events.inbox import HASH_DIGITS, hand_in
from stemtwin.leaderboard.events.scoring import score_event
from stemtwin.leaderboard.events.submissions import digest_of
from stemtwin.leaderboard.pages.site import write_pages
from stemtwin.leaderboard.store import Store
from tests.benchmarks.frames import make
from tests.leaderboard.events.conftest import SETTINGS
from tests.leaderboard.events.conftest import hand_in as hand_agent
from tests.leaderboard.test_store import report_of
from tests.leaderboard.test_submit import write_settings

TASK = find_task("atoms-2d")
DATA = make(n=3, clusters=3)
REPORTS, FOLDERS, AGENTS, EPISODES = 30, 5, 2, 2
Acknowledge = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Place:
    """Folder in which everything lies."""

    folder: Path

    @property
    def board(self) -> Path:
        """File of the board."""
        return self.folder / "board.db"

    @property
    def sources(self) -> list[Path]:
        """Submissions that are scored and handed in."""
        return [self.folder / "sources" / f"{number}" for number in range(FOLDERS)]

    def prepare(self) -> None:
        """Write the submissions and the settings of an event."""
        there = dataclasses.replace(TASK, source_version=f"{TASK.source_version}+spring")
        for number, path in enumerate(self.sources):
            rng = np.random.default_rng(number)
            found = {name: Points.at(rng.uniform(0, 12, (4, 2))) for name in DATA["sample_id"].values.tolist()}
            write_submission(path, there, found, split="test", size="tiny", name=f"entry {number}", team="us")
        inputs = self.folder / "event" / "opened" / "inputs" / "atoms-2d-1"
        inputs.mkdir(parents=True)
        (inputs / "test.nc").touch()
        write_settings(self.folder / "event")
        make_trial(self.folder)


def make_trial(folder: Path) -> None:
    """Make an event with agents."""
    new_event(folder / "trial", {**SETTINGS, "environments": [{"task": "hypothesis-test", "episodes": EPISODES}]})
    for number in range(AGENTS):
        hand_agent(folder / "trial", f"team{number}", "agent", f"0.{number + 1}")


def submit(place: Place, done: Acknowledge) -> None:
    """Enter reports."""
    with Store(place.board) as store:
        for number in range(REPORTS):
            store.submit(report_of(number / 100, entry="report"))
            done(f"report-{number / 100}")


def score(place: Place, done: Acknowledge) -> None:
    """Read, check, score and enter submissions."""
    there = dataclasses.replace(TASK, source_version=f"{TASK.source_version}+spring")
    for path in place.sources:
        report = score_submission(there, DATA, read_submission(path, there, DATA)).report
        with Store(place.board) as store:
            store.submit(report)
        done(report.artefact_sha256)


def hand(place: Place, done: Acknowledge) -> None:
    """Hand submissions in to the event."""
    for path in place.sources:
        done(hand_in(path, place.folder / "event", "us").path.name)


def show(place: Place, done: Acknowledge) -> None:
    """Write pages of the board."""
    with Store(place.board, read_only=place.board.exists()) as store:
        for path in write_pages(store, place.folder / "pages"):
            done(path.name)


def play(place: Place, done: Acknowledge) -> None:
    """Score agents of an event, each a process."""

    def tell(text: str) -> None:
        if " scored: " in text:
            done(text.partition(": ")[2].partition("/")[0])

    score_event(open_organiser(place.folder / "trial"), tell=tell)


JOBS = (submit, score, hand, show, play)


def kill(child: int, *, agents: bool) -> bool:
    """Kill a child, or the processes that it has started; return whether one was there."""
    there = psutil.Process(child).children(recursive=True) if agents else [psutil.Process(child)]
    for one in there:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    return bool(there)


def work(job: Callable[[Place, Acknowledge], None], place: Place, wait_s: float | None, *, agents: bool = False) -> tuple[set[str], bool]:
    """Do a job in a child, kill it after a time unless it has ended; return what it said to be done, and whether something was killed.

    With ``agents``, the processes that the child has started are killed in its place.
    """
    hit = False
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(out)
            job(place, lambda text: os.write(into, f"{text}\n".encode()) and None)
            code = 0
        finally:
            os._exit(code)
    os.close(into)
    if wait_s is not None:
        time.sleep(wait_s)
        with contextlib.suppress(psutil.NoSuchProcess):
            hit = kill(child, agents=agents)
    with os.fdopen(out) as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    assert (killed and not agents) or os.waitstatus_to_exitcode(status) == 0, f"{job.__name__} ended with {status}"
    return {line for line in told.split("\n")[:-1] if line}, killed or (agents and hit)


def check(place: Place, acknowledged: dict[str, set[str]]) -> None:
    """Compare what is there with what was said to be done."""
    if place.board.exists():
        with Store(place.board) as store:
            entries = store.entries()
        artefacts = [entry.artefact_sha256 for entry in entries]
        assert len(artefacts) == len(set(artefacts)), "a row stands twice"
        assert acknowledged["submit"] | acknowledged["score"] <= set(artefacts), "a row is lost"
        assert all(len(entry.scores) >= 2 for entry in entries), "a row is not whole"
        connection = sqlite3.connect(place.board)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
    there = {path.name: path for path in handed(place)}
    assert acknowledged["hand"] <= set(there), "a submission is lost"
    assert all(path.name.endswith(digest_of(path)[:HASH_DIGITS]) for path in there.values()), "a submission is not whole"
    for path in (place.folder / "pages").glob("[!.]*.html"):
        assert path.read_text(encoding="utf-8").rstrip().endswith("</html>"), "a page is not whole"


def verify_agents(place: Place) -> None:
    """Play every run again: whatever was killed, actions, truth and score belong together; no agent is left behind."""
    organiser = open_organiser(place.folder / "trial")
    runs = [line.content["run"] for line in organiser.folder.lines if line.kind == "scored"]
    assert len(runs) == AGENTS, "an agent is not scored"
    for run in runs:
        replay_run(organiser.secret / run, keys=organiser.keys)
    until = time.monotonic() + 10
    while left := [one for one in psutil.process_iter(["cwd"]) if str(one.info["cwd"]).startswith(str(place.folder / "trial"))]:
        assert time.monotonic() < until, f"{len(left)} agents outlive their runners"
        time.sleep(0.05)


def check_agents(place: Place, acknowledged: set[str], shot: int) -> None:
    """Compare what is there of the agents with what was said to be done; no more episodes failed than agents were killed."""
    organiser = open_organiser(place.folder / "trial")
    lines = [line.content for line in organiser.folder.lines if line.kind == "scored"]
    teams = [one["team"] for one in lines]
    assert len(teams) == len(set(teams)), "an agent is scored twice"
    assert acknowledged <= set(teams), "a score is lost"
    for path in (organiser.secret / "runs").glob("[!.]*.json"):
        numbers = [one.number for one in read_episodes(path)]
        assert numbers == list(range(len(numbers))), "an episode is lost or there twice"
    reports = [read_report(organiser.secret / one["run"] / "report.json") for one in lines]
    assert all(report.source.n == EPISODES for report in reports), "a run is not whole"
    assert sum(sum(report.failures.values()) for report in reports) <= shot, "an episode failed without a fault of its agent"


def handed(place: Place) -> Iterator[Path]:
    """Give the submissions of the event: every folder there is a whole one."""
    yield from (place.folder / "event" / "submissions").glob("*/*")


def soak(kills: int, folder: Path, seed: int) -> None:
    """Kill jobs until so many are dead, then let each job end, and compare everything."""
    rng, place = np.random.default_rng(seed), Place(folder)
    place.prepare()
    storage.read_netcdf = lambda *_: DATA  # type: ignore[assignment]
    acknowledged: dict[str, set[str]] = {job.__name__: set() for job in JOBS}
    lengths: dict[str, float] = {}
    for job in JOBS:  # how long one takes, in a place of its own
        trial = Place(folder / f"trial-{job.__name__}")
        trial.prepare()
        began = time.monotonic()
        work(job, trial, None)
        lengths[job.__name__] = time.monotonic() - began
    dead, number, shot = 0, 0, 0
    while dead < kills:
        job = JOBS[number % len(JOBS)]
        agents = job is play and number // len(JOBS) % 2 == 1
        number += 1
        told, killed = work(job, place, float(rng.uniform(0, 1.1 * lengths[job.__name__])), agents=agents)
        dead, shot = dead + killed, shot + (agents and killed)
        acknowledged[job.__name__] |= told
        check(place, acknowledged)
        check_agents(place, acknowledged["play"], shot)
        if job is play and len(acknowledged["play"]) == AGENTS:  # all are scored: the next ones are new
            verify_agents(place)
            shutil.rmtree(place.folder / "trial")
            shutil.rmtree(place.folder / "trial-secret")
            make_trial(place.folder)
            acknowledged["play"], shot = set(), 0
    for job in JOBS:
        acknowledged[job.__name__] |= work(job, place, None)[0]
    check(place, acknowledged)
    check_agents(place, acknowledged["play"], shot)
    verify_agents(place)
    with Store(place.board) as store:
        assert len(store.entries()) == REPORTS + FOLDERS, "rows are missing or too many"
    assert len(list(handed(place))) == FOLDERS, "submissions are missing or too many"
    sys.stdout.write(f"{dead} of {number} jobs killed; {REPORTS + FOLDERS} rows, {FOLDERS} submissions: nothing lost, nothing twice\n")


if __name__ == "__main__":
    soak(int(sys.argv[1]), Path(sys.argv[2]).resolve(), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
