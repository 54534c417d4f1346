"""A rehearsal of an event: twelve teams, each a process of its own that uses documented commands only, from an empty folder to a verified archive.

``make rehearsal`` runs it in full, ``python -m tests.rehearsal.rehearse FOLDER --small`` in its small form. It ends with exit code 1 and a sentence
where anything is not as it should be.
"""

import argparse
import dataclasses
import datetime
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stemtwin.twin.physics.engine.kernels.jit import cache_folder

COPIED = shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info")
"""What of a checkout is no part of an installation."""
ROOT = Path(__file__).resolve().parents[2]
HOST = "python -m stemtwin.benchmarks.isolation.host baseline:"
WRAPPER = '#!/bin/sh\nexec "{python}" -c "from stemtwin.leaderboard.cli.main import run; run()" "$@"\n'
AGENT = """
cat > submissions/{team}/{name}/agent.toml <<'END'
schema = "stemtwin/agent-submission@1"
task = "{task}"
program = "{program}"
END
"""
AGENT_NOTES = """
cat >> submissions/{team}/{name}/agent.toml <<'END'

[method]
domain = "Two laws of damage agree at the usual settings and part at others: by energy, by dose or by time. \
An area is spent by its exposure, so that every question has its price. What is declared is a probability, not a verdict."
summary = "The next exposure is the one of greatest expected information, less its price; the answer is the posterior probability."
END
"""
TABLE_NOTES = """
cat >> submissions/{team}/{name}/submission.yaml <<'END'
method:
  domain: Counts follow Poisson's law, so that noise is as strong as the square root of the signal. A Gaussian that is narrower than a column takes
    noise from between the columns. It rounds what is narrower than itself, vacancies among them.
  summary: Sum of the frames, smoothed by the Gaussian of the least risk, which is estimated from the counts alone.
END
"""
CLIENT = """
python - > submissions/{team}/{name}/agent.py <<'END'
import pathlib
print(pathlib.Path(r"{document}").read_text().split("```python\\n")[1].split("```")[0])
END
"""
THIEF = """
cat >> submissions/{team}/{name}/thief.py <<'END'
import pathlib, socket, sys
for name in ("{secret}/keys.json", "{secret}/results", "/etc/passwd", str(pathlib.Path.home() / ".ssh")):
    print(name, pathlib.Path(name).exists(), file=sys.stderr)
try:
    socket.create_connection(("1.1.1.1", 80), timeout=2)
    print("network", file=sys.stderr)
except OSError:
    pass
if pathlib.Path("{secret}/keys.json").exists():
    sys.exit("the keys are there")
exec(compile(open("agent.py").read(), "agent.py", "exec"))
END
"""
PUBLIC_TRUTH = """
stemtwin eval denoise --baseline oracle --size tiny --output run
cp run/submission/* submissions/{team}/{name}/
sed -i 's/dataset: .*/dataset: denoise@1.0.0+trial/' submissions/{team}/{name}/submission.yaml
"""
PREDICT = "stemtwin event predict opened --task {task} --baseline {baseline} --output submissions/{team}/{name}\n"
LINK = (
    PREDICT
    + """
ln -s {secret} submissions/{team}/{name}/method
"""
)
ONE_ROW_LESS = """
stemtwin event predict opened --task denoise --baseline counts --output submissions/{team}/{name}
python - submissions/{team}/{name} <<'END'
import pathlib, sys
next(pathlib.Path(sys.argv[1]).glob("*.parquet")).write_bytes(b"PAR1 and nothing more")
END
"""
STEPS = "steps.json"
"""File of what a rehearsal took."""
SMALL_CHECKED = ("gauss", "bayes", "torn")
"""Teams whose check the small form runs."""
CHECK = "stemtwin event check . submissions/{team}/{name}\n"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """A team: the commands that make its submission, and whether it is refused, or crashes in every episode."""

    team: str
    name: str
    task: str
    commands: str
    status: str = "scored"
    checked: bool = True
    options: dict[str, str] = dataclasses.field(default_factory=dict)

    def script(self, **more: str) -> str:
        """Return its commands."""
        text = "mkdir -p submissions/{team}/{name}\n" + self.commands + (CHECK if self.checked else "")
        values = {"team": self.team, "name": self.name, "task": self.task, **self.options, **more}
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        return text


def host(task: str, baseline: str) -> dict[str, str]:
    """Return the program of an agent that is a baseline."""
    return {"program": f"{HOST}{task}/{baseline}"}


LOOKER = Team(team="looker", name="truth", task="denoise", commands=PUBLIC_TRUTH, status="refused", checked=False)
LINKER = dataclasses.replace(LOOKER, commands=LINK, options={"baseline": "counts"})
"""The third that cheats: by the truth of the public rows, which takes minutes to build, or in the small form by a link to the secret folder."""
TEAMS = (
    Team(team="gauss", name="smooth", task="denoise", commands=PREDICT + TABLE_NOTES, options={"baseline": "gaussian"}),
    Team(team="counters", name="raw", task="denoise", commands=PREDICT, options={"baseline": "counts"}),
    Team(team="spotters", name="log", task="atoms-2d", commands=PREDICT, options={"baseline": "log"}),
    Team(team="dice", name="random", task="atoms-2d", commands=PREDICT, options={"baseline": "random"}),
    Team(team="bayes", name="expert", task="hypothesis-test", commands=AGENT + AGENT_NOTES, options=host("hypothesis-test", "expert")),
    Team(team="client", name="numpy", task="hypothesis-test", commands=CLIENT + AGENT, options={"program": "python agent.py"}),
    Team(team="focus", name="still", task="autofocus", commands=AGENT, options=host("autofocus", "random")),
    Team(team="crash", name="false", task="autofocus", commands=AGENT, options={"program": "false"}),
    Team(team="torn", name="table", task="denoise", commands=ONE_ROW_LESS, status="refused", checked=False),
    Team(team="thief", name="keys", task="hypothesis-test", commands=CLIENT + THIEF + AGENT, options={"program": "python thief.py"}),
    LOOKER,
    Team(team="mirror", name="smooth", task="denoise", commands=PREDICT, options={"baseline": "gaussian"}),
)
"""Seven honest teams, two whose submissions are broken, and three that cheat: one that looks for the keys, one that hands in the truth of the public
rows, one that hands in the answers of another team."""


class Rehearsal:
    """A rehearsal in a folder.

    Parameters
    ----------
    folder : Path
        New folder.
    small : bool
        Few rows and episodes.
    isolation : str
        In what agents run.
    size : str
        Size of the rows of ``denoise`` in the full form.
    """

    def __init__(self, folder: Path, *, small: bool, isolation: str, size: str = "std") -> None:
        self.folder, self.small, self.isolation, self.size = folder.resolve(), small, isolation, "tiny" if small else size
        self.teams = tuple(LINKER if small and team is LOOKER else team for team in TEAMS)
        self.event, self.secret, self.archive = (self.folder / name for name in ("trial", "trial-secret", "trial-archive"))
        self.began, self.times = time.monotonic(), list[tuple[str, float]]()
        (self.folder / "bin").mkdir(parents=True)
        wrapper = self.folder / "bin" / "stemtwin"
        wrapper.write_text(WRAPPER.format(python=sys.executable))
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
        (self.folder / "bin" / "python").symlink_to(sys.executable)

    def environment(self) -> dict[str, str]:
        """Return the variables of a process: this package, and a name for Git."""
        search = os.pathsep.join((str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]))
        git = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "team"), ("EMAIL", "team@example.org"))}
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        return {**os.environ, **git, "PATH": search, "PYTHONPATH": path, "GIT_CONFIG_GLOBAL": os.devnull}

    def run(self, script: str, where: Path, *, code: int = 0, environment: dict[str, str] | None = None) -> str:
        """Run commands and return their output; a wrong exit code ends the rehearsal."""
        command, began = ["bash", "-e", "-o", "pipefail", "-c", script], time.monotonic()
        variables = self.environment() if environment is None else environment
        done = subprocess.run(command, cwd=where, env=variables, capture_output=True, text=True, timeout=6000, check=False)
        self.times.append((next(line for line in script.splitlines() if line), time.monotonic() - began))
        if done.returncode != code:
            sys.exit(f"{script}\nended with {done.returncode}, not {code}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done.stdout

    def tell(self, text: str) -> None:
        """Print a step with the time since the beginning."""
        sys.stdout.write(f"{time.monotonic() - self.began:6.1f} s  {text}\n")
        sys.stdout.flush()

    def make(self) -> None:
        """Make the event, seal its bundle, put it into a repository, and open it."""
        opens = datetime.datetime.now(datetime.UTC).replace(microsecond=0) - datetime.timedelta(minutes=1)
        size, episodes = self.size, "3" if self.small else "20"
        self.run(
            f"stemtwin event new trial --task denoise:{size} --task atoms-2d:tiny --environment hypothesis-test:{episodes}:2 "
            f"--environment autofocus:{episodes} --opens {opens.isoformat()} --site Berlin=Europe/Berlin --site Knoxville=America/New_York "
            f"--isolation {self.isolation} --honeypots {1 if self.small else 2} && stemtwin event seal trial",
            self.folder,
        )
        self.run("git init --quiet --initial-branch main . && git add --all && git commit --quiet --message Event", self.event)
        self.tell("made and sealed")
        self.run("stemtwin event open . && git add --all && git commit --quiet --message Key", self.event)
        self.tell("opened")

    def play(self, team: Team) -> None:
        """Make the submission of a team in a clone of its own, and push it as a branch."""
        clone = self.folder / "teams" / team.team
        document = str(ROOT / "docs" / "agents.md")
        opened = " && stemtwin event open ." if not self.small or "event predict" in team.commands else ""  # who sends an agent needs no rows
        script = (
            f"git clone --quiet {self.event} .{opened}\n"
            + self.script(team, document=document, secret=str(self.secret))
            + f"git add submissions && git commit --quiet --message {team.team} && git push --quiet origin HEAD:refs/heads/{team.team}\n"
        )
        clone.mkdir(parents=True)
        self.run(script, clone)

    def script(self, team: Team, **more: str) -> str:
        """Return the commands of a team; in the small form most leave the check to the merge."""
        return (dataclasses.replace(team, checked=False) if self.small else team).script(**more)

    def merge(self) -> None:
        """Merge the branches of all teams, after the check of what each changes."""
        for team in self.teams:
            changed = self.folder / "changed"
            self.run(f"git diff --name-only -z main...{team.team} > {changed} && git merge --quiet --no-ff --no-edit {team.team}", self.event)
            if not self.small or team.team in SMALL_CHECKED:
                self.run(f"stemtwin event check . --changed {changed}", self.event, code=0 if team.status == "scored" else 1)

    def score(self) -> None:
        """Score everything, twice: the second time changes nothing. Then compare the teams, and disqualify the one that copied."""
        outcomes = {one["label"]: one for one in json.loads(self.run("stemtwin event score trial --json", self.folder))}
        self.tell(f"{len(outcomes)} submissions scored or refused")
        for team in self.teams:
            found = outcomes[f"{team.team}/{team.name}"]
            if found["status"] != team.status:
                sys.exit(f"{team.team}/{team.name} is {found['status']}, not {team.status}: {found['text']}")
        before = (self.event / "board.json").read_bytes()
        self.run("stemtwin event score trial", self.folder)
        if (self.event / "board.json").read_bytes() != before:
            sys.exit("scoring twice changed the board")
        said = self.run("stemtwin event jury trial", self.folder)
        if not all(f"{one}/smooth: " in said for one in ("gauss", "mirror")):
            sys.exit(f"the copy of gauss/smooth by mirror is not named:\n{said}")
        self.run('stemtwin event disqualify trial mirror --reason "It handed in the answers of another team."', self.folder)

    def end(self) -> None:
        """Freeze and close, and refuse what comes late."""
        self.run("stemtwin event freeze trial", self.folder)
        shutil.copytree(self.event / "submissions" / "bayes", self.event / "submissions" / "late")
        self.run("stemtwin event close trial", self.folder)
        self.tell("frozen and closed")

    def verify(self) -> None:
        """Verify the packed archive alone, with empty caches and another home; in full in an installation of its own, without this checkout."""
        apart = self.folder / "apart"
        apart.mkdir()
        shutil.copyfile(self.archive.with_name(f"{self.archive.name}.zip"), apart / "archive.zip")
        places = {name: str(apart / name.lower()) for name in ("HOME", "STEMTWIN_DATA_DIR", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
        if self.small:  # compiled kernels are kept, which would take a minute
            environment = self.environment() | places | {"STEMTWIN_CACHE_DIR": str(cache_folder())}
        else:
            environment = {"PATH": f"{self.install(apart)}:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", **places}
            where = self.run('python -c "import stemtwin; print(stemtwin.__file__)"', apart, environment=environment)
            if not where.startswith(str(apart)):
                sys.exit(f"the archive would be verified by {where}, not by the new installation")
        public_key = next(line.split('"')[1] for line in (self.event / "event.toml").read_text().splitlines() if line.startswith("public_key"))
        part = " --specimens 2" if self.small else ""
        alone = "bwrap --dev-bind / / --unshare-net " if self.isolation == "bubblewrap" else ""  # there is no network
        said = self.run(f"{alone}stemtwin event verify archive.zip --public-key {public_key}{part}", apart, environment=environment)
        if not said.endswith("verified\n"):
            sys.exit(said)
        self.tell("verified")

    def install(self, apart: Path) -> Path:
        """Make a virtual environment with an installation from wheels, without a network, as teams make it of a bundle's; return its programs."""
        shutil.copytree(ROOT, apart / "source", ignore=COPIED)
        self.run("python -m pip wheel --quiet --wheel-dir wheels ./source", apart)
        shutil.rmtree(apart / "source")
        self.tell(f"{len(list((apart / 'wheels').glob('*.whl')))} wheels packed")
        clean = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(apart / "home"), "LANG": "C.UTF-8"}
        self.run(f"{sys.executable} -m venv fresh", apart, environment=clean)
        self.run("fresh/bin/python -m pip install --quiet --no-index --find-links wheels stemtwin", apart, environment=clean)
        self.tell("installed anew")
        return apart / "fresh" / "bin"

    def longest(self, count: int = 12) -> list[tuple[str, float]]:
        """Return the longest commands with their seconds."""
        return sorted(self.times, key=lambda one: -one[1])[:count]

    def board(self) -> list[dict[str, Any]]:
        """Return the rows of the signed board."""
        return json.loads((self.archive / "board.json").read_text())["state"]["rows"]

    def judge(self) -> None:
        """Check what the board must show: honest ones ranked, broken and late ones not, and no gain for those that cheat."""
        rows = {row["team"]: row for row in self.board()}
        expected = {team.team for team in TEAMS if team.status == "scored"} - {"mirror"}
        if set(rows) != expected or any(row["rank"] is None for row in rows.values()):
            sys.exit(f"the board ranks {sorted(rows)}, not {sorted(expected)}")
        kinds = [line["kind"] for line in map(json.loads, (self.archive / "log.jsonl").read_text().splitlines())]
        refused = 2 if self.small else 3  # tables and the late one; a link is refused before it is read, which is no line
        if kinds.count("refused") != refused or kinds[-1] != "closed":
            sys.exit(f"the log has {kinds}")
        runs = [path.read_text() for path in (self.archive / "results").glob("*/episodes.json")]
        if any("the keys are there" in text for text in runs) and self.isolation == "bubblewrap":
            sys.exit("an agent read the keys")


def rehearse(folder: Path, *, small: bool, isolation: str, size: str = "std", workers: int = 2) -> list[dict[str, Any]]:
    """Rehearse an event, and return the rows of its board; see :class:`Rehearsal`."""
    made = Rehearsal(folder, small=small, isolation=isolation, size=size)
    made.make()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(made.play, made.teams))
    made.tell(f"{len(TEAMS)} teams handed in")
    made.merge()
    made.tell("merged and checked")
    made.score()
    made.end()
    made.verify()
    made.judge()
    made.tell(f"ranks equal, pages: {made.archive / 'pages' / 'index.html'}")
    steps = {"small": small, "isolation": isolation, "seconds": time.monotonic() - made.began, "teams": len(TEAMS), "times": made.times}
    (made.folder / STEPS).write_text(json.dumps(steps, indent=1) + "\n")
    for script, seconds in made.longest():
        sys.stdout.write(f"{seconds:6.1f} s of these: {script[:110]}\n")
    return made.board()


def main() -> None:
    """Rehearse by the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="new folder")
    parser.add_argument("--small", action="store_true", help="few rows and episodes")
    parser.add_argument("--isolation", default="bubblewrap", choices=("bubblewrap", "process"))
    parser.add_argument("--size", default="std", help="size of the rows of denoise in the full form")
    asked = parser.parse_args()
    for row in rehearse(asked.folder, small=asked.small, isolation=asked.isolation, size=asked.size):
        sys.stdout.write(f"{row['task']:18} {row['rank']!s:8} {row['value']!s:24} {row['team']}/{row['name']}\n")


if __name__ == "__main__":
    main()
