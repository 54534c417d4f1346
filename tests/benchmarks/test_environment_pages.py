"""Pages of environments: the files are what the command writes, sections are those of the template, and every example runs."""

import re
from pathlib import Path

import gymnasium as gym
import pytest
from PIL import Image

from stemtwin.benchmarks import environment_pages as pages
from stemtwin.twin.envs import ENVIRONMENTS
from stemtwin.twin.envs.arguments import OBSERVATIONS
from stemtwin.twin.envs.making import family_class

OLD = {"stemtwin/Autofocus-v1", "stemtwin/Microscope-v1"}
"""Frozen versions, whose pages name their successors and have no example."""
TEMPLATE = ("Description", "Action space", "Observation space", "Reward", "Starting state", "Episode end", "Presets", "Example", "Version history")
LARGEST_FILM = 600_000
"""Most bytes of a film that the pages and the README show."""
FAST = {"stemtwin/HypothesisTest-v1"}
"""Environments whose example runs in a blink."""
EXAMPLES = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in ENVIRONMENTS if name not in OLD]


def test_the_files_are_what_the_command_writes() -> None:
    """``make pages`` changes no file of docs/environments and not the tables of docs/environments.md, and none is of an environment that is gone."""
    wanted = pages.pages()
    for path, text in wanted.items():
        assert path.exists(), f"{path.name} is missing: make pages"
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is not what its docstring and scale say: make pages"
    assert set((pages.DOCS / "environments").glob("*.md")) <= set(wanted)


def test_links_of_pages_lead_somewhere() -> None:
    """Every relative link and picture of a page is a file; films are small."""
    for path in (pages.DOCS / "environments").glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            if "/" in link or link.endswith(".md"):
                assert (path.parent / link).exists(), (path.name, link)
    for film in (pages.DOCS / "films").glob("*"):
        assert film.stat().st_size <= LARGEST_FILM, film.name
        name, version, *form = film.stem.split("-")
        assert f"stemtwin/{name}-{version}" in ENVIRONMENTS
        assert form == [] or form[0] in OBSERVATIONS


def test_the_films_of_a_page_stand_above_their_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each film is followed by the command in its comment, or by the usual one; that of another form is named."""
    (tmp_path / "films").mkdir()
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    told = {"": None, "-counts": "stemtwin film stemtwin/AtomForge-v1 --agent expert --difficulty easy --seed 3 --observation counts"}
    for ending, command in told.items():
        Image.new("P", (4, 4)).save(tmp_path / "films" / f"AtomForge-v1{ending}.gif", comment=(command or "by hand").encode())
    assert pages._film("stemtwin/AtomForge-v1") == [
        "## Film",
        "![An episode of the expert](../films/AtomForge-v1.gif)",
        "```sh\nstemtwin film stemtwin/AtomForge-v1 --agent expert\n```",
        "![An episode of the expert in the form `counts`](../films/AtomForge-v1-counts.gif)",
        f"```sh\n{told['-counts']}\n```",
    ]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_page_has_the_sections_of_the_template_in_order(environment: str) -> None:
    """The docstring has all titles of the template, in its order; nothing of reStructuredText is left on the page."""
    found = [title for title in pages.sections(family_class(environment)) if title and title not in pages.LISTS]
    expected = [title for title in TEMPLATE if environment not in OLD or title in found]
    assert [title for title in found if title in TEMPLATE] == expected
    text = pages.page(environment)
    assert "``" not in text.replace("```", "")
    assert not re.search(r"^\s*(=+ +=+|::)", text, re.MULTILINE)
    assert text.count("\n## ") >= len(found)


@pytest.mark.parametrize("environment", EXAMPLES)
def test_an_example_plays_an_episode_on_the_easy_preset(environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most ten lines make the environment with the easy preset and act in it, as they stand."""
    code = pages.example(family_class(environment))
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    assert 'difficulty="easy"' in code
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, environment, "exec"), names)
    env = next(value for value in names.values() if isinstance(value, gym.Env))
    assert env.spec is not None
    assert env.spec.id == environment
    assert env.unwrapped._state is not None  # type: ignore[attr-defined] - it has begun
    assert env.get_wrapper_attr("task").cost(env.unwrapped._state)["moves"] >= 1  # type: ignore[attr-defined]


def test_tables_and_blocks_become_markdown() -> None:
    """A table keeps its cells, a line without a first cell continues the row above by text or by entries, blocks are fenced, bars are escaped."""
    body = (
        "Words of ``code``\nthat go on.\n\n"
        "==== ======\nname unit\n==== ======\n``a`` A\n     or nm\nb    x | y\n==== ======\n\n"
        "==== ===== ==== ====\nname part  unit step\n==== ===== ==== ====\nc    side  A    1\n     angle rad  2\n==== ===== ==== ====\n\n"
        "::\n\n    first = 1\n    second = 2\n"
    )
    assert pages.markdown(body).split("\n\n") == [
        "Words of `code` that go on.",
        "| name | unit |\n|---|---|\n| `a` | A or nm |\n| b | x \\| y |",
        "| name | part | unit | step |\n|---|---|---|---|\n| c | side<br>angle | A<br>rad | 1<br>2 |",
        "```python\nfirst = 1\nsecond = 2\n```",
    ]
