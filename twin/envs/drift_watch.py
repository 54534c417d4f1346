"""State of an episode of ``stemtwin/DriftTracking-v1``, its score, and the parts of its observation."""

import math
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.envs.arguments import Conditions
from stemtwin.twin.envs.drift_clusters import Cluster
from stemtwin.twin.envs.drift_instrument import WIDE_FIELD, WatchEvents
from stemtwin.twin.envs.focus_features import square_roots
from stemtwin.twin.envs.session import Session
from stemtwin.twin.instrument.scan import RasterScan

REACH = 400.0
"""Largest shift along each axis, A."""
NEAR = 3.0
"""Distance of the cluster from the centre of the frame at which the frame has the weight 1/e in the score, A."""
PATIENCE_S = 10.0
"""Delay at which a detected event has the value 1/e, s."""
LATEST_S, LARGEST_TILT_MRAD, LARGEST_ELECTRONS = 1e3, 100.0, 1e5
"""Constants of the observation forms "pixels" and "state": unit of the clock (s), unit of the tilt (mrad), and base of the
logarithm of the electrons per point."""
LARGEST_DOSE = 1e8
"""Largest dose in an observation, e-/A^2."""
BLOCKS = 16
"""Number of block means along each side of an image in the form "state"."""
SCALARS = 13
"""Number of scalars in the forms "pixels" and "state"."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Watch:
    """State of an episode of drift tracking.

    Parameters
    ----------
    session : Session
        The microscope and the record of its use.
    conditions : Conditions
        Conditions of the episode.
    events : WatchEvents
        Past and future events of the specimen.
    cluster : Cluster
        Cluster that is to be kept in view.
    scans : tuple of RasterScan
        Scans of the narrow and of the wide field.
    dwell_time_us : float
        Usual dwell time at each point, us.
    shift : ndarray
        Commanded beam shift (x, y) along the axes of the frame, A.
    true : ndarray
        True position (x, y) of the cluster relative to the centre of the last frame, at the middle of its acquisition time, A.
    shown : bool
        Whether the last frame was narrow and showed the single atom beside the cluster.
    kept : float
        Sum of the times of all narrow frames, s, each multiplied by exp(-(r / 3 A)^2) with the cluster's distance r from
        the centre of the frame.
    hopped : bool
        Whether the single atom beside the cluster had hopped before the last frame.
    tilt : int
        Index of the present tilt in the tilt series.
    images : tuple of ndarray
        Readings of the last two frames, latest first, uint16.
    settings : tuple of ndarray
        Settings of the last two frames, latest first, shape (4,) each: field of view (A), beam shift along x and y (A), and incident
        electrons at one point.
    path : tuple of ndarray
        Beam shifts of all frames, A.
    frames, moves, fast, alarms : int
        Numbers of frames, of actions, of fast frames (0.5 s after the previous frame instead of 2 s), and of false alarms (fast
        frames before the hop).
    detected_s : float
        Time of the first narrow fast frame that showed the single atom after its hop, s; infinite without such a frame.
    stopped : bool
        Whether the agent declared the end.
    """

    session: Session
    conditions: Conditions
    events: WatchEvents
    cluster: Cluster
    scans: tuple[RasterScan, RasterScan]
    dwell_time_us: float
    shift: np.ndarray
    true: np.ndarray
    shown: bool = False
    kept: float = 0.0
    hopped: bool = False
    tilt: int = 0
    images: tuple[np.ndarray, ...] = ()
    settings: tuple[np.ndarray, ...] = ()
    path: tuple[np.ndarray, ...] = ()
    frames: int = 0
    moves: int = 0
    fast: int = 0
    alarms: int = 0
    detected_s: float = math.inf
    stopped: bool = False

    @property
    def dose(self) -> float:
        """Dose so far, e-/A^2."""
        return self.session.dose_e_per_angstrom2

    @property
    def tilt_mrad(self) -> float:
        """Tilt of the holder, mrad."""
        return self.events.tilts_mrad[self.tilt]

    @property
    def clock_s(self) -> float:
        """Displayed time, s."""
        return min(self.session.clock_s, LATEST_S)


def nearness(offset: np.ndarray) -> float:
    """Return exp(-(r / 3 A)^2), where r is the length of ``offset``, the position relative to the centre of the frame, A."""
    return math.exp(-float(offset @ offset) / NEAR**2)


def detection(state: Watch) -> float:
    """Return the value of the detection of the hop: exp(-delay / 10 s), halved for each false alarm; 0 without a detection.

    The delay is the time from the hop of the single atom beside the cluster to the detection of this hop, s.
    """
    delay = state.detected_s - state.events.event_s
    return math.exp(-delay / PATIENCE_S) / 2**state.alarms if math.isfinite(delay) else 0.0


def small_pictures(state: Watch) -> np.ndarray:
    """Return the last two frames as small images of the square roots of readings, latest first, uint8, shape (2, ny, nx)."""
    return np.stack([square_roots(image) for image in [*state.images, state.images[-1]][:2]])


def scalars(state: Watch, left: np.ndarray) -> np.ndarray:
    """Return the scalars of an observation, in [-1, 1], float32, shape (13,).

    The scalars are the settings of the last two frames, the remaining budgets, the clock and the tilt.

    Parameters
    ----------
    state : Watch
        The state.
    left : ndarray
        Remaining fractions of the budgets, shape (3,).
    """
    settings = [*state.settings, state.settings[-1]][:2]
    frames = [part for one in settings for part in (*(one[:3] / (WIDE_FIELD, REACH, REACH)), math.log(one[3]) / math.log(LARGEST_ELECTRONS))]
    return np.clip([*frames, *left, state.clock_s / LATEST_S, state.tilt_mrad / LARGEST_TILT_MRAD], -1, 1).astype(np.float32)


def block_means(pictures: np.ndarray) -> np.ndarray:
    """Average two images to 16 x 16 points each; return these means divided by 255, shape (512,)."""
    side = pictures.shape[-1] // BLOCKS
    return (pictures.reshape(len(pictures), BLOCKS, side, BLOCKS, side).mean(axis=(2, 4)) / 255).ravel()
