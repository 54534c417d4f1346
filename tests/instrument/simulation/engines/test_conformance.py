"""Every engine of the registry keeps the form: signals, costs, refusals and tags say what is true."""

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stemtwin.twin.errors import SamplingError, SettingsError, StemtwinError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import plan, simulate
from stemtwin.twin.instrument.simulation.costs import Cost
from stemtwin.twin.instrument.simulation.discretisation import Discretisation
from stemtwin.twin.instrument.simulation.engines import MODULES
from stemtwin.twin.instrument.simulation.engines.registry import (
    DENSE,
    DEPTHS,
    ENGINES,
    REFERENCE,
    REIMAGING,
    Engine,
    Signals,
)
from stemtwin.twin.instrument.simulation.plan import Plan, make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics import potential
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.progress import Progress
from stemtwin.twin.samples.library import load_sample

pytestmark = pytest.mark.usefixtures("no_operators")

BEAM = Beam(energy_ev=80e3, semiangle_mrad=25, aberrations=Aberrations(C10=20))
DARK = AnnularDetector(inner_mrad=60, outer_mrad=85, name="dark")
SCAN = RasterScan(shape=(3, 4), field_of_view_angstrom=(4, 5), origin_angstrom=(9, 8))

OTHERS_WARN = [pytest.mark.reference, pytest.mark.filterwarnings("ignore")]  # abTEM warns of its own future
each_engine = pytest.mark.parametrize("name", [pytest.param(name, marks=OTHERS_WARN if name == "abtem" else []) for name in ENGINES])


@functools.cache
def common() -> Request:
    """Return a request that every engine takes with one of the sets of detectors."""
    sample = load_sample("mos2-1h", size_angstrom=(30, 30))
    masks: dict[str, Any] = {"antialias": False, "oversampling": 1}
    return Request(
        sample=sample,
        beam=BEAM,
        scan=SCAN,
        detectors=(DARK,),
        phonons=2,
        sampling_angstrom=0.15,
        tolerance=0.05,
        measure_error=False,
        **masks,
    )


@functools.cache
def accepted(name: str) -> Request:
    """Return the request with the detectors that an engine has: bright and dark field, or the dark field alone."""
    asked = replace(common(), engine=name, detectors=("bf", DARK))
    try:
        make_plan(asked)
    except SamplingError:
        return replace(asked, detectors=(DARK,))
    return asked


@each_engine
def test_signals_have_the_form_of_the_scan_and_are_those_of_the_reference(name: str) -> None:
    """Signals are (channels, ...) like the scan, with an error per channel and a sentence; within 5 % of the mean they are the reference's."""
    asked = accepted(name)
    values, error, exactness = simulate.expected(asked, make_plan(asked))
    channels = len(asked.detectors)
    assert values.shape == (channels, *SCAN.shape)
    assert error.shape == (channels,)
    assert exactness
    if name == "thermal":
        assert np.isnan(error).all(), "no configurations, no scatter; its own tests compare it with the mean of many"
        return
    assert (error > 0).all(), "two configurations have a scatter"
    if name == "abtem":
        return  # places atoms bilinearly; its own tests compare it on one potential
    reference = replace(asked, engine=ENGINES.names(REFERENCE)[0])
    exact, _, _ = simulate.expected(reference, make_plan(reference))
    rms = np.sqrt(((values - exact) ** 2).mean(axis=(1, 2))) / exact.mean(axis=(1, 2))
    assert (rms < 0.05).all()


@each_engine
def test_progress_adds_up_to_the_cost(name: str) -> None:
    """The waves that an engine reports, also where it finds what it built before, are the waves of its cost, which the plan states."""
    asked = accepted(name)
    stated = simulate.explain(asked)
    assert stated.engine == name
    assert stated.waves > 0
    assert stated.seconds > 0
    assert stated.memory_bytes > 0
    for _ in range(2):
        steps: list[int] = []
        data = simulate.simulate(asked, progress=steps.append)
        assert sum(steps) == stated.waves
        assert {data[variable].dtype for variable in data} == {np.dtype(np.float32)}
        assert data.attrs["engine"] == name


@each_engine
def test_engines_that_keep_what_they_built_build_nothing_for_new_optics(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the tag re-imaging, an image with another defocus makes no transmission functions."""
    if REIMAGING not in ENGINES.tags(name):
        pytest.skip("keeps nothing")
    asked, made = accepted(name), []
    transmissions = potential.transmissions
    monkeypatch.setattr(potential, "transmissions", lambda *args, **kwargs: made.append(1) or transmissions(*args, **kwargs))
    first = simulate.simulate(asked)
    assert made
    made.clear()
    second = simulate.simulate(replace(asked, beam=replace(BEAM, aberrations=Aberrations(C10=-20))))
    assert not made
    assert not np.allclose(first["dark"], second["dark"], rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"beam": replace(BEAM, aberrations=Aberrations(C10=900))}, {"local", "tiled", "prism", "abtem"}),
        ({"detectors": ("bf",)}, {"local", "thermal"}),
        ({"antialias": True}, {"abtem"}),
        ({"oversampling": 2}, {"abtem"}),
        ({"phonons": "damped"}, {"abtem", "thermal"}),
        ({"sample": load_sample("mos2-1h", size_angstrom=(18, 18)), "detectors": ("bf",)}, {"local", "tiled", "thermal"}),
    ],
)
def test_what_an_engine_cannot_compute_is_refused_before_any_work(
    changes: dict[str, Any], refused: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan refuses a request for exactly the engines that cannot compute it, and makes no transmission function."""
    monkeypatch.setattr(potential, "transmissions", lambda *_, **__: pytest.fail("computed"))
    found = set()
    for name in ENGINES:
        try:
            make_plan(replace(common(), engine=name, **changes))
        except StemtwinError:
            found.add(name)
    assert found == refused


def test_depth_series_are_for_the_engines_that_say_so() -> None:
    """A request with depths is refused for an engine without the tag, and names one with it."""
    for name in ENGINES:
        if DEPTHS in ENGINES.tags(name):
            assert make_plan(replace(common(), engine=name, depths_angstrom=(1.0,))).engine == name
        else:
            with pytest.raises(SettingsError, match=f"Use engine='{ENGINES.names(DEPTHS)[0]}'"):
                replace(common(), engine=name, depths_angstrom=(1.0,))


def test_each_module_adds_its_engine() -> None:
    """The registry holds one engine per module of the package, in their order; one is the reference, one the dense operator."""
    assert tuple(ENGINES) == MODULES
    assert len(ENGINES.names(REFERENCE)) == len(ENGINES.names(DENSE)) == 1


def fake_signals(request: Request, plan: Plan, progress: Progress | None) -> Signals:
    """Return a quarter of the beam on each channel, after three waves."""
    if progress is not None:
        progress(3)
    return np.full((len(plan.detectors), *request.scan.shape), 0.25), np.full(len(plan.detectors), np.nan), "made up"


def fake_check(found: Discretisation) -> None:
    """Refuse tilts."""
    if any(found.request.tilt_mrad):
        message = "engine='fake' has no tilt. Leave tilt_mrad out."
        raise SettingsError(message)


FAKE = Engine(
    cost=lambda found: Cost(waves=3, memory_bytes=1000 * len(found.detectors), seconds=0.01),
    signals=fake_signals,
    check=fake_check,
    suits=lambda found: "a test" if found.detectors else "",
)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> str:
    """Register one more engine for a test."""
    monkeypatch.setattr(ENGINES, "_things", dict(ENGINES._things))
    monkeypatch.setattr(ENGINES, "_tags", dict(ENGINES._tags))
    ENGINES.add("fake", FAKE)
    return "fake"


def test_one_object_is_an_engine(fake: str) -> None:
    """An engine that is added to the registry is planned, checked, run and named in the result like any other."""
    asked = replace(common(), engine=fake)
    assert (simulate.explain(asked).engine, simulate.explain(asked).waves) == (fake, 3)
    steps: list[int] = []
    data = simulate.simulate(common().sample, BEAM, SCAN, engine=fake, detectors=("haadf", DARK), progress=steps.append)
    np.testing.assert_array_equal(data["dark"], np.full(SCAN.shape, 0.25, np.float32))
    assert steps == [3]
    assert (data.attrs["engine"], data.attrs["engine_error"]) == (fake, "made up")
    with pytest.raises(SettingsError, match="has no tilt"):
        simulate.explain(replace(asked, tilt_mrad=(1, 0)))
    with pytest.raises(SettingsError, match="engine='fake' computes signals at the exit face only"):
        replace(asked, depths_angstrom=(1.0,))


def test_auto_takes_an_engine_that_suits_and_saves_time(fake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the exact engines take long, `auto` compares them with the first engine that says why it suits the request."""
    monkeypatch.setattr(
        ENGINES, "_things", {name: ENGINES[name] for name in ENGINES if ENGINES[name].suits is None or name in (fake, *ENGINES.names(REFERENCE))}
    )
    assert make_plan(common()).engine in ENGINES.names(REFERENCE) + ENGINES.names(DENSE)
    monkeypatch.setattr(plan, "PATIENCE", 0.0)
    found = make_plan(common())
    assert found.engine == fake
    assert found.reason.startswith("a test: ")


def test_the_fake_engine_is_gone() -> None:
    """After the test the registry is what it was, and a request for the engine is refused."""
    assert tuple(ENGINES) == MODULES
    with pytest.raises(SettingsError, match="no engine named 'fake'"):
        replace(common(), engine="fake")
