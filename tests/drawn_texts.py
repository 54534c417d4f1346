"""Random draws of the texts that people read, for a reader who has not seen the code.

`python -m tests.drawn_texts SEED` prints 60 public docstrings with their signatures and 40 error messages, numbered; the same seed
on the same sources draws the same texts. `--help-texts` prints the help texts of all commands in place of a draw. `--root FOLDER
--parts a,b` draws from another project, as a control: the share of texts that a reader names depends on the reader as well.
"""

import argparse
import ast
import random
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("stemtwin", "twin", "datasets", "benchmarks", "leaderboard")
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Text:
    """A text with the file that holds it and the heading under which a reader sees it."""

    path: str
    heading: str
    body: str


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef, owner: str) -> str:
    """Return a signature as the reference prints it."""
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"def {owner}{node.name}({ast.unparse(node.args)}){returns}"


def heading(node: ast.ClassDef, owner: str) -> str:
    """Return the first line of a class with its annotated fields."""
    fields = [f"    {ast.unparse(each)}" for each in node.body if isinstance(each, ast.AnnAssign)]
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    return "\n".join([f"class {owner}{node.name}({bases})", *fields])


def docstrings(path: str, tree: ast.Module) -> Iterator[Text]:
    """Yield the docstrings of a module and of its public classes, functions and methods."""

    def below(parent: Documented, owner: str, about: str) -> Iterator[Text]:
        for node in parent.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
                continue
            title = heading(node, owner) if isinstance(node, ast.ClassDef) else signature(node, owner)
            text = ast.get_docstring(node)
            if text:
                yield Text(path, about + title, text)
            if isinstance(node, ast.ClassDef):
                first = (text or "").partition("\n")[0]
                yield from below(node, f"{owner}{node.name}.", f"(class {node.name}: {first})\n")

    about = ast.get_docstring(tree)
    if about:
        yield Text(path, f"module {path}", about)
    yield from below(tree, "", f"(module: {(about or '').partition(chr(10))[0]})\n")


def written(node: ast.expr) -> str:
    """Return a string expression with its formatted values in braces, or an empty string for other expressions."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr():
            return "".join(map(written, node.values))
        case ast.FormattedValue():
            return "{" + ast.unparse(node.value) + "}"
        case ast.BinOp(op=ast.Add()):
            return written(node.left) + written(node.right)
        case ast.IfExp():
            return f"{written(node.body)} | {written(node.orelse)}"
        case _:
            return ""


def messages(path: str, tree: ast.Module) -> Iterator[Text]:
    """Yield the error messages of a module: texts that are named ``message`` or raised directly."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id="message")], value=value):
                name, told = "message", [value]
            case ast.Raise(exc=ast.Call(func=func, args=told)) if told:
                name = ast.unparse(func)
            case _:
                continue
        text = " ".join(filter(None, map(written, told)))
        if text.count(" ") > 2:
            yield Text(path, name, text)


def help_texts(path: str, tree: ast.Module) -> Iterator[Text]:
    """Yield the help texts of options and arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "help" and (text := written(node.value)):
            yield Text(path, "help", text)


def main() -> None:
    """Print a draw."""
    parser = argparse.ArgumentParser(description="Print texts drawn at random.")
    parser.add_argument("seed", type=int, help="Seed of the draw.")
    parser.add_argument("--docstrings", type=int, default=60, help="Number of docstrings.")
    parser.add_argument("--messages", type=int, default=40, help="Number of messages.")
    parser.add_argument("--help-texts", action="store_true", help="Print all help texts in place of a draw.")
    parser.add_argument("--root", type=Path, default=ROOT, help="Folder of the project.")
    parser.add_argument("--parts", default=",".join(PARTS), help="Packages of the project, separated by commas.")
    chosen = parser.parse_args()
    files = [
        path
        for part in chosen.parts.split(",")
        for path in sorted((chosen.root / part).rglob("*.py"))
        if "tests" not in path.parts[len(chosen.root.parts) :]
    ]
    trees = [(str(path.relative_to(chosen.root)), ast.parse(path.read_text(encoding="utf-8"))) for path in files]
    draw = random.Random(chosen.seed)
    if chosen.help_texts:
        drawn = [text for path, tree in trees for text in help_texts(path, tree)]
    else:
        described = [text for path, tree in trees for text in docstrings(path, tree)]
        told = [text for path, tree in trees for text in messages(path, tree)]
        drawn = draw.sample(described, min(chosen.docstrings, len(described))) + draw.sample(told, min(chosen.messages, len(told)))
    for number, text in enumerate(drawn, 1):
        sys.stdout.write(f"=== {number}. {text.path}\n{text.heading}\n{textwrap.indent(text.body, '    ')}\n\n")


if __name__ == "__main__":
    main()
