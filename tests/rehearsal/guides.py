"""The guides of participants and organisers, followed to the letter: the fenced commands of the pages themselves run in their order.

:class:`Following` replaces the package, addresses, dates and names in the commands, as a reader does, and nothing else. It also does the two things
that a person does on a web page: it forks the repository and merges the pull request. The small form leaves out installation and practice rows, and
its event has few rows and episodes.
"""

import dataclasses
import datetime
import json
import os
import re
import resource
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.rehearsal.command import ROOT, SMALL_WRAPPER

PARTICIPATING, ORGANISING = ROOT / "docs" / "participating.md", ROOT / "docs" / "organising.md"
LANGUAGE = "sh"
"""Language of the fences that hold commands."""
TEAM, EVENT = "newcomers", "stem-days"
OPENS, CLOSES = "2026-12-15T09:00Z", "2026-12-17T09:00Z"
INSTALL, ENVIRONMENT = "python -m pip install stemtwin", "python -m venv venv && . venv/bin/activate"
PULLED = f"git -C {EVENT} pull\n"
"""Beginning of the block before which the organiser merges."""
PRACTICE = "stemtwin data build denoise@1"
"""Beginning of the block that takes minutes, which the small form leaves out."""
SMALL = {ENVIRONMENT: ":", INSTALL: ":"}
"""Replacements of the small form in both pages."""
EPISODES, FEW_EPISODES = "hypothesis-test:99:2", "hypothesis-test:2:1"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A fenced block of commands, and the heading that it is under."""

    page: Path
    heading: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A block that has run: wall time and processor time in seconds, and its output."""

    block: Block
    wall_s: float
    processor_s: float
    output: str


def blocks(page: Path) -> list[Block]:
    """Return the blocks of commands of a page, in its order."""
    found, heading = [], ""
    for part in re.finditer(r"^## (?P<heading>[^\n]+)$|^```(?P<language>\w*)\n(?P<text>.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S):
        heading = part["heading"] or heading
        if part["language"] == LANGUAGE:
            found.append(Block(page=page, heading=heading, text=part["text"]))
    return found


class Terminal:
    """A folder and variables that last from one block of commands to the next, as in a terminal."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder, self.variables = folder, variables
        self.state = folder / ".terminal"

    def run(self, text: str) -> str:
        """Run commands and return their output; a failure ends everything."""
        script = f"{text}\npwd > {self.state}; env -0 > {self.state}.variables"
        command = ["bash", "-e", "-o", "pipefail", "-c", script]
        done = subprocess.run(command, cwd=self.folder, env=self.variables, capture_output=True, text=True, timeout=3000, check=False)
        if done.returncode:
            sys.exit(f"{text}\nended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        self.folder = Path(self.state.read_text().strip())
        pairs = (line.partition("=") for line in Path(f"{self.state}.variables").read_text().split("\0") if line)
        self.variables = {name: value for name, _, value in pairs}
        return done.stdout


class Following:
    """An organiser and a participant who follow their guides.

    Parameters
    ----------
    folder : Path
        New folder.
    source : str
        Package for pip in the place of ``stemtwin``: a wheel with options. Empty: the small form, which runs this checkout.
    isolation : str
        Isolation of agents: ``bubblewrap`` or ``process``.
    """

    def __init__(self, folder: Path, *, source: str = "", isolation: str) -> None:
        self.folder, self.small = folder.resolve(), not source
        self.origin, self.fork = self.folder / "origin.git", self.folder / "fork.git"
        opens = datetime.datetime.now(datetime.UTC).replace(microsecond=0) - datetime.timedelta(minutes=1)
        installed = SMALL if self.small else {INSTALL: f"python -m pip install --quiet {source}"}
        organiser = {
            OPENS: opens.isoformat(),
            CLOSES: (opens + datetime.timedelta(days=2)).isoformat(),
            "https://github.com/YOU/stem-days": str(self.origin),
        }
        organiser |= {EPISODES: FEW_EPISODES} if self.small else {}
        organiser |= {} if isolation == "bubblewrap" else {"--counts best": f"--counts best --isolation {isolation}"}
        participant = {"https://github.com/ORGANISER/EVENT": str(self.origin), "https://github.com/YOU/EVENT": str(self.fork), "TEAM": TEAM}
        self.replaced = {ORGANISING: installed | organiser, PARTICIPATING: installed | participant}
        for page, values in self.replaced.items():
            text = "".join(block.text for block in blocks(page))
            if missing := [old for old in values if old not in text]:
                sys.exit(f"the commands of {page.name} do not hold {', '.join(missing)}, which is to be replaced")
        self.folder.mkdir(parents=True)
        self.organiser, self.participant = (Terminal(self._home(name), self.variables(name)) for name in ("organiser", "participant"))

    def _home(self, name: str) -> Path:
        """Make an empty folder of a person and return it."""
        home = self.folder / name
        home.mkdir()
        return home

    def variables(self, name: str) -> dict[str, str]:
        """Return the variables of a person: a home and caches without content, and in the small form a command that runs this checkout."""
        git = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", name), ("EMAIL", f"{name}@example.org"))}
        git |= {"GIT_CONFIG_GLOBAL": os.devnull}
        places = {one: str(self.folder / name / one.lower()) for one in ("HOME", "STEMTWIN_DATA_DIR", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
        tools = self.folder / "bin"
        tools.mkdir(exist_ok=True)
        if not (tools / "python").exists():
            (tools / "python").symlink_to(sys.executable)
        if not self.small:
            return {"PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", **git, **places}
        command = tools / "stemtwin"
        command.write_text(SMALL_WRAPPER.format(python=sys.executable))
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
        search = os.pathsep.join((str(tools), str(Path(sys.executable).parent), os.environ["PATH"]))
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        cache = {"STEMTWIN_CACHE_DIR": str(_compiled())}  # compiled kernels, which would take a minute
        return {**os.environ, **git, **places, **cache, "PATH": search, "PYTHONPATH": path}

    def steps(self) -> Iterator[Step]:
        """Run all blocks of both pages in the order of an event, and yield each after it has run."""
        first, last = self.divided()
        self._git(f"init --quiet --bare --initial-branch main {self.origin}")
        for block in first:
            yield self.step(block, self.organiser)
        self._git(f"clone --quiet --bare {self.origin} {self.fork}")
        for block in blocks(PARTICIPATING):
            if not (self.small and block.text.startswith(PRACTICE)):
                yield self.step(block, self.participant)
        self.merge()
        for block in last:
            yield self.step(block, self.organiser)

    def divided(self) -> tuple[list[Block], list[Block]]:
        """Return the organiser's blocks before and after teams have handed in."""
        own = blocks(ORGANISING)
        at = next(number for number, block in enumerate(own) if block.text.startswith(PULLED))
        return own[:at], own[at:]

    def step(self, block: Block, terminal: Terminal) -> Step:
        """Run a block."""
        text = block.text
        for old, new in self.replaced[block.page].items():
            text = text.replace(old, new)
        if "PUBLIC_KEY" in text:
            text = text.replace("PUBLIC_KEY", self.public_key())
        began, used = time.monotonic(), processor_s()
        output = terminal.run(text)
        return Step(block=block, wall_s=time.monotonic() - began, processor_s=processor_s() - used, output=output)

    def merge(self) -> None:
        """Merge the pull request as its button does, in the full form after the check of the workflow."""
        clone, changed = self.folder / "merged", self.folder / "changed"
        self._git(f"clone --quiet {self.origin} {clone}")
        self._git(f"-C {clone} fetch --quiet {self.fork} first")
        self._git(f"-C {clone} merge --quiet --no-ff --no-edit FETCH_HEAD")
        self._git(f"-C {clone} diff --name-only -z HEAD^ HEAD > {changed}")
        if not self.small:
            self.organiser.run(f"cd {clone} && stemtwin event open . --output opened && stemtwin event check . --changed {changed} && cd -")
        self._git(f"-C {clone} push --quiet")

    def _git(self, words: str) -> None:
        """Run Git as the web page of the repository does."""
        self.organiser.run(f"git {words}")

    def public_key(self) -> str:
        """Return the announced public key."""
        text = (self.folder / "organiser" / EVENT / "event.toml").read_text(encoding="utf-8")
        return re.findall(r'^public_key = "(\w+)"$', text, re.M)[0]

    def ranks(self) -> dict[str, str]:
        """Return the ranks of the participant's entries on the signed board, by task and name; an entry without one ends everything."""
        board = json.loads((self.folder / "organiser" / EVENT / "board.json").read_text(encoding="utf-8"))
        rows = [row for row in board["state"]["rows"] if row["team"] == TEAM]
        if not rows or any(row["rank"] is None for row in rows):
            sys.exit(f"the board holds {len(rows)} rows of {TEAM}, not all of which are ranked")
        return {f"{row['task']} {row['name']}": "-".join(str(one) for one in dict.fromkeys(row["rank"])) for row in rows}


def _compiled() -> Path:
    """Return the folder of compiled kernels."""
    from stemtwin.twin.physics.engine.kernels.jit import cache_folder

    return cache_folder()


def processor_s() -> float:
    """Return the processor time of all commands that have ended, s."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime
