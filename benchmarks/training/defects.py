"""Training of the U-Net of ``defects``: ``make learn-defects`` runs this file in an environment with torch.

The network learns on the train split. Each time an image is shown, it is randomly rotated and mirrored, and a square of the image is used. The state
of the network with the largest mean average precision on the val split is stored as ``benchmarks/learned/defects.onnx``, with the learning curve
beside it. The test split is not read.
"""

from typing import TYPE_CHECKING

import numpy as np

from stemtwin.benchmarks import defect_network, point_network
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.families import defects
from stemtwin.benchmarks.training import points
from stemtwin.benchmarks.training.points import Example, TrainingPlan

if TYPE_CHECKING:
    import xarray as xr

    from stemtwin.benchmarks.slices import Sums

STEPS, CURVE, CROP = 2000, 5, 96
"""Steps of the training, points of its curve, and size of the crops, px."""
PRIOR, SOUGHT = -7.0, 0.75
"""Logit with which the training begins, and probability with which a crop is placed around a defect of its image."""


class ShownDefects:
    """Training images of a split, each with its defects.

    Parameters
    ----------
    data : Dataset
        Samples of ``defects``.
    """

    def __init__(self, data: "xr.Dataset") -> None:
        self._rows = []
        for i, truth in enumerate(defects.read_defects(data)):
            given = points.inputs_of(data, i, defects.GIVEN)
            places = point_network.to_pixels(truth.positions, float(given["sampling_angstrom"]))
            self._rows.append((defect_network.maps_of(given), places, truth.classes - 1))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._rows)

    def drawn(self, i: int, rng: np.random.Generator) -> Example:
        """Return image ``i``, randomly rotated and mirrored."""
        maps, places, classes = self._rows[i]
        maps, places = points.turned(maps, places, int(rng.integers(4)), bool(rng.random() < 0.5))
        return Example(maps=maps, places=places, classes=classes)


class DefectValScore:
    """Mean average precision and F1 of networks on the val split.

    Parameters
    ----------
    data : Dataset
        Samples of ``defects``.
    """

    def __init__(self, data: "xr.Dataset") -> None:
        self._given = [points.inputs_of(data, i, defects.GIVEN) for i in range(data.sizes["sample"])]
        self._maps = [defect_network.maps_of(given) for given in self._given]
        self._ids, self._data = data["sample_id"].values.astype(str).tolist(), data

    def found(self, run: point_network.Run) -> list[Points]:
        """Return the defects that a network finds in each sample of the val split."""
        entry = defect_network.DefectNetwork(run)
        return [entry.points(maps, given) for maps, given in zip(self._maps, self._given, strict=True)]

    def sums(self, found: list[Points], shift: float = 0.0) -> "Sums":
        """Return the summed statistics of detected defects after a shift of their logits."""
        out = {}
        for name, one in zip(self._ids, found, strict=True):
            assert one.confidence is not None, "the network gives a confidence for each defect"
            confidence = 1 / (1 + np.exp(-shift) * (1 / np.maximum(one.confidence, 1e-9) - 1))
            out[name] = Points(positions=one.positions, classes=one.classes, confidence=confidence)
        return defects.score(self._data, out).sums()

    def precision(self, run: point_network.Run) -> float:
        """Return the mean average precision of a network."""
        return float(defects.mean_average_precision(self.sums(self.found(run))))

    def best_shift(self, run: point_network.Run) -> float:
        """Return the shift of the logits for which the detections with a confidence of at least 0.5 have the largest F1, all classes together."""
        found = self.found(run)

        def value(shift: float) -> float:
            sums = self.sums(found, shift)
            return 2 * float(sums["sure_tp"]) / float(sums["sure_tp"] + sums["sure_fp"] + sums["asked"])

        return float(max(points.SHIFTS, key=value))


PLAN = TrainingPlan(inputs=defect_network.INPUTS, classes=len(defects.CLASSES), size=CROP, steps=STEPS, points=CURVE, prior=PRIOR, sought=SOUGHT)


def main(arguments: list[str] | None = None) -> None:
    """Train the network, and write the network and its learning curve."""
    points.learn(
        arguments,
        text=__doc__ or "",
        dataset="defects@1.0.0",
        target="learn-defects",
        model=defect_network.MODEL,
        plan=PLAN,
        shown=ShownDefects,
        score=DefectValScore,
    )


if __name__ == "__main__":
    main()
