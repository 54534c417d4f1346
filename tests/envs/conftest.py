"""Settings that make environments small enough for tests."""

from typing import Any

import gymnasium as gym
import pytest

from stemtwin.twin.envs import ENVIRONMENTS

SMALL: dict[str, dict[str, Any]] = {
    "stemtwin/AberrationCorrection-v1": {"difficulty": "easy"},
    "stemtwin/AtomForge-v1": {"difficulty": "easy"},
    "stemtwin/Autofocus-v1": {"semiangle_mrad": 10.0, "phonons": 1, "max_frames": 6},
    "stemtwin/Autofocus-v2": {"difficulty": "easy", "phonons": 1},
    "stemtwin/DriftTracking-v1": {"difficulty": "easy", "watch_s": 24.0},
    "stemtwin/HypothesisTest-v1": {"difficulty": "easy"},
    "stemtwin/Microscope-v1": {"semiangles_mrad": (10.0,), "phonons": 1, "shape": (24, 32), "max_steps": 6},
    "stemtwin/Microscope-v2": {
        "difficulty": "easy",
        "semiangles_mrad": (8.0, 10.0),
        "camera_lengths_mm": (115.0, 230.0),
        "phonons": 1,
        "shape": (36, 40),
        "max_steps": 6,
    },
    "stemtwin/SpectrumDiscovery-v1": {"difficulty": "easy", "field_angstrom": 48.0, "scenes": 1, "spectra": 9},
    "stemtwin/SparseScan-v1": {"difficulty": "easy", "points": 64, "randomisation": {"samples": ("au-particle-carbon",)}},
}
"""Constructor arguments by id; an environment without an entry is tested with its defaults."""


def make(name: str, **settings: Any) -> gym.Env:
    """Return an environment with small settings."""
    return gym.make(name, **{**SMALL.get(name, {}), **settings})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that asks for ``env_id`` over all registered environments, or over those that its module names in ``ENV_IDS``."""
    if "env_id" in metafunc.fixturenames:
        metafunc.parametrize("env_id", getattr(metafunc.module, "ENV_IDS", list(ENVIRONMENTS)), scope="session")


@pytest.fixture
def small() -> Any:
    """Return the maker of small environments."""
    return make


@pytest.fixture
def small_settings() -> dict[str, dict[str, Any]]:
    """Return the settings of small environments by id."""
    return SMALL
