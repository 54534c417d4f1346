"""PRISM: exact where every plane wave is taken."""

import numpy as np

from stemtwin.twin.instrument.simulation import simulate
from stemtwin.twin.samples.library import load_sample
from tests.instrument.simulation.engines.dark_field import BEAM, DARK, points, stated


def test_prism_with_f_1_is_exact():
    """With f = 1 every plane wave is taken: multislice to 1e-4."""
    small = load_sample("mos2-1h")
    settings = {"detectors": (DARK, "bf"), "phonons": 2}
    exact = simulate.simulate(small, BEAM, points(5), engine="multislice", **settings)
    data = simulate.simulate(small, BEAM, points(5), engine="prism", interpolation=1, **settings)
    for name in ("haadf", "bf"):
        np.testing.assert_allclose(data[name], exact[name], rtol=1e-4)
    assert stated(data)[1] < 1e-4
