"""Large fields of MoS2 with vacancies through the local operator, against multislice of single probes through the whole field."""

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import PathScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache, simulate, slice_stacks
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.operator import single_probes
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample


def sheet_with_vacancies(size: float, share: float) -> Sample:
    """Return a field of MoS2 in which a share of the sulphur atoms is gone."""
    sheet, rng = load_sample("mos2-1h", size_angstrom=(size, size)), np.random.default_rng(7)
    kept = (rng.random(len(sheet)) > share) | (sheet.numbers != 16)
    sigma = sheet.thermal_sigma_angstrom
    return replace(
        sheet, numbers=sheet.numbers[kept], positions_angstrom=sheet.positions_angstrom[kept], thermal_sigma_angstrom=sigma[kept], recipe=""
    )


@pytest.mark.parametrize(("size", "outer", "count"), [(44.0, 100.0, 16), pytest.param(96.0, 150.0, 16, marks=pytest.mark.slow)])
def test_a_field_with_vacancies_is_within_a_percent_of_multislice(
    size: float, outer: float, count: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At random points, half of them out of focus by 30 A, the rms error is below 1 % of the mean signal; the largest single error is printed.

    Multislice of each probe runs through all of the field. The part of a probe beyond the field is waves of the aperture's rim in both.
    """
    monkeypatch.setenv("STEMTWIN_CACHE_BYTES", "0")
    sample = sheet_with_vacancies(size, 0.03)
    at = np.random.default_rng(11).random((count, 2)) * sample.size_angstrom[::-1]
    beam = Beam(energy_ev=80e3, semiangle_mrad=25)
    detector = AnnularDetector(inner_mrad=60, outer_mrad=outer)
    errors, true = [], []
    for points, focus in ((at[::2], 0.0), (at[1::2], 30.0)):
        here = replace(beam, aberrations=Aberrations(C10=focus))
        request = Request(sample=sample, beam=here, scan=PathScan(positions_angstrom=points), detectors=(detector,), engine="local", phonons="static")
        plan = make_plan(request)
        found = simulate.simulate(request)[detector.name].to_numpy()
        stack = next(iter(slice_stacks.stacks(request, plan)))
        weights = operator_cache.detector_weights(request, plan)
        exact = single_probes.probe_signals(stack, points, here.aberrations, here.semiangle_rad, weights)[0]
        errors.append(found - exact)
        true.append(exact)
    mean, error = np.concatenate(true).mean(), np.concatenate(errors)
    rms, largest = np.sqrt((error**2).mean()) / mean, np.abs(error).max() / mean
    with capsys.disabled():
        Console().print(f"\nlocal operator, MoS2 {size:g} A: rms {rms:.2%}, largest single error {largest:.2%} of the mean, at {count} points")
    assert rms < 0.01
    assert largest < 0.05
    operator_cache.clear()
