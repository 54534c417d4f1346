"""Honeypots: unscored rows of a hidden split that nobody can answer without the truth, so good answers to them reveal a leak.

Three kinds are mixed with the rows of a split, in random order and under random names:

``pure noise``
    counts without structure, with the mean of a real image;
``impossible dose``
    an image of less than one electron on average, drawn from the mean image of the rows to which the candidate truths (below) belong;
``swapped labels``
    a real image, mirrored and with half of its electrons, whose truth is that of another row.

Such a row has several candidate truths. The organiser draws one of them, with equal probabilities, and stores it as the truth of the row. The inputs
are independent of the draw, so an answer made without the stored truth favours no candidate. The test for a leak is therefore exact. It compares the
similarity of the answers to the stored truths with their similarity to newly drawn candidates (99 999 draws), over all honeypots together. Among
entries that have not seen the truth, at most one in a thousand has a p-value of 0.001 or less, whatever their method. The excess is the mean
similarity to the stored truths minus the mean similarity to all candidates. Without a leak, its average is 0.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy.spatial import cKDTree

from stemtwin.benchmarks.matching import match
from stemtwin.benchmarks.tasks import Task
from stemtwin.twin.errors import SettingsError

if TYPE_CHECKING:
    import xarray as xr

NOISE, DOSE, SWAPPED = "pure noise", "impossible dose", "swapped labels"
KINDS = (NOISE, DOSE, SWAPPED)
CANDIDATES = 12
"""Largest number of candidate truths of one honeypot."""
FEWEST = 3
"""Least number of candidate truths of one honeypot."""
ELECTRONS = 0.5
"""Mean number of electrons in an image of an impossible dose."""
DRAWS = 99_999
LEVEL = 1e-3
"""p-value at or below which a review is requested."""
SEED = 20_261_129
DIGITS = 16


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Honeypot:
    """One unscored row: its sample, its kind, its candidate truths, and the index of the truth that was drawn."""

    sample_id: str
    kind: str
    candidates: tuple[Any, ...]
    chosen: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Planted:
    """A split with honeypots.

    Parameters
    ----------
    data : Dataset
        All rows in a new order, under new names.
    honeypots : tuple of Honeypot
        The unscored rows; their list stays with the organiser.
    names : dict
        Former name of each scored row, by its new name.
    """

    data: "xr.Dataset"
    honeypots: tuple[Honeypot, ...]
    names: dict[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """Result of the test of an entry's answers to honeypots, which are unscored rows that cannot be answered without their truth.

    The stored truth of each honeypot was drawn from several candidate truths.

    Parameters
    ----------
    n : int
        Number of honeypots.
    p_value : float
        Probability that answers made without a leak are at least as similar to the stored truths as the answers of the entry.
    excess : float
        Mean similarity of the answers to the stored truths minus their mean similarity to all candidate truths. It is at most 1, and 0 on average
        without a leak.
    by_kind : dict
        Excess by the kind of honeypot: ``"pure noise"``, ``"impossible dose"`` or ``"swapped labels"``.
    """

    n: int
    p_value: float
    excess: float
    by_kind: dict[str, float]

    @property
    def suspicious(self) -> bool:
        """True if a person must review the entry."""
        return self.p_value <= LEVEL

    @property
    def text(self) -> str:
        """Result of the test in one sentence."""
        kinds = ", ".join(f"{kind} {value:+.2f}" for kind, value in self.by_kind.items())
        return f"similarity to the truth of {self.n} unanswerable items is {self.excess:+.2f} above chance ({kinds}), p = {self.p_value:.1g}"


class HoneypotForm(Protocol):
    """Interface between honeypots and a task: conversion, storage and comparison of truths."""

    truth: tuple[str, ...]
    """Variables of the truth, which a honeypot takes from another row."""

    def candidate(self, data: "xr.Dataset", row: int, base: int, part: float) -> Any:
        """Return the truth of a row, rescaled to the pixel size of the row ``base`` and to ``part`` times the dose of ``base``."""
        ...

    def put(self, data: "xr.Dataset", row: int, candidate: Any) -> None:
        """Write a truth from :meth:`candidate` into a row.

        The truth variables of the row from which the candidate was made have already been copied into this row.
        """
        ...

    def similarity(self, answer: Any, candidate: Any) -> float:
        """Return the similarity of an answer to a truth, at most 1, independent of the scale of the answer."""
        ...


class ImageHoneypots:
    """Honeypots of ``denoise``: an answer is compared with a truth by the correlation of the two images, averaged over the channels."""

    truth: tuple[str, ...] = ("expected", "n_sites", "site_x_angstrom", "site_y_angstrom", "site_species", "site_atoms", "site_missing")

    def candidate(self, data: "xr.Dataset", row: int, base: int, part: float) -> np.ndarray:
        """Return the expected electrons of a row, (channel, y, x), after rescaling.

        The pixel size becomes that of the row ``base``, and the dose becomes ``part`` times that of the row ``base``.
        """
        dose, step = data["dose_e_per_angstrom2"].values, data["sampling_angstrom"].values
        return data["expected"].values[row] * float(part * dose[base] * step[base] ** 2 / (dose[row] * step[row] ** 2))

    def put(self, data: "xr.Dataset", row: int, candidate: np.ndarray) -> None:
        """Write the expected electrons from :meth:`candidate` into a row, as the true image of this row."""
        data["expected"].values[row] = candidate

    def similarity(self, answer: Any, candidate: np.ndarray) -> float:
        """Return the correlation of an answer with a truth, averaged over the channels; a constant channel counts as 0."""
        found = [_correlation(one, other) for one, other in zip(np.asarray(answer.image, dtype=float), candidate.astype(float), strict=True)]
        return float(np.mean(found))


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Pearson's coefficient of two images; 0 where one of them is constant."""
    first, second = one - one.mean(), other - other.mean()
    scale = float(np.sqrt(np.sum(first**2) * np.sum(second**2)))
    return float(np.sum(first * second)) / scale if scale > 1e-12 * max(1.0, float(np.abs(one).max() * np.abs(other).max())) else 0.0


class PointHoneypots:
    """Honeypots of ``atoms-2d``: an answer is compared with a truth by its F1 score.

    A point can match a column within a third of the distance between this column and its nearest neighbour.
    """

    truth: tuple[str, ...] = ("n_columns", "column_x_angstrom", "column_y_angstrom", "column_heaviest", "column_visible")
    gate = 1 / 3

    def candidate(self, data: "xr.Dataset", row: int, base: int, part: float) -> np.ndarray:
        """Return the positions of the atomic columns of a row, (n, 2) A, scaled to the pixel size of the row ``base``; NaN for invisible columns.

        The factor ``part`` of the dose is not used.
        """
        del part
        step, n = data["sampling_angstrom"].values, int(data["n_columns"].values[row])
        x, y = (data[f"column_{axis}_angstrom"].values[row, :n] for axis in "xy")
        places = np.stack([x, y], axis=1) * float(step[base] / step[row])
        return np.where(data["column_visible"].values[row, :n, None], places, np.nan)

    def put(self, data: "xr.Dataset", row: int, candidate: np.ndarray) -> None:
        """Write the column positions from :meth:`candidate` into a row; invisible columns are put at the mean position, inside the frame."""
        n = len(candidate)
        visible = np.isfinite(candidate[:, 0])
        for axis, values in zip("xy", candidate.T, strict=True):
            column = data[f"column_{axis}_angstrom"].values
            column[row, :n] = np.where(visible, values, np.nan_to_num(np.nanmean(values)) if visible.any() else 0.0)

    def similarity(self, answer: Any, candidate: np.ndarray) -> float:
        """Return the F1 score of an answer with respect to a truth; 0 for an answer without points."""
        true = candidate[np.isfinite(candidate[:, 0])]
        if len(answer) == 0 or len(true) < 2:
            return 0.0
        gates = self.gate * cKDTree(true).query(true, k=2)[0][:, 1]
        return 2 * len(match(answer.positions, true, gates)[0]) / (len(answer) + len(true))


FORMS: dict[str, HoneypotForm] = {"denoise": ImageHoneypots(), "atoms-2d": PointHoneypots()}
"""Tasks that have honeypots."""


def plant(task: Task, data: "xr.Dataset", rng: np.random.Generator, *, each: int = 2, spare: Sequence[int] | None = None) -> Planted:
    """Return the rows of a split with honeypots among them, in a new order and under new names.

    A honeypot has the pixel size, energy and current of the row from which it is made. If the split also contains that row, the pair can be
    recognised. Honeypots made from spare rows cannot be recognised in this way, because spare rows are left out of the split.

    Parameters
    ----------
    task : Task
        ``denoise`` or ``atoms-2d``.
    data : Dataset
        The rows of the split with their truth.
    rng : numpy.random.Generator
        Generator from the organiser's secret seed. It draws the honeypots, their truths, the order of the rows and the new names.
    each : int
        Number of honeypots of each of the three kinds.
    spare : sequence of int, optional
        Indices of rows from which honeypots are made; at least ``3 * each`` indices are needed. These rows are left out of the split. By default,
        honeypots are made from any rows, and no row is left out.

    Raises
    ------
    SettingsError
        The task has no honeypots, ``each`` is below 1, or there are too few rows or too few specimens to draw candidates from.
    """
    import xarray as xr

    form = _form(task)
    if each < 1:
        message = f"each={each} must be at least 1."
        raise SettingsError(message)
    if spare is not None and len(spare) < each * len(KINDS):
        message = f"{len(spare)} spare rows are too few for {each * len(KINDS)} honeypots. Give more spare rows or a smaller each=."
        raise SettingsError(message)
    names, order = rng.spawn(2)  # of their own: they do not depend on how many numbers the images take
    bases = rng.choice(data.sizes["sample"], each * len(KINDS)) if spare is None else rng.permutation(np.array(spare))[: each * len(KINDS)]
    rows, made = [], []
    for number, base in enumerate(bases.tolist()):
        row, honeypot = _make(form, data, KINDS[number // each], base, rng.spawn(1)[0])
        rows.append(row)
        made.append(honeypot)
    kept = data.isel(sample=np.setdiff1d(np.arange(data.sizes["sample"]), [] if spare is None else spare))
    whole = xr.concat([kept, *rows], dim="sample")
    n, total = kept.sizes["sample"], kept.sizes["sample"] + len(rows)
    old = kept["sample_id"].values.astype(str)
    prefix = old[0].rpartition("/")[0]
    digests = {names.bytes(DIGITS // 2).hex() for _ in range(2 * total)}
    fresh = order.permutation(sorted(digests))[:total]
    ids = np.array([f"{prefix}/{digest}" if prefix else digest for digest in fresh])
    whole["sample_id"] = ("sample", ids)
    honeypots = tuple(dataclasses.replace(one, sample_id=str(ids[n + number])) for number, one in enumerate(made))
    return Planted(data=whole.isel(sample=np.argsort(ids)), honeypots=honeypots, names=dict(zip(ids[:n].tolist(), old.tolist(), strict=True)))


def _form(task: Task) -> HoneypotForm:
    """Return the form of a task's honeypots."""
    if task.registered not in FORMS:
        message = f"Task {task.registered!r} has no honeypots. Tasks with honeypots: {', '.join(FORMS)}."
        raise SettingsError(message)
    return FORMS[task.registered]


def _make(form: HoneypotForm, data: "xr.Dataset", kind: str, base: int, rng: np.random.Generator) -> "tuple[xr.Dataset, Honeypot]":
    """Return the row of a honeypot, without its name, and the honeypot."""
    specimens = data["specimen"].values.astype(str)
    others = [int(np.flatnonzero(specimens == one)[0]) for one in np.unique(specimens[specimens != specimens[base]])]
    if len(others) < FEWEST:
        message = (
            f"The truth of a honeypot is drawn from the other specimens of the split; there are {len(others)}, and at least {FEWEST} are needed. "
            "Use a larger split."
        )
        raise SettingsError(message)
    donors = rng.permutation(others)[:CANDIDATES].tolist()
    chosen = int(rng.integers(len(donors)))  # before the image, which may take other numbers on another processor
    row = data.isel(sample=[base]).copy(deep=True)
    row["image"].values[0] = _image(data, kind, base, donors, rng)
    factor = 0.5 if kind == SWAPPED else 1.0
    if kind == DOSE:
        factor = ELECTRONS / max(float(data["image"].values[base].sum()), 1.0)
    for name in ("dose_e_per_angstrom2", "dwell_time_us"):
        row[name].values[0] = row[name].values[0] * factor
    candidates = tuple(form.candidate(data, donor, base, factor) for donor in donors)
    for name in form.truth:
        row[name].values[0] = data[name].values[donors[chosen]]
    form.put(row, 0, candidates[chosen])
    return row, Honeypot(sample_id="", kind=kind, candidates=candidates, chosen=chosen)


def _image(data: "xr.Dataset", kind: str, base: int, donors: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Return the counts of a honeypot, of the shape and the type of an image."""
    image = data["image"].values[base]
    if kind == NOISE:
        made = rng.poisson(np.broadcast_to(image.mean(axis=(-2, -1), keepdims=True), image.shape))
    elif kind == DOSE:
        flat = [data["image"].values[one].astype(float).reshape(-1, *image.shape[-2:]).sum(axis=0) for one in donors]
        rate = np.mean([one / max(one.sum(), 1.0) for one in flat], axis=0)
        taken = image.sum(axis=(-2, -1), keepdims=True) > 0
        made = rng.poisson(ELECTRONS * rate * taken / max(int(taken.sum()), 1))
    else:
        made = rng.binomial(image[..., ::-1], 0.5)
    return made.astype(image.dtype)


def counted(data: "xr.Dataset", found: Mapping[str, Any], honeypots: Sequence[Honeypot]) -> "tuple[xr.Dataset, dict[str, Any]]":
    """Return the scored rows and the answers to them, without honeypots.

    Parameters
    ----------
    data : Dataset
        Rows of a split, honeypots included.
    found : mapping
        Answers to all rows by sample id.
    honeypots : sequence of Honeypot
        The honeypots, which are left out.
    """
    out = {one.sample_id for one in honeypots}
    keep = np.array([name not in out for name in data["sample_id"].values.astype(str).tolist()])
    return data.isel(sample=np.flatnonzero(keep)), {name: answer for name, answer in found.items() if name not in out}


def find_leak(task: Task, found: Mapping[str, Any], honeypots: Sequence[Honeypot], *, draws: int = DRAWS, seed: int = SEED) -> Leak:
    """Test an entry's answers to honeypots for a leak of their truth, and return the result.

    Parameters
    ----------
    task : Task
        The task.
    found : mapping
        Answers by sample id, including those to honeypots.
    honeypots : sequence of Honeypot
        At least one.
    draws, seed : int
        Number of random draws for the p-value, and seed of the draws. Each draw takes one of the candidate truths of every honeypot.

    Raises
    ------
    SettingsError
        The list of honeypots is empty.
    """
    form = _form(task)
    if not honeypots:
        message = f"The list of honeypots of {task.name!r} is empty. Plant some with plant()."
        raise SettingsError(message)
    rng = np.random.Generator(np.random.Philox(seed))
    kept, total, excess = 0.0, np.zeros(draws), []
    for one in honeypots:
        near = np.array([form.similarity(found[one.sample_id], candidate) for candidate in one.candidates])
        excess.append(float(near[one.chosen] - near.mean()))
        spread = float(near.std())
        ranks = (near - near.mean()) / spread if spread > 1e-9 else np.zeros(len(near))
        kept += float(ranks[one.chosen])
        total += ranks[rng.integers(0, len(ranks), draws)]
    p_value = (1 + int(np.count_nonzero(total >= kept - 1e-9))) / (draws + 1)
    kinds = np.array([one.kind for one in honeypots])
    by_kind = {kind: float(np.mean(np.array(excess)[kinds == kind])) for kind in KINDS if kind in kinds}
    return Leak(n=len(honeypots), p_value=p_value, excess=float(np.mean(excess)), by_kind=by_kind)
