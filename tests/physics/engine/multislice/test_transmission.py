"""Potentials and transmission functions in lanes equal plain numpy, whatever the threads; local changes equal the whole computed again."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics import potential as pot
from stemtwin.twin.physics.engine.multislice import transmission as engine
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.physics.scattering_factors import PARAMETRIZATIONS, scattering_factor
from tests.physics import twins

SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(4, 75)


def plain_coefficients(positions, numbers, grid, parametrization, sigma):
    """Fourier coefficients of V on the half plane kx >= 0, times the number of points: one matrix product per kind of atom."""
    ny, nx = grid.shape
    ky, kx = grid.ky, np.arange(nx // 2 + 1) / grid.extent[1]
    g2 = ky[:, None] ** 2 + kx**2
    total = np.zeros(g2.shape, np.complex64)
    spread = np.zeros(len(numbers)) if sigma is None else sigma
    kinds, kind = np.unique(np.column_stack([numbers, spread]), axis=0, return_inverse=True)
    scale = electrons.POTENTIAL_CONSTANT * ny * nx / (grid.extent[0] * grid.extent[1])
    for i, (number, width) in enumerate(kinds):
        at = positions[kind.ravel() == i]
        along_y, along_x = np.exp(-2j * np.pi * np.outer(ky, at[:, 1])), np.exp(-2j * np.pi * np.outer(at[:, 0], kx))
        corner = (along_y[ny // 2] * along_x[:, nx // 2].conj()).sum().real
        if ny % 2 == 0:
            along_y.imag[ny // 2] = 0
        if nx % 2 == 0:
            along_x.imag[:, -1] = 0
        structure = along_y.astype(np.complex64) @ along_x.astype(np.complex64)
        if ny % 2 == 0 and nx % 2 == 0:
            structure[ny // 2, -1] = corner
        factor = scattering_factor(parametrization, int(number), g2) * np.exp(-2 * (np.pi * width) ** 2 * g2)  # B = 8 pi^2 width^2
        total += (scale * factor).astype(np.float32) * structure
    return total


def plain_transmission(potential, interaction, grid):
    """exp(i sigma V), its coefficients inside the band picked from the finer grid by index."""
    (ny, nx), (my, mx) = grid.shape, potential.shape
    fine = scipy.fft.fft2(np.exp(1j * (interaction * potential).astype(np.float32)))
    rows, columns = np.rint(grid.ky * grid.extent[0]).astype(int), np.rint(grid.kx * grid.extent[1]).astype(int)
    kept = np.where(grid.band, fine[np.ix_(rows % my, columns % mx)], 0) * np.float32(ny * nx / (my * mx))
    return scipy.fft.ifft2(kept)


def plain_transmissions(positions, numbers, slices, grid, interaction, parametrization="kirkland", oversampling=2, sigma=None):
    """The slow twin: slice by slice, in numpy."""
    fine = Grid(shape=(oversampling * grid.shape[0], oversampling * grid.shape[1]), extent=grid.extent)
    out = []
    for i in range(len(slices.planes)):
        inside = slices.index == i
        damping = None if sigma is None else sigma[inside]
        v = scipy.fft.irfft2(plain_coefficients(positions[inside], numbers[inside], fine, parametrization, damping), s=fine.shape)
        out.append(plain_transmission(v, interaction, grid))
    return np.array(out)


@given(
    shape=st.tuples(SIDES, SIDES), planes=st.integers(1, 3), oversampling=st.integers(1, 3), damped=st.booleans(), seed=SEEDS,
    parametrization=st.sampled_from(PARAMETRIZATIONS),
)  # fmt: skip
@settings(max_examples=40)
def test_twin(shape, planes, oversampling, damped, seed, parametrization):
    """Transmissions equal plain numpy's to 1e-6 of the largest, on even, odd, prime and rectangular grids, damped or not."""
    rng = np.random.default_rng(seed)
    grid = Grid(shape=shape, extent=(shape[0] * rng.uniform(0.05, 0.15), shape[1] * rng.uniform(0.05, 0.15)))
    at, numbers = twins.atoms(rng, 4 * planes, grid.extent, 5.0)
    at[:, 2] = np.repeat(np.arange(planes) * 2.0, 4)
    sigma = rng.uniform(0, 0.1, len(at)) if damped else None
    cut, interaction = pot.assign_slices(at[:, 2]), electrons.interaction_constant(rng.uniform(60e3, 300e3))
    ours = pot.transmissions(at, numbers, cut, grid, interaction, parametrization=parametrization, oversampling=oversampling, sigma=sigma)
    theirs = plain_transmissions(at, numbers, cut, grid, interaction, parametrization, oversampling, sigma)
    assert ours.dtype == np.complex64
    assert ours.flags.c_contiguous
    phase = interaction * np.abs(twins.potential(at, numbers, grid, parametrization, sigma)).max()
    assert np.abs(ours - theirs).max() < 1e-6 * max(2, phase)  # float32 holds a large phase to 6e-8 of itself


def test_many_atoms_of_many_kinds():
    """Hundreds of atoms of several elements in one slice: the sampled potential equals plain numpy's to 2e-6 of its largest value."""
    rng = np.random.default_rng(5)
    grid = Grid(shape=(180, 150), extent=(18.0, 16.0))
    at, numbers = twins.atoms(rng, 500, grid.extent, 1.0, elements=(1, 8, 16, 42, 92))
    ours = pot.projected_potential(at, numbers, grid)
    theirs = scipy.fft.irfft2(plain_coefficients(at, numbers, grid, "kirkland", None), s=grid.shape)
    assert np.abs(ours - theirs).max() < 2e-6 * theirs.max()


def test_atoms_beyond_the_cell():
    """Atoms outside the cell stand where the period takes them."""
    rng = np.random.default_rng(6)
    grid = Grid(shape=(45, 48), extent=(5.0, 4.0))
    at, numbers = twins.atoms(rng, 5, grid.extent, 1.0)
    there = at + np.array([4.0, -15.0, 0.0]) * rng.integers(-2, 3, (5, 1))
    here, moved = pot.projected_potential(at, numbers, grid), pot.projected_potential(there, numbers, grid)
    assert np.abs(here - moved).max() < 1e-6 * here.max()


def specimen(seed=0, shape=(150, 144), planes=5):
    """Return arguments of `transmissions`: some slices of a few atoms; the slice before the last one is empty."""
    rng = np.random.default_rng(seed)
    grid = Grid(shape=shape, extent=(12.0, 11.0))
    at, numbers = twins.atoms(rng, 6 * planes, grid.extent, 5.0)
    at[:, 2] = np.repeat(np.arange(planes) * 2.0, 6)
    cut = pot.assign_slices(at[:, 2])
    index = np.where(cut.index == planes - 2, planes - 1, cut.index)
    cut = pot.Slices(index=index, planes=cut.planes, edges=cut.edges)
    return at, numbers, cut, grid, electrons.interaction_constant(100e3)


def test_threads_change_no_bit(monkeypatch):
    """One, two or seven threads, fewer or more than slices: the same bits, in a stack and in a single slice."""
    for planes in (1, 5):
        arguments = specimen(planes=planes) if planes > 1 else (*(a[:6] for a in specimen()[:2]), pot.assign_slices(np.zeros(6)), *specimen()[3:])
        results = []
        for count in (1, 2, 7):
            monkeypatch.setenv("STEMTWIN_THREADS", str(count))
            v = pot.projected_potential(arguments[0], arguments[1], arguments[3])
            results.append((pot.transmissions(*arguments).tobytes(), v.tobytes(), pot.transmission(v, 1e-3, arguments[3]).tobytes()))
        assert results[0] == results[1] == results[2]


def test_two_callers_at_once():
    """Two threads that compute different specimens at the same time get what each gets alone."""
    alone = {seed: pot.transmissions(*specimen(seed)) for seed in (1, 2)}
    together = {}

    def work(seed):
        together[seed] = [pot.transmissions(*specimen(seed)) for _ in range(5)]

    callers = [threading.Thread(target=work, args=(seed,)) for seed in alone]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for seed, expected in alone.items():
        assert len(together[seed]) == 5
        assert all(np.array_equal(result, expected) for result in together[seed])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork():
    """A child computes the same bits as its parent, which had computed before the fork."""
    program = """
import os, sys
import numpy as np
from stemtwin.twin.physics import potential as pot
from stemtwin.twin.physics.grids import Grid
grid, at = Grid(shape=(60, 64), extent=(6.0, 5.0)), np.random.default_rng(0).random((8, 3)) * 5
def compute():
    return pot.transmissions(at, np.full(8, 42), pot.assign_slices(at[:, 2]), grid, 1e-3).tobytes()
parent = compute()
child = os.fork()
if child == 0:
    os._exit(0 if compute() == parent else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    environment = os.environ | {"STEMTWIN_THREADS": "3"}
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, env=environment, timeout=100, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_empty_slice_transmits_everything():
    """A slice without atoms among others is exactly 1, and computes no transform."""
    arguments = specimen()
    assert (pot.transmissions(*arguments)[3] == 1).all()


def test_memory_of_tables_is_bounded(monkeypatch):
    """Tables of scattering factors are kept up to a number and a size; a larger one is made for its call alone, with the same values."""
    grid, numbers = Grid(shape=(48, 45), extent=(4.0, 5.0)), np.array([14, 38])
    at = np.array([[1.0, 2.0], [3.0, 1.5]])
    engine._kept_factors.cache_clear()
    kept = pot.projected_potential(at, numbers, grid)
    assert engine._kept_factors.cache_info().currsize == 2
    engine._kept_factors.cache_clear()
    monkeypatch.setattr(engine, "KEPT_POINTS", 100)
    assert np.array_equal(pot.projected_potential(at, numbers, grid), kept)
    assert engine._kept_factors.cache_info().currsize == 0
    assert engine._kept_factors.cache_info().maxsize * 4 * 2**21 <= 2**27


# ---- local changes -------------------------------------------------------------------------------------------------------------------


def test_update_of_whole_slices():
    """Moved, added and removed atoms: the changed slices get the bits of a computation from nothing, the others stay untouched."""
    at, numbers, cut, grid, interaction = specimen()
    before, after = at.copy(), at.copy()
    after[1, :2] += 0.3  # in slice 0
    before[7] = np.nan  # comes, in slice 1
    after[13] = np.nan  # goes, in slice 2
    there = ~np.isnan(before[:, 0])
    index = pot.Slices(index=cut.index[there], planes=cut.planes, edges=cut.edges)
    t = pot.transmissions(before[there], numbers[there], index, grid, interaction)
    old = t.copy()
    changed = pot.update_transmissions(t, before, after, numbers, cut, grid, interaction)
    assert changed.tolist() == [0, 1, 2]
    there = ~np.isnan(after[:, 0])
    index = pot.Slices(index=cut.index[there], planes=cut.planes, edges=cut.edges)
    assert np.array_equal(t, pot.transmissions(after[there], numbers[there], index, grid, interaction))
    assert np.array_equal(t[3:], old[3:])
    assert pot.update_transmissions(t, after, after, numbers, cut, grid, interaction).size == 0


def crystal(number, spacing, cells, sampling, seed=0):
    """Return positions, numbers, cut and grid of one layer of atoms on a square lattice, each a little off its site."""
    rng = np.random.default_rng(seed)
    side = spacing * cells
    sites = np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), axis=-1).reshape(-1, 2) + 0.5
    at = np.column_stack([spacing * sites + rng.uniform(-0.1, 0.1, sites.shape), np.zeros(len(sites))])
    points = round(side / sampling)
    return at, np.full(len(at), number), pot.assign_slices(at[:, 2]), Grid(shape=(points, points - 5), extent=(side, side))


@pytest.mark.parametrize(
    ("number", "spacing", "energy", "damping", "bound"),
    [(6, 1.6, 60e3, None, 2e-5), (42, 3.0, 80e3, None, 1e-4), (79, 2.9, 60e3, None, 2e-4), (79, 2.9, 60e3, 0.05, 1e-5)],
)
def test_local_update(number, spacing, energy, damping, bound):
    """A window of 8 A about moved, added and removed atoms changes the whole slice as a computation from nothing does, to the stated error."""
    at, numbers, cut, grid = crystal(number, spacing, round(50 / spacing), 0.1)
    interaction = electrons.interaction_constant(energy)
    sigma = None if damping is None else np.full(len(at), damping)
    old = pot.transmissions(at, numbers, cut, grid, interaction, sigma=sigma)
    for change in ("move", "vacancy", "two at the edge"):
        after, middle = at.copy(), len(at) // 2
        if change == "move":
            after[middle, :2] += (0.4, -0.2)
        elif change == "vacancy":
            after[middle] = np.nan
        else:  # neighbours across the cell's edge
            after[0, :2] -= (0.6 * spacing, 0.1)
            after[1, :2] += 0.1
        there = ~np.isnan(after[:, 0])
        cut_there, left = pot.assign_slices(at[there, 2]), None if sigma is None else sigma[there]
        exact = pot.transmissions(after[there], numbers[there], cut_there, grid, interaction, sigma=left)
        t = old.copy()
        assert pot.update_transmissions(t, at, after, numbers, cut, grid, interaction, sigma=sigma, reach=8.0).tolist() == [0]
        largest = np.abs(exact - 1).max()
        assert np.abs(exact - old).max() > 0.1 * largest
        assert 0 < np.abs(t - exact).max() < bound * largest  # above zero: the window was used


def test_local_update_far_away():
    """The sharp band limit carries the change of one atom across the cell: far beyond the window it is there, and right to a tenth."""
    at, numbers, cut, grid = crystal(42, 3.0, 13, 0.09)
    interaction = electrons.interaction_constant(80e3)
    after = at.copy()
    after[84, :2] += 0.4
    old, exact = (pot.transmissions(a, numbers, cut, grid, interaction) for a in (at, after))
    t = old.copy()
    pot.update_transmissions(t, at, after, numbers, cut, grid, interaction, reach=8.0)
    y, x = (np.arange(n) * step for n, step in zip(grid.shape, grid.sampling, strict=True))
    far = np.hypot(y[:, None] - at[84, 1], x - at[84, 0]) > 12
    left = np.abs(exact - old)[0][far].max()
    assert left > 1e-4 * np.abs(exact - 1).max()
    assert np.abs(t - exact)[0][far].max() < 0.2 * left


def test_windows_that_do_not_pay():
    """In a small cell, or where many atoms move, whole slices are computed again: the bits of a computation from nothing."""
    at, numbers, cut, grid, interaction = specimen()
    after = at.copy()
    after[1, :2] += 0.3
    t = pot.transmissions(at, numbers, cut, grid, interaction)
    pot.update_transmissions(t, at, after, numbers, cut, grid, interaction, reach=8.0)
    assert np.array_equal(t, pot.transmissions(after, numbers, cut, grid, interaction))


def test_updates_that_do_not_fit():
    """A stack of another kind, lists of different atoms and a reach inside the atom are refused, with the repair."""
    at, numbers, cut, grid, interaction = specimen()
    t = pot.transmissions(at, numbers, cut, grid, interaction)
    for wrong in (t[:-1], t.astype(np.complex128), t[:, ::-1]):
        with pytest.raises(SettingsError, match="updated in place"):
            pot.update_transmissions(wrong, at, at, numbers, cut, grid, interaction)
    for before, kinds in ((at[1:], numbers), (at, numbers[1:])):
        with pytest.raises(SettingsError, match="one row per atom"):
            pot.update_transmissions(t, before, at, kinds, cut, grid, interaction)
    for reach in (0.0, 3.9, np.nan, np.inf):
        with pytest.raises(SettingsError, match="reach"):
            pot.update_transmissions(t, at, at, numbers, cut, grid, interaction, reach=reach)
