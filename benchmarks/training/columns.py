"""Training of the U-Net of ``atoms-2d@2``: ``make learn-columns`` runs this file in an environment with torch.

The network learns on the train split. Each time an image is shown, it is randomly rotated and mirrored, noise is added with probability 1/2, and a
square of the image is used. The state of the network with the largest average precision on the val split is stored as
``benchmarks/learned/atoms-2d-v2.onnx``, with the learning curve beside it. The test split is not read.
"""

from typing import TYPE_CHECKING

import numpy as np

from stemtwin.benchmarks import column_network, point_network
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.families import atoms_v2
from stemtwin.benchmarks.families.atoms import frame_bounds
from stemtwin.benchmarks.metrics.detection import f1
from stemtwin.benchmarks.metrics.ranked import average_precision
from stemtwin.benchmarks.readings import electrons_of
from stemtwin.benchmarks.training import points
from stemtwin.benchmarks.training.points import Example, TrainingPlan

if TYPE_CHECKING:
    import xarray as xr

STEPS, CURVE, CROP = 700, 2, 96
"""Steps of the training, points of its curve, and size of the crops, px."""
PRIOR = -4.0
"""Logit with which the training begins."""
MOST_NOISE = 2.0
"""Largest standard deviation of added noise, in units of the noise of the image."""


class ShownColumns:
    """Training images of a split, each with its atomic columns.

    Parameters
    ----------
    data : Dataset
        Samples of the dataset ``atoms-2d``, version 2.
    """

    def __init__(self, data: "xr.Dataset") -> None:
        self._rows = []
        for i, truth in enumerate(atoms_v2.read_columns(data)):
            given = points.inputs_of(data, i, atoms_v2.GIVEN)
            step = float(given["sampling_angstrom"])
            image = point_network.resampled(electrons_of(given), step)
            places = point_network.to_pixels(truth.positions, step)
            self._rows.append((image, column_network.constants(given), places, np.where(truth.visible, 0, -1)))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._rows)

    def drawn(self, i: int, rng: np.random.Generator) -> Example:
        """Return image ``i``, randomly rotated and mirrored, and with added noise half of the time."""
        image, (noise, limit), places, classes = self._rows[i]
        image, places = points.turned(image, places, int(rng.integers(4)), bool(rng.random() < 0.5))
        if rng.random() < 0.5:
            more = noise * rng.uniform(0, MOST_NOISE)
            image, noise = image + rng.normal(0, more, image.shape), float(np.hypot(noise, more))
        return Example(maps=column_network.features(image, noise, limit), places=places, classes=classes)


class ColumnValScore:
    """Average precision and F1 of networks on the val split.

    Parameters
    ----------
    data : Dataset
        Samples of the dataset ``atoms-2d``, version 2.
    """

    def __init__(self, data: "xr.Dataset") -> None:
        self._given = [points.inputs_of(data, i, atoms_v2.GIVEN) for i in range(data.sizes["sample"])]
        self._ids, self._data = data["sample_id"].values.astype(str).tolist(), data
        self._truths, self._frames = atoms_v2.read_bounded(data), frame_bounds(data)

    def found(self, run: point_network.Run) -> list[Points]:
        """Return the columns that a network finds in each sample of the val split."""
        entry, rng = column_network.ColumnNetwork(run), np.random.default_rng(0)
        return [entry.predict(given, rng) for given in self._given]

    def precision(self, run: point_network.Run) -> float:
        """Return the average precision of a network."""
        rows = [atoms_v2.ranked_counts(*row) for row in zip(self.found(run), self._truths, self._frames, strict=True)]
        return float(average_precision({name: np.sum(np.array([row[name] for row in rows]), axis=0) for name in rows[0]}))

    def best_shift(self, run: point_network.Run) -> float:
        """Return the shift of the logits for which the detections with a confidence of at least 0.5 have the largest F1."""
        found, best = self.found(run), (-1.0, 0.0)
        for shift in points.SHIFTS:
            sure = {name: Points.at(one.positions[one.confidence >= 1 / (1 + np.exp(shift))]) for name, one in zip(self._ids, found, strict=True)}
            best = max(best, (float(f1(atoms_v2.score(self._data, sure).sums())), float(shift)))
        return best[1]


PLAN = TrainingPlan(inputs=column_network.INPUTS, classes=column_network.CLASSES, size=CROP, steps=STEPS, points=CURVE, prior=PRIOR)


def main(arguments: list[str] | None = None) -> None:
    """Train the network, and write the network and its learning curve."""
    points.learn(
        arguments,
        text=__doc__ or "",
        dataset="atoms-2d@2.0.0",
        target="learn-columns",
        model=column_network.MODEL,
        plan=PLAN,
        shown=ShownColumns,
        score=ColumnValScore,
    )


if __name__ == "__main__":
    main()
