"""Averages over a crystal's lattice translations: exact, unbiased, refused where there is no lattice, and off in what was released."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import PixelatedDetector
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.scope import imaging_requests
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache, slice_stacks
from stemtwin.twin.instrument.simulation.plan import Plan, make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.simulate import explain, simulate
from stemtwin.twin.instrument.spectra.areal_densities import LossChannel, densities
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.operator.point_group import PlaneSymmetry
from stemtwin.twin.samples.lattice_translations import lattice_translations, point_group
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

pytestmark = pytest.mark.usefixtures("no_operators")

POINTS = PathScan(positions_angstrom=np.random.default_rng(0).uniform(0, 8, (30, 2)))
BEAM = Beam(
    energy_ev=200e3,
    semiangle_mrad=15,
    aberrations=Aberrations(C10=-40, C12=20, phi12=0.4, C21=500, phi21=1.0),
    source_size_angstrom=0.3,
    beam_tilt_mrad=(2.0, -1.0),
)


@pytest.fixture
def asked(make_perovskite: Callable[..., Sample]) -> Request:
    """Return a request of 2 x 2 cells with every kind of detector, aberration and tilt, on a grid that the lattice divides."""
    detectors = ("maadf", "abf", "dpc4")
    return Request(
        sample=make_perovskite(2),
        beam=BEAM,
        scan=POINTS,
        detectors=detectors,
        engine="operator",
        phonons=2,
        grid=(64, 64),
        tilt_mrad=(3.0, 1.0),
        seed=4,
    )


def values(request: Request) -> np.ndarray:
    """Return the signals of all channels, (channels, points)."""
    return np.concatenate([variable.to_numpy().reshape(-1, POINTS.count) for variable in simulate(request).data_vars.values()])


def shifted(scan: PathScan, step: np.ndarray) -> PathScan:
    """Return a path with all its points moved."""
    return PathScan(positions_angstrom=scan.positions_angstrom + step)


def mean_of_shifted(sample: Sample, compute: Callable[[PathScan], np.ndarray]) -> np.ndarray:
    """Return the mean over translations of what is computed at points moved by each."""
    return np.mean([compute(shifted(POINTS, step)) for step in lattice_translations(sample).vectors(sample.size_angstrom)], axis=0)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare to 1e-6 of the largest value of each channel."""
    np.testing.assert_allclose(found / expected.max(axis=-1, keepdims=True), expected / expected.max(axis=-1, keepdims=True), rtol=0, atol=1e-6)


# ---- the average -----------------------------------------------------------------------------------------------------------------------


def test_the_average_is_that_of_shifted_images(asked: Request) -> None:
    """Every channel at every point, with aberrations, tilts and a source: the mean of the unaveraged image moved by each translation."""
    plain = replace(asked, lattice_average=False)
    close(values(replace(asked, lattice_average=True)), mean_of_shifted(asked.sample, lambda scan: values(replace(plain, scan=scan))))


def test_the_average_is_that_of_shifted_configurations(asked: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight configurations, the two of the request with their atoms moved by each of four translations, as so many specimens."""
    averaged = values(replace(asked, lattice_average=True))
    steps = [np.array([*step, 0.0]) for step in lattice_translations(asked.sample).vectors(asked.sample.size_angstrom)]
    places = [slice_stacks.positions(asked, number) + step for number in range(2) for step in steps]
    monkeypatch.setattr(slice_stacks, "positions", lambda _, number: places[number])
    close(averaged, values(replace(asked, phonons=8, lattice_average=False, seed=99)))


def test_an_averaged_image_repeats_with_the_lattice(asked: Request) -> None:
    """At points moved by a translation the signals are the same; without the average they differ by tens of percent."""
    step = lattice_translations(asked.sample).vectors(asked.sample.size_angstrom)[1]
    averaged = replace(asked, lattice_average=True)
    close(values(replace(averaged, scan=shifted(POINTS, step))), values(averaged))
    assert np.abs(values(replace(asked, scan=shifted(POINTS, step))) / values(asked) - 1)[0].max() > 0.1


@pytest.mark.slow
def test_the_average_is_unbiased(asked: Request) -> None:
    """The means over many seeds with and without the average agree within the errors of both, which the average makes smaller."""
    small = replace(asked, detectors=("maadf",), phonons=1)
    runs = {
        flag: np.array([values(replace(small, lattice_average=flag, seed=1000 * flag + seed))[0] for seed in range(60)]) for flag in (False, True)
    }
    mean, error = ({flag: reduce_(run) for flag, run in runs.items()} for reduce_ in (lambda r: r.mean(0), lambda r: r.std(0, ddof=1) / 60**0.5))
    deviation = (mean[True] - mean[False]) / np.hypot(error[True], error[False])
    assert 0.6 < np.sqrt((deviation**2).mean()) < 1.4
    assert abs(deviation.mean()) < 0.5
    assert 2.5 < (error[False] ** 2).mean() / (error[True] ** 2).mean() < 6


def test_patterns_are_averaged(asked: Request) -> None:
    """Patterns by the scattering matrix: the mean of the patterns at points moved by each translation, and the detector beside them, too."""
    camera = PixelatedDetector(shape=(16, 16), outer_mrad=40, name="camera")
    seen = replace(asked, detectors=(camera, "maadf"), beam=replace(BEAM, source_size_angstrom=0.0))
    found = {flag: lambda scan, flag=flag: simulate(replace(seen, lattice_average=flag, scan=scan)) for flag in (False, True)}
    averaged = found[True](POINTS)
    close(averaged.camera.to_numpy().reshape(1, -1), mean_of_shifted(asked.sample, lambda scan: found[False](scan).camera.to_numpy()).reshape(1, -1))
    close(averaged.maadf.to_numpy()[None], mean_of_shifted(asked.sample, lambda scan: found[False](scan).maadf.to_numpy())[None])
    assert "2 phonon configurations averaged over 4 lattice translations: standard error" in averaged.attrs["engine_error"]


def test_spectra_are_averaged(asked: Request) -> None:
    """What the probe sees of an element: the mean at points moved by each translation."""
    channels = (LossChannel(name="Ti", numbers=(22,), d50=1.0),)
    settings: dict[str, Any] = {"collection_mrad": 30.0, "engine": "operator", "phonons": 2}
    beam = replace(BEAM, beam_tilt_mrad=(0.0, 0.0))

    def seen(scan: PathScan, flag: bool) -> np.ndarray:
        found = densities(asked.sample, beam, scan, channels, lattice_average=flag, **settings)
        return np.concatenate([found.values, found.collected[None]])

    close(seen(POINTS, True), mean_of_shifted(asked.sample, lambda scan: seen(scan, False)))


# ---- the point group -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def upright(asked: Request) -> Request:
    """Return the request without tilts, on round detectors, of one configuration, averaged over the point group."""
    beam = replace(BEAM, beam_tilt_mrad=(0.0, 0.0), aberrations=replace(BEAM.aberrations, C23=300, phi23=0.7, C30=1e4, C34=5e3, phi34=0.2))
    return replace(asked, detectors=("maadf", "abf"), beam=beam, tilt_mrad=(0.0, 0.0), phonons=1, lattice_average="point group")


def test_the_point_group_is_that_of_turned_configurations(upright: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 configurations, the request's with its atoms turned by each of 4mm and moved by each of four translations, as so many specimens."""
    averaged, (height, width) = values(upright), upright.sample.size_angstrom
    turns = point_group(upright.sample)
    assert len(turns) == 8
    places = []
    for turn in turns:
        turned = np.identity(3)
        turned[:2, :2] = np.array(turn.matrix)[::-1, ::-1]
        for step in lattice_translations(upright.sample).vectors(upright.sample.size_angstrom):
            whole = np.array([turn.step[1] * width + step[0], turn.step[0] * height + step[1], 0.0])
            places.append(slice_stacks.positions(upright, 0) @ turned.T + whole)
    monkeypatch.setattr(slice_stacks, "positions", lambda _, number: places[number])
    close(averaged, values(replace(upright, phonons=len(places), lattice_average=False, seed=99)))


def test_turned_probes_see_a_turned_average(upright: Request) -> None:
    """The average at points moved by a turn, for the aberrations that belong to them, is that at the points; without turning these it is not."""
    averaged, (height, width) = values(upright), upright.sample.size_angstrom
    for turn in point_group(upright.sample)[1:]:
        at = POINTS.positions_angstrom @ np.array(turn.matrix)[::-1, ::-1].T + np.array([turn.step[1] * width, turn.step[0] * height])
        inverse = PlaneSymmetry(matrix=((turn.matrix[0][0], turn.matrix[1][0]), (turn.matrix[0][1], turn.matrix[1][1])))
        beam = replace(upright.beam, aberrations=inverse.aberrations(upright.beam.aberrations))
        close(values(replace(upright, scan=PathScan(positions_angstrom=at), beam=beam)), averaged)
        assert np.abs(values(replace(upright, scan=PathScan(positions_angstrom=at)))[0] / averaged[0] - 1).max() > 0.01


def test_the_point_group_is_found_said_and_kept(upright: Request) -> None:
    """A plan and a result name it; an operator from disk has its bits; an oblong cell has mirrors and the half turn; a vacancy ends them."""
    automatic = replace(upright, phonons="auto")
    plan = make_plan(automatic)
    assert plan.average is not None
    assert (plan.configurations, len(plan.average.turns)) == (2, 8)
    first, data = values(upright), simulate(upright)
    assert "4 lattice translations and the 8 rotations and mirrors of its point group" in data.attrs["engine_error"]
    operator_cache.clear()
    np.testing.assert_array_equal(values(upright), first)
    assert operator_cache.physics_key(upright, make_plan(upright)) != operator_cache.physics_key(*_plain(upright))
    sample = upright.sample
    assert isinstance(sample, Sample)
    oblong = load_sample("srtio3-001", size_angstrom=(4, 8), thickness_angstrom=4)
    assert {turn.swaps for turn in point_group(oblong)} == {False}
    assert len(point_group(oblong)) == 4
    moved = sample.positions_angstrom.copy()
    moved[0, :2] += (0.3, 0.1)
    assert len(point_group(replace(sample, positions_angstrom=moved, recipe=""))) == 1
    wide = replace(upright, grid=(64, 72))
    assert (found := make_plan(wide).average) is not None
    assert len(found.turns) == 4


def _plain(request: Request) -> tuple[Request, Plan]:
    """Return a request averaged over translations alone, and its plan."""
    plain = replace(request, lattice_average=True)
    return plain, make_plan(plain)


def test_turns_are_for_upright_probes_and_round_detectors(upright: Request) -> None:
    """Tilts, detectors with directions, patterns, other engines and crystals without symmetry are refused with the repair."""
    for settings, said in (
        ({"tilt_mrad": (1.0, 0.0)}, "does not support tilts"),
        ({"beam": BEAM}, "does not support tilts"),
        ({"detectors": ("maadf", "dpc4")}, "'dpc4' is not the same in all directions"),
        ({"engine": "multislice"}, "engine='multislice' does not compute"),
    ):
        with pytest.raises(SettingsError, match=said):
            make_plan(replace(upright, **settings))
    with pytest.raises(SettingsError, match="diffraction patterns"):
        explain(replace(upright, detectors=("pixelated",), beam=replace(upright.beam, source_size_angstrom=0.0)))
    with pytest.raises(SettingsError, match="spectra"):
        densities(upright.sample, upright.beam, POINTS, (LossChannel(name="Ti", numbers=(22,), d50=1.0),), lattice_average="point group", phonons=2)
    with pytest.raises(SettingsError, match="does not map a square onto itself"):
        PlaneSymmetry(matrix=((1, 1), (0, 1)))
    assert make_plan(replace(upright, engine="auto")).engine == "operator"


@pytest.mark.slow
def test_the_point_group_lowers_the_error_further(upright: Request) -> None:
    """Over seeds, the mean square deviation of a maadf image from the mean of both is smaller with turns, at the same mean within the errors."""
    small = replace(upright, detectors=("maadf",))
    runs = {flag: np.array([values(replace(small, lattice_average=flag, seed=seed))[0] for seed in range(40)]) for flag in (True, "point group")}
    plain, turned = (run.var(axis=0, ddof=1).mean() for run in runs.values())
    assert plain / turned > 2
    means, error = [run.mean(axis=0) for run in runs.values()], np.sqrt(plain / 40)
    assert np.sqrt(np.square(means[0] - means[1]).mean()) < 1.5 * error


# ---- asking for it ---------------------------------------------------------------------------------------------------------------------


def test_auto_takes_as_few_configurations_as_reach_the_error_of_eight(asked: Request) -> None:
    """Two or a few more for four translations; plan and result say so; the error is near that of eight, or below."""
    automatic = replace(asked, phonons="auto", detectors=("maadf",))
    plan = explain(automatic)
    assert (plan.configurations, plan.most_configurations) == (2, 8)
    assert any("averaged over its 4 lattice translations" in note for note in plan.notes)
    reported: list[int] = []
    data = simulate(automatic, progress=reported.append)
    operator = operator_cache.operator_for(automatic, plan)
    assert 2 <= operator.configurations <= 4
    assert f'"configurations": {operator.configurations}' in data.attrs["stemtwin_settings"]
    assert f"{operator.configurations} phonon configurations averaged over 4 lattice translations: standard error" in data.attrs["engine_error"]
    assert data.maadf.attrs["relative_standard_error"] == pytest.approx(operator.standard_error[0])
    assert sum(reported) == plan.waves
    whole = operator_cache.operator_for(*(each := replace(automatic, lattice_average=False), explain(each))[:2])
    assert whole.configurations == 8
    assert operator.average is not None
    assert operator.average.plain_error[0] == pytest.approx(whole.standard_error[0], rel=0.6)
    assert operator.standard_error[0] < 1.3 * operator.average.plain_error[0]


def test_an_operator_from_disk_has_the_same_average(asked: Request) -> None:
    """Bits, number of configurations and errors come back from disk."""
    automatic = replace(asked, phonons="auto")
    first, operator = values(automatic), operator_cache.operator_for(automatic, explain(automatic))
    operator_cache.clear()
    np.testing.assert_array_equal(values(automatic), first)
    again = operator_cache.operator_for(automatic, explain(automatic))
    assert again is not operator
    assert again.average is not None
    assert operator.average is not None
    assert (again.configurations, again.average.translations) == (operator.configurations, operator.average.translations)
    np.testing.assert_array_equal(again.average.plain_error, operator.average.plain_error)


def test_a_number_of_configurations_is_their_mean_as_they_are(asked: Request) -> None:
    """Only phonons='auto' is averaged by 'auto'; the average is part of the operator's key."""
    assert make_plan(asked).average is None
    keys = {
        operator_cache.physics_key(each, make_plan(each))
        for each in (
            asked,
            replace(asked, lattice_average=True),
            replace(asked, phonons="auto"),
            replace(asked, phonons="auto", lattice_average=False),
        )
    }
    assert len(keys) == 4
    same = replace(asked, lattice_average=False)
    assert operator_cache.physics_key(same, make_plan(same)) == operator_cache.physics_key(asked, make_plan(asked))


@pytest.mark.parametrize("phonons", ["static", "damped"])
def test_still_atoms_need_no_average(asked: Request, phonons: str) -> None:
    """The image of atoms that do not move has the lattice's symmetry already."""
    assert make_plan(replace(asked, phonons=phonons, lattice_average=True)).average is None


def test_what_cannot_be_averaged_is_refused(asked: Request, make_perovskite: Callable[..., Sample]) -> None:
    """No lattice in the cell, an engine without images of whole cells, a word that is none."""
    with pytest.raises(SettingsError, match=r"lattice_average=True needs a perfect crystal, .* within 0.001 A"):
        make_plan(replace(asked, sample=make_perovskite(1), lattice_average=True))
    with pytest.raises(SettingsError, match="engine='multislice' does not compute"):
        make_plan(replace(asked, engine="multislice", lattice_average=True))
    with pytest.raises(SettingsError, match="engine='multislice' does not compute"):
        explain(replace(asked, engine="multislice", lattice_average=True, detectors=("pixelated",), beam=Beam(energy_ev=200e3, semiangle_mrad=20)))
    for wrong in ("yes", 2):
        with pytest.raises(SettingsError, match="lattice_average="):
            replace(asked, lattice_average=wrong)
    assert make_plan(replace(asked, engine="multislice", phonons="auto")).configurations == 8


def test_a_specimen_that_the_beam_changes_is_not_averaged() -> None:
    """A microscope averages a perfect crystal, and with damage only where that is asked for."""
    field = RasterScan(shape=(4, 4), field_of_view_angstrom=(4, 4))
    for settings, averaged in (({}, True), ({"damage": True}, False), ({"lattice_average": False}, False), ({"phonons": 2}, False)):
        scope = Microscope(load_sample("graphene", size_angstrom=(10, 10)), engine="operator", **settings)
        request = imaging_requests.request(scope._setup, scope.snapshot(), field, ("haadf",))
        assert (make_plan(request).average is not None) == averaged


def test_what_was_released_is_not_averaged() -> None:
    """The environments' operators, even with phonons='auto', and the generator's images."""
    from stemtwin.twin.envs.families import autofocus_v1
    from stemtwin.twin.envs.families.autofocus import Autofocus

    request, plan = autofocus_v1._prepared(autofocus_v1.AutofocusV1(phonons="auto"))
    assert (request.lattice_average, plan.average, plan.configurations) == (False, None, 8)
    assert Autofocus().phonons == 4
