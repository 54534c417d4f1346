"""Damage: events of the kinetics alone, and one event until the next image that a microscope takes."""

import dataclasses
import itertools

import numpy as np

from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.scope.specimen_state import Damage
from stemtwin.twin.physics.dynamics.current_density import probe_density
from stemtwin.twin.physics.dynamics.exposure import Exposure
from stemtwin.twin.physics.dynamics.kinetics import advance
from stemtwin.twin.physics.dynamics.processes import Process
from stemtwin.twin.samples.kinetics_conversion import specimen_of
from stemtwin.twin.samples.library import load_sample
from tests.physics.dynamics.lattices import carry_out
from tests.speed.run import Row

LOSE = Process(name="lose", element="S", action="eject", cross_section=1e-16)
"""So rare that no image loses an atom by itself: all of the kinetics' work is done, and the event is carried out before."""


def many_events():
    """Graphene of about 5000 atoms, scanned again and again: atoms are lost and come back."""
    sample = load_sample("graphene", size_angstrom=(114.0, 114.0))
    sheet = specimen_of(sample)
    axes = (np.linspace(0, side, 128, endpoint=False) for side in sample.size_angstrom[::-1])
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    density = probe_density(80e3, 0.03, None, 0.3)
    beam = Exposure(points=points, dwell=np.full(len(points), 1e-5), current=100.0, energy=80e3, density=density, repeats=20_000)
    processes = (
        Process(name="lose", element="C", action="eject", cross_section=1e-8),
        Process(name="heal", element="empty", action="become", rate=0.1, product="C"),
    )
    seeds = itertools.count()

    def ours():
        _, events = advance(sheet, beam, processes, np.random.default_rng(next(seeds)))
        return len(events)

    return ours, None


def event_to_image():
    """One sulphur atom is gone: the next image of the microscope, and what its beam does."""
    sample = load_sample("mos2-1h", size_angstrom=(100.0, 100.0))
    profile = dataclasses.replace(PROFILES["ideal"], energy_ev=80e3, semiangle_mrad=25.0)
    damage = Damage(processes=(LOSE,), relax=False)
    scope = Microscope(sample, profile, seed=1, phonons="static", engine="local", damage=damage)
    scan = RasterScan(shape=(128, 128), field_of_view_angstrom=sample.size_angstrom)
    dark = AnnularDetector(inner_mrad=60, outer_mrad=150, name="haadf")
    scope.acquire(scan, detectors=dark)
    rng, sulphur = np.random.default_rng(3), np.flatnonzero(sample.numbers == 16)
    order = iter(rng.permutation(sulphur).tolist())

    def ours():
        state = scope.snapshot()
        matter = dataclasses.replace(state.matter, sites=carry_out(state.matter.sites, LOSE, next(order)))
        scope.restore(dataclasses.replace(state, matter=matter, specimen=matter.sample()))
        scope.acquire(scan, detectors=dark)

    return ours, None


ROWS = [
    Row(
        work="kinetics, graphene of 5000 atoms scanned at 128 x 128 points, without imaging: events per second",
        bar=10_000,
        prepare=many_events,
        value=lambda ours, _: 1 / ours,
        unit="/s",
    ),
    Row(
        work="microscope with damage, MoS2 100 x 100 A, 128 x 128, 1 %: one event until the next image",
        bar=400,
        prepare=event_to_image,
        value=lambda ours, _: ours * 1e3,
        unit="ms",
        at_most=True,
    ),
]
