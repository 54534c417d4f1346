"""Derived signals by name: com, icom and idpc beside the detectors of ``simulate``."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from stemtwin.leaderboard.cli.listing import Kind, names
from stemtwin.twin.errors import SettingsError, StemtwinError
from stemtwin.twin.instrument.detectors import AnnularDetector, PixelatedDetector, SegmentedDetector
from stemtwin.twin.instrument.scan import PathScan, RasterScan, SparseScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation import pattern_analysis
from stemtwin.twin.instrument.simulation.derived_signals import DERIVED, derived
from stemtwin.twin.instrument.simulation.simulate import explain, simulate
from stemtwin.twin.physics import electrons, probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample

SIDE, POINTS = 12.0, 120
BEAM = Beam(energy_ev=200e3, semiangle_mrad=25, aberrations=Aberrations(C10=30, C12=8, phi12=0.4))
SCAN = RasterScan(shape=(12, 12), field_of_view_angstrom=(SIDE, SIDE))


def phase_object(strength: float = 2.0) -> PotentialSlices:
    """Return a thin potential with a few waves along both axes, not symmetric, in V A."""
    y, x = 2 * np.pi * np.mgrid[:POINTS, :POINTS] / POINTS
    v = np.cos(x) + 0.7 * np.cos(y - 0.5) + 0.5 * np.cos(2 * x + y) + 0.3 * np.sin(3 * y - x)
    return PotentialSlices(array=strength * v[None], sampling_angstrom=(SIDE / POINTS,) * 2, z_angstrom=np.zeros(1))


def seen_by_the_probe(values: np.ndarray, beam: Beam) -> np.ndarray:
    """Return a periodic array, correlated with the intensity of a probe on the same grid: the transfer is that of the probe's intensity."""
    k = np.fft.fftfreq(POINTS, SIDE / POINTS)
    pixel = (1 / SIDE, 1 / SIDE)
    radius = beam.semiangle_rad / beam.wavelength_angstrom
    a = probe.aperture(k[:, None], k, pixel, radius, antialias=False) * np.exp(
        -1j * probe.chi(beam.aberrations, k[:, None], k, beam.wavelength_angstrom)
    )
    intensity = np.abs(np.fft.ifft2(a)) ** 2
    transfer = np.conj(np.fft.fft2(intensity / intensity.sum()))
    return np.fft.ifft2(np.fft.fft2(values) * transfer).real


@pytest.mark.parametrize("strength", [2.0, 60.0])
def test_icom_of_a_phase_object_is_its_phase_times_the_transfer_of_the_probe(strength: float) -> None:
    """FT(iCOM) = FT(sigma V) FT(|probe|^2), weak or strong, with aberrations: rad, positive at the potential's maxima, mean zero (Lazic 2016)."""
    specimen = phase_object(strength)
    found = simulate(specimen, BEAM, SCAN, detectors=("icom", "com"), antialias=False, blocks=(1, 1))
    phase = electrons.interaction_constant(200e3) * specimen.array[0]
    law = seen_by_the_probe(phase - phase.mean(), BEAM)[::10, ::10]
    np.testing.assert_allclose(found["icom"], law, atol=1e-3 * np.ptp(law))
    assert found["icom"].attrs["units"] == "rad"
    assert found["icom"].attrs["boundary"] == "periodic"
    gradient = np.gradient(np.pad(law, 1, mode="wrap"), SIDE / 12)
    bent = gradient[1][1:-1, 1:-1] * BEAM.wavelength_angstrom / (2e-3 * np.pi)
    assert np.corrcoef(bent.ravel(), found["com_x"].to_numpy().ravel())[0, 1] > 0.95, "electrons go where the phase grows"
    assert found["com_x"].attrs["units"] == "mrad"


def test_com_is_that_of_the_patterns() -> None:
    """The moments of discs are the centre of mass of a camera's patterns, as far as its pixels are fine, with a tilted beam too: within 0.02 mrad."""
    specimen, beam = phase_object(20.0), replace(BEAM, beam_tilt_mrad=(2.0, -1.0))
    scan = replace(SCAN, shape=(3, 4))
    camera = PixelatedDetector(shape=(96, 96), outer_mrad=48)
    found = simulate(specimen, beam, scan, detectors=("com", camera))
    patterns = pattern_analysis.centre_of_mass(found["pixelated"])
    for name, tilt in (("com_y", -1.0), ("com_x", 2.0)):
        np.testing.assert_allclose(found[name], patterns[name], atol=0.02)
        assert abs(float(found[name].mean()) - tilt) < 0.5


def test_idpc_is_icom_where_phases_are_weak_and_slow() -> None:
    """Of a slow weak phase both integrals agree within a few percent, in rad; iDPC keeps to any number of segments of the instrument's own."""
    y = 2 * np.pi * np.arange(POINTS) / POINTS
    v = np.cos(y)[:, None] + np.cos(y)
    slow = PotentialSlices(array=v[None], sampling_angstrom=(SIDE / POINTS,) * 2, z_angstrom=np.zeros(1))
    beam = Beam(energy_ev=200e3, semiangle_mrad=25)
    found = simulate(slow, beam, SCAN, detectors=("idpc", "icom"))
    np.testing.assert_allclose(found["idpc"], found["icom"], atol=0.06 * np.ptp(found["icom"].to_numpy()))
    eight = simulate(slow, beam, SCAN, detectors=("idpc", SegmentedDetector(inner_mrad=5, outer_mrad=40, segments=8, name="dpc4")))
    np.testing.assert_allclose(eight["idpc"], found["icom"], atol=0.06 * np.ptp(found["icom"].to_numpy()))
    assert "segment" in eight["dpc4"].dims, "a detector that was asked for stays"


def test_other_signals_are_what_they_are_without_it(static: Sample, beam: Beam, raster: RasterScan) -> None:
    """A derived signal moves no bit of the others, leaves none of what only it needed, and is named in the settings."""
    plain = simulate(static, beam, raster, detectors=("bf", "haadf"))
    both = simulate(static, beam, raster, detectors=("bf", "icom", "haadf", "com"))
    assert list(both) == ["bf", "haadf", "icom", "com_y", "com_x"]
    for name in plain:
        xr.testing.assert_identical(both[name], plain[name])
    assert {both[name].dtype for name in both} == {np.dtype(np.float32)}
    assert json.loads(both.attrs["stemtwin_settings"])["derived"] == ["icom", "com"]
    grids = [explain(sample=static, beam=beam, scan=raster, detectors=each).grid for each in ("icom", "bf")]
    assert grids[0] == grids[1]


def test_engines_and_depths_give_it_alike(static: Sample, beam: Beam, raster: RasterScan) -> None:
    """Multislice and the operator agree, and every depth has its own."""
    settings: dict[str, Any] = {"detectors": ("com", "idpc", "icom"), "depths_angstrom": (0.5, 3.9)}
    one, other = (simulate(static, beam, raster, engine=engine, **settings) for engine in ("operator", "multislice"))
    for name in one:
        assert one[name].dims == ("depth", "y", "x")
        np.testing.assert_allclose(one[name], other[name], atol=5e-4 * float(np.ptp(other[name].to_numpy())))
    alone = simulate(static, beam, raster, detectors="icom", engine="operator")
    np.testing.assert_allclose(one["icom"].isel(depth=1), alone["icom"], atol=1e-4)


def test_a_turned_raster_is_integrated_along_its_own_axes() -> None:
    """The phase of a field turned by a quarter is the turned phase."""
    specimen, beam = phase_object(), Beam(energy_ev=200e3, semiangle_mrad=25)
    straight = simulate(specimen, beam, SCAN, detectors="icom")["icom"].to_numpy()
    turned = simulate(specimen, beam, replace(SCAN, rotation_rad=math.pi / 2), detectors="icom")["icom"].to_numpy()
    np.testing.assert_allclose(turned[2:-2, 2:-2], np.rot90(straight)[2:-2, 2:-2], atol=0.05 * np.ptp(straight))


@pytest.mark.parametrize(
    ("scan", "settings", "what"),
    [
        (PathScan(positions_angstrom=np.zeros((3, 2))), {"detectors": "icom"}, "Use a RasterScan"),
        (SparseScan(shape=(8, 8), field_of_view_angstrom=(4, 4), fraction=0.4), {"detectors": ("idpc",)}, "Use a RasterScan"),
        (SCAN, {"detectors": ("icom", "icom")}, "requested twice"),
        (
            SCAN,
            {"detectors": ("idpc", SegmentedDetector(inner_mrad=0, outer_mrad=20, name="dpc4"))},
            "does not contain that edge at semiangle_mrad=25",
        ),
    ],
)
def test_what_cannot_be_derived_is_refused_before_any_work(scan: Any, settings: dict[str, Any], what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path has no gradient, segments inside the disc see no edge: refused in one sentence, nothing computed."""
    monkeypatch.setattr("stemtwin.twin.physics.potential.transmission", lambda *_, **__: pytest.fail("computed"))
    with pytest.raises(StemtwinError, match=what):
        simulate(phase_object(), BEAM, scan, **settings)


def test_names_are_taken_once() -> None:
    """A detector with the name of a derived variable is refused."""
    mine = AnnularDetector(inner_mrad=0, outer_mrad=20, name="icom")
    with pytest.raises(SettingsError, match="both named icom"):
        simulate(phase_object(), BEAM, SCAN, detectors=("icom", mine))


def test_a_new_one_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function with the detectors that it needs is a derived signal: computed by name, listed beside the detectors."""
    monkeypatch.setattr(DERIVED, "_things", dict(DERIVED._things))
    monkeypatch.setattr(DERIVED, "_tags", dict(DERIVED._tags))

    @derived("contrast", lambda _: ("bf", "abf"))
    def contrast(data: xr.Dataset, _: Any) -> dict[str, xr.DataArray]:
        return {"contrast": data["bf"] - data["abf"]}

    found = simulate(phase_object(), BEAM, replace(SCAN, shape=(2, 2)), detectors=("bf", "contrast"))
    assert list(found) == ["bf", "contrast"]
    listed = names(Kind.DETECTORS)
    assert {"haadf", "eels"} <= set(listed)
    assert {name for name, tags in listed.items() if tags == ("derived",)} == {"icom", "idpc", "com", "contrast"}


def test_a_microscope_says_how_to_count_derived_signals(static: Sample) -> None:
    """Nothing counts idpc: the error names the detectors and functions that give it."""
    scope = Microscope(static, "ideal")
    scan = RasterScan(shape=(4, 4), field_of_view_angstrom=(2.0, 2.0))
    for asked in ("idpc", ("haadf", "icom")):
        with pytest.raises(SettingsError, match=r"is not counted.*'dpc4'.*pattern_analysis"):
            scope.acquire(scan, detectors=asked)
