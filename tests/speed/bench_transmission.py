"""Speed of potentials and transmission functions, and of one moved atom's."""

from functools import partial

import numpy as np

from stemtwin.twin.physics import electrons, potential
from stemtwin.twin.physics.grids import Grid
from tests.speed.run import Row

SIDE, ATOMS, SLICES = 31.24, 1000, 50
INTERACTION = electrons.interaction_constant(200e3)


def stack(oversampling):
    """1000 atoms of SrTiO3's composition at new places each time, 512 x 512, 50 slices."""
    rng = np.random.default_rng(7)
    grid = Grid(shape=(512, 512), extent=(SIDE, SIDE))
    numbers = np.tile([38, 22, 8, 8, 8], ATOMS // 5)
    slices = potential.assign_slices(np.repeat(np.arange(SLICES) * 2.0, ATOMS // SLICES))

    def ours():
        potential.transmissions(rng.random((ATOMS, 2)) * SIDE, numbers, slices, grid, INTERACTION, oversampling=oversampling)

    return ours, None


def moved(shape, side, reach):
    """One of the molybdenum atoms of a layer of MoS2's density jumps, in a cell of so many points."""
    rng = np.random.default_rng(8)
    grid, count = Grid(shape=shape, extent=(side, side)), int(0.115 * side**2)
    at, numbers = rng.random((count, 2)) * side, np.full(count, 42)
    slices = potential.assign_slices(np.zeros(count))
    transmission = potential.transmissions(at, numbers, slices, grid, INTERACTION)

    def ours():
        before = at.copy()
        at[rng.integers(count)] += rng.uniform(-1, 1, 2)
        potential.update_transmissions(transmission, before, at, numbers, slices, grid, INTERACTION, reach=reach)

    return ours, None


def milliseconds(ours, _):
    """Our time."""
    return ours * 1e3


ROWS = [
    *(
        Row(
            work=f"V and transmission, {ATOMS} atoms, 512 x 512, {SLICES} slices, oversampling {oversampling}",
            bar=bar,
            prepare=partial(stack, oversampling),
            value=lambda ours, _: ours,
            unit="s",
            at_most=True,
        )
        for oversampling, bar in ((1, 0.25), (2, 0.6))
    ),
    *(
        Row(
            work=f"transmission after one atom moved, {shape[0]} x {shape[1]}, {side:g} A, oversampling 2, {how}",
            bar=bar,
            prepare=partial(moved, shape, side, reach),
            value=milliseconds,
            unit="ms",
            at_most=True,
        )
        for shape, side, reach, how, bar in (
            ((512, 512), SIDE, None, "whole slice", 15),
            ((1200, 1200), 100.0, None, "whole slice", 150),
            ((1200, 1200), 100.0, 8.0, "window of 8 A", 40),
        )
    ),
]
