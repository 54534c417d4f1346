"""Download of published datasets with pooch, checked against hashes that do not come from the server of the data.

A publisher writes a mirror with :func:`publish`. The mirror consists of a folder ``<name>/<version>/<size>/...`` for any
static web server, and of a registry ``<name>-<version>.registry.txt`` with a line ``<size>/<path> sha256:<digest>`` for
each file. A downloaded file is trusted only if it matches the registry. The registry lies beside the card in this
package, or is a local file that the user names in ``STEMTWIN_DATA_REGISTRY``; it is never read from the mirror.

Environment
-----------
STEMTWIN_DATA_DIR
    Folder that holds each dataset in a subfolder ``<name>/<version>/<size>``; by default the user's cache folder. The folder
    of a mirror on a local disk can also be given here.
STEMTWIN_DATA_URL
    Web address of a mirror.
STEMTWIN_DATA_REGISTRY
    Registry file for a mirror whose registry does not ship with the package.
"""

import contextlib
import os
from pathlib import Path
from typing import IO, Any

from stemtwin.datasets import cards, storage
from stemtwin.datasets.cards import Card
from stemtwin.datasets.manifest import MANIFEST, Manifest, check_card, check_file, read_manifest
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.files import check_space, check_writable, refusal, replacing, write_atomically

ATTEMPTS = 4
PAUSE_S = 0.3
"""Unit of the pauses between attempts, s; the pauses are 0, 2 and 4 units long."""
TIMEOUT_S = 30.0
RETRIED = frozenset({429, 500, 502, 503, 504})


def data_root() -> Path:
    """Return the folder of all datasets: ``STEMTWIN_DATA_DIR``, or the user's cache folder."""
    import pooch

    return Path(os.environ.get("STEMTWIN_DATA_DIR") or pooch.os_cache("stemtwin")).expanduser().absolute()


def folder_of(card: Card, size: str) -> Path:
    """Return the path of the folder for a built or fetched dataset, even if this folder does not exist yet."""
    return data_root() / card.name / card.version / size


def shipped_registry(card: Card) -> Path:
    """Return the path of the registry beside a card in the package, even if this file does not exist."""
    return cards.CARDS / f"{card.id}.registry.txt"


def registry_path(card: Card) -> Path | None:
    """Return the path of a card's registry, or None if there is no registry.

    The file that the user names in ``STEMTWIN_DATA_REGISTRY`` has priority over the file beside the card.

    Raises
    ------
    DatasetError
        ``STEMTWIN_DATA_REGISTRY`` does not name an existing file.
    """
    named = os.environ.get("STEMTWIN_DATA_REGISTRY")
    if named and not Path(named).is_file():
        message = f"STEMTWIN_DATA_REGISTRY={named} is not a file. Give the registry of the mirror, written by 'stemtwin data publish'."
        raise DatasetError(message)
    path = Path(named) if named else shipped_registry(card)
    return path if path.is_file() else None


def build_command(card: Card, size: str) -> str:
    """Return the command that builds a dataset."""
    return f"stemtwin data build {card.name} --version {card.version} --size {size}"


def absent(card: Card, size: str, more: str = "") -> str:
    """Return the error message for a dataset that is not on this machine, in the case that no mirror is set.

    ``more`` is a further sentence for the message.
    """
    missing = f"{card.name} {card.version} {size} is not on this machine, and no mirror is set.{more}"
    return f"{missing} Build it with '{build_command(card, size)}' (in Python build=True), or set STEMTWIN_DATA_URL to a mirror."


def mirror(card: Card, size: str) -> Any:
    """Return the ``pooch.Pooch`` of a dataset, with the addresses and hashes of its files.

    Raises
    ------
    DatasetError
        The mirror or the registry is missing, or the registry does not contain this size.
    """
    import pooch

    url, registry, build = os.environ.get("STEMTWIN_DATA_URL", ""), registry_path(card), build_command(card, size)
    if not url:
        raise DatasetError(absent(card, size))
    if not url.startswith(("http://", "https://")):
        message = (
            f"STEMTWIN_DATA_URL={url} is not a web address. Use http:// or https://, or set STEMTWIN_DATA_DIR to the folder of a mirror on a disk."
        )
        raise DatasetError(message)
    if registry is None:
        message = (
            f"The hashes of {card.id} are not known, as no registry ships with its card. "
            f"Set STEMTWIN_DATA_REGISTRY to the registry of the mirror, or run '{build}'."
        )
        raise DatasetError(message)
    pooch.get_logger().setLevel("WARNING")  # the progress bar names the file
    made = pooch.create(path=data_root() / card.name / card.version, base_url=f"{url.rstrip('/')}/{card.name}/{card.version}/")
    try:
        made.load_registry(registry)
    except (OSError, ValueError) as error:
        message = f"The registry {registry} cannot be read: {error}. Get it again from the publisher of the mirror."
        raise DatasetError(message) from None
    if f"{size}/{MANIFEST}" not in made.registry:
        sizes = sorted({name.split("/")[0] for name in made.registry})
        held = ", ".join(sizes) or "nothing"
        message = f"The registry {registry} has no size {size!r} of {card.id}, only {held}. Use one of these, or run '{build}'."
        raise DatasetError(message)
    return made


def fetch_file(source: Any, name: str, progress: Any = None) -> Path:
    """Return the local path of a mirror's file, which is downloaded unless a local file with the right hash exists.

    Parameters
    ----------
    source : pooch.Pooch
        Mirror, from :func:`mirror`.
    name : str
        Name of the file in the registry, ``<size>/<path>``.
    progress : callable, optional
        Called with the name and the number of bytes of each received block.

    Raises
    ------
    DatasetError
        The server cannot be reached, refuses the request or sends an incomplete file, or the file's hash differs from
        the registry's.
    """

    def download(url: str, output: str | IO[bytes], _: Any) -> None:
        _download(url, Path(str(output)), lambda count: progress(name, count) if progress else None)

    try:
        path = Path(source.fetch(name, downloader=download))
        _share(path)
        return path
    except DatasetError:
        raise
    except ValueError as error:
        url = source.get_url(name)
        message = (
            f"{url} is not the published file: its sha256 differs from the registry's. The download was discarded. "
            "Report this to the publisher of the mirror."
        )
        raise DatasetError(message) from error
    except OSError as error:
        message = f"{refusal(Path(source.abspath) / name, error)} If you choose another folder, set STEMTWIN_DATA_DIR to it."
        raise DatasetError(message) from error


def _share(path: Path) -> None:
    """Give a downloaded file the permissions of a new file.

    pooch creates files that only their owner can read, but several users may share a cache.
    """
    mask = os.umask(0)
    os.umask(mask)
    with contextlib.suppress(OSError):  # the file belongs to another user, who has set its permissions
        path.chmod(0o666 & ~mask)


def _download(url: str, output: Path, tell: Any) -> None:
    """Download a file.

    The download is repeated if the server is busy, the connection fails or the body ends early. urllib3 counts the attempts
    and waits between them.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry
    from urllib3.exceptions import MaxRetryError

    retries = Retry(
        total=ATTEMPTS - 1,
        backoff_factor=PAUSE_S,
        status_forcelist=RETRIED,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    problem, attempts = "", 1
    with requests.Session() as session:
        try:
            while True:
                for scheme in ("http://", "https://"):
                    session.mount(scheme, HTTPAdapter(max_retries=retries))
                with session.get(url, stream=True, timeout=TIMEOUT_S) as answer:
                    retries = answer.raw.retries
                    attempts = len(retries.history) + 1
                    if answer.status_code >= 400:
                        problem = f"answers {answer.status_code} {answer.reason}"
                        break
                    problem = _keep(answer, output, tell)
                if not problem:
                    return
                retries = retries.increment("GET", url, error=EOFError(problem))
                retries.sleep()
        except MaxRetryError:  # raised by increment: the last body ended early, too
            pass
        except requests.exceptions.RequestException as error:
            problem, attempts = _unanswered(error)
    message = f"{url} {problem} ({attempts} attempt(s)). Check the network and STEMTWIN_DATA_URL, or build the dataset with 'stemtwin data build'."
    raise DatasetError(message)


def _unanswered(error: Any) -> tuple[str, int]:
    """Return the problem with a request without a response, and the number of attempts."""
    from requests.exceptions import ConnectTimeout
    from urllib3.exceptions import MaxRetryError, ReadTimeoutError

    last = error.args[0] if error.args else None
    if not isinstance(last, MaxRetryError):
        return f"is not usable: {error}", 1
    if isinstance(error, ConnectTimeout) or isinstance(last.reason, ReadTimeoutError):
        return f"does not answer within {TIMEOUT_S:g} s", ATTEMPTS
    return "cannot be reached", ATTEMPTS


def _keep(answer: Any, output: Path, tell: Any) -> str:
    """Write a response's body to a file, and return the problem if the body is not complete, otherwise an empty text."""
    from requests.exceptions import RequestException

    got, wanted = 0, answer.headers.get("Content-Length")
    try:
        with output.open("wb") as stream:
            for piece in answer.iter_content(1 << 18):
                stream.write(piece)
                got += len(piece)
                tell(len(piece))
    except RequestException:
        return "ends before the file is complete"
    if wanted is not None and "Content-Encoding" not in answer.headers and got < int(wanted):
        return f"ends before the file is complete ({got} of {wanted} bytes)"
    return ""


def ensure(card: Card, size: str, split: str | None = None, carrier: str | None = None, progress: Any = None) -> tuple[Path, Manifest]:
    """Return a dataset's folder and manifest after fetching missing files and checking the hashes of all files.

    If an existing file is corrupted, an error is raised and the file is not replaced.

    Parameters
    ----------
    card : Card
        Card of the dataset.
    size : str
        Size of the dataset.
    split, carrier : str, optional
        Split and storage format (``"parquet"``, ``"netcdf"`` or ``"zarr"``) of the files that are fetched and checked; by
        default all files.
    progress : callable, optional
        See :func:`fetch_file`.

    Raises
    ------
    DatasetError
        The dataset is not available, or is corrupted.
    """
    folder, source = folder_of(card, size), None
    if not (folder / MANIFEST).is_file():
        source = mirror(card, size)
        check_writable(folder, folder=True)
        fetch_file(source, f"{size}/{MANIFEST}", progress)
    manifest = read_manifest(folder)
    check_card(manifest, card, folder)
    for entry in manifest.files:
        if (split is not None and entry.split != split) or (carrier is not None and entry.carrier != carrier):
            continue
        if not (folder / entry.path).is_file() and os.environ.get("STEMTWIN_DATA_URL"):
            source = source or mirror(card, size)
            if source.registry.get(f"{size}/{entry.path}") in (entry.sha256, f"sha256:{entry.sha256}"):
                fetch_file(source, f"{size}/{entry.path}", progress)
        check_file(folder, entry)
    return folder, manifest


def fetch(card: Card, size: str, progress: Any = None) -> tuple[Path, Manifest]:
    """Fetch all files of a dataset from the mirror, and return the dataset's folder and manifest.

    Local files that differ from the published files are replaced.

    Raises
    ------
    DatasetError
        See :func:`mirror` and :func:`fetch_file`.
    """
    source, folder = mirror(card, size), folder_of(card, size)
    if not _complete(source, size, folder):
        check_writable(folder, folder=True)
    fetch_file(source, f"{size}/{MANIFEST}", progress)
    missing = [entry.bytes for entry in read_manifest(folder).files if not (folder / entry.path).is_file()]
    check_space(folder, sum(missing), f"Missing files of {card.id} {size}")
    for name in sorted(source.registry):
        if name.startswith(f"{size}/"):
            fetch_file(source, name, progress)
    manifest = read_manifest(folder)
    check_card(manifest, card, folder)
    for entry in manifest.files:
        check_file(folder, entry)
    return folder, manifest


def _complete(source: Any, size: str, folder: Path) -> bool:
    """Return True if all files of a size exist with the published hashes, so no file has to be written."""
    files = {folder.parent / name: digest for name, digest in source.registry.items() if name.startswith(f"{size}/")}
    return all(path.is_file() and storage.file_sha256(path) == digest.removeprefix("sha256:") for path, digest in files.items())


def publish(card: Card, folder: str | Path, target: str | Path) -> Path:
    """Copy a dataset into a mirror and write the mirror's registry.

    Parameters
    ----------
    card : Card
        Card of the dataset.
    folder : str or Path
        Folder of a finished build.
    target : str or Path
        Folder of the mirror, to be served by a web server. Other sizes and datasets in this folder remain unchanged.

    Returns
    -------
    Path
        Path of the registry, ``<target>/<name>-<version>.registry.txt``. Users must not obtain the registry from the mirror.

    Raises
    ------
    DatasetError
        The build is corrupted or belongs to another card, or cannot be copied.
    """
    import shutil

    folder, target = Path(folder), Path(target)
    manifest = read_manifest(folder)
    check_card(manifest, card, folder)
    check_writable(target, folder=True)
    check_space(target, sum(entry.bytes for entry in manifest.files), f"A copy of {card.id} {manifest.size}")
    registry = target / f"{card.id}.registry.txt"
    check_writable(registry)
    for entry in manifest.files:
        check_file(folder, entry)
        with replacing(target / card.name / card.version / manifest.size / entry.path) as temporary:
            shutil.copyfile(folder / entry.path, temporary)
    with replacing(target / card.name / card.version / manifest.size / MANIFEST) as temporary:
        shutil.copyfile(folder / MANIFEST, temporary)
    kept = _other_sections(registry, manifest.size)
    write_atomically(registry, "".join([*kept, registry_section(folder, manifest)]).encode())
    return registry


def registry_section(folder: Path, manifest: Manifest) -> str:
    """Return the section of a registry for one size: comment lines with content hashes, and one line for each file."""
    lines = [f"# size {manifest.size}, content {manifest.content_sha256}"]
    lines += [f"# size {manifest.size}, split {split}, content {piece.content_sha256}" for split, piece in manifest.splits.items()]
    lines.append(f"{manifest.size}/{MANIFEST} sha256:{storage.file_sha256(folder / MANIFEST)}")
    lines += [f"{manifest.size}/{entry.path} sha256:{entry.sha256}" for entry in manifest.files]
    return "\n".join(lines) + "\n"


def _other_sections(registry: Path, size: str) -> list[str]:
    """Return the lines of a registry that belong to other sizes."""
    if not registry.is_file():
        return []
    lines = registry.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if not line.startswith((f"{size}/", f"# size {size},"))]
