"""The environment of CONTRIBUTING.md runs as it stands there."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from stemtwin.twin.envs.discovery import FAMILIES, _read

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Return the module of the walk-through, imported from a file of its own outside the package."""
    found = re.search(r"### An environment, walked through.*?```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    path = tmp_path_factory.mktemp("family") / "defocus.py"
    path.write_text(found.group(1), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("defocus_walkthrough", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    assert [one.id for one in _read(path)] == ["stemtwin/Defocus-v1"], "the decorator is found by reading, too"
    yield made
    gym.registry.pop("stemtwin/Defocus-v1")
    FAMILIES.pop("stemtwin/Defocus-v1")


def test_gymnasium_finds_nothing_to_say(module: ModuleType) -> None:
    """Importing the file registers the environment, and Gymnasium's checker passes."""
    assert module.Defocus.__module__ == "defocus_walkthrough"
    check_env(gym.make("stemtwin/Defocus-v1", difficulty="easy", render_mode="rgb_array").unwrapped)


def test_solving_pays(module: ModuleType) -> None:
    """Cancelling the true defocus and saying so earns more than doing nothing, over eight seeds."""
    env = gym.make("stemtwin/Defocus-v1", difficulty="easy", privileged_info=True)
    returns = {"oracle": 0.0, "no-op": 0.0}
    for name in returns:
        for seed in range(8):
            _, info = env.reset(seed=seed)
            over = False
            while not over:
                left = info["truth"]["C10_angstrom"] / module.STEP
                solving = np.array([np.clip(-left, -1, 1), 1.0 if abs(left) < 1 else 0.0], np.float32)
                _, reward, terminated, truncated, info = env.step(solving if name == "oracle" else np.zeros(2, np.float32))
                returns[name] += float(reward) / 8
                over = terminated or truncated
    assert returns["oracle"] > 0.6
    assert returns["no-op"] < 0.1
