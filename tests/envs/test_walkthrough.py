"""The environment of CONTRIBUTING.md runs as it stands there, and keeps to what every environment keeps to."""

import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.twin.envs.discovery import FAMILIES, _read
from stemtwin.twin.errors import UnknownNameError
from tests.envs import test_conformance, test_discovery, test_vectors

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"
ENV_IDS = ["stemtwin/Defocus-v1"]
OF_THE_PACKAGE = {"test_episodes_are_the_same_in_a_fresh_process"}
"""Tests that import nothing but the package, which this environment is no part of."""

for _module in (test_conformance, test_vectors, test_discovery):
    globals().update(
        {
            name: law
            for name, law in vars(_module).items()
            if name.startswith("test_") and "env_id" in inspect.signature(law).parameters and name not in OF_THE_PACKAGE
        }
    )


@pytest.fixture(scope="module", autouse=True)
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


def test_what_an_episode_draws_is_used(module: ModuleType) -> None:
    """Samples and profiles can be randomised and are felt in the images; nothing else is drawn, so nothing else can be asked for."""
    usual, other = (gym.make(*ENV_IDS, randomisation=drawn) for drawn in ({}, {"samples": "graphene", "profiles": "nion-100"}))
    assert usual.reset(seed=1)[0]["image"].mean() > 1.5 * other.reset(seed=1)[0]["image"].mean()
    with pytest.raises(UnknownNameError, match="Defocus does not draw 'drift'"):
        gym.make(*ENV_IDS, randomisation={"drift": (0, 2)})


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
