"""The camera's settings."""

import dataclasses

import pytest

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import PixelatedDetector, checked
from stemtwin.twin.instrument.simulation import serialisation


def test_angles_follow_from_the_camera_length() -> None:
    """A pixel of 55 um at 110 mm sees 0.5 mrad; twice the camera length half of it; binning by 4 four times as much."""
    camera = PixelatedDetector(shape=(256, 256), camera_length_mm=110.0)
    assert camera.pixel_mrad == pytest.approx(0.5)
    assert dataclasses.replace(camera, camera_length_mm=220.0).pixel_mrad == pytest.approx(0.25)
    binned = dataclasses.replace(camera, binning=4)
    assert (binned.shape_read, binned.pixel_mrad) == ((64, 64), pytest.approx(2.0))
    assert binned.corner_mrad == pytest.approx(camera.corner_mrad) == pytest.approx(64 * 2**0.5)


def test_the_outer_angle_is_that_of_the_nearest_edge() -> None:
    """outer_mrad reaches from the axis to the middle of the nearest edge."""
    camera = PixelatedDetector(shape=(64, 128), outer_mrad=32.0)
    assert camera.pixel_mrad == 1.0
    assert camera.corner_mrad == pytest.approx((32**2 + 64**2) ** 0.5)


def test_settings_survive_plain_values() -> None:
    """A camera goes through dicts of plain values and comes back equal."""
    for camera in (
        PixelatedDetector(outer_mrad=30),
        PixelatedDetector(shape=(64, 32), camera_length_mm=90, binning=2, dead_fraction=0.01, saturation_counts=4095, name="merlin"),
    ):
        assert serialisation.detector_from_dict(serialisation.detector_to_dict(camera)) == camera


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "neither is given"),
        ({"outer_mrad": 30, "camera_length_mm": 100}, "Give one of the two"),
        ({"outer_mrad": 30, "shape": (100, 128), "binning": 8}, "divisor of 4"),
        ({"outer_mrad": -1}, "outer_mrad=-1"),
        ({"camera_length_mm": 0}, "camera_length_mm=0"),
        ({"outer_mrad": 30, "dead_fraction": 0.7}, "dead_fraction=0.7"),
        ({"outer_mrad": 30, "quantum_efficiency": 0}, "quantum_efficiency=0"),
        ({"outer_mrad": 30, "point_spread_px": float("nan")}, "point_spread_px=nan"),
        ({"outer_mrad": 30, "saturation_counts": 0}, "saturation_counts=0"),
        ({"outer_mrad": 30, "shape": (10**5, 4)}, "4096"),
        ({"outer_mrad": 30, "name": "kx"}, "named 'kx'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict, said: str) -> None:
    """Each with a sentence that names the value and the limit."""
    with pytest.raises(SettingsError, match=said):
        PixelatedDetector(**settings)


def test_one_camera_at_a_time() -> None:
    """The column holds one camera."""
    with pytest.raises(SettingsError, match="Two cameras"):
        checked(("pixelated", "ronchigram"))
