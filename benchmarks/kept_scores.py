"""Stored scores of a task's baselines: measurement by a command, storage as JSON, tables, and a picture; tests measure some of the scores again.

``python -m stemtwin.benchmarks.kept_scores denoise`` runs every baseline over the task's first split of the size ``std`` and writes
``benchmarks/scores/denoise.json``, from which the pages of tasks are made. ``stemtwin data build`` makes the data. A baseline whose package is not
installed keeps its earlier row. ``--table`` prints the tables of ``docs/denoise.md``. ``--picture FILE`` draws the estimates of baselines for three
samples.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.benchmarks import runner, slices, statistics
from stemtwin.benchmarks.agents import find_baseline, load_baselines
from stemtwin.benchmarks.comparisons import cluster_sums, difference
from stemtwin.benchmarks.tasks import Task, find_task
from stemtwin.twin import files
from stemtwin.twin.errors import SettingsError

if TYPE_CHECKING:
    import xarray as xr

    from stemtwin.benchmarks.slices import SampleStatistics

FOLDER = Path(__file__).parent / "scores"
SIZE = "std"
WHOLE = "all"
SAMPLED_CLUSTERS = 2
"""Number of specimens, the first of the split, whose scores are stored sample by sample, so tests can measure them again."""
DIGITS = 6
NAIVE = {"atoms-2d@2": "maxima", "instruments": "maxima", "defects": "odd-peaks"}
"""Baseline of skill 0 of the tasks whose tables show it."""


def path_of(task: str) -> Path:
    """Return the path of a task's stored scores."""
    return FOLDER / f"{task}.json"


def read(task: str) -> dict[str, Any]:
    """Return the stored scores of a task."""
    return json.loads(path_of(task).read_text(encoding="utf-8"))


def fixed_part(data: "xr.Dataset") -> "xr.Dataset":
    """Return the samples whose scores are stored one by one, namely those of the specimens with the smallest seeds."""
    seeds = data["structure_seed"].values
    return data.isel(sample=np.flatnonzero(np.isin(seeds, np.unique(seeds)[:SAMPLED_CLUSTERS])))


def _kept(value: float) -> float | None:
    """Return a rounded value, None for an undefined one."""
    return round(value, DIGITS) if np.isfinite(value) else None


def values(task: Task, samples: "SampleStatistics") -> dict[str, dict[str, dict[str, Any]]]:
    """Return every metric on all samples and on every slice, as nested dicts ``[column][slice][metric]``.

    A column is a property by which the samples are sorted into slices. All samples together are the slice ``"all"`` of the column ``"all"``. The
    number of samples is stored as the metric ``"n"``. None stands for an undefined value.
    """

    def of(part: "SampleStatistics") -> dict[str, Any]:
        sums = part.sums()
        return {"n": len(part)} | {metric.name: _kept(float(metric.formula(sums))) for metric in task.metrics}

    cut = {column.title or column.column: {name: of(part) for name, part in slices.parts(samples, column).items()} for column in task.slices}
    return {WHOLE: {WHOLE: of(samples)}} | cut


def intervals(task: Task, samples: "SampleStatistics") -> dict[str, list[float]]:
    """Return the ends of the 95 % interval of every metric on all samples; metrics without an interval are left out."""
    found = {metric.name: statistics.interval(metric.formula, samples, proportion=metric.proportion) for metric in task.metrics}
    return {name: [round(one.low, DIGITS), round(one.high, DIGITS)] for name, one in found.items() if one is not None}


def each(samples: "SampleStatistics") -> dict[str, dict[str, float]]:
    """Return the statistics of every sample by its id."""
    return {
        str(name): {key: round(float(array[i]), DIGITS) for key, array in samples.statistics.items() if array.ndim == 1}
        for i, name in enumerate(samples.ids)
    }


def measure(task: Task, data: "xr.Dataset", names: Sequence[str], kept: dict[str, Any]) -> tuple[dict[str, Any], dict[str, "SampleStatistics"]]:
    """Measure baselines, and return the rows of all baselines and the sample statistics of those that ran.

    A baseline that cannot run keeps its earlier row.

    Parameters
    ----------
    task : Task
        A prediction task.
    data : Dataset
        Samples of the first split of the task.
    names : sequence of str
        Baselines.
    kept : dict
        Earlier rows by baseline.
    """
    measured: dict[str, SampleStatistics] = {}
    rows, few = dict(kept), set(fixed_part(data)["sample_id"].values.astype(str).tolist())
    for name in names:
        entry = find_baseline(task.registered, name)
        try:
            found = runner.predict(task, entry, data, progress=lambda done, total, name=name: _tell(name, done, total))
        except SettingsError as error:
            sys.stderr.write(f"{name}: kept as it is. {error}\n")
            continue
        samples = measured[name] = task.score(data, found)
        one_by_one = {sample: row for sample, row in each(samples).items() if sample in few}
        rows[name] = {"text": entry.text, "values": values(task, samples), "intervals": intervals(task, samples), "samples": one_by_one}
    return rows, measured


def differences(task: Task, measured: dict[str, "SampleStatistics"], kept: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the paired differences of the primary metric between baselines, on the same draws of specimens, with the better baseline first.

    Parameters
    ----------
    task : Task
        The task.
    measured : dict
        Statistics by baseline; oracles are left out.
    kept : sequence of dict
        Earlier differences; those of baselines that are measured now are left out.
    """
    formula = task.primary.formula
    sums = {name: cluster_sums(formula, one) for name, one in measured.items() if not find_baseline(task.registered, name).oracle}
    out = [one for one in kept if not {one["first"], one["second"]} & sums.keys()]
    for pair in itertools.combinations(sums, 2):
        found = difference(formula, sums[pair[0]], sums[pair[1]])
        if found is None:
            continue
        ends, names = (found.low, found.high), pair
        if (found.value < 0) == (task.primary.direction == "max"):
            ends, names = (-found.high, -found.low), pair[::-1]
        out.append({"first": names[0], "second": names[1], "value": _kept(abs(found.value)), "ends": [_kept(end) for end in ends]})
    return out


def _tell(name: str, done: int, total: int) -> None:
    """Show progress, a line for each tenth."""
    if done % max(total // 10, 1) == 0 or done == total:
        sys.stderr.write(f"{name}: {done} of {total} samples\n")
        sys.stderr.flush()


def table(task: Task, kept: dict[str, Any], metrics: Sequence[str]) -> str:
    """Return a Markdown table of metrics on all samples, with a row for each baseline."""
    chosen = [metric for metric in task.metrics if metric.name in metrics]
    head = [f"{metric.name}{f' ({metric.unit})' if metric.unit else ''}" for metric in chosen]
    lines = [f"| baseline | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for name, row in kept["rows"].items():
        found = row["values"][WHOLE][WHOLE]
        lines.append(f"| {name} | {' | '.join(_cell(metric.name, found[metric.name]) for metric in chosen)} |")
    return "\n".join(lines)


def sliced_table(kept: dict[str, Any], column: str, metric: str) -> str:
    """Return a Markdown table of one metric on every slice of a column, with a row for each baseline."""
    rows = {name: row["values"][column] for name, row in kept["rows"].items()}
    labels = list(next(iter(rows.values())))
    if all(label.isdecimal() for label in labels):
        labels.sort(key=int)
    counts = [f"{label}, n = {next(iter(rows.values()))[label]['n']}" for label in labels]
    told = column.replace("|", "\\|")
    lines = [f"| {metric} by {told} | {' | '.join(counts)} |", "|---" * (len(labels) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(_cell(metric, found[label][metric]) for label in labels)} |" for name, found in rows.items()]
    return "\n".join(lines)


def skill_table(task: Task, kept: dict[str, Any]) -> str:
    """Return a Markdown table of the primary metric, its interval and the skill, with a row for each baseline.

    The skill is linear in the metric: 0 for the naive baseline and 1 for the oracle.
    """
    name = task.primary.name
    found = {entry: row["values"][WHOLE][WHOLE][name] for entry, row in kept["rows"].items()}
    zero, one = found[NAIVE[task.registered]], found["oracle"]
    lines = [f"| baseline | {name} | 95 % interval over specimens | skill |", "|---|---|---|---|"]
    for entry, row in kept["rows"].items():
        ends = " to ".join(_cell(name, end) for end in row.get("intervals", {}).get(name, ())) or "-"
        lines.append(f"| {entry} | {_cell(name, found[entry])} | {ends} | {(found[entry] - zero) / (one - zero):.2f} |")
    return "\n".join(lines)


def _cell(metric: str, value: float | None) -> str:
    """Return a value for a table, a dash for none."""
    if value is None:
        return "-"
    return f"{value:.1f}" if metric.startswith("psnr") else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def _shown(task: Task) -> list[str]:
    """Return the metrics of a task that are shown by slices: the primary one, and for images the hallucinations."""
    return [metric.name for metric in task.metrics if metric in (task.primary,) or metric.name == "hallucination"]


def tables(task: Task) -> str:
    """Return all tables of a task's page."""
    kept = read(task.registered)
    parts = [table(task, kept, [metric.name for metric in task.metrics])]
    if task.registered in NAIVE:
        parts.append(skill_table(task, kept))
    for column in task.slices[:2]:
        parts += [sliced_table(kept, column.title or column.column, metric) for metric in _shown(task)]
    return "\n\n".join(parts)


def save_picture(task: Task, data: "xr.Dataset", names: Sequence[str], path: Path) -> None:
    """Draw the dark field of samples of ``denoise`` as a PNG: counts, the estimates of baselines, and the truth with its vacancies.

    Parameters
    ----------
    task : Task
        The task.
    data : Dataset
        The samples; each has a row in the picture.
    names : sequence of str
        Baselines.
    path : Path
        The file.
    """
    from matplotlib.figure import Figure

    found = {name: runner.predict(task, find_baseline(task.registered, name), data) for name in names}
    figure = Figure(figsize=(2.1 * (len(names) + 1), 2.2 * data.sizes["sample"]), layout="constrained")
    axes = figure.subplots(data.sizes["sample"], len(names) + 1, squeeze=False)
    for i, row in enumerate(axes):
        one = data.isel(sample=i)
        truth, step = one["expected"].values[0], float(one["sampling_angstrom"])
        images = {name: found[name][str(one["sample_id"].values)].image[0] for name in names} | {"truth, its vacancies ringed": truth}
        for axis, (name, image) in zip(row, images.items(), strict=True):
            top = float(np.quantile(image, 0.995)) if name == "counts" else float(truth.max())
            axis.imshow(image, cmap="gray", vmin=0, vmax=max(top, 1e-9), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if i == 0:
                axis.set_title(name, fontsize=9)
        missing = one["site_missing"].values > 0
        at = [one[f"site_{axis}_angstrom"].values[missing] / step for axis in "xy"]
        row[-1].scatter(*at, s=90, facecolors="none", edgecolors="tab:orange", linewidths=1.0)
        row[-1].set(xlim=(-0.5, truth.shape[1] - 0.5), ylim=(truth.shape[0] - 0.5, -0.5))
        frames = f"{int(one['frames'])} frame{'s' if one['frames'] > 1 else ''}"
        row[0].set_ylabel(f"{one['material'].item()}\n{float(one['dose_e_per_angstrom2']):.0f} e$^-$/Å$^2$, {frames}", fontsize=9)
    with files.replacing(path, ending=".png") as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})


def main(arguments: list[str] | None = None) -> None:
    """Measure baselines and store their scores, or show the stored scores."""
    from stemtwin.benchmarks.runner import load_samples

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("--baselines", nargs="+", help="measure only these baselines; the stored scores of all other baselines are kept")
    parser.add_argument("--size", default=SIZE)
    parser.add_argument("--table", action="store_true", help="print the kept scores as tables and measure nothing")
    parser.add_argument("--picture", type=Path, help="write a picture of samples at three doses to this PNG file, and measure nothing")
    given = parser.parse_args(arguments)
    task = find_task(given.task)
    if given.table:
        sys.stdout.write(f"{tables(task)}\n")
        return
    split = task.splits[0]
    data = load_samples(task, split=split, size=given.size)
    every = [name.partition("/")[2] for name in load_baselines().names(task.registered)]
    if given.picture is not None:
        save_picture(task, pictured(data), ("counts", "gaussian", "fourier", "nlm", "unet"), given.picture)
        return
    sha256 = task.content_hash(data)
    old = read(task.registered) if path_of(task.registered).exists() else {}
    same = old if old.get("sha256") == sha256 else {}
    rows, measured = measure(task, data, given.baselines or every, same.get("rows", {}))
    told = {"task": f"{task.name}@{task.major}", "dataset": f"{task.source}@{task.source_version}", "size": given.size, "split": split}
    told |= {"content_sha256": data.attrs["content_sha256"], "sha256": sha256, "rows": {name: rows[name] for name in every if name in rows}}
    told["differences"] = differences(task, measured, same.get("differences", []))
    files.write_atomically(path_of(task.registered), (json.dumps(told, indent=1) + "\n").encode())


def pictured(data: "xr.Dataset") -> "xr.Dataset":
    """Return three samples of different materials with doses near 300, 1500 and 8000 e-/A^2; the second sample has several frames."""
    dose, material, frames = data["dose_e_per_angstrom2"].values, data["material"].values.astype(str), data["frames"].values
    chosen = []
    for wanted, kind, stack in ((300.0, "au-001", False), (1500.0, "srtio3-001", True), (8000.0, "mos2-1h", False)):
        ours = np.flatnonzero((material == kind) & ((frames > 1) == stack))
        chosen.append(int(ours[np.argmin(np.abs(np.log(dose[ours] / wanted)))]))
    return data.isel(sample=chosen)


if __name__ == "__main__":
    main()
