"""What a request will cost and how it will be computed: before any work, and as it then is."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import memory, simulate
from stemtwin.twin.instrument.simulation import plan as planning
from stemtwin.twin.instrument.simulation.plan import PATIENCE, make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.operator import gram_matrix
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample


@pytest.fixture
def request_(static: Sample, beam: Beam, raster: RasterScan) -> Request:
    """Return a request with nothing but what is needed."""
    return Request(sample=static, beam=beam, scan=raster)


def test_windows_that_prism_cuts_cost_time(request_: Request, make_perovskite: Callable[..., Sample]) -> None:
    """As many probes in one window take less time than each in a window of its own, which is cut out of the scattering matrix; f = 1 cuts none."""
    sample, settings = make_perovskite(8, sigma=None), {"engine": "prism", "antialias": True}
    near, far = (RasterScan(shape=(32, 32), field_of_view_angstrom=(side, side), origin_angstrom=(8, 8)) for side in (0.01, 16.0))
    together, apart = (make_plan(replace(request_, sample=sample, scan=scan, **settings)).seconds for scan in (near, far))
    assert apart > 3 * together
    whole = [make_plan(replace(request_, sample=sample, scan=scan, interpolation=1, **settings)).seconds for scan in (near, far)]
    assert whole[0] == whole[1]


def test_auto_takes_the_cheaper_engine(request_: Request) -> None:
    """Plane waves give every image, so many points take the operator; fewer points than plane waves, with pixel masks, take multislice."""
    assert make_plan(request_).engine == "operator"
    few = replace(request_, antialias=False, scan=PathScan(positions_angstrom=np.array([[0, 0]])))
    assert make_plan(few).engine == "multislice"
    many = replace(request_, antialias=False, scan=RasterScan(shape=(64, 64), field_of_view_angstrom=(4, 4)))
    assert make_plan(many).engine == "operator"
    assert make_plan(replace(many, engine="multislice")).engine == "multislice"


def test_long_work_shows_the_engines_that_were_compared(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each engine that `auto` compared has one line with the time and memory that its own plan says; short work and asked engines have none."""
    assert not make_plan(request_).compared
    monkeypatch.setattr(planning, "PATIENCE", 0.0)
    plan = make_plan(request_)
    rows = [line for line in str(plan).splitlines() if line.endswith(("GiB", "chosen", "exceeds the memory"))]
    assert {"operator", "multislice"} <= set(plan.compared)
    assert len(rows) == len(plan.compared)
    assert [row.split()[-1] for row in rows if plan.engine in row] == ["chosen"]
    assert plan.compared[plan.engine].seconds == plan.seconds
    for name in plan.compared:
        asked = make_plan(replace(request_, engine=name, tolerance=request_.tolerance if name not in {"operator", "multislice"} else 0.0))
        assert plan.compared[name].seconds == asked.seconds
        assert plan.compared[name].memory_bytes == pytest.approx(asked.memory_bytes, rel=0.05)  # the program itself is counted
        assert not asked.compared
    monkeypatch.setattr(memory, "fits", lambda needed: needed <= plan.memory_bytes)
    others = [name for name, cost in plan.compared.items() if cost.memory_bytes > plan.memory_bytes]
    assert str(plan).count("exceeds the memory") == len(others)


def test_auto_leaves_an_operator_that_does_not_fit(
    request_: Request, make_perovskite: Callable[..., Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the machine cannot hold all plane waves at once, the points go one by one; asked for by name, the operator is refused."""
    large = replace(request_, sample=make_perovskite(6, sigma=None), scan=RasterScan(shape=(64, 64), field_of_view_angstrom=(4, 4)))
    needs = {name: make_plan(replace(large, engine=name)).memory_bytes for name in ("operator", "multislice")}
    assert needs["multislice"] < needs["operator"]
    monkeypatch.setattr(memory, "fits", lambda needed: needed <= needs["multislice"] * 1.1)
    plan = make_plan(large)
    assert plan.engine == "multislice"
    assert "GiB" in plan.reason
    with pytest.raises(SettingsError, match=r"needs about .* GiB of memory, but 80% of the free memory is"):
        make_plan(replace(large, engine="operator"))


def test_less_memory_takes_more_passes_and_the_plan_says_so(
    request_: Request, make_perovskite: Callable[..., Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit waves are all held where half of the memory suffices; else every wave goes through the specimen more than once, and the time grows."""
    large = replace(request_, sample=make_perovskite(6, 20, sigma=None), engine="operator")
    monkeypatch.setattr(gram_matrix, "WAVES_BYTES", 2**28)
    monkeypatch.setattr(memory, "fits", lambda _: True)
    roomy = make_plan(large)
    assert roomy.waves_bytes >= 8 * roomy.beams * memory.seen_pixels(roomy.detectors, roomy.grid, large.beam.wavelength_angstrom)[0]
    monkeypatch.setattr(memory, "fits", lambda needed: needed < roomy.memory_bytes)
    tight = make_plan(large)
    passes = math.ceil(roomy.waves_bytes / tight.waves_bytes)
    assert passes > 1
    assert tight.memory_bytes < roomy.memory_bytes
    assert roomy.seconds < tight.seconds < passes * roomy.seconds


def test_what_does_not_fit_the_machine_is_refused_before_any_work(request_: Request, make_perovskite: Callable[..., Sample]) -> None:
    """A wave of 8192 x 8192 points through a thousand planes needs more memory than there is, and `explain` says so at once."""
    thick = replace(request_, sample=make_perovskite(1, 500, sigma=None), grid=(8192, 8192), oversampling=4)
    with pytest.raises(SettingsError, match=r"needs about \d+\.\d GiB of memory.*Use a smaller cell"):
        simulate.explain(thick)


def test_abtem_is_asked_for_the_same_physics_only(request_: Request) -> None:
    """The other solver has pixel masks and no finer grid: a request for anything else is refused, nothing is ignored."""
    with pytest.raises(SettingsError, match="Pass antialias=False and oversampling=1"):
        make_plan(replace(request_, engine="abtem"))


def test_long_runs_of_single_probes_say_what_takes_less(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a depth series with a source, the plan says how many probes the source takes (what the waves grow by), and what the operator takes."""
    scan = replace(request_.scan, shape=(256, 256))
    sharp = replace(request_, scan=scan, depths_angstrom=(1.0, request_.sample.thickness_angstrom), engine="multislice")
    series = replace(sharp, beam=replace(sharp.beam, source_size_angstrom=0.4, focal_spread_angstrom=0.0))
    sharp = replace(sharp, beam=replace(sharp.beam, source_size_angstrom=0.0, focal_spread_angstrom=0.0))
    long, states = make_plan(series), make_plan(series).waves / make_plan(sharp).waves
    assert long.seconds > PATIENCE
    assert f"source size and focal spread need {states:.0f} probes for each point" in str(long)
    together = make_plan(replace(series, engine="operator"))
    assert f"engine='operator' takes {together.seconds:.3g} s for all 2 depths" in str(long)
    many = replace(series, depths_angstrom=tuple(np.linspace(0.1, 3.9, 200).tolist()))
    room = 1.1 * make_plan(replace(many, engine="operator", depths_angstrom=None)).memory_bytes
    monkeypatch.setattr(memory, "fits", lambda needed: needed <= room)
    monkeypatch.setattr(memory, "check", lambda _: None)
    assert "one operator for each thickness, without depths_angstrom, takes at most" in str(make_plan(many))


def test_auto_takes_the_operator_for_depths_where_it_is_cheaper(request_: Request) -> None:
    """A raster at many depths takes one pass of the plane waves, whose number does not grow with the depths, in less time than single probes."""
    scan = replace(request_.scan, shape=(128, 128))
    depths = tuple(np.linspace(0.5, request_.sample.thickness_angstrom, 6).tolist())
    series, face = (make_plan(replace(request_, scan=scan, depths_angstrom=each)) for each in (depths, None))
    single = make_plan(replace(request_, scan=scan, depths_angstrom=depths, engine="multislice"))
    assert series.engine == "operator"
    assert series.waves == face.waves
    assert face.seconds < series.seconds < single.seconds / 10
    assert face.memory_bytes < series.memory_bytes
    assert "at 6 depths" in series.reason


def test_the_plan_reads_well(request_: Request) -> None:
    """str(explain(...)) is a table with one line for each thing that people ask about."""
    lines = str(simulate.explain(replace(request_, grid=(97, 97)))).splitlines()
    first = [line.split()[0] for line in lines]
    assert first == ["engine", "grid", "sampling", "slices", "detectors", "configurations", "beams", "waves", "memory", "time", "exactness", "note"]


@pytest.mark.parametrize("engine", ["operator", "multislice"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("coherence", [{}, pytest.param({"source_size_angstrom": 0.3, "focal_spread_angstrom": 20}, marks=pytest.mark.slow)])
def test_progress_counts_the_waves_of_the_plan(thermal: Sample, engine: str, antialias: bool, coherence: dict) -> None:
    """The steps that `progress` gets add up to `explain(...).waves`, whatever engine, edges and coherence; also if nothing is left to do."""
    asked = Request(
        sample=thermal,
        beam=Beam(energy_ev=200e3, semiangle_mrad=20, **coherence),
        scan=PathScan(positions_angstrom=np.array([[0, 0], [1, 2], [0.3, 0.4]])),
        detectors=("bf",),
        phonons=2,
        seed=77 + antialias,
        antialias=antialias,
        engine=engine,
    )
    for _ in range(2):
        steps: list[int] = []
        simulate.simulate(asked, progress=steps.append)
        assert sum(steps) == simulate.explain(asked).waves


DARK = AnnularDetector(inner_mrad=60, outer_mrad=130)
MEASURE = """
import json, sys
from pathlib import Path
from stemtwin.twin.instrument.simulation import simulate
from stemtwin.twin.instrument.simulation.request import Request
request = Request.load(sys.argv[1])
plan = simulate.explain(request)
simulate.simulate(request)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps([plan.memory_bytes, 1024 * int(peak.split()[1])]))
"""  # not ru_maxrss: on Linux a new process starts with that of the one that started it


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.slow
@pytest.mark.parametrize("case", ["channels", "local", "blocks", "probes", "prism", "tiled", "depths"])
def test_the_estimate_of_memory_is_within_a_fifth(case: str, make_perovskite: Callable[..., Sample], tmp_path: Path) -> None:
    """The peak that `explain` foretells differs from the one that the process then has by less than 20 %."""
    near = Beam(energy_ev=200e3, semiangle_mrad=20)
    raster = RasterScan(shape=(128, 128), field_of_view_angstrom=(16, 16))
    low, part, few = Beam(energy_ev=80e3, semiangle_mrad=25), replace(raster, field_of_view_angstrom=(9, 12)), replace(raster, shape=(3, 3))
    sheet = load_sample("mos2-1h", size_angstrom=(32, 32))
    asked = {
        "channels": Request(sample=make_perovskite(3, 2), beam=near, scan=raster, detectors=("haadf", "bf", "dpc4"), phonons=2),
        "blocks": Request(sample=make_perovskite(2), beam=replace(near, aberrations=Aberrations(C10=-700)), scan=raster, phonons=2),
        "probes": Request(
            sample=make_perovskite(5, 6),
            beam=near,
            scan=PathScan(positions_angstrom=np.linspace(0, 9, 20).reshape(-1, 2)),
            phonons=2,
            antialias=False,
            engine="multislice",
        ),
        "local": Request(sample=sheet, beam=low, scan=part, detectors=(DARK,), phonons=2, engine="local"),
        "tiled": Request(sample=sheet, beam=low, scan=part, detectors=("bf", "abf"), phonons=2, engine="tiled", sampling_angstrom=0.15),
        "depths": Request(sample=make_perovskite(5, 6), beam=near, scan=raster, phonons=1, depths_angstrom=tuple(range(2, 22, 2)), engine="operator"),
        "prism": Request(sample=sheet, beam=low, scan=few, detectors=(DARK, "bf"), phonons=2, engine="prism"),
    }[case]
    asked.save(tmp_path / "request.toml")
    sheets = {"tiled": sheet, "local": load_sample("mos2-1h", size_angstrom=(16, 16)), "prism": load_sample("mos2-1h", size_angstrom=(16, 16))}
    sheets |= {"depths": make_perovskite(1, 6)}
    small = sheets.get(case, make_perovskite(1))
    simulate.simulate(replace(asked, sample=small, phonons=1))  # compiles what is not compiled yet, which takes memory of its own
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path / "request.toml")], check=True, capture_output=True, text=True)
    foretold, peak = json.loads(done.stdout)
    assert foretold == pytest.approx(peak, rel=0.2)
