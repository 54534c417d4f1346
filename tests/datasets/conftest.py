"""A small dataset made by the house's own writer, an analytic image source for it, and a web server on loopback that serves it."""

import functools
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from stemtwin.datasets import cards, fetch, generate, storage
from stemtwin.datasets.draw import random_generator
from stemtwin.datasets.generators import atoms_2d
from stemtwin.datasets.manifest import read_manifest, write_manifest
from stemtwin.datasets.truth import frame_columns
from stemtwin.twin.samples.columns import projected_columns

SIDE = 24


def spots(sample, specimen, conditions, card):
    """An image source in closed form: a Gaussian spot on every column, counted with the specimen's noise; stands in for the microscope."""
    rng = random_generator(specimen.microscope_seed)
    for condition in conditions:
        scan = condition.scan(card.generator.image_shape, sample.size_angstrom)
        truth = frame_columns(projected_columns(sample), sample.size_angstrom, scan, 0.2)
        pitch = condition.field_of_view_angstrom / card.generator.image_shape[1]
        y, x = np.mgrid[: card.generator.image_shape[0], : card.generator.image_shape[1]] * pitch
        image = np.full(y.shape, 1.0)
        for cx, cy, z in zip(truth["column_x_angstrom"], truth["column_y_angstrom"], truth["column_heaviest"], strict=True):
            image += z * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 0.5**2))
        yield atoms_2d.Shot(counts=rng.poisson(image).astype(np.uint32), source_size_angstrom=0.25)


def small_card_text() -> str:
    """The released card with images of 24 x 24 pixels, so that a test costs milliseconds, and of fields that they resolve."""
    text = (cards.CARDS / "atoms-2d-1.0.0.toml").read_text(encoding="utf-8")
    text = text.replace("[128, 128]", f"[{SIDE}, {SIDE}]").replace("current_pa = [0.2, 60.0]", "current_pa = [0.2, 9000.0]")
    text = text.replace("field_of_view_angstrom = [16.0, 40.0]", "field_of_view_angstrom = [12.0, 16.0]")
    return text.replace('name = "atoms-2d"', 'name = "atoms-small"', 1)


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cards.Card:
    """The small card, in a cards folder of its own that stands for the installed one."""
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "atoms-small-1.0.0.toml").write_text(small_card_text(), encoding="utf-8")
    monkeypatch.setattr(cards, "CARDS", folder)
    monkeypatch.setenv("STEMTWIN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("STEMTWIN_DATA_URL", raising=False)
    monkeypatch.delenv("STEMTWIN_DATA_REGISTRY", raising=False)
    return cards.find_card("atoms-small", "1.0.0")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build of the small card, size tiny; copy it before you change it."""
    folder = tmp_path_factory.mktemp("built") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atoms_2d, "microscope_shots", spots)
        generate.build(cards.parse_card(small_card_text()), "tiny", folder)
    return folder


@dataclass
class Mirror:
    """A web server on loopback: its folder, its address, every path it was asked for, and what to do instead of answering."""

    folder: Path
    url: str = ""
    asked: list[str] = field(default_factory=list)
    meddle: Callable[[SimpleHTTPRequestHandler], bool] = lambda _: False
    stop: Callable[[], None] = lambda: None


@pytest.fixture
def mirror(card: cards.Card, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A mirror of the small dataset, its registry in the environment; pauses between attempts are short."""
    served = Mirror(folder=tmp_path / "mirror")
    registry = fetch.publish(card, finished, served.folder)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(served.folder), **kwargs)

        def do_GET(self):
            served.asked.append(self.path)
            if not served.meddle(self):
                super().do_GET()

        def log_message(self, *args):
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    served.stop = stop
    monkeypatch.setenv("STEMTWIN_DATA_URL", served.url)
    monkeypatch.setenv("STEMTWIN_DATA_REGISTRY", str(registry))
    monkeypatch.setattr(fetch, "PAUSE_S", 0.001)
    yield served
    if thread.is_alive():
        stop()


@pytest.fixture
def image_source(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """The analytic image source, which stands in the microscope's place."""
    monkeypatch.setattr(atoms_2d, "microscope_shots", spots)
    return spots


@pytest.fixture
def local(card: cards.Card, finished: Path) -> Path:
    """The small dataset in the data folder, as 'stemtwin data build' leaves it."""
    folder = fetch.folder_of(card, "tiny")
    shutil.copytree(finished, folder)
    return folder


def _refresh(folder: Path) -> None:
    manifest = read_manifest(folder)
    entries = [
        entry.model_copy(update={"sha256": storage.file_sha256(folder / entry.path), "bytes": (folder / entry.path).stat().st_size})
        for entry in manifest.files
    ]
    write_manifest(manifest.model_copy(update={"files": tuple(entries)}), folder)


@pytest.fixture(scope="session")
def refresh() -> Callable[[Path], None]:
    """Make the file hashes of a folder's manifest fit its files again: what a forger would do."""
    return _refresh


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serve folders on loopback; give the function that starts a server and returns its address."""
    servers = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            """Keep quiet."""

    def start(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()
