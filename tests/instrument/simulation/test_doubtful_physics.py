"""Requests that are valid but of doubtful physics: a warning, a note in ``explain`` and in the result."""

import warnings
from dataclasses import replace
from typing import Any

import pytest

from stemtwin.twin.errors import PhysicsWarning
from stemtwin.twin.instrument.detectors import AnnularDetector, PixelatedDetector
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.simulate import explain, simulate
from stemtwin.twin.samples.sample import Sample

SCAN = RasterScan(shape=(2, 2), field_of_view_angstrom=(2, 2))
RING = AnnularDetector(inner_mrad=60, outer_mrad=120, name="ring")
CAMERA = PixelatedDetector(shape=(8, 8), outer_mrad=30)


def request(sample: Sample, *detectors: Any, **settings: Any) -> Request:
    """Return a request with a convergence of 20 mrad, damped if nothing else is said."""
    beam = Beam(energy_ev=200e3, semiangle_mrad=20)
    return Request(sample=sample, beam=beam, scan=SCAN, detectors=detectors, **{"phonons": "damped", **settings})


@pytest.mark.parametrize(
    ("detectors", "named"),
    [(("haadf", "bf"), "haadf"), (("maadf", RING, "abf"), "maadf, ring"), ((CAMERA, "laadf"), "laadf")],
)
def test_a_damped_dark_field_is_doubtful(thermal: Sample, detectors: tuple[Any, ...], named: str) -> None:
    """explain, the result and a warning say that a damped detector beyond the convergence misses most of its signal."""
    asked = request(thermal, *detectors)
    said = f"leaves out thermal diffuse scattering, .*: {named} beyond the convergence of 20 mrad .* Use phonons=8"
    (note,) = [one for one in explain(asked).notes if "thermal diffuse" in one]
    with pytest.warns(PhysicsWarning, match=said) as caught:
        data = simulate(asked)
    assert note in data.attrs["notes"]
    assert f"{note}." == str(caught[0].message)
    assert caught[0].filename == __file__


def test_a_bright_field_is_not(thermal: Sample, static: Sample) -> None:
    """Detectors that reach into the convergence are not doubtful, nor are frozen phonons and static lattices."""
    inside = AnnularDetector(inner_mrad=20, outer_mrad=60, name="edge")
    for asked in (
        request(thermal, "bf", "abf", "dpc4", inside),
        request(thermal, CAMERA),
        request(thermal, "haadf", phonons=1),
        request(thermal, "haadf", phonons="static"),
        request(static, "haadf", phonons="auto"),
    ):
        assert not any("thermal diffuse" in note for note in explain(asked).notes)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            simulate(asked)


def test_the_warning_is_right(thermal: Sample) -> None:
    """A damped dark field is a small part of that of frozen phonons; a bright field differs by a few percent."""
    asked = request(thermal, AnnularDetector(inner_mrad=80, outer_mrad=150, name="ring"), "bf", engine="multislice")
    with pytest.warns(PhysicsWarning, match="thermal diffuse"):
        damped = simulate(asked)
    frozen = simulate(replace(asked, phonons=8))
    assert float(damped["ring"].mean()) < 0.3 * float(frozen["ring"].mean())
    assert float(damped["bf"].mean()) == pytest.approx(float(frozen["bf"].mean()), rel=0.05)


def test_the_microscope_warns_too(thermal: Sample) -> None:
    """A microscope of a damped lattice warns of dark fields, not of bright ones, and notes it in their attributes."""
    scope = Microscope(thermal, PROFILES["ideal"], seed=1, phonons="damped")
    scope.set(semiangle_mrad=20)
    assert "notes" not in scope.acquire(SCAN, dwell_time_us=1, detectors="bf").attrs
    with pytest.warns(PhysicsWarning, match="ring beyond the convergence of 20 mrad contains") as caught:
        frame = scope.acquire(SCAN, dwell_time_us=1, detectors=("bf", RING))
    assert "thermal diffuse" in frame.attrs["notes"]
    assert caught[0].filename == __file__
