"""Scoring of events: each submission once, by the rules, whatever interrupts it; decisions are lines that nobody can take back."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from stemtwin.benchmarks.isolation.sandbox import Limits
from stemtwin.benchmarks.runner import run_agent
from stemtwin.leaderboard.events import moderation, scoring, submissions
from stemtwin.leaderboard.events.folders import Organiser
from stemtwin.leaderboard.events.moderation import correct, disqualify, freeze, withdraw
from stemtwin.leaderboard.events.scoring import score_event
from stemtwin.leaderboard.events.standings import read_state, scores
from stemtwin.twin.errors import SettingsError, SubmissionError
from tests.leaderboard.events.conftest import again, hand_in


def rows(organiser: Organiser) -> list[tuple[str, str]]:
    """Return team and entry of the rows of the signed board, best first."""
    state = read_state(organiser.path / "board.json", organiser.event.public_key)
    return [(row["team"], row["name"]) for row in state["rows"]]


def statuses(outcomes: list[scoring.Outcome]) -> dict[str, str]:
    """Return the outcome of each submission."""
    return {one.label: one.status for one in outcomes}


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace agents' processes by actions that follow from their folders' number, and return the entries that were played, in order."""
    played: list[str] = []

    class Fixed:
        """An agent in this process."""

        padded: ClassVar[list[float]] = []

        def __init__(self, program: str, *, folder: Path, limits: Limits, level: str) -> None:
            del program
            self.padded.append(limits.pad_s)
            self.level, self.number = level, float((folder / "number").read_text())

        def reset(self, brief) -> None:
            self.space = brief.action_space
            self.space.seed(int(1000 * self.number))

        def act(self, observation, cost):
            del observation, cost
            return self.space.sample()

        def close(self) -> None: ...

        def __enter__(self):
            return self

        def __exit__(self, *_) -> None: ...

    def run(task, entry, trust, **options):
        played.append(f"{options['team']}/{entry.name}")
        return run_agent(task, entry, trust, **options)

    monkeypatch.setattr(scoring, "AgentProcess", Fixed)
    monkeypatch.setattr("stemtwin.benchmarks.runner.AgentProcess", Fixed)
    monkeypatch.setattr(scoring, "run_agent", run)
    return played


def hand(event: Path, team: str, name: str, number: float) -> Path:
    """Hand in an agent of a number."""
    folder = hand_in(event, team, name)
    (folder / "number").write_text(str(number))
    return folder


def test_scoring_twice_changes_nothing(organiser: Organiser, scored: list[str]) -> None:
    """What was scored is known by its content: neither log nor state nor a score changes, also under another name of the same team."""
    hand(organiser.path, "ours", "one", 0.25)
    hand(organiser.path, "theirs", "two", 0.5)
    told: list[str] = []
    assert set(statuses(score_event(organiser, tell=told.append)).values()) == {"scored"}
    assert "keys of the event among them" in told[0]  # what processes without a sandbox leave open
    assert len(told) == 3
    log, state = organiser.folder.log_path.read_bytes(), (organiser.path / "board.json").read_bytes()
    hand(organiser.path, "ours", "copy", 0.25)
    assert set(statuses(score_event(again(organiser))).values()) == {"known"}
    assert (organiser.folder.log_path.read_bytes(), (organiser.path / "board.json").read_bytes()) == (log, state)
    assert scored == ["ours/one", "theirs/two"]


@pytest.mark.slow
def test_what_is_public_tells_no_seed(organiser: Organiser, scored: list[str]) -> None:
    """Neither seeds nor keys nor single episodes stand in the public folder while the event runs."""
    hand(organiser.path, "ours", "one", 0.25)
    score_event(organiser)
    public = b"".join(path.read_bytes() for path in organiser.path.rglob("*") if path.is_file())
    (run,) = (organiser.secret / "results").iterdir()
    episodes = json.loads((run / "episodes.json").read_text())
    secrets = [organiser.keys.environment, organiser.keys.agent, organiser.keys.nonce, *(one["seed"] for one in episodes)]
    secrets += [*(one["observations_sha256"] for one in episodes), organiser.signing_key.private_bytes_raw().hex()]
    assert not [one for one in secrets if one.encode() in public]
    assert organiser.keys.commitment.encode() in public
    assert all(path.stat().st_mode & 0o077 == 0 for path in (organiser.secret, *organiser.secret.glob("*.json")))


@pytest.mark.slow
@pytest.mark.parametrize("stop", ["save_run", "fill_board", "write_state"])
def test_a_stop_between_two_submissions_loses_nothing(organiser: Organiser, scored: list[str], stop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever scoring is stopped, the next one ends with the same board; nobody is scored twice."""
    names = [hand(organiser.path, "ours", name, number).name for name, number in (("one", 0.25), ("two", 0.5), ("three", 0.75))]
    real, calls = getattr(scoring, stop), []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == (2 if stop == "save_run" else 1):
            raise KeyboardInterrupt
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(scoring, stop, interrupted)
        with pytest.raises(KeyboardInterrupt):
            score_event(organiser)
    score_event(again(organiser))
    lines = [line for line in organiser.folder.lines if line.kind == "scored"]
    assert sorted(line.content["name"] for line in lines) == sorted(names)
    assert len(rows(organiser)) == 1
    assert len(scored) == 3 + (stop == "save_run")


@pytest.mark.slow
def test_episodes_of_a_stopped_agent_are_not_played_again(organiser: Organiser, scored: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that was stopped goes on with the next episode."""
    hand(organiser.path, "ours", "one", 0.25)
    real, numbers = scoring.write_episodes, []

    def once(path, episodes):
        real(path, episodes)
        numbers.append(len(episodes))
        if len(numbers) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(scoring, "write_episodes", once)
    with pytest.raises(KeyboardInterrupt):
        score_event(organiser)
    assert list(statuses(score_event(again(organiser))).values()) == ["scored"]
    assert numbers == [1, 2]
    assert not list((organiser.secret / "runs").iterdir())


def values(organiser: Organiser) -> dict[str, float]:
    """Return the values of all valid scores by entry."""
    return {one.name: one.value or 0.0 for one in scores(organiser.folder.lines, organiser.event)}


@pytest.mark.slow
@pytest.mark.parametrize("counts", ["best", "last"])
def test_the_best_or_the_last_counts(changed: Callable[..., Organiser], counts: str, scored: list[str]) -> None:
    """One row a team: its best submission, or its last one."""
    organiser = changed(counts=counts)
    for name, number in (("one", 0.25), ("two", 0.5), ("three", 0.75)):
        hand(organiser.path, "ours", name, number)
        score_event(organiser)
    found = values(organiser)
    assert len(set(found.values())) > 1
    assert rows(organiser) == [("ours", max(found, key=lambda name: found[name]) if counts == "best" else "three")]


def test_replies_are_padded_as_the_event_says(changed: Callable[..., Organiser], scored: list[str]) -> None:
    """Processes of agents get the time of the event's settings."""
    organiser = changed(pad_s=0.25)
    hand(organiser.path, "ours", "one", 0.25)
    score_event(organiser)
    assert scored == ["ours/one"]
    assert scoring.AgentProcess.padded == [0.25]


@pytest.mark.slow
def test_a_quota_is_kept(changed: Callable[..., Organiser], scored: list[str]) -> None:
    """No submission beyond the number is scored, for each team by itself; the refusal is a line, and is not repeated."""
    organiser = changed(submissions=2)
    for team, count in (("ours", 3), ("theirs", 1)):
        for number in range(count):
            hand(organiser.path, team, f"try{number}", 0.25 + 0.25 * number)
    outcomes = score_event(organiser)
    assert sorted(statuses(outcomes).items()) == [
        ("ours/try0", "scored"),
        ("ours/try1", "scored"),
        ("ours/try2", "refused"),
        ("theirs/try0", "scored"),
    ]
    assert "has used its 2 submissions" in next(one.text for one in outcomes if one.status == "refused")
    assert set(statuses(score_event(organiser)).values()) == {"known"}


@pytest.mark.slow
def test_only_entered_teams_take_part(changed: Callable[..., Organiser], scored: list[str]) -> None:
    """Where the event names teams, others are refused."""
    organiser = changed(teams=["ours"])
    hand(organiser.path, "ours", "one", 0.25)
    hand(organiser.path, "strangers", "one", 0.5)
    assert statuses(score_event(organiser)) == {"ours/one": "scored", "strangers/one": "refused"}


def test_nothing_later_than_the_freeze_counts(organiser: Organiser, scored: list[str]) -> None:
    """What was there and not scored yet still counts, in the version that was there; later folders and changes do not."""
    hand(organiser.path, "ours", "waiting", 0.25)
    changing = hand(organiser.path, "theirs", "changing", 0.5)
    freeze(organiser)
    (changing / "number").write_text("0.75")
    hand(organiser.path, "late", "one", 0.9)
    assert statuses(score_event(organiser)) == {"ours/waiting": "scored", "theirs/changing": "refused", "late/one": "refused"}
    assert rows(organiser) == [("ours", "waiting")]
    with pytest.raises(SettingsError, match="has been frozen since"):
        freeze(organiser)


@pytest.mark.slow
def test_decisions_are_signed_lines_on_the_pages(organiser: Organiser, scored: list[str]) -> None:
    """Withdrawn entries and disqualified teams hold no row, stay in the log with their reason, and stand on the event's page."""
    for team, name, number in (("ours", "good", 0.25), ("ours", "other", 0.5), ("theirs", "one", 0.75)):
        hand(organiser.path, team, name, number)
    score_event(organiser)
    (first,) = (one for one in rows(organiser) if one[0] == "ours")
    withdraw(organiser, "/".join(first), "It was <b>trained</b> on the rows.")
    assert first not in rows(organiser)
    assert "ours" in {team for team, _ in rows(organiser)}
    disqualify(organiser, "theirs", "It read the truth.")
    assert {team for team, _ in rows(organiser)} == {"ours"}
    page = (organiser.path / "pages" / "index.html").read_text()
    assert "It read the truth." in page
    assert "&lt;b&gt;trained" in page
    assert len([line for line in organiser.folder.lines if line.kind == "scored"]) == 3
    for decide, label in ((withdraw, "ours/nobody"), (disqualify, "nobody"), (correct, "denoise")):
        with pytest.raises(SettingsError):
            decide(organiser, label, "A good reason.")
    with pytest.raises(SettingsError, match="must be a sentence"):
        disqualify(organiser, "ours", " ")
    with pytest.raises(SettingsError, match=r"'It cheated\\x1b\[2J\.' contains characters that cannot be printed"):
        disqualify(organiser, "ours", "It cheated\x1b[2J.")


@pytest.mark.slow
def test_a_correction_scores_all_of_a_task_again(organiser: Organiser, scored: list[str]) -> None:
    """Scores before it are void and stay in the log; the old board is laid aside."""
    hand(organiser.path, "ours", "one", 0.25)
    score_event(organiser)
    correct(organiser, "hypothesis-test", "The law was wrong.")
    assert rows(organiser) == []
    assert list(statuses(score_event(organiser)).values()) == ["scored"]
    assert rows(organiser) == [("ours", "one")]
    assert scored == ["ours/one", "ours/one"]
    assert [line.kind for line in organiser.folder.lines] == ["created", "scored", "corrected", "scored"]
    assert list(organiser.secret.glob("board-until-*.db"))


@pytest.mark.slow
def test_changed_settings_are_a_line(organiser: Organiser) -> None:
    """Rules that change after the event was made are seen."""
    path = organiser.path / "event.toml"
    path.write_text(path.read_text().replace("submissions = 20", "submissions = 99"))
    score_event(again(organiser))
    score_event(again(organiser))
    assert [line.kind for line in organiser.folder.lines] == ["created", "settings"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "submission.yaml"),
        ({"agent.toml": "schema = 1"}, "key"),
        ({"agent.toml": 'schema = "stemtwin/agent-submission@1"\ntask = "denoise"\nprogram = "x"'}, "not a task of"),
        ({"agent.toml": 'schema = "stemtwin/agent-submission@1"\ntask = "hypothesis-test"\nprogram = "\'"'}, "quotation"),
        ({"agent.toml": "x" * 70_000}, "more than 65536 bytes"),
        ({"submission.yaml": "task: hypothesis-test/test@1"}, "key 'schema'"),
    ],
)
def test_a_submission_that_is_none_is_refused_with_its_reason(organiser: Organiser, files: dict[str, str], told: str) -> None:
    """Each is one sentence in the log, and the others are scored nevertheless."""
    folder = organiser.path / "submissions" / "ours" / "odd"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    (outcome,) = score_event(organiser)
    assert outcome.status == "refused"
    assert told in outcome.text
    assert str(organiser.path.parent) not in outcome.text
    assert organiser.folder.lines[-1].content["reason"] == outcome.text


@pytest.mark.slow
def test_a_missing_run_is_named(organiser: Organiser, scored: list[str]) -> None:
    """Where the secret folder lacks the runs of earlier scores, nothing is scored; a correction makes them needless."""
    hand(organiser.path, "ours", "one", 0.25)
    score_event(organiser)
    shutil.rmtree(organiser.secret / "results")
    (organiser.secret / "board.db").unlink()
    with pytest.raises(SettingsError, match="the results of ours/one are missing"):
        score_event(organiser)
    correct(organiser, "hypothesis-test", "The runs were lost.")
    assert list(statuses(score_event(organiser)).values()) == ["scored"]
    assert rows(organiser) == [("ours", "one")]


@pytest.mark.slow
def test_a_submission_that_breaks_the_scorer_keeps_nobody_waiting(organiser: Organiser, scored: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are scored; it is tried again each time, until its team is disqualified; long numbers, which may be seeds, are not told."""
    hand(organiser.path, "hostile", "one", 0.25)
    hand(organiser.path, "ours", "one", 0.5)
    real = scoring.run_agent

    def broken(task, entry, trust, **options):
        if options["team"] == "hostile":
            raise MemoryError(2**61 + 7)
        return real(task, entry, trust, **options)

    monkeypatch.setattr(scoring, "run_agent", broken)
    outcomes = score_event(organiser)
    assert statuses(outcomes) == {"hostile/one": "failed", "ours/one": "scored"}
    assert outcomes[0].text.endswith("MemoryError: <secret>")
    disqualify(organiser, "hostile", "It breaks the scorer.")
    assert statuses(score_event(organiser)) == {"hostile/one": "refused", "ours/one": "known"}


def test_links_are_not_followed(organiser: Organiser) -> None:
    """A link in a submission, or a submission that is one, is refused before anything of it is read."""
    folder = hand_in(organiser.path, "ours", "link")
    (folder / "keys").symlink_to(organiser.secret / "keys.json")
    (organiser.path / "submissions" / "ours" / "whole").symlink_to(organiser.secret)
    assert submissions.find_submissions(organiser.path)[0] == []
    assert [one.status for one in score_event(organiser)] == ["refused", "refused"]
    with pytest.raises(SubmissionError, match="regular files only"):
        submissions.digest_of(folder)


def test_a_closed_event_takes_nothing(organiser: Organiser) -> None:
    """Neither scores nor decisions come after the last line."""
    organiser.append("closed", sums_sha256="", keys="revealed")
    for refused in (lambda: score_event(organiser), lambda: moderation.freeze(organiser), lambda: correct(organiser, "hypothesis-test", "A reason.")):
        with pytest.raises(SettingsError, match="is closed"):
            refused()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None, reason="teams hand in by Git")
def test_the_order_is_that_of_merges_and_no_date_changes_it(organiser: Organiser) -> None:
    """A team that writes an earlier date into its commit is not before those whose branches were merged before; changed entries are later again."""

    def git(*command: str, when: str = "2026-01-15T10:00Z") -> str:
        who = {f"GIT_{name}_{what}": "team@example.org" for name in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        dates = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when, "GIT_CONFIG_GLOBAL": os.devnull}
        called = ["git", "-C", str(organiser.path), *command]
        return subprocess.run(called, env=os.environ | who | dates, check=True, capture_output=True, text=True, timeout=30).stdout.strip()

    def branch(team: str, when: str, number: float = 0.5) -> None:
        git("checkout", "--quiet", "-B", team, "main")
        hand(organiser.path, team, "entry", number)
        git("add", "--all")
        git("commit", "--quiet", "--message", team, when=when)
        git("checkout", "--quiet", "main")

    git("init", "--quiet", "--initial-branch", "main")
    git("add", "--all")
    git("commit", "--quiet", "--message", "event")
    for team, when in (("zebra", "2026-01-16T10:00Z"), ("forger", "2026-01-15T09:00Z"), ("aardvark", "2026-01-16T11:00Z")):
        branch(team, when)
    for team in ("zebra", "forger", "aardvark"):
        git("merge", "--quiet", "--no-ff", "--no-edit", team)
    hand(organiser.path, "absent", "entry", 0.25)

    def order() -> list[str]:
        return [one.team for one in submissions.find_submissions(organiser.path)[0]]

    dates = {team: int(git("log", "-1", "--format=%ct", "--", f"submissions/{team}")) for team in ("zebra", "forger", "aardvark")}
    assert min(dates, key=lambda team: dates[team]) == "forger"  # where dates count, as they did, it is the first
    assert order() == ["zebra", "forger", "aardvark", "absent"]
    (organiser.path / "submissions" / "zebra" / "entry" / "number").write_text("0.75")
    git("add", "submissions/zebra")
    git("commit", "--quiet", "--message", "again", when="2000-01-01T00:00Z")
    assert order() == ["forger", "aardvark", "zebra", "absent"]
