"""Progress callbacks of long work."""

from collections.abc import Callable

Progress = Callable[[int], None]
"""Called with the number of steps (waves, tilts) that were just done."""
Tick = Callable[[float], None]
"""Called with the fraction of a step that is done, 0 to 1."""
