"""The microscope in time: stage, drift, straying optics, fading current, the clock, snapshots, and what a command costs."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.registration import phase_cross_correlation

from stemtwin.twin.errors import InstrumentError, SettingsError, StemtwinError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.hardware import drift as instabilities
from stemtwin.twin.instrument.hardware import stage
from stemtwin.twin.instrument.hardware.drift import AberrationWander, Instabilities
from stemtwin.twin.instrument.hardware.profiles import PROFILES, Profile
from stemtwin.twin.instrument.hardware.readout_chain import DetectorChain
from stemtwin.twin.instrument.hardware.scan_distortion import ScanImperfections
from stemtwin.twin.instrument.scan import PathScan, RasterScan, SparseScan, SpiralScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.samples.sample import Sample

IDEAL = PROFILES["ideal"]
CELL = 3.905
FIELD = RasterScan(shape=(24, 24), field_of_view_angstrom=(CELL, CELL))
DISC = AnnularDetector(inner_mrad=0, outer_mrad=26, name="disc")
SHAKY = replace(
    IDEAL,
    imperfections=ScanImperfections(line_jitter_angstrom=0.05, hum_angstrom=(0.1, 0.2), settling_fraction=0.02, hysteresis_fraction=0.01),
    instabilities=instabilities.TYPICAL,
    stage=stage.PIEZO,
    flyback_us=100.0,
    settle_us=10.0,
)
"""An instrument with every fault."""


@pytest.fixture
def make(static: Sample) -> Callable[..., Microscope]:
    """Return the maker of microscopes with one static cell of SrTiO3 in them."""

    def make(profile: Profile = IDEAL, seed: int = 1, **options: object) -> Microscope:
        return Microscope(static, instrument=profile, seed=seed, **options)  # type: ignore[arg-type]

    return make


def bright(scope: Microscope, scan: RasterScan = FIELD, **options: object) -> np.ndarray:
    """Return a frame with so many electrons that noise does not matter."""
    return scope.acquire(scan, dwell_time_us=1e5, **options).haadf.to_numpy().astype(float)  # type: ignore[arg-type]


def shift_between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return by how many pixels (y, x) the second picture is displaced."""
    moved, *_ = phase_cross_correlation(first, second, upsample_factor=100, normalization=None)
    return -moved


# ---- stage


@pytest.mark.parametrize("axis", ["x", "y"])
def test_the_specimen_follows_the_stage(make: Callable[..., Microscope], axis: str) -> None:
    """The stage moved by 0.5 A along +x (+y) carries what is seen by 0.5 A along +x (+y)."""
    scope = make()
    before = bright(scope)
    scope.move_stage(**{f"{axis}_angstrom": 0.5})
    expected = np.array([0.5, 0] if axis == "y" else [0, 0.5]) / (CELL / 24)
    np.testing.assert_allclose(shift_between(before, bright(scope)), expected, atol=0.03)
    scope.move_stage(**{f"{axis}_angstrom": -0.5}, relative=True)
    np.testing.assert_array_equal(bright(make()), before)
    assert getattr(scope.stage, f"{axis}_angstrom") == 0


def test_deflectors_undo_the_stage(make: Callable[..., Microscope]) -> None:
    """Stage and beam shift by the same way: the same expected picture; with the beam shift alone it moves the other way."""
    scope = make()
    before = bright(scope)
    scope.set(beam_shift_angstrom=(0.5, -0.3))
    np.testing.assert_allclose(shift_between(before, bright(scope)), np.array([0.3, -0.5]) / (CELL / 24), atol=0.03)
    scope.move_stage(x_angstrom=0.5, y_angstrom=-0.3)
    np.testing.assert_allclose(bright(scope), before, rtol=0.01, atol=5 * math.sqrt(before.max()))


def test_height_is_focus(make: Callable[..., Microscope]) -> None:
    """The specimen lowered by d has C10 = d: the lens at C10 = -d brings it back to the same picture."""
    scope = make(window_angstrom=20.0)
    sharp = bright(scope)
    scope.move_stage(z_angstrom=60.0)
    assert scope.truth()["C10_angstrom"] == 60
    assert bright(scope).std() < 0.8 * sharp.std()
    scope.set(C10=-60)
    np.testing.assert_allclose(bright(scope), sharp, rtol=0.01, atol=5 * math.sqrt(sharp.max()))


def test_tilt_reaches_the_request(make: Callable[..., Microscope], make_perovskite: Callable[..., Sample]) -> None:
    """Alpha tilts y, beta tilts x, as in a request of that tilt."""
    scope = Microscope(make_perovskite(1, 6, sigma=None), instrument="ideal")
    straight = bright(scope)
    scope.move_stage(alpha_mrad=8.0)
    alpha = bright(scope)
    scope.move_stage(alpha_mrad=0, beta_mrad=8.0)
    beta = bright(scope)
    assert np.abs(alpha - straight).max() > 0.02 * straight.max()
    np.testing.assert_allclose(alpha, beta.T, rtol=0.02, atol=0.002 * straight.max())


def test_moves_take_time_and_creep_on() -> None:
    """A real stage takes time, ends near its goal, and the specimen drifts on, less and less."""
    profile = replace(IDEAL, stage=stage.PIEZO, instabilities=Instabilities(creep_speed_angstrom_per_s=2.0, creep_reach_angstrom=100.0))
    scope = Microscope(PotentialSlices(array=np.zeros((1, 96, 96)), sampling_angstrom=(0.05, 0.05), z_angstrom=np.zeros(1)), profile, seed=3)
    assert scope.estimate_cost("move_stage", x_angstrom=1e5)["time_s"] == pytest.approx(5.5)
    scope.move_stage(x_angstrom=1e5)
    assert scope.time_s == pytest.approx(5.5)
    assert abs(scope.truth()["stage"].x_angstrom - 1e5) < 1500
    drift = [scope.truth()["drift_angstrom"][0]]
    for _ in range(3):
        scope.advance_time(120)
        drift.append(scope.truth()["drift_angstrom"][0])
    ways = np.diff(drift)
    assert (ways > 0).all()
    np.testing.assert_allclose(ways[1:] / ways[:-1], math.exp(-120 / 240), rtol=1e-6)


def test_out_of_reach_moves_nothing(make: Callable[..., Microscope]) -> None:
    """A move beyond the stage's reach, of an unknown axis or by no number is refused; time, stage and the next frame are as before."""
    scope, other = make(), make()
    for way, error in (({"x_angstrom": 1e9}, InstrumentError), ({"gamma_mrad": 1.0}, SettingsError), ({"y_angstrom": math.nan}, SettingsError)):
        with pytest.raises(error):
            scope.move_stage(**way)
    assert (scope.time_s, scope.stage) == (0, other.stage)
    xr.testing.assert_identical(scope.acquire(FIELD), other.acquire(FIELD))


# ---- drift, hum, fading (physics.md row 14)


def test_drift_is_recovered_by_registration(make: Callable[..., Microscope]) -> None:
    """A known drift is what registration of the frames finds, within 5 % (row 14)."""
    velocity = (0.31, -0.52)  # (vy, vx), A/s
    scope = make(replace(IDEAL, instabilities=Instabilities(drift_angstrom_per_s=velocity)))
    wide = RasterScan(shape=(80, 80), field_of_view_angstrom=(4 * CELL, 4 * CELL))
    frames = scope.acquire(wide, dwell_time_us=50, frames=6)
    period = frames.attrs["duration_s"] / 6
    window = np.outer(np.hanning(80), np.hanning(80))
    first, last = ((frames.haadf[i].to_numpy() - float(frames.haadf[i].mean())) * window for i in (0, 5))
    found = shift_between(first, last) / 5 * 4 * CELL / 80 / period
    np.testing.assert_allclose(found, velocity, rtol=0.05)


def test_hum_is_recovered_by_registration(make: Callable[..., Microscope]) -> None:
    """The amplitude of a known mains hum is what registration of each line with the undisturbed picture finds, within 5 % (row 14)."""
    scan = RasterScan(shape=(64, 48), field_of_view_angstrom=(CELL, CELL))
    quiet = make().acquire(scan, dwell_time_us=1e3).haadf.to_numpy().astype(float)
    amplitude = 0.3
    humming = make(replace(IDEAL, imperfections=ScanImperfections(hum_angstrom=(0.0, amplitude), hum_hz=1 / (48e-3 * 6.37))))
    frame = humming.acquire(scan, dwell_time_us=1e3).haadf.to_numpy().astype(float)
    k = 2 * np.pi * np.fft.rfftfreq(48)[1:7]
    line = np.arange(64)
    shifts = []
    grid = np.linspace(-0.6, 0.6, 241) / (CELL / 48)
    for before, after in zip(quiet, frame, strict=True):
        product = np.fft.rfft(after)[1:7] * np.conj(np.fft.rfft(before)[1:7])
        shifts.append(grid[np.argmax((product[None] * np.exp(1j * k[None] * grid[:, None])).real.sum(axis=1))])
    strong = quiet.std(axis=1) > 0.3 * quiet.std(axis=1).max()
    w = 2 * np.pi / 6.37
    design = np.column_stack([np.sin(w * (line + 0.5)), np.cos(w * (line + 0.5))])[strong]
    fitted = np.linalg.lstsq(design, np.array(shifts)[strong], rcond=None)[0]
    within = np.sinc(1 / 6.37)  # the hum's mean over a line
    assert math.hypot(*fitted) * CELL / 48 / within == pytest.approx(amplitude, rel=0.05)


def test_current_fades_and_the_counts_with_it(nothing: PotentialSlices) -> None:
    """Counts in vacuum are the current's: they fall with it, and the dose that was spent does too."""
    profile = replace(IDEAL, instabilities=Instabilities(fade=0.5, fade_tau_s=100.0))
    scope = Microscope(nothing, profile, seed=2)
    scan = RasterScan(shape=(32, 32), field_of_view_angstrom=(4, 4))
    first = int(scope.acquire(scan, dwell_time_us=10, detectors=(DISC,)).disc.sum())
    spent = scope.spent["electrons"]
    scope.advance_time(100)
    second = int(scope.acquire(scan, dwell_time_us=10, detectors=(DISC,)).disc.sum())
    assert second / first == pytest.approx(1 - 0.5 * (1 - math.exp(-1)), rel=0.002)
    assert (scope.spent["electrons"] - spent) / spent == pytest.approx(second / first, rel=0.002)


def test_the_optics_stray(make: Callable[..., Microscope]) -> None:
    """Aberrations stray as the course says, and the picture is that of the strayed ones."""
    profile = replace(IDEAL, instabilities=Instabilities(aberrations=(AberrationWander(name="C10", rate_angstrom_per_s=0.5),)))
    scope = make(profile, window_angstrom=20.0)
    sharp = bright(scope)
    scope.advance_time(120 - scope.time_s)
    assert abs(scope.truth()["C10_angstrom"]) == pytest.approx(60)
    assert bright(scope).std() < 0.8 * sharp.std()


def test_a_blanked_beam_does_nothing(nothing: PotentialSlices) -> None:
    """With the beam blanked no electron arrives, none is spent, time passes; unblanked, it is there again."""
    scope = Microscope(nothing, "ideal")
    scope.set(blanked=True)
    frame = scope.acquire(RasterScan(shape=(8, 8), field_of_view_angstrom=(4, 4)), detectors=(DISC,))
    assert int(frame.disc.sum()) == 0
    assert (scope.spent["electrons"], scope.spent["beam_s"]) == (0, 0)
    assert scope.time_s > 0
    assert frame.attrs["dose_e_per_angstrom2"] == 0
    scope.set(blanked=False)
    assert int(scope.acquire(RasterScan(shape=(8, 8), field_of_view_angstrom=(4, 4)), detectors=(DISC,)).disc.min()) > 0


def test_detectors_grow_as_the_camera_length_shrinks(make: Callable[..., Microscope]) -> None:
    """Half the camera length is twice the angle: the instrument's own detector changes, one that is given by its angles does not."""
    scope = make()
    given = AnnularDetector(inner_mrad=30, outer_mrad=60, name="ring")
    usual = scope.acquire(FIELD, dwell_time_us=1e4, detectors=("maadf", given))
    scope.set(camera_length_mm=200.0)
    far = scope.acquire(FIELD, dwell_time_us=1e4, detectors=("maadf", given))
    assert (usual.maadf.attrs["inner_mrad"], far.maadf.attrs["inner_mrad"]) == (40, 20)
    assert far.maadf.sum() > 1.5 * usual.maadf.sum()
    assert far.ring.attrs["inner_mrad"] == 30
    assert float(far.ring.sum()) == pytest.approx(float(usual.ring.sum()), rel=0.01)
    with pytest.raises(SettingsError, match=r"camera_length_mm=123 is not a camera length of ideal. Use one of 50, 75, 100, 150, 200 mm"):
        scope.set(camera_length_mm=123)


def test_a_detector_that_the_camera_length_cannot_reach_is_refused(make: Callable[..., Microscope]) -> None:
    """Radius is angle times camera length; what the column does not let through is refused with the camera length that would do."""
    scope = make(replace(IDEAL, largest_detector_mm=10.0))
    scope.set(camera_length_mm=200.0)
    with pytest.raises(InstrumentError, match=r"outer_mrad=60 of ring is 12\.0 mm .* beyond the limit of 10 mm .* camera_length_mm <= 167"):
        scope.acquire(FIELD, detectors=(AnnularDetector(inner_mrad=30, outer_mrad=60, name="ring"),))


# ---- frames, averages, paths


def test_averages_are_means_of_frames(make: Callable[..., Microscope]) -> None:
    """Averaging over frames is what a mean of the same frames is, drift between them and all."""
    one, other = make(SHAKY), make(SHAKY)
    frames = one.acquire(FIELD, frames=4, detectors=("haadf", "bf"))
    mean = other.acquire(FIELD, frames=4, detectors=("haadf", "bf"), average=True)
    for name in ("haadf", "bf"):
        np.testing.assert_allclose(mean[name], frames[name].mean("frame"), rtol=1e-6)
    assert one.time_s == other.time_s


def test_any_path(make: Callable[..., Microscope]) -> None:
    """Curves and lists of points come back as points, with their nominal positions, distorted or not."""
    for scan in (PathScan(positions_angstrom=np.array([[0, 0], [1, 2.0]])), SpiralScan(shape=50, diameter_angstrom=3.0)):
        for profile in (IDEAL, SHAKY):
            frame = make(profile).acquire(scan)
            assert frame.haadf.dims == ("point",)
            np.testing.assert_array_equal(frame.x, scan.positions()[:, 0])


# ---- determinism

FAR = PathScan(positions_angstrom=np.array([[0, 0], [0, -2e7]]))
HUGE = RasterScan(shape=(8, 8), field_of_view_angstrom=(1e8, 1e8))
UNSEEN = AnnularDetector(inner_mrad=30, outer_mrad=500, name="ring")
COMMANDS = st.one_of(
    st.tuples(
        st.just("acquire"),
        st.fixed_dictionaries(
            {"scan": st.just(FIELD), "frames": st.sampled_from([1, 2, 0]), "dwell_time_us": st.sampled_from([4.0, -1.0])},
            optional={"average": st.sampled_from([True, "yes"]), "detectors": st.sampled_from(["haadf", UNSEEN, "hadf"])},
        ),
    ),
    st.tuples(st.just("acquire"), st.fixed_dictionaries({"scan": st.sampled_from([FAR, HUGE, "field", FIELD.shape])})),
    st.tuples(st.just("acquire_spectrum"), st.fixed_dictionaries({"at": st.sampled_from([(0.0, 2e7), 1.0]), "edges": st.just(("Ti_L3",))})),
    st.tuples(st.just("correct"), st.fixed_dictionaries({"name": st.sampled_from(["C1", "A1", "Q7"]), "value": st.sampled_from([5.0, 1e9, "x"])})),
    st.tuples(st.just("measure"), st.fixed_dictionaries({"kind": st.sampled_from(["Slow", 5]), "angle_mrad": st.sampled_from([9.0, -1.0])})),
    st.tuples(st.just("shower"), st.fixed_dictionaries({"dose_e_per_angstrom2": st.sampled_from([1.0, 0.0, -1.0, 1e9])})),
    st.tuples(
        st.just("set"), st.fixed_dictionaries({"camera_length_mm": st.sampled_from([100.0, 101.0]), "energy_ev": st.sampled_from([200.0, 200e3])})
    ),
    st.tuples(st.just("set"), st.fixed_dictionaries({"C10": st.sampled_from([-10.0, 20.0, math.inf]), "blanked": st.booleans()})),
    st.tuples(st.just("set"), st.fixed_dictionaries({"beam_shift_angstrom": st.sampled_from([(1.0, 2.0), (1e9, 0.0), 3.0])})),
    st.tuples(st.just("set"), st.fixed_dictionaries({"gain": st.sampled_from([{"haadf": 2.0}, {"haadf": -1.0}, 5])})),
    st.tuples(st.just("move_stage"), st.fixed_dictionaries({"x_angstrom": st.sampled_from([0.0, 500.0, 1e9]), "relative": st.booleans()})),
    st.tuples(st.just("move_stage"), st.fixed_dictionaries({"z_angstrom": st.sampled_from([0.0, 20.0, "up"])})),
    st.tuples(st.just("advance_time"), st.fixed_dictionaries({"seconds": st.sampled_from([0.0, 30.0, -1.0, 1e9])})),
)


def carry_out(scope: Microscope, name: str, arguments: dict) -> bool:
    """Carry out a command; return whether it was accepted."""
    before = scope.snapshot()
    try:
        price = scope.estimate_cost(name, **arguments)
        getattr(scope, name)(**arguments)
    except StemtwinError:
        assert scope.snapshot() is before
        return False
    assert scope.time_s - before.time_s == pytest.approx(price["time_s"], rel=1e-9, abs=1e-12)
    return True


@given(commands=st.lists(COMMANDS, max_size=7))
@settings(max_examples=30)
def test_refused_commands_leave_no_trace_and_costs_are_known_ahead(static: Sample, commands: list) -> None:
    """Right and wrong commands in any order on an instrument with every fault: the wrong ones leave no trace, the right ones cost what was said."""
    scope, other = (Microscope(static, SHAKY, seed=5, window_angstrom=20.0) for _ in range(2))
    for name, arguments in commands:
        if carry_out(scope, name, arguments):
            carry_out(other, name, arguments)
    for one in (scope, other):
        one.set(C10=0.0, blanked=False, beam_shift_angstrom=(0.0, 0.0))
        one.move_stage(z_angstrom=0.0)
    xr.testing.assert_identical(scope.acquire(FIELD), other.acquire(FIELD))


def test_a_snapshot_restores_every_bit(make: Callable[..., Microscope]) -> None:
    """What follows a restore is what followed the snapshot, to the last bit; another microscope of the same setup goes on from it as well."""
    scope, other = make(SHAKY), make(SHAKY)
    scope.set(C10=10)
    scope.move_stage(x_angstrom=300)
    scope.acquire(FIELD, frames=2)
    kept = scope.snapshot()

    def rest(one: Microscope) -> list:
        one.advance_time(17.3)
        one.move_stage(x_angstrom=20, relative=True)
        return [one.acquire(FIELD, frames=2, detectors=("haadf", "bf")), one.stage, one.time_s, one.spent]

    first = rest(scope)
    scope.restore(kept)
    second = rest(scope)
    other.restore(kept)
    third = rest(other)
    for again in (second, third):
        xr.testing.assert_identical(first[0], again[0])
        assert first[1:] == again[1:]
    with pytest.raises(SettingsError, match="is not a snapshot"):
        scope.restore({})  # type: ignore[arg-type]


def test_snapshots_travel_through_pickle(make: Callable[..., Microscope]) -> None:
    """A pickled snapshot is as good as the snapshot."""
    import pickle

    scope = make(SHAKY)
    scope.acquire(FIELD)
    kept = pickle.loads(pickle.dumps(scope.snapshot()))
    first = scope.acquire(FIELD)
    scope.restore(kept)
    xr.testing.assert_identical(scope.acquire(FIELD), first)


def test_unknown_commands_have_no_price(make: Callable[..., Microscope]) -> None:
    """A command without a price, or with arguments that it has not, is refused with a sentence."""
    with pytest.raises(SettingsError, match="'fly' is not a command with a cost"):
        make().estimate_cost("fly")
    with pytest.raises(SettingsError, match="arguments of advance_time are wrong"):
        make().estimate_cost("advance_time", hours=3)


# ---- dose


def test_no_electron_is_lost(make: Callable[..., Microscope]) -> None:
    """The dose maps hold every electron that was spent: current times time with the beam on, pauses included (defect: 28 times off)."""
    scope = make(replace(SHAKY, instabilities=Instabilities()))
    scope.acquire(FIELD, frames=3)
    scope.move_stage(x_angstrom=40)
    scope.acquire(PathScan(positions_angstrom=np.array([[1.0, 2.0]])), dwell_time_us=1e4)
    sent = 50 * 6.241509e6 * scope.spent["beam_s"]
    assert scope.spent["electrons"] == pytest.approx(sent, rel=1e-6)
    assert scope.truth()["dose"].electrons == pytest.approx(sent, rel=1e-6)
    assert scope.snapshot().sent.map().electrons == pytest.approx(sent, rel=1e-6)


def test_the_dose_map_is_where_the_field_was(make: Callable[..., Microscope]) -> None:
    """Inside a field the mean dose is that of the frame; it moves with the stage, the other way; frames add up."""
    scope = make()
    scan = RasterScan(shape=(64, 64), field_of_view_angstrom=(16, 16))
    frame = scope.acquire(scan, frames=2)
    middle = RasterScan(shape=(8, 8), field_of_view_angstrom=(8, 8), origin_angstrom=(4, 4))
    dose = scope.dose_map(middle)
    assert dose.dims == ("y", "x")
    assert float(dose.mean()) == pytest.approx(frame.attrs["dose_e_per_angstrom2"], rel=0.01)
    scope.move_stage(x_angstrom=100)
    scope.acquire(scan)
    there = replace(middle, origin_angstrom=(-96, 4))
    assert float(scope.dose_map(there).mean()) == pytest.approx(frame.attrs["dose_e_per_angstrom2"] / 2, rel=0.01)
    np.testing.assert_array_equal(scope.dose_map(middle), dose)


def test_a_budget_is_kept(make: Callable[..., Microscope]) -> None:
    """What would exceed the dose budget is refused with the numbers, and nothing is spent; elsewhere on the specimen there is budget left."""
    scan = RasterScan(shape=(32, 32), field_of_view_angstrom=(16, 16))
    dose = make().acquire(scan).attrs["dose_e_per_angstrom2"]
    scope = make(dose_budget_e_per_angstrom2=2.5 * dose)
    assert scope.dose_remaining_e_per_angstrom2 == 2.5 * dose
    scope.acquire(scan, frames=2)
    assert scope.dose_remaining_e_per_angstrom2 == pytest.approx(0.5 * dose, abs=0.2 * dose)
    before = scope.snapshot()
    with pytest.raises(InstrumentError, match=r"beyond the budget of .* e-/A\^2\. Use a lower current_pa"):
        scope.acquire(scan)
    assert scope.snapshot() is before
    scope.move_stage(x_angstrom=300)
    scope.acquire(scan)
    assert make().dose_remaining_e_per_angstrom2 == math.inf


def test_a_price_has_the_budget_in_it(make: Callable[..., Microscope]) -> None:
    """What the dose budget does not allow has no price either."""
    scope = make(dose_budget_e_per_angstrom2=1.0)
    with pytest.raises(InstrumentError, match=r"beyond the budget of 1 e-/A\^2"):
        scope.estimate_cost("acquire", FIELD)


def test_limits_are_told_before_any_work(make: Callable[..., Microscope]) -> None:
    """Too large an aberration, field, probe or tilt, and a gain of what has none, are refused at once, in a sentence; nothing has happened."""
    scope = make(replace(IDEAL, stage=stage.MECHANICAL))
    with pytest.raises(SettingsError, match=r"C10=1e\+07 A is out of range: .* at most 1e\+06 A\. This is the range of the lenses"):
        scope.set(C10=1e7)
    with pytest.raises(
        SettingsError,
        match=r"of 'haadf' cannot be set, as this detector has no read-out chain in the instrument ideal\. Detectors with a read-out chain: none",
    ):
        scope.set(gain={"haadf": 2.0})
    with pytest.raises(SettingsError, match="is not a RasterScan, but a dose map needs rows and columns"):
        scope.dose_map(SpiralScan(shape=50, diameter_angstrom=3.0))  # type: ignore[arg-type]
    for far in (RasterScan(shape=(8, 8), field_of_view_angstrom=(1e8, 1e8)), PathScan(positions_angstrom=np.array([[0, 0], [0, -2e7]]))):
        with pytest.raises(InstrumentError, match=r"from the middle of the holder, which ends at 1e\+07 and 1e\+07 A\. Use a smaller field"):
            scope.estimate_cost("acquire", far)
    scope.set(C10=1e5)
    before = scope.snapshot()
    with pytest.raises(SettingsError, match=r"The probe spreads over .* cells .* Use smaller aberrations"):
        scope.acquire(FIELD)
    assert scope.snapshot() is before
    scope.set(C10=0.0)
    scope.move_stage(alpha_mrad=300.0)
    before = scope.snapshot()
    with pytest.raises(InstrumentError, match="tilted to alpha_mrad=300, beta_mrad=0, but images can be computed only up to about 100 mrad"):
        scope.acquire(FIELD)
    assert scope.snapshot() is before


def test_a_beam_blanked_between_lines_leaves_no_streak(nothing: PotentialSlices) -> None:
    """With a slow detector a line begins dark where the beam was off before it, and at full level where it waited there."""
    slow = (("", DetectorChain(gain_adu=1.0, bits=0, lag_us=20.0)),)
    scan, first = RasterScan(shape=(64, 16), field_of_view_angstrom=(4, 4)), {}
    for blanks in (False, True):
        profile = replace(IDEAL, chains=slow, flyback_us=1000.0, blanks_pauses=blanks)
        disc = Microscope(nothing, profile, seed=1).acquire(scan, dwell_time_us=10, detectors=(DISC,)).disc
        first[blanks] = float(disc[1:, 0].mean() / disc[1:, -4:].mean())
    assert first[False] == pytest.approx(1, abs=0.01)
    assert first[True] == pytest.approx(1 - (1 - math.exp(-0.5)) / 0.5, abs=0.01)


def test_a_sparse_scan_has_the_dose_of_its_points(make: Callable[..., Microscope]) -> None:
    """Its dose over the whole field, said before and after, is that of a full raster times the share of its points; elsewhere it counts nothing."""
    usual = {"shape": (24, 24), "field_of_view_angstrom": (8.0, 8.0)}
    sparse, scope = SparseScan(**usual, fraction=0.25, seed=1), make()
    full = scope.acquire(RasterScan(**usual)).attrs["dose_e_per_angstrom2"]
    said = scope.estimate_cost("acquire", sparse)["dose_e_per_angstrom2"]
    frame = scope.acquire(sparse)
    assert frame.attrs["dose_e_per_angstrom2"] == pytest.approx(full * sparse.count / 24**2)
    assert said == pytest.approx(frame.attrs["dose_e_per_angstrom2"])
    assert int(frame.visited.sum()) == sparse.count
    assert not frame.haadf.to_numpy()[~frame.visited.to_numpy()].any()
