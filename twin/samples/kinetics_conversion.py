"""Conversion of a sample to the site network of the damage kinetics, and back."""

from dataclasses import replace

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.dynamics import process_library
from stemtwin.twin.physics.dynamics.displacement_thresholds import ROOM, SITES, find_site
from stemtwin.twin.physics.dynamics.isotopes import number_of
from stemtwin.twin.physics.dynamics.processes import Process
from stemtwin.twin.physics.dynamics.site_network import SiteNetwork
from stemtwin.twin.samples.neighbours import find_bonds, steps_from
from stemtwin.twin.samples.sample import Defect, Sample, near_pairs, symbols_of, wrap

SHEET = 8.0  # A; a thinner sample counts as a single layer
METALS, CHALCOGENS = ("Mo", "W"), ("S", "Se", "Te")
CARBON_LIKE = {"C", "Si", "N", "B"}
JUMP = 1.2  # longest jump within a layer, as a multiple of its nearest-neighbour distance


def _whole(sample: Sample) -> tuple[Sample, int]:
    """Return the sample with its single vacancies filled, the new atoms after its own, and the number of vacancies."""
    empty = [defect for defect in sample.defects if _single(defect) and defect.kind == "vacancy"]
    if not empty:
        return sample, 0
    lost = [number_of(defect.removed[0]) for defect in empty]
    places = np.array([defect.position_angstrom for defect in empty])
    sigma = sample.thermal_sigma_angstrom
    filled = replace(
        sample,
        numbers=np.concatenate([sample.numbers, lost]),
        positions_angstrom=np.concatenate([sample.positions_angstrom, places]),
        thermal_sigma_angstrom=None if sigma is None else np.concatenate([sigma, np.zeros(len(empty))]),
        recipe="",
    )
    return filled, len(empty)


def specimen_of(sample: Sample) -> SiteNetwork:
    """Return the site network of a sample for the damage kinetics, before any dose.

    The sites are the sample's atoms in their order, followed by its single vacancies (``sample.defects``) as empty
    sites. Two sites are linked if they are bonded in the structure without vacancies. In dichalcogenides, neighbouring
    sites of a chalcogen layer are also linked, for jumps within the layer.

    Raises
    ------
    SettingsError
        A period of the sample is shorter than twice its longest bond.
    """
    whole, _ = _whole(sample)
    found = find_bonds(whole)
    bonds = np.column_stack([found.first, found.second])[found.first < found.second]
    chalcogen = np.flatnonzero(np.isin(whole.numbers, [number_of(symbol) for symbol in CHALCOGENS]))
    jumps = np.empty((0, 2), dtype=np.int64)
    if len(chalcogen) > 1 and np.isin(whole.numbers, [number_of(symbol) for symbol in METALS]).any():
        places = whole.positions_angstrom[chalcogen]
        reach = min(4.5, 0.49 * min(whole.size_angstrom))
        pairs = near_pairs(places, whole.size_angstrom, reach, periodic=whole.periodic)
        pairs = pairs[np.abs(places[pairs[:, 0], 2] - places[pairs[:, 1], 2]) < 0.5]
        step = places[pairs[:, 1]] - places[pairs[:, 0]]
        if whole.periodic:
            box = np.array(whole.size_angstrom)[::-1]
            step[:, :2] -= box * np.round(step[:, :2] / box)
        length = np.linalg.norm(step, axis=1)
        jumps = chalcogen[pairs[length < JUMP * length.min(initial=np.inf)]]
    numbers = np.array(whole.numbers)
    numbers[len(sample) :] = 0
    return SiteNetwork.from_pairs(whole.positions_angstrom, numbers, bonds, jumps, size=sample.size_angstrom if sample.periodic else None)


def sample_of(specimen: SiteNetwork, sample: Sample) -> Sample:
    """Return the sample for the present state of a site network.

    Its defects record the differences from the perfect structure.

    Parameters
    ----------
    specimen : SiteNetwork
        Site network that :func:`specimen_of` made from ``sample`` and that has changed since.
    sample : Sample
        Source of the box, the name and the thermal motion. The atoms of an element get the mean thermal sigma of this
        element in the sample, and a new element gets the mean of all atoms. The random thermal displacements of a site
        stay the same when other sites change.

    Raises
    ------
    SettingsError
        The specimen was not made from this sample.
    """
    whole, _ = _whole(sample)
    if len(specimen.numbers) != len(whole):
        message = (
            f"The specimen has {len(specimen.numbers)} sites, but {sample.name} has {len(whole)}. Use the sample from which the specimen was made."
        )
        raise SettingsError(message)
    held = specimen.present
    positions = _boxed(specimen.positions[held], sample)
    sigma = None
    if sample.thermal_sigma_angstrom is not None:
        means = {int(number): float(sample.thermal_sigma_angstrom[sample.numbers == number].mean()) for number in np.unique(sample.numbers)}
        overall = float(sample.thermal_sigma_angstrom.mean())
        sigma = np.array([means.get(int(number), overall) for number in specimen.numbers[held]])
    kept = tuple(defect for defect in sample.defects if not _single(defect))
    return Sample(
        name=sample.name,
        numbers=specimen.numbers[held],
        positions_angstrom=positions,
        size_angstrom=sample.size_angstrom,
        thickness_angstrom=sample.thickness_angstrom,
        thermal_sigma_angstrom=sigma,
        periodic=sample.periodic,
        strain=sample.strain,
        notes=sample.notes,
        defects=kept + _changes(specimen, whole),
        sites=np.flatnonzero(held),
    )


def _boxed(positions: np.ndarray, sample: Sample) -> np.ndarray:
    """Return positions inside the sample's box, wrapped where it repeats and clipped at its faces elsewhere."""
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0], sample.thickness_angstrom])
    out = np.array(positions)
    if sample.periodic:
        out[:, :2] = wrap(out[:, :2] / box[:2], box[:2]) * box[:2]
    return np.clip(out, 0.0, np.nextafter(box, 0.0))


def _single(defect: Defect) -> bool:
    """Return True if a defect is a vacancy or a substitution of a single atom."""
    return defect.kind in {"vacancy", "substitution"} and len(defect.removed) == 1 and len(defect.added) == (defect.kind == "substitution")


def _perfect(whole: Sample) -> np.ndarray:
    """Return the atomic number of each site before the single substitutions."""
    numbers = np.array(whole.numbers)
    for defect in whole.defects:
        if _single(defect) and defect.kind == "substitution":
            distance = np.linalg.norm(steps_from(whole, np.array(defect.position_angstrom)), axis=1)
            same = whole.numbers == number_of(defect.added[0])
            numbers[np.argmin(np.where(same, distance, np.inf))] = number_of(defect.removed[0])
    return numbers


def _changes(specimen: SiteNetwork, whole: Sample) -> tuple[Defect, ...]:
    """Return the single defects of a specimen, relative to the perfect structure."""
    perfect = _perfect(whole)
    defects = []
    for site in np.flatnonzero(specimen.numbers != perfect):
        (before,), now = symbols_of(perfect[[site]]), int(specimen.numbers[site])
        (after,) = symbols_of(np.array([now])) if now else ("",)
        x, y, z = (float(value) for value in _boxed(specimen.positions[[site]], whole)[0])
        kind, name = ("substitution", f"{after}_{before}") if now else ("vacancy", f"V_{before}")
        defects.append(Defect(kind=kind, name=name, position_angstrom=(x, y, z), removed=(before,), added=(after,) if now else ()))
    return tuple(defects)


def processes_of(sample: Sample, *, temperature_k: float = ROOM) -> tuple[Process, ...]:
    """Return the beam-induced processes of a sample, by its material; see ``twin/physics/dynamics/process_library.py``.

    Processes are known for carbon sheets with dopants (Si hops), for dichalcogenide layers, and for crystals whose
    elements have known displacement thresholds.

    Raises
    ------
    SettingsError
        The displacement threshold of an element is unknown. Without a threshold, the atoms of this element would never
        leave while other atoms do.
    """
    symbols = set(sample.symbols)
    thin = len(sample) > 0 and float(np.ptp(sample.positions_angstrom[:, 2])) < SHEET
    metals, chalcogens = [s for s in METALS if s in symbols], [s for s in CHALCOGENS if s in symbols]
    if thin and "C" in symbols and symbols <= CARBON_LIKE:
        others = [find_site(symbol, "graphene") for symbol in sorted(symbols - {"C"})]
        return process_library.graphene() + tuple(
            Process(name=f"eject-{one.element}", element=one.element, action="eject", site=one) for one in others
        )
    if thin and len(metals) == 1 and len(chalcogens) == 1 and len(symbols) == 2:
        return process_library.dichalcogenide(metals[0], chalcogens[0], temperature=temperature_k)
    compound, bonds = sample.name.split("-")[0], find_bonds(sample).coordination
    out: list[Process] = []
    unknown: list[str] = []
    for symbol in sorted(symbols):
        known = {site.name: site for site in SITES if site.element == symbol}
        if compound in known:
            out.append(Process(name=f"displace-{symbol}", element=symbol, action="eject", site=known[compound]))
        elif {"bulk", "surface"} <= set(known):
            ours = bonds[sample.numbers == number_of(symbol)]
            out += process_library.solid(symbol, int(np.bincount(ours).argmax()))
        else:
            unknown.append(symbol)
    if unknown or not out:
        elements = ", ".join(unknown) or "vacuum"
        message = f"No displacement threshold is known for {elements} in {sample.name}. Give processes of your own."
        raise SettingsError(message)
    return tuple(out)
