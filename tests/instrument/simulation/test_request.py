"""A simulation as one value: checks, and the way to a file and back."""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from stemtwin.twin.errors import SettingsError, StemtwinError, StructureFileError, UnknownNameError
from stemtwin.twin.instrument.detectors import AnnularDetector, SegmentedDetector
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation import operator_cache, slice_stacks
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.defects import substitute
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.readers.read_sample import read_sample
from stemtwin.twin.samples.sample import Sample


@pytest.fixture
def request_(static: Sample, beam: Beam, raster: RasterScan) -> Request:
    """Return a request with nothing but what is needed."""
    return Request(sample=static, beam=beam, scan=raster)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sample": "srtio3-001"}, "sample='srtio3-001' is not a Sample"),
        ({"beam": 200e3}, "is not a Beam"),
        ({"scan": (128, 128)}, "is not a RasterScan"),
        ({"engine": "loca"}, "no engine named 'loca'.*multislice"),
        ({"phonons": "frozen"}, "phonons='frozen' is not known"),
        ({"phonons": 4}, "phonons=4 needs thermal displacements.*thermal_sigma_angstrom"),
        ({"phonons": "damped"}, "phonons='damped' needs thermal displacements"),
        ({"phonons": 0}, "phonons=0 must be a whole number"),
        ({"grid": (64, 64), "sampling_angstrom": 0.05}, "Both grid"),
        ({"grid": 64}, "grid=64 is not a pair"),
        ({"grid": (64, 4)}, r"grid\[1\]=4"),
        ({"sampling_angstrom": 0}, "sampling_angstrom"),
        ({"slice_thickness_angstrom": -1}, "slice_thickness_angstrom=-1"),
        ({"parametrization": "doyle"}, "doyle"),
        ({"oversampling": 8}, "oversampling=8"),
        ({"seed": -1}, "seed=-1"),
        ({"detectors": ()}, "does not name a detector"),
    ],
)
def test_settings_that_make_no_sense_are_refused(request_: Request, wrong: dict[str, Any], said: str) -> None:
    """Each wrong setting, and each contradiction, has its own sentence."""
    with pytest.raises(SettingsError, match=said):
        replace(request_, **wrong)
    with pytest.raises(UnknownNameError, match="haadf"):
        replace(request_, detectors=("haadff",))


def test_thermal_motion_follows_from_phonons_and_sample(request_: Request, thermal: Sample) -> None:
    """'auto' is 8 configurations where there are sigmas, else static; a number is that many."""
    assert (request_.configurations, request_.thermal_motion) == (1, "static")
    shaken = replace(request_, sample=thermal)
    assert (shaken.configurations, shaken.thermal_motion) == (8, "frozen")
    assert (replace(shaken, phonons=np.int64(3)).configurations, replace(shaken, phonons=3).thermal_motion) == (3, "frozen")
    assert (replace(shaken, phonons="damped").configurations, replace(shaken, phonons="damped").thermal_motion) == (1, "damped")
    assert (replace(shaken, phonons="static").configurations, replace(shaken, phonons="static").thermal_motion) == (1, "static")


def round_trip(request: Request, folder: Path) -> Any:
    """Return a request as it comes back from a file, having checked that it is the same."""
    path = folder / "request.toml"
    request.save(path)
    back = Request.load(path)
    assert back.to_dict() == request.to_dict()
    return back


@pytest.mark.parametrize("name", ["srtio3-001", "graphene-si"])
def test_a_library_sample_travels_as_its_recipe(request_: Request, tmp_path: Path, name: str) -> None:
    """The file has a name and a size, not thousands of positions, and the same atoms come back."""
    sample = load_sample(name, size_angstrom=(8, 9), seed=3)
    back = round_trip(replace(request_, sample=sample), tmp_path)
    assert back.sample.digest == sample.digest
    assert (tmp_path / "request.toml").stat().st_size < 2000


def test_knobs_and_defects_travel(request_: Request, tmp_path: Path) -> None:
    """A library sample with its knobs turned comes back by its recipe, one that was changed further by its arrays: with the same defects."""
    sample = load_sample("mos2-1h", size_angstrom=(8, 9), seed=3, vacancy_fraction=0.1, metal_fraction=0.2)
    for one in (sample, substitute(sample, [0], "Cr")):
        assert one.defects
        back = round_trip(replace(request_, sample=one), tmp_path).sample
        assert isinstance(back, Sample)
        assert (back.digest, back.defects, back.name) == (one.digest, one.defects, one.name)


def test_a_sample_from_a_file_travels_as_its_recipe(request_: Request, tmp_path: Path, real_file: Callable[[str], Path]) -> None:
    """The file is read again with the same settings; a file that has changed, or is gone, is an error."""
    structure = tmp_path / "structure.cif"
    structure.write_bytes(real_file("cod_2100513.cif").read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        sample = read_sample(structure, size_angstrom=(5, 5), thickness_angstrom=5, thermal_sigma_angstrom=0.07)
        back = round_trip(replace(request_, sample=sample, phonons=2), tmp_path)
        assert back.sample.digest == sample.digest
        structure.write_text(structure.read_text() + "\n# changed\n")
        with pytest.raises(StructureFileError, match="changed"):
            Request.load(tmp_path / "request.toml")


def test_a_sample_from_arrays_travels_as_arrays(request_: Request, thermal: Sample, tmp_path: Path) -> None:
    """Without a recipe, every number of the sample is in the file and comes back to the last bit."""
    changed = replace(thermal, notes=("shaken, not stirred",), strain=0.001, periodic=False)
    for sample in (thermal, changed, request_.sample):
        back = round_trip(replace(request_, sample=sample, phonons="auto"), tmp_path).sample
        assert isinstance(back, Sample)
        assert isinstance(sample, Sample)
        assert back.positions_angstrom.tobytes() == sample.positions_angstrom.tobytes()
        assert (back.digest, back.name, back.notes, back.strain) == (sample.digest, sample.name, sample.notes, sample.strain)


def test_a_changed_sample_does_not_travel_as_what_it_was(request_: Request, tmp_path: Path) -> None:
    """Atoms moved after loading keep the recipe of the unmoved ones; the file must hold the moved ones."""
    sample = load_sample("srtio3-001", size_angstrom=(4, 4), thickness_angstrom=4)
    moved = replace(sample, positions_angstrom=sample.positions_angstrom + 0.01)
    assert round_trip(replace(request_, sample=moved), tmp_path).sample.digest == moved.digest


def test_a_recipe_that_now_makes_something_else_is_refused(request_: Request) -> None:
    """The digest in the file is compared: a library that has changed does not pass unnoticed."""
    data = replace(request_, sample=load_sample("srtio3-001", size_angstrom=(4, 4), thickness_angstrom=4)).to_dict()
    data["sample"]["thickness_angstrom"] = 8.0
    with pytest.raises(SettingsError, match=r"srtio3-001.*differs from the one that was written.*remove the digest"):
        Request.from_dict(data)
    del data["sample"]["digest"]
    assert Request.from_dict(data).sample.thickness_angstrom == pytest.approx(7.81)


def test_a_potential_travels_as_its_numbers(request_: Request, tmp_path: Path) -> None:
    """A potential given as slices comes back to the last bit."""
    rng = np.random.default_rng(0)
    potential = PotentialSlices(array=rng.normal(size=(2, 8, 10)), sampling_angstrom=(0.1, 0.2), z_angstrom=np.array([0.1, 1 / 3]))
    back = round_trip(replace(request_, sample=potential), tmp_path).sample
    assert isinstance(back, PotentialSlices)
    assert back.array.tobytes() == potential.array.tobytes()
    assert back.z_angstrom.tobytes() == potential.z_angstrom.tobytes()


FLOATS = st.floats(-1e4, 1e4)


@given(
    aberrations=st.builds(Aberrations, C10=FLOATS, C12=FLOATS, phi12=st.floats(-4, 4), C30=st.floats(-1e7, 1e7)),
    energy=st.floats(1e3, 3e6),
    points=st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=4),
    detectors=st.sets(st.sampled_from(["haadf", "bf", "dpc4"]), min_size=1).map(tuple),
    inner=st.floats(0, 50),
    seed=st.integers(0, 2**128),
    sampling=st.none() | st.floats(1e-3, 1) | st.tuples(st.floats(1e-3, 1), st.floats(1e-3, 1)),
)
def test_every_number_survives_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    static: Sample,
    aberrations: Aberrations,
    energy: float,
    points: list,
    detectors: tuple,
    inner: float,
    seed: int,
    sampling: Any,
) -> None:
    """TOML keeps every bit of every float and of 128-bit seeds; None is left out."""
    rings = (
        AnnularDetector(inner_mrad=inner, outer_mrad=60, name="ring"),
        SegmentedDetector(inner_mrad=inner, outer_mrad=60, segments=4, rotation_rad=0.1),
    )
    asked = Request(
        sample=static,
        beam=Beam(energy_ev=energy, semiangle_mrad=20, aberrations=aberrations, source_size_angstrom=0.3),
        scan=PathScan(positions_angstrom=np.array(points)),
        detectors=(*detectors, *rings),
        seed=seed,
        sampling_angstrom=sampling,
    )
    folder = tmp_path_factory.mktemp("request")
    back = round_trip(asked, folder)
    assert (back.beam, back.detectors, back.seed, back.sampling_angstrom) == (asked.beam, asked.detectors, seed, asked.sampling_angstrom)
    assert back.scan.positions().tobytes() == asked.scan.positions().tobytes()


def test_defaults_stay_defaults(request_: Request, tmp_path: Path) -> None:
    """What a file leaves out gets its default: sample, beam and scan are enough."""
    data = {name: value for name, value in request_.to_dict().items() if name in ("sample", "beam", "scan")}
    assert Request.from_dict(data).to_dict() == request_.to_dict()
    assert isinstance(round_trip(replace(request_, grid=(64, 50)), tmp_path).grid, tuple)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"optics": 1}, "unknown keys: optics"),
        ({"beam": None}, "no beam"),
        ({"beam": 3}, "beam=3 is not a table"),
        ({"beam": {"energy_ev": 2e5}}, "Beam cannot be created from"),
        ({"beam": {"energy_ev": 2e5, "semiangle_mrad": 20, "aberrations": {"C11": 3}}}, "Aberrations cannot be created from"),
        ({"scan": {"kind": "zigzag"}}, "kind='zigzag' of a scan is not known"),
        ({"detectors": [{"kind": "round"}]}, "kind='round' of a detector"),
        ({"detectors": 3}, "does not name a detector"),
        ({"sample": "srtio3-001"}, "is not a table"),
        ({"sample": {"kind": "library", "name": "srtio3-001", "colour": "red"}}, "colour"),
        ({"sample": {"kind": "wish"}}, "wish"),
        ({"sample": {"kind": "arrays", "name": "x"}}, "Sample cannot be created"),
    ],
)
def test_files_that_make_no_sense_are_refused(request_: Request, change: dict[str, Any], said: str) -> None:
    """Whatever is wrong with a request's plain values ends in one sentence, never in a traceback of ours."""
    data = {name: value for name, value in {**request_.to_dict(), **change}.items() if value is not None}
    with pytest.raises(StemtwinError, match=said):
        Request.from_dict(data)


def test_no_file_and_no_toml_are_refused(tmp_path: Path) -> None:
    """A missing file, a folder and a file without TOML each end in one sentence."""
    (tmp_path / "broken.toml").write_text("a = [1,")
    (tmp_path / "binary.toml").write_bytes(bytes(range(256)))
    (tmp_path / "empty.toml").write_bytes(b"")
    for name in ("missing.toml", ".", "broken.toml", "binary.toml", "empty.toml"):
        with pytest.raises(SettingsError, match=r"The request .* (cannot be read: |is not a TOML file|is empty)"):
            Request.load(tmp_path / name)


def test_a_write_that_fails_leaves_the_old_file(request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader never sees half a file: it is written beside the old one and put in its place whole."""
    path = tmp_path / "request.toml"
    request_.save(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace(request_, seed=1).save(path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["request.toml"]


def test_numbers_of_numpy_are_numbers(request_: Request) -> None:
    """Settings computed with numpy are stored as Python's numbers, so that they can be written."""
    asked = replace(request_, seed=np.uint64(2**63), oversampling=np.int32(2), sampling_angstrom=np.float32(0.05))
    assert [type(v) for v in (asked.seed, asked.oversampling, asked.sampling_angstrom)] == [int, int, tuple]
    assert math.isclose(asked.to_dict()["sampling_angstrom"][0], 0.05, rel_tol=1e-6)


def test_displacements_may_be_drawn_together(thermal: Sample, beam: Beam, raster: RasterScan) -> None:
    """Latin configurations differ from each other, from other numbers of them and from independent ones, in keys too; a number is needed."""
    asked = Request(sample=thermal, beam=beam, scan=raster, phonons=4, engine="operator")
    latin = replace(asked, displacements="latin")
    sigma = thermal.thermal_sigma_angstrom
    assert sigma is not None
    moved = np.stack([slice_stacks.positions(latin, number) - thermal.positions_angstrom for number in range(4)]) / sigma[:, None]
    intervals = np.sort(np.floor(4 * ndtr(moved)), axis=0)
    np.testing.assert_array_equal(intervals, np.broadcast_to(np.arange(4)[:, None, None], moved.shape))
    assert not np.allclose(slice_stacks.positions(replace(latin, phonons=5), 0), slice_stacks.positions(latin, 0))
    np.testing.assert_array_equal(slice_stacks.positions(replace(asked, phonons=5), 0), slice_stacks.positions(asked, 0))
    assert operator_cache.physics_key(latin, make_plan(latin)) != operator_cache.physics_key(asked, make_plan(asked))
    for settings in ({"phonons": "auto"}, {"phonons": "static"}, {"phonons": "damped"}, {"displacements": "sobol"}):
        with pytest.raises(SettingsError, match="displacements="):
            replace(latin, **settings)
