"""Emulated C1A1 and tableaus: laws of their own, and errors, intervals and failures of the measurements whose images are fitted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stemtwin.twin.errors import InstrumentError
from stemtwin.twin.instrument.hardware import tableau as real
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.hardware.tableau import C1A1, QUANTILE_95, ProbeImages, Tableau, tableau
from stemtwin.twin.instrument.hardware.tableau_emulation import emulate
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.aberrations import Aberrations

WAVELENGTH, FULL = electrons.wavelength(200e3), ProbeImages()
RESIDUAL = PROFILES["corrected-200kv"].residual
SECOND = optics.add(RESIDUAL, Aberrations(C10=200.0, C12=200.0, phi12=0.4, C21=12000.0, phi21=0.3, C23=5000.0))


def many(how: Callable[..., Any], state: Aberrations, kind: Tableau, count: int, setting: ProbeImages = FULL) -> list[Any]:
    """Return measurements with other noise each, None for those that failed."""
    out = []
    for seed in range(count):
        try:
            found = how(state, WAVELENGTH, kind, setting, np.random.default_rng(seed))
        except InstrumentError as error:
            found = error
        out.append(None if isinstance(found, InstrumentError) else found)
    return out


def scores(state: Aberrations, found: list[Any]) -> np.ndarray:
    """Return errors in the stated standard deviations, shape (measurements, coefficients)."""
    true = state.cartesian()
    return np.array(
        [[(one.aberrations.cartesian()[name] - true[name]) / width * QUANTILE_95 for name, width in one.confidence.items()] for one in found]
    )


def errors_of(state: Aberrations, found: list[Any]) -> np.ndarray:
    """Return errors, A, shape (measurements, coefficients)."""
    true = state.cartesian()
    return np.array([[one.aberrations.cartesian()[name] - true[name] for name in one.confidence] for one in found])


@pytest.mark.parametrize("kind", [C1A1, tableau("Fast"), tableau("Standard")], ids=lambda kind: kind.name)
def test_errors_are_as_large_as_intervals_say(kind: Tableau) -> None:
    """Squared errors in stated standard deviations average 1 or, where intervals are widened by the misfit, somewhat less."""
    found = scores(RESIDUAL, many(emulate, RESIDUAL, kind, 40))
    assert 0.65 < (found**2).mean() < 1.35


def test_more_electrons_mean_less_noise() -> None:
    """Intervals go with the square root of the current: four times the electrons halve them."""
    widths = [many(emulate, RESIDUAL, C1A1, 1, replace(FULL, current_pa=current))[0].confidence for current in (50.0, 200.0)]
    for name in widths[0]:
        assert widths[0][name] == pytest.approx(2 * widths[1][name], rel=1e-6)


def test_turned_astigmatism_has_turned_errors() -> None:
    """Errors along and across the astigmatism are those of astigmatism along the axes, whatever its azimuth."""
    spreads = []
    for azimuth in (0.0, 0.5):
        state = Aberrations(C12=700.0, phi12=azimuth)
        errors = errors_of(state, [one for one in many(emulate, state, C1A1, 200) if one is not None])
        angle = 2 * azimuth
        spreads.append((errors[:, 1:] @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])).std(axis=0))
    np.testing.assert_allclose(spreads[0], spreads[1], rtol=0.25)


def test_what_is_too_far_off_fails() -> None:
    """Beyond a quarter of the defocus C1A1 fails always, well within it never; too few electrons fail, too."""
    assert all(many(emulate, Aberrations(C10=700.0), C1A1, 20))
    assert not any(many(emulate, Aberrations(C10=800.0), C1A1, 20))
    assert not any(many(emulate, Aberrations(C12=-800.0), C1A1, 20))
    assert not any(many(emulate, Aberrations(C10=6000.0), C1A1, 20))
    assert not any(many(emulate, Aberrations(), C1A1, 20, replace(FULL, current_pa=0.02)))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "state", "count"), [(C1A1, SECOND, 50), (tableau("Fast"), SECOND, 14), (tableau("Standard"), SECOND, 4)])
def test_intervals_and_errors_are_those_of_fitted_images(kind: Tableau, state: Aberrations, count: int) -> None:
    """Stated intervals agree within 15 %; the mean squares of the errors within what so many measurements can tell."""
    taken, drawn = many(real.measure, state, kind, count), many(emulate, state, kind, 40)
    widths = [np.median([list(one.confidence.values()) for one in found], axis=0) for found in (taken, drawn)]
    np.testing.assert_allclose(widths[1] / widths[0], 1, atol=0.15)
    size = [(errors_of(state, found) ** 2).mean(axis=0) / widths[0] ** 2 for found in (taken, drawn)]
    freedom = size[0].size * count
    assert abs(np.log(size[1].mean() / size[0].mean())) < 4 * np.sqrt(2 / freedom + 2 / (40 * size[1].size)) + 0.15


@pytest.mark.slow
def test_failures_are_as_frequent_as_those_of_fitted_images() -> None:
    """At the limit, where noise decides, both fail in half of the measurements, within four standard deviations of the counts."""
    state, count = Aberrations(C10=750.0), 40
    setting = replace(FULL, current_pa=10.0)
    failed = [sum(one is None for one in many(how, state, C1A1, count, setting)) for how in (real.measure, emulate)]
    assert abs(failed[0] - failed[1]) <= 4 * np.sqrt(2 * count * 0.25)


@pytest.mark.slow
def test_what_a_tableau_leaves_out_misleads_it_as_much() -> None:
    """With large aberrations of third order, Fast is off by the same amount and says so by the same misfit (20 degrees of freedom)."""
    state = optics.add(RESIDUAL, Aberrations(C30=3e4, C32=1.2e5, phi32=0.5, C34=3e4))
    taken, drawn = many(real.measure, state, tableau("Fast"), 5), many(emulate, state, tableau("Fast"), 20)
    misfit = [np.mean([one.misfit for one in found]) for found in (taken, drawn)]
    assert misfit[0] > 3
    spread = np.sqrt(2 * (1 + 2 * (misfit[1] - 1)) / 20)  # of one misfit: a noncentral chi-square over its degrees of freedom
    assert abs(misfit[1] - misfit[0]) < 4 * spread * np.sqrt(1 / 5 + 1 / 20)
    off = [errors_of(state, found).mean(axis=0)[:3] for found in (taken, drawn)]
    np.testing.assert_allclose(off[1], off[0], atol=6)
