"""Ronchigrams: the aperture without a specimen, shadow images with it, and how far the grating is from multislice."""

import dataclasses
import json
import math

import numpy as np
import pytest

import stemtwin
from stemtwin.twin.errors import SamplingError, SettingsError, UnknownNameError
from stemtwin.twin.instrument import simulation
from stemtwin.twin.instrument.detectors import PixelatedDetector
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation import memory
from stemtwin.twin.instrument.simulation.ronchigram import ronchigram
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample

WIDE = Beam(energy_ev=200e3, semiangle_mrad=30, aberrations=Aberrations(C10=-120, C12=20, phi12=0.5, C30=1e4))
SMALL = PixelatedDetector(shape=(64, 64), outer_mrad=36, name="ronchigram")


def carbon(thickness: float, side: float = 24.0, seed: int = 0) -> Sample:
    """An amorphous film of carbon, 0.09 atoms per cubic A, no two nearer than 1.3 A."""
    rng, kept = np.random.default_rng(seed), np.empty((0, 3))
    for point in rng.uniform(0, 1, (int(0.4 * side**2 * thickness), 3)) * [side, side, thickness]:
        away = np.abs(kept - point)
        away[:, :2] = np.minimum(away[:, :2], side - away[:, :2])
        if not len(kept) or (away**2).sum(axis=1).min() > 1.3**2:
            kept = np.vstack([kept, point])
    return Sample(
        name="carbon",
        numbers=np.full(len(kept), 6),
        positions_angstrom=kept,
        size_angstrom=(side, side),
        thickness_angstrom=thickness,
    )


def test_without_a_specimen_it_is_the_aperture() -> None:
    """An evenly lit disc with its edge at the convergence, whatever the aberrations, holding the whole beam."""
    nothing = PotentialSlices(array=np.zeros((1, 256, 256)), sampling_angstrom=(0.09, 0.09), z_angstrom=np.zeros(1))
    data = ronchigram(nothing, WIDE, camera=SMALL, check=False)["ronchigram"]
    angle = np.hypot(data["ky"], data["kx"])
    inside = data.where(angle < 28)
    assert float(inside.max() / inside.min()) == pytest.approx(1, abs=1e-4)
    assert float(data.where(angle > 32).max()) < 1e-8
    assert float(data.sum()) == pytest.approx(1, abs=1e-5)
    area = math.pi * 30**2 / SMALL.pixel_mrad**2
    assert float(inside.mean()) == pytest.approx(1 / area, rel=0.02)


@pytest.mark.parametrize("defocus", [400.0, -800.0])
def test_defocus_magnifies_the_shadow(defocus: float) -> None:
    """A weak wave of period d gives fringes of period d / C10 in angle: the shadow image has the scale C10 (1 %)."""
    points, side, periods = 540, 48.0, 12
    v = 3.0 * np.cos(2 * np.pi * periods * np.arange(points) / points) * np.ones((points, 1))
    film = PotentialSlices(array=v[None], sampling_angstrom=(side / points, side / points), z_angstrom=np.zeros(1))
    beam = Beam(energy_ev=200e3, semiangle_mrad=25, aberrations=Aberrations(C10=defocus))
    camera = PixelatedDetector(shape=(192, 192), outer_mrad=30)
    pattern = ronchigram(film, beam, camera=camera, check=False)["pixelated"]
    line = pattern.sel(ky=slice(-8, 8)).mean("ky").to_numpy()
    kx = pattern["kx"].to_numpy()
    taper = np.where(np.abs(kx) < 20, np.cos(np.pi * kx / 40) ** 2, 0)
    line = (line - np.average(line, weights=taper)) * taper
    frequencies = np.linspace(0.5, 1.5, 4000) * abs(defocus) / (side / periods) * 1e-3  # fringes per mrad
    strength = np.abs(np.exp(-2j * np.pi * np.outer(frequencies, kx)) @ line)
    assert frequencies[strength.argmax()] == pytest.approx(abs(defocus) / (side / periods) * 1e-3, rel=0.01)


def test_a_film_in_one_plane_is_exact() -> None:
    """Where all atoms lie in one plane, the grating is multislice; the remaining 1e-3 is the finer grid of the other."""
    film = carbon(0.8)
    sheet = dataclasses.replace(film, positions_angstrom=film.positions_angstrom * [1, 1, 0])
    ours, exact = (ronchigram(sheet, WIDE, camera=SMALL, engine=name)["ronchigram"].to_numpy() for name in ("grating", "multislice"))
    assert np.abs(ours - exact).max() < 2e-3 * exact.max()
    assert ours.std() > 0.3 * ours.mean()


def test_the_error_against_multislice_is_stated_and_grows_with_thickness() -> None:
    """The rms in attrs is what comparing the two patterns gives; a film four times as thick is further off."""
    found = []
    for thickness in (4.0, 16.0):
        film = carbon(thickness)
        made = {name: ronchigram(film, WIDE, camera=SMALL, engine=name) for name in ("grating", "multislice")}
        ours, exact = made["grating"]["ronchigram"], made["multislice"]["ronchigram"]
        disc = (np.hypot(ours["ky"], ours["kx"]) < 30).to_numpy()
        difference = (ours - exact).to_numpy()[disc]
        rms = float(np.sqrt((difference**2).mean()) / exact.to_numpy()[disc].mean())
        stated = made["grating"].attrs["engine_error"]
        assert f"rms {rms:.2e}" in stated
        assert "C10=-120 A" in stated
        assert made["multislice"].attrs["engine_error"].startswith("reference")
        found.append(rms)
    assert 0 < found[0] < found[1]


def test_new_optics_need_no_new_film(monkeypatch) -> None:
    """Aberrations, position, source and focal spread use the film that is there; another film, camera or convergence does not."""
    film, made = carbon(3.0), []
    works = simulation.ronchigram.make
    monkeypatch.setattr(simulation.ronchigram, "make", lambda *arguments: made.append(1) or works(*arguments))
    simulation.ronchigram.clear()
    ronchigram(film, WIDE, camera=SMALL, check=False)
    for change in ({"aberrations": Aberrations(C10=-110, C23=100)}, {"focal_spread_angstrom": 5.0}):
        ronchigram(film, dataclasses.replace(WIDE, **change), camera=SMALL, position_angstrom=(3.0, 1.0), check=False)
    assert len(made) == 1
    ronchigram(film, dataclasses.replace(WIDE, semiangle_mrad=25), camera=SMALL, check=False)
    ronchigram(film, WIDE, camera=dataclasses.replace(SMALL, shape=(32, 32)), check=False)
    assert len(made) == 3


@pytest.mark.parametrize("kind", ["focal_spread_angstrom", "source_size_angstrom"])
def test_partial_coherence_is_the_mean_over_source_and_focus(kind: str) -> None:
    """The pattern is the Gaussian mean of coherent ones, here by the trapezoidal rule: 1e-3 of the brightest; attrs say of how many."""
    film, width = carbon(3.0), {"focal_spread_angstrom": 12.0, "source_size_angstrom": 0.25}[kind]
    data = ronchigram(film, dataclasses.replace(WIDE, **{kind: width}), camera=SMALL, check=False)
    assert data.attrs["patterns_averaged"] > 2
    nodes = np.linspace(-4, 4, 21)
    weights = np.exp(-(nodes**2) / 2)
    weights /= weights.sum()
    mean = np.zeros(SMALL.shape_read)
    if kind == "focal_spread_angstrom":
        for t, w in zip(nodes, weights, strict=True):
            state = dataclasses.replace(WIDE.aberrations, C10=WIDE.aberrations.C10 + width * t)
            mean += w * ronchigram(film, dataclasses.replace(WIDE, aberrations=state), camera=SMALL, check=False)["ronchigram"].to_numpy()
    else:
        for t, w in zip(nodes, weights, strict=True):
            for u, v in zip(nodes, weights, strict=True):
                at = (width * t, width * u)
                mean += w * v * ronchigram(film, WIDE, camera=SMALL, check=False, position_angstrom=at)["ronchigram"].to_numpy()
    assert np.abs(data["ronchigram"].to_numpy() - mean).max() < 1e-3 * mean.max()


def test_crystals_and_phonons(thermal) -> None:
    """A small cell is repeated over the window; frozen phonons are averaged; moving the probe by a lattice vector changes nothing."""
    data = ronchigram(thermal, WIDE, camera=SMALL, phonons=2, check=False)
    moved = ronchigram(thermal, WIDE, camera=SMALL, phonons=2, check=False, position_angstrom=(3.905, 2 * 3.905))
    assert data.attrs["patterns_averaged"] == 2
    assert min(json.loads(data.attrs["stemtwin_settings"])["window_angstrom"]) >= WIDE.wavelength_angstrom / (SMALL.pixel_mrad * 1e-3) * 0.999
    np.testing.assert_allclose(moved["ronchigram"], data["ronchigram"], atol=1e-5 * float(data["ronchigram"].max()))


def test_the_default_camera_is_512_wide(static) -> None:
    """512 x 512 pixels to 1.25 times the convergence, under the front door's name."""
    beam = Beam(energy_ev=200e3, semiangle_mrad=20, aberrations=Aberrations(C10=-50))
    data = stemtwin.ronchigram(static, beam, check=False)
    assert data["ronchigram"].shape == (512, 512)
    assert float(data["kx"][-1]) == pytest.approx(25 - data["ronchigram"].attrs["pixel_mrad"] / 2)


def test_what_cannot_be_done_is_refused(static, make_perovskite, monkeypatch) -> None:
    """Each with a sentence."""
    coarse = PotentialSlices(array=np.zeros((1, 64, 64)), sampling_angstrom=(0.4, 0.4), z_angstrom=np.zeros(1))
    with pytest.raises(SamplingError, match=r"points at most 0\.1\d* A apart"):
        ronchigram(coarse, WIDE, camera=SMALL)
    with pytest.raises(SamplingError, match="is not periodic"):
        ronchigram(make_perovskite(2, 1, sigma=None, periodic=False), WIDE, camera=SMALL)
    with pytest.raises(SettingsError, match="no engine named 'operator'"):
        ronchigram(static, WIDE, engine="operator")
    with pytest.raises(SettingsError, match="has no grid"):
        ronchigram(static, WIDE, grid=(64, 64))
    with pytest.raises(SettingsError, match="is not a camera"):
        ronchigram(static, WIDE, camera="haadf")
    with pytest.raises(UnknownNameError, match="Did you mean 'ronchigram'"):
        ronchigram(static, WIDE, camera="ronchgram")
    with pytest.raises(SettingsError, match="cannot be created"):
        ronchigram(static, WIDE, colour=3)
    far = dataclasses.replace(WIDE, aberrations=Aberrations(C10=1e5))
    with pytest.raises(SettingsError, match=r"points and needs about .* GiB, more than is available"):
        ronchigram(static, far)
    monkeypatch.setattr(memory, "fits", lambda _: False)
    simulation.ronchigram.clear()
    with pytest.raises(SettingsError, match="more than is available"):
        ronchigram(static, WIDE, camera=SMALL)
