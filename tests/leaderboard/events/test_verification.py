"""Archives of events: verified as they are, and every change is found and named by a sentence of its own."""

import dataclasses
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stemtwin.benchmarks.seed_keys import draw_keys, read_keys, write_keys
from stemtwin.leaderboard.events import archive as archives
from stemtwin.leaderboard.events import verification
from stemtwin.leaderboard.events.folders import open_folder, open_organiser
from stemtwin.leaderboard.events.log import write_log
from stemtwin.leaderboard.events.signing import draw_signing_key, file_sha256, read_signing_key
from stemtwin.leaderboard.events.standings import state_of, write_state
from stemtwin.leaderboard.events.verification import verify_archive
from stemtwin.twin.errors import SettingsError, StemtwinError, SubmissionError

pytestmark = pytest.mark.slow
"""A closed event takes seconds to make."""


def signing_key(closed: Path):
    """Return the organiser's key."""
    return read_signing_key(closed / "trial-secret" / "signing.json")


def test_an_archive_is_verified_from_itself(archive: Path, closed: Path) -> None:
    """Log, board, reports, keys, files, scores and ranks agree, with the organiser's key as it was announced; nothing is written."""
    before = {path: file_sha256(path) for path in archive.rglob("*") if path.is_file()}
    announced = open_folder(closed / "trial").event.public_key
    said = [text.partition(":")[0] for text in verify_archive(archive, public_key=announced)]
    assert said == ["log", "board", "reports", "keys", "files", "settings", "score", "score", "ranks"]
    assert {path: file_sha256(path) for path in archive.rglob("*") if path.is_file()} == before
    assert (archive / "figures" / "1-hypothesis-test-1.svg").read_text().startswith("<?xml")
    with pytest.raises(SettingsError, match="another organiser"):
        next(verify_archive(archive, public_key="0" * 64))


def test_the_zip_holds_the_archive(closed: Path, tmp_path: Path) -> None:
    """Its files are the folder's, byte by byte."""
    with zipfile.ZipFile(closed / "archive.zip") as zipped:
        zipped.extractall(tmp_path)
    for path in (closed / "archive").rglob("*"):
        assert path.is_dir() or path.read_bytes() == (tmp_path / path.relative_to(closed)).read_bytes()


def test_the_packed_archive_is_verified_as_it_is(closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zip file gives the sentences of the folder; a change in it is named by the zip's own path; limits of archives of strangers hold."""
    packed = closed / "archive.zip"
    assert list(verify_archive(packed)) == list(verify_archive(closed / "archive"))
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(tmp_path / "other.zip", "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name) + (b"#" if name.endswith("half/agent.py") else b""))
    with pytest.raises(SubmissionError, match=r"other\.zip/submissions/ours/half/agent\.py was altered"):
        list(verify_archive(tmp_path / "other.zip"))
    monkeypatch.setattr("stemtwin.benchmarks.archives.MOST_ENTRIES", 3)
    with pytest.raises(SubmissionError, match=r"at most 3 are unpacked.*unpack it by hand and give its folder"):
        list(verify_archive(packed))


def test_the_revealed_keys_are_those_of_the_commitment(closed: Path) -> None:
    """The commitment was published with the event; the keys appear in its folder when it is closed, and not before."""
    event = open_folder(closed / "trial").event
    assert read_keys(closed / "trial" / "keys.json").commitment == event.commitment
    assert open_folder(closed / "trial").lines[0].content["commitment"] == event.commitment
    assert open_folder(closed / "trial").lines == open_folder(closed / "archive").lines


def edit(path: Path, change: Callable[[str], str]) -> None:
    """Change the text of a file, which must be another one then."""
    before = path.read_text(encoding="utf-8")
    path.write_text(change(before), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != before


def first_run(archive: Path, file: str) -> Path:
    """Return a file of the run of ours."""
    line = next(line for line in open_folder(archive).lines if line.kind == "scored" and line.content["team"] == "ours")
    return archive / line.content["run"] / file


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a value in the log": (
        lambda where: edit(where / "log.jsonl", lambda text: text.replace('"team":"ours"', '"team":"cheats"')),
        "the log was altered",
    ),
    "a line less": (lambda where: edit(where / "log.jsonl", lambda text: "".join(text.splitlines(True)[:-1])), "the event is not closed"),
    "a line less in between": (
        lambda where: edit(where / "log.jsonl", lambda text: "".join(text.splitlines(True)[:1] + text.splitlines(True)[2:])),
        "the log was altered; it does not follow",
    ),
    "half a line": (lambda where: edit(where / "log.jsonl", lambda text: text[:-5]), "its last line is incomplete"),
    "a rank on the board": (
        lambda where: edit(where / "board.json", lambda text: text.replace('"theirs"', '"them"')),
        "the board was altered; its signature",
    ),
    "no board": (lambda where: (where / "board.json").unlink(), "does not contain the state of a board"),
    "a report": (
        lambda where: edit(first_run(where, "report.json"), lambda text: text.replace('"wall_s": ', '"wall_s": 1')),
        "the report of ours/half",
    ),
    "another key": (lambda where: write_keys(where / "keys.json", draw_keys()), "the keys were altered; their commitment"),
    "half a key": (lambda where: edit(where / "keys.json", lambda text: text.replace('"nonce": "', '"nonce": "0')), "The seed keys of the event"),
    "a submission": (lambda where: edit(where / "submissions/ours/half/agent.py", lambda text: text + "#"), "agent.py was altered"),
    "episodes": (
        lambda where: edit(first_run(where, "episodes.json"), lambda text: text.replace('"attempt": 0', '"attempt": 1')),
        "episodes.json was",
    ),
    "the settings": (
        lambda where: edit(where / "event.toml", lambda text: text.replace("submissions = 20", "submissions = 21")),
        "event.toml was altered",
    ),
    "a file more": (lambda where: edit(where / "data.csv", str.upper) if (where / "data.csv").write_text("a") else None, "data.csv was added"),
    "a file less": (lambda where: (where / "guide.md").unlink(), "guide.md is missing"),
    "the checksums": (lambda where: edit(where / "SHA256SUMS", lambda text: text + "\n"), "the checksums were altered"),
}
"""Changes of an archive, and the words in which they are found."""


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_has_its_own_sentence(change: str, archive: Path) -> None:
    """One altered file is enough, and the sentence names it."""
    alter, told = CHANGES[change]
    alter(archive)
    with pytest.raises(SubmissionError, match=told.replace(".", r"\.")):
        list(verify_archive(archive))


def sign_again(archive: Path, closed: Path) -> None:
    """Sign an archive as a dishonest organiser would: checksums, last line, state."""
    key, folder = signing_key(closed), open_folder(archive)
    (archive / "SHA256SUMS").write_text(archives.checksums(archive))
    lines = folder.lines[:-1]
    lines.append(archives.next_line(lines, "closed", {"sums_sha256": file_sha256(archive / "SHA256SUMS"), "keys": "revealed"}, key))
    write_log(archive / "log.jsonl", lines)
    write_state(archive / "board.json", state_of(folder, lines), key)


def test_an_organiser_cannot_sign_other_episodes(archive: Path, closed: Path) -> None:
    """Scores follow from actions and revealed keys: signatures do not help."""
    path = first_run(archive, "episodes.json")
    rows = json.loads(path.read_text())
    rows[0]["end"] = {name: value + 1 for name, value in rows[0]["end"].items()}
    path.write_text(json.dumps(rows))
    sign_again(archive, closed)
    with pytest.raises(SubmissionError, match=r"differs in 'end'|the report does not belong"):
        list(verify_archive(archive))


def test_an_organiser_cannot_sign_other_ranks(archive: Path, closed: Path) -> None:
    """The ranks are computed again from the reports."""
    folder, key = open_folder(archive), signing_key(closed)
    state = state_of(folder, folder.lines)
    for row in state["rows"]:
        row["rank"] = [1, 1] if row["team"] == "theirs" else [2, 2]
    write_state(archive / "board.json", state, key)
    with pytest.raises(SubmissionError, match="the ranks do not follow"):
        list(verify_archive(archive))


def test_another_key_cannot_sign(archive: Path) -> None:
    """A log that somebody else signed anew is found by the public key in the settings."""
    folder, key = open_folder(archive), draw_signing_key()
    lines = []
    for line in folder.lines:
        lines.append(archives.next_line(lines, line.kind, line.content, key))
    write_log(archive / "log.jsonl", lines)
    with pytest.raises(SubmissionError, match="its signature is not the organiser's"):
        list(verify_archive(archive))


def test_an_event_is_closed_only_when_it_is_frozen_and_agrees(organiser, closed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys stay secret where something is wrong: nothing is written then."""
    target = tmp_path / "made"
    with pytest.raises(SettingsError, match="is not frozen"):
        archives.close_event(organiser, target)
    organiser.append("frozen", submissions=[])

    def disagree(*_, **__):
        message = "something differs"
        raise SubmissionError(message)

    monkeypatch.setattr(archives, "verify_archive", disagree)
    with pytest.raises(SubmissionError, match="something differs"):
        archives.close_event(organiser, target)
    assert not target.exists()
    assert not (organiser.path / "keys.json").exists()
    assert organiser.folder.first("closed") is None
    with pytest.raises(SettingsError, match="is closed"):
        archives.close_event(open_organiser(closed / "trial", closed / "trial-secret"), target)


def test_secrets_of_another_event_are_refused(organiser, closed: Path) -> None:
    """Neither keys nor signatures can be mixed up."""
    with pytest.raises(SettingsError, match="secrets of another event"):
        open_organiser(organiser.path, closed / "trial-secret")
    shutil.rmtree(organiser.secret)
    with pytest.raises(SettingsError, match="no such folder of secrets"):
        open_organiser(organiser.path)


def test_what_is_no_archive_is_one_sentence(tmp_path: Path, organiser, closed: Path) -> None:
    """A file that is no zip, an empty folder and a running event."""
    (tmp_path / "text.zip").write_text("nothing")
    for path in (tmp_path / "text.zip", tmp_path / "nothing", organiser.path):
        with pytest.raises(StemtwinError):
            list(verify_archive(path))
    assert dataclasses.is_dataclass(organiser)
    assert verification.LEFT_OUT == archives.ABOUT_LAST
