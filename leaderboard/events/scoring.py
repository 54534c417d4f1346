"""Scoring of an event's submissions. Each submission is scored once, in the order of receipt, even if the scoring is interrupted.

Submissions are identified by their content. For each submission the report is written first, then a line of the log, then
a row of the board. An interrupted scoring continues where it stopped, because the episodes that an agent has finished are
stored in the secret folder.
"""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from stemtwin.benchmarks.agents import Baseline
from stemtwin.benchmarks.episodes import Episode, read_episodes, write_episodes
from stemtwin.benchmarks.honeypots import Planted, counted, find_leak
from stemtwin.benchmarks.isolation.agent_process import AgentProcess
from stemtwin.benchmarks.isolation.sandbox import OPEN, Level, Limits
from stemtwin.benchmarks.method_notes import shown_notes
from stemtwin.benchmarks.runner import Evaluation, run_agent, save_run, score_submission
from stemtwin.benchmarks.seed_keys import SeedKeys
from stemtwin.leaderboard.events.event_pages import write_event_pages
from stemtwin.leaderboard.events.folders import REVIEWS, STATE, Organiser, Tell
from stemtwin.leaderboard.events.hidden_tasks import HiddenTask, hidden_task, split_of
from stemtwin.leaderboard.events.log import LogLine
from stemtwin.leaderboard.events.settings import FILE, EventEnvironment, EventTask
from stemtwin.leaderboard.events.signing import file_sha256
from stemtwin.leaderboard.events.standings import fill_board, run_of, scores, state_of, write_state
from stemtwin.leaderboard.events.submissions import Handed, find_submissions, part_of, read_agent
from stemtwin.leaderboard.reviews import Review, bound_reviews, honeypot_review, write_reviews
from stemtwin.twin.errors import SettingsError, SubmissionError
from stemtwin.twin.files import locked, replacing

LOCK_S = 60.0
"""Longest wait for another process that works on the same event, s, counted from that process's last change of the log."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Result of one submission.

    Parameters
    ----------
    label : str
        Name of the submission, ``TEAM/NAME``.
    status : str
        ``"scored"``; ``"refused"`` if the submission is invalid or against the rules; ``"failed"`` for another error; or
        ``"known"`` if the submission was scored or refused earlier.
    text : str
        Description of the result, or the reason.
    """

    label: str
    status: str
    text: str


@contextlib.contextmanager
def one_at_a_time(organiser: Organiser) -> Iterator[None]:
    """Lock the log and the board of an event for the duration of a ``with`` block."""
    path = organiser.folder.log_path
    with locked(organiser.secret / ".lock", limit_s=LOCK_S, holder="another command on this event", sign_of_life=lambda: path.stat().st_mtime_ns):
        yield


class Truths:
    """Hidden rows with their truth, built when they are first needed and kept in memory.

    Parameters
    ----------
    keys : SeedKeys
        Keys of the event.
    folder : Path
        Folder of the built rows.
    tell : callable, optional
        Function that is called with progress messages.
    build : bool
        Whether missing rows are built; if False, nothing is written.
    """

    def __init__(self, keys: SeedKeys, folder: Path, tell: Tell | None = None, *, build: bool = True) -> None:
        self.keys, self.folder, self.tell, self.build = keys, folder, tell, build
        self._loaded: dict[str, Planted] = {}

    def of(self, hidden: HiddenTask) -> Planted:
        """Return the hidden rows of a task with their truth, including honeypots."""
        if hidden.slug not in self._loaded:
            if self.build:
                hidden.build(self.keys, self.folder, build_lines(hidden, self.tell))
            self._loaded[hidden.slug] = hidden.rows(self.keys, self.folder)
        return self._loaded[hidden.slug]


def build_lines(hidden: HiddenTask, tell: Tell | None) -> Callable[[int, int, str], None] | None:
    """Return a progress callback that calls ``tell`` after each completed tenth of a build, or None if ``tell`` is None."""
    if tell is None:
        return None
    told = -1

    def progress(done: int, total: int, text: str) -> None:
        nonlocal told
        del text  # the name of a specimen contains its secret seed
        tenth = 10 * done // max(total, 1)
        if tenth > told:
            told = tenth
            tell(f"hidden rows of {hidden.task.name}: {done} of {total} specimens")

    return progress


def score_event(organiser: Organiser, *, isolation: str | None = None, tell: Tell | None = None) -> list[Outcome]:
    """Score all submissions that are not scored yet, and write board, signed state and pages.

    Parameters
    ----------
    organiser : Organiser
        The event with its secrets.
    isolation : str, optional
        Level of isolation of agents, instead of the event's level.
    tell : callable, optional
        Function that is called with a message for each submission, and with progress messages.

    Returns
    -------
    list of Outcome
        Result of each submission and of each invalid folder.

    Raises
    ------
    SettingsError
        The event is closed, or the isolation that the event requires for agents is not available on this machine.
    """
    with one_at_a_time(organiser):
        if organiser.folder.first("closed") is not None:
            message = f"{organiser.event.name} is closed: its scores are final. Verify its archive with 'stemtwin event verify'."
            raise SettingsError(message)
        check_records(organiser)
        outcomes = _score_all(organiser, isolation, tell or _silent)
        publish(organiser)
    return outcomes


def _without_seeds(text: str) -> str:
    """Return a text in which long numbers are replaced, because they may be secret seeds."""
    return re.sub(r"\d{12,}", "<secret>", text)


def _silent(text: str) -> None:
    """Report nothing."""


def check_records(organiser: Organiser) -> None:
    """Check that the secret folder contains the results of all submissions that were scored.

    Raises
    ------
    SettingsError
        The results of a scored submission are missing.
    """
    for one in scores(organiser.folder.lines, organiser.event):
        if not (organiser.secret / one.run / "report.json").is_file():
            message = (
                f"{organiser.secret / one.run}: the results of {one.label} are missing. "
                "Copy 'results' from the machine that scored it to the secret folder, "
                f"or score all submissions to {one.task} again with 'stemtwin event correct'."
            )
            raise SettingsError(message)


def publish(organiser: Organiser) -> None:
    """Write board, signed state and pages of an event from its log and reports. If the settings have changed, this is logged first."""
    settings, lines = file_sha256(organiser.path / FILE), organiser.folder.lines
    if settings != next((line.content["sha256"] for line in reversed(lines) if line.kind in ("created", "settings")), settings):
        organiser.append("settings", sha256=settings)
        lines = organiser.folder.lines
    fill_board(organiser.folder, scores(lines, organiser.event))
    write_state(organiser.path / STATE, state_of(organiser.folder, lines), organiser.signing_key)
    write_event_pages(organiser.folder, lines)


def _score_all(organiser: Organiser, isolation: str | None, tell: Tell) -> list[Outcome]:
    """Score every submission that is not scored yet."""
    handed, wrong = find_submissions(organiser.path)
    level: Level = "process" if (isolation or organiser.event.isolation) == "process" else "bubblewrap"
    if any(one.agent for one in handed):
        tell(f"isolation of agents: {level}; not covered: {'; '.join(OPEN[level])}")
    outcomes = [Outcome(label=label, status="refused", text=text) for label, text in wrong]
    truths = Truths(organiser.keys, organiser.secret / "data", tell)
    for number, one in enumerate(handed, start=1):
        outcome = _score_one(organiser, one, isolation, truths)
        outcomes.append(outcome)
        if outcome.status != "known":
            tell(f"{number} of {len(handed)}: {outcome.label} {outcome.status}: {outcome.text}")
    return outcomes


def _score_one(organiser: Organiser, handed: Handed, isolation: str | None, truths: Truths) -> Outcome:
    """Score a submission that is not scored yet, and write its line of the log."""
    lines = organiser.folder.lines
    try:
        part = part_of(organiser.event, handed)
        if (known := _known(lines, handed, part)) is not None:
            return Outcome(label=handed.label, status="known", text=known)
        _check_rules(organiser, lines, handed, part)
        evaluation, reviews = evaluate(organiser, handed, part, isolation, truths)
    except SubmissionError as error:
        if (known := _known(lines, handed, None)) is not None:
            return Outcome(label=handed.label, status="known", text=known)
        reason = str(error).replace(f"{organiser.path}/", "")  # paths of the organiser are not published
        organiser.append("refused", team=handed.team, name=handed.name, digest=handed.digest, reason=reason)
        return Outcome(label=handed.label, status="refused", text=reason)
    except SettingsError:  # an error of the event or the machine, which affects all submissions
        raise
    except Exception as error:  # the other submissions are still scored
        text = f"{type(error).__name__}: {_without_seeds(str(error))}"
        return Outcome(label=handed.label, status="failed", text=f"not scored; the next scoring tries it again: {text}")
    return _enter(organiser, handed, part, evaluation, reviews)


def _known(lines: Sequence[LogLine], handed: Handed, part: EventTask | EventEnvironment | None) -> str | None:
    """Return a description of a submission that was scored since the last correction of its task, or refused; else None."""
    void = _correction(lines, part)
    for line in lines:
        same = line.content.get("digest") == handed.digest and line.content.get("team") == handed.team and line.number > void
        if same and line.kind in ("scored", "refused"):
            return f"{line.kind} in line {line.number} of the log"
    return None


def _correction(lines: Sequence[LogLine], part: EventTask | EventEnvironment | None) -> int:
    """Return the number of the last line that corrects a task, or -1."""
    return max((line.number for line in lines if part is not None and line.kind == "corrected" and line.content["task"] == part.task), default=-1)


def _check_rules(organiser: Organiser, lines: Sequence[LogLine], handed: Handed, part: EventTask | EventEnvironment) -> None:
    """Raise SubmissionError if the rules of the event exclude a submission."""
    event, frozen = organiser.event, next((line for line in lines if line.kind == "frozen"), None)
    if any(line.kind == "disqualified" and line.content["team"] == handed.team for line in lines):
        message = f"{handed.label}: {handed.team} was disqualified, so its submissions are not scored."
        raise SubmissionError(message)
    if event.teams and handed.team not in event.teams:
        message = f"{handed.label}: {handed.team!r} is not one of the {len(event.teams)} teams of {event.name}. Ask the organiser to add the team."
        raise SubmissionError(message)
    if frozen is not None and [handed.team, handed.name, handed.digest] not in frozen.content["submissions"]:
        message = f"{handed.label} was handed in after {event.name} was frozen at {frozen.time}, so it does not count."
        raise SubmissionError(message)
    earlier = {
        line.content["digest"] for line in lines if line.kind == "scored" and (line.content["team"], line.content["task"]) == (handed.team, part.task)
    }
    if handed.digest not in earlier and len(earlier) >= event.submissions:
        message = f"{handed.label}: {handed.team} has used its {event.submissions} submissions to {part.task!r}. Further submissions are not scored."
        raise SubmissionError(message)


def evaluate(
    organiser: Organiser, handed: Handed, part: EventTask | EventEnvironment, isolation: str | None, truths: Truths
) -> tuple[Evaluation, tuple[Review, ...]]:
    """Return the evaluation of a submission, and requests for review of good answers to honeypots and of impossibly good scores.

    Raises
    ------
    SubmissionError
        The submission is refused; the message contains the reason.
    DatasetError, OSError
        An error occurred that the submission did not cause.
    """
    if isinstance(part, EventTask):
        return evaluate_table(hidden_task(organiser.event, part), handed, truths)
    header = read_agent(handed.folder)
    level = isolation or organiser.event.isolation
    kept_at = organiser.secret / "runs" / f"{handed.mark}.json"
    kept: list[Episode] = list(read_episodes(kept_at)) if kept_at.is_file() else []

    def keep(episode: Episode) -> None:
        kept.append(episode)
        write_episodes(kept_at, kept)

    try:
        limits = Limits(pad_s=organiser.event.pad_s)
        process = AgentProcess(header.program, folder=handed.folder, limits=limits, level=level)
    except (SettingsError, ValueError) as error:
        if isolation is None and level == "bubblewrap" and "does not work here" in str(error):
            raise
        message = f"{handed.folder}: {error}"
        raise SubmissionError(message) from None
    task, split = part.find(), split_of(part)
    entry = Baseline(task=task.name, name=handed.name, text="a program", factory=lambda: process)
    counts = {"split": split, "episodes": part.episodes, "attempts": part.attempts}
    with process:
        found = run_agent(task, entry, "isolated", team=handed.team, keys=organiser.keys, kept=tuple(kept), keep=keep, **counts)
    report = dataclasses.replace(found.report, method=shown_notes(header.method))
    return dataclasses.replace(found, report=report), bound_reviews(report, task)


def evaluate_table(hidden: HiddenTask, handed: Handed, truths: Truths) -> tuple[Evaluation, tuple[Review, ...]]:
    """Return the evaluation of a table of answers to hidden rows, and the requests for review.

    The team and the entry are named as in ``handed``. Honeypots do not enter the score, but the answers to them are stored
    and enter the hash of the answers.
    """
    planted = truths.of(hidden)
    submission = hidden.read(handed.folder, planted.data)
    data, answers = counted(planted.data, submission.found, planted.honeypots)
    header = submission.header.model_copy(update={"name": handed.name, "team": handed.team})
    made = score_submission(hidden.task, data, dataclasses.replace(submission, header=header, found=answers))
    source, digest = dataclasses.replace(made.report.source, truth="hidden"), hidden.task.form.digest(submission.found)
    report = dataclasses.replace(made.report, source=source, artefact_sha256=digest)
    whole = dataclasses.replace(made, report=report, found=dict(submission.found))
    reviews = bound_reviews(report, hidden.task)
    if planted.honeypots:
        asked = honeypot_review(handed.team, handed.name, digest, find_leak(hidden.task, submission.found, planted.honeypots))
        reviews += () if asked is None else (asked,)
    return whole, reviews


def _enter(organiser: Organiser, handed: Handed, part: EventTask | EventEnvironment, evaluation: Evaluation, reviews: tuple[Review, ...]) -> Outcome:
    """Write the run of a submission with its requests for review, then its line of the log."""
    report, lines = evaluation.report, organiser.folder.lines
    run = run_of(handed.mark, _correction(lines, part))
    with replacing(organiser.secret / run) as temporary:
        save_run(temporary, part.find(), evaluation)
        if reviews:
            write_reviews(temporary / REVIEWS, reviews)
    organiser.append(
        "scored",
        team=handed.team,
        name=handed.name,
        task=part.task,
        digest=handed.digest,
        run=run,
        report_sha256=file_sha256(organiser.secret / run / "report.json"),
        comparability_key=report.comparability_key,
        artefact_sha256=report.artefact_sha256,
        direction=report.primary.direction,
        value=report.primary.value,
    )
    (organiser.secret / "runs" / f"{handed.mark}.json").unlink(missing_ok=True)
    shown = "no value" if report.primary.value is None else f"{report.primary.name} {report.primary.value:.4g}"
    failures = "".join(f", {count} episodes {kind}" for kind, count in report.failures.items())
    asked = "".join(f"; review requested: {one.text}" for one in reviews)
    return Outcome(label=handed.label, status="scored", text=f"{part.task}, {shown}{failures}{asked}")
