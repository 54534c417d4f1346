"""Images and exit waves: one of each engine, and of every kind of scan."""

import numpy as np

import stemtwin as st
from tests.golden.arrays import variables
from tests.golden.registry import Arrays, case
from tests.golden.specimens import COHERENT, GRID, NARROW, PLACES, SPREAD, TURNED, crystal, disturbed, sheet

FIELD = st.RasterScan(shape=(8, 8), field_of_view_angstrom=(14, 14))
PATCH = st.RasterScan(shape=(8, 8), field_of_view_angstrom=(4, 4))


@case("image-multislice")
def multislice() -> Arrays:
    """Return a depth series of a tilted specimen under a tilted, aberrated beam, with two phonon configurations."""
    beam = st.Beam(energy_ev=200e3, semiangle_mrad=20, aberrations=COHERENT.aberrations, beam_tilt_mrad=(1.5, -1.0))
    data = st.simulate(
        crystal(),
        beam,
        TURNED,
        detectors=("haadf", "bf", "dpc4"),
        engine="multislice",
        phonons=2,
        seed=3,
        grid=GRID,
        tilt_mrad=(4.0, -3.0),
        depths_angstrom=(4.0, crystal().thickness_angstrom),
    )
    return variables(data, "expected")


@case("image-multislice-incoherent")
def incoherent() -> Arrays:
    """Return the signals of an incoherent beam and damped motion at a place, by multislice and by the operator."""
    found, place = {}, st.PathScan(positions_angstrom=np.array([(1.9, 1.0)]))
    for engine in ("multislice", "operator"):
        data = st.simulate(
            crystal(),
            SPREAD,
            place,
            detectors=("maadf", "bf"),
            engine=engine,
            phonons="damped",
            grid=(48, 48),
        )
        found |= variables(data, "expected", f"{engine}_")
    return found


@case("image-operator")
def operator() -> Arrays:
    """Return images with source size, focal spread, aberrations and beam tilt, dpc4 segments among them."""
    data = st.simulate(
        crystal(),
        SPREAD,
        TURNED,
        detectors=("haadf", "abf", "dpc4"),
        engine="operator",
        phonons=2,
        seed=3,
        grid=GRID,
    )
    return variables(data, "expected")


@case("image-scans")
def scans() -> Arrays:
    """Return the dark-field signal along every kind of scan, and where the beam goes."""
    kinds = {
        "raster": TURNED,
        "serpentine": st.SerpentineScan(shape=(6, 8), field_of_view_angstrom=(3, 4), rotation_rad=0.1),
        "sparse": st.SparseScan(shape=(8, 8), field_of_view_angstrom=(4, 4), fraction=0.4, seed=5),
        "spiral": st.SpiralScan(shape=(48,), diameter_angstrom=4.0, centre_angstrom=(1.0, 2.0)),
        "lissajous": st.LissajousScan(shape=(48,), field_of_view_angstrom=(3, 4), cycles=(3, 4)),
        "path": PLACES,
    }
    found = {}
    for name, scan in kinds.items():
        data = st.simulate(
            crystal(),
            COHERENT,
            scan,
            detectors=("maadf",),
            engine="operator",
            phonons="damped",
            grid=GRID,
        )
        found |= variables(data, "expected", f"{name}_")
        found[f"truth/{name}_positions"] = scan.positions()
    return found


@case("image-local", slow=True)
def local() -> Arrays:
    """Return the dark field of a sheet with vacancies by the local operator."""
    settings = {"engine": "local", "phonons": "damped", "tolerance": 0.05}
    return variables(st.simulate(disturbed(), COHERENT, FIELD, detectors=("haadf",), **settings), "expected")


@case("image-tiled")
def tiled() -> Arrays:
    """Return the bright field of a sheet with vacancies by operators on tiles."""
    data = st.simulate(
        disturbed(),
        COHERENT,
        FIELD,
        detectors=("bf", "abf"),
        engine="tiled",
        phonons="damped",
        tolerance=0.05,
    )
    return variables(data, "expected")


@case("image-prism")
def prism() -> Arrays:
    """Return images by the interpolated scattering matrix."""
    detectors = ("haadf", "bf", "dpc4")
    data = st.simulate(
        sheet(),
        NARROW,
        PATCH,
        detectors=detectors,
        engine="prism",
        phonons=2,
        seed=3,
        sampling_angstrom=0.11,
        interpolation=2,
    )
    return variables(data, "expected")


@case("image-abtem", slow=True)
def abtem() -> Arrays:
    """Return images by the other solver, and by multislice of the same request."""
    found = {}
    for engine in ("abtem", "multislice"):
        settings = {"antialias": False, "oversampling": 1, "sampling_angstrom": 0.11, "parametrization": "lobato"}
        data = st.simulate(
            sheet(),
            NARROW,
            PATCH,
            detectors=("haadf", "bf"),
            engine=engine,
            phonons=2,
            seed=3,
            **settings,
        )
        found |= variables(data, "expected", f"{engine}_")
    return found


@case("exit-wave")
def exit_wave() -> Arrays:
    """Return waves: of a plane wave at two depths, of a tilted probe, and of a potential given as slices."""
    plane = st.exit_wave(
        crystal(),
        st.PlaneWave(energy_ev=200e3),
        phonons=2,
        seed=1,
        grid=(32, 32),
        depths_angstrom=(4.0, 7.8),
    )
    beam = st.Beam(
        energy_ev=200e3,
        semiangle_mrad=12,
        aberrations=st.Aberrations(C10=-40, C30=1e5),
        beam_tilt_mrad=(1.0, 2.0),
    )
    cell = st.load_sample("graphene", size_angstrom=(15, 15))
    probe = st.exit_wave(cell, beam, position_angstrom=(5.0, 6.5), phonons="damped", grid=(72, 72))
    y, x = np.mgrid[:24, :24] / 24
    array = 40 * np.stack([np.cos(2 * np.pi * x) ** 2, np.sin(2 * np.pi * (x + y)) ** 2])
    slices = st.PotentialSlices(array=array, sampling_angstrom=(0.16, 0.17), z_angstrom=np.array([0.0, 2.0]))
    potential = st.exit_wave(slices, st.PlaneWave(energy_ev=80e3))
    found = {}
    for name, data in (("plane", plane), ("probe", probe), ("potential", potential)):
        found |= variables(data, "expected", f"{name}_")
    return found
