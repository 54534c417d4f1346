"""Two solvers on one Ronchigram: the certificate states the actual differences."""

import dataclasses

import numpy as np
import pytest

from stemtwin.twin.instrument.detectors import PixelatedDetector
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation import certify_ronchigram, ronchigram
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample

CAMERA = PixelatedDetector(shape=(48, 48), outer_mrad=32, name="ronchigram")
BEAM = Beam(energy_ev=200e3, semiangle_mrad=28, aberrations=Aberrations(C10=-150, C12=20, phi12=0.5, C30=1e4), focal_spread_angstrom=20)
OFF = 1.01
"""Signal of the stand-in for the other solver over that of ours."""


def film(thickness: float = 5.0, side: float = 22.0) -> Sample:
    """Return carbon atoms about the points of a lattice, at random depths, in motion."""
    rng = np.random.default_rng(3)
    points = np.stack(np.meshgrid(*[np.arange(14) * side / 14] * 2), axis=-1).reshape(-1, 2)
    places = np.column_stack([points + rng.uniform(0, 0.8, points.shape), rng.uniform(0, thickness, len(points))])
    return Sample(
        name="film",
        numbers=np.full(len(places), 6),
        positions_angstrom=places,
        size_angstrom=(side, side),
        thickness_angstrom=thickness,
        thermal_sigma_angstrom=np.full(len(places), 0.07),
    )


def asked(sample: Sample | PotentialSlices) -> Request:
    """Return the request of a Ronchigram of a film."""
    return ronchigram.ronchigram_request(sample, BEAM, (3.0, 5.0), CAMERA, "static", {})


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let our own solver, one percent too high, stand in for abTEM."""
    monkeypatch.setattr(certify_ronchigram, "_by_abtem", lambda shot, made, **_: OFF * shot.pixels(made))


def test_what_is_certified_is_what_there_is(other: None) -> None:
    """Another solver that is one percent too high is off by 1 % of the mean; grid, slices, the grating and thermal motion each have a line.

    The beam is coherent; the error of the grating is that of the Ronchigram itself, and the phonons' error falls with their number.
    """
    said: list[str] = []
    request = asked(film())
    found = certify_ronchigram.certify_ronchigram(request, progress=said.append)
    lines = {line.what: line for line in found.lines}
    assert [line.other / line.ours for line in found.lines[:2]] == pytest.approx([OFF] * 2, rel=1e-5)
    assert all(line.rms > OFF - 1 for line in found.lines[:2])  # the rms intensity exceeds the mean
    assert found.points == pytest.approx(np.pi * (28 / CAMERA.pixel_mrad) ** 2, rel=0.05)
    assert lines["ours, 1.5 times finer grid"].rms < 1e-3
    assert lines["ours, slices half as thick"].rms < lines[certify_ronchigram.FLAT].rms
    assert lines[certify_ronchigram.MOVING].rms > 0
    assert 0 < found.standard_error["ronchigram"] < 0.1
    assert certify_ronchigram.MOTION in found.notes
    assert said[0] == "multislice of the window"
    assert len(said) == 8
    assert certify_ronchigram.seconds(request) > 0


def test_the_grating_is_that_of_the_ronchigram(other: None) -> None:
    """The difference of the grating from multislice is that which a Ronchigram states of itself, on its own finer grid (5 %)."""
    request = asked(film(8.0))
    found = certify_ronchigram.certify_ronchigram(request)
    coherent = dataclasses.replace(BEAM, focal_spread_angstrom=0.0)
    stated = ronchigram.ronchigram(request.sample, coherent, position_angstrom=(3.0, 5.0), camera=CAMERA).attrs["engine_error"]
    (flat,) = (line.rms for line in found.lines if line.what == certify_ronchigram.FLAT)
    assert float(stated.partition("rms ")[2].partition(",")[0]) == pytest.approx(flat, rel=0.05)


def test_slices_that_are_given_are_compared_with_no_others(other: None) -> None:
    """A potential has neither thinner slices nor thermal motion."""
    rng = np.random.default_rng(0)
    given = PotentialSlices(array=rng.uniform(0, 20, (2, 256, 256)), sampling_angstrom=(0.09, 0.09), z_angstrom=np.array([1.0, 3.0]))
    lines = certify_ronchigram._other_slices(certify_ronchigram._shot(asked(given)), given.z_angstrom)
    assert lines is None


@pytest.mark.reference
def test_both_solvers_agree_on_a_ronchigram() -> None:
    """Our multislice and abTEM's give the same intensities on the same slices to 3e-6 (rms / mean); abTEM's own placement differs by more."""
    found = {line.what: line for line in certify_ronchigram.certify_ronchigram(asked(film())).lines}
    assert found["abTEM, our slices, same grid"].rms < 3e-6
    assert found["abTEM, our slices, same grid"].largest < 3e-5
    assert 1e-4 < found["abTEM, its own potential, same grid"].rms < 0.05
