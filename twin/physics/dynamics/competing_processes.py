r"""Division of energy transfers between the competing processes of one atom.

An electron that transfers the energy T to a nucleus causes at most one process. A process with the threshold T_r has
the probability

.. math:: p_r(T) = s_r \left[(1 - P_r)\, H(T - T_r) + P_r\, H(T - T_r + l_r)\right]

for each of its n_r partners (n_r = 1 for a process without a partner). Here s_r is the scale of the process, P_r is the
probability that the atom is in an excited state, l_r is the lowering of the threshold in that state, and H is the step
function. The process with the higher threshold takes precedence, so the cross-section of process r of an atom is

.. math:: \sigma_r = \int p_r(T) \prod_{q:\, T_q > T_r} \left[1 - \min(1, n_q\, p_q(T))\right] d\sigma_r(T)

where the product includes the processes q that are possible for the atom at that moment and whose rates depend on the dose at
the same point (``Process.offset``). Processes with equal thresholds divide the transfers in proportion to their scales.
Processes with a fixed cross-section, and radiolysis, have no threshold: they neither take transfers from other processes nor
lose any to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stemtwin.twin.physics.dynamics import knockon

if TYPE_CHECKING:
    from stemtwin.twin.physics.dynamics.processes import Process


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Branching:
    """Energy transfers of r processes, divided into b bins, as arrays for the kernels.

    Each bin extends from one threshold of the processes to the next.

    Parameters
    ----------
    above : (r, r) bool
        True where the process of the column takes precedence over that of the row if both are possible for an atom.
    chances : (r, b) float64
        Probability that a transfer in the bin causes each process. For a process with several possible partners (linked
        sites that take part in it), it is the probability for each of them.
    parts : (r, b) float64
        Cross-section that each process would have in the bin if no other process competed, A^2. It is 0, and not used,
        for a process that loses no transfers to others.
    """

    above: np.ndarray
    chances: np.ndarray
    parts: np.ndarray


def branching(processes: tuple[Process, ...], energy: float, temperature: float) -> Branching:
    """Return the division of energy transfers between processes at a beam energy (eV) and a temperature (K)."""
    count = len(processes)
    above = np.array([[_precedes(other, one) for other in processes] for one in processes], dtype=bool)
    above = above.reshape(count, count)
    involved = [process for process, own in zip(processes, above | above.T, strict=True) if own.any()]
    edges = sorted({edge for process in involved for edge, _ in _steps(process, energy)})
    chances, parts = np.zeros((count, len(edges))), np.zeros((count, len(edges)))
    for r, process in enumerate(processes):
        if process in involved:
            chances[r] = [sum(chance for start, chance in _steps(process, energy) if start <= edge) for edge in edges]
        if above[r].any():
            beyond = np.array([_beyond(process, edge, energy, temperature) for edge in edges] + [0.0])
            parts[r] = chances[r] * (beyond[:-1] - beyond[1:])
    return Branching(above=above, chances=chances, parts=parts)


def _precedes(other: Process, one: Process) -> bool:
    """Return whether ``other`` has a higher threshold than ``one`` for the same element and offset."""
    if other.site is None or one.site is None or other.element != one.element or other.offset != one.offset:
        return False
    return other.site.displacement > one.site.displacement


def _steps(process: Process, energy: float) -> list[tuple[float, float]]:
    """Return the transfers (eV) at which the probability of a process rises, and the rises, at a beam energy (eV)."""
    site = process.site
    if site is None:
        return []
    excited = 0.0 if site.excited is None else site.excited.probability_at(energy)
    lowered = [] if site.excited is None else [(site.displacement - site.excited.lowering, process.scale * excited)]
    return [*lowered, (site.displacement, process.scale * (1.0 - excited))]


def _beyond(process: Process, edge: float, energy: float, temperature: float) -> float:
    """Return the cross-section (A^2) for a transfer above ``edge`` (eV) to the atom of a process."""
    assert process.site is not None
    return knockon.cross_section(process.site.element, energy, edge, velocity2=process.site.velocity2_at(temperature))
