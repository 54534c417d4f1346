"""Small specimens for the tests of the kinetics."""

import math

import numpy as np

from stemtwin.twin.physics.dynamics import kinetics_kernels
from stemtwin.twin.physics.dynamics.processes import compiled
from stemtwin.twin.physics.dynamics.site_network import SiteNetwork
from stemtwin.twin.physics.engine.kernels.jit import kernel

BOND = 1.42


@kernel
def _act(rule, i, j, numbers, labels, positions, links, kinds, size):
    """Call the part of kernels that carries a process out."""
    return kinetics_kernels.act(rule, i, j, numbers, labels, positions, links, kinds, size)


def graphene(columns, rows, *, silicon=None, periodic=True):
    """Return a sheet of ``columns`` x ``rows`` rectangular cells of four atoms, Si on the site ``silicon``."""
    width, height = BOND * math.sqrt(3), 3 * BOND
    cell = np.array([[0, 0], [0, BOND], [width / 2, 1.5 * BOND], [width / 2, 2.5 * BOND]]) + 0.1
    xy = np.concatenate([cell + np.array([i * width, j * height]) for j in range(rows) for i in range(columns)])
    numbers = np.full(len(xy), 6)
    if silicon is not None:
        numbers[silicon] = 14
    positions = np.column_stack([xy, np.full(len(xy), 2.0)])
    return SiteNetwork.build(positions, numbers, bond=1.8, size=(rows * height, columns * width) if periodic else None)


def mos2(columns, rows):
    """Return a layer of MoS2 (a = 3.16 A, S layers 3.17 A apart) of rectangular cells of two Mo and four S; the beam leaves by the last S layer."""
    a, half = 3.16, 3.17 / 2
    width, height = a, a * math.sqrt(3)
    metal, sulfur = np.array([[0, 0], [a / 2, height / 2]]), np.array([[a / 2, height / 6], [0, 2 * height / 3]])
    steps = np.array([[i * width, j * height] for j in range(rows) for i in range(columns)])
    parts = [(metal, 42, 3.0), (sulfur, 16, 3.0 - half), (sulfur, 16, 3.0 + half)]
    positions = np.concatenate([np.column_stack([some + step, np.full(len(some), z)]) for step in steps for some, _, z in parts])
    numbers = np.tile(np.repeat([42, 16, 16], 2), len(steps))
    return SiteNetwork.build(positions, numbers, bond=2.8, jump=3.5, jump_element="S", size=(rows * height, columns * width))


def carry_out(specimen, process, site, partner=-1):
    """Return a specimen after one event of a process at a site, with a partner where the process has one."""
    names = ("numbers", "labels", "positions", "links", "kinds")
    matter = [np.array(getattr(specimen, name)) for name in names]
    lengths = np.zeros(2) if specimen.size is None else np.array(specimen.size[::-1], float)
    rule = compiled((process,), 60e3).table[0]  # the rule does not depend on the energy
    assert _act(rule, site, partner, *matter, lengths)
    return specimen.replace(**dict(zip(names[:4], matter, strict=False)))
