"""Energy losses and X-rays: one spectrum of each engine that gives them."""

import numpy as np

from tests.golden.arrays import variables
from tests.golden.internals import EDXDetector, EELSDetector, expected_edx, expected_eels
from tests.golden.registry import Arrays, case
from tests.golden.specimens import COHERENT, PLACES, crystal

LOSSES = EELSDetector(
    energy_range_ev=(-20, 620),
    dispersion_ev=4,
    collection_mrad=30,
    point_spread_tail=0.05,
    zero_loss_fwhm_ev=4.0,
)
XRAYS = EDXDetector(energy_range_ev=(0, 20480), dispersion_ev=80)
ENGINES = ("operator", "multislice", "thin")


@case("spectra-eels")
def eels() -> Arrays:
    """Return spectra of energy losses at two places by each engine, and with a film and a drift by the last."""
    found = {}
    for engine in ENGINES:
        found |= variables(
            expected_eels(crystal(), COHERENT, PLACES, LOSSES, engine=engine, phonons=1, seed=1),
            "expected",
            f"{engine}_",
        )
    film, shifts = np.array([10.0, 40.0]), np.array([0.5, -1.0])
    data = expected_eels(
        crystal(),
        COHERENT,
        PLACES,
        LOSSES,
        engine="thin",
        phonons=1,
        seed=1,
        film_angstrom=film,
        shifts_ev=shifts,
    )
    return found | variables(data, "expected", "film_")


@case("spectra-edx")
def edx() -> Arrays:
    """Return X-ray spectra at two places by each engine."""
    found = {}
    for engine in ENGINES:
        data = expected_edx(crystal(), COHERENT, PLACES, XRAYS, engine=engine, phonons=1, seed=1)
        found |= variables(data, "expected", f"{engine}_")
    return found
