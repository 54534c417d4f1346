"""Sphinx extension that writes the pages of the site that are made from registries and sources into ``docs/made``, before a build reads its pages.

=================== =====================================================================
Page                Made from
=================== =====================================================================
``engines.md``      the registry of engines and the docstrings of their modules
``samples.md``      the registry of samples
``profiles.md``     the registry of instrument profiles
``datasets.md``     the cards of datasets
``values.md``       statements of the twin that carry one of the marks [M], [V] and [A]
``command-line.md`` the help of all commands
=================== =====================================================================
"""

import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import marked_values

from stemtwin.benchmarks.environment_pages import markdown
from stemtwin.twin import files

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROLE = re.compile(r":\w+:`~?([\w.]+)`")
"""A reference in reStructuredText, such as :func:`stemtwin.simulate`."""
SENTENCE = re.compile(r"(?<=\.)\s+(?=[A-Z])")
"""The space between two sentences."""
DOCS = Path(__file__).resolve().parent.parent
MADE = DOCS / "made"


def cell(text: str) -> str:
    """Return a text as one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", r"\|")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(cell(each) for each in row) + " |" for row in rows)]) + "\n"


def docstring(thing: Any) -> str:
    """Return a docstring as Markdown, without its sections of parameters and errors."""
    text = inspect.getdoc(thing) or ""
    for title in ("Parameters", "Returns", "Raises", "Attributes", "Notes"):
        text = text.split(f"\n{title}\n---", 1)[0]
    return markdown(text)


def engines() -> str:
    """Return the page of engines."""
    from stemtwin.twin.instrument.simulation.engines import MODULES
    from stemtwin.twin.instrument.simulation.engines.registry import ENGINES

    parts = [(DOCS / "site" / "engines_head.md").read_text(encoding="utf-8")]
    for name in MODULES:
        module = importlib.import_module(f"stemtwin.twin.instrument.simulation.engines.{name}")
        tags = ENGINES.tags(module.NAME)
        parts.append(f"\n## `{module.NAME}`\n\n{docstring(module)}\n" + (f"\nTags: {', '.join(tags)}.\n" if tags else ""))
    return "\n".join(parts)


def samples() -> str:
    """Return the page of samples."""
    from stemtwin.twin.samples.library import SAMPLES

    head = "# Samples\n\n`stemtwin.load_sample(name, size_angstrom=(y, x))` builds each of them; its settings are further arguments.\n"
    return head + "".join(_sample(name, SAMPLES[name], SAMPLES.tags(name)) for name in SAMPLES)


def _sample(name: str, family: Any, tags: tuple[str, ...]) -> str:
    """Return the section of one sample: sources, and a table of its settings."""
    text = f"\n## `{name}`\n\n{family.title[:1].upper()}{family.title[1:]} ({', '.join(tags)}).\n\n- Lattice: {family.lattice_source}\n"
    text += f"- Thermal motion: {family.thermal_source}\n"
    rows = [(f"`{key}`", knob.about, str(knob.default), _range(knob)) for key, knob in family.knobs.items()]
    return text + ("\n" + table(("Setting", "Meaning", "Default", "Range"), rows) if rows else "")


def _range(knob: Any) -> str:
    """Return the allowed values of a setting."""
    return ", ".join(knob.choices) if knob.choices else f"{knob.low:g} to {knob.high:g} {knob.unit}"


def profiles() -> str:
    """Return the page of instrument profiles."""
    from stemtwin.twin.instrument.hardware.profiles import PROFILES

    rows = []
    for name in PROFILES:
        each = PROFILES[name]
        usual = f"{each.energy_ev / 1e3:g} kV, {each.semiangle_mrad:g} mrad, {each.current_pa:g} pA"
        rows.append((f"`{name}`", usual, f"{each.chromatic_angstrom * 1e-7:g} mm, {each.energy_width_ev:g} eV", each.source))
    head = (
        "# Instrument profiles\n\n`stemtwin.Microscope(sample, instrument=NAME)` uses one of these profiles. [Marks](values.md): [V] taken over from "
        "published code or tables, [M] from the literature, [A] assumed.\n\n"
    )
    return head + table(("Profile", "Usual settings", "Cc, energy width", "Sources"), rows)


def datasets() -> str:
    """Return the page of datasets."""
    from stemtwin.datasets.cards import list_cards, named_card

    parts = ['# Datasets\n\nOne line loads a dataset: `stemtwin.load_dataset("NAME@VERSION", size="tiny", split="train")`.\n']
    for name, versions in list_cards().items():
        for version in versions:
            parts.append(_dataset(named_card(f"{name}@{version}")))
    return "\n".join(parts)


def _dataset(card: Any) -> str:
    """Return the section of one dataset: its description, limits, sizes and columns."""
    columns = [(f"`{each.name}`", each.role, each.unit, each.meaning) for each in card.columns]
    sizes = [(name, ", ".join(f"{split} {rows}" for split, rows in _rows(size).items())) for name, size in card.sizes.items()]
    limits = "\n".join(f"- {' '.join(each.split())}" for each in card.limits)
    return (
        f"## `{card.name}` {card.version}\n\n{card.title}.\n\n{card.description.strip()}\n\nLicence: {card.licence}. Cite as: {card.citation}\n\n"
        f"**Limits**\n\n{limits}\n\n**Sizes**\n\n{table(('Size', 'Images'), sizes)}\n**Columns**\n\n"
        f"{table(('Column', 'Role', 'Unit', 'Meaning'), columns)}"
    )


def _rows(size: Any) -> dict[str, int]:
    """Return the number of images of each split of a size."""
    return {split: count * size.images_per_specimen[split] for split, count in size.specimens.items()}


def values() -> str:
    """Return the page of physical values with their marks."""
    parts = [(DOCS / "site" / "values_head.md").read_text(encoding="utf-8")]
    for module, found in marked_values.by_module().items():
        parts.append(f"\n## `{module}`\n\n" + table(("Name", "Statement"), [(f"`{each.name}`", statement(each.text)) for each in found]))
    return "\n".join(parts)


def statement(text: str) -> str:
    """Return a statement as Markdown: roles as code, without separators at the ends of parts of longer texts."""
    return ROLE.sub(lambda found: f"`{found[1].rpartition('.')[2]}`", text).strip("; ")


def command_line() -> str:
    """Return the page of the command ``stemtwin``, from the help of its commands."""
    import typer
    import typer.cli
    import typer.main

    from stemtwin.leaderboard.cli.main import COMMANDS, build

    application: Any = typer.main.get_command(build())
    for name in COMMANDS:
        loaded: Any = typer.main.get_command(build(name))
        application.commands[name] = loaded.commands[name]
    _show_first_sentences(application)
    context = typer.Context(application, info_name="stemtwin")
    return typer.cli.get_docs_for_click(obj=application, ctx=context, name="stemtwin", title="Command line")


def _show_first_sentences(group: Any) -> None:
    """Set the summary of each command of a group to its whole first sentence, which click cuts off otherwise."""
    for command in group.commands.values():
        command.short_help = SENTENCE.split(" ".join((command.help or "").split()))[0]
        if hasattr(command, "commands"):
            _show_first_sentences(command)


PAGES: dict[str, Callable[[], str]] = {
    "engines.md": engines,
    "samples.md": samples,
    "profiles.md": profiles,
    "datasets.md": datasets,
    "values.md": values,
    "command-line.md": command_line,
}


def write(_: "Sphinx | None" = None) -> None:
    """Write the pages that have changed."""
    MADE.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        text, path = make(), MADE / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            files.write_atomically(path, text.encode())


def setup(app: "Sphinx") -> dict[str, bool]:
    """Write the pages before a build looks for its sources."""
    app.connect("config-inited", lambda app, _: write(app))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
