"""Trained policies from ONNX files; their use needs only onnxruntime."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.benchmarks.agents import Brief
from stemtwin.twin.errors import SettingsError

FOLDER = Path(__file__).parent / "learned"


def make_session(path: Path | bytes) -> Any:
    """Return a session of onnxruntime for an ONNX file or its content, with one thread, so results do not depend on the number of threads.

    Raises
    ------
    SettingsError
        onnxruntime is not installed.
    """
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports] - only where trained networks are played
    except ImportError:
        message = "onnxruntime, which runs trained networks, is not installed. Install it with: pip install onnxruntime"
        raise SettingsError(message) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path if isinstance(path, bytes) else str(path), options, providers=["CPUExecutionProvider"])


class OnnxPolicy:
    """A policy from an ONNX file: one input (1, n), one output (1, m), float32; see ``agents.Agent``.

    Parameters
    ----------
    path : Path or bytes
        The file, or its content.

    Raises
    ------
    SettingsError
        onnxruntime is not installed.
    """

    def __init__(self, path: Path | bytes) -> None:
        self._session = make_session(path)
        self._input = self._session.get_inputs()[0].name

    def reset(self, brief: Brief) -> None:
        """Do nothing: the policy has no memory."""
        del brief

    def act(self, observation: np.ndarray, cost: Mapping[str, float]) -> np.ndarray:
        """Return the most probable action of the policy."""
        del cost
        (action,) = self._session.run(None, {self._input: np.asarray(observation, np.float32)[None]})
        return np.clip(np.asarray(action)[0], -1, 1).astype(np.float32)


def learned_path(environment: str, ending: str = ".onnx") -> Path:
    """Return the path of a trained policy, or of its learning curves (``.json``)."""
    return FOLDER / f"{environment.partition('/')[2]}{ending}"
