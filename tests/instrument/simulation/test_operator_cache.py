"""Imaging operators: built once for the same physics, under threads, across forks, within bounds."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache, simulate
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.operator import imaging_operator
from stemtwin.twin.samples.sample import Sample

pytestmark = pytest.mark.usefixtures("no_operators")


@pytest.fixture
def asked(thermal: Sample, beam: Beam, raster: RasterScan) -> Request:
    """Return a request with two configurations."""
    return Request(sample=thermal, beam=beam, scan=raster, detectors=("haadf", "bf"), phonons=2)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the list that grows by one with each operator built."""
    times: list[float] = []
    build = imaging_operator.build

    def counted(*args: Any, **kwargs: Any) -> imaging_operator.ImagingOperator:
        times.append(time.perf_counter())
        time.sleep(0.05)
        return build(*args, **kwargs)

    monkeypatch.setattr(imaging_operator, "build", counted)
    return times


def key(request: Request) -> str:
    """Return the hash of a request's physics."""
    return operator_cache.physics_key(request, make_plan(replace(request, blocks=(4, 4))))


def test_new_optics_and_scans_take_the_same_operator(asked: Request, builds: list[float]) -> None:
    """Defocus, aberrations, source, focal spread, scan and the detectors' names change the image, not the operator."""
    optics = Beam(energy_ev=200e3, semiangle_mrad=20, aberrations=Aberrations(C10=15, C30=1e4), source_size_angstrom=0.4, focal_spread_angstrom=20)
    rings = tuple(replace(d, name=f"my_{d.name}") for d in make_plan(asked).detectors)
    frames = [
        simulate.simulate(request)
        for request in (
            asked,
            replace(asked, beam=optics),
            replace(asked, scan=PathScan(positions_angstrom=np.array([[1, 2]]))),
            replace(asked, detectors=rings),
        )
    ]
    assert len(builds) == 1
    assert not np.allclose(frames[0].haadf, frames[1].haadf, rtol=0.01)
    np.testing.assert_array_equal(frames[0].haadf, frames[3].my_haadf)


def test_the_same_motion_in_other_words_is_the_same_physics(asked: Request, static: Sample) -> None:
    """'auto' and 8 are the same configurations; a seed does not matter where nothing is drawn; 'auto' on a static sample is 'static'."""
    assert key(replace(asked, phonons="auto")) == key(replace(asked, phonons=8))
    assert key(replace(asked, phonons="static", seed=1)) == key(replace(asked, phonons="static", seed=2))
    assert key(replace(asked, phonons="damped", seed=1)) == key(replace(asked, phonons="damped", seed=2))
    still = replace(asked, sample=static, phonons="auto")
    assert key(still) == key(replace(still, phonons="static"))


def test_other_physics_is_another_operator(asked: Request, make_perovskite: Callable[..., Sample]) -> None:
    """Everything that changes M changes the hash."""
    changes: list[dict[str, Any]] = [
        {"sample": make_perovskite(sigma=0.081)},
        {"sample": make_perovskite(1, 2)},
        {"beam": replace(asked.beam, energy_ev=199e3)},
        {"beam": replace(asked.beam, semiangle_mrad=21)},
        {"detectors": ("haadf",)},
        {"detectors": ("bf", "haadf")},
        {"detectors": (AnnularDetector(inner_mrad=61, outer_mrad=200), "bf")},
        {"phonons": 3},
        {"phonons": "damped"},
        {"phonons": "static"},
        {"seed": 1},
        {"parametrization": "lobato"},
        {"antialias": False},
        {"oversampling": 1},
        {"grid": (120, 120)},
        {"sample": make_perovskite(1, 2), "slice_thickness_angstrom": 3.9},
    ]
    keys = [key(asked), *(key(replace(asked, **change)) for change in changes)]
    assert len(set(keys)) == len(keys)
    assert operator_cache.physics_key(asked, make_plan(replace(asked, blocks=(5, 4)))) != key(asked)


def test_threads_that_ask_at_once_share_one_build(asked: Request, builds: list[float]) -> None:
    """Of four threads that want one operator one builds it and the others wait; another operator is built meanwhile."""
    other = replace(asked, seed=9)
    found: list[int] = []

    def ask(request: Request) -> None:
        found.append(id(operator_cache.operator_for(request, make_plan(request))))

    threads = [threading.Thread(target=ask, args=(request,)) for request in (asked, asked, asked, asked, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 2
    assert len(set(found)) == 2
    assert len(found) == 5


def test_a_build_that_fails_blocks_nobody(asked: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error the next call builds anew."""
    plan = make_plan(asked)
    with monkeypatch.context() as patch:
        patch.setattr(imaging_operator, "build", lambda *_, **__: (_ for _ in ()).throw(MemoryError("no")))
        with pytest.raises(MemoryError):
            operator_cache.operator_for(asked, plan)
    assert operator_cache.operator_for(asked, plan).beams == plan.beams


def test_the_cache_is_bounded_and_drops_the_one_used_longest_ago(asked: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for two: after a, b, a, c, the operators of a and c are held."""
    a, b, c = (replace(asked, seed=seed) for seed in range(3))
    size = operator_cache.operator_for(a, make_plan(a)).nbytes
    monkeypatch.setattr(operator_cache, "CAPACITY_BYTES", int(2.5 * size * operator_cache.FOCAL_STATES))
    for request in (b, a, c):
        operator_cache.operator_for(request, make_plan(request))
    assert [operator_cache.physics_key(request, make_plan(request)) in operator_cache.CACHE for request in (a, b, c)] == [True, False, True]
    monkeypatch.setattr(operator_cache, "CAPACITY_BYTES", 1)
    operator_cache.operator_for(b, make_plan(b))
    assert len(operator_cache.CACHE) == 1, "the newest stays, whatever its size"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 warns of what is tested here
def test_a_forked_child_images_with_what_its_parent_built(asked: Request, builds: list[float]) -> None:
    """Even if the fork comes while another thread builds, the child neither hangs nor builds again what it has."""
    expected = simulate.simulate(asked).haadf.to_numpy()
    slow = replace(asked, seed=5)
    thread = threading.Thread(target=lambda: operator_cache.operator_for(slow, make_plan(slow)))
    thread.start()
    while len(builds) < 2:
        time.sleep(0.001)
    operator_cache.CACHE._lock.acquire()  # as another thread might hold it at that moment
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - in the child
        try:
            same = np.array_equal(simulate.simulate(asked).haadf.to_numpy(), expected) and len(builds) == 2
            other = np.array_equal(simulate.simulate(slow).haadf.to_numpy(), expected)
            os.write(writes, bytes([same, not other]))
        finally:
            os._exit(0)
    operator_cache.CACHE._lock.release()
    os.close(writes)
    with os.fdopen(reads, "rb") as answer:
        assert answer.read() == b"\x01\x01"
    os.waitpid(child, 0)
    thread.join()
