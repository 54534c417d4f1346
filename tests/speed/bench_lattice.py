"""Speed of averages over lattice translations: the time of a build for one and the same error of the mean image."""

import itertools
from dataclasses import replace

import numpy as np

import stemtwin as st
from stemtwin.twin.instrument.simulation import operator_cache, slice_stacks
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.operator import imaging_operator
from tests.speed.run import Row

SEMIANGLE = 0.020
POINTS = 48
MEASURED = 32
"""Configurations that tell the variance of one, without and with the average."""


def request(**settings):
    """SrTiO3 [001], 40 A, 2 x 2 cells, HAADF 60-120 mrad at 200 kV."""
    sample = st.load_sample("srtio3-001", size_angstrom=(8, 8), thickness_angstrom=40)
    return st.Request(
        sample=sample,
        beam=st.Beam(energy_ev=200e3, semiangle_mrad=SEMIANGLE * 1e3),
        scan=st.RasterScan(shape=(POINTS, POINTS), field_of_view_angstrom=sample.size_angstrom),
        detectors=(st.AnnularDetector(inner_mrad=60, outer_mrad=120),),
        engine="operator",
        **settings,
    )


def build(asked):
    """Return the operator of a request, specimen included, without any cache."""
    plan = make_plan(asked)
    stacks, weights = slice_stacks.stacks(asked, plan), operator_cache.detector_weights(asked, plan)
    return imaging_operator.build(stacks, SEMIANGLE, weights, blocks=plan.blocks, average=plan.average)


def variance(**settings):
    """Return the variance of the image of one configuration, the mean over the cell."""
    side = np.arange(POINTS) / POINTS * request().sample.size_angstrom[0]
    images = [build(request(phonons=1, seed=seed, **settings)).image(Aberrations(C10=-10.0)).raster(side, side)[0] for seed in range(MEASURED)]
    return np.var(images, axis=0, ddof=1).mean()


def same_error():
    """8 configurations without the average, and phonons='auto', whose seconds are divided by how many times smaller its variance is."""
    one, averaged, seeds = variance(lattice_average=False), variance(lattice_average=True), itertools.count(1000)
    automatic, plain = request(), request(phonons=8, lattice_average=False)

    def ours():
        return (one / 8) / (averaged / build(replace(automatic, seed=next(seeds))).configurations)

    def theirs():
        build(replace(plain, seed=next(seeds)))

    return ours, theirs


ROWS = [
    Row(
        work="build of SrTiO3 40 A, 8 A cell: 8 configurations / phonons='auto' over the lattice, for the same rms error of the image",
        bar=3.5,
        prepare=same_error,
        value=lambda ours, theirs: theirs / ours,
    ),
]
