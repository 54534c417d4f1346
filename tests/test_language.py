"""Patterns of language that a machine can see: docstrings, messages and help texts avoid them."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.drawn_texts import PARTS, ROOT, Text, docstrings, messages, written

PATTERNS = {
    "'is no' where 'is not a' is meant": re.compile(
        r"\b(?<!here )(?:is|are) no (?!longer\b|more than\b|less than\b|larger than\b|smaller than\b|better than\b|worse than\b)"
    ),
    "a relative clause in place of a noun": re.compile(r"(?:\A|\n)\s*(?:What|How|Of|Where) |\bReturn what\b"),
}


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield strings that people read, with their lines; parts of formatted strings are joined."""
    tree = ast.parse(source)
    inside = {id(each) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for each in ast.walk(node) if each is not node}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, written(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value and id(node) not in inside:
            yield node.lineno, node.value


def findings(source: str) -> list[tuple[int, str]]:
    """Return line and pattern of every finding in a source."""
    found = [(line, name) for line, text in texts(source) for name, pattern in PATTERNS.items() for _ in pattern.finditer(text)]
    return sorted(found)


def test_texts_avoid_the_patterns() -> None:
    """No text of the packages has a finding."""
    paths = [path for part in PARTS for path in sorted((ROOT / part).rglob("*.py"))]
    told = [f"{path.relative_to(ROOT)}:{line}: {name}" for path in paths for line, name in findings(path.read_text(encoding="utf-8"))]
    assert told == []


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


def test_drawn_texts_are_what_a_reader_meets() -> None:
    """A draw holds public docstrings below their signatures, and messages with their formatted values in braces."""
    source = '''"""Waves.\n\nMore."""
class Wave:
    """A wave."""
    energy: float
    def check(self, limit: float = 1.0) -> None:
        """Check the energy."""
        if self.energy > limit:
            message = f"energy={self.energy} is above {limit}." " Lower it."
            raise ValueError(message)
        raise ValueError("The wave has no energy.")
    def _hidden(self) -> None:
        """Hidden."""
'''
    tree = ast.parse(source)
    assert list(docstrings("waves.py", tree)) == [
        Text("waves.py", "module waves.py", "Waves.\n\nMore."),
        Text("waves.py", "(module: Waves.)\nclass Wave()\n    energy: float", "A wave."),
        Text("waves.py", "(class Wave: A wave.)\ndef Wave.check(self, limit: float=1.0) -> None", "Check the energy."),
    ]
    assert list(messages("waves.py", tree)) == [
        Text("waves.py", "ValueError", "The wave has no energy."),
        Text("waves.py", "message", "energy={self.energy} is above {limit}. Lower it."),
    ]
