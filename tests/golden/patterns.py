"""Diffraction patterns and Ronchigrams: one of each engine that gives them."""

import stemtwin as st
from tests.golden.arrays import variables
from tests.golden.registry import Arrays, case
from tests.golden.specimens import COHERENT, GRID, PLACES, SPREAD, crystal

CAMERA = st.PixelatedDetector(shape=(32, 32), outer_mrad=30, binning=2)
WIDE = st.PixelatedDetector(shape=(24, 24), outer_mrad=25, name="ronchigram")


@case("patterns-operator")
def by_operator() -> Arrays:
    """Return patterns of a partially coherent, tilted beam by the scattering matrix, and the dark field beside them."""
    data = st.simulate(
        crystal(),
        SPREAD,
        PLACES,
        detectors=(CAMERA, "haadf"),
        engine="operator",
        phonons=2,
        seed=1,
        grid=GRID,
    )
    return variables(data, "expected")


@case("patterns-multislice")
def by_multislice() -> Arrays:
    """Return patterns of a coherent beam by multislice of each probe."""
    data = st.simulate(
        crystal(),
        COHERENT,
        PLACES,
        detectors=(CAMERA,),
        engine="multislice",
        phonons=2,
        seed=1,
        grid=GRID,
    )
    return variables(data, "expected")


@case("ronchigrams")
def ronchigrams() -> Arrays:
    """Return Ronchigrams by the phase grating and by multislice, coherent, and of the grating with focal spread."""
    spread = st.Beam(energy_ev=200e3, semiangle_mrad=20, aberrations=COHERENT.aberrations, focal_spread_angstrom=20)
    found = {}
    for name, beam, engine in (
        ("grating", COHERENT, "grating"),
        ("multislice", COHERENT, "multislice"),
        ("spread", spread, "grating"),
    ):
        data = st.ronchigram(
            crystal(),
            beam,
            position_angstrom=(0.5, 1.2),
            camera=WIDE,
            engine=engine,
            phonons=2,
            seed=1,
        )
        found |= variables(data, "expected", f"{name}_")
    return found
