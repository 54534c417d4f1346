"""Films of episodes: the picture of every state above a panel of dose, budget, return and score, as a GIF."""

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

from stemtwin.benchmarks import returns
from stemtwin.benchmarks.agents import Baseline
from stemtwin.twin import checks, files
from stemtwin.twin.envs.arguments import OBSERVATIONS, one_of
from stemtwin.twin.envs.canvas import AMBER, BLUE, GREY, WHITE, PictureCanvas, amount
from stemtwin.twin.envs.making import family_class
from stemtwin.twin.envs.reference import reference
from stemtwin.twin.errors import SettingsError, UnknownNameError

WIDTH_PX, NARROWEST_PX, WIDEST_PX = 640, 240, 1920
PANEL_PX, MARGIN_PX = 66, 12
"""Height of the panel and its margin; both grow with pictures wider than ``USUAL_PX``."""
USUAL_PX = 640
MOST_FRAMES = 200
"""Largest number of frames of a film; of a longer episode, only every n-th step is shown."""
LENGTH_MS, SLOWEST_MS, QUICKEST_MS, LAST_MS = 15_000, 700, 60, 2500
"""Wanted length of a film; the longest and the shortest time of a frame; how long the last one stays, ms."""
COLOURS, PALETTE_FRAMES = 128, 8
"""Number of colours of a film, and number of frames from which they are chosen."""
QUIET_S = 10.0
LARGEST_SEED = 2**63 - 1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FilmedEpisode:
    """Result of :func:`film`: the file and the score of the episode.

    Parameters
    ----------
    path : Path
        The film.
    frames : int
        Number of frames of the film.
    steps : int
        Number of actions.
    total : float
        Return of the episode.
    normalized : float, optional
        Normalised return, 0 for the better of no-op and random, 1 for the oracle; None if the environment has no scale of returns.
    success : bool
        Whether the episode ended in a success.
    """

    path: Path
    frames: int
    steps: int
    total: float
    normalized: float | None
    success: bool


def film(
    environment: str,
    *,
    agent: str = "expert",
    difficulty: str = "standard",
    seed: int = 0,
    observation: str | None = None,
    output: Path | str | None = None,
    width: int = WIDTH_PX,
    tell: Callable[[str], None] | None = None,
) -> FilmedEpisode:
    """Play an episode of the validation split and write a film of it; a comment in the file holds the command that makes the film again.

    Parameters
    ----------
    environment : str
        Id of an environment with a goal, for example ``"stemtwin/Autofocus-v2"``.
    agent : str
        Name of a baseline of the environment, for example ``"expert"``, ``"random"`` or ``"oracle"``.
    difficulty : str
        A preset of the family.
    seed : int
        Seed of the episode.
    observation : str, optional
        Form of the observations that the agent receives, by default the environment's usual form.
    output : Path or str, optional
        Path of the GIF, by default ``<Id>-<agent>.gif`` in the current folder; the file is written completely or not at all.
    width : int
        Width of the film, pixels, 240 to 1920.
    tell : callable, optional
        Called with a line of progress before the start, every ten seconds, and at the end. By default, the lines go to stderr.

    Raises
    ------
    StemtwinError
        A name is unknown, a number is out of range, or the file cannot be written. The error is raised before anything is played.
    """
    policy = find_policy(environment, agent)
    one_of("difficulty", difficulty, tuple(family_class(environment).PRESETS))  # type: ignore[attr-defined] - a family with a goal
    form: dict[str, Any] = {} if observation is None else {"observation": observation}
    one_of("observation", observation or OBSERVATIONS[0], OBSERVATIONS)
    checks.whole("seed", seed, low=0, high=LARGEST_SEED)
    checks.whole("width", width, low=NARROWEST_PX, high=WIDEST_PX)
    name = environment.partition("/")[2]
    path = _writable_path(f"{name}-{agent}.gif" if output is None else output)
    say = _tell if tell is None else tell
    shown = {"split": "val", "difficulty": difficulty, "render_mode": "rgb_array", "privileged_info": True}
    env = gym.make(environment, disable_env_checker=True, **shown, **form)
    most = env.spec.max_episode_steps if env.spec is not None else None
    say(f"{agent} on {environment}, {difficulty}, seed {seed}: at most {most} steps, then {path}")
    camera = FilmCamera(env, title="  ".join([name, difficulty, *form.values(), agent]), stride=-(-(most or 1) // MOST_FRAMES), tell=say)
    played = returns.play(env, policy.factory(), seed=seed, task=policy.task, oracle=policy.oracle, watcher=camera)
    env.close()
    score = _normalized(environment, difficulty, played.total)
    pictures = camera.developed(played, score)
    options = {"agent": agent, "difficulty": difficulty, "seed": seed, **form, **({"width": width} if width != WIDTH_PX else {})}
    _write(pictures, path, width, comment=f"stemtwin film {environment} {' '.join(f'--{option} {value}' for option, value in options.items())}")
    told = "" if score is None else f", normalised {score:.2f}"
    say(f"{path}: {played.steps} steps, {len(pictures)} frames, return {played.total:.3f}{told}, {'success' if played.success else 'no success'}")
    return FilmedEpisode(path=path, frames=len(pictures), steps=played.steps, total=played.total, normalized=score, success=played.success)


def _writable_path(output: Path | str) -> Path:
    """Return the path of a GIF; raise StemtwinError if it has another ending or cannot be written."""
    path = Path(output)
    if path.suffix.lower() != ".gif":
        message = f"output={str(path)!r} is not the name of a GIF. Give one that ends with .gif."
        raise SettingsError(message)
    files.check_writable(path)
    return path


def find_policy(environment: str, agent: str) -> Baseline:
    """Return a baseline from the id of an environment and the name of the baseline.

    Raises
    ------
    UnknownNameError
        The environment does not exist, has no goal, or has no such baseline.
    """
    known = returns.environments()
    one_of("environment", environment, known)
    if agent not in known[environment]:
        message = f"agent={agent!r} is not a baseline of {environment}. Use one of {', '.join(known[environment])}."
        raise UnknownNameError(message)
    return known[environment][agent]


class FilmCamera:
    """Recorder of the pictures of an episode, a ``returns.Watcher``.

    Parameters
    ----------
    environment : gymnasium.Env
        The environment, with ``render_mode="rgb_array"``.
    title : str
        Text at the beginning of the panel.
    stride : int
        Number of steps from one kept picture to the next; the first and the last are always kept.
    tell : callable
        Called with a line of progress every ten seconds.
    """

    def __init__(self, environment: gym.Env, *, title: str, stride: int, tell: Callable[[str], None]) -> None:
        self.environment, self.title, self.stride, self.tell = environment, title, stride, tell

    def begin(self, observation: Any, info: Mapping[str, Any]) -> None:
        """Record the result of ``reset``."""
        del observation
        self.shots: list[tuple[np.ndarray, dict[str, float]]] = []
        self.steps, self.total, self.told = 0, 0.0, time.monotonic()
        self._shoot(info)

    def add(self, action: Any, result: tuple[Any, Any, bool, bool, Mapping[str, Any]]) -> None:
        """Record an action and the result of ``step``."""
        del action
        _, reward, terminated, truncated, info = result
        self.steps, self.total = self.steps + 1, self.total + float(reward)
        if self.steps % self.stride == 0 or terminated or truncated:
            self._shoot(info)
        if time.monotonic() - self.told > QUIET_S:
            self.told = time.monotonic()
            self.tell(f"step {self.steps}, return {self.total:.3f} so far")

    def _shoot(self, info: Mapping[str, Any]) -> None:
        """Keep a picture with the numbers of its panel."""
        seen: Any = self.environment.render()
        task, state = self.environment.get_wrapper_attr("task"), self.environment.get_wrapper_attr("_state")
        told = {name: float(info["cost"].get(name, 0.0)) for name in ("dose_e_per_angstrom2", "beam_s")}
        self.shots.append((seen, {**told, "steps": self.steps, "return": self.total, "spent": float(task.spent(state))}))

    def developed(self, played: returns.PlayedEpisode, score: float | None) -> list[Image.Image]:
        """Return the frames of the film, all of one size: each is a picture above its panel, and the last panel states the score."""
        size = tuple(max(picture.shape[axis] for picture, _ in self.shots) for axis in (1, 0))
        verdict = ("success" if played.success else "no success") + ("" if score is None else f", score {score:.2f}")
        last = len(self.shots) - 1
        return [self._framed(picture, told, size, verdict if i == last else "") for i, (picture, told) in enumerate(self.shots)]

    def _framed(self, picture: np.ndarray, told: Mapping[str, float], size: tuple[int, ...], verdict: str) -> Image.Image:
        """Return a picture above its panel."""
        width, height = size
        scale = max(width / USUAL_PX, 0.6)
        canvas = PictureCanvas(width, height + round(PANEL_PX * scale))
        canvas.image.paste(Image.fromarray(picture), (0, 0))
        canvas.line(0, height, width, height, GREY)
        margin, text = MARGIN_PX * scale, round(13 * scale)
        first, second = height + 20 * scale, height + 40 * scale
        canvas.text(margin, first, self.title, colour=GREY, size=text)
        canvas.text(width - margin, first, verdict or f"step {told['steps']:.0f}", colour=AMBER if verdict else WHITE, size=text, anchor="rs")
        dose = f"dose {amount(told['dose_e_per_angstrom2'])} e⁻/Å²   beam {told['beam_s']:.3g} s"
        canvas.text(margin, second, dose, size=text)
        canvas.text(width - margin, second, f"return {told['return']:+.2f}", size=text, anchor="rs")
        canvas.text(margin, height + 58 * scale, "budget left", colour=GREY, size=round(11 * scale))
        canvas.share((margin + 80 * scale, height + 50 * scale, width - margin, height + 58 * scale), 1 - told["spent"], BLUE)
        return canvas.image


def _normalized(environment: str, difficulty: str, total: float) -> float | None:
    """Return a return on the scale, or None where there is none."""
    try:
        return reference(environment, difficulty).normalized(total)
    except UnknownNameError:
        return None


def command_of(path: Path) -> str | None:
    """Return the command that makes a film again, read from the comment in the film's file; None if the file has no such comment."""
    with Image.open(path) as film_:
        told = film_.info.get("comment", b"").decode("ascii", errors="replace")
    return told if told.startswith("stemtwin film ") else None


def _write(frames: list[Image.Image], path: Path, width: int, *, comment: str) -> None:
    """Write frames as a GIF of one palette that plays for ever."""
    height = round(frames[0].height * width / frames[0].width)
    small = [frame.resize((width, height), Image.Resampling.LANCZOS) for frame in frames]
    few = small[:: -(-len(small) // PALETTE_FRAMES)]
    together = Image.new("RGB", (width, height * len(few)))
    for number, frame in enumerate(few):
        together.paste(frame, (0, number * height))
    palette = together.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
    drawn = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in small]
    each = min(max(LENGTH_MS // len(drawn), QUICKEST_MS), SLOWEST_MS)
    with files.replacing(path, ending=".gif") as temporary:
        times = [*[each] * (len(drawn) - 1), LAST_MS]
        drawn[0].save(temporary, save_all=True, append_images=drawn[1:], duration=times, loop=0, optimize=True, comment=comment.encode("ascii"))


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
