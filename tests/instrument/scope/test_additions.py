"""One file suffices for a ring, for a new shape of image detector and for a new signal: here each is defined in a test."""

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import pytest
import xarray as xr

import stemtwin as st
from stemtwin.leaderboard.cli import listing
from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.instrument import detectors as package
from stemtwin.twin.instrument.detectors import DETECTOR_KINDS, DETECTORS, AnnularDetector, kinds
from stemtwin.twin.instrument.hardware import drift
from stemtwin.twin.instrument.hardware.profiles import PROFILES, Profile
from stemtwin.twin.instrument.hardware.readout_chain import DetectorChain
from stemtwin.twin.instrument.scan import PathScan, RasterScan, Scan
from stemtwin.twin.instrument.scope import imaging_requests
from stemtwin.twin.instrument.scope.knobs import Knobs
from stemtwin.twin.instrument.scope.recorders import RECORDERS, Recording
from stemtwin.twin.instrument.scope.scan_pass import ScanPass
from stemtwin.twin.instrument.scope.setup import STREAMS, Setup, stream_key
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.instrument.simulation import pattern_analysis, results, simulate
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics import detector_weights
from stemtwin.twin.progress import Progress
from stemtwin.twin.samples.sample import Sample

SCAN = RasterScan(shape=(4, 5), field_of_view_angstrom=(3.0, 3.9))
SHAKY = replace(PROFILES["ideal"], instabilities=drift.TYPICAL, camera_lengths_mm=(100.0, 200.0))


# ---- the file of a new shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A blunt edge of a half-moon: settings inside settings."""

    blunt_mrad: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfMoonDetector:
    """Half of a ring."""

    inner_mrad: float
    outer_mrad: float
    azimuth_rad: float = 0.0
    name: str = "half_moon"
    edge: Edge | None = None

    @property
    def channels(self) -> int:
        """Number of signals."""
        return 1

    def weights(self, ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], wavelength: float, *, antialias: bool) -> np.ndarray:
        """Return the weights on reciprocal pixels, float32, shape (1, ...)."""
        inner, outer = self.inner_mrad * 1e-3 / wavelength, self.outer_mrad * 1e-3 / wavelength
        return detector_weights.segments(ky, kx, pixel, inner, outer, 2, self.azimuth_rad, antialias=antialias)[:1]

    def scaled(self, factor: float) -> Self:
        """Return the half-moon at another camera length."""
        return replace(self, inner_mrad=self.inner_mrad * factor, outer_mrad=self.outer_mrad * factor)


def add_shape() -> None:
    """Register what the file of the half-moon registers."""
    DETECTOR_KINDS.add("half-moon", HalfMoonDetector, "image")
    DETECTORS.add("moon", _moon, "image", "half-moon")


def _moon(alpha: float, largest: float) -> HalfMoonDetector:
    return HalfMoonDetector(inner_mrad=alpha, outer_mrad=min(3 * alpha, largest), name="moon")


def add_ring() -> None:
    """Register what a ring is: one function."""
    DETECTORS.add("rim", _rim, "image", "annular")


def _rim(alpha: float, largest: float) -> AnnularDetector:
    return AnnularDetector(inner_mrad=0.9 * alpha, outer_mrad=1.1 * alpha, name="rim")


# ---- the file of a new signal


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsorbedCurrentDetector:
    """An ammeter between the specimen and earth: it reads what does not come out below within an angle."""

    outer_mrad: float
    noise_pa: float = 0.1

    @property
    def name(self) -> str:
        """Name of the current in a result."""
        return "absorbed"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CurrentSignal:
    """Expected current of one pass over the beam's, in visiting order, shape (n,)."""

    scan: Scan
    values: np.ndarray

    def variables(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the current as a variable."""
        return {"absorbed": (self.scan.dims, self.scan.frame(self.values), {"units": "1"})}, {}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CurrentRecorder:
    """The recorder of the absorbed current."""

    detector: AbsorbedCurrentDetector
    request: Request
    plan: Plan

    @staticmethod
    def longest_dwell_us(profile: Profile) -> float:
        """Return the longest time at a point, us."""
        return profile.max_dwell_time_us

    @classmethod
    def prepare(cls, setup: Setup, state: ScopeState, scan: Scan, detectors: tuple[Any, ...], frames: int) -> Self:
        """Return the recorder of one ammeter."""
        del frames
        (detector,) = (DETECTORS[d](state.knobs.semiangle_mrad, 200.0) if isinstance(d, str) else d for d in detectors)
        disc = AnnularDetector(inner_mrad=0.0, outer_mrad=detector.outer_mrad, name="transmitted")
        request = imaging_requests.request(setup, state, scan, (disc,))
        return cls(detector=detector, request=request, plan=imaging_requests.settle(setup, state, request)[0])

    def renewed(self, setup: Setup, state: ScopeState) -> Self:
        """Return the recorder for a specimen that has changed."""
        del setup
        return replace(self, request=replace(self.request, sample=state.specimen))

    def record(
        self, setup: Setup, state: ScopeState, shot: ScanPass, before: CurrentSignal | None, progress: Progress | None
    ) -> Recording[CurrentSignal]:
        """Return one pass: a mean current at each point, with an ammeter's noise."""
        del before
        request = replace(self.request, beam=shot.beam, scan=PathScan(positions_angstrom=shot.points))
        transmitted, _, _ = simulate.expected(request, self.plan, progress=progress)
        signal = CurrentSignal(scan=shot.scan, values=1 - transmitted[0])
        noise = setup.rng("absorbed", state.frames).normal(0.0, self.detector.noise_pa, len(signal.values))
        current = signal.values * state.knobs.current_pa * (not state.knobs.blanked) + noise
        return Recording(counts={"current": shot.scan.frame(current)}, signal=signal, state=state)

    def variables(self, setup: Setup, knobs: Knobs, counts: dict[str, np.ndarray], signal: CurrentSignal) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the current as a variable."""
        del setup, knobs, signal
        values, dims = counts["current"], self.request.scan.dims
        return {"absorbed": (("frame", *dims) if values.ndim > len(dims) else dims, values, {"units": "pA"})}, {}

    def settings(self) -> dict[str, Any]:
        """Return the settings that the operator may know."""
        return {"scan": results.visible_scan(self.request.scan), "absorbed": asdict(self.detector)}

    def notes(self) -> tuple[str, ...]:
        """Return no sentences on doubtful physics."""
        return ()


def add_signal() -> None:
    """Register what the file of the absorbed current registers."""
    DETECTOR_KINDS.add("absorbed-current", AbsorbedCurrentDetector, "current")
    DETECTORS.add("absorbed", lambda alpha, largest: AbsorbedCurrentDetector(outer_mrad=min(4 * alpha, largest)), "current")
    RECORDERS.add("current", CurrentRecorder)


@pytest.fixture
def additions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register all three for one test."""
    package.load_detectors()
    for registry in (DETECTOR_KINDS, DETECTORS, RECORDERS):
        monkeypatch.setattr(registry, "_things", dict(registry._things))
        monkeypatch.setattr(registry, "_tags", dict(registry._tags))
    for add in (add_shape, add_ring, add_signal):
        add()


def test_nothing_of_it_is_there_otherwise() -> None:
    """Without their registration none of the three is known: the tests below stand on nothing else."""
    for name in ("moon", "rim", "absorbed"):
        with pytest.raises(UnknownNameError, match=name):
            package.checked(name)
    with pytest.raises(SettingsError, match="is not a detector"):
        package.checked((HalfMoonDetector(inner_mrad=0, outer_mrad=20),))


@pytest.mark.usefixtures("additions")
@pytest.mark.parametrize("engine", ["multislice", "operator"])
def test_two_half_moons_are_a_ring(thermal: Sample, beam: st.Beam, engine: str) -> None:
    """A new shape is imaged by the engines: the signals of both halves of a ring add up to the ring's."""
    ring = AnnularDetector(inner_mrad=10, outer_mrad=45, name="ring")
    halves = tuple(HalfMoonDetector(inner_mrad=10, outer_mrad=45, azimuth_rad=a, name=n) for a, n in ((0.3, "one"), (0.3 + math.pi, "other")))
    found = st.simulate(thermal, beam, SCAN, detectors=(ring, *halves, "rim", "moon"), phonons=1, engine=engine)
    np.testing.assert_allclose(found.one + found.other, found.ring, rtol=1e-5)
    assert float(np.abs(found.one - found.other).max()) > 1e-3
    assert found.moon.attrs["inner_mrad"] == 20.0
    flat = xr.DataArray(
        np.full((1, 60, 60), 1.0),
        dims=("point", "ky", "kx"),
        coords={a: (np.arange(60) - 29.5) * 2 for a in ("ky", "kx")},
    )
    one, whole = (float(pattern_analysis.virtual(flat, d)[0]) for d in (halves[0], ring))
    assert one == pytest.approx(whole / 2, rel=1e-3)


@pytest.mark.usefixtures("additions")
@pytest.mark.slow
def test_a_new_shape_is_written_and_read(thermal: Sample, beam: st.Beam) -> None:
    """A request with it survives plain values, with settings inside its settings; two different ones have operators of their own."""
    moon = HalfMoonDetector(inner_mrad=10, outer_mrad=45, azimuth_rad=0.3, edge=Edge(blunt_mrad=2.0))
    request = st.Request(sample=thermal, beam=beam, scan=SCAN, detectors=(moon, "moon"))
    written = json.loads(json.dumps(request.to_dict()))
    assert written["detectors"][0]["kind"] == "half-moon"
    assert st.Request.from_dict(written).detectors == (moon, "moon")
    images = [st.simulate(replace(request, detectors=(replace(moon, azimuth_rad=a),), engine="operator")).half_moon for a in (0.3, 2.0)]
    assert not np.array_equal(*images)


@pytest.mark.usefixtures("additions")
def test_a_new_shape_in_the_microscope(thermal: Sample) -> None:
    """It is counted, it follows the camera length where it is asked for by name, and what is expected of it is what it counts."""
    scope = st.Microscope(thermal, SHAKY, seed=3, phonons=1)
    frame = scope.acquire(SCAN, dwell_time_us=1e4, detectors=("moon", "rim", HalfMoonDetector(inner_mrad=0, outer_mrad=30)))
    expected = scope.truth()["expected"]
    for name in ("moon", "rim", "half_moon"):
        mean = expected[name] * expected.incident_electrons
        assert float((np.abs(frame[name] - mean) / np.sqrt(mean)).max()) < 5
    kept = json.loads(frame.attrs["stemtwin_settings"])["detectors"]
    assert [one["kind"] for one in kept] == ["half-moon", "annular", "half-moon"]
    scope.set(camera_length_mm=200.0, gain={})
    assert scope.acquire(SCAN, detectors=("moon",)).moon.attrs["outer_mrad"] == frame.moon.attrs["outer_mrad"] / 2


@pytest.mark.usefixtures("additions")
@pytest.mark.slow
def test_a_new_signal_is_recorded_with_the_others(thermal: Sample) -> None:
    """Its variable stands beside the others', of the same pass, in every frame; the others are to the last bit what they are without it."""
    scope, other = (st.Microscope(thermal, SHAKY, seed=3, phonons=1) for _ in range(2))
    start = scope.snapshot()
    frames = scope.acquire(SCAN, dwell_time_us=100, frames=2, detectors=("haadf", "absorbed", "pixelated", "eels"))
    assert list(frames.data_vars) == ["haadf", "pixelated", "eels", "absorbed"]
    assert frames.absorbed.dims == ("frame", "y", "x")
    alone = other.acquire(SCAN, dwell_time_us=100, frames=2, detectors=("haadf", "pixelated", "eels"))
    for name in alone.data_vars:
        xr.testing.assert_identical(frames[name], alone[name])
    expected = scope.truth()["expected"]
    noise = (frames.absorbed[-1] - 50.0 * expected.absorbed).to_numpy()
    assert 0.05 < noise.std() < 0.2
    assert float(expected.absorbed.min()) > 0
    assert json.loads(frames.attrs["stemtwin_settings"])["absorbed"] == {"outer_mrad": 80.0, "noise_pa": 0.1}
    scope.restore(start)
    only = scope.acquire(SCAN, dwell_time_us=100, frames=2, detectors=AbsorbedCurrentDetector(outer_mrad=80.0))
    np.testing.assert_array_equal(only.absorbed, frames.absorbed)
    mean = scope.acquire(SCAN, dwell_time_us=100, frames=3, detectors="absorbed", average=True)
    assert mean.absorbed.dims == ("y", "x")
    cost = scope.estimate_cost("acquire", SCAN, detectors=("absorbed",), dwell_time_us=100)
    assert cost["electrons"] == pytest.approx(20 * 50e-12 * 1e-4 / 1.602176634e-19)


@pytest.mark.usefixtures("additions")
def test_new_things_are_listed_and_told_apart(thermal: Sample, beam: st.Beam) -> None:
    """The list of detectors has them with their tags; a signal of the microscope is not an image, and counts by itself."""
    found = listing.names(listing.Kind.DETECTORS)
    assert found["moon"] == ("image", "half-moon")
    assert found["rim"] == ("image", "annular")
    assert found["absorbed"] == ("current",)
    for wrong in ("absorbed", AbsorbedCurrentDetector(outer_mrad=50.0)):
        with pytest.raises(SettingsError, match=r"'absorbed' is not an image: .*st\.Microscope"):
            st.simulate(thermal, beam, SCAN, detectors=wrong)
    scope = st.Microscope(thermal, replace(SHAKY, chains=(("", DetectorChain()),)), phonons=1)
    with pytest.raises(SettingsError, match="'absorbed' cannot be set"):
        scope.set(gain={"absorbed": 2.0})
    assert dict(scope.set(gain={"moon": 2.0}).gain) == {"moon": 2.0}


def test_streams_of_new_signals_are_independent(thermal: Sample) -> None:
    """A signal's noise needs no number: its key follows from its name, the same in every process, and is none of those that have one."""
    numbered = ("specimen", "noise", "instrument", "scan", "stage", "corrector", "damage", "camera", "eels", "edx")
    assert dict(zip(numbered, range(10), strict=True)) == STREAMS, "seeds keep their draws"
    assert stream_key("noise") == 1
    assert stream_key("absorbed") == 0x2F6378A857D08CE0
    setup = st.Microscope(thermal, seed=3)._setup
    first = {name: setup.rng(name, 0).random() for name in (*STREAMS, "absorbed", "emitted")}
    assert len(set(first.values())) == len(first)
    assert setup.rng("absorbed", 1).random() != first["absorbed"] == setup.rng("absorbed", 0).random()


def test_every_signal_has_a_recorder() -> None:
    """The first tag of every kind of detector and of every name is a signal that a microscope records, and a name makes a kind of that signal."""
    for name in package.load_detectors():
        (made,) = kinds.made((name,), 20.0, 200.0)
        assert made.name == name
        assert DETECTORS.tags(name)[0] == kinds.tags_of(made)[0]
    for kind in DETECTOR_KINDS:
        assert DETECTOR_KINDS.tags(kind)[0] in RECORDERS
