"""The documents name files, modules and functions that exist."""

import ast
import functools
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("twin", "datasets", "benchmarks", "leaderboard")
DOCUMENTS = [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"))]
FILE = re.compile(r"\b(?:twin|datasets|benchmarks|leaderboard|tests|docs)(?:/\w+)+\.\w+")
DOTTED = re.compile(r"\bstemtwin(?:\.[a-zA-Z_]\w*)+")
SUFFIXES = {"py", "md", "png", "gif", "toml"}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELLS = {"", "sh"}
MEMBER = re.compile(r"`(\w+)\.([a-zA-Z_]\w*)(?=[(`])")


def names_in(path: Path) -> set[str]:
    """Return the names that a module defines or imports at its top."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {each.asname or each.name for each in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


MODULES: dict[str, set[str]] = {}
for file in sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py")):
    MODULES.setdefault(file.stem, set()).update(names_in(file))


def is_there(dotted: str) -> bool:
    """Return whether a dotted name is a package, a module, or a name that one of them has at its top."""
    here = ROOT
    names = dotted.split(".")[1:]
    for number, name in enumerate(names):
        if (here / name).is_dir():
            here /= name
            continue
        module, left = (here / f"{name}.py", names[number + 1 :]) if (here / f"{name}.py").is_file() else (here / "__init__.py", names[number:])
        return not left or (module.is_file() and left[0] in names_in(module))
    return True


def missing(text: str) -> list[str]:
    """Return the files, dotted names and members of our modules in a text that do not exist."""
    files = [name for name in FILE.findall(text) if not (ROOT / name).exists()]
    dotted = [name for name in DOTTED.findall(text) if not is_there(name)]
    members = [f"{module}.{name}" for module, name in MEMBER.findall(text) if module in MODULES and name not in MODULES[module] | SUFFIXES]
    return files + dotted + members


def commands_in(text: str) -> list[list[str]]:
    """Return the words after ``stemtwin`` of each command in fenced blocks and between backquotes."""
    lines = []
    for language, block in FENCED.findall(text):
        lines += re.sub(r"\\\n", " ", block).splitlines() if language in SHELLS else []
    lines += [f"stemtwin {found}" for found in re.findall(r"`(?:PYTHONPATH=\. )?stemtwin ([^`]+)`", FENCED.sub("", text))]
    parts = [part.strip() for line in lines for part in re.split(r"&&|\|\||[|;#]", line)]
    found = [re.search(r"(?:^|/)stemtwin (.*)", part.removeprefix("PYTHONPATH=. ")) for part in parts]
    return [one[1].split() for one in found if one]


@functools.cache
def loaded(name: str) -> Any:
    """Return a command of the command line with its parameters."""
    import typer.main

    from stemtwin.leaderboard.cli.main import build

    application: Any = typer.main.get_command(build(name))
    return application.commands[name]


def unknown_words(words: list[str]) -> list[str]:
    """Return the subcommands and options of a command line that do not exist."""
    from stemtwin.leaderboard.cli.main import COMMANDS

    if not words or words[0].startswith("-"):
        return []
    if words[0] not in COMMANDS:
        return [words[0]]
    command, rest = loaded(words[0]), words[1:]
    if hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return [f"{words[0]} {rest[0]}"]
        command, rest = command.commands[rest[0]], rest[1:]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    return [f"{words[0]} {word}" for word in rest if word.startswith("--") and word.partition("=")[0] not in known]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_a_document_shows_exists(path: Path) -> None:
    """Subcommands and options of ``stemtwin`` in blocks of a shell and between backquotes are those of the command line."""
    assert [word for words in commands_in(path.read_text(encoding="utf-8")) for word in unknown_words(words)] == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("`stemtwin event open stem-days`", []),
        ("`stemtwin event opens stem-days`", ["event opens"]),
        ("```sh\ncd event && stemtwin data build x \\\n    --sizes tiny  # --no\n```\n", ["data --sizes"]),
        ("```python\nstemtwin no python\n```\n", []),
        ("`stemtwin --help`", []),
        ("`stemtwin forge`", ["forge"]),
    ],
)
def test_the_judge_of_commands_judges_right(text: str, wrong: list[str]) -> None:
    """A subcommand and an option are found missing where they are, and only there."""
    assert [word for words in commands_in(text) for word in unknown_words(words)] == wrong


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_everything_that_a_document_names_exists(path: Path) -> None:
    """Every file, every module and every function of a module that a document names is in the tree."""
    assert missing(path.read_text(encoding="utf-8")) == []


def test_files_that_a_docstring_names_exist() -> None:
    """A Python file between double backquotes in a source is a file of the tree, by its name or by its path."""
    sources = [path for part in (*PARTS, "tests") for path in (ROOT / part).rglob("*.py")]
    names = {path.name for path in sources}
    wrong = []
    for source in sources:
        for name in re.findall(r"``([\w/]+\.py)``", source.read_text(encoding="utf-8")):
            there = (ROOT / name).exists() or (source.parent / name).exists() if "/" in name else name in names
            wrong += [] if there else [f"{source.relative_to(ROOT)}: {name}"]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("`twin/physics/noise.py`", []),
        ("`twin/physics/nose.py`", ["twin/physics/nose.py"]),
        ("`stemtwin.twin.physics.noise.count_electrons`", []),
        ("`stemtwin.twin.physics.noise.count_protons`", ["stemtwin.twin.physics.noise.count_protons"]),
        ("`stemtwin.twin.physics.nose`", ["stemtwin.twin.physics.nose"]),
        ("`process_library.putting_dune(current)`", []),
        ("`library.putting_dune(current)`", ["library.putting_dune"]),
    ],
)
def test_the_judge_of_documents_judges_right(text: str, wrong: list[str]) -> None:
    """A file, a dotted name and a member are found missing where they are, and only there."""
    assert missing(text) == wrong
