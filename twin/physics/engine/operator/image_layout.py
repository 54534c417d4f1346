"""Layout of plane waves and images of an imaging operator in memory, kept between images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.physics.engine.operator import quadratic_form_kernels
from stemtwin.twin.physics.engine.operator.beam_blocks import BeamBlock


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ApertureAmplitudes:
    """Beams of one convergence.

    ``amplitudes`` before aberrations (B,) of each block; ``missing``, the part of the probe beyond the window; ``beyond``, what detectors collect of
    that part per unit, (channels,).
    """

    amplitudes: tuple[np.ndarray, ...]
    beyond: np.ndarray
    missing: float

    @property
    def side_by_side(self) -> np.ndarray:
        """Amplitudes of all blocks, one after the other."""
        return np.concatenate(self.amplitudes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageLayout:
    """Places of beams and images in memory.

    ``form`` is that of the quadratic form; ``basis`` (25, beams) that of all blocks, one after the other at ``places``.
    """

    form: quadratic_form_kernels.FormLayout
    basis: np.ndarray
    places: tuple[slice, ...]


def image_layout(parts: Sequence[BeamBlock]) -> ImageLayout:
    """Return the layout of the images of blocks."""
    ends = np.cumsum([part.hy.size for part in parts]).tolist()
    places = tuple(slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True))
    my = max(int(part.hy[-1] - part.hy[0]) for part in parts)
    mx = max(int(np.ptp(part.hx)) for part in parts)
    form = quadratic_form_kernels.form_layout([part.pairs for part in parts], my, mx)
    return ImageLayout(form=form, basis=np.concatenate([part.basis for part in parts], axis=1), places=places)
