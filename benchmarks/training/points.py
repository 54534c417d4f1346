"""The U-Net that finds points in images, its loss, its training and its export as ONNX.

A task provides its images as :class:`ShownImages` and a score on its val split. The network with the best score is stored;
the test split is not read. At the end, all class logits are shifted by one constant, which is chosen on the val split.
"""

import argparse
import copy
import dataclasses
import hashlib
import io
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from stemtwin.benchmarks.point_network import STEP_ANGSTROM, Run
from stemtwin.benchmarks.training import unet
from stemtwin.twin import files

if TYPE_CHECKING:
    import xarray as xr

    from stemtwin.benchmarks.answers.form import Field

WIDTHS = (24, 32, 48, 64)
"""Channels at 1/2, 1/4, 1/8 and 1/16 of the resolution; maps go in and out as blocks of 2 x 2 px."""
BATCH, RATE, SEED = 8, 3e-3, 0
"""Crops of a step; largest learning rate of AdamW, which rises for a twentieth of the steps and falls to zero; seed."""
SPREAD_ANGSTROM = 0.25
"""Standard deviation of the Gaussian about a point that is the target of its class, A."""
REACH_ANGSTROM = 0.4
"""Distance within which the offset to a point is learned, and within which an unscored point hides the image from the loss, A."""
EDGE_PX = 2
"""Width of the border of a crop that the loss ignores, px."""
OFFSET_WEIGHT = 0.5
SHIFTS = np.linspace(-2, 2, 17)
"""Candidates of the constant that is added to the logits, so that detections with a confidence of 0.5 or more have the largest F1 on val."""


class ShownImages(Protocol):
    """Interface of the training images of a split."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def drawn(self, i: int, rng: np.random.Generator) -> "Example":
        """Return image ``i`` with random augmentation."""
        ...


class ValScore(Protocol):
    """Interface of the objects that score a network on the val split."""

    def precision(self, run: Run) -> float:
        """Return the average precision of a network."""
        ...

    def best_shift(self, run: Run) -> float:
        """Return the constant, from -2 to 2, whose addition to all class logits of a network gives the best score.

        Each confidence is the sigmoid of one logit, so the constant determines which points have a confidence of at least 0.5.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """Input maps of an image, and the points in the image.

    Parameters
    ----------
    maps : ndarray
        (n, ny, nx) float32.
    places : ndarray
        (m, 2) x and y, px.
    classes : ndarray
        (m,) classes from 0; -1 for a point that is not scored.
    """

    maps: np.ndarray
    places: np.ndarray
    classes: np.ndarray


def turned(image: np.ndarray, places: np.ndarray, turns: int, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (..., ny, nx) and its points (m, 2), px, after quarter turns and, if ``mirrored``, a reflection."""
    for _ in range(turns % 4):
        places = np.stack([places[:, 1], image.shape[-1] - 1 - places[:, 0]], axis=1)
        image = np.rot90(image, axes=(-2, -1))
    if mirrored:
        places = np.stack([image.shape[-1] - 1 - places[:, 0], places[:, 1]], axis=1)
        image = image[..., ::-1]
    return np.ascontiguousarray(image), places


def cropped(example: Example, size: int, rng: np.random.Generator, sought: float = 0.0) -> Example:
    """Return a random crop of an image with edges of at most ``size`` px.

    If the image has scored points, one of them is chosen at random with probability ``sought``, and the crop contains it.
    """
    ny, nx = example.maps.shape[1:]
    x, y = (int(rng.integers(max(n - size, 0) + 1)) for n in (nx, ny))
    scored = np.flatnonzero(example.classes >= 0)
    if len(scored) and rng.random() < sought:
        corner = example.places[rng.choice(scored)] - size * rng.uniform(0.1, 0.9, 2)
        x, y = (int(np.clip(round(low), 0, max(n - size, 0))) for low, n in zip(corner, (nx, ny), strict=True))
    maps = example.maps[:, y : y + size, x : x + size]
    return Example(maps=maps, places=example.places - [x, y], classes=example.classes)


def targets(example: Example, classes: int, size: int) -> np.ndarray:
    """Return the targets of the loss for a crop, as maps (classes + 4, size, size) float32.

    The maps are, in this order: one map for each class with a Gaussian about each of its points, two maps of the offsets x and y to the nearest
    point, the weight of the offsets in the loss, and the weight of the classes in the loss.
    """
    ny, nx = example.maps.shape[1:]
    out = np.zeros((classes + 4, size, size), dtype=np.float32)
    out[-1, EDGE_PX : ny - EDGE_PX, EDGE_PX : nx - EDGE_PX] = 1
    reach, nearest = REACH_ANGSTROM / STEP_ANGSTROM, np.full((size, size), np.inf)
    wide = math.ceil(4 * SPREAD_ANGSTROM / STEP_ANGSTROM)
    near = ((example.places > -wide - 1) & (example.places < np.array([nx, ny]) + wide)).all(axis=1)
    for (x, y), number in zip(example.places[near], example.classes[near], strict=True):
        left, top = max(0, round(x) - wide), max(0, round(y) - wide)
        right, low = min(nx, round(x) + wide + 1), min(ny, round(y) + wide + 1)
        if left >= right or top >= low:
            continue
        rows, columns = np.mgrid[top:low, left:right]
        square = (columns - x) ** 2 + (rows - y) ** 2
        part = (slice(top, low), slice(left, right))
        if number < 0:
            out[-1][part][square < reach**2] = 0
            continue
        np.maximum(out[number][part], np.exp(-square / 2 / (SPREAD_ANGSTROM / STEP_ANGSTROM) ** 2), out=out[number][part])
        closer = square < nearest[part]
        nearest[part][closer] = square[closer]
        out[-4][part][closer], out[-3][part][closer] = (columns - x)[closer] * -1, (rows - y)[closer] * -1
    out[-2] = (nearest < reach**2) * out[-1]
    return out


def network(inputs: int, classes: int, prior: float) -> Any:
    """Return the U-Net, which maps inputs (n, inputs, y, x) to logits of the classes and two offsets (n, classes + 2, y, x).

    Before training, all logits are ``prior``.
    """
    import torch  # pyright: ignore[reportMissingImports] - only where networks are trained
    from torch import nn  # pyright: ignore[reportMissingImports]

    class _UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fold, self.unfold = nn.PixelUnshuffle(2), nn.PixelShuffle(2)
            self.levels = unet.levels(4 * inputs, WIDTHS)
            self.out = nn.Conv2d(WIDTHS[0], 4 * (classes + 2), 1)
            nn.init.zeros_(self.out.weight)
            with torch.no_grad():
                self.out.bias.copy_(torch.tensor([prior] * (4 * classes) + [0.0] * 8))

        def forward(self, seen: Any) -> Any:
            """Return the logits and offsets of maps."""
            found = self.levels(self.fold(seen))
            with torch.autocast("cpu", enabled=False):
                return self.unfold(self.out(found.float()))

    return _UNet()


def loss(out: Any, wanted: Any) -> Any:
    """Return, as a tensor, the loss per point of the batch: the cross entropy of the classes plus the weighted error of the offsets."""
    import torch  # pyright: ignore[reportMissingImports]

    heat, weight = wanted[:, :-4], wanted[:, -1:]
    points = heat.sum() * (STEP_ANGSTROM / SPREAD_ANGSTROM) ** 2 / (2 * math.pi) + 1
    entropy = (torch.nn.functional.binary_cross_entropy_with_logits(out[:, :-2], heat, reduction="none") * weight).sum() / points
    apart = (torch.nn.functional.smooth_l1_loss(out[:, -2:], wanted[:, -4:-2], reduction="none", beta=0.3) * wanted[:, -2:-1]).sum()
    return entropy + OFFSET_WEIGHT * apart / points


def as_run(model: Any) -> Run:
    """Wrap a torch network in the interface of a network from an ONNX file."""
    import torch  # pyright: ignore[reportMissingImports]

    def run(maps: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(maps)).numpy()

    return run


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """Settings of a training run.

    Parameters
    ----------
    inputs, classes : int
        Number of input maps, and number of classes of points.
    size : int
        Height and width of the crops, px.
    steps, points : int
        Number of steps of the optimiser, and number of times that the score on the val split is measured.
    prior : float
        Logit of every class at every pixel before the first step; -4, for example, is a probability of 0.018.
    sought : float
        Probability with which the crop of an image is placed around one of the image's scored points, if there are any.
    """

    inputs: int
    classes: int
    size: int
    steps: int
    points: int
    prior: float
    sought: float = 0.0


def train(shown: ShownImages, plan: TrainingPlan, score: Callable[[Run], float], keep: Callable[[Any, list], None]) -> None:
    """Train a network, and call ``keep`` with the network and the learning curve whenever the score on the val split is the best so far.

    Parameters
    ----------
    shown : ShownImages
        Images of the train split.
    plan : TrainingPlan
        Settings.
    score : callable
        Function that returns the score of a network on the val split; larger is better.
    keep : callable
        Called with the best network so far and the curve; at the end with None and the whole curve.
    """
    import torch  # pyright: ignore[reportMissingImports]

    torch.manual_seed(SEED)
    rng, model = np.random.Generator(np.random.Philox(SEED)), network(plan.inputs, plan.classes, plan.prior)
    model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-3)
    curve, best, began, order = [], -math.inf, time.process_time(), []
    for step in range(plan.steps):
        share = step / plan.steps
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, share / 0.05 + 0.02) * 0.5 * (1 + math.cos(math.pi * share))
        batch = []
        for _ in range(BATCH):
            order = order or rng.permutation(len(shown)).tolist()
            batch.append(cropped(shown.drawn(order.pop(), rng), plan.size, rng, plan.sought))
        maps = np.stack([_filled(one.maps, plan.size) for one in batch])
        wanted = np.stack([targets(one, plan.classes, plan.size) for one in batch])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(torch.from_numpy(maps).to(memory_format=torch.channels_last))
        value = loss(out.float(), torch.from_numpy(wanted))
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        if (step + 1) * plan.points // plan.steps > step * plan.points // plan.steps:
            found = score(as_run(model))
            curve.append({"steps": step + 1, "cpu_s": round(time.process_time() - began, 1), "val": round(found, 4), "loss": round(value.item(), 3)})
            sys.stderr.write(f"{json.dumps(curve[-1])}\n")
            sys.stderr.flush()
            if found > best:
                best = found
                keep(copy.deepcopy(model), curve)
    keep(None, curve)


def _filled(maps: np.ndarray, size: int) -> np.ndarray:
    """Return maps extended by their edge to a square of ``size`` px."""
    ny, nx = maps.shape[1:]
    return np.pad(maps, ((0, 0), (0, size - ny), (0, size - nx)), mode="edge")


def export(model: Any, inputs: int) -> bytes:
    """Return a network as ONNX, for images whose height and width are multiples of 16 px."""
    import torch  # pyright: ignore[reportMissingImports]

    written, axes = io.BytesIO(), {"maps": {2: "y", 3: "x"}, "points": {2: "y", 3: "x"}}
    example = torch.zeros(1, inputs, 64, 64)
    torch.onnx.export(
        model.eval(), (example,), written, input_names=["maps"], output_names=["points"], dynamic_axes=axes, dynamo=False, opset_version=17
    )
    return written.getvalue()


def shifted(model: Any, classes: int, shift: float) -> Any:
    """Return a copy of a network with a constant added to the logits of all classes."""
    import torch  # pyright: ignore[reportMissingImports]

    out = copy.deepcopy(model)
    with torch.no_grad():
        out.out.bias[: 4 * classes] += shift
    return out


class Keeper:
    """Writer of the best network of a training run; the settings and the learning curve are written beside the network.

    Parameters
    ----------
    path : Path
        The ONNX file.
    plan : TrainingPlan
        Settings of the training run.
    told : dict
        Further facts that are written beside the network.
    best_shift : callable
        Function that returns the constant by which the logits of a network are shifted.
    """

    def __init__(self, path: Path, plan: TrainingPlan, told: dict[str, Any], best_shift: Callable[[Run], float]) -> None:
        self._path, self._plan, self._told, self._best_shift = path, plan, told, best_shift

    def __call__(self, model: Any, curve: list[dict[str, float]]) -> None:
        """Write a network, its settings and the curve; with None, write only settings and curve."""
        if model is not None:
            shift = self._best_shift(as_run(model))
            content = export(shifted(model, self._plan.classes, shift), self._plan.inputs)
            files.write_atomically(self._path, content)
            self._told |= {"sha256": hashlib.sha256(content).hexdigest(), "weights": sum(one.numel() for one in model.parameters()), "shift": shift}
        settings = {"widths": WIDTHS, "batch": BATCH, "rate": RATE, "seed": SEED, **dataclasses.asdict(self._plan)}
        text = json.dumps({**self._told, "settings": settings, "curve": curve}, indent=1)
        files.write_atomically(self._path.with_suffix(".json"), f"{text}\n".encode())


def inputs_of(data: "xr.Dataset", i: int, fields: "Sequence[Field]") -> dict[str, Any]:
    """Return the inputs of a row by the names of the task's fields."""
    return {field.name: data[field.name].values[i] for field in fields}


def learn(
    arguments: list[str] | None,
    *,
    text: str,
    dataset: str,
    target: str,
    model: Path,
    plan: TrainingPlan,
    shown: Callable[["xr.Dataset"], ShownImages],
    score: Callable[["xr.Dataset"], ValScore],
) -> None:
    """Run a command that trains a network on a dataset, and write the network and its learning curve.

    Parameters
    ----------
    arguments : list of str or None
        Arguments of the command line; None for the command line of this process.
    text : str
        Description of the command.
    dataset : str
        Name and version, for example ``"defects@1.0.0"``.
    target : str
        Make target that runs this command.
    model : Path
        The ONNX file.
    plan : TrainingPlan
        Settings; ``--steps`` replaces the number of steps.
    shown, score : callable
        Functions of a dataset that make the images of the train split and the score on the val split.
    """
    from stemtwin.datasets.catalog import load_dataset

    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--steps", type=int, default=plan.steps)
    parser.add_argument("--size", default="std", help="size of the dataset")
    given = parser.parse_args(arguments)
    name, version = dataset.split("@")
    data, val = (load_dataset(name, version=version, size=given.size, split=split, format="xarray") for split in ("train", "val"))
    sys.stderr.write(f"{data.sizes['sample']} images to learn on\n")
    chosen, held = dataclasses.replace(plan, steps=given.steps), score(val)
    told = {"dataset": dataset, "size": given.size, "target": target, "images": data.sizes["sample"]}
    train(shown(data), chosen, held.precision, Keeper(model, chosen, told, held.best_shift))
