"""Rehearsal of an event with twelve teams, from an empty folder to a verified archive.

Each team is a separate process that uses only documented commands. ``make rehearsal`` runs the full form,
``python -m tests.rehearsal.rehearse FOLDER --small`` the small form. A wrong result ends the rehearsal with exit code 1 and
a message.
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
from tests.rehearsal.command import ROOT, SMALL_WRAPPER, WRAPPER

COPIED = shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info")
"""Files of a checkout that are not part of an installation."""
HOST = "python -m stemtwin.benchmarks.isolation.host baseline:"
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
domain = "Two damage laws agree at the usual settings but depend differently on beam energy, dose or time. \
Each exposure uses up an area, so every experiment has a cost. The declared result is a probability, not a decision."
summary = "The next exposure maximises the expected information minus its cost; the answer is the posterior probability."
END
"""
TABLE_NOTES = """
cat >> submissions/{team}/{name}/submission.yaml <<'END'
method:
  domain: Counts are Poisson-distributed, so the noise is the square root of the signal. A Gaussian narrower than an atomic column removes noise
    between the columns, but it blurs finer features, including vacancies.
  summary: Sum of the frames, smoothed by the Gaussian of minimal risk, which is estimated from the counts only.
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
"""File of the commands of a rehearsal with their times."""
SMALL_CHECKED = ("gauss", "bayes", "torn")
"""Teams whose submissions are checked in the small form."""
CHECK = "stemtwin event check . submissions/{team}/{name}\n"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """Team, with the commands that make its submission, and the expected status of the submission."""

    team: str
    name: str
    task: str
    commands: str
    status: str = "scored"
    checked: bool = True
    options: dict[str, str] = dataclasses.field(default_factory=dict)

    def script(self, **more: str) -> str:
        """Return the team's commands."""
        text = "mkdir -p submissions/{team}/{name}\n" + self.commands + (CHECK if self.checked else "")
        values = {"team": self.team, "name": self.name, "task": self.task, **self.options, **more}
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        return text


def host(task: str, baseline: str) -> dict[str, str]:
    """Return the options of an agent whose program is a baseline."""
    return {"program": f"{HOST}{task}/{baseline}"}


LOOKER = Team(team="looker", name="truth", task="denoise", commands=PUBLIC_TRUTH, status="refused", checked=False)
LINKER = dataclasses.replace(LOOKER, commands=LINK, options={"baseline": "counts"})
"""Third cheating team: it submits the truth of the public rows, which takes minutes to build, or in the small form a link to the secrets."""
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
"""Seven honest teams, two with broken submissions, and three that cheat: one looks for the keys, one submits the truth of the
public rows, and one submits the answers of another team."""


class Rehearsal:
    """Rehearsal in a folder.

    Parameters
    ----------
    folder : Path
        New folder of the rehearsal.
    small : bool
        Whether the rehearsal has few, cheap rows and few episodes; see :mod:`tests.rehearsal.command`.
    isolation : str
        Isolation of agents.
    size : str
        Size of the dataset ``denoise`` in the full form.
    """

    def __init__(self, folder: Path, *, small: bool, isolation: str, size: str = "std") -> None:
        self.folder, self.small, self.isolation, self.size = folder.resolve(), small, isolation, "tiny" if small else size
        self.teams = tuple(LINKER if small and team is LOOKER else team for team in TEAMS)
        self.event, self.secret, self.archive = (self.folder / name for name in ("trial", "trial-secret", "trial-archive"))
        self.began, self.times = time.monotonic(), list[tuple[str, float]]()
        (self.folder / "bin").mkdir(parents=True)
        wrapper = self.folder / "bin" / "stemtwin"
        wrapper.write_text((SMALL_WRAPPER if small else WRAPPER).format(python=sys.executable))
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
        (self.folder / "bin" / "python").symlink_to(sys.executable)

    def environment(self) -> dict[str, str]:
        """Return the environment of a process, with the path of this package and a name for Git."""
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
            sys.exit(f"{script}\nended with exit code {done.returncode}, expected {code}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done.stdout

    def tell(self, text: str) -> None:
        """Print a step with the time since the start."""
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
        self.tell("event made, bundle sealed")
        self.run("stemtwin event open . && git add --all && git commit --quiet --message Key", self.event)
        self.tell("bundle opened")

    def play(self, team: Team) -> None:
        """Make the submission of a team in a clone of its own, and push it as a branch."""
        clone = self.folder / "teams" / team.team
        document = str(ROOT / "docs" / "agents.md")
        opened = " && stemtwin event open ." if not self.small or "event predict" in team.commands else ""  # agents need no rows
        script = (
            f"git clone --quiet {self.event} .{opened}\n"
            + self.script(team, document=document, secret=str(self.secret))
            + f"git add submissions && git commit --quiet --message {team.team} && git push --quiet origin HEAD:refs/heads/{team.team}\n"
        )
        clone.mkdir(parents=True)
        self.run(script, clone)

    def script(self, team: Team, **more: str) -> str:
        """Return the commands of a team, in the small form without the check."""
        return (dataclasses.replace(team, checked=False) if self.small else team).script(**more)

    def merge(self) -> None:
        """Merge the branches of all teams, and check the changed submissions."""
        for team in self.teams:
            changed = self.folder / "changed"
            self.run(f"git diff --name-only -z main...{team.team} > {changed} && git merge --quiet --no-ff --no-edit {team.team}", self.event)
            if not self.small or team.team in SMALL_CHECKED:
                self.run(f"stemtwin event check . --changed {changed}", self.event, code=0 if team.status == "scored" else 1)

    def score(self) -> None:
        """Score all submissions twice, which must not change the board; compare the teams, and disqualify the one that copied."""
        outcomes = {one["label"]: one for one in json.loads(self.run("stemtwin event score trial --json", self.folder))}
        self.tell(f"{len(outcomes)} submissions scored or refused")
        for team in self.teams:
            found = outcomes[f"{team.team}/{team.name}"]
            if found["status"] != team.status:
                sys.exit(f"{team.team}/{team.name} is {found['status']}, expected {team.status}: {found['text']}")
        before = (self.event / "board.json").read_bytes()
        self.run("stemtwin event score trial", self.folder)
        if (self.event / "board.json").read_bytes() != before:
            sys.exit("the second scoring changed the board")
        said = self.run("stemtwin event jury trial", self.folder)
        if not all(f"{one}/smooth: " in said for one in ("gauss", "mirror")):
            sys.exit(f"the copy of gauss/smooth by mirror is not reported:\n{said}")
        self.run('stemtwin event disqualify trial mirror --reason "The team submitted the answers of another team."', self.folder)

    def end(self) -> None:
        """Freeze the event, add a late submission, and close the event."""
        self.run("stemtwin event freeze trial", self.folder)
        shutil.copytree(self.event / "submissions" / "bayes", self.event / "submissions" / "late")
        self.run("stemtwin event close trial", self.folder)
        self.tell("event frozen and closed")

    def verify(self) -> None:
        """Verify the packed archive with another home folder and empty caches; in the full form, in a new installation."""
        apart = self.folder / "apart"
        apart.mkdir()
        shutil.copyfile(self.archive.with_name(f"{self.archive.name}.zip"), apart / "archive.zip")
        places = {name: str(apart / name.lower()) for name in ("HOME", "STEMTWIN_DATA_DIR", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
        if self.small:  # compiled kernels are reused, as their compilation takes a minute
            environment = self.environment() | places | {"STEMTWIN_CACHE_DIR": str(cache_folder())}
        else:
            environment = {"PATH": f"{self.install(apart)}:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", **places}
            where = self.run('python -c "import stemtwin; print(stemtwin.__file__)"', apart, environment=environment)
            if not where.startswith(str(apart)):
                sys.exit(f"the archive would be verified by {where}, not by the new installation")
        public_key = next(line.split('"')[1] for line in (self.event / "event.toml").read_text().splitlines() if line.startswith("public_key"))
        part = " --specimens 2" if self.small else ""
        alone = "bwrap --dev-bind / / --unshare-net " if self.isolation == "bubblewrap" else ""  # without a network
        said = self.run(f"{alone}stemtwin event verify archive.zip --public-key {public_key}{part}", apart, environment=environment)
        if not said.endswith("verified\n"):
            sys.exit(said)
        self.tell("archive verified")

    def install(self, apart: Path) -> Path:
        """Install from wheels in a new virtual environment, without a network, like teams do; return the folder of its programs."""
        shutil.copytree(ROOT, apart / "source", ignore=COPIED)
        self.run("python -m pip wheel --quiet --wheel-dir wheels ./source", apart)
        shutil.rmtree(apart / "source")
        self.tell(f"{len(list((apart / 'wheels').glob('*.whl')))} wheels built")
        clean = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(apart / "home"), "LANG": "C.UTF-8"}
        self.run(f"{sys.executable} -m venv fresh", apart, environment=clean)
        self.run("fresh/bin/python -m pip install --quiet --no-index --find-links wheels stemtwin", apart, environment=clean)
        self.tell("new installation made")
        return apart / "fresh" / "bin"

    def longest(self, count: int = 12) -> list[tuple[str, float]]:
        """Return the slowest commands with their times, s."""
        return sorted(self.times, key=lambda one: -one[1])[:count]

    def board(self) -> list[dict[str, Any]]:
        """Return the rows of the signed board."""
        return json.loads((self.archive / "board.json").read_text())["state"]["rows"]

    def judge(self) -> None:
        """Check that honest teams are ranked, that broken and late submissions are not, and that cheating has no effect."""
        rows = {row["team"]: row for row in self.board()}
        expected = {team.team for team in TEAMS if team.status == "scored"} - {"mirror"}
        if set(rows) != expected or any(row["rank"] is None for row in rows.values()):
            sys.exit(f"the board ranks {sorted(rows)}, expected {sorted(expected)}")
        kinds = [line["kind"] for line in map(json.loads, (self.archive / "log.jsonl").read_text().splitlines())]
        refused = 2 if self.small else 3  # tables and the late submission; a link is refused without a line of the log
        if kinds.count("refused") != refused or kinds[-1] != "closed":
            sys.exit(f"the log has {kinds}, expected {refused} refused and the last closed")
        runs = [path.read_text() for path in (self.archive / "results").glob("*/episodes.json")]
        if any("the keys are there" in text for text in runs) and self.isolation == "bubblewrap":
            sys.exit("an agent read the keys")


def rehearse(folder: Path, *, small: bool, isolation: str, size: str = "std", workers: int = 2) -> list[dict[str, Any]]:
    """Rehearse an event, and return the rows of its board; see :class:`Rehearsal`."""
    made = Rehearsal(folder, small=small, isolation=isolation, size=size)
    made.make()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(made.play, made.teams))
    made.tell(f"{len(TEAMS)} teams have handed in")
    made.merge()
    made.tell("submissions merged and checked")
    made.score()
    made.end()
    made.verify()
    made.judge()
    made.tell(f"board as expected; pages: {made.archive / 'pages' / 'index.html'}")
    steps = {"small": small, "isolation": isolation, "seconds": time.monotonic() - made.began, "teams": len(TEAMS), "times": made.times}
    (made.folder / STEPS).write_text(json.dumps(steps, indent=1) + "\n")
    for script, seconds in made.longest():
        sys.stdout.write(f"{seconds:6.1f} s for: {script[:110]}\n")
    return made.board()


def main() -> None:
    """Run a rehearsal from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="new folder of the rehearsal")
    parser.add_argument("--small", action="store_true", help="use few rows and episodes")
    parser.add_argument("--isolation", default="bubblewrap", choices=("bubblewrap", "process"), help="isolation of agents")
    parser.add_argument("--size", default="std", help="size of the dataset denoise in the full form")
    asked = parser.parse_args()
    for row in rehearse(asked.folder, small=asked.small, isolation=asked.isolation, size=asked.size):
        sys.stdout.write(f"{row['task']:18} {row['rank']!s:8} {row['value']!s:24} {row['team']}/{row['name']}\n")


if __name__ == "__main__":
    main()
