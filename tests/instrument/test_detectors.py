"""Detectors by name, and their angles."""

import math

import numpy as np
import pytest

from stemtwin.twin.errors import SamplingError, SettingsError, UnknownNameError
from stemtwin.twin.instrument import detectors
from stemtwin.twin.instrument.detectors import DETECTORS, AnnularDetector, PixelatedDetector, SegmentedDetector

RINGS = [name for name in DETECTORS if {"annular", "segmented"} & set(DETECTORS.tags(name))]
CAMERAS = list(DETECTORS.names("camera"))


def angles(name: str, alpha: float = 20.0, largest: float = 250.0) -> tuple[float, float]:
    """Return the angles of a named detector."""
    found = DETECTORS[name](alpha, largest)
    return found.inner_mrad, found.outer_mrad


def test_usual_detectors_have_the_angles_of_the_conventions() -> None:
    """These are bf (0, a/2), abf (a/2, 0.95 a), laadf (1.05 a, 2 a), maadf (2 a, 3 a), haadf (3 a, 200 mrad or what the grid holds)."""
    assert angles("bf") == (0, 10)
    assert angles("abf") == (10, 19)
    assert angles("laadf") == (21, 40)
    assert angles("maadf") == (40, 60)
    assert angles("haadf") == (60, 200)
    assert angles("haadf", largest=140) == (60, 140)


@pytest.mark.parametrize("name", RINGS)
@pytest.mark.parametrize("alpha", [5.0, 30.0])
def test_every_registered_detector_has_its_own_name_and_angles_that_make_sense(name: str, alpha: float) -> None:
    """The result's variable has the name that was asked for; 0 <= inner < outer <= what the grid holds."""
    found = DETECTORS[name](alpha, 250.0)
    assert found.name == name
    assert 0 <= found.inner_mrad < found.outer_mrad <= 250
    assert found.channels == (found.segments if isinstance(found, SegmentedDetector) else 1)


@pytest.mark.parametrize("name", RINGS)
def test_weights_are_fractions_and_add_up_to_the_detectors_area(name: str) -> None:
    """Weights lie in [0, 1]; times the pixel's area they sum to the ring's area, however coarse the pixels are."""
    found, wavelength = DETECTORS[name](20.0, 250.0), 0.0251
    k = np.arange(-400, 401) * 0.03
    weights = found.weights(k[:, None], k, (0.03, 0.03), wavelength, antialias=True)
    assert weights.dtype == np.float32
    assert weights.shape == (found.channels, 801, 801)
    assert weights.min() >= 0
    assert weights.max() <= 1
    area = math.pi * (found.outer_mrad**2 - found.inner_mrad**2) * (1e-3 / wavelength) ** 2
    assert weights.sum(dtype=float) * 0.03**2 == pytest.approx(area, rel=1e-5)


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("alpha", [2.0, 30.0])
def test_every_registered_camera_sees_the_whole_disc_and_nothing_beyond_the_grid(name: str, alpha: float) -> None:
    """The variable has the name that was asked for; the edge lies outside the bright-field disc, the corner inside what the grid holds."""
    found = DETECTORS[name](alpha, 250.0)
    assert isinstance(found, PixelatedDetector)
    assert found.name == name
    assert found.pixel_mrad * min(found.shape_read) / 2 > alpha
    assert found.corner_mrad <= 250 * (1 + 1e-12)


def test_unnamed_detectors_are_named_by_their_angles() -> None:
    """annular_60_200, and a decimal point becomes p, so that names stay words."""
    assert AnnularDetector(inner_mrad=60, outer_mrad=200).name == "annular_60_200"
    assert AnnularDetector(inner_mrad=0.5, outer_mrad=20).name == "annular_0p5_20"
    assert AnnularDetector(inner_mrad=1e-7, outer_mrad=20).name == "annular_1em07_20"
    assert SegmentedDetector(inner_mrad=0, outer_mrad=20).name == "segmented_0_20"


@pytest.mark.parametrize("name", ["x", "y", "frame", "segment", "point", "a b", "1st", 7])
def test_names_that_a_result_cannot_have_are_refused(name: object) -> None:
    """A detector's name is a word that is no dimension of a result."""
    with pytest.raises(SettingsError, match="named"):
        AnnularDetector(inner_mrad=0, outer_mrad=10, name=name)  # type: ignore[arg-type]


@pytest.mark.parametrize(("inner", "outer"), [(20, 10), (10, 10), (-1, 10), (0, math.nan), (0, 2000)])
def test_angles_out_of_order_or_range_are_refused(inner: float, outer: float) -> None:
    """0 <= inner < outer <= 1500 mrad."""
    for kind in (AnnularDetector, SegmentedDetector):
        with pytest.raises(SettingsError, match="mrad"):
            kind(inner_mrad=inner, outer_mrad=outer)
    with pytest.raises(SettingsError, match="segments"):
        SegmentedDetector(inner_mrad=0, outer_mrad=10, segments=1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((), "does not name a detector"),
        (None, "does not name a detector"),
        (("haadf", 3), "is not a detector"),
        (("haadf", "haadf"), "same name: haadf, haadf"),
        ((AnnularDetector(inner_mrad=1, outer_mrad=2, name="bf"), "bf"), "same name"),
        (("dpc4", SegmentedDetector(inner_mrad=0, outer_mrad=20, segments=8)), "dpc4 has 4, segmented_0_20 has 8. Give them the same number"),
    ],
)
def test_lists_of_detectors_are_checked(asked: object, said: str) -> None:
    """At least one detector, nothing but detectors, no name twice."""
    with pytest.raises(SettingsError, match=said):
        detectors.checked(asked)


def test_an_unknown_detector_is_told_which_one_was_meant() -> None:
    """A typing error gets a suggestion."""
    with pytest.raises(SettingsError, match=r"'eels' is not an image: .*expected_eels"):
        detectors.checked(("haadf", "eels"))
    with pytest.raises(UnknownNameError, match="Did you mean 'haadf'"):
        detectors.checked(("hadf",))


def test_a_single_detector_needs_no_tuple() -> None:
    """A name or a detector alone stands for a tuple of one."""
    ring = AnnularDetector(inner_mrad=1, outer_mrad=2)
    assert detectors.checked("bf") == ("bf",)
    assert detectors.checked(ring) == (ring,)


def test_beyond_the_band_limit_says_limit_numbers_and_repair() -> None:
    """The message has the angle asked for, the largest one, how it came about, and what to do."""
    wide = AnnularDetector(inner_mrad=60, outer_mrad=200, name="wide")
    with pytest.raises(SamplingError, match=r"outer_mrad=200 of wide exceeds .*149\.3 mrad at 200 keV\)\. Use finer or lower outer_mrad\."):
        detectors.resolve((wide,), 20.0, 149.3, "at 200 keV", "Use finer")


def test_no_ring_is_left_of_haadf_at_large_convergence() -> None:
    """Three times 70 mrad is beyond 200 mrad: the message says so, and no empty detector is made."""
    with pytest.raises(SamplingError, match=r"3 x 70 mrad.*AnnularDetector"):
        detectors.wanted_angle(("haadf",), 70.0)
