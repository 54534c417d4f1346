"""Markdown pages of environments, made from docstrings, returns of baselines, and animations of episodes (GIF).

``python -m stemtwin.benchmarks.environment_pages`` (``make pages``) writes ``docs/environments/<Id>.md``, their index, and the tables of returns in
``docs/environments.md``.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from stemtwin.benchmarks import films, return_tables
from stemtwin.benchmarks.tasks import tasks_of
from stemtwin.twin import files
from stemtwin.twin.envs import ENVIRONMENTS
from stemtwin.twin.envs.arguments import OBSERVATIONS
from stemtwin.twin.envs.discovery import descriptions
from stemtwin.twin.envs.making import family_class
from stemtwin.twin.envs.reference import ReturnScale

DOCS = Path(__file__).resolve().parent.parent / "docs"
EXAMPLE, HISTORY = "Example", "Version history"
LISTS = ("Parameters", "Raises")
"""Sections of names with types and texts, as numpydoc has them; they come last."""
BEGIN, END = "<!-- returns: written by make pages -->\n", "\n<!-- end of returns -->"
RULE = re.compile(r"=+(?: +=+)+")
PARALLEL = 3
"""Number of cells from which a continuation line of a table row adds entries to the row, such as a component with its unit and its step."""


def sections(family: object) -> dict[str, str]:
    """Return the sections of a family's docstring by title, without indentation; ``""`` is the title of the text before the first section."""
    lines = (inspect.getdoc(family) or "").splitlines()
    found, title = {"": ""}, ""
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        underlined = bool(below) and set(below) == {"-"}
        if number and line and not line[0].isspace() and (underlined or below.startswith("    ")) and (title not in LISTS or underlined):
            title = line.strip()
            found[title] = ""
        elif not (set(line) == {"-"} and title in LISTS):
            found[title] += f"{line}\n"
    return {name: inspect.cleandoc(f"\n{body}") if name not in LISTS else body.strip("\n") for name, body in found.items()}


def example(family: type) -> str:
    """Return the Python code of a family's example; empty if the family has none."""
    body = sections(family).get(EXAMPLE, "")
    return inspect.cleandoc(f"\n{body.partition('::')[2]}") if body else ""


def markdown(body: str) -> str:
    """Return the text of a section as Markdown.

    The lines of a paragraph are joined, simple tables become Markdown tables, literal blocks are fenced, and double backticks become single ones.
    """
    return "\n\n".join(_blocks(body.splitlines()))


def _blocks(lines: list[str]) -> Iterator[str]:
    """Yield paragraphs, tables and literal blocks."""
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
        elif RULE.fullmatch(lines[at].strip()):
            rules = [number for number in range(at, len(lines)) if RULE.fullmatch(lines[number].strip())][:3]
            yield _table(lines[at : rules[-1] + 1])
            at = rules[-1] + 1
        elif lines[at].strip() == "::":
            end = next((n for n in range(at + 1, len(lines)) if lines[n].strip() and not lines[n].startswith("    ")), len(lines))
            code = inspect.cleandoc("\n" + "\n".join(lines[at + 1 : end]))
            yield f"```python\n{code}\n```"
            at = end
        else:
            end = next((n for n in range(at, len(lines)) if not lines[n].strip() or RULE.fullmatch(lines[n].strip())), len(lines))
            yield _plain(" ".join(line.strip() for line in lines[at:end]))
            at = end


def _table(lines: list[str]) -> str:
    """Return a simple table of reStructuredText as one of Markdown.

    A line without a first cell continues the row above. With at least ``PARALLEL`` cells it adds entries, each on a line of its own; with fewer it
    continues the text of cells that were too long for one line.
    """
    spans = [found.span() for found in re.finditer("=+", lines[0])]
    rows: list[list[list[str]]] = []
    for line in lines[1:]:
        if RULE.fullmatch(line.strip()):
            rows.append([])
            continue
        cells = [line[start : None if (start, end) == spans[-1] else end].strip() for start, end in spans]
        block = rows[-1] if rows else []
        if not rows:
            rows.append(block)
        if cells[0] or not block:
            block.append([*cells])
        else:
            between = "<br>" if sum(map(bool, cells)) >= PARALLEL else " "
            block[-1] = [f"{above}{between}{more}" if above and more else above + more for above, more in zip(block[-1], cells, strict=True)]
    head, *body = [row for block in rows for row in block]
    told = [[_plain(cell).replace("|", "\\|") for cell in row] for row in (head, *body)]
    told[0] = [cell.replace("<br>", " ") for cell in told[0]]
    return "\n".join([f"| {' | '.join(told[0])} |", "|---" * len(spans) + "|", *(f"| {' | '.join(row)} |" for row in told[1:])])


def _plain(text: str) -> str:
    """Return text of reStructuredText as Markdown."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text.replace("``", "`"))


def _named(body: str) -> str:
    """Return a section of names with types and texts as a list."""
    out: list[str] = []
    for line in body.splitlines():
        if line and not line.startswith(" "):
            names, _, kind = line.partition(" : ")
            told = ", ".join(f"`{name.strip()}`" for name in names.split(","))
            out.append(f"- {told} ({_plain(kind)}):" if kind else f"- {told}:")
        elif line.strip():
            out[-1] += f" {_plain(line.strip())}"
    return "\n".join(out)


def page(environment: str) -> str:
    """Return the page of an environment."""
    found, registered = sections(family_class(environment)), ENVIRONMENTS[environment]
    facts = [
        *_scored(environment),
        f"At most {registered.max_episode_steps} steps." if registered.max_episode_steps else "",
    ]
    facts += ["Vectorised environments are computed together." if registered.batched else ""]
    out = [f"# `{environment}`", markdown(found.pop("")), " ".join(fact for fact in facts if fact)]
    history, lists = found.pop(HISTORY, ""), {name: found.pop(name) for name in LISTS if name in found}
    for title, body in found.items():
        out += [f"## {title}", markdown(body)]
    out += [*_scores(environment), *_film(environment)]
    if history:
        out += [f"## {HISTORY}", markdown(history)]
    for title, body in lists.items():
        out += [f"## {title}", _named(body)]
    return "\n\n".join(part for part in out if part) + "\n"


def _scored(environment: str) -> list[str]:
    """Return a sentence about each task of an environment, its presets and its floor."""
    out = []
    for task in tasks_of(environment):
        *others, last = [f"`{name}`" for name in task.difficulties] or [""]
        listed = f", whose episodes take the presets {', '.join(others)} and {last} in turn" if others else f" on the preset {last}" if last else ""
        out.append(f"Scored by the task `{task.name}@{task.major}`{listed}. {task.floor_text}")
    return out


def _scores(environment: str) -> list[str]:
    """Return the section of the reference scores; an empty list without a scale."""
    own = [scale for scale in return_tables.scales() if scale.environment == environment]
    if not own:
        return []
    head = tuple(name for name in return_tables.COLUMNS if any(name in scale.policies for scale in own))
    few = [one.difficulty for one in own if len(one.seeds) < 100]
    text = "Returns over episodes of the validation split with 95 % intervals; `st.reference` gives the same numbers."
    if few:
        text += f" Fewer than 100 episodes are kept of {', '.join(few)}, because an episode of the expert takes long."
    parts = ["## Reference scores", text, return_tables.rows(own, head, named=False)]
    parts += ["Interquartile means, and mean differences over the same episodes:", return_tables.middle_rows(own, head, named=False)]
    errors = return_tables.error_rows(own, head, named=False)
    return [*parts, *([return_tables.ERRORS, errors] if errors else []), *_further(own), *_forms(environment)]


def _further(own: list[ReturnScale]) -> list[str]:
    """Return the table of policies without a column of their own, and the lead of a trained policy over them; nothing where there are none."""
    found = [(scale, name) for scale in own for name in return_tables.others(scale)]
    led = any(return_tables.lead_cell(scale, name) for scale, name in found)
    lines = [["difficulty", "further policy", "mean return", *(("learner minus policy",) if led else ())]]
    for scale, name in found:
        lead = (return_tables.lead_cell(scale, name),) if led else ()
        lines.append([scale.difficulty, name, return_tables.mean_cell(scale.policies[name]), *lead])
    told = [f"| {' | '.join(line)} |" for line in lines]
    return ["\n".join([told[0], "|---" * len(lines[0]) + "|", *told[1:]])] if found else []


def _forms(environment: str) -> list[str]:
    """Return the tables of other forms of observation than the usual one; an empty list where none was measured."""
    measured = return_tables.form_scales(environment)
    if not measured:
        return []
    text = "Returns in other forms of observation, and mean differences over the same episodes:"
    return [text, return_tables.form_rows(measured), return_tables.form_pairs(measured)]


def _film(environment: str) -> list[str]:
    """Return the section of the films with the commands that made them; an empty list for an environment without baselines."""
    name = environment.partition("/")[2]
    if not any(scale.environment == environment for scale in return_tables.scales()):
        return []
    usual, parts = f"stemtwin film {environment} --agent expert", ["## Film"]
    for form in ("", *(f"-{one}" for one in OBSERVATIONS)):
        path = DOCS / "films" / f"{name}{form}.gif"
        if path.exists():
            in_form = f" in the form `{form[1:]}`" if form else ""
            parts += [f"![An episode of the expert{in_form}](../films/{path.name})", f"```sh\n{films.command_of(path) or usual}\n```"]
    return parts if len(parts) > 1 else [*parts, f"```sh\n{usual}\n```"]


def index() -> str:
    """Return the page that lists all environments."""
    told = descriptions()
    rows = [f"| [`{name}`]({name.partition('/')[2]}.md) | {told[name]} |" for name in ENVIRONMENTS]
    return "\n".join(["# List of environments", "", "[Common properties](../environments.md).", "", "| id | experiment |", "|---|---|", *rows, ""])


def pages() -> dict[Path, str]:
    """Return the text of every file that :func:`main` writes, by the path of the file."""
    found = {DOCS / "environments" / f"{name.partition('/')[2]}.md": page(name) for name in ENVIRONMENTS}
    found[DOCS / "environments" / "README.md"] = index()
    common = DOCS / "environments.md"
    before, _, rest = common.read_text(encoding="utf-8").partition(BEGIN)
    found[common] = f"{before}{BEGIN}\n{return_tables.tables()}\n{END}{rest.partition(END)[2]}"
    return found


def write(wanted: dict[Path, str], folder: Path) -> None:
    """Write the wanted pages whose text has changed, and remove all Markdown files from a folder that are not wanted pages."""
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            files.write_atomically(path, text.encode())
            sys.stderr.write(f"wrote {path}\n")
    for path in folder.glob("*.md"):
        if path not in wanted:
            path.unlink()


def main() -> None:
    """Write all pages."""
    write(pages(), DOCS / "environments")


if __name__ == "__main__":
    main()
