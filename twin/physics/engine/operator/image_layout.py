"""Memory layout of the plane waves and images of an imaging operator, which is reused from image to image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.physics.engine.operator import quadratic_form_kernels
from stemtwin.twin.physics.engine.operator.beam_blocks import BeamBlock


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ApertureAmplitudes:
    """Amplitudes of the beams for one convergence semi-angle.

    Attributes
    ----------
    amplitudes : tuple of ndarray
        Amplitudes of each block without aberrations, (B,).
    beyond : ndarray
        Fraction of the probe's tails beyond the window that each detector collects, (channels,).
    missing : float
        Fraction of the beam in the probe's tails beyond the window.
    """

    amplitudes: tuple[np.ndarray, ...]
    beyond: np.ndarray
    missing: float

    @property
    def side_by_side(self) -> np.ndarray:
        """Amplitudes of all blocks, concatenated."""
        return np.concatenate(self.amplitudes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageLayout:
    """Positions of beams and images in memory.

    Attributes
    ----------
    form : FormLayout
        Layout of the quadratic form.
    basis : ndarray
        Aberration basis of all blocks, concatenated, shape (25, beams).
    places : tuple of slice
        Position of each block in ``basis``.
    """

    form: quadratic_form_kernels.FormLayout
    basis: np.ndarray
    places: tuple[slice, ...]


def image_layout(parts: Sequence[BeamBlock]) -> ImageLayout:
    """Return the layout of the beams and images of an operator with the given blocks."""
    ends = np.cumsum([part.hy.size for part in parts]).tolist()
    places = tuple(slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True))
    my = max(int(part.hy[-1] - part.hy[0]) for part in parts)
    mx = max(int(np.ptp(part.hx)) for part in parts)
    form = quadratic_form_kernels.form_layout([part.pairs for part in parts], my, mx)
    return ImageLayout(form=form, basis=np.concatenate([part.basis for part in parts], axis=1), places=places)
