"""Training of the U-Net of the task ``denoise``: ``make learn-denoise`` runs this file in an environment with torch.

The network learns on the train split. Each time an image is shown, it is randomly rotated and mirrored; half of the time, some frames of a stack are
left out, and half of the time, electrons are randomly removed to simulate a lower dose. The state of the network with the smallest error on the val
split is stored as ``benchmarks/learned/denoise.onnx``, with the learning curve beside it. The test split is not read. Both splits have the size
``std``, which ``stemtwin data build`` makes.
"""

import argparse
import copy
import io
import json
import math
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.benchmarks.denoiser import CONTRAST, MODEL, features
from stemtwin.benchmarks.families.denoise import CHANNELS
from stemtwin.benchmarks.training import unet
from stemtwin.twin import files

if TYPE_CHECKING:
    import xarray as xr

WIDTHS = (32, 48, 64, 80)
"""Channels at 1/2, 1/4, 1/8 and 1/16 of the resolution; the counts go in and out as blocks of 2 x 2 px."""
MINUTES, BATCH, RATE = 12.0, 8, 2e-3
"""Processor time of the training; images of a step; largest learning rate of AdamW, which rises for a twentieth of the time and falls to zero."""
LEAST_DOSE, LEAST_PART = 10.0, 0.1
"""Least dose, e-/A^2, and least fraction of an image's electrons after thinning."""
EVERY_S, SEED, LEAST_ERROR = 60.0, 0, 1e-7
"""Time between points of the curve, s; seed; error in L^2 below which improvements do not count."""


def network() -> Any:
    """Return the U-Net, which maps features (n, 9, y, x) to deviations from the mean (n, 2, y, x)."""
    import torch  # pyright: ignore[reportMissingImports] - only where networks are trained
    from torch import nn  # pyright: ignore[reportMissingImports]

    class _UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fold, self.unfold = nn.PixelUnshuffle(2), nn.PixelShuffle(2)
            self.levels = unet.levels(2 * 4 + 7, WIDTHS)
            self.out = nn.Conv2d(WIDTHS[0], 2 * 4, 3, padding=1)
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

        def forward(self, seen: Any) -> Any:
            """Return the deviations of features."""
            folded = torch.cat([self.fold(seen[:, :2]), seen[:, 2:, ::2, ::2]], dim=1)
            return self.unfold(self.out(self.levels(folded)))

    return _UNet()


class Shown:
    """Images of a split in the form in which the network receives them.

    Parameters
    ----------
    data : Dataset
        Samples of ``denoise``.
    """

    def __init__(self, data: "xr.Dataset") -> None:
        self.image, self.frames = data["image"].values, data["frames"].values.astype(int)
        self.step = data["sampling_angstrom"].values.astype(float)
        self.dose = data["dose_e_per_angstrom2"].values.astype(float)
        incident = self.dose * self.step**2
        self.truth = data["expected"].values.astype(np.float64)
        self.range = np.stack([data[f"{name}_range"].values * incident for name in CHANNELS], axis=1)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.step)

    def whole(self, i: int) -> tuple[np.ndarray, ...]:
        """Return the features, the mean counts, the true image and the signal range L of image ``i``.

        The image is neither rotated, mirrored nor reduced in dose.
        """
        return self._made(self.image[i, : self.frames[i]].sum(axis=0, dtype=np.int64), i, 1.0)

    def drawn(self, i: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Return the features, the mean counts, the true image and the signal range L of image ``i``.

        The image is randomly rotated, mirrored and reduced in dose.
        """
        frames = self.image[i, : self.frames[i]].astype(np.int64)
        some = int(rng.integers(1, len(frames) + 1)) if rng.random() < 0.5 else len(frames)
        counts, part = frames[:some].sum(axis=0), some / len(frames)
        least = min(1.0, max(LEAST_DOSE / (self.dose[i] * part), LEAST_PART))
        if rng.random() < 0.5:
            thin = math.exp(rng.uniform(math.log(least), 0.0))
            counts, part = rng.binomial(counts, thin), part * thin
        made = self._made(counts, i, part)
        turns, mirrored = int(rng.integers(4)), rng.random() < 0.5

        def turned(image: np.ndarray) -> np.ndarray:
            image = np.rot90(image, turns, axes=(1, 2))
            return np.ascontiguousarray(image[:, :, ::-1] if mirrored else image)

        return turned(made[0]), made[1], turned(made[2]), made[3]

    def _made(self, counts: np.ndarray, i: int, part: float) -> tuple[np.ndarray, ...]:
        seen, mean = features(counts.astype(float), float(self.step[i]))
        return seen, mean, (self.truth[i] * part).astype(np.float32), (self.range[i] * part).astype(np.float32)[:, None, None]


def error(model: Any, rows: list[tuple[np.ndarray, ...]]) -> Any:
    """Return, as a tensor, the mean over images and channels of log(e / L^2), where e is the mean squared error of a channel of an image.

    L is the signal range that defines the PSNR of the channel, so the result is proportional to the negative PSNR.
    """
    import torch  # pyright: ignore[reportMissingImports]

    seen, mean, truth, ranges = (torch.from_numpy(np.stack(parts)) for parts in zip(*rows, strict=True))
    estimate = mean * (1 + torch.from_numpy(CONTRAST) * model(seen))
    return torch.log((((estimate - truth) / ranges) ** 2).mean(dim=(2, 3)) + LEAST_ERROR).mean()


def train(data: "xr.Dataset", val: "xr.Dataset", minutes: float) -> tuple[bytes, list[dict[str, float]]]:
    """Train a network, and return it as ONNX with its learning curve; new points of the curve are reported on stderr.

    Parameters
    ----------
    data, val : Dataset
        Samples of the train and the val split.
    minutes : float
        Processor time, min.
    """
    import torch  # pyright: ignore[reportMissingImports]

    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rng, model, shown, held = np.random.Generator(np.random.Philox(SEED)), network(), Shown(data), Shown(val)
    fixed = [held.whole(i) for i in range(len(held))]
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-3)
    curve, best, spent, began, images = [], (math.inf, model), 0.0, time.process_time(), 0
    while (share := (time.process_time() - began - spent) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, share / 0.05) * 0.5 * (1 + math.cos(math.pi * share))
        loss = error(model, [shown.drawn(int(i), rng) for i in rng.integers(0, len(shown), BATCH)])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        images += BATCH
        if time.process_time() - began - spent > EVERY_S * (len(curve) + 1):
            before = time.process_time()
            best = min(best, _measured(model, fixed, curve, images, before - began - spent), key=lambda one: one[0])
            spent += time.process_time() - before
    best = min(best, _measured(model, fixed, curve, images, 60 * minutes), key=lambda one: one[0])
    return export(best[1]), curve


def _measured(model: Any, fixed: list, curve: list[dict[str, float]], images: int, cpu_s: float) -> tuple[float, Any]:
    """Add a point to the curve; return the error on the val split and a copy of the network."""
    import torch  # pyright: ignore[reportMissingImports]

    with torch.no_grad():
        found = float(np.mean([float(error(model, [row])) for row in fixed]))
    psnr = -10 / math.log(10) * found
    curve.append({"images": images, "cpu_s": round(cpu_s, 1), "val_psnr": round(psnr, 4)})
    sys.stderr.write(f"{images} images, {cpu_s:.0f} s of CPU, PSNR {psnr:.3f} dB on val\n")
    sys.stderr.flush()
    return found, copy.deepcopy(model)


def export(model: Any) -> bytes:
    """Return a network as ONNX, for images whose height and width are multiples of 16 px."""
    import torch  # pyright: ignore[reportMissingImports]

    written = io.BytesIO()
    axes = {"counts": {2: "y", 3: "x"}, "deviation": {2: "y", 3: "x"}}
    example = torch.zeros(1, 9, 64, 64)
    torch.onnx.export(
        model.eval(), (example,), written, input_names=["counts"], output_names=["deviation"], dynamic_axes=axes, dynamo=False, opset_version=17
    )
    return written.getvalue()


def main(arguments: list[str] | None = None) -> None:
    """Train the network, and write the network and its learning curve."""
    from stemtwin.datasets.catalog import load_dataset

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="processor time of the training in minutes")
    parser.add_argument("--size", default="std", help="size of the dataset")
    given = parser.parse_args(arguments)
    data, val = (load_dataset("denoise", version="1.0.0", size=given.size, split=split, format="xarray") for split in ("train", "val"))
    sys.stderr.write(f"{len(data['sample_id'])} images to learn on, {given.minutes:g} min of CPU on one thread\n")
    content, curve = train(data, val, given.minutes)
    settings = {
        "widths": WIDTHS,
        "batch": BATCH,
        "rate": RATE,
        "seed": SEED,
        "minutes": given.minutes,
        "dataset": "denoise@1.0.0",
        "size": given.size,
    }
    files.write_atomically(MODEL, content)
    files.write_atomically(MODEL.with_suffix(".json"), (json.dumps({"settings": settings, "curve": curve}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
