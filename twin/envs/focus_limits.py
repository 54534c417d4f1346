"""Limits of the focusing task: starting states, changes by one action, range of the knobs, goal."""

import numpy as np

START_C10 = (20.0, 150.0)
"""Smallest and largest abs(C10) at the start, A."""
START_C12 = (0.0, 100.0)
"""Smallest and largest abs(C12) at the start, A."""
STEP = np.array([100.0, 50.0, 50.0])
"""Largest changes of C10, C12a and C12b in one action, A."""
REACH = np.array([200.0, 120.0, 120.0])
"""Largest distances of the knobs C10, C12a and C12b from their starting values, A."""
GOAL = 20.0
"""Limit of abs(C10) and abs(C12) below which a frame is in focus, A."""
FRAMES = 20
"""Largest number of frames in an episode."""
