"""The corrector in the microscope: what is measured, what a correction does, and that tuning gets somewhere."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from stemtwin.twin.errors import InstrumentError, SettingsError, UnknownNameError
from stemtwin.twin.instrument.hardware.corrector import TYPICAL_CORRECTOR
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.physics.aberrations import Aberrations

TUNABLE = replace(PROFILES["ideal"], corrector=TYPICAL_CORRECTOR)


def test_c1a1_measures_what_is_there(nothing: PotentialSlices) -> None:
    """The estimate is the truth within three times its own interval; knobs and stage height are a part of what is measured."""
    scope = Microscope(nothing, TUNABLE, seed=3, misalignment=Aberrations(C10=80.0, C12=60.0, phi12=0.4))
    scope.set(C10=40.0)
    scope.move_stage(z_angstrom=30.0)
    found = scope.measure()
    true = scope.truth()["aberrations"].cartesian()
    for name in ("C10", "C12a", "C12b"):
        here = found.sel(name=name)
        assert abs(float(here.coefficient) - true[name]) < 3 * float(here.confidence), name


def test_corrections_bring_the_optics_home(nothing: PotentialSlices) -> None:
    """Measuring and correcting first order, again and again, ends with C10 and C12 below 2 nm though the corrector errs; time has passed."""
    scope = Microscope(nothing, TUNABLE, seed=4, misalignment=Aberrations(C10=300.0, C12=200.0, phi12=1.0))
    for _ in range(4):
        found = scope.measure().coefficient
        c10, c12 = float(found.sel(name="C10")), complex(float(found.sel(name="C12a")), float(found.sel(name="C12b")))
        scope.correct("C1", c10)
        scope.correct("A1", c12)
    true = scope.truth()
    assert abs(true["C10_angstrom"]) < 20
    assert true["C12_angstrom"] < 20
    assert scope.time_s > 10


def test_a_failure_takes_its_time_and_nothing_else(nothing: PotentialSlices) -> None:
    """Out of range the measurement fails in the words of a corrector; time has passed; the optics are as they were."""
    scope = Microscope(nothing, TUNABLE, seed=5, misalignment=Aberrations(C10=5000.0))
    before = scope.truth()["aberrations"]
    with pytest.raises(InstrumentError, match="measured probe diameter is out of range: "):
        scope.measure()
    assert scope.time_s > 0
    assert scope.truth()["aberrations"] == before


def test_refused_commands_change_nothing(nothing: PotentialSlices) -> None:
    """An unknown measurement or aberration, or too large a change, is refused before anything happens."""
    scope = Microscope(nothing, TUNABLE, seed=5)
    before = scope.snapshot()
    with pytest.raises(UnknownNameError, match="Slow"):
        scope.measure("Slow")
    with pytest.raises(UnknownNameError, match="C11"):
        scope.correct("C11", 5.0)
    with pytest.raises(InstrumentError):
        scope.correct("C10", 1e9)
    assert scope.snapshot() is before


def test_measurements_are_the_same_for_one_seed(nothing: PotentialSlices) -> None:
    """One seed, one measurement; a second measurement has noise of its own; a snapshot brings the first one back."""
    scope = Microscope(nothing, TUNABLE, seed=6, misalignment=Aberrations(C10=80.0))
    start = scope.snapshot()
    first, second = scope.measure(), scope.measure()
    assert not np.array_equal(first.image, second.image)
    scope.restore(start)
    xr.testing.assert_identical(scope.measure(), first)


def test_a_blanked_beam_measures_nothing(nothing: PotentialSlices) -> None:
    """Without a beam there are no images: the measurement is refused before anything happens, and so is its price; corrections need no beam."""
    scope = Microscope(nothing, TUNABLE, seed=3)
    scope.set(blanked=True)
    before = scope.snapshot()
    for command in (scope.measure, lambda: scope.estimate_cost("measure")):
        with pytest.raises(InstrumentError, match=r"The beam is blanked.* set\(blanked=False\)"):
            command()
    assert scope.snapshot() is before
    scope.correct("C1", 10.0)


def test_the_price_of_tuning_is_known_ahead(nothing: PotentialSlices) -> None:
    """Measurements and corrections take the time that was said, and no dose; what would be refused has no price."""
    scope = Microscope(nothing, TUNABLE, seed=3)
    for command, arguments in (("measure", {}), ("correct", {"name": "A1", "value": (30.0, 10.0)})):
        price, before = scope.estimate_cost(command, **arguments), scope.time_s
        assert price == {"time_s": pytest.approx(price["time_s"]), "electrons": 0, "dose_e_per_angstrom2": 0}
        assert price["time_s"] > 0
        getattr(scope, command)(**arguments)
        assert scope.time_s - before == pytest.approx(price["time_s"])
    with pytest.raises(InstrumentError, match="beyond the corrector's reach"):
        scope.estimate_cost("correct", "C1", 1e9)
    with pytest.raises(UnknownNameError):
        scope.estimate_cost("measure", "Slow")
    with pytest.raises(SettingsError, match="C1A1 does not use tilts"):
        scope.measure("C1A1", angle_mrad=10)
    with pytest.raises(SettingsError, match="kind=3 is not a measurement"):
        scope.measure(3)  # type: ignore[arg-type]
