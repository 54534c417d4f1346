"""One-to-one matching of detected points to true points; each true point has its own gate, the largest distance of a match.

The matching has as many pairs as the gates allow and, among all matchings with that number, the least total distance. Nearest-neighbour matching
guarantees neither, because two detections can claim the same true point. A k-d tree finds the pairs inside the gates, and each connected component of
pairs is solved separately, so a frame of thousands of well separated columns takes little more time than the search in the tree.
"""

import itertools

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree


def nearest_distance(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the distance from each point to its nearest neighbour in a second set of points.

    Parameters
    ----------
    points, others : ndarray
        (n, 2) and (m, 2), A. A point that occurs in both arrays (distance exactly 0) is not its own neighbour.

    Returns
    -------
    ndarray
        (n,) A; infinite for a point without a neighbour.
    """
    if len(points) == 0 or len(others) == 0:
        return np.full(len(points), np.inf)
    distances = np.atleast_2d(cKDTree(others).query(points, k=2)[0])
    return np.where(distances[:, 0] > 0, distances[:, 0], distances[:, 1])


def match(points: np.ndarray, truths: np.ndarray, gates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match points to truths one to one: most pairs first, then least total distance.

    Parameters
    ----------
    points : ndarray
        (n, 2), x and y, A.
    truths : ndarray
        (m, 2), x and y, A.
    gates : ndarray
        (m,), A: a pair further apart than its truth's gate is not a candidate.

    Returns
    -------
    tuple of ndarray
        Indices of points (k,), of truths (k,), and the distances of the pairs (k,), A, in the order of the points.
    """
    left, right, distance = _candidates(points, truths, gates)
    if len(left) == 0:
        return left, right, distance
    n, m = len(points), len(truths)
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, n + right)), shape=(n + m, n + m))
    component = connected_components(graph, directed=False)[1][left]
    order = np.argsort(component, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(component[order]) > 0, True])
    chosen = [_assign(left, right, distance, order[start:stop]) for start, stop in itertools.pairwise(starts)]
    pairs = np.concatenate(chosen)
    pairs = pairs[np.argsort(left[pairs])]
    return left[pairs], right[pairs], distance[pairs]


def _candidates(points: np.ndarray, truths: np.ndarray, gates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return every pair within the truth's gate: indices of points and truths, and distances."""
    empty = np.empty(0, dtype=np.int64)
    if len(points) == 0 or len(truths) == 0:
        return empty, empty, np.empty(0)
    found = cKDTree(points).query_ball_point(truths, r=gates * (1 + 1e-9))
    right = np.repeat(np.arange(len(truths)), [len(indices) for indices in found])
    left = np.fromiter((index for indices in found for index in indices), dtype=np.int64, count=len(right))
    distance = np.hypot(*(points[left] - truths[right]).T)
    inside = distance <= gates[right]
    return left[inside], right[inside], distance[inside]


def _assign(left: np.ndarray, right: np.ndarray, distance: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return those of the component's candidate pairs that belong to its best matching."""
    if len(pairs) == 1:
        return pairs
    rows, row = np.unique(left[pairs], return_inverse=True)
    columns, column = np.unique(right[pairs], return_inverse=True)
    most = min(len(rows), len(columns))
    reward = (most + 1) * (1 + distance[pairs].max())  # one more pair outweighs any saving in distance
    cost = np.zeros((len(rows), len(columns)))
    cost[row, column] = distance[pairs] - reward
    where = np.full(cost.shape, -1)
    where[row, column] = pairs
    picked = where[linear_sum_assignment(cost)]
    return picked[picked >= 0]
