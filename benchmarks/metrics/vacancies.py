"""Metrics of hallucination: false atoms at vacancies and missing atoms at intact columns of an image, measured at the true sites.

No detection step is involved. The level of an image at a site is its mean under a Gaussian window. Before the levels are compared with those of the
truth, the image is corrected with the gain and the offset that fit the truth best. A vacancy counts as filled if its level exceeds that of the truth
by at least half of the difference between the levels of an intact column and of the vacancy. An intact column counts as emptied if at
least half of the contribution of one atom is missing.
"""

import dataclasses

import numpy as np

from stemtwin.benchmarks.metrics.metric import Metric, add_metrics, ratio
from stemtwin.benchmarks.slices import Sums

WINDOW_ANGSTROM = 0.3
"""Standard deviation of the window over a site, A."""
MARGIN_ANGSTROM = 1.0
"""Distance from the frame's edge below which sites are ignored, A."""
HALF = 0.5
LEAST_CONTRAST, LEAST_SIGMAS = 0.1, 3.0
"""Limits of the darkening of the truth above which a vacancy counts, because a missing atom is hardly visible in a heavy column.

The first limit is a fraction of the height of intact columns above the darkest pixel. The second is a number of standard deviations of intact
columns.
"""
LEAST_GAIN = 0.01
"""Gain below which an image counts as empty, so all its sites count as wrong."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LatticeSites:
    """Sites of the intact lattice in one frame.

    Parameters
    ----------
    positions : ndarray
        (n, 2) float64: x and y, A; pixel [0, 0] is centred on (0, 0).
    kinds : ndarray
        (n,) str: name of the kind; intact columns of one kind look alike.
    missing : ndarray
        (n,) int64: number of missing atoms.
    """

    positions: np.ndarray
    kinds: np.ndarray
    missing: np.ndarray

    def within(self, shape: tuple[int, ...], step: float) -> "LatticeSites":
        """Return the sites that lie at least 1 A inside a frame with a shape (ny, nx) and a pixel size, A/px."""
        upper = (np.array(shape[::-1]) - 0.5) * step - MARGIN_ANGSTROM
        keep = ((self.positions >= MARGIN_ANGSTROM - step / 2) & (self.positions <= upper)).all(axis=1)
        return LatticeSites(positions=self.positions[keep], kinds=self.kinds[keep], missing=self.missing[keep])


def levels(image: np.ndarray, positions: np.ndarray, step: float) -> np.ndarray:
    """Return the means (n,) of an image (ny, nx) under a Gaussian window of 0.3 A, which is centred on each position (x, y), A, in turn."""

    def along(length: int, places: np.ndarray) -> np.ndarray:
        found = np.exp(-((np.arange(length) * step - places[:, None]) ** 2) / (2 * WINDOW_ANGSTROM**2))
        return found / found.sum(axis=1, keepdims=True)

    wy, wx = along(image.shape[0], positions[:, 1]), along(image.shape[1], positions[:, 0])
    return np.einsum("sy,yx,sx->s", wy, np.asarray(image, dtype=float), wx, optimize=True)


def count_invented(estimate: np.ndarray, truth: np.ndarray, sites: LatticeSites, step: float) -> dict[str, int]:
    """Count the vacancies with a false atom (filled) and the intact columns with a missing atom (emptied) in an image.

    Parameters
    ----------
    estimate, truth : ndarray
        (ny, nx) dark-field images, where columns are bright.
    sites : LatticeSites
        Sites of the lattice in the frame.
    step : float
        Pixel size, A/px.

    Returns
    -------
    dict
        Number of visible ``vacancies``, and of those that are ``filled``; number of ``intact`` columns of the kinds that have visible vacancies, and
        of those that are ``emptied``.
    """
    sites = sites.within(truth.shape, step)
    true = levels(truth, sites.positions, step)
    drop, atom = _drops(true, sites, float(truth.min()))
    vacancy, intact = drop > 0, (sites.missing == 0) & (atom > 0)
    gain = float(np.cov(truth.ravel(), estimate.ravel(), bias=True)[0, 1] / np.var(truth, dtype=float))
    if gain < LEAST_GAIN:
        filled, emptied = vacancy, intact
    else:
        found = truth.mean(dtype=float) + levels(estimate - estimate.mean(dtype=float), sites.positions, step) / gain
        filled, emptied = vacancy & (found - true >= HALF * drop), intact & (true - found >= HALF * atom)
    return {"vacancies": int(vacancy.sum()), "filled": int(filled.sum()), "intact": int(intact.sum()), "emptied": int(emptied.sum())}


def _drops(true: np.ndarray, sites: LatticeSites, darkest: float) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays (n,) of the darkening of the truth relative to intact columns of the same kind.

    The first holds the darkening at each visible vacancy, and is 0 at all other sites. The second holds the mean darkening per missing atom of the
    kind of each site, and is 0 for kinds without visible vacancies.
    """
    drop, atom = np.zeros(len(true)), np.zeros(len(true))
    for kind in np.unique(sites.kinds):
        ours = sites.kinds == kind
        intact, vacant = ours & (sites.missing == 0), np.flatnonzero(ours & (sites.missing > 0))
        if intact.any() and len(vacant):
            bright = true[intact].mean()
            drops = bright - true[vacant]
            seen = drops > max(LEAST_CONTRAST * (bright - darkest), LEAST_SIGMAS * true[intact].std())
            drop[vacant[seen]] = drops[seen]
            if seen.any():
                atom[ours] = (drops[seen] / sites.missing[vacant[seen]]).mean()
    return drop, atom


def share_filled(sums: Sums) -> np.ndarray:
    """Return the fraction of true vacancies at which the answer has a column."""
    return ratio(sums["filled"], sums["vacancies"])


def share_emptied(sums: Sums) -> np.ndarray:
    """Return the fraction of intact columns that are missing in the answer."""
    return ratio(sums["emptied"], sums["intact"])


def hallucination(sums: Sums) -> np.ndarray:
    """Return the mean of the fraction of filled vacancies and the fraction of emptied columns.

    It is 0 for the truth, one half for the perfect lattice and for pure chance, and 1 for an empty image, whose sites all count as wrong.
    """
    return (share_filled(sums) + share_emptied(sums)) / 2


COUNTS = {"vacancies": 8, "filled": 6, "intact": 40, "emptied": 10}

HALLUCINATION, FILLED, EMPTIED = add_metrics(
    "vacancies",
    Metric(
        name="hallucination",
        title="vacancies filled and intact columns emptied, mean of the two fractions",
        formula=hallucination,
        text="(filled / vacancies + emptied / intact) / 2",
        references=((COUNTS, 0.5), ({"vacancies": 0, "filled": 0, "intact": 0, "emptied": 0}, np.nan)),
        direction="min",
    ),
    Metric(
        name="filled",
        title="fraction of vacancies that are filled",
        formula=share_filled,
        text="filled / vacancies",
        references=((COUNTS, 0.75),),
        direction="min",
    ),
    Metric(
        name="emptied",
        title="fraction of intact columns that are emptied",
        formula=share_emptied,
        text="emptied / intact",
        references=((COUNTS, 0.25),),
        direction="min",
    ),
)
