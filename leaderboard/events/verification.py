"""Verification of the signatures, hashes, truth, scores and ranks in an event's archive; it needs neither a network nor secrets."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stemtwin.benchmarks.archives import check_archive, unpacked
from stemtwin.benchmarks.replays import TOLERANCE, replay_run
from stemtwin.benchmarks.report import read_report
from stemtwin.benchmarks.seed_keys import SeedKeys, read_keys
from stemtwin.leaderboard.events.bundle import unseal
from stemtwin.leaderboard.events.folders import (
    BUNDLE,
    BUNDLE_KEY,
    KEYS,
    LOG,
    OPENED,
    REVIEWS,
    STATE,
    SUBMISSIONS,
    EventFolder,
    Tell,
    files_below,
    open_folder,
)
from stemtwin.leaderboard.events.hidden_tasks import HONEYPOTS, hidden_task, hidden_tasks
from stemtwin.leaderboard.events.log import LogLine, read_log
from stemtwin.leaderboard.events.scoring import Truths, evaluate_table
from stemtwin.leaderboard.events.settings import EventTask
from stemtwin.leaderboard.events.signing import canonical, file_sha256
from stemtwin.leaderboard.events.standings import Scored, check_reports, fill_board, read_state, scores, state_of
from stemtwin.leaderboard.events.submissions import Handed, digest_of
from stemtwin.leaderboard.reviews import read_reviews
from stemtwin.twin.errors import DatasetError, SettingsError, StemtwinError, SubmissionError

SUMS, LEFT_OUT = "SHA256SUMS", (LOG, STATE, "SHA256SUMS", "pages")


def verify_archive(
    path: Path, *, public_key: str | None = None, tell: Tell | None = None, remake: bool = True, specimens: int | None = None
) -> Iterator[str]:
    """Verify an archive step by step, and yield a sentence for each successful step.

    Parameters
    ----------
    path : Path
        Folder of the archive or its zip file, within the limits of :mod:`stemtwin.benchmarks.archives`.
    public_key : str, optional
        The organiser's public key from an independent announcement; by default the key in the archive is trusted.
    tell : callable, optional
        Function that is called with progress messages.
    remake : bool
        Whether the truth is rebuilt from the revealed keys; a rebuild is unnecessary directly after a build from these keys.
    specimens : int, optional
        Number of specimens of each task, drawn at random, whose rows are rebuilt; by default all specimens.

    Raises
    ------
    SettingsError
        The folder is not an archive, or belongs to another organiser.
    SubmissionError
        A step fails; the message states how the archive was altered.
    """
    if path.is_file():
        yield from _verify_packed(path, public_key=public_key, tell=tell, remake=remake, specimens=specimens)
        return
    folder = open_folder(path)
    event = folder.event
    if public_key is not None and public_key.strip().lower() != event.public_key:
        message = f"{path} is signed by another organiser: {event.public_key}, not {public_key.strip()[:64]}. Check the key and the archive."
        raise SettingsError(message)
    lines = read_log(folder.log_path, event.public_key)
    if not lines or lines[-1].kind != "closed":
        message = f"{folder.log_path}: the event is not closed. Verify the archive that 'stemtwin event close' writes."
        raise SubmissionError(message)
    yield f"log: {len(lines)} lines, each with the hash of the line before and signed by {event.public_key}"
    state = read_state(path / STATE, event.public_key)
    _check_log_of(state, lines, path)
    yield f"board: signed, {len(state['rows'])} rows, consistent with this log"
    valid = scores(lines, event)
    check_reports(folder, valid)
    yield f"reports: {len(valid)}, equal to the hashes in the log"
    keys = _check_keys(folder, lines)
    yield f"keys: equal to the published commitment {event.commitment}"
    count = _check_sums(path, lines)
    yield f"files: {count}, equal to their checksums, none added"
    changes = sum(line.kind == "settings" for line in lines)
    yield f"settings: event.toml was {f'changed; changes in the log: {changes}' if changes else 'never changed'}"
    if remake:
        yield from _check_truth(folder, keys, tell, specimens)
    truths = Truths(keys, path / "data", build=False)
    yield from _check_honeypots(folder, truths)
    yield from _check_bundle(folder, truths)
    for one in valid:
        yield f"score: {one.label}, {_score_again(folder, one, keys, truths)}"
    _check_ranks(folder, lines, valid, state)
    yield "ranks: recomputed from the reports, equal to the signed board"


def _verify_packed(path: Path, **options: Any) -> Iterator[str]:
    """Verify a packed archive in a temporary folder."""
    try:
        check_archive(path)
    except SubmissionError as error:
        message = f"{error} To verify this archive nevertheless, unpack it by hand and give its folder."
        raise SubmissionError(message) from None
    with unpacked(path) as folder:
        try:
            yield from verify_archive(folder, **options)
        except StemtwinError as error:
            raise type(error)(str(error).replace(str(folder), str(path))) from None


def _check_log_of(state: dict, lines: Sequence[LogLine], path: Path) -> None:
    """Raise SubmissionError if a state does not belong to a log, for example because the log was shortened."""
    if state["log"] != {"lines": len(lines), "head": lines[-1].hash}:
        signed = state["log"]["lines"]
        message = f"{path / LOG}: the log has {len(lines)} lines, but the board was signed for a different log with {signed} lines. "
        message += "Take the log and the board from another copy of the archive."
        raise SubmissionError(message)


def _check_keys(folder: EventFolder, lines: Sequence[LogLine]) -> SeedKeys:
    """Return the revealed keys; raise SubmissionError if they do not match the commitment."""
    path, published = folder.path / KEYS, lines[0].content.get("commitment")
    try:
        keys = read_keys(path)
    except SettingsError as error:
        message = f"The seed keys of the event were altered: {error}"
        raise SubmissionError(message) from None
    if keys.commitment != folder.event.commitment or keys.commitment != published:
        message = f"{path}: the keys were altered; their commitment is {keys.commitment}, not the published {published}. "
        message += "Take the keys from another copy of the archive."
        raise SubmissionError(message)
    return keys


def _check_sums(path: Path, lines: Sequence[LogLine]) -> int:
    """Return the number of files; raise SubmissionError for the first file that was changed, added or removed."""
    sums = path / SUMS
    if not sums.is_file() or file_sha256(sums) != lines[-1].content["sums_sha256"]:
        message = f"{sums}: the checksums were altered; their sha256 is not that in the last line of the log. "
        message += "Take the file from another copy of the archive."
        raise SubmissionError(message)
    named = {name: digest for digest, _, name in (line.partition("  ") for line in sums.read_text(encoding="utf-8").splitlines())}
    there = {one.relative_to(path).as_posix() for one in files_below(path) if one.relative_to(path).parts[0] not in LEFT_OUT}
    if odd := sorted(set(named) ^ there):
        told = "is missing" if odd[0] in named else "was added"
        message = f"{path / odd[0]} {told}: the files are not those in SHA256SUMS. Use another copy of the archive."
        raise SubmissionError(message)
    for name, digest in named.items():
        if (path / name).is_symlink() or file_sha256(path / name) != digest:
            message = f"{path / name} was altered; its sha256 is not that in SHA256SUMS. Take the file from another copy of the archive."
            raise SubmissionError(message)
    return len(named)


def _check_truth(folder: EventFolder, keys: SeedKeys, tell: Tell | None, specimens: int | None) -> Iterator[str]:
    """Rebuild the truth from the keys, for all specimens or for some, and compare it with the archive."""
    for hidden in hidden_tasks(folder.event):
        try:
            rows = hidden.verify(keys, folder.path / "data", tell, specimens=specimens)
        except DatasetError as error:
            message = f"The truth of {hidden.task.name} does not follow from the keys: {error}"
            raise SubmissionError(message) from None
        drawn = "" if specimens is None else f" of {specimens} randomly drawn specimens"
        yield f"truth: {hidden.task.name}, {rows} rows{drawn} rebuilt from the keys, equal to the archive's"


def _check_honeypots(folder: EventFolder, truths: Truths) -> Iterator[str]:
    """Compare the revealed honeypots with the honeypots that the keys give."""
    for hidden in (one for one in hidden_tasks(folder.event) if one.each):
        rows, path = truths.of(hidden), folder.path / "data" / f"{hidden.slug}{HONEYPOTS}"
        if not path.is_file() or path.read_text(encoding="utf-8") != hidden.honeypot_text(rows):
            message = f"{path}: the honeypots of {hidden.task.name} do not follow from the keys. Use another copy of the archive."
            raise SubmissionError(message)
        yield f"honeypots: {hidden.task.name}, {len(rows.honeypots)} of {rows.data.sizes['sample']} rows given to teams, equal to those of the keys"


def _check_bundle(folder: EventFolder, truths: Truths) -> Iterator[str]:
    """Compare the rows in the sealed bundle, which teams answered, with the rows that the keys give."""
    path, key, hidden = folder.path / BUNDLE, folder.path / BUNDLE_KEY, hidden_tasks(folder.event)
    if not (hidden and path.is_file() and key.is_file()):
        return
    with tempfile.TemporaryDirectory(prefix="stemtwin-verify-") as fresh:
        unseal(path, Path(fresh) / OPENED, key=key.read_text(encoding="utf-8"))
        for one in hidden:
            given = one.given(Path(fresh) / OPENED)
            if told := one.difference(given, truths.of(one)):
                message = f"{path}: the rows of {one.task.name} given to teams do not follow from the keys: {told}. Use another copy of the archive."
                raise SubmissionError(message)
            yield f"bundle: {one.task.name}, {given.sizes['sample']} rows given to teams, equal to those of the keys"


def _score_again(folder: EventFolder, one: Scored, keys: SeedKeys, truths: Truths) -> str:
    """Score a submission again, and return a description of the result."""
    part = folder.event.task(one.task)
    if not isinstance(part, EventTask):
        return replay_run(folder.records / one.run, keys=keys).text
    handed = Handed(team=one.team, name=one.name, folder=folder.path / SUBMISSIONS / one.team / one.name, digest=one.digest)
    if not handed.folder.is_dir() or digest_of(handed.folder) != one.digest:  # a later submission has replaced it; its answers are kept in the run
        handed = Handed(team=one.team, name=one.name, folder=folder.records / one.run / "submission", digest=one.digest)
    evaluation, reviews = evaluate_table(hidden_task(folder.event, part), handed, truths)
    report, asked = evaluation.report, folder.records / one.run / REVIEWS
    if [review.kind for review in reviews] != [review.kind for review in (read_reviews(asked) if asked.is_file() else ())]:
        message = f"{asked}: the requests for review differ from the {len(reviews)} requests that follow from the submitted answers. "
        message += "Use another copy of the archive."
        raise SubmissionError(message)
    value, kept = report.primary.value, one.value
    same = (report.artefact_sha256, report.comparability_key) == (one.artefact_sha256, one.comparability_key) and (value is None) == (kept is None)
    if not same or (value is not None and kept is not None and abs(value - kept) > TOLERANCE):
        message = f"{one.label}: the new score is {report.primary.name} {value}, but the board has {kept}, which does not follow from the answers."
        raise SubmissionError(message)
    return f"scored again, {report.primary.name} {'no value' if value is None else format(value, '.6g')}"


def _check_ranks(folder: EventFolder, lines: Sequence[LogLine], valid: Sequence[Scored], state: dict) -> None:
    """Raise SubmissionError if a new board, made from the reports, differs in its rows from the signed board."""
    with tempfile.TemporaryDirectory(prefix="stemtwin-verify-") as fresh:
        anew = EventFolder(path=Path(fresh), event=folder.event, records=Path(fresh))
        for one in valid:
            (anew.records / one.run).mkdir(parents=True, exist_ok=True)
            read_report(folder.records / one.run / "report.json").save(anew.records / one.run / "report.json")
        fill_board(anew, valid)
        rows = state_of(anew, lines)["rows"]
    if canonical(rows) != canonical(json.loads(json.dumps(state["rows"]))):
        message = f"{folder.path / STATE}: the ranks do not follow from the reports. Use another copy of the archive."
        raise SubmissionError(message)
