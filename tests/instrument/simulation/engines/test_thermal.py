"""The engine ``thermal``: frozen-phonon means without phonons, a measured error that is kept, and refusals with numbers."""

from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import plan, simulate, thermal_check, thermal_table
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

RING = AnnularDetector(inner_mrad=60, outer_mrad=120, name="ring")
BEAM = Beam(energy_ev=200e3, semiangle_mrad=20)
SCAN = RasterScan(shape=(8, 8), field_of_view_angstrom=(5.4, 9.4))


@pytest.fixture(scope="module")
def layer() -> Sample:
    """A small cell of MoS2."""
    return load_sample("mos2-1h", size_angstrom=(5, 9))


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("STEMTWIN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("STEMTWIN_CACHE_BYTES", str(2**28))


def asked(sample: Sample, **changes) -> Request:
    """Return a request for the ring."""
    return Request(**{"sample": sample, "beam": BEAM, "scan": SCAN, "detectors": (RING,), "engine": "thermal", "measure_error": False} | changes)


@pytest.mark.slow
def test_mean_over_frozen_phonons_without_phonons(layer):
    """The image of a layer is the exact mean over 24 configurations within 3 of its standard errors and 5 %; no configuration is made."""
    exact = simulate.simulate(asked(layer, engine="operator", phonons=24))["ring"]
    ours = simulate.simulate(asked(layer))["ring"].to_numpy()
    rms = np.sqrt(((ours - exact.to_numpy()) ** 2).mean()) / exact.to_numpy().mean()
    assert rms < 3 * exact.attrs["relative_standard_error"]
    assert ours.mean() == pytest.approx(float(exact.mean()), rel=0.05)


def test_source_size_blurs_and_keeps_the_mean(layer):
    """A source of finite size lowers the contrast of an image of whole cells, and leaves its mean."""
    height, width = layer.size_angstrom
    whole = RasterScan(shape=(16, 24), field_of_view_angstrom=(height, width))
    sharp = simulate.simulate(asked(layer, scan=whole))["ring"]
    blurred = simulate.simulate(asked(layer, scan=whole, beam=replace(BEAM, source_size_angstrom=0.4)))["ring"]
    assert float(blurred.mean()) == pytest.approx(float(sharp.mean()), rel=5e-3)
    assert float(blurred.std()) < 0.8 * float(sharp.std())


def test_scan_and_points_agree_whatever_the_threads(layer, monkeypatch):
    """A raster, its points as a path and another number of threads give the same signals."""
    raster = simulate.simulate(asked(layer))["ring"].to_numpy()
    monkeypatch.setenv("STEMTWIN_THREADS", "1")
    path = PathScan(positions_angstrom=SCAN.positions().reshape(-1, 2))
    np.testing.assert_array_equal(simulate.simulate(asked(layer, scan=path))["ring"], raster.ravel())


def test_unmeasured_errors_are_said_to_be_so(layer, own_cache):
    """Without a measurement, plan and result say so, with the rms and the worst row of the table."""
    rows = thermal_check.table()
    assert rows
    said = simulate.simulate(asked(layer)).attrs["engine_error"]
    assert said == simulate.explain(asked(layer)).exactness
    assert "not measured for this sample" in said
    assert f"worst {max(row['error'] for row in rows):.2e}" in said


def test_a_measured_error_is_kept_and_refuses(layer, own_cache, monkeypatch):
    """The error is measured once, stands with its statistics in plan and result, and refuses a smaller tolerance with the number, before any work."""
    loose = asked(layer, measure_error=True, tolerance=0.2)
    first = simulate.simulate(loose).attrs["engine_error"]
    kept = thermal_check.kept(loose, (RING,))
    assert kept is not None
    assert kept.own <= 0.2 / 3
    assert kept.clean < 0.2
    assert f"error {kept.clean:.2e}" in first
    monkeypatch.setattr(thermal_check, "compare", lambda *_: pytest.fail("measured again"))
    assert simulate.simulate(loose).attrs["engine_error"] == first == simulate.explain(loose).exactness
    bad = thermal_check.ThermalError(rms=0.3, largest=0.9, own=0.01, configurations=8, points=32)
    monkeypatch.setattr(thermal_check, "kept", lambda *_: bad)
    with pytest.raises(SamplingError, match=r"rms error is 29.98%.*Allow tolerance=0.31"):
        simulate.explain(loose)


def test_a_kept_error_is_said_where_none_is_asked_for(layer, own_cache):
    """Once an error is kept, a request that measures none says it, too: no word of other samples."""
    thermal_check.keep(asked(layer), (RING,), thermal_check.ThermalError(rms=0.05, largest=0.2, own=0.01, configurations=32, points=32))
    said = simulate.explain(asked(layer)).exactness
    assert "rms 5.00e-02" in said
    assert "not measured" not in said


def test_auto_takes_the_model_only_where_its_kept_error_allows(own_cache, monkeypatch):
    """Without a kept error, and with one above the tolerance, `auto` takes another engine; within it, the model, and says why."""
    monkeypatch.setattr(plan, "PATIENCE", 0.0)
    monkeypatch.setattr(plan, "LOCAL_GAIN", 1e9)
    request = asked(load_sample("mos2-1h", size_angstrom=(20, 20)), engine="auto", measure_error=True, tolerance=0.1)
    assert simulate.explain(request).engine != "thermal"
    for rms, taken in ((0.12, False), (0.05, True)):
        thermal_check.keep(request, (RING,), thermal_check.ThermalError(rms=rms, largest=0.2, own=0.01, configurations=32, points=32))
        found = simulate.explain(request)
        assert (found.engine == "thermal") is taken
    assert "the stored error of thermal cross-sections" in found.reason
    bright = replace(request, detectors=("abf",))
    assert simulate.explain(bright).engine != "thermal"


def test_statistics_never_hide_an_error(layer, own_cache):
    """An error that its statistics leave open suffices for no tolerance: it is measured on, and with all configurations spent it is refused."""
    request = asked(layer, tolerance=0.05)
    open_yet = thermal_check.ThermalError(rms=0.06, largest=0.2, own=0.06, configurations=8, points=32)
    assert open_yet.clean == 0.0
    for error in (open_yet, replace(open_yet, configurations=thermal_check.MOST)):
        thermal_check.keep(request, (RING,), error)
        assert not thermal_check.is_known_to_suffice(request, (RING,))
        if thermal_check.settled(error, request.tolerance):
            with pytest.raises(SamplingError, match=r"not known to be within tolerance=0\.05.*Allow tolerance=0\.19"):
                thermal_check.refuse_if_missed(request, (RING,))
        else:
            thermal_check.refuse_if_missed(request, (RING,))  # nothing to refuse before it is measured on
    assert thermal_check.settled(error, request.tolerance)


def test_measurement_sees_a_wrong_model(layer, own_cache):
    """A model that is 30 % too high is measured as at least 20 % off: the comparison does not flatter."""
    request = asked(layer, tolerance=0.2)
    found = simulate.explain(request)
    from stemtwin.twin.instrument.simulation.engines import thermal

    error = thermal_check.compare(request, found, lambda *where: lambda at: 1.3 * thermal.model_signals(*where, at))
    assert error.clean > 0.2


def test_windows_of_a_large_field_are_those_of_the_cell(layer):
    """A probe in a window of a large field has the signal that it has in the small periodic cell."""
    large = load_sample("mos2-1h", size_angstrom=(30, 30))
    at = PathScan(positions_angstrom=large.positions_angstrom[[0, 40], :2] + 0.3)
    near = PathScan(positions_angstrom=layer.positions_angstrom[[0, 0], :2] + 0.3)
    same = large.numbers[[0, 40]] == layer.numbers[0]
    ours, small = (simulate.simulate(asked(s, scan=scan))["ring"].to_numpy() for s, scan in ((large, at), (layer, near)))
    np.testing.assert_allclose(ours[same], small[same], rtol=0.01)


def test_table_averages_only_over_true_translations(layer):
    """The cell of MoS2 maps onto itself by what its cells say; an image with that symmetry stays what it is."""
    shifts = thermal_table.translations(layer)
    assert (0.0, 0.0) in shifts
    moved = replace(layer, positions_angstrom=layer.positions_angstrom + np.eye(len(layer.numbers), 3) * 0.3)
    assert thermal_table.translations(moved) == [(0.0, 0.0)]
    image = np.random.default_rng(0).random((24, 24))
    once = thermal_table.averaged(image, shifts)
    np.testing.assert_allclose(thermal_table.averaged(once, shifts), once)
    assert once.mean() == pytest.approx(image.mean())
