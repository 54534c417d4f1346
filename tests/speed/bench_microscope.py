"""The instrument: a frame with everything that distorts and disturbs it, and an hour of its life."""

import functools
import os
from unittest import mock

from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.simulation import operator_cache
from stemtwin.twin.samples.library import load_sample
from tests.speed.run import Row

SCAN = RasterScan(shape=(128, 128), field_of_view_angstrom=(16.0, 16.0))


@functools.cache
def scope():
    """A corrected 200 kV instrument with MoS2 in it, its operator warm."""
    one = Microscope(load_sample("mos2-1h", size_angstrom=(5.47, 9.48)), "corrected-200kv", seed=1)
    one.acquire(SCAN)
    return one


def frame():
    """A frame of the 16 A field: distortion, drift, straying optics, pulses, noise, ADC, dose map."""
    one = scope()
    start = one.snapshot()
    return lambda: one.restore(start) or (one.acquire(SCAN) and None), None


def hour():
    """An hour in which a frame is taken every minute, the stage moves every ten, and the focus is brought back every quarter of an hour."""
    one = scope()
    start = one.snapshot()

    def live():
        one.restore(start)
        for minute in range(60):
            if minute % 10 == 9:
                one.move_stage(x_angstrom=5.0, relative=True)
            if minute % 15 == 14:
                found = one.measure().coefficient
                one.correct("C10", float(found.sel(name="C10")))
            one.acquire(SCAN)
            one.advance_time(60 * (minute + 1) + start.time_s - one.time_s)

    return live, None


def hour_adrift():
    """The same hour from its beginning, with nobody who focuses: operators for ever wider probes are built on the way, none is held or on disk."""
    one = scope()
    start = one.snapshot()

    def live():
        operator_cache.clear()
        with mock.patch.dict(os.environ, STEMTWIN_CACHE_BYTES="0"):
            one.restore(start)
            for minute in range(60):
                if minute % 10 == 9:
                    one.move_stage(x_angstrom=5.0, relative=True)
                one.acquire(SCAN)
                one.advance_time(60 * (minute + 1) + start.time_s - one.time_s)

    return live, None


def milliseconds(ours, _):
    """Time of ours."""
    return ours * 1e3


ROWS = [
    Row(
        work="microscope, 128 x 128 frame of a 16 A field with distortions, drift, detector chain and dose map, operator warm",
        bar=10,
        prepare=frame,
        value=milliseconds,
        unit="ms",
        at_most=True,
    ),
    Row(
        work="microscope, one hour adrift: 60 frames, 6 stage moves, nobody focuses, operators built on the way",
        bar=60,
        prepare=hour_adrift,
        value=lambda ours, _: ours,
        unit="s",
        at_most=True,
    ),
    Row(
        work="microscope, one hour: 60 frames, drift, straying optics, 6 stage moves, 4 corrections, operators kept",
        bar=60,
        prepare=hour,
        value=lambda ours, _: ours,
        unit="s",
        at_most=True,
    ),
]
