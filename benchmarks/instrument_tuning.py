"""Settings of the baseline ``adapted`` of the task ``instruments``, tuned on the labelled images that this baseline is allowed to use.

``python -m stemtwin.benchmarks.instrument_tuning`` reads the splits train and adapt and writes ``benchmarks/learned/instruments.json``. For 0
labelled images of an instrument, the settings are those with the largest average precision on the train split. For 5 and 20 labelled images, they are
those with the largest average precision on the instrument's first 5 or 20 images in the split adapt. The test split is not read.
"""

import argparse
import itertools
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.benchmarks.baselines.atoms_v2 import LEAST_SNR, WIDTHS_ANGSTROM, RefinedPeaks
from stemtwin.benchmarks.baselines.instruments import ADAPTED
from stemtwin.benchmarks.families.atoms import frame_bounds
from stemtwin.benchmarks.families.atoms_v2 import ranked_counts, read_bounded
from stemtwin.benchmarks.families.instruments import AWAY, LABELS
from stemtwin.benchmarks.metrics.ranked import average_precision
from stemtwin.benchmarks.readings import electrons_of
from stemtwin.twin import files

if TYPE_CHECKING:
    import xarray as xr

PARTS = (0.12, 0.3)
"""Candidate heights, relative to the strong peaks, at which a peak is a column with probability 1/2."""
SCALES = (WIDTHS_ANGSTROM, *((width,) for width in WIDTHS_ANGSTROM))
"""Candidate widths of the scale, A."""


def first_images(data: "xr.Dataset", instrument: str, count: int) -> "xr.Dataset":
    """Return the first images of an instrument in the order of the rows, at most ``count``."""
    return data.isel(sample=np.flatnonzero(data["instrument"].values.astype(str) == instrument)[:count])


def best_settings(data: "xr.Dataset") -> dict[str, Any]:
    """Return the settings of the peak detection with the largest average precision on labelled images.

    Peaks are not refined here. Among equally good settings, the first are returned.
    """
    truths, frames, best = read_bounded(data), frame_bounds(data), (-1.0, {})
    images = [electrons_of({name: data[name].values[i] for name in ("image", "gain_adu", "offset_adu")}) for i in range(len(truths))]
    steps = data["sampling_angstrom"].values.astype(float)
    for part, widths in itertools.product(PARTS, SCALES):
        found = [RefinedPeaks(LEAST_SNR, part, widths).points(image, float(step), refined=False) for image, step in zip(images, steps, strict=True)]
        rows = [ranked_counts(*row) for row in zip(found, truths, frames, strict=True)]
        value = float(average_precision({name: np.sum(np.array([row[name] for row in rows]), axis=0) for name in rows[0]}))
        if value > best[0]:
            best = (value, {"least_snr": LEAST_SNR, "least_part": part, "widths": list(widths)})
    return best[1]


def main(arguments: list[str] | None = None) -> None:
    """Tune the settings and write them."""
    from stemtwin.datasets.catalog import load_dataset

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="std", help="size of the dataset; its splits 'train' and 'adapt' are read")
    given = parser.parse_args(arguments)
    train, adapt = (load_dataset("instruments", version="1.0.0", size=given.size, split=split) for split in ("train", "adapt"))
    sys.stderr.write(f"{train.sizes['sample']} images of train, {adapt.sizes['sample']} of adapt\n")
    home = best_settings(train)
    settings: dict[str, dict[str, Any]] = {str(number): {"any": home} for number in LABELS}
    for number, name in itertools.product(LABELS[1:], AWAY):
        settings[str(number)][name] = best_settings(first_images(adapt, name, number))
        sys.stderr.write(f"{name}, {number} labelled images: {settings[str(number)][name]}\n")
    told = {"dataset": "instruments@1.0.0", "size": given.size, "settings": settings}
    files.write_atomically(ADAPTED, (json.dumps(told, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
