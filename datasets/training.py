"""Samples for training: rows as dictionaries of arrays, batches, and label maps, which are drawn from lists of points.

All values are numpy arrays; :func:`torch_dataset` returns the same samples as tensors.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stemtwin.datasets import catalog
from stemtwin.datasets.cards import Card, known
from stemtwin.datasets.columns import PADDING, Column
from stemtwin.twin import checks
from stemtwin.twin.errors import DatasetError

LABELS = "labels"
"""Key of the label map in a sample."""
RADIUS_ANGSTROM = 0.5
PITCH = "sampling_angstrom"
"""Column of the pixel pitch, A."""


class TrainingSamples:
    """Rows of a split, each as a dictionary of arrays.

    Parameters
    ----------
    card : Card
        Card of the dataset.
    data : mapping of str to ndarray
        Split from ``load_dataset(format="numpy")``.
    labels : str, optional
        Name of a ragged column of integers or booleans, whose values are drawn into a label map. Each sample then contains
        the map ``"labels"``, an int64 array with the last two dimensions of the image. A pixel of the map holds the
        value of the nearest point within the radius, or 0 if no point is within the radius.
    where : str, optional
        Name of a ragged column of booleans. Only points for which this column is True are drawn.
    radius_angstrom : float
        Radius of a point in the label map, A.

    Raises
    ------
    DatasetError
        A column does not exist or has the wrong type, or the card lacks the points or the pixel pitch for a label map.
    """

    def __init__(
        self,
        card: Card,
        data: Mapping[str, Any],
        *,
        labels: str | None = None,
        where: str | None = None,
        radius_angstrom: float = RADIUS_ANGSTROM,
    ) -> None:
        self.card, self.data = card, data
        self.radius_angstrom = checks.number("radius_angstrom", radius_angstrom, "A", above=0.0)
        self.labels = None if labels is None else _ragged(card, labels, ("int64", "int32", "uint8", "uint16", "bool"))
        self.where = None if where is None else _ragged(card, where, ("bool",))
        self.points = _points(card, self.labels) if self.labels else ("", "", (0, 0))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.data["sample_id"])

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Return a row as a dictionary of arrays and texts by column name, with the label map if one was requested.

        Ragged columns have the length of their list, without padding.
        """
        if not -len(self) <= row < len(self):
            message = f"sample {row} does not exist: the split has samples 0 to {len(self) - 1}"
            raise IndexError(message)  # ends Python's iteration
        sample = {column.name: np.asarray(column.trimmed(self.data, row)) for column in self.card.columns if column.dtype != "string"}
        texts = [column for column in self.card.columns if column.dtype == "string"]
        sample |= {column.name: np.asarray(column.trimmed(self.data, row)).tolist() for column in texts}
        return sample | ({LABELS: self._label_map(sample, self.labels.name)} if self.labels else {})

    def _label_map(self, sample: Mapping[str, Any], labels: str) -> np.ndarray:
        x, y, shape = self.points
        chosen = sample[self.where.name] if self.where else np.ones(len(sample[x]), bool)
        points = np.column_stack([sample[y], sample[x]])[chosen] / float(sample[PITCH])
        return label_map(shape, points, sample[labels][chosen], self.radius_angstrom / float(sample[PITCH]))

    def collate(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return a batch of samples: arrays stacked along a new first dimension, and texts as lists.

        Ragged columns are padded to the longest list of the batch. Their count column holds the number of entries without
        padding.
        """
        batch: dict[str, Any] = {}
        for name in samples[0]:
            values = [sample[name] for sample in samples]
            column = None if name == LABELS else self.card.column(name)
            if column is not None and column.dtype == "string":
                batch[name] = values
            else:
                batch[name] = np.stack(_padded(values, column) if column is not None and column.ragged else values)
        return batch


def _padded(values: Sequence[np.ndarray], column: Column) -> list[np.ndarray]:
    longest = max(len(value) for value in values)
    return [np.pad(value, (0, longest - len(value)), constant_values=PADDING[column.dtype]) for value in values]


def label_map(shape: tuple[int, int], points: np.ndarray, labels: np.ndarray, radius: float) -> np.ndarray:
    """Return a label map, int64 (ny, nx): the label of the nearest point within a radius, and 0 elsewhere.

    Parameters
    ----------
    shape : tuple of int
        Number of pixels (ny, nx).
    points : ndarray
        Positions (n, 2), y and x in pixels; the centre of pixel [0, 0] is (0, 0).
    labels : ndarray
        Integer labels (n,) of the points.
    radius : float
        Radius in pixels.
    """
    from scipy.spatial import KDTree

    found = np.zeros(shape, np.int64)
    if len(points):
        pixels = np.moveaxis(np.indices(shape), 0, -1)
        distance, nearest = KDTree(points).query(pixels, distance_upper_bound=np.nextafter(radius, np.inf))
        inside = np.isfinite(distance)
        found[inside] = np.asarray(labels)[nearest[inside]]
    return found


def _ragged(card: Card, name: str, dtypes: Sequence[str]) -> Column:
    """Return the ragged column with a given name; raise DatasetError if it does not exist or has a type not in ``dtypes``."""
    fitting = [column.name for column in card.columns if column.ragged and column.dtype in dtypes]
    return card.column(known(f"ragged column ({' or '.join(dtypes)})", name, fitting, card.id))


def _points(card: Card, labels: Column) -> tuple[str, str, tuple[int, int]]:
    """Return the names of the columns x and y of the points with a label column, and the shape of the images."""
    same = [column.name for column in card.columns if column.ragged and column.count_name == labels.count_name]
    x, y = (next((name for name in same if name.endswith(f"_{axis}_angstrom")), None) for axis in "xy")
    image = next((column for column in card.columns if column.role == "input" and len(column.shape) > 1), None)
    if x is None or y is None or image is None or PITCH not in card.column_names():
        message = (
            f"Label maps of {labels.name} cannot be drawn for {card.id}: the card must have images and the columns *_x_angstrom, "
            f"*_y_angstrom and {PITCH}. Leave out the argument 'labels'."
        )
        raise DatasetError(message)
    return x, y, (image.shape[-2], image.shape[-1])


def load_samples(
    name: str,
    *,
    version: str | None = None,
    size: str = "std",
    split: str = "train",
    build: bool | None = None,
    **drawing: Any,
) -> TrainingSamples:
    """Load one split of a dataset as :class:`TrainingSamples`.

    ``drawing`` contains the arguments ``labels``, ``where`` and ``radius_angstrom`` of :class:`TrainingSamples`. The other
    arguments are those of :func:`stemtwin.datasets.catalog.load_dataset`.
    """
    data = catalog.load_dataset(name, version=version, size=size, split=split, format="numpy", build=build)
    return TrainingSamples(catalog.card_of(name, version), data, **drawing)


def torch_dataset(
    name: str,
    *,
    version: str | None = None,
    size: str = "std",
    split: str = "train",
    labels: str | None = None,
    where: str | None = None,
    radius_angstrom: float = RADIUS_ANGSTROM,
    build: bool | None = None,
) -> Any:
    """Load one split of a dataset for PyTorch.

    Parameters
    ----------
    name, version, size, split, build
        See :func:`stemtwin.datasets.catalog.load_dataset`.
    labels : str, optional
        Name of a ragged column whose values are drawn into a label map, for example ``"column_heaviest"``. Each sample
        then contains the map ``"labels"``, an int64 tensor with the last two dimensions of the image. A pixel of the map
        holds the value of the nearest point of the truth within the radius, or 0 if no point is within the radius.
    where : str, optional
        Name of a ragged column of booleans, for example ``"column_visible"``. Only points for which this column is True are drawn.
    radius_angstrom : float
        Radius of a point in label maps, A.

    Returns
    -------
    torch.utils.data.Dataset
        Dataset whose samples are dictionaries of texts and of tensors in the card's types, so uint16 images remain uint16.
        Its method ``collate`` makes batches with padded ragged columns:
        ``DataLoader(data, batch_size=8, collate_fn=data.collate)``.

    Raises
    ------
    StemtwinError
        The dataset cannot be loaded (see ``load_dataset``), a column for the label map does not exist or has the wrong
        type, or PyTorch is not installed.

    Examples
    --------
    >>> import stemtwin as st
    >>> data = st.torch_dataset("atoms-2d@1", size="tiny", labels="column_heaviest")
    >>> data[0]["labels"].shape
    torch.Size([128, 128])
    """
    try:
        tensors = importlib.import_module("stemtwin.datasets.torch_samples")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        message = "PyTorch is not installed. Install it with 'pip install torch', or use st.load_arrays, which needs only numpy."
        raise DatasetError(message) from None
    drawing = {"labels": labels, "where": where, "radius_angstrom": radius_angstrom}
    return tensors.TorchSamples(load_samples(name, version=version, size=size, split=split, build=build, **drawing))
