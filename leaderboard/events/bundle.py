"""Sealed bundles: a folder as one encrypted file, distributed in advance and opened with a key at the start of the event.

A bundle consists of a line with the format, a line of JSON, and a tar archive in chunks. Each chunk is encrypted with
AES-256-GCM. Nonces are consecutive numbers, which is safe because each bundle has its own key. The associated data of a
chunk are the hash of the JSON line, the number of the chunk, and a flag that marks the last chunk. Decryption therefore
detects exchanged or missing chunks, chunks of another bundle, and a changed start time.
"""

import contextlib
import datetime
import hashlib
import io
import json
import re
import secrets
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from stemtwin.leaderboard.events.signing import canonical, sha256
from stemtwin.twin.errors import SettingsError, SubmissionError
from stemtwin.twin.files import check_writable, replacing

MAGIC = b"stemtwin/bundle@1\n"
CHUNK = 1 << 20
"""Size of a chunk before encryption, bytes."""
TAG = 16
"""Size that encryption adds to a chunk, bytes."""
LONGEST_HEADER = 1 << 16
NONCE, BOUND = struct.Struct(">IQ"), struct.Struct(">Q?")
ByteProgress = Callable[[int, int], None]
"""Function of (done, total) that is called with numbers of bytes."""


def draw_bundle_key() -> str:
    """Return a new key, 64 hexadecimal digits."""
    return secrets.token_hex(32)


def read_key(text: str) -> bytes:
    """Return the 32 bytes of a key typed as hexadecimal digits, possibly with blanks and hyphens.

    Raises
    ------
    SettingsError
        The text does not consist of 64 hexadecimal digits.
    """
    digits = re.sub(r"[\s-]", "", text).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        message = f"The key has {len(digits)} characters; it must have 64 hexadecimal digits. Copy the whole key from the organiser's announcement."
        raise SettingsError(message)
    return bytes.fromhex(digits)


def seal(folder: Path, path: Path, *, key: str, event: str, opens: datetime.datetime, progress: ByteProgress | None = None) -> str:
    """Write the files of a folder as a sealed bundle, and return the sha256 of the bundle, hexadecimal.

    Parameters
    ----------
    folder : Path
        Folder of the files.
    path : Path
        File of the bundle; an existing file is replaced atomically.
    key : str
        New key, from :func:`draw_bundle_key`.
    event : str
        Name of the event.
    opens : datetime
        Start time, before which :func:`unseal` refuses to open the bundle.
    progress : callable, optional
        Function of (done, total) that is called with numbers of bytes.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    secret = read_key(key)
    names = sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
    total = sum((folder / name).stat().st_size for name in names)
    header = {"event": event, "opens": opens.isoformat(), "chunk": CHUNK, "files": len(names), "bytes": total, "key_sha256": sha256(secret)}
    with replacing(path) as temporary, temporary.open("wb") as out:
        content = canonical(header)
        out.write(MAGIC + content + b"\n")
        writer = _Encrypter(out, AESGCM(secret), hashlib.sha256(content).digest())
        stream: Any = writer
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for name in names:
                _add(archive, folder / name, name)
                if progress:
                    progress(writer.count * CHUNK, total)
        writer.finish()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """Add a file without owner, time and permissions."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = path.stat().st_size, 0o644
    with path.open("rb") as stream:
        archive.addfile(member, stream)


class _Encrypter:
    """Writable file object that encrypts its content in chunks."""

    def __init__(self, out: IO[bytes], cipher: Any, about: bytes) -> None:
        self.out, self.cipher, self.about, self.count, self.held = out, cipher, about, 0, bytearray()

    def write(self, content: bytes) -> int:
        """Append bytes, and write all complete chunks except the last."""
        self.held += content
        while len(self.held) > CHUNK:
            self._chunk(bytes(self.held[:CHUNK]), last=False)
            del self.held[:CHUNK]
        return len(content)

    def finish(self) -> None:
        """Write the last chunk."""
        self._chunk(bytes(self.held), last=True)

    def _chunk(self, content: bytes, *, last: bool) -> None:
        """Encrypt and write one chunk."""
        self.out.write(self.cipher.encrypt(NONCE.pack(0, self.count), content, self.about + BOUND.pack(self.count, last)))
        self.count += 1


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of a bundle, which is not encrypted: ``event``, ``opens``, ``files``, ``bytes`` and others.

    Raises
    ------
    SubmissionError
        The file is not a bundle.
    """
    with contextlib.suppress(OSError), path.open("rb") as stream:
        return _header(path, stream)[0]
    raise _none(path)


def _none(path: Path) -> SubmissionError:
    return SubmissionError(f"{path} is not a sealed bundle. Give the complete file sealed.bundle from the organiser.")


def _header(path: Path, stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Return the header of a bundle and the hash of the header, read from a stream."""
    if stream.read(len(MAGIC)) != MAGIC:
        raise _none(path)
    line = stream.readline(LONGEST_HEADER)
    try:
        header = json.loads(line)
        header["when"] = datetime.datetime.fromisoformat(header["opens"])
        if not {"event", "files", "bytes", "key_sha256"} <= set(header) or header["chunk"] != CHUNK or header["when"].tzinfo is None:
            raise _none(path)
    except (ValueError, TypeError, KeyError):
        raise _none(path) from None
    return header, hashlib.sha256(line.removesuffix(b"\n")).digest()


def unseal(path: Path, target: Path, *, key: str, now: datetime.datetime | None = None, progress: ByteProgress | None = None) -> int:
    """Decrypt a bundle to a new folder, which appears only when it is complete, and return the number of files.

    Parameters
    ----------
    path : Path
        File of the bundle.
    target : Path
        Folder that does not exist or is empty.
    key : str
        Key that the organiser announced.
    now : datetime, optional
        Current time; by default the system time.
    progress : callable, optional
        Function of (done, total) that is called with numbers of bytes.

    Raises
    ------
    SettingsError
        The event has not started, or the key is wrong, or the folder is not empty.
    SubmissionError
        The file is not a bundle, or it was altered or shortened.
    DatasetError
        The folder cannot be written.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    header, now = read_header(path), now or datetime.datetime.now(datetime.UTC)
    if now < header["when"]:
        message = f"{path} opens at {header['opens']}, which is {_span(header['when'] - now)} from now. Wait for the start, or check the clock."
        raise SettingsError(message)
    secret = read_key(key)
    if sha256(secret) != header["key_sha256"]:
        message = f"The key does not open {path}: it is the key of another bundle. Copy the key from the announcement of {str(header['event'])!r}."
        raise SettingsError(message)
    check_writable(target, folder=True)
    if target.is_dir() and any(target.iterdir()):
        message = f"{target} is not empty. Give a folder that is empty or does not exist."
        raise SettingsError(message)
    with replacing(target) as temporary, path.open("rb") as stream:
        temporary.mkdir()
        about = _header(path, stream)[1]
        reader = _Decrypted(_decrypt(path, stream, AESGCM(secret), about))
        with tarfile.open(fileobj=io.BufferedReader(reader, CHUNK), mode="r|") as archive:
            count = _extract(archive, temporary, header["bytes"], progress)
        while reader.read(CHUNK):  # detects a shortened bundle, which lacks its last chunk
            pass
    return count


def _extract(archive: tarfile.TarFile, folder: Path, total: int, progress: ByteProgress | None) -> int:
    """Write the files of an archive and return their number."""
    count, done = 0, 0
    for member in archive:
        archive.extract(member, folder, filter="data")
        count, done = count + 1, done + member.size
        if progress:
            progress(done, total)
    return count


def _decrypt(path: Path, stream: IO[bytes], cipher: Any, about: bytes) -> Iterator[bytes]:
    """Yield the decrypted chunks of a bundle."""
    from cryptography.exceptions import InvalidTag

    number, held = 0, stream.read(CHUNK + TAG)
    while True:
        following = stream.read(CHUNK + TAG)
        last = not following
        try:
            yield cipher.decrypt(NONCE.pack(0, number), held, about + BOUND.pack(number, last))
        except InvalidTag:
            where = f"ends with part {number}, which is not its last part or was altered" if last else f"was altered in part {number}"
            message = f"{path} {where}: it is not the file that the organiser sealed. Get it again and check its sha256 on the event's page."
            raise SubmissionError(message) from None
        if last:
            return
        number, held = number + 1, following


class _Decrypted(io.RawIOBase):
    """Readable stream of decrypted chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks, self.held = chunks, b""

    def readable(self) -> bool:
        """Return True, because the stream can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with decrypted bytes, and return their number."""
        while not self.held:
            following = next(self.chunks, None)
            if following is None:
                return 0
            self.held = following
        count = min(len(buffer), len(self.held))
        buffer[:count], self.held = self.held[:count], self.held[count:]
        return count


def _span(left: datetime.timedelta) -> str:
    """Return a duration as text in days, hours and minutes."""
    minutes = max(1, -(-int(left.total_seconds()) // 60))
    days, rest = divmod(minutes, 24 * 60)
    parts = ((days, "d"), (rest // 60, "h"), (rest % 60, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)
