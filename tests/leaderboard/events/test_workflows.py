"""The workflows of an event, run step by step as GitHub runs them: same shell, variables and order, with a local repository and this checkout."""

import dataclasses
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from stemtwin.benchmarks.isolation.sandbox import strongest_level
from stemtwin.leaderboard.events.creation import publish_key, seal_event
from stemtwin.leaderboard.events.event_pages import WORKFLOWS
from stemtwin.leaderboard.events.folders import Organiser, open_folder
from stemtwin.twin.physics.engine.kernels.jit import cache_folder
from tests.leaderboard.events.conftest import again, hand_in
from tests.rehearsal.command import ROOT, WRAPPER

KEYS = {
    "workflow": {"name", "on", "permissions", "defaults", "concurrency", "jobs"},
    "job": {"if", "runs-on", "timeout-minutes", "environment", "env", "steps"},
    "step": {"name", "if", "env", "run", "uses", "with"},
}
"""Keys that workflows use, all of which https://docs.github.com/actions/reference/workflow-syntax-for-github-actions has."""
SHELLS = {"bash": ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail"], None: ["bash", "-e"]}
"""GitHub's shells for steps with ``shell: bash`` and without a shell."""
PYTHON = """#!/bin/sh
# 'python3 -m venv FOLDER' and its 'python -m pip install', with the command of this checkout
test "$1 $2" = "-m venv" && mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && exit
test "$1 $2 $3" = "-m pip install" && echo "$*" >> "{log}" && cp "{command}" "$(dirname "$0")/stemtwin" && exit
exit 9
"""


def git(folder: Path, *words: str) -> str:
    """Run Git and return its output."""
    named = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    command = ["git", "-C", str(folder), *named, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def executable(path: Path, text: str) -> Path:
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runner:
    """A machine of GitHub with a workflow of an event.

    Parameters
    ----------
    folder : Path
        New folder of the machine.
    origin : Path
        Bare repository of the event.
    workflow : dict
        Content of the workflow.
    values : dict
        Values of GitHub's expressions.
    """

    folder: Path
    origin: Path
    workflow: dict[Any, Any]
    values: Mapping[str, str]

    def run(self) -> list[tuple[str, int, str]]:
        """Run the steps, and return name, exit code and output of each; after a failure, only those that always run."""
        (job,) = self.workflow["jobs"].values()
        work, done, failed = self.folder / "work", list[tuple[str, int, str]](), False
        work.mkdir(parents=True)
        environment = self.environment() | self.filled(job.get("env", {}))
        shell = SHELLS[self.workflow.get("defaults", {}).get("run", {}).get("shell")]
        for step in job["steps"]:
            if "run" not in step or (failed and step.get("if") != "always()"):
                continue
            script = executable(self.folder / "script.sh", step["run"])
            variables = environment | self.filled(step.get("env", {}))
            ended = subprocess.run([*shell, str(script)], cwd=work, env=variables, capture_output=True, text=True, timeout=300, check=False)
            done.append((step["name"], ended.returncode, ended.stdout + ended.stderr))
            failed = failed or ended.returncode != 0
        return done

    def filled(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return variables with the values of their expressions; an unknown expression fails."""
        return {name: re.sub(r"\$\{\{ ([\w.]+) \}\}", lambda found: self.values[found[1]], str(value)) for name, value in variables.items()}

    def environment(self) -> dict[str, str]:
        """Return the variables of every step, with programs of this machine in place of GitHub's."""
        tools = self.folder / "tools"
        command = executable(self.folder / "stemtwin", WRAPPER.format(python=sys.executable))
        executable(tools / "python3", PYTHON.format(log=self.folder / "installed", command=command))
        executable(tools / "sudo", "#!/bin/sh\nexit 0\n")
        own = {"HOME": str(self.folder), "RUNNER_TEMP": str(self.folder / "temporary"), "GITHUB_STEP_SUMMARY": str(self.folder / "summary")}
        own |= {"GITHUB_SERVER_URL": self.origin.parent.as_uri(), "GITHUB_REPOSITORY": self.origin.name, "GIT_CONFIG_GLOBAL": os.devnull}
        (self.folder / "temporary").mkdir()
        search = os.pathsep.join((str(tools), os.environ["PATH"]))
        path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH", ""), str(ROOT))))
        cache = {"STEMTWIN_CACHE_DIR": str(cache_folder())}  # compiled kernels, which would take a minute
        return {"PATH": search, "LANG": "C.UTF-8", "PYTHONPATH": path, **cache, **own}


@pytest.fixture
def published(organiser: Organiser, tmp_path: Path) -> Path:
    """Return the bare repository of an event whose bundle is open."""
    if shutil.which("git") is None:
        pytest.skip("workflows use Git")
    seal_event(organiser)
    publish_key(again(organiser))
    git(organiser.path, "init", "--quiet")
    git(organiser.path, "add", "--all")
    git(organiser.path, "commit", "--quiet", "--message", "Event")
    git(tmp_path, "clone", "--quiet", "--bare", str(organiser.path), "origin")
    return tmp_path / "origin"


def checked(organiser: Organiser, origin: Path, folder: Path, number: int) -> tuple[list[tuple[str, int, str]], Path]:
    """Push everything new as a pull request, run the check of the base branch on it, and return its steps and the folder of the machine."""
    base = git(origin, "rev-parse", "main")
    git(organiser.path, "checkout", "--quiet", "--detach", base)
    git(organiser.path, "add", "--all")
    git(organiser.path, "commit", "--quiet", "--message", "Ours")
    git(organiser.path, "push", "--quiet", str(origin), f"HEAD:refs/pull/{number}/head")
    request = {"number": str(number), "base.sha": base, "head.sha": git(organiser.path, "rev-parse", "HEAD")}
    values = {f"github.event.pull_request.{name}": value for name, value in request.items()} | {"github.token": "token"}
    git(organiser.path, "checkout", "--quiet", base)
    runner = Runner(folder=folder / f"machine-{number}", origin=origin, workflow=read(organiser, "check.yml"), values=values)
    return runner.run(), runner.folder


def read(organiser: Organiser, name: str) -> dict[Any, Any]:
    """Return a workflow of an event."""
    return yaml.safe_load((organiser.path / ".github" / "workflows" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_have_githubs_keys_and_a_shell_that_sees_every_failure(organiser: Organiser, name: str) -> None:
    """Each step runs a script or uses an action of a fixed version; a pipe fails with any of its commands."""
    found = read(organiser, name)
    found["on"] = found.pop(True)  # YAML takes the key for a Boolean
    (job,) = found["jobs"].values()
    assert set(found) <= KEYS["workflow"]
    assert set(job) <= KEYS["job"]
    assert found["defaults"] == {"run": {"shell": "bash"}}
    for step in job["steps"]:
        assert set(step) <= KEYS["step"]
        assert ("run" in step) != ("uses" in step)
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1"))
    words = re.findall(r"\$\{\{ ([^}]*) \}\}", (organiser.path / ".github" / "workflows" / name).read_text())
    assert all(re.fullmatch(r"(github|secrets)\.[\w.]+", word) for word in words)


def test_the_pages_are_published_from_the_public_repository_without_secrets(organiser: Organiser) -> None:
    """A push of new pages to main publishes the folder that scoring writes; the private copy, whose pages nobody may see early, publishes nothing."""
    found = read(organiser, "pages.yml")
    assert found[True]["push"] == {"branches": ["main"], "paths": ["pages/**", ".github/workflows/pages.yml"]}
    assert found["permissions"] == {"contents": "read", "pages": "write", "id-token": "write"}  # as actions/deploy-pages asks
    (job,) = found["jobs"].values()
    assert "!github.event.repository.private" in job["if"]
    assert job["environment"] == {"name": "github-pages"}
    assert [step["with"] for step in job["steps"] if "with" in step] == [{"path": "event/pages"}]
    assert "secrets." not in (organiser.path / ".github" / "workflows" / "pages.yml").read_text()


@pytest.mark.slow
def test_a_pull_request_is_checked_as_on_github(organiser: Organiser, published: Path, tmp_path: Path) -> None:
    """A valid agent passes, an invalid one and a change elsewhere fail, each in its step, and the version of the event is installed."""
    hand_in(organiser.path, "ours", "half")
    steps, machine = checked(organiser, published, tmp_path, 1)
    assert [code for _, code, _ in steps] == [0] * 4, steps
    assert "ours/half: agent for hypothesis-test with a valid header" in (machine / "summary").read_text()
    assert f'"{(machine / "installed").read_text().split()[-1]}"' in read_text(organiser)
    hand_in(organiser.path, "ours", "odd", task="no-such-task")
    steps, _ = checked(organiser, published, tmp_path, 2)
    assert [code for _, code, _ in steps] == [0, 0, 0, 1], steps
    assert "no-such-task" in steps[-1][2]
    shutil.rmtree(organiser.path / "submissions", ignore_errors=True)
    (organiser.path / "event.toml").write_text("")
    steps, _ = checked(organiser, published, tmp_path, 3)
    assert [code for _, code, _ in steps] == [0, 0, 1], steps
    assert "this one changes other files" in steps[-1][2]


def read_text(organiser: Organiser) -> str:
    """Return the text of the check."""
    return (organiser.path / ".github" / "workflows" / "check.yml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_scoring_by_hand_works_as_on_github(organiser: Organiser, published: Path, tmp_path: Path) -> None:
    """The secrets of the repository score its submissions; what the artifact keeps is there, and no secret is left."""
    if strongest_level() != "bubblewrap":
        pytest.skip("bubblewrap does not work here")
    hand_in(organiser.path, "ours", "half", program="python agent.py")
    git(organiser.path, "add", "--all")
    git(organiser.path, "commit", "--quiet", "--message", "Ours")
    git(organiser.path, "push", "--quiet", str(published), "HEAD:refs/heads/main")
    files = {"STEMTWIN_KEYS": "keys.json", "STEMTWIN_SIGNING": "signing.json", "STEMTWIN_BUNDLE_KEY": "bundle-key.txt"}
    values = {f"secrets.{name}": (organiser.secret / file).read_text() for name, file in files.items()} | {"github.token": "token"}
    workflow = read(organiser, "score.yml")
    runner = Runner(folder=tmp_path / "machine", origin=published, workflow=workflow, values=values)
    steps = runner.run()
    assert [code for _, code, _ in steps] == [0] * 4, steps
    (job,) = workflow["jobs"].values()
    kept = [runner.folder / "work" / line for line in job["steps"][-1]["with"]["path"].split()]
    assert [path.exists() for path in kept] == [True] * 4
    assert not (runner.folder / "temporary" / "secret").exists()
    assert [line.kind for line in open_folder(kept[0].parent).lines][-1] == "scored"
    assert "ours/half" in steps[2][2] or "1 scored" in steps[2][2]
