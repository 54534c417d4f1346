"""Types of the progress callbacks of long computations."""

from collections.abc import Callable

Progress = Callable[[int], None]
"""Callback with the number of steps (waves, tilts) completed since the last call."""
Tick = Callable[[float], None]
"""Callback with the completed fraction of a step, 0 to 1."""
