"""Frames of the microscope with all its faults and with damage, a measurement of aberrations, and the truth behind."""

import numpy as np

import stemtwin as st
from tests.golden.arrays import attributes, frames, scope_numbers, variables
from tests.golden.internals import Contamination, Damage, EDXDetector, EELSDetector
from tests.golden.registry import Arrays, case
from tests.golden.specimens import crystal

FIELD = st.RasterScan(shape=(8, 8), field_of_view_angstrom=(4, 4), rotation_rad=0.1)
UPRIGHT = st.RasterScan(shape=(8, 8), field_of_view_angstrom=(60, 60), origin_angstrom=(-30, -30))
CAMERA = st.PixelatedDetector(
    shape=(8, 8),
    outer_mrad=30,
    point_spread_px=0.5,
    quantum_efficiency=0.9,
    dead_fraction=0.05,
    hot_fraction=0.05,
    dark_counts_per_s=500.0,
)
LOSSES = EELSDetector(energy_range_ev=(-20, 620), dispersion_ev=10, collection_mrad=30)
XRAYS = EDXDetector(dispersion_ev=80)


@case("scope-faults")
def faults() -> Arrays:
    """Return frames of distortion, drift, wandering optics, stage errors and detector chains; a spectrum; the truth."""
    scope = st.Microscope(
        crystal(),
        instrument="corrected-200kv",
        seed=5,
        phonons=1,
        misalignment=st.Aberrations(C10=15, C12=8, phi12=1.0),
    )
    scope.set(C10=-20, C12=4, phi12=0.3, current_pa=80, semiangle_mrad=20)
    scope.move_stage(x_angstrom=30, y_angstrom=-12)
    scope.advance_time(20)
    data = scope.acquire(FIELD, dwell_time_us=20, frames=2, detectors=("haadf", "bf", CAMERA, LOSSES))
    found = variables(data, "counts") | attributes(data, ("dose_e_per_angstrom2",))
    point = scope.acquire_spectrum((1.0, 0.5), detectors=(LOSSES, XRAYS), dwell_time_us=1e6, edges=("O_K",))
    return found | variables(point, "counts", "point_") | scope_numbers(scope, UPRIGHT)


@case("scope-damage", slow=True)
def damage() -> Arrays:
    """Return frames of graphene whose atoms move and leave while a film grows on it, and the truth behind them."""
    sheet = st.load_sample("graphene", size_angstrom=(8, 8))
    scope = st.Microscope(sheet, seed=5, phonons=1, damage=Damage(contamination=Contamination()))
    scope.set(C10=-5, current_pa=500, semiangle_mrad=15)
    ring = st.AnnularDetector(inner_mrad=30, outer_mrad=60, name="ring")
    scan = st.RasterScan(shape=(8, 8), field_of_view_angstrom=(8, 8))
    data = scope.acquire(scan, dwell_time_us=40, frames=2, detectors=(ring,))
    truth = scope_numbers(scope, UPRIGHT)
    assert len(truth["truth/event_time"]) > 0
    return variables(data, "counts") | truth


@case("scope-measurement")
def measurement() -> Arrays:
    """Return the estimates of a first-order measurement, its images, and the beam after a correction."""
    scope = st.Microscope(
        crystal(),
        instrument="corrected-200kv",
        seed=6,
        phonons=2,
        misalignment=st.Aberrations(C10=120, C12=60, phi12=0.5),
    )
    data = scope.measure("C1A1")
    scope.correct("A1", complex(40.0, 20.0))
    truth = scope_numbers(scope, UPRIGHT)
    images = data["image"].to_numpy()
    estimates = ("first_order", "first_order_error", "coefficient", "confidence")
    found = {f"expected/{name}": data[name].to_numpy() for name in estimates}
    found |= frames("image", images.reshape(-1, *images.shape[-2:]), 8)
    return found | {name: np.asarray(truth[name]) for name in ("truth/beam", "truth/spent", "truth/drift")}
