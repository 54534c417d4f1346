"""Films of episodes: a frame a step, refusals before anything is played, whole files or none; the scripts of docs/examples."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from PIL import Image

from stemtwin.benchmarks import films, returns
from stemtwin.leaderboard.cli.main import main
from stemtwin.twin.errors import StemtwinError

ID = "stemtwin/HypothesisTest-v1"
EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "docs" / "examples").glob("*.py"))


def test_a_film_shows_every_step_of_the_episode(tmp_path: Path) -> None:
    """Frames are as many as steps and one, of one size, the last one stays; numbers are those of the played episode; lines tell what comes."""
    lines: list[str] = []
    made = films.film(ID, agent="expert", difficulty="easy", seed=4, output=tmp_path / "e.gif", width=320, tell=lines.append)
    baseline = films.find_policy(ID, "expert")
    env = gym.make(ID, difficulty="easy", split="val", privileged_info=True)
    played = returns.play(env, baseline.factory(), seed=4, task=baseline.task)
    assert (made.total, made.steps, made.success) == (played.total, played.steps, played.success)
    with Image.open(made.path) as read:
        assert read.n_frames == made.frames == played.steps + 1
        assert read.width == 320
        times = []
        for number in range(read.n_frames):
            read.seek(number)
            times.append(read.info["duration"])
    assert times[-1] == films.LAST_MS > max(times[:-1])
    assert "at most" in lines[0]
    assert f"return {played.total:.3f}" in lines[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["e.gif"]


def test_a_film_says_how_it_is_made_again(tmp_path: Path) -> None:
    """Its comment is the command with agent, preset, seed and form; run again it leaves the same bytes; other files have none."""
    made = films.film(ID, agent="expert", difficulty="easy", seed=2, observation="counts", output=tmp_path / "e.gif", width=240, tell=lambda _: None)
    command = films.command_of(made.path)
    assert command == f"stemtwin film {ID} --agent expert --difficulty easy --seed 2 --observation counts --width 240"
    assert main([*command.split()[1:], "--output", str(tmp_path / "again.gif")]) == 0
    assert (tmp_path / "again.gif").read_bytes() == made.path.read_bytes()
    Image.new("P", (4, 4)).save(tmp_path / "other.gif", comment=b"made by hand")
    assert films.command_of(tmp_path / "other.gif") is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"observation": "images"}, "observation='images' is unknown"),
        ({"environment": "stemtwin/Microscope-v2"}, "environment='stemtwin/Microscope-v2' is unknown"),
        ({"agent": "exprt"}, "agent='exprt' is not a baseline of stemtwin/HypothesisTest-v1. Use one of expert"),
        ({"difficulty": "esay"}, "Did you mean 'easy'"),
        ({"seed": -1}, "seed"),
        ({"width": 10}, "width"),
        ({"output": "film.mp4"}, "not the name of a GIF"),
        ({"output": "/proc/self/film.gif"}, "film.gif"),
    ],
)
def test_what_cannot_be_filmed_is_refused_first(wrong: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wrong argument ends in a sentence before anything is played."""
    monkeypatch.setattr(returns, "play", lambda *_, **__: pytest.fail("something was played"))
    with pytest.raises(StemtwinError, match=said):
        films.film(**{"environment": ID, **wrong})


def test_a_long_episode_is_thinned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With few frames allowed, every so many-th step is shown, the first and the last among them."""
    monkeypatch.setattr(films, "MOST_FRAMES", 4)
    made = films.film(ID, agent="fixed", difficulty="easy", output=tmp_path / "e.gif", tell=lambda _: None)
    assert made.frames < made.steps + 1
    assert made.frames >= 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_named_by_its_family(path: Path) -> None:
    """A script has at most 40 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_leaves_its_film(path: Path, tmp_path: Path) -> None:
    """A script runs as it stands in an empty folder, and leaves a film of several frames where it is told."""
    output = tmp_path / "film.gif"
    done = subprocess.run([sys.executable, str(path), str(output)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Image.open(output) as read:
        assert read.n_frames > 1
