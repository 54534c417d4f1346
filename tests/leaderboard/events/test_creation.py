"""New events: settings, time zones, secrets, workflows, and the bundle from the organiser to the teams."""

import datetime
import json
import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from stemtwin.leaderboard.cli.main import main
from stemtwin.leaderboard.events import bundle
from stemtwin.leaderboard.events.creation import new_event, publish_key, seal_event
from stemtwin.leaderboard.events.folders import Organiser, announced_key, open_folder, open_organiser
from stemtwin.leaderboard.events.settings import local_time, parse_time, read_event
from stemtwin.leaderboard.events.team_side import changed_folders
from stemtwin.twin.errors import SettingsError, SubmissionError, UnknownNameError
from tests.leaderboard.events.conftest import CLOSES, OPENS, SETTINGS


def test_settings_come_back_from_their_file(organiser: Organiser) -> None:
    """TOML holds all of them, times in UTC."""
    assert read_event(organiser.path / "event.toml") == organiser.event
    assert (organiser.event.opens, organiser.event.closes) == (OPENS, CLOSES)


def test_times_are_those_of_the_sites(organiser: Organiser) -> None:
    """Each place reads its own clock, summer time included, on the page and in the guide."""
    assert organiser.event.times() == [
        ("UTC", "Thu 2026-01-15 09:00 UTC", "Sat 2026-01-17 09:00 UTC"),
        ("Berlin", "Thu 2026-01-15 10:00 CET", "Sat 2026-01-17 10:00 CET"),
        ("Knoxville", "Thu 2026-01-15 04:00 EST", "Sat 2026-01-17 04:00 EST"),
    ]
    for name in ("guide.md", "pages/index.html"):
        assert "Thu 2026-01-15 04:00 EST" in (organiser.path / name).read_text()
    assert local_time(datetime.datetime(2026, 7, 1, 22, 30, tzinfo=datetime.UTC), "Asia/Tokyo") == "Thu 2026-07-02 07:30 JST"
    assert parse_time("2026-12-15T10:00+01:00", "opens") == parse_time("2026-12-15T09:00Z", "opens")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"closes": OPENS}, "closes .* is not after opens"),
        ({"environments": []}, "give at least one"),
        ({"environments": [{"task": "hypothesis-test", "episodes": 0}]}, "environments.0.episodes"),
        ({"environments": [{"task": "denoise", "episodes": 1}]}, "Give it with --task"),
        ({"tasks": [{"task": "hypothesis-test"}]}, "Give it with --environment|each task only once"),
        ({"sites": [{"name": "Atlantis", "zone": "Ocean/Atlantis"}]}, "not a time zone"),
        ({"teams": ["a\nb"]}, "control character"),
        ({"counts": "worst"}, "counts"),
        ({"mistyped": 1}, "mistyped"),
        ({"name": "Not A Name"}, "name"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_is_made(settings: dict, told: str, tmp_path: Path) -> None:
    """Neither folder is left."""
    with pytest.raises(SettingsError, match=told):
        new_event(tmp_path / "trial", {**SETTINGS, **settings})
    assert not list(tmp_path.iterdir())


def test_a_team_opens_an_event_whose_tasks_it_lacks(organiser: Organiser) -> None:
    """Settings are read without the tasks, so an older stemtwin opens the bundle; the organiser, and whoever plays the task, are told its name."""
    path = organiser.path / "event.toml"
    path.write_text(path.read_text().replace('task = "hypothesis-test"', 'task = "hypothesis-tset"'))
    event = open_folder(organiser.path).event
    for check in (event.check_kinds, lambda: event.task("hypothesis-tset"), lambda: open_organiser(organiser.path)):
        with pytest.raises(UnknownNameError, match="hypothesis-tset"):
            check()


def test_secrets_lie_apart_and_are_private(organiser: Organiser, tmp_path: Path) -> None:
    """They cannot be put into the public folder; only their owner reads them; a repository there would not take them up."""
    assert stat.S_IMODE(organiser.secret.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in organiser.secret.glob("*.json")} == {0o600}
    assert (organiser.secret / ".gitignore").read_text() == "*\n"
    with pytest.raises(SettingsError, match="is inside the public folder"):
        new_event(tmp_path / "other", SETTINGS, secret=tmp_path / "other" / "secret")
    with pytest.raises(SettingsError, match="already exists"):
        new_event(organiser.path, SETTINGS)


@pytest.mark.slow
def test_the_bundle_goes_from_the_organiser_to_the_teams(organiser: Organiser, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sealed with wheels, its key secret until the start; then published, and everybody opens it by the same command."""
    (tmp_path / "wheels").mkdir()
    with pytest.raises(SettingsError, match="contains no wheel"):
        seal_event(organiser, wheels=tmp_path / "wheels")
    (tmp_path / "wheels" / "thing-1-py3-none-any.whl").write_bytes(b"wheel")
    sealed = seal_event(organiser, wheels=tmp_path / "wheels")
    early = OPENS - datetime.timedelta(seconds=1)
    with pytest.raises(SettingsError, match="is not published before then"):
        publish_key(organiser, clock=early)
    assert announced_key(organiser.folder) is None
    with pytest.raises(SettingsError, match="Wait for the start, or"):
        bundle.unseal(sealed, tmp_path / "early", key=organiser.bundle_key, now=early)
    assert main(["event", "open", str(sealed), "--output", str(tmp_path / "no")]) == 2
    assert main(["event", "open", str(organiser.path)]) == 0
    assert announced_key(organiser.folder) == organiser.bundle_key
    assert main(["event", "open", str(sealed), "--key", organiser.bundle_key, "--output", str(tmp_path / "team")]) == 0
    names = sorted(path.relative_to(tmp_path / "team").as_posix() for path in (tmp_path / "team").rglob("*") if path.is_file())
    assert names == ["event.toml", "guide.md", "tasks/hypothesis-test.json", "wheels/thing-1-py3-none-any.whl"]
    assert json.loads((tmp_path / "team" / "tasks" / "hypothesis-test.json").read_text())["name"] == "hypothesis-test"
    assert [line.kind for line in organiser.folder.lines] == ["created", "sealed", "opened"]
    with pytest.raises(SettingsError, match="is already published"):
        seal_event(organiser)
    capsys.readouterr()


def workflow(organiser: Organiser, name: str) -> tuple[dict, str]:
    """Return a workflow of an event, and its text."""
    text = (organiser.path / ".github" / "workflows" / name).read_text()
    return yaml.safe_load(text), text


def test_the_check_of_a_pull_request_has_no_secrets_and_runs_nothing_of_it(organiser: Organiser) -> None:
    """It runs on ``pull_request``, may only read, takes no value of the pull request into a script, and installs a fixed version from the index."""
    found, text = workflow(organiser, "check.yml")
    assert set(found[True]) == {"pull_request"}  # YAML takes the key "on" for a Boolean
    assert found["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    (job,) = found["jobs"].values()
    assert "permissions" not in job
    scripts = [step["run"] for step in job["steps"]]
    assert not [script for script in scripts if "${{" in script]
    assert not [step for step in job["steps"] if "uses" in step]
    installs = [line for script in scripts for line in script.splitlines() if "install" in line]
    assert len(installs) == 1
    assert re.search(r'"stemtwin==[^"{]+"$', installs[0])
    assert not re.search(r"(?<!-m )\bpip\b.*-r |setup\.py|python3? (?!-m venv)|checkout --quiet refs/pr(?! --)", "\n".join(scripts))


def test_scoring_is_started_by_hand_in_a_private_copy(organiser: Organiser) -> None:
    """Runs hold hidden seeds, and agents get neither secrets nor a network."""
    found, _ = workflow(organiser, "score.yml")
    assert set(found[True]) == {"workflow_dispatch"}
    assert found["permissions"] == {"contents": "read"}
    (job,) = found["jobs"].values()
    assert "github.event.repository.private" in job["if"]
    holding = [step for step in job["steps"] if "secrets." in json.dumps(step)]
    assert len(holding) == 1
    assert "--isolation bubblewrap" in holding[0]["run"]
    assert not [step for step in job["steps"] if "${{" in step.get("run", "")]


def shell(organiser: Organiser, name: str, number: int) -> str:
    """Return the script of a step."""
    (job,) = workflow(organiser, name)[0]["jobs"].values()
    return job["steps"][number]["run"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("submissions/ours/one/a.parquet", True),
        ("practice/ours/one/a", True),
        ("event.toml", False),
        ("submissions/a", False),
        ("x/submissions/a/b/c", False),
    ],
)
def test_files_elsewhere_end_the_check(organiser: Organiser, path: str, allowed: bool, tmp_path: Path) -> None:
    """The workflow and the command agree on what a pull request may change."""
    first = shell(organiser, "check.yml", 2).split("rm -rf")[0]
    (tmp_path / "work" / "event").mkdir(parents=True)
    (tmp_path / "work" / "changed").write_bytes(f"submissions/a/b/c\0{path}\0".encode())
    done = subprocess.run(["bash", "-e", "-c", first], cwd=tmp_path / "work", capture_output=True, timeout=30, check=False)
    assert (done.returncode == 0) is allowed
    if allowed:
        assert changed_folders([path]) == ["/".join(path.split("/")[:3])]
    else:
        with pytest.raises(SubmissionError, match="is outside"):
            changed_folders([path])


@pytest.mark.slow
def test_the_folder_is_ready_for_a_repository(organiser: Organiser) -> None:
    """Everything in it may be committed, and what teams open is left out."""
    (organiser.path / "opened").mkdir()
    (organiser.path / "opened" / "rows").write_text("x")
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", "-C", str(organiser.path), *command], check=True, timeout=30)
    listed = subprocess.run(["git", "-C", str(organiser.path), "ls-files"], check=True, capture_output=True, text=True, timeout=30).stdout.split()
    assert {"event.toml", "guide.md", "log.jsonl", "board.json", ".github/workflows/check.yml"} <= set(listed)
    assert not [name for name in listed if name.startswith("opened") or "secret" in name or name.endswith(".db")]
    assert open_folder(organiser.path).event == organiser.event
