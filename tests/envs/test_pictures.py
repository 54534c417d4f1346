"""Pictures for people: drawn quickly without matplotlib, of what the agent sees, in every render mode of Gymnasium."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.twin.envs import canvas, pictures
from stemtwin.twin.envs.control_panel import COEFFICIENTS, Reading, length_text
from stemtwin.twin.envs.image_features import log_sector_powers, stretched
from stemtwin.twin.errors import SettingsError

Make = Callable[..., gym.Env]
RNG = np.random.Generator(np.random.Philox(1))
COUNTS = RNG.poisson(1.3, (128, 128)).astype(np.uint16)
OBSERVATION = {"image": COUNTS, "knobs": np.array([30.0, -10.0, 5.0]), "budget": np.array([0.8, 0.9])}
REACH = np.array([200.0, 120.0, 120.0])
ORDERS = {"1": "1st order", "2": "2nd order", "3": "3rd order", "4": "4th order", "5": "5th order"}
OPTICS = [Reading(group=ORDERS[name[1]], name=name, value=0.1 * i - 1, text="+1 Å") for i, name in enumerate(COEFFICIENTS)]
OTHERS = [Reading(group=group, name=f"{group} {i}", value=0.5, text="1") for group in ("beam", "detectors", "stage") for i in range(5)]
SPENT = {"time_s": 12.0, "electrons": 3e8, "dose_e_per_angstrom2": 2e5, "moves": 4.0}


def scope_picture(readings: list[Reading] | None = None, **changes: Any) -> np.ndarray:
    """Return the picture of a microscope with two detectors."""
    settings: dict[str, Any] = {"spent": SPENT, "left": {"actions": 0.5, "dose": 0.9}, "field_of_view": 20.0, "fresh": True, **changes}
    return pictures.microscope_picture({"haadf": COUNTS, "bf": COUNTS}, OPTICS + OTHERS if readings is None else readings, **settings)


def test_the_focus_picture_shows_the_path_and_the_dose() -> None:
    """Past places of the knobs, the note and the dose are drawn where they are given; the size stays."""
    plain = pictures.focus_picture(OBSERVATION, REACH, frame=3, field_of_view=16.0, dose=0)
    assert plain.shape == (480, 760, 3)
    for change in ({"path": [np.zeros(3), np.array([60.0, 0, 0])]}, {"dose": 3e5}, {"note": "stop"}):
        other = pictures.focus_picture(OBSERVATION, REACH, **{"frame": 3, "field_of_view": 16.0, "dose": 0, **change})  # type: ignore[arg-type]
        assert (plain != other).any(axis=-1).sum() > 30


def test_every_knob_has_a_bar_of_its_own() -> None:
    """Each of the knobs changes the picture, in places that no other changes; groups follow each other in at most four columns."""
    readings = OPTICS + OTHERS
    plain = scope_picture()
    places = []
    for i, reading in enumerate(readings):
        changed = [*readings[:i], Reading(group=reading.group, name=reading.name, value=0.9 - reading.value, text="7"), *readings[i + 1 :]]
        places.append((plain != scope_picture(changed)).any(axis=-1))
        assert places[-1].any()
    assert np.sum(places, axis=0).max() == 1
    columns = pictures._columns(readings)
    assert len(columns) <= pictures.COLUMNS
    assert [group for column in columns for group, _ in column] == list(dict.fromkeys(reading.group for reading in readings))


def test_a_stale_frame_says_so() -> None:
    """A frame that the last action did not take is marked."""
    assert not np.array_equal(scope_picture(), scope_picture(fresh=False))


@pytest.mark.parametrize("shape", [(8, 64), (64, 8), (24, 32)])
def test_frames_of_any_shape_are_drawn(shape: tuple[int, int]) -> None:
    """Wide and high frames, and frames without a count, keep their shape inside the picture."""
    for image in (np.zeros(shape), RNG.poisson(3.0, shape)):
        drawn = pictures.microscope_picture({"haadf": image}, OTHERS, spent=SPENT, left={"dose": 1.0}, field_of_view=8.0, fresh=True)
        assert min(drawn.shape[:2]) >= 240
        focus = pictures.focus_picture({**OBSERVATION, "image": image}, REACH, frame=1, field_of_view=8.0, dose=0)
        assert focus.shape == (480, 760, 3)


def test_pictures_load_no_matplotlib() -> None:
    """Drawing needs numpy, scipy and pillow; matplotlib gives its font without being imported."""
    code = (
        "import sys, numpy as np\n"
        "from stemtwin.twin.envs import pictures\n"
        "seen = {'image': np.ones((16, 16)), 'knobs': np.zeros(3), 'budget': np.ones(2)}\n"
        "pictures.focus_picture(seen, np.ones(3), frame=1, field_of_view=4.0, dose=0)\n"
        "assert 'matplotlib' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_font_has_every_sign() -> None:
    """Signs of units are in the font: none of them is drawn as the box that stands for an unknown one."""
    unknown = canvas.font(12).getmask("\uffff")
    for sign in "ÅµN²":
        assert bytes(canvas.font(12).getmask(sign)) != bytes(unknown)


@pytest.mark.parametrize(
    ("angstrom", "text"), [(0.0, "+0.0 Å"), (-12.6, "-13 Å"), (671.0, "+671 Å"), (4180.0, "+418 nm"), (-3.2e4, "-3.2 µm"), (2.5e7, "+2.5 mm")]
)
def test_lengths_read_well(angstrom: float, text: str) -> None:
    """A length has a unit that keeps its digits few."""
    assert length_text(angstrom) == text


def test_features_of_images() -> None:
    """A picture of eight bits spans its range; a wave raises the power of its own sector above that of noise alone."""
    assert (stretched(COUNTS).min(), stretched(np.full((8, 8), 3)).max()) == (0, 0)
    wave = COUNTS + 5 * (1 + np.cos(2 * np.pi * np.arange(128) * 8 / 128))[None, :]
    raised = log_sector_powers(wave) - log_sector_powers(COUNTS.astype(float))
    assert raised.argmax() // 6 == 0
    assert raised.max() > 0.1
    assert np.all(log_sector_powers(np.zeros((16, 16))) == 0)


def test_rgb_array_list_collects_every_picture(env_id: str, small: Make) -> None:
    """Gymnasium's own collection of frames works: one picture at the reset and one a step, as a film takes them."""
    env: Any = small(env_id, render_mode="rgb_array_list")
    env.reset(seed=1)
    env.action_space.seed(1)
    taken, over = 1, False
    while taken < 3 and not over:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        taken, over = taken + 1, terminated or truncated
    film = env.render()
    assert len(film) == taken >= 2
    assert len({frame.shape for frame in film}) == 1
    assert film[0].dtype == np.uint8


@pytest.mark.filterwarnings("ignore:.*doesn't natively support it:UserWarning")
def test_human_shows_a_window(env_id: str, small: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gymnasium's own window is given every picture, transposed, in a window of its size; a recorder stands for pygame."""
    window = MagicMock()
    monkeypatch.setitem(sys.modules, "pygame", window)
    env, other = small(env_id, render_mode="human"), small(env_id, render_mode="rgb_array")
    action = env.action_space.sample()
    env.reset(seed=1)
    env.step(action)
    other.reset(seed=1)
    expected = [other.render()]
    other.step(action)
    expected.append(other.render())
    shown = [call.args[0].transpose(1, 0, 2) for call in window.surfarray.make_surface.call_args_list]
    np.testing.assert_array_equal(shown, expected)
    window.display.set_mode.assert_called_once_with(shown[0].shape[1::-1])
    env.close()
    window.display.quit.assert_called_once()


@pytest.mark.filterwarnings("ignore:.*The environment is being initialised with render_mode:UserWarning")
def test_a_wrong_render_mode_ends_at_make(env_id: str, small: Make) -> None:
    """An unknown mode is refused by make in one sentence that lists the known ones."""
    with pytest.raises(SettingsError, match=r"render_mode='svg' of .* is unknown\. Use 'rgb_array', 'human'"):
        small(env_id, render_mode="svg")


@pytest.mark.speed
def test_a_picture_costs_25_milliseconds_at_most() -> None:
    """Both pictures are drawn within 25 ms of processor time."""
    for draw in (scope_picture, lambda: pictures.focus_picture(OBSERVATION, REACH, frame=3, field_of_view=16.0, dose=3e5, path=[np.zeros(3)] * 20)):
        draw()
        began = time.process_time()
        for _ in range(20):
            draw()
        assert (time.process_time() - began) / 20 < 0.025
