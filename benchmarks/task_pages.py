"""Pages of prediction tasks as Markdown, from the registry, the cards of the datasets, stored scores and certificates.

``python -m stemtwin.benchmarks.task_pages`` (``make pages``) writes ``docs/tasks/<name>.md`` and their index, which has a table of all baselines. It
draws missing pictures from datasets of the size ``tiny``, which are built if necessary; ``--pictures`` draws all pictures again. A new task gets its
page without further code. The example on a page is the section "Example" of the docstring of the task's module. Without this section, the example
submits the answers of a baseline.
"""

import argparse
import importlib
import inspect
import itertools
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

from stemtwin.benchmarks import environment_pages, kept_scores, onnx_policy
from stemtwin.benchmarks.agents import BASELINES, load_baselines
from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.tasks import Task, load_tasks
from stemtwin.datasets import certificates
from stemtwin.datasets.cards import Card, find_card, list_cards
from stemtwin.datasets.description import reference

DOCS = environment_pages.DOCS
FOLDER = DOCS / "tasks"
TINY = "tiny"
SHOWN = f"Samples of the size {TINY}"
CITATION, REFERENCES = DOCS.parent / "CITATION.cff", "references:\n"
EXAMPLE = environment_pages.EXAMPLE
ANSWERS = """from stemtwin.benchmarks.agents import find_baseline
from stemtwin.benchmarks.runner import load_samples, predict
from stemtwin.benchmarks.submission import write_submission
from stemtwin.benchmarks.tasks import find_task

task = find_task("{task}")
data = load_samples(task, split="{split}", size="{size}")
answers = predict(task, find_baseline("{task}", "{baseline}"), data)  # by the ids of the samples: put your own answers here
write_submission("mine", task, answers, split="{split}", size="{size}", name="mine")"""
"""Example on the page of a task whose module contains no example."""
COLAB = "https://colab.research.google.com/github/stemtwin/stemtwin/blob/main/docs/notebooks"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"


def tasks() -> list[Task]:
    """Return the prediction tasks, sorted by name."""
    registry = load_tasks()
    return [registry[name] for name in sorted(registry) if registry[name].kind == "predictions"]


def stem(task: Task) -> str:
    """Return the file name, without extension, of a task's page and of its picture."""
    return task.name if task.major == 1 else f"{task.name}-v{task.major}"


def card_of(task: Task) -> Card:
    """Return the card of a task's data."""
    return find_card(task.source, task.source_version)


def parts(task: Task) -> dict[str, str]:
    """Return the sections of the docstring of the module that scores a task, by title; ``""`` is the title of the text before the first section."""
    return environment_pages.sections(importlib.import_module(task.score.__module__))


def example(task: Task) -> str:
    """Return Python code that makes a valid submission: the example of the docstring, or code that submits the answers of a baseline."""
    body = parts(task).get(EXAMPLE, "")
    if body:
        return inspect.cleandoc(f"\n{body.partition('::')[2]}")
    own = next((one.name for one in baselines(task) if not one.oracle), "")
    return ANSWERS.format(task=task.registered, split=task.splits[0], size=TINY, baseline=own)


def baselines(task: Task) -> list[Any]:
    """Return the baselines of a task, in the order of their registry."""
    return [BASELINES[name] for name in load_baselines().names(task.registered)]


def kept(task: Task) -> dict[str, Any] | None:
    """Return the stored scores of a task; None if no scores of this version of the task are stored."""
    path = kept_scores.path_of(task.registered)
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found if found is not None and found["task"] == f"{task.name}@{task.major}" else None


def page(task: Task) -> str:
    """Return the page of a task."""
    card, found, picture = card_of(task), parts(task), FOLDER / f"{stem(task)}.png"
    more = DOCS / f"{task.name}.md"
    first = f"Task `{task.name}@{task.major}`, dataset `{card.name}@{card.version}`, licence {card.licence}."
    out = [f"# {task.title}", first + (f" [A guide](../{more.name}) describes it in detail." if more.exists() else "")]
    out += ["## In the laboratory", _joined(card.description), task.text]
    if picture.exists() or images_of(card):
        out += [f"![Inputs of samples, and their truth]({picture.name})", f"*{_picture_text(card)}*"]
    load = f'images, truth, facts = st.load_arrays("{card.name}@{card.version.partition(".")[0]}", size="{TINY}", split="train")'
    out += ["## One line to load", f"```python\nimport stemtwin as st\n\n{load}\n```", _sizes(card)]
    out += ["## A valid submission", f"```python\n{example(task)}\n```"]
    out += ["`stemtwin submit mine --dry-run` checks and scores it, and shows its row of the board; " + _notebook(task)]
    out += ["## Inputs and answers", _fields("input", task.inputs), _fields("answer", task.asked)]
    out += ["## Scoring", environment_pages.markdown(found[""].partition("\n\n")[2]), _metrics(task)]
    out += [task.bound_text] if any(metric.limit is not None for metric in task.metrics) else []
    out += [*_scores(task), *_certificate(card)]
    out += ["## Limits", "\n".join(f"- {limit}" for limit in card.limits)]
    out += ["## Citation", "\n\n".join(filter(None, (card.citation, task.citation)))]
    return "\n\n".join(part for part in out if part) + "\n"


def images_of(card: Card) -> bool:
    """Return True if the dataset of a card has an input image that can be drawn."""
    from stemtwin.benchmarks.task_pictures import images

    return bool(images(card, "input"))


def _joined(text: str) -> str:
    """Return the paragraphs of a text, each on one line."""
    return "\n\n".join(" ".join(block.split()) for block in text.strip().split("\n\n"))


def _picture_text(card: Card) -> str:
    """Return the caption of a picture."""
    from stemtwin.benchmarks.task_pictures import images, points

    first = images(card, "input")[0]
    text = f"{SHOWN}: {first.meaning}; below, {images(card, 'truth')[0].meaning}" if images(card, "truth") else f"{SHOWN}: {first.meaning}"
    marks = [column.name for column in card.columns if column.ragged and column.role == "truth"]
    said = ", with the true points drawn in" if points(card) else ""
    said += "; crosses mark points that are not scored" if any(name.endswith("visible") for name in marks) else ""
    said += "; rings mark sites with missing atoms" if any(name.endswith("missing") for name in marks) else ""
    return f"{text}{said}."


def _notebook(task: Task) -> str:
    """Return the end of a sentence, with a link to the task's notebook or, if there is none, to the page on scores."""
    name = f"{stem(task)}.ipynb"
    if not (DOCS / "notebooks" / name).exists():
        return "[scores](../scores.md) describes other ways to obtain a score."
    badge = f"[![Open in Colab]({BADGE})]({COLAB}/{name})"
    return f"the [notebook](../notebooks/{name}) trains a small baseline in ten minutes and ends with a submission. {badge}"


def _sizes(card: Card) -> str:
    """Return the table of sizes and splits."""
    lines = [f"| size | {' | '.join(card.splits)} |", "|---" * (len(card.splits) + 1) + "|"]
    for name, size in card.sizes.items():
        cells = [f"{n * size.images_per_specimen[split]} of {n} specimens" for split, n in size.specimens.items()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _fields(title: str, fields: tuple[Field, ...]) -> str:
    """Return a table of inputs or of parts of an answer."""
    lines = [f"| {title} | type | unit | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{field.name}`{' (optional)' if field.optional else ''} | {field.dtype} | {field.unit or '1'} | {_cell(field.text)} |" for field in fields
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Return text for the cell of a table."""
    return text.replace("|", "\\|")


def _metrics(task: Task) -> str:
    """Return the table of metrics; the first is the primary one."""
    lines = ["| metric | title | unit | better | formula |", "|---|---|---|---|---|"]
    for metric in task.metrics:
        name = f"**{metric.name}**" if metric is task.primary else metric.name
        better = {"max": "higher", "min": "lower"}[metric.direction]
        lines.append(f"| {name} | {_cell(metric.title)} | {metric.unit or '1'} | {better} | {_cell(metric.text)} |")
    return "\n".join(lines)


def _scores(task: Task) -> list[str]:
    """Return the sections on baselines and slices, or a list of the baselines if no scores are stored."""
    found = kept(task)
    if found is None:
        lines = ["| baseline | method |", "|---|---|", *(f"| {one.name} | {_cell(one.text)} |" for one in baselines(task))]
        return ["## Baselines", f"No scores are kept yet; `stemtwin eval {task.registered} --baseline NAME` measures them.", "\n".join(lines)]
    whole = [row["values"][kept_scores.WHOLE][kept_scores.WHOLE] for row in found["rows"].values()]
    text = f"Over {whole[0]['n']} samples of the split {found['split']}, size {found['size']}, with 95 % bootstrap intervals over specimens."
    out = ["## Baselines", text, _score_table(task, found), overlaps(task, found), differences(task, found), _trained(task), behind(task, found)]
    out += ["## Slices", _worst(task, found)]
    columns = [name for name in next(iter(found["rows"].values()))["values"] if name != kept_scores.WHOLE]
    return out + [kept_scores.sliced_table(found, column, task.primary.name) for column in columns]


def overlaps(task: Task, found: dict[str, Any]) -> str:
    """Return sentences on the baselines whose intervals of the primary metric overlap, and on the baselines without an interval.

    Parameters
    ----------
    task : Task
        A task.
    found : dict
        Its stored scores.
    """
    oracles = {one.name for one in baselines(task) if one.oracle}
    rows = {name: row for name, row in found["rows"].items() if name not in oracles}
    ends = {name: row["intervals"][task.primary.name] for name, row in rows.items() if task.primary.name in row.get("intervals", {})}
    pairs = [f"`{a}` and `{b}`" for a, b in itertools.combinations(ends, 2) if ends[a][0] <= ends[b][1] and ends[b][0] <= ends[a][1]]
    bare = [f"`{name}`" for name in rows if name not in ends]
    said = [f"The intervals of {task.primary.name} overlap for {'; '.join(pairs)}: only a comparison in pairs can separate them."] if pairs else []
    said += [f"No interval of {task.primary.name} is stored for {', '.join(bare)}."] if bare else []
    return " ".join(said)


def differences(task: Task, found: dict[str, Any]) -> str:
    """Return a sentence on the paired differences between successive baselines in the order of the primary metric; ``""`` if none are stored."""
    name, sign = task.primary.name, 1 if task.primary.direction == "min" else -1
    order = sorted(found["rows"], key=lambda entry: sign * (found["rows"][entry]["values"][kept_scores.WHOLE][kept_scores.WHOLE][name] or 0.0))
    by_pair = {frozenset((one["first"], one["second"])): one for one in found.get("differences", [])}
    pairs = (by_pair.get(frozenset(pair)) for pair in itertools.pairwise(order))
    told = [f"`{one['first']}` over `{one['second']}` {number(one['value'])} ({' to '.join(map(number, one['ends']))})" for one in pairs if one]
    return f"Differences of {name} on the same draws of specimens, with 95 % intervals: {', '.join(told)}." if told else ""


def _trained(task: Task) -> str:
    """Return a paragraph on the training of a task's network, or ``""`` if there is none."""
    path = onnx_policy.FOLDER / f"{stem(task)}.json"
    told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if "shift" not in told:
        return ""
    best = max(told["curve"], key=lambda one: one["val"])
    return (
        f"`unet` is a network with {told['weights'] / 1e6:.2f} million weights (`benchmarks/learned/{path.stem}.onnx`), trained by "
        f"`make {told['target']}` on the {told['images']} images of the train split of the size {told['size']}: {best['steps']} steps of "
        f"{told['settings']['batch']} crops, {best['cpu_s']:.0f} s on one processor. Its state and the confidence at which a detection counts were "
        f"chosen on the val split ({task.primary.name} {best['val']:.3f} there)."
    )


def behind(task: Task, found: dict[str, Any], name: str = "unet") -> str:
    """Return a sentence on the slices (subsets of the test data) in which at least one baseline, oracles excluded, beats a trained network.

    The sentence is ``""`` if the network has no score.
    """
    oracles, sign = {one.name for one in baselines(task) if one.oracle}, -1 if task.primary.direction == "min" else 1
    if name not in found["rows"]:
        return ""
    others, told = {entry: row["values"] for entry, row in found["rows"].items() if entry not in {name, *oracles}}, []
    for column, labels in found["rows"][name]["values"].items():
        for label, values in labels.items():
            mine = values[task.primary.name]
            scores = {entry: rows[column][label][task.primary.name] for entry, rows in others.items()}
            scores = {entry: value for entry, value in scores.items() if None not in (value, mine) and sign * value > sign * mine}
            if scores:
                entry, best = max(scores.items(), key=lambda one: sign * one[1])
                told.append(f"{column} {label} ({number(mine)}; `{entry}` {number(best)})")
    return f"`{name}` is behind another baseline in these slices: {', '.join(told)}." if told else f"`{name}` leads in every slice."


def _score_table(task: Task, found: dict[str, Any]) -> str:
    """Return the table of baselines by metrics, with the intervals that are stored."""
    told = {one.name: one.text for one in baselines(task)}
    shown = [metric for metric in task.metrics if metric.name in next(iter(found["rows"].values()))["values"][kept_scores.WHOLE][kept_scores.WHOLE]]
    heads = [f"{metric.name}{f' ({metric.unit})' if metric.unit else ''}" for metric in shown]
    lines = [f"| baseline | {' | '.join(heads)} | method |", "|---" * (len(heads) + 2) + "|"]
    for name, row in found["rows"].items():
        cells = [value_cell(row, metric.name) for metric in shown]
        lines.append(f"| {name} | {' | '.join(cells)} | {_cell(told.get(name, row['text']))} |")
    return "\n".join(lines)


def value_cell(row: dict[str, Any], metric: str) -> str:
    """Return the value of a metric over all samples as text, with its interval if one is stored."""
    value = number(row["values"][kept_scores.WHOLE][kept_scores.WHOLE][metric])
    ends = row.get("intervals", {}).get(metric)
    return value if ends is None or ends[0] == ends[1] else f"{value} ({number(ends[0])} to {number(ends[1])})"


def number(value: float | None) -> str:
    """Return a value as text with three significant digits, or a dash for an undefined value."""
    return "-" if value is None else f"{value:.3g}" if abs(value) < 1e5 else f"{value:.2e}"


def _worst(task: Task, found: dict[str, Any]) -> str:
    """Return a sentence on the worst slice of every baseline that is not an oracle."""
    said, sign = [], 1 if task.primary.direction == "max" else -1
    oracles = {one.name for one in baselines(task) if one.oracle}
    for name, row in found["rows"].items():
        slices = [
            (values[task.primary.name], column, label)
            for column, by_label in row["values"].items()
            if column != kept_scores.WHOLE
            for label, values in by_label.items()
        ]
        slices = [one for one in slices if one[0] is not None]
        if name not in oracles and slices:
            value, column, label = min(slices, key=lambda one: sign * one[0])
            said.append(f"`{name}` {number(value)} ({column} {label})")
    return f"Worst slice by {task.primary.name}: {', '.join(said)}."


def _certificate(card: Card) -> list[str]:
    """Return the section of the certificate, or an empty list if no certificate is stored."""
    found = certificates.read(card)
    if found is None:
        return []
    ronchigrams = certificates.FLAT in found["worst"]
    text = (
        f"{certificates.extent(found)}, by `stemtwin certify {card.name}@{card.version}`: root mean square difference from our multislice over the "
        f"{'pixels' if ronchigrams else 'points'}, divided by the mean signal"
        f"{'.' if ronchigrams else '; for phonons, the standard error over the configurations at the point where it is largest.'}"
    )
    return ["## Certificate", text, certificates.table(found), "\n".join(f"- {note}" for note in found["notes"])]


def index() -> str:
    """Return the page that lists all tasks, with the table of their baselines."""
    out = ["# Tasks", "Tasks on datasets; those in [environments](../environments/README.md) are on the pages of their environments."]
    lines = ["| task | goal | data | primary metric |", "|---|---|---|---|"]
    for task in tasks():
        primary = f"{task.primary.name}, {'higher' if task.primary.direction == 'max' else 'lower'} is better"
        lines.append(f"| [`{task.name}@{task.major}`]({stem(task)}.md) | {task.title} | `{task.source}@{task.source_version}` | {primary} |")
    out += [
        "\n".join(lines),
        "## Tasks by baselines",
        "The table gives the primary metric, with its 95 % interval where one is stored; oracles read the truth.",
    ]
    return "\n\n".join([*out, table()]) + "\n"


def table() -> str:
    """Return a table of all tasks with a row for each baseline; the baselines of a task are ordered by the primary metric, best first."""
    lines = ["| task | metric | baseline | value | samples |", "|---|---|---|---|---|"]
    for task in tasks():
        found = kept(task)
        if found is None:
            lines.append(f"| `{task.name}@{task.major}` | {task.primary.name} | none kept | - | - |")
            continue
        oracles, sign = {one.name for one in baselines(task) if one.oracle}, -1 if task.primary.direction == "max" else 1
        ordered = sorted(
            found["rows"].items(), key=lambda one: sign * (one[1]["values"][kept_scores.WHOLE][kept_scores.WHOLE][task.primary.name] or 0.0)
        )
        for name, row in ordered:
            n = row["values"][kept_scores.WHOLE][kept_scores.WHOLE]["n"]
            cells = [
                f"{name}{' (oracle)' if name in oracles and name != 'oracle' else ''}",
                value_cell(row, task.primary.name),
                f"{n}, {found['size']}",
            ]
            unit = f" ({task.primary.unit})" if task.primary.unit else ""
            lines.append(f"| `{task.name}@{task.major}` | {task.primary.name}{unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def pages() -> dict[Path, str]:
    """Return the text of every file that :func:`main` writes, by the path of the file."""
    found = {FOLDER / f"{stem(task)}.md": page(task) for task in tasks()}
    return found | {FOLDER / "README.md": index(), CITATION: citation()}


def citation() -> str:
    """Return the citation file of the package, with a reference for each dataset at its end."""
    before = CITATION.read_text(encoding="utf-8").partition(REFERENCES)[0]
    cards = [find_card(name, version) for name, versions in list_cards().items() for version in versions]
    told = yaml.safe_dump([reference(card) for card in cards], sort_keys=False, allow_unicode=True, width=120)
    return f"{before}{REFERENCES}{textwrap.indent(told, '  ')}"


def draw_pictures(*, again: bool) -> None:
    """Draw the missing pictures, or all pictures if ``again``, from the first split of each task's dataset in the size ``tiny``."""
    from stemtwin.benchmarks.task_pictures import draw
    from stemtwin.datasets.catalog import load_dataset

    for task in tasks():
        card, path = card_of(task), FOLDER / f"{stem(task)}.png"
        if images_of(card) and (again or not path.exists()):
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(card, load_dataset(card.name, version=card.version, size=TINY, split=task.splits[0], format="numpy", build=True), path)
            sys.stderr.write(f"wrote {path}\n")


def main(arguments: list[str] | None = None) -> None:
    """Draw pictures, and write all pages."""
    parser = argparse.ArgumentParser(prog="python -m stemtwin.benchmarks.task_pages", description="Pages of prediction tasks.")
    parser.add_argument("--pictures", action="store_true", help="draw all pictures again, not only those that are missing")
    draw_pictures(again=parser.parse_args(arguments).pictures)
    environment_pages.write(pages(), FOLDER)


if __name__ == "__main__":
    main()
