"""The quick start of the design, line by line."""

import numpy as np
import pytest
from ase.build import bulk

import stemtwin as st


@pytest.mark.parametrize(
    ("thickness", "side", "shape", "phonons"),
    [(8, 4, 16, 2), pytest.param(100, 16, 128, "auto", marks=[pytest.mark.slow, pytest.mark.timeout(1200)])],
)
def test_the_design_runs_as_written(thickness: float, side: float, shape: int, phonons: int | str) -> None:
    """Every line of the design's front door runs: small here, with the design's own sizes among the slow tests."""
    size = (side, side)
    sample = st.load_sample("srtio3-001", thickness_angstrom=thickness, seed=0, size_angstrom=size)
    assert "srtio3-001" in st.list_samples()
    beam = st.Beam(energy_ev=200e3, semiangle_mrad=20, aberrations=st.Aberrations(C10=-50.0), source_size_angstrom=0.3, focal_spread_angstrom=30)
    scan = st.RasterScan(shape=(shape, shape), field_of_view_angstrom=size, origin_angstrom=(0, 0), rotation_rad=0)
    signals = st.simulate(
        sample,
        beam,
        scan,
        detectors=("haadf", st.AnnularDetector(inner_mrad=60, outer_mrad=120)),
        engine="auto",
        phonons=phonons,
        seed=0,
        grid=None,
        sampling_angstrom=None,
        slice_thickness_angstrom=None,
        parametrization="kirkland",
        antialias=True,
        oversampling=2,
    )
    assert set(signals) == {"haadf", "annular_60_120"}
    request = st.Request(sample=sample, beam=beam, scan=scan, detectors=("haadf",), phonons=phonons)
    np.testing.assert_allclose(st.simulate(request).haadf, signals.haadf, rtol=1e-4)
    assert "operator" in str(st.explain(request))
    wave = st.exit_wave(sample, st.PlaneWave(energy_ev=200e3))
    assert float((wave.wave_real**2 + wave.wave_imag**2).mean()) == pytest.approx(1, abs=0.05)

    scope = st.Microscope(sample, instrument="corrected-200kv", seed=1, phonons=phonons)
    scope.set(C10=-50, current_pa=50, semiangle_mrad=20)
    assert scope.settings.aberrations.defocus == 50
    assert scope.truth()["C10_angstrom"] == -50
    frame = scope.acquire(scan, dwell_time_us=4, frames=1, detectors=("haadf", "abf"))
    assert frame.haadf.shape == (shape, shape)
    assert frame.haadf.attrs["units"] == "adu"


def test_waves_of_a_convergent_beam_need_a_cell_that_holds_the_probe() -> None:
    """`exit_wave(sample, beam, position_angstrom=(x, y))` on a cell of 16 A."""
    sample = st.load_sample("graphene", size_angstrom=(16, 16))
    wave = st.exit_wave(sample, st.Beam(energy_ev=60e3, semiangle_mrad=30), position_angstrom=(3, 4))
    intensity = (wave.wave_real**2 + wave.wave_imag**2)[0].to_numpy()
    iy, ix = np.unravel_index(int(intensity.argmax()), intensity.shape)
    assert (float(wave.x[ix]), float(wave.y[iy])) == pytest.approx((3, 4), abs=0.2)


def test_atoms_of_ase_become_pictures() -> None:
    """`Sample.from_ase` with a sigma by symbol goes straight into the microscope."""
    sample = st.Sample.from_ase(bulk("Au", cubic=True), thermal_sigma_angstrom={"Au": 0.085})
    scan = st.RasterScan(shape=(8, 8), field_of_view_angstrom=(4.08, 4.08))
    assert int(st.Microscope(sample, instrument="ideal", phonons=1).acquire(scan).haadf.sum()) > 100
