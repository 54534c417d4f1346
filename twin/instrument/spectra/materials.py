"""Materials of a sample for its low-loss spectrum, and spheres with plasmons that model compact islands of one material."""

import functools
import math

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.spectra.spectrometer_settings import LossModel, Particle
from stemtwin.twin.physics.scattering_factors import SYMBOLS
from stemtwin.twin.physics.spectra import dielectric
from stemtwin.twin.physics.spectra.atomic_masses import NUMBERS
from stemtwin.twin.physics.spectra.dielectric import Material
from stemtwin.twin.samples.sample import Sample, near_pairs

SHEET = 1.5
"""Largest thickness of carbon that counts as graphene, A."""
NEIGHBOURS = 3.6
"""Largest distance between neighbouring atoms of one island, A."""
LEAST_ISLAND = 40
"""Smallest number of atoms of a cluster with a plasmon."""

MaterialRegion = tuple[tuple[int, ...], Material]


def named(material: str | Material) -> Material:
    """Return a material that is given as a `Material` or by name."""
    return material if isinstance(material, Material) else dielectric.material(material)


def regions(sample: Sample, model: LossModel) -> list[MaterialRegion]:
    """Return the materials of a sample with their elements (atomic numbers).

    Elements that the model does not name have the materials of the built-in table; compounds take precedence over pure elements.
    If the table lacks a material for any of these elements, all of these elements are modelled together as free valence electrons.

    Raises
    ------
    SettingsError
        The model names an element that the sample lacks, or an element has no data.
    """
    present = {SYMBOLS[int(number)] for number in np.unique(sample.numbers)}
    out: list[MaterialRegion] = []
    for symbols, material in model.materials:
        if missing := [symbol for symbol in symbols if symbol not in present]:
            known = ", ".join(sorted(present)) or "vacuum"
            message = f"The model's materials include {', '.join(missing)}, but the sample {sample.name!r} contains only {known}. Leave them out."
            raise SettingsError(message)
        out.append((tuple(NUMBERS[symbol] for symbol in symbols), named(material)))
        present -= set(symbols)
    return [*out, *_looked_up(sample, frozenset(present))]


def _looked_up(sample: Sample, present: frozenset[str]) -> list[MaterialRegion]:
    """Return the materials of the table that cover the elements, compounds first, or one of free electrons."""
    rest, out = set(present), []
    for material in sorted(dielectric.MATERIALS.values(), key=lambda each: -len(each.elements)):
        if material.elements <= rest:
            chosen = _carbon(sample) if material.elements == {"C"} else material
            out.append((_numbers(material.elements), chosen))
            rest -= material.elements
    if not rest:
        return out
    numbers = _numbers(present)
    return [(numbers, _free_electrons(sample, numbers))]


def _numbers(symbols: frozenset[str]) -> tuple[int, ...]:
    return tuple(sorted(NUMBERS[symbol] for symbol in symbols))


def _carbon(sample: Sample) -> Material:
    """Return the form of carbon: graphene for one sheet, graphite for few layers, else amorphous carbon."""
    z = sample.positions_angstrom[sample.numbers == NUMBERS["C"], 2]
    if np.ptp(z) < SHEET:
        return dielectric.material("graphene")
    layers = len(np.unique(np.round(z / SHEET)))
    return dielectric.material("graphite" if layers <= np.ptp(z) / 3 + 1 else "amorphous-carbon")


def _free_electrons(sample: Sample, numbers: tuple[int, ...]) -> Material:
    """Return the free-electron model of given elements, with the density of their atoms in the box that they fill."""
    inside = np.isin(sample.numbers, numbers)
    depth = float(np.ptp(sample.positions_angstrom[inside, 2]))
    volume = sample.size_angstrom[0] * sample.size_angstrom[1] * min(depth + 2.0, sample.thickness_angstrom)
    counts = {SYMBOLS[number]: float((sample.numbers == number).sum()) for number in numbers}
    return dielectric.free_electron_material(counts, float(inside.sum()) / volume)


def islands(sample: Sample, model: LossModel) -> tuple[Particle, ...]:
    """Return the compact islands of each material, each as a sphere of equal volume, without islands that span the cell."""
    return _islands(sample, model)


@functools.lru_cache(maxsize=4)
def _islands(sample: Sample, model: LossModel) -> tuple[Particle, ...]:
    found = []
    for numbers, material in regions(sample, model):
        index = np.flatnonzero(np.isin(sample.numbers, numbers))
        at = sample.positions_angstrom[index]
        pairs = near_pairs(at, sample.size_angstrom, NEIGHBOURS, periodic=sample.periodic)
        links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(at), len(at)))
        count, label = connected_components(links, directed=False)
        for number in range(count):
            members = at[label == number, :2]
            if len(members) < LEAST_ISLAND:
                continue
            centre = _middle(members, sample)
            if centre is None:
                continue
            radius = (3 * len(members) / (4 * math.pi * material.density)) ** (1 / 3)
            found.append(Particle(centre_angstrom=centre, radius_angstrom=radius, material=material.name))
    return tuple(found)


def _middle(members: np.ndarray, sample: Sample) -> tuple[float, float] | None:
    """Return the centre (x, y) of atoms across the edges of a periodic cell, or None if they span the cell."""
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
    if not sample.periodic:
        x, y = members.mean(axis=0)
        return float(x), float(y)
    middle = []
    for axis in range(2):
        sorted_at = np.sort(members[:, axis])
        gaps = np.diff(np.append(sorted_at, sorted_at[0] + box[axis]))
        widest = int(gaps.argmax())
        if gaps[widest] < NEIGHBOURS:
            return None
        start = sorted_at[(widest + 1) % len(sorted_at)]
        middle.append(float((start + ((members[:, axis] - start) % box[axis]).mean()) % box[axis]))
    return middle[0], middle[1]
