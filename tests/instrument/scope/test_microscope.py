"""The microscope: knobs, counts, dose, clock, seeds, and what stays hidden."""

import json
import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stemtwin.twin.errors import InstrumentError, SamplingError, SettingsError, StemtwinError, UnknownNameError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.simulation import simulate
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample

SCAN = RasterScan(shape=(6, 8), field_of_view_angstrom=(3.0, 4.0))
ELECTRON = 1.602176634e-19  # C, exact in the SI
DISC = AnnularDetector(inner_mrad=0, outer_mrad=26, name="disc")


@pytest.fixture
def scope(thermal: Sample) -> Microscope:
    """Return a microscope with one cell of SrTiO3 in it."""
    return Microscope(thermal, instrument="ideal", seed=1, phonons=1)


@pytest.fixture
def empty(nothing: PotentialSlices) -> Microscope:
    """Return a microscope with nothing in it: the bright-field disc holds the whole beam."""
    return Microscope(nothing, instrument="ideal", seed=4)


# ---- knobs


def test_settings_are_what_was_commanded_and_cannot_be_changed_otherwise(scope: Microscope) -> None:
    """`set` returns the new settings; what was not set stays; settings are frozen."""
    first = scope.settings
    new = scope.set(C10=-50, C12=3.0, current_pa=20, semiangle_mrad=18)
    assert new is scope.settings
    assert (new.aberrations.C10, new.aberrations.C12, new.current_pa, new.semiangle_mrad) == (-50, 3, 20, 18)
    assert scope.set(C12=4).aberrations.C10 == -50
    assert new.energy_ev == first.energy_ev
    with pytest.raises(FrozenInstanceError):
        new.current_pa = 3  # type: ignore[misc]


def test_the_source_follows_the_current_until_it_is_set(thermal: Sample) -> None:
    """Current, convergence and energy give the source its size through the brightness; both at once are refused; the next current wins again."""
    scope = Microscope(thermal)
    at_50 = scope.settings.source_size_angstrom
    assert at_50 == pytest.approx(0.312, abs=0.001)  # 0.735 A full width: (2 / pi) sqrt(50 pA / 6e12 A/(m^2 sr)) / 25 mrad
    assert scope.set(current_pa=200).source_size_angstrom == pytest.approx(2 * at_50)
    assert scope.set(current_pa=50, semiangle_mrad=12.5).source_size_angstrom == pytest.approx(2 * at_50)
    with pytest.raises(SettingsError, match=r"current_pa=60 and source_size_angstrom=0\.3 are both given"):
        scope.set(current_pa=60, source_size_angstrom=0.3)
    assert scope.set(source_size_angstrom=0.9).source_size_angstrom == 0.9
    assert scope.set(C10=3).source_size_angstrom == 0.9
    assert scope.set(current_pa=200, semiangle_mrad=25).source_size_angstrom == pytest.approx(2 * at_50)


def test_without_a_brightness_the_source_is_what_was_set(scope: Microscope) -> None:
    """The ideal instrument has no brightness: its source size is a knob of its own that no current changes."""
    assert scope.set(source_size_angstrom=0.4, current_pa=10).source_size_angstrom == 0.4
    assert scope.set(current_pa=100).source_size_angstrom == 0.4


def test_the_wavelength_and_what_follows_from_it_go_with_the_energy(thermal: Sample) -> None:
    """At 60 kV the beam has the wavelength, source size and focal spread of 60 kV, not those of the profile's 200 kV."""
    scope = Microscope(thermal)
    scope.set(energy_ev=60e3)
    assert scope.truth()["beam"].wavelength_angstrom == pytest.approx(0.0487, abs=1e-4)  # Kirkland, table C.1: 0.04866 A
    assert scope.settings.focal_spread_angstrom == PROFILES["corrected-200kv"].focal_spread_angstrom(60e3)
    assert scope.settings.source_size_angstrom == PROFILES["corrected-200kv"].source_size_angstrom(50, 25, 60e3)
    assert scope.set(energy_ev=80e3, focal_spread_angstrom=7).focal_spread_angstrom == 7


@pytest.mark.parametrize(
    ("knobs", "error", "said"),
    [
        ({"defocus": 3}, UnknownNameError, "no knob named 'defocus'. Set C10, which is minus"),
        ({"C1": 3}, UnknownNameError, "Use C10, its name in"),
        ({"z_angstrom": 3}, UnknownNameError, "use move_stage"),
        ({"current": 3}, UnknownNameError, "Did you mean 'current_pa'"),
        ({"energy_ev": 200}, SettingsError, r"energy_ev=200 eV .*Did you pass keV\?"),
        ({"semiangle_mrad": 0}, SettingsError, "semiangle_mrad=0"),
        ({"current_pa": 1001}, SettingsError, "current_pa=1001 pA .* at most 1000 pA. This is the range of ideal"),
        ({"C10": math.nan}, SettingsError, "C10=nan"),
        ({"phi12": "30"}, SettingsError, "phi12='30'"),
        ({"C12": True}, SettingsError, "C12=True"),
    ],
)
def test_a_refused_knob_turns_nothing(scope: Microscope, knobs: dict, error: type, said: str) -> None:
    """One wrong knob refuses the whole command, the right ones in it too."""
    before = scope.settings
    with pytest.raises(error, match=said):
        scope.set(**{"C21": 7.0, **knobs, "C30": 1.0})
    assert scope.settings is before


def test_it_says_what_it_is(static: Sample) -> None:
    """The text of a microscope names its specimen, its instrument and its seed, and follows the knobs."""
    scope = Microscope(static, seed=3)
    scope.set(energy_ev=60e3, current_pa=12)
    assert str(scope) == f"Microscope({static.name!r}, 'corrected-200kv', 60 kV, 25 mrad, 12 pA, seed=3)"


def test_what_cannot_be_imaged_is_refused_at_the_door(static: Sample) -> None:
    """An unknown instrument, a seed below 0, phonons of a static sample, no sample: before any work."""
    with pytest.raises(UnknownNameError, match="Did you mean 'corrected-200kv'"):
        Microscope(static, instrument="corected-200kv")
    with pytest.raises(SettingsError, match="instrument=3"):
        Microscope(static, instrument=3)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="seed"):
        Microscope(static, seed=-1)
    with pytest.raises(SettingsError, match="phonons=4 needs thermal"):
        Microscope(static, phonons=4)
    with pytest.raises(SettingsError, match="is not a Sample"):
        Microscope("srtio3-001")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="misalignment"):
        Microscope(static, misalignment=50.0)  # type: ignore[arg-type]


# ---- counts, dose, clock


def test_counts_are_poisson_about_the_expected_signal(empty: Microscope) -> None:
    """Mean and variance are current x dwell / e x signal, and the whole distribution is Poisson's (chi-squared test at 1e-4)."""
    scan = RasterScan(shape=(100, 100), field_of_view_angstrom=(10, 10))
    frame = empty.acquire(scan, dwell_time_us=0.04, detectors=(DISC,))
    expected = 50e-12 * 0.04e-6 / ELECTRON
    counts = frame.disc.to_numpy().ravel()
    assert frame.disc.dtype == np.uint32
    assert frame.attrs["electrons_per_point"] == pytest.approx(expected)
    assert counts.mean() == pytest.approx(expected, abs=4 * math.sqrt(expected / counts.size))
    assert counts.var() == pytest.approx(expected, abs=4 * expected * math.sqrt(2 / counts.size))
    bins = np.arange(4, 23)
    seen = np.array([np.sum(counts <= bins[0]), *(np.sum(counts == b) for b in bins[1:-1]), np.sum(counts >= bins[-1])])
    chance = np.array([stats.poisson.cdf(bins[0], expected), *stats.poisson.pmf(bins[1:-1], expected), stats.poisson.sf(bins[-1] - 1, expected)])
    assert stats.chisquare(seen, chance / chance.sum() * counts.size).pvalue > 1e-4


def test_counts_follow_the_signal(scope: Microscope, thermal: Sample) -> None:
    """Summed over many frames, counts over incident electrons are what `simulate` gives for the same beam and specimen."""
    frames = scope.acquire(SCAN, frames=400, detectors=("haadf", "bf"))
    truth = scope.truth()
    signal = simulate.simulate(thermal, truth["beam"], SCAN, detectors=("haadf", "bf"), phonons=1, seed=scope._setup.stream_seed("specimen"))
    for name in ("haadf", "bf"):
        assert frames[name].dims == ("frame", "y", "x")
        incident = 400 * frames.attrs["electrons_per_point"]
        sigma = np.sqrt(signal[name] / incident)
        assert float((np.abs(frames[name].sum("frame") / incident - signal[name]) / sigma).max()) < 4.5


@pytest.mark.parametrize("shape", [(6, 8), (1, 5)])
@pytest.mark.parametrize("frames", [1, 3])
def test_dose_times_area_is_current_times_time(empty: Microscope, shape: tuple[int, int], frames: int) -> None:
    """The integral of the dose over the field is every electron that the gun sent during the dwell times (defect: dose wrong by a factor of 28)."""
    scan = RasterScan(shape=shape, field_of_view_angstrom=(3.0, 7.0))
    out = empty.acquire(scan, dwell_time_us=5, frames=frames, detectors=(DISC,))
    electrons = 50e-12 * frames * math.prod(shape) * 5e-6 / ELECTRON
    assert out.attrs["dose_e_per_angstrom2"] * 3.0 * 7.0 == pytest.approx(electrons, rel=1e-9)
    assert int(out.disc.sum()) == pytest.approx(electrons, abs=5 * math.sqrt(electrons)), "and in vacuum the detector counts them all"


def test_the_clock_counts_dwell_and_flyback(thermal: Sample) -> None:
    """A frame takes points x dwell + lines x flyback; `time_s` of a frame is when it began; a path has no lines."""
    scope = Microscope(thermal, seed=1, phonons=1)
    first = scope.acquire(SCAN, dwell_time_us=10, frames=2)
    assert first.attrs["time_s"] == 0
    assert scope.time_s == pytest.approx(2 * (48 * 10e-6 + 6 * 100e-6))
    second = scope.acquire(PathScan(positions_angstrom=np.array([[0, 0], [1, 1]])), dwell_time_us=10)
    assert second.attrs["time_s"] == pytest.approx(first.attrs["duration_s"])
    assert second.attrs["duration_s"] == pytest.approx(20e-6)
    assert "dose_e_per_angstrom2" not in second.attrs, "points without an area have no dose"


def test_current_and_dwell_time_multiply_counts(empty: Microscope) -> None:
    """Ten times the dwell time is ten times the counts and root ten times the signal-to-noise ratio; the same for the current."""
    scan = RasterScan(shape=(64, 64), field_of_view_angstrom=(4, 4))

    def ratio(current: float, dwell: float) -> tuple[float, float]:
        empty.set(current_pa=current)
        counts = empty.acquire(scan, dwell_time_us=dwell, detectors=(DISC,)).disc.to_numpy()
        return counts.mean(), counts.mean() / counts.std()

    (few, low), (many, high), (brighter, higher) = ratio(10, 1), ratio(10, 10), ratio(100, 1)
    assert many / few == pytest.approx(10, rel=0.02)
    assert brighter / few == pytest.approx(10, rel=0.02)
    assert high / low == pytest.approx(math.sqrt(10), rel=0.06)
    assert higher / low == pytest.approx(math.sqrt(10), rel=0.06)


def test_counters_do_not_overflow(scope: Microscope) -> None:
    """More electrons at a point than the counters hold are refused before any work, and nothing has happened."""
    long = Microscope(scope.truth()["sample"], replace(PROFILES["ideal"], max_dwell_time_us=1e9), phonons=1)
    long.set(current_pa=1000)
    with pytest.raises(InstrumentError, match=r"6\.24e\+11 electrons at each point overflow the counters \(limit 1e\+09\)"):
        long.acquire(SCAN, dwell_time_us=1e8)
    assert long.time_s == 0


# ---- seeds


def acquired(sample: Sample, seed: int, **options: Any) -> xr.Dataset:
    """Return two frames of a new microscope."""
    return Microscope(sample, instrument="ideal", seed=seed, phonons=1).acquire(SCAN, detectors=("haadf", "bf"), **options)


def test_the_same_seed_gives_the_same_bits(thermal: Sample) -> None:
    """Two microscopes of one seed agree in every count and attribute; another seed differs."""
    xr.testing.assert_identical(acquired(thermal, 7, frames=2), acquired(thermal, 7, frames=2))
    assert not np.array_equal(acquired(thermal, 7).bf, acquired(thermal, 8).bf)
    assert not np.array_equal(acquired(thermal, 2**127).bf, acquired(thermal, 2**127 + 1).bf)


def test_noise_is_fresh_for_each_frame_however_frames_are_taken(thermal: Sample) -> None:
    """Frames differ from each other, are not correlated, and are the same whether taken together or one by one (defect: frozen noise)."""
    together = acquired(thermal, 7, frames=3).bf.to_numpy()
    scope = Microscope(thermal, instrument="ideal", seed=7, phonons=1)
    singly = np.array([scope.acquire(SCAN, detectors=("haadf", "bf")).bf for _ in range(3)])
    np.testing.assert_array_equal(together, singly)
    scan = RasterScan(shape=(100, 100), field_of_view_angstrom=(4, 4))
    first, second = scope.acquire(scan, frames=2, detectors=("bf",)).bf.to_numpy().astype(float)
    assert (first - second).var() == pytest.approx((first + second).mean(), rel=0.06), "independent: Poisson's variances add up"


def test_streams_are_independent(thermal: Sample) -> None:
    """What one stream draws does not move the others: more noise drawn leaves the specimen, and the specimen's stream is not the noise's."""
    scope = Microscope(thermal, seed=7)
    assert scope._setup.stream_seed("specimen") != scope._setup.stream_seed("noise")
    before = scope._setup.stream_seed("specimen")
    scope.acquire(SCAN, frames=2)
    assert scope._setup.stream_seed("specimen") == before
    draws = [scope._setup.rng("noise", i).integers(2**63) for i in range(50)]
    assert len(set(draws)) == 50


# ---- refused commands leave no trace

COMMANDS = st.one_of(
    st.fixed_dictionaries({"C10": st.sampled_from([-30.0, 0.0, math.nan, "x"]), "C12": st.sampled_from([0.0, 20.0])}).map(lambda k: ("set", k)),
    st.fixed_dictionaries({"current_pa": st.sampled_from([50.0, 20.0, -1.0, 1e9]), "C21": st.just(100.0)}).map(lambda k: ("set", k)),
    st.fixed_dictionaries({"nonsense": st.just(1.0), "C10": st.just(77.0)}).map(lambda k: ("set", k)),
    st.fixed_dictionaries({"semiangle_mrad": st.sampled_from([20.0, 20.0, 300.0])}).map(lambda k: ("set", k)),
    st.fixed_dictionaries(
        {
            "scan": st.sampled_from([SCAN, "raster", PathScan(positions_angstrom=np.array([[0, 1]]))]),
            "dwell_time_us": st.sampled_from([4.0, 0.0, 1e7]),
            "frames": st.sampled_from([1, 2, 0, 1.5]),
            "detectors": st.sampled_from([("haadf",), ("hadf",), (), (AnnularDetector(inner_mrad=900, outer_mrad=1000),)]),
        }
    ).map(lambda k: ("acquire", k)),
)


def refusal(scope: Microscope, command: tuple[str, dict]) -> str:
    """Carry out a command; return why it was refused, or nothing."""
    name, arguments = command
    arguments = dict(arguments)
    try:
        getattr(scope, name)(*([arguments.pop("scan")] if name == "acquire" else []), **arguments)
    except StemtwinError as error:
        return str(error)
    return ""


@given(commands=st.lists(COMMANDS, max_size=8))
@settings(max_examples=40)
def test_a_refused_command_leaves_no_trace(thermal: Sample, commands: list) -> None:
    """After any commands, a microscope is as if those that it refused had never been given: same settings, clock, and next frame to the last bit."""
    scope, other = (Microscope(thermal, instrument="ideal", seed=3, phonons=1) for _ in range(2))
    accepted = []
    for command in commands:
        before = (scope.settings, scope.time_s)
        if why := refusal(scope, command):
            assert (scope.settings, scope.time_s) == before
            assert why.endswith((".", "?")), "a sentence"
        else:
            accepted.append(command)
    assert [refusal(other, command) for command in accepted] == [""] * len(accepted)
    for one in (scope, other):
        one.set(C10=0, C12=0, C21=0, current_pa=50)
    xr.testing.assert_identical(scope.acquire(SCAN), other.acquire(SCAN))


def test_a_specimen_that_does_not_fit_leaves_no_trace(make_perovskite: Callable[..., Sample]) -> None:
    """A refusal from deep below, a probe that does not fit the specimen, changes nothing either."""
    scope = Microscope(make_perovskite(1, periodic=False), instrument="ideal", phonons=1)
    with pytest.raises(SamplingError, match="is not periodic"):
        scope.acquire(SCAN)
    assert (scope.time_s, scope.snapshot().frames) == (0, 0)


# ---- truth


def numbers_in(value: Any) -> set[float]:
    """Return every number in nested values."""
    if isinstance(value, dict):
        return set().union(*(numbers_in(v) for v in value.values())) if value else set()
    if isinstance(value, (list, tuple)):
        return set().union(*(numbers_in(v) for v in value)) if value else set()
    return {float(value)} if isinstance(value, (int, float)) and not isinstance(value, bool) else set()


def test_acquired_frames_do_not_tell_the_truth(make_perovskite: Callable[..., Sample]) -> None:
    """No hidden number stands in a frame's attributes: true aberrations, seed, thickness, planes; nor the window that they make necessary."""
    sample = make_perovskite(1, 2)
    hidden = Aberrations(C10=-123.456, C12=54.321, phi12=0.777)
    frames = []
    for misalignment in (Aberrations(), hidden):
        scope = Microscope(sample, seed=987654321, phonons=1, misalignment=misalignment)
        scope.set(C10=11.5)
        start = scope.truth()
        frames.append(scope.acquire(SCAN, detectors=("bf",)))
    truth = scope.truth()
    assert start["C10_angstrom"] == pytest.approx(-123.456 + 11.5)
    attrs = frames[1].attrs
    kept = json.loads(attrs["stemtwin_settings"])
    told = numbers_in(attrs) | numbers_in(kept) | numbers_in(dict(frames[1].bf.attrs))
    secrets = numbers_in(asdict(truth["aberrations"])) | {truth["C12a_angstrom"], truth["strehl"], 987654321.0, sample.thickness_angstrom}
    assert not {t for t in told for s in secrets if s and math.isclose(t, s, rel_tol=1e-9)}
    assert kept["knobs"]["aberrations"]["C10"] == 11.5
    for name in ("blocks", "beam", "seed", "planes_angstrom"):
        assert name not in kept
    assert frames[0].attrs == attrs, "attributes do not depend on what is hidden"


def test_the_truth_has_one_door(thermal: Sample) -> None:
    """No property of a microscope has a hidden number, and none of its methods is about one but `truth` and the whole state of `snapshot`."""
    scope = Microscope(thermal, seed=5, phonons=1, misalignment=Aberrations(C10=-123.456, C12=54.321, phi12=0.777))
    scope.move_stage(x_angstrom=12.5, y_angstrom=-7.5)
    scope.acquire(SCAN, dwell_time_us=1e3)
    truth = scope.truth()
    true = asdict(truth["aberrations"]) | asdict(truth["stage"])
    secrets = {value for value in true.values() if value} | {truth["C12a_angstrom"], truth["strehl"], *truth["drift_angstrom"]}
    properties = [name for name, member in vars(Microscope).items() if isinstance(member, property)]
    assert sorted(properties) == ["dose_remaining_e_per_angstrom2", "profile", "settings", "spent", "stage", "time_s"]
    for name in properties:
        value = getattr(scope, name)
        told = numbers_in(asdict(value) if is_dataclass(value) else value)
        assert not told & (secrets - numbers_in(asdict(scope.profile.residual))), name
    methods = {name for name, member in vars(Microscope).items() if callable(member) and not name.startswith("_")}
    asking = {"estimate_cost", "dose_map", "measure", "snapshot", "truth"}
    assert methods - asking == {"acquire", "acquire_spectrum", "advance_time", "correct", "move_stage", "restore", "set", "shower"}


def test_truth_adds_up(thermal: Sample) -> None:
    """True aberrations are the knobs' plus the profile's plus the misalignment's, as vectors; the Strehl ratio is that of C10 and C12."""
    hidden = Aberrations(C10=30, C12=10, phi12=0.2)
    scope = Microscope(thermal, phonons=1, misalignment=hidden)
    scope.set(C10=-30, C12=10, phi12=0.2 + math.pi / 2)
    truth = scope.truth()
    assert truth["C10_angstrom"] == pytest.approx(0)
    assert truth["C12_angstrom"] == pytest.approx(0, abs=1e-9)
    assert truth["strehl"] == pytest.approx(1)
    assert pytest.approx(1230) == truth["aberrations"].C30
    assert truth["beam"].aberrations == truth["aberrations"]
    scope.set(C12=0)
    truth = scope.truth()
    assert math.hypot(truth["C12a_angstrom"], truth["C12b_angstrom"]) == pytest.approx(truth["C12_angstrom"])
    assert 0 < truth["strehl"] < 1


def test_a_window_holds_one_operator_for_all_knobs(thermal: Sample) -> None:
    """With a window for the widest probe, turning defocus does not change the numerics: in-focus frames agree with and without it to 2 %."""
    scan = RasterScan(shape=(8, 8), field_of_view_angstrom=(4, 4))
    near, far = (
        Microscope(thermal, instrument="ideal", seed=1, phonons=1, window_angstrom=w).acquire(scan, dwell_time_us=1e5, detectors=("haadf",)).haadf
        for w in (0, 30)
    )
    assert float(np.abs(near.astype(float) - far).max() / near.max()) < 0.02


@pytest.mark.parametrize("form", ["netcdf", "zarr"])
def test_acquired_frames_round_trip_through_files(scope: Microscope, tmp_path: Path, form: str) -> None:
    """Counts, coordinates and attributes come back unchanged."""
    data = scope.acquire(SCAN, frames=2, detectors=("haadf", "dpc4"))
    if form == "netcdf":
        data.to_netcdf(tmp_path / "frames.nc", engine="h5netcdf")
        back = xr.load_dataset(tmp_path / "frames.nc", engine="h5netcdf")
    else:
        pytest.importorskip("zarr", reason="zarr is not installed")
        data.to_zarr(tmp_path / "frames.zarr", zarr_format=2, consolidated=True)
        back = xr.open_zarr(tmp_path / "frames.zarr", zarr_format=2).load()
    xr.testing.assert_identical(back, data)
    assert back.dpc4.dims == ("frame", "segment", "y", "x")
    assert back.haadf.dtype == np.uint32
