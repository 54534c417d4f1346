"""Statements of the twin that carry a mark: [M] known from the literature, [V] taken over from published code or tables, [A] assumed."""

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TWIN = Path(__file__).resolve().parent.parent.parent / "twin"
MARK = re.compile(r"\[[MVA](?:, ?[MVA])*\]")
EXPLANATION = re.compile(r"\[V\] (?:read|taken|marks)[^\[]*\[M\][^\[]*\[A\]")
"""Sentences that explain the marks and do not state a value."""
UNIT = re.compile(r"\[A\^\d\]|scattering factor f \[A\]|\[V A\]")
"""Units in brackets that look like a mark."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with a mark, and the name of the value or function that it belongs to."""

    line: int
    name: str
    text: str


def by_module() -> dict[str, list[Statement]]:
    """Return the marked statements of each module of the twin, in the order of their lines."""
    found = {}
    for path in sorted(TWIN.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if MARK.search(source) and (statements := statements_of(source)):
            found[str(path.relative_to(TWIN.parent))] = statements
    return found


def statements_of(source: str) -> list[Statement]:
    """Return the marked statements of one module: in docstrings, strings and comments."""
    tree = ast.parse(source)
    found = [*_strings(tree), *_comments(source, tree)]
    return sorted({each for each in found if _states(each.text)}, key=lambda each: (each.line, each.name))


def _states(text: str) -> bool:
    """Return whether a text holds a mark that belongs to a statement."""
    return bool(MARK.search(UNIT.sub("", text))) and not EXPLANATION.search(text)


def _strings(tree: ast.Module) -> Iterator[Statement]:
    """Yield the marked strings with the names of their owners."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and MARK.search(node.value):
            name = _name_of(node, parents)
            for part in _paragraphs(node.value):
                if MARK.search(part):
                    parameter, _, text = part.rpartition("\n:: ")
                    owner = f"{name}.{parameter}" if parameter else name
                    yield Statement(node.lineno, owner.strip(".") or "module", " ".join(text.split()))


def _paragraphs(text: str) -> Iterator[str]:
    """Yield paragraphs and rows of tables of a docstring; an entry of a section of parameters as its name, a mark, and its text."""
    for paragraph in re.split(r"\n\s*\n", text):
        if paragraph.lstrip().startswith("==="):
            yield from _rows(paragraph)
            continue
        entries = re.split(r"\n(?= {0,12}[\w, ]+ : )", f"\n{paragraph}")
        for entry in entries:
            head, _, body = entry.strip().partition("\n")
            named = re.fullmatch(r"([\w, ]+) : .*", head.strip())
            yield f"{named.group(1)}\n:: {body}" if named else entry


def _rows(table: str) -> Iterator[str]:
    """Yield the rows of a table as text; a row that begins with a blank continues the one before."""
    rows: list[str] = []
    for line in textwrap.dedent(table.strip("\n")).splitlines():
        if line.startswith(" ") and rows:
            rows[-1] += line
        elif not re.fullmatch(r"[= ]+", line):
            rows.append(line)
    for row in rows:
        first, _, rest = row.partition("  ")
        yield f"{first}: {rest}"


def _name_of(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> str:
    """Return the name of the constant, call, function or class that a string belongs to."""
    names: list[str] = []
    while (parent := parents.get(node)) is not None:
        if isinstance(parent, ast.Expr):
            before = _statement_before(parent, parents.get(parent))
            names += _targets(before)
        elif isinstance(parent, ast.Assign | ast.AnnAssign):
            names += _targets(parent)
        elif isinstance(parent, ast.Tuple) and isinstance(first := parent.elts[0], ast.Constant) and first is not node:
            names.append(str(first.value))
        elif isinstance(parent, ast.Call):
            names += _call_name(parent)
        elif isinstance(parent, ast.ClassDef | ast.FunctionDef):
            names.append(parent.name)
        elif isinstance(parent, ast.Dict) and node in parent.values and isinstance(key := parent.keys[parent.values.index(node)], ast.Constant):
            names.append(str(key.value))
        node = parent
    return ".".join(dict.fromkeys(reversed(names)))


def _statement_before(expression: ast.Expr, block: ast.AST | None) -> ast.AST | None:
    """Return the statement before the docstring of a constant."""
    body = getattr(block, "body", [])
    at = body.index(expression) if expression in body else 0
    return body[at - 1] if at else None


def _targets(node: ast.AST | None) -> list[str]:
    """Return the names that an assignment sets, joined."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
    return [", ".join(names)] if names else []


def _call_name(call: ast.Call) -> list[str]:
    """Return the name of an object from its call: the keywords ``element`` and ``name``."""
    keywords = {each.arg: each.value.value for each in call.keywords if isinstance(each.value, ast.Constant)}
    told = [str(keywords[key]) for key in ("element", "name") if key in keywords]
    return [" ".join(told)] if told else []


def _comments(source: str, tree: ast.Module) -> Iterator[Statement]:
    """Yield the marked comments with the names of the statements that they are in, or before."""
    statements = sorted((node for node in tree.body if hasattr(node, "lineno")), key=lambda node: node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and MARK.search(token.string):
            line = token.start[0]
            holder = next((node for node in statements if (node.end_lineno or node.lineno) >= line), None)
            name = ", ".join(_targets(holder)) or getattr(holder, "name", "module")
            shown = source.splitlines()[line - 1].split("#", 1)[0].strip().strip(",")
            text = token.string.strip("# -")
            yield Statement(line, name, f"{shown}: {text}" if shown else text)
