"""Patterns of language that a machine can see: docstrings, messages and help texts avoid them."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("stemtwin", "twin", "datasets", "benchmarks", "leaderboard")
PATTERNS = {
    "'is no' where 'is not a' is meant": re.compile(
        r"\b(?<!here )(?:is|are) no (?!longer\b|more than\b|less than\b|larger than\b|smaller than\b|better than\b|worse than\b)"
    ),
    "a relative clause in place of a noun": re.compile(r"(?:\A|\n)\s*(?:What|How|Of|Where) |\bReturn what\b"),
}
PENDING: dict[str, int] = {"twin/instrument/simulation": 36, "twin/samples/readers": 1}
"""Packages that still have such lines, and how many; the numbers may only fall."""


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield strings that people read, with their lines; parts of formatted strings are joined."""
    tree = ast.parse(source)
    inside = {id(each) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for each in ast.walk(node) if each is not node}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value and id(node) not in inside:
            yield node.lineno, node.value


def findings(source: str) -> list[tuple[int, str]]:
    """Return line and pattern of every finding in a source."""
    found = [(line, name) for line, text in texts(source) for name, pattern in PATTERNS.items() for _ in pattern.finditer(text)]
    return sorted(found)


def package(path: Path) -> str:
    """Return the package of a module, at most three folders deep."""
    return "/".join(path.relative_to(ROOT).parts[:-1][:3])


def test_texts_avoid_the_patterns() -> None:
    """No package has more findings than the list of pending ones grants, and that list names no clean package."""
    found = {path: findings(path.read_text(encoding="utf-8")) for part in PARTS for path in sorted((ROOT / part).rglob("*.py"))}
    counts = Counter({package(path): 0 for path in found})
    for path, lines in found.items():
        counts[package(path)] += len(lines)
    told = {
        name: [f"{path.relative_to(ROOT)}:{line}: {what}" for path, lines in found.items() if package(path) == name for line, what in lines]
        for name in counts
    }
    assert {name: told[name] for name, count in counts.items() if count > PENDING.get(name, 0)} == {}
    assert {name for name in PENDING if not counts[name]} == set()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("x is no column", 1),
        ("There is no file", 0),
        ("the error is no more than 1", 0),
        ("What was drawn.", 1),
        ("Return what stands there", 1),
        ("A mean.\n\n    Where it lies.", 1),
        ("Somewhere. What follows is inside a line", 0),
        ("The file is not a folder", 0),
    ],
)
def test_patterns_find_what_they_name(text: str, count: int) -> None:
    """Each pattern finds its own example and leaves usual English alone."""
    assert len(findings(f"TEXT = {text!r}\n")) == count
