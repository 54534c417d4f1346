"""Sealed bundles: what goes in comes out with the right key at the right time, and nothing else does."""

import datetime
from pathlib import Path

import pytest

from stemtwin.leaderboard.events import bundle
from stemtwin.twin.errors import SettingsError, StemtwinError, SubmissionError

HOUR = datetime.datetime(2026, 1, 15, 9, tzinfo=datetime.UTC)
KEY = "0123456789abcdef" * 4


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a bundle of several parts."""
    monkeypatch.setattr(bundle, "CHUNK", 1 << 12)
    (tmp_path / "content" / "inputs").mkdir(parents=True)
    (tmp_path / "content" / "guide.md").write_text("the guide")
    (tmp_path / "content" / "inputs" / "rows.bin").write_bytes(bytes(range(256)) * 100)
    bundle.seal(tmp_path / "content", tmp_path / "bundle", key=KEY, event="trial", opens=HOUR)
    return tmp_path / "bundle"


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("typed", [KEY, f" {KEY.upper()}\n", "-".join(KEY[i : i + 8] for i in range(0, 64, 8))])
def test_the_key_opens_the_bundle_from_the_start_hour_on(sealed: Path, typed: str, tmp_path: Path) -> None:
    """Files come out as they went in, however the key was typed; the bundle itself shows nothing of them."""
    assert bundle.unseal(sealed, tmp_path / "opened", key=typed, now=HOUR) == 2
    assert contents(tmp_path / "opened") == contents(tmp_path / "content")
    assert b"guide" not in sealed.read_bytes()


@pytest.mark.parametrize(
    ("key", "now", "told"),
    [
        ("1" * 64, HOUR, "does not open"),
        ("1" * 63, HOUR, "has 63 characters"),
        (KEY, HOUR - datetime.timedelta(hours=25, seconds=1), "1 d 1 h 1 min from now"),
    ],
)
def test_a_wrong_and_an_early_key_are_one_sentence(sealed: Path, key: str, now: datetime.datetime, told: str, tmp_path: Path) -> None:
    """Nothing is written then."""
    with pytest.raises(SettingsError, match=told):
        bundle.unseal(sealed, tmp_path / "opened", key=key, now=now)
    assert not (tmp_path / "opened").exists()


def parts(sealed: Path) -> tuple[bytes, list[bytes]]:
    """Return the beginning of a bundle and its encrypted parts."""
    content = sealed.read_bytes()
    start = content.index(b"\n", len(bundle.MAGIC)) + 1
    size = bundle.CHUNK + bundle.TAG
    return content[:start], [content[i : i + size] for i in range(start, len(content), size)]


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found[:-1],
        lambda found: found[:2],
        lambda found: [found[1], found[0], *found[2:]],
        lambda found: [found[0], *found],
        lambda found: [*found[:-1], found[-1][:-1]],
        lambda found: [*found[:-1], found[-1] + b"\0"],
        lambda found: [found[0][:100] + bytes([found[0][100] ^ 1]) + found[0][101:], *found[1:]],
        lambda found: [*found, found[-1]],
        lambda _: [],
    ],
    ids=["last part gone", "two parts left", "exchanged", "repeated", "shorter", "longer", "one bit", "end twice", "empty"],
)
def test_every_change_of_a_bundle_is_found(sealed: Path, change, tmp_path: Path) -> None:
    """Parts that are missing, exchanged, repeated or changed are refused, and nothing is left."""
    head, found = parts(sealed)
    assert len(found) > 4
    sealed.write_bytes(head + b"".join(change(found)))
    with pytest.raises(SubmissionError, match="not the file that the organiser sealed"):
        bundle.unseal(sealed, tmp_path / "opened", key=KEY, now=HOUR)
    assert not (tmp_path / "opened").exists()


def test_an_earlier_start_hour_in_the_header_is_found(sealed: Path, tmp_path: Path) -> None:
    """The start hour is bound to the content: to write another into the file does not open it earlier."""
    sealed.write_bytes(sealed.read_bytes().replace(b"2026-01-15T09", b"2026-01-15T08", 1))
    with pytest.raises(SubmissionError, match="was altered in part 0"):
        bundle.unseal(sealed, tmp_path / "opened", key=KEY, now=HOUR)


def test_a_part_of_another_bundle_is_found(sealed: Path, tmp_path: Path) -> None:
    """Even with the same key, a part belongs to its bundle."""
    other = tmp_path / "other"
    bundle.seal(tmp_path / "content", other, key=KEY, event="another", opens=HOUR)
    head, found = parts(sealed)
    sealed.write_bytes(head + b"".join([*found[:1], parts(other)[1][1], *found[2:]]))
    with pytest.raises(SubmissionError, match="part 1"):
        bundle.unseal(sealed, tmp_path / "opened", key=KEY, now=HOUR)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", bundle.MAGIC, bundle.MAGIC + b"[]\n", bundle.MAGIC + b'{"opens": 1}\n', b"\0" * 5000])
def test_a_file_that_is_no_bundle_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    """Whatever it is, it is said not to be a bundle."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(StemtwinError, match="is not a sealed bundle"):
        bundle.unseal(tmp_path / "file", tmp_path / "opened", key=KEY, now=HOUR)


def test_a_folder_that_is_not_empty_is_left_alone(sealed: Path, tmp_path: Path) -> None:
    """Nothing is mixed with what is there."""
    with pytest.raises(SettingsError, match="not empty"):
        bundle.unseal(sealed, tmp_path / "content", key=KEY, now=HOUR)
