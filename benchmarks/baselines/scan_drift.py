"""Baselines of ``drift``: uncorrected frames, one shift per frame, a shift of each line, and an oracle."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from skimage.registration import phase_cross_correlation

from stemtwin.benchmarks.agents import Baseline, add_baseline
from stemtwin.benchmarks.answers.displacements import DisplacementField
from stemtwin.benchmarks.baselines import scan_registration as registration

NODES = 4
UPSAMPLED = 20
"""Number of parts into which a pixel is divided to locate a correlation peak."""
BLUR_ANGSTROM = 0.3


def _answer(given: Mapping[str, Any], field: np.ndarray) -> DisplacementField:
    """Return a field (n, lines, 2), A, as an answer, with the same values in all quarters of a line, and 0 for frames that were not taken."""
    frames, lines = np.shape(given["image"])[:2]
    out = np.zeros((frames, lines, NODES, 2))
    out[: len(field)] = field[:, :, None]
    return DisplacementField(displacement=out)


class FramesAsTheyAre:
    """Estimate without a correction: the displacement is zero everywhere."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> DisplacementField:
        """Return zeros."""
        del rng
        return _answer(given, np.zeros((0, np.shape(given["image"])[1], 2)))


class RigidShifts:
    """One shift for each frame, from the cross-correlation (scikit-image) with the previous frame; a rotated frame is first rotated back."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> DisplacementField:
        """Return the same shift for all lines of a frame."""
        del rng
        frames = registration.frames_of(dict(given))
        side = registration.side_of(frames)
        width = max(frames.width_px, BLUR_ANGSTROM / frames.step)
        spread = [registration.spread(counts, at, frames.step, side) for counts, at in zip(frames.counts, frames.places, strict=True)]
        inner = slice((side - frames.counts.shape[1]) // 2, (side + frames.counts.shape[1]) // 2)
        images = [registration.rendered(parts, width)[0][inner, inner] for parts in spread]
        shifts = np.zeros((len(images), 2))
        for f in range(1, len(images)):
            keywords: dict[str, Any] = {"upsample_factor": UPSAMPLED, "normalization": None}
            shift, *_ = phase_cross_correlation(images[f - 1], images[f], **keywords)
            dy, dx = shift
            shifts[f] = shifts[f - 1] + np.array([dx, dy]) * frames.step
        return _answer(given, np.broadcast_to(shifts[:, None], (*frames.counts.shape[:2], 2)))


class LineShifts:
    """A shift for each line, in two stages.

    The coarse shifts come from correlations between frames; for a pair of frames scanned at 0 and 90 degrees, a constant drift is assumed. The fine
    shifts come from a comparison of each line with the mean of the other frames.
    """

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> DisplacementField:
        """Return the refined displacement field."""
        del rng
        frames = registration.frames_of(dict(given))
        turned = float(np.ptp(given["rotation_rad"][: len(frames.counts)])) > 0
        coarse = registration.pair_field(frames) if turned else registration.series_field(frames)
        return _answer(given, registration.refined(frames, coarse))


class FieldOracle:
    """Oracle that returns the true field."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> DisplacementField:
        """Return the truth, which only an oracle receives."""
        del rng
        return given["truth"]


for _name, _text, _factory in (
    ("frames", "uncorrected frames", FramesAsTheyAre),
    ("rigid", "one shift per frame by cross-correlation with the previous frame", RigidShifts),
    ("lines", "a shift of each line against the mean of the other frames", LineShifts),
):
    add_baseline(Baseline(task="drift", name=_name, text=_text, factory=_factory))
add_baseline(Baseline(task="drift", name="oracle", text="the true field itself", factory=FieldOracle, oracle=True))
