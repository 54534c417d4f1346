"""Metrics on slices of the data, computed from additive statistics of the samples.

A metric is a formula of sums, such as the number of true positives or the sum of squared errors. Its value on a slice is the formula of the slice's
sums. The sums of disjoint slices add up to the sums of their union, so even ratios such as F1 can be computed exactly for the union [1]_. Values of
metrics are never averaged over slices.

References
----------
.. [1] H. Kvinge et al., Sheaves as a framework for understanding and interpreting model fit, arXiv:2105.10414 (2021); arXiv:2107.04714 (2021).
"""

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

from stemtwin.twin.errors import SettingsError

Sums = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SliceColumn:
    """A column that cuts the samples into disjoint slices.

    Parameters
    ----------
    column : str
        Name of the column.
    edges : tuple of float, optional
        Inner edges: n edges make n + 1 slices, of which the first and the last are unbounded. A value on an edge belongs to the slice above.
        None makes one slice for each distinct value.
    absolute : bool
        Cut by the magnitude of the values.
    unit : str
        Unit of the edges, for labels.
    title : str
        Short name for readers; by default the name of the column.
    """

    column: str
    edges: tuple[float, ...] | None = None
    absolute: bool = False
    unit: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        """Check the edges."""
        if self.edges is not None and (len(self.edges) == 0 or any(a >= b for a, b in itertools.pairwise(self.edges))):
            message = f"edges={self.edges} of slice column {self.column!r} must increase, and at least one is needed. Sort them."
            raise SettingsError(message)

    def labels(self, values: np.ndarray) -> np.ndarray:
        """Return the label of the slice of each value, (n,) str."""
        if self.edges is None:
            return np.asarray(values).astype(str)
        numbers = np.asarray(values, dtype=float)
        return np.array(self.names())[np.searchsorted(self.edges, np.abs(numbers) if self.absolute else numbers, side="right")]

    def names(self) -> tuple[str, ...]:
        """Return the labels of all slices in order; () for a column without bin edges."""
        if self.edges is None:
            return ()
        inner = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(self.edges)]
        names = (f"< {self.edges[0]:g}", *inner, f">= {self.edges[-1]:g}")
        return tuple(f"{name} {self.unit}".strip() for name in names)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SampleStatistics:
    """Additive statistics of every sample of one evaluation.

    Parameters
    ----------
    ids : ndarray
        (n,) str: sample ids, each once.
    clusters : ndarray
        (n,) str: the cluster of each sample, for example its specimen; the bootstrap draws whole clusters.
    statistics : dict of ndarray
        Statistics by name, each (n,) or (n, k); they add up over samples.
    columns : dict of ndarray
        Columns by name, each (n,); the values of a column cut the samples into slices.
    not_given : tuple of str
        Names of the metrics that have no value, because no answer contains the optional part that they need. Statistics that only these
        metrics use need not be given.
    """

    ids: np.ndarray
    clusters: np.ndarray
    statistics: dict[str, np.ndarray]
    columns: dict[str, np.ndarray]
    not_given: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that every array has one row for each sample."""
        n = len(self.ids)
        for name, array in {"clusters": self.clusters, **self.statistics, **self.columns}.items():
            if len(array) != n:
                message = f"{name!r} has {len(array)} rows for {n} samples. Give one row for each sample."
                raise SettingsError(message)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.ids)

    def take(self, which: np.ndarray) -> "SampleStatistics":
        """Return the samples that a mask or an index array selects."""
        return SampleStatistics(
            ids=self.ids[which],
            clusters=self.clusters[which],
            statistics={name: array[which] for name, array in self.statistics.items()},
            columns={name: array[which] for name, array in self.columns.items()},
            not_given=self.not_given,
        )

    def sums(self) -> dict[str, np.ndarray]:
        """Return a dictionary with the name of each statistic and its sum over all samples, an array of shape () or (k,)."""
        return {name: array.sum(axis=0) for name, array in self.statistics.items()}

    def cluster_sums(self) -> dict[str, np.ndarray]:
        """Return a dictionary with the name of each statistic and its sums over the samples of each cluster.

        The arrays of sums have the shape (n_clusters,) or (n_clusters, k).
        """
        _, index = np.unique(self.clusters, return_inverse=True)
        out = {}
        for name, array in self.statistics.items():
            total = np.zeros((index.max() + 1 if len(index) else 0, *array.shape[1:]), dtype=array.dtype)
            np.add.at(total, index, array)
            out[name] = total
        return out


def parts(samples: SampleStatistics, column: SliceColumn) -> dict[str, SampleStatistics]:
    """Cut the samples by a column; the parts are disjoint, cover all samples, and come in the order of the edges or of the labels."""
    labels = column.labels(samples.columns[column.column])
    present = set(labels.tolist())
    order = [name for name in column.names() if name in present] or sorted(present)
    return {name: samples.take(labels == name) for name in order}


def glue(pieces: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the sums over a union of disjoint parts from the sums of the parts."""
    return {name: sum(piece[name] for piece in pieces[1:]) + pieces[0][name] for name in pieces[0]}


def gluing_residual(samples: SampleStatistics, column: SliceColumn) -> float:
    """Return the largest relative difference between the sums of all samples and the sums added up over the slices of a column.

    The result is 0 if all statistics are integers.
    """
    whole = samples.sums()
    glued = glue([part.sums() for part in parts(samples, column).values()])
    worst = 0.0
    for name, value in whole.items():
        scale = np.maximum(np.abs(value), 1.0)
        worst = max(worst, float(np.max(np.abs(value - glued[name]) / scale, initial=0.0)))
    return worst
