"""Groups of translations, the Fourier coefficients and plane waves that an average over them keeps, and the rule that ends a series."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.engine.operator.lattice_average import LatticeAverage, Translations

ONE = Translations()


@st.composite
def groups(draw: st.DrawFn) -> Translations:
    """Draw the group of two random steps on a torus."""
    n = draw(st.integers(1, 6))
    steps = {(0, 0)}
    for iy, ix in draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=2)):
        steps = {((y + k * iy) % n, (x + k * ix) % n) for y, x in steps for k in range(n)}
    order = len(steps)
    return Translations(steps=tuple(sorted((y * order // n, x * order // n) for y, x in steps)))


@given(groups())
@settings(deadline=None, max_examples=50)
def test_the_mask_is_the_mean_of_the_waves(group: Translations) -> None:
    """The mean of exp(-2 pi i h.t / L) over the group is 1 where a coefficient is kept, else 0; one in n is kept."""
    n = group.count
    hy, hx = np.arange(-n, n)[:, None], np.arange(-n, n)
    t = group.vectors((1.0, 1.0))
    mean = np.exp(-2j * np.pi * (hy[..., None] * t[:, 1] + hx[..., None] * t[:, 0])).mean(-1)
    np.testing.assert_allclose(mean, group.kept(hy, hx), atol=1e-9)
    assert group.kept(hy, hx).sum() * n == (2 * n) ** 2


@given(groups())
@settings(deadline=None, max_examples=50)
def test_cosets_are_the_classes_of_kept_differences(group: Translations) -> None:
    """Each plane wave is in one set; two are in the same set if and only if their difference is kept."""
    rng = np.random.default_rng(0)
    hy, hx = rng.integers(-9, 9, (2, 40))
    label = np.full(40, -1)
    for number, some in enumerate(group.cosets(hy, hx)):
        assert (label[some] == -1).all()
        label[some] = number
    assert (label >= 0).all()
    np.testing.assert_array_equal(label[:, None] == label, group.kept(hy[:, None] - hy, hx[:, None] - hx))


@pytest.mark.parametrize("steps", [(), ((0, 1), (1, 0)), ((0, 0), (0, 0)), ((0, 0), (0, 1), (1, 0), (1, 1)), ((1, 0),)])
def test_what_is_no_group_is_refused(steps: tuple[tuple[int, int], ...]) -> None:
    """Translations without (0, 0), with a repetition, or with a missing sum are refused."""
    with pytest.raises(SettingsError, match="do not form a group"):
        Translations(steps=steps)


def images(rng: np.random.Generator, count: int, alike: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return images (count, 1, 4 x 12) of four columns that fluctuate alone or all alike, and their averages over the four."""
    parts = rng.standard_normal((count, 1, 1 if alike else 4, 12)) + np.zeros((1, 1, 4, 1))
    mean = np.broadcast_to(parts.mean(axis=2, keepdims=True), parts.shape)
    return parts.reshape(count, 1, -1), mean.reshape(count, 1, -1)


def test_a_series_ends_where_the_error_is_that_of_all() -> None:
    """Columns that move alone: after two of eight nearly always; columns that move alike: never before the eighth."""
    rng, rule = np.random.default_rng(5), LatticeAverage(translations=ONE, least=2, most=8)
    taken = {alike: [next(n for n in range(1, 9) if rule.suffices(*(each[:n] for each in made)))
                     for made in (images(rng, 8, alike) for _ in range(100))] for alike in (False, True)}  # fmt: skip
    assert np.mean(taken[False]) < 2.5
    assert min(taken[False]) == 2
    assert np.mean(taken[True]) > 7.5
    plain, averaged = images(rng, 8, alike=False)
    assert not LatticeAverage(translations=ONE, least=4, most=8).suffices(plain[:3], averaged[:3])
    assert LatticeAverage(translations=ONE, least=1, most=1).suffices(plain[:1], averaged[:1])
    assert rule.suffices(0 * plain[:2], 0 * averaged[:2])  # nothing moves
