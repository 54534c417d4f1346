"""Specimens, beams and scans that several golden cases share."""

import functools

import numpy as np

import stemtwin as st
from tests.golden.arrays import checksum
from tests.golden.registry import Arrays, case

TUNED = st.Aberrations(C10=-30, C12=12, phi12=0.4, C21=400, phi21=1.1, C30=1.5e4)
SHARP = st.Aberrations(C10=-10, C12=5, phi12=0.4)
COHERENT = st.Beam(energy_ev=200e3, semiangle_mrad=20, aberrations=TUNED)
NARROW = st.Beam(energy_ev=200e3, semiangle_mrad=20, aberrations=SHARP)
SPREAD = st.Beam(
    energy_ev=200e3,
    semiangle_mrad=20,
    aberrations=TUNED,
    source_size_angstrom=0.3,
    focal_spread_angstrom=25,
    beam_tilt_mrad=(1.5, -1.0),
)
GRID = (64, 64)
TURNED = st.RasterScan(shape=(8, 8), field_of_view_angstrom=(4, 4), origin_angstrom=(0.3, -0.2), rotation_rad=0.2)
PLACES = st.PathScan(positions_angstrom=np.array([(0.3, 0.4), (1.9, 1.0)]))
COSTLY = ("carbon-amorphous", "si3n4-amorphous", "au-particle-carbon", "pt-particle-carbon")
"""Specimens of which only small ones are made."""


@functools.cache
def crystal() -> st.Sample:
    """Return one cell of SrTiO3, two cells thick."""
    return st.load_sample("srtio3-001", size_angstrom=(4, 4), thickness_angstrom=8)


@functools.cache
def sheet() -> st.Sample:
    """Return graphene that holds a whole probe."""
    return st.load_sample("graphene", size_angstrom=(15, 15))


@functools.cache
def disturbed() -> st.Sample:
    """Return a field of MoS2 with vacancies."""
    return st.load_sample("mos2-1h", size_angstrom=(16, 16), vacancy_fraction=0.05, seed=2)


@case("samples")
def samples() -> Arrays:
    """Return box, atoms and moments of the library's samples, and all atoms of the three used here."""
    rows, sums, species = [], [], []
    for name in st.list_samples():
        size = {"size_angstrom": (10, 10), "thickness_angstrom": 20} if name in COSTLY[:2] else {}
        if name in COSTLY[2:]:
            continue
        made = st.load_sample(name, seed=4, **size)
        places, numbers = made.positions_angstrom, made.numbers
        sigma = 0.0 if made.thermal_sigma_angstrom is None else made.thermal_sigma_angstrom.mean()
        box = (*made.size_angstrom, made.thickness_angstrom)
        rows.append([*box, sigma, *places.mean(axis=0), *(places**2).mean(axis=0)])
        sums.append(checksum(places))
        species.append([len(made), numbers.sum(), (numbers**2).sum()])
    defective = disturbed()
    return {
        "truth/moments": np.array(rows),
        "truth/species": np.array(species),
        "bits/positions_crc32": np.array(sums, np.int64),
        "truth/crystal": crystal().positions_angstrom,
        "truth/sheet": sheet().positions_angstrom,
        "truth/disturbed": defective.positions_angstrom,
        "truth/defects": np.array([defect.position_angstrom for defect in defective.defects]),
    }
