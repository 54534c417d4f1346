"""Families are found by reading, registered by strings, and made by one function."""

import pydoc
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest

import stemtwin
import stemtwin.twin.envs
from stemtwin.twin.envs import ENVIRONMENTS, discovery, making
from stemtwin.twin.envs.arguments import EnvArguments
from stemtwin.twin.errors import SettingsError, UnknownNameError


def test_what_is_read_is_what_the_decorators_register() -> None:
    """The ids, versions and limits read from the files are those of the imported classes, one for one."""
    for name, found in ENVIRONMENTS.items():
        making.family_class(name)
        assert discovery.FAMILIES[name][0] == found
    ours = {name for name, (found, _) in discovery.FAMILIES.items() if found.module.startswith("stemtwin.")}
    assert ours == set(ENVIRONMENTS)


def test_importing_stemtwin_imports_no_family() -> None:
    """Ids are known in a fresh process, and no family, no kernel and no Gymnasium wrapper of ours has been loaded for it."""
    code = (
        "import sys, stemtwin, gymnasium\n"
        "assert any(name.startswith('stemtwin/') for name in gymnasium.registry)\n"
        "print([name for name in sys.modules if 'envs.families' in name or name == 'numba'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_envs_has_a_short_name() -> None:
    """``stemtwin.envs`` is ``stemtwin.twin.envs``, one module, however it is imported."""
    code = (
        "import stemtwin.envs, stemtwin\nfrom stemtwin.envs import arguments\nimport stemtwin.twin.envs.arguments as same\n"
        "assert stemtwin.envs is stemtwin.twin.envs and arguments is same"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert stemtwin.envs is stemtwin.twin.envs


def test_an_id_is_taken_once() -> None:
    """A second family of one id is refused; the same module may be loaded again."""

    class Other(EnvArguments):
        """Another family."""

    name, version = next(iter(ENVIRONMENTS)).partition("/")[2].rsplit("-v", 1)
    making.family_class(f"stemtwin/{name}-v{version}")
    with pytest.raises(SettingsError, match="already"):
        discovery.environment(name, version=int(version))(Other)


def test_help_shows_the_page_of_the_family(env_id: str, small: object) -> None:
    """``help(env.unwrapped)`` shows description, spaces and starting state."""
    env = small(env_id)  # type: ignore[operator] - a fixture
    page = pydoc.render_doc(env.unwrapped, renderer=pydoc.plaintext)
    for heading in ("Action space", "Observation space", "Starting state", "Episode end", "Parameters"):
        assert heading in page


def test_render_modes_are_checked_at_make(env_id: str, small: object) -> None:
    """A render mode that does not exist ends in a sentence; a list of pictures is Gymnasium's own wrapper's work."""
    with pytest.raises(SettingsError, match="render_mode='ansi'"), pytest.warns(UserWarning, match="render_mode"):
        small(env_id, render_mode="ansi")  # type: ignore[operator]
    env = small(env_id, render_mode="rgb_array_list")  # type: ignore[operator]
    env.reset(seed=1)
    pictures = env.render()
    assert len(pictures) == 1
    assert pictures[0].dtype == "uint8"


@pytest.mark.parametrize("name", [name for name in ENVIRONMENTS if issubclass(making.family_class(name), EnvArguments)])
def test_nobody_makes_test_episodes(name: str) -> None:
    """``gymnasium.make`` gives the splits "train" and "val"; test episodes are the runner's."""
    with pytest.raises(SettingsError, match=r"split='test'.*runner"):
        gym.make(name, split="test")
    if gym.spec(name).vector_entry_point:
        with pytest.raises(SettingsError, match=r"split='test'.*runner"):
            gym.make_vec(name, num_envs=2, split="test")


def test_unknown_environments_have_a_neighbour() -> None:
    """The sentence names the nearest id."""
    with pytest.raises(UnknownNameError, match="Autofocus"):
        making.family_class("stemtwin/Autofcous-v1")
    assert gym.spec("stemtwin/Autofocus-v1").kwargs == {"environment": "stemtwin/Autofocus-v1"}


def test_arguments_of_the_decorator_are_literals(tmp_path: Path) -> None:
    """A name instead of a number ends in a sentence that names the file."""
    path = tmp_path / "mine.py"
    path.write_text('@environment("Mine", version=1, max_episode_steps=MOST)\nclass Mine: ...\n', encoding="utf-8")
    with pytest.raises(SettingsError, match=r"mine.py: @environment\('Mine', version=1, max_episode_steps=MOST\).*literals"):
        discovery._read(path)
