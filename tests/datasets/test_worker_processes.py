"""Builds in several processes and on a Dask cluster: the same content, one thread each, and nothing lost when a process is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stemtwin.datasets import generate, worker_processes
from stemtwin.datasets.worker_processes import in_processes
from stemtwin.twin.errors import DatasetError
from tests.datasets.slow_stacks import ORDERS, slow_card

ROOT = Path(__file__).resolve().parents[2]
BUILD = """
import sys
from stemtwin.datasets import generate
from tests.datasets.slow_stacks import slow_card

if __name__ == "__main__":
    generate.build(slow_card(), "tiny", sys.argv[1], workers=2, progress=lambda *state: print(*state, flush=True))
"""
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of orders for makers of stacks; without a pause."""
    folder = tmp_path / "orders"
    folder.mkdir()
    (folder / "pause").write_text("0")
    monkeypatch.setenv(ORDERS, str(folder))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The content of a build in this process."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "pause").write_text("0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ORDERS, str(folder))
        return generate.build(slow_card(), "tiny", folder / "data").content_sha256


def log_of(orders: Path) -> list[list[str]]:
    """The lines of the log: process, threads, specimen."""
    return [line.split() for line in (orders / "log").read_text().splitlines()] if (orders / "log").exists() else []


def gone(pid: int) -> bool:
    """Return whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(check, limit_s: float = 60.0) -> None:
    """Wait for something that comes true."""
    end = time.monotonic() + limit_s
    while not check():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


@pytest.mark.slow
def test_eight_workers_of_which_one_is_killed_make_the_same_content(orders: Path, alone: str, tmp_path: Path) -> None:
    """Processes other than this one make the specimens, one thread each, and go on when one of them is killed; what is finished is not made again."""
    (orders / "die").write_text("")
    told: list[int] = []
    made = generate.build(slow_card(), "tiny", tmp_path / "out", workers=8, progress=lambda done, *_: told.append(done))
    assert made.content_sha256 == alone
    lines = log_of(orders)
    assert {line[2] for line in lines} == {one.name for one in generate.specimens(slow_card(), "tiny")}
    assert len(lines) <= 11 + 8  # the killed worker's specimen, and those that the others lost with the pool
    assert {line[1] for line in lines} == {"1"}
    assert str(os.getpid()) not in {line[0] for line in lines}
    assert told == [*range(12), 11]
    assert not generate.partial_of(tmp_path / "out").exists()


@pytest.mark.slow
def test_workers_that_die_again_and_again_end_the_build(orders: Path, alone: str, tmp_path: Path) -> None:
    """Where no worker lives one sentence says so; the same call goes on when the cause is gone."""
    (orders / "always").write_text("")
    with pytest.raises(DatasetError, match=r"killed 3 times before a specimen was finished.*fewer workers"):
        generate.build(slow_card(), "tiny", tmp_path / "out", workers=2)
    (orders / "always").unlink()
    assert generate.build(slow_card(), "tiny", tmp_path / "out").content_sha256 == alone


@pytest.mark.slow
def test_a_killed_parent_takes_its_workers_along_and_the_build_goes_on(orders: Path, alone: str, tmp_path: Path) -> None:
    """After kill -9 of the parent its workers end, and the next build, of two workers, makes only what is missing, with the same content."""
    (orders / "pause").write_text("0.4")
    running = subprocess.Popen([sys.executable, "-c", BUILD, str(tmp_path / "out")], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    for line in running.stdout:
        if line.startswith("3 "):
            break
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stdout.close()
    wait_until(lambda: all(gone(int(line[0])) for line in log_of(orders)))
    kept = len(list(generate.partial_of(tmp_path / "out").glob("parts/*.parquet")))
    assert kept >= 3
    (orders / "log").unlink()
    (orders / "pause").write_text("0")
    assert generate.build(slow_card(), "tiny", tmp_path / "out", workers=2).content_sha256 == alone
    assert len(log_of(orders)) == 11 - kept


@pytest.mark.slow
def test_an_error_of_a_specimen_ends_the_build(orders: Path, tmp_path: Path) -> None:
    """What a specimen's maker raises comes out as it is, and the other workers end."""
    (orders / "fail").write_text("")
    with pytest.raises(DatasetError, match=r"cannot be made\. Make another"):
        generate.build(slow_card(), "tiny", tmp_path / "out", workers=2)
    wait_until(lambda: all(gone(int(line[0])) for line in log_of(orders)))


def test_wrong_numbers_of_workers_are_refused(tmp_path: Path) -> None:
    """No workers, workers beside a scheduler, and a scheduler that nobody started are one sentence each."""
    with pytest.raises(DatasetError, match=r"0 workers cannot build a dataset\. Give at least 1 worker"):
        generate.build(slow_card(), "tiny", tmp_path / "out", workers=0)
    with pytest.raises(DatasetError, match="2 workers beside a scheduler"):
        generate.build(slow_card(), "tiny", tmp_path / "out", workers=2, scheduler="tcp://127.0.0.1:1")
    assert not (tmp_path / "out").exists()


def test_a_specimen_is_made_only_in_the_folder_of_its_build(orders: Path, tmp_path: Path) -> None:
    """A worker that does not see the folder, or has other versions than the build, says so; a part that is there is not made again."""
    card = slow_card()
    specimen = next(generate.specimens(card, "tiny"))
    with pytest.raises(DatasetError, match=r"does not see .* on a disk that all workers share"):
        generate.make_one(card, "tiny", specimen, tmp_path)
    (tmp_path / generate.STAMP).write_text("{}")
    with pytest.raises(DatasetError, match="other versions of stemtwin or numpy"):
        generate.make_one(card, "tiny", specimen, tmp_path)


@pytest.fixture
def cluster(orders: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """A Dask cluster of two processes on this machine, of two threads each."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, silence_logs=50) as made:
        yield made


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_makes_the_same_content_when_a_worker_is_killed(cluster, orders: Path, alone: str, tmp_path: Path) -> None:
    """The workers of a Dask cluster make the specimens, one thread each; when one of two is killed, the content is the same."""
    (orders / "die").write_text("")
    told: list[int] = []
    made = generate.build(slow_card(), "tiny", tmp_path / "out", scheduler=cluster.scheduler_address, progress=lambda done, *_: told.append(done))
    assert made.content_sha256 == alone
    assert told == [*range(12), 11]
    lines = log_of(orders)
    assert not (orders / "die").exists()
    assert len({line[0] for line in lines}) >= 2
    assert str(os.getpid()) not in {line[0] for line in lines}
    assert {line[1] for line in lines} == {"1"}


@pytest.mark.slow
def test_a_scheduler_that_nobody_started_is_one_sentence(orders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nobody answers, or that is none, ends in one sentence with the repair."""
    pytest.importorskip("distributed")
    monkeypatch.setattr(worker_processes, "ANSWER_S", 1.0)
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(DatasetError, match=r"No Dask scheduler answers at .*Give an address such as tcp://host:8786"):
            generate.build(slow_card(), "tiny", tmp_path / "out", scheduler=address)


@pytest.mark.slow
def test_a_generator_that_workers_cannot_import_is_one_sentence() -> None:
    """A module that only this process has is named, with the repair."""
    with pytest.raises(DatasetError, match=r"A worker cannot import the generator.s module my_generators: .* to PYTHONPATH"):
        list(in_processes(print, [("x",)], 2, ["my_generators"]))


def test_no_job_takes_no_process() -> None:
    """Nothing to do is done at once."""
    assert list(in_processes(print, [], 4)) == []
