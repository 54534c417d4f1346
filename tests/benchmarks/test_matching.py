"""The matching is the best one that a search over all matchings finds."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.benchmarks.matching import match, nearest_distance


def brute_force(points, truths, gates):
    """Return (pairs, total distance) of the best matching by trying every assignment of truths to points or to none."""
    n = len(points)
    best = (0, 0.0)
    for choice in itertools.product(range(-1, n), repeat=len(truths)):
        used = [i for i in choice if i >= 0]
        if len(set(used)) < len(used):
            continue
        distances = [float(np.hypot(*(points[i] - truths[j]))) for j, i in enumerate(choice) if i >= 0]
        if any(d > gates[j] for d, j in zip(distances, [j for j, i in enumerate(choice) if i >= 0], strict=True)):
            continue
        best = max(best, (len(used), -sum(distances)))
    return best[0], -best[1]


coordinates = st.integers(0, 20).map(lambda value: value / 10)
clouds = st.lists(st.tuples(coordinates, coordinates), max_size=5)


@settings(max_examples=150)
@given(points=clouds, truths=clouds, gates=st.lists(st.sampled_from([0.25, 0.5, 1.0]), min_size=5, max_size=5))
def test_most_pairs_then_least_distance(points, truths, gates):
    """No assignment within the gates has more pairs, and none with as many has a smaller total distance."""
    points, truths = np.array(points, dtype=float).reshape(-1, 2), np.array(truths, dtype=float).reshape(-1, 2)
    gates = np.array(gates[: len(truths)])
    left, right, distance = match(points, truths, gates)
    pairs, total = brute_force(points, truths, gates)
    assert len(left) == len(set(left)) == len(set(right)) == pairs
    assert np.all(distance <= gates[right])
    assert distance.sum() == pytest.approx(total)


def test_a_chain_is_matched_whole():
    """Where nearest neighbours would leave a truth alone, the matching shifts the whole chain: three pairs, not two."""
    truths = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    points = np.array([[0.45, 0.0], [1.45, 0.0], [2.45, 0.0]])
    left, right, _ = match(points, truths, np.full(3, 0.6))
    np.testing.assert_array_equal(right[np.argsort(left)], [0, 1, 2])


def test_many_columns_are_matched_exactly():
    """A jittered lattice of 10,000 columns, its points shuffled, is matched to itself."""
    rng = np.random.default_rng(0)
    truths = np.stack(np.meshgrid(np.arange(100.0), np.arange(100.0)), axis=-1).reshape(-1, 2)
    order = rng.permutation(len(truths))
    left, right, distance = match(truths[order] + rng.uniform(-0.2, 0.2, truths.shape), truths, np.full(len(truths), 0.45))
    np.testing.assert_array_equal(order[left], right)
    assert distance.max() < 0.3


def test_nearest_neighbour_is_never_the_point_itself():
    """The nearest other of a point of the set is at the set's spacing; of a lone point, nowhere."""
    line = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
    np.testing.assert_allclose(nearest_distance(line, line), [1, 1, 2])
    np.testing.assert_allclose(nearest_distance(np.array([[0.4, 0.0]]), line), [0.4])
    assert np.isinf(nearest_distance(line[:1], line[:1])).all()
    assert np.isinf(nearest_distance(line, line[:0])).all()
