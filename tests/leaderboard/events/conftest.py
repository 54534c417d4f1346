"""Events of the tests: two quick episodes, agents that need numpy and msgpack alone, and an archive that is made once."""

import datetime
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stemtwin.leaderboard.events.archive import close_event
from stemtwin.leaderboard.events.creation import new_event
from stemtwin.leaderboard.events.folders import Organiser, open_organiser
from stemtwin.leaderboard.events.moderation import freeze
from stemtwin.leaderboard.events.scoring import score_event

UTC = datetime.UTC
OPENS = datetime.datetime(2026, 1, 15, 9, tzinfo=UTC)
CLOSES = datetime.datetime(2026, 1, 17, 9, tzinfo=UTC)
SETTINGS = {
    "opens": OPENS,
    "closes": CLOSES,
    "isolation": "process",
    "environments": [{"task": "hypothesis-test", "episodes": 2}],
    "sites": [{"name": "Berlin", "zone": "Europe/Berlin"}, {"name": "Knoxville", "zone": "America/New_York"}],
}
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "agents.md"
"""The document with the client that needs numpy and msgpack alone."""


def agent_text(value: str) -> str:
    """Return the documented client, which sends an action of equal numbers."""
    text = DOCUMENT.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    return text.replace("rng.uniform(-1, 1, shape)", f"np.full(shape, {value})")


def hand_in(event: Path, team: str, name: str, value: str = "0.5", *, task: str = "hypothesis-test", program: str = "") -> Path:
    """Hand in an agent that always does the same."""
    folder = event / "submissions" / team / name
    folder.mkdir(parents=True)
    (folder / "agent.py").write_text(agent_text(value), encoding="utf-8")
    program = program or f"{sys.executable} agent.py"
    (folder / "agent.toml").write_text(f'schema = "stemtwin/agent-submission@1"\ntask = "{task}"\nprogram = "{program}"\n', encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a new event and of its secrets, which is copied."""
    root = tmp_path_factory.mktemp("made")
    new_event(root / "trial", SETTINGS)
    return root


@pytest.fixture
def organiser(made: Path, tmp_path: Path) -> Organiser:
    """Return a new event."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return open_organiser(tmp_path / "trial")


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Organiser]:
    """Return the function that makes an event with other settings."""
    return lambda **settings: new_event(tmp_path / "other", {**SETTINGS, **settings})


@pytest.fixture(scope="session")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a closed event, of its secrets and of its archive; copy it before you change it."""
    root = tmp_path_factory.mktemp("closed")
    made = new_event(root / "trial", SETTINGS)
    hand_in(made.path, "ours", "half")
    hand_in(made.path, "theirs", "broken", program="false")
    score_event(made)
    freeze(made)
    close_event(made, root / "archive")
    return root


@pytest.fixture
def archive(closed: Path, tmp_path: Path) -> Path:
    """Return an archive that may be changed."""
    return Path(shutil.copytree(closed / "archive", tmp_path / "archive"))


def again(organiser: Organiser) -> Organiser:
    """Return an event as another process sees it."""
    return open_organiser(organiser.path, organiser.secret)
