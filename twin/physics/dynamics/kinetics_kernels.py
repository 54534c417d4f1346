"""Compiled kernels of the kinetics: the dose of a path at a point, and the conditions and actions of rules.

The loop over events is in ``event_loop.py``. The path of the beam is a binary tree in time. A leaf contains eight
consecutive points, and each node stores the electrons, the centre and the radius of the points below it. A node far
from an atom is treated as one point, so the dose from the probe's tails can be computed for the whole specimen.
"""

import math

import numpy as np

from stemtwin.twin.physics.engine.kernels.jit import kernel, part

LEAF = 8  # points in a leaf of the tree
# distance, in radii of a node, beyond which the node is treated as one point if the atom is also outside the probe's
# core; the error is about 5 % of the tail's dose, and the tail holds about 2 % of the current
APART = 3.0
# radius of a node, as a fraction of the cell, up to which all its points are assigned the nearest image of its centre,
# although about half a cell away other images of some points are nearer
SMALL = 0.05
ANY, NOTHING = -1, -2  # in rules: no condition, no partner
EJECT, BECOME, EXCHANGE, ROTATE = 0, 1, 2, 3
(
    ELEMENT, LEAST, MOST, LABEL, BESIDE, APART_FROM, FACE, PARTNER, PARTNER_LEAST, PARTNER_MOST, PARTNER_LABEL, LINK, ACTION, PRODUCT,
    PRODUCT_LABEL, GROUP,
) = range(16)  # fmt: skip
"""Columns of the table of rules."""
COLUMNS = 16


@part
def _cubic(t):
    return (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


@part
def density_at(dx, dy, table, law):
    """Return the current density per unit of current at (dx, dy) from the probe, 1/A^2; ``law`` is ``Density.law``."""
    r2 = dx * dx + dy * dy
    if table.shape[0] == 0:
        exponent = r2 * law[0]
        return law[1] * math.exp(-exponent) if exponent < 60.0 else 0.0
    if r2 >= law[4]:
        return law[5] / (r2 * math.sqrt(r2))
    u, v = dx * law[2] + law[3], dy * law[2] + law[3]
    i, j = int(v), int(u)
    a0, a1, a2, a3 = _cubic(v - i)
    b0, b1, b2, b3 = _cubic(u - j)
    total = a0 * (b0 * table[i - 1, j - 1] + b1 * table[i - 1, j] + b2 * table[i - 1, j + 1] + b3 * table[i - 1, j + 2])
    total += a1 * (b0 * table[i, j - 1] + b1 * table[i, j] + b2 * table[i, j + 1] + b3 * table[i, j + 2])
    total += a2 * (b0 * table[i + 1, j - 1] + b1 * table[i + 1, j] + b2 * table[i + 1, j + 1] + b3 * table[i + 1, j + 2])
    total += a3 * (b0 * table[i + 2, j - 1] + b1 * table[i + 2, j] + b2 * table[i + 2, j + 1] + b3 * table[i + 2, j + 2])
    return max(total, 0.0)


@part
def wrapped(d, length):
    """Return the difference ``d`` of two coordinates, taken to the nearest periodic image; a length of 0 means no period."""
    return d - length * round(d / length) if length > 0.0 else d


@kernel
def build_tree(points):
    """Return the nodes, shape (2 S, 4), of the tree of a path, where S is a power of two.

    The columns of ``points``, shape (p, 3), are x and y (A) and electrons. The columns of the nodes are electrons, x and
    y of the centre, and radius (A).
    """
    leaves = (len(points) + LEAF - 1) // LEAF
    size = 1
    while size < leaves:
        size *= 2
    nodes = np.zeros((2 * size, 4))
    for leaf in range(leaves):
        node = nodes[size + leaf]
        first, last = leaf * LEAF, min(leaf * LEAF + LEAF, len(points))
        low_x = high_x = points[first, 0]
        low_y = high_y = points[first, 1]
        for p in range(first, last):
            weight = points[p, 2]
            node[0] += weight
            node[1] += weight * points[p, 0]
            node[2] += weight * points[p, 1]
            low_x, high_x = min(low_x, points[p, 0]), max(high_x, points[p, 0])
            low_y, high_y = min(low_y, points[p, 1]), max(high_y, points[p, 1])
        if node[0] > 0:
            node[1] /= node[0]
            node[2] /= node[0]
        for p in range(first, last):
            if points[p, 2] > 0:
                node[3] = max(node[3], math.hypot(points[p, 0] - node[1], points[p, 1] - node[2]))
    for i in range(size - 1, 0, -1):
        a, b, node = nodes[2 * i], nodes[2 * i + 1], nodes[i]
        node[0] = a[0] + b[0]
        if node[0] > 0:
            node[1] = (a[0] * a[1] + b[0] * b[1]) / node[0]
            node[2] = (a[0] * a[2] + b[0] * b[2]) / node[0]
        for k in range(2):
            child = nodes[2 * i + k]
            if child[0] > 0:
                node[3] = max(node[3], math.hypot(child[1] - node[1], child[2] - node[2]) + child[3])
    return nodes


@part
def _near_one_image(d, radius, length):
    """Return whether one image of a node is the nearest for all its points, exactly or to the accuracy of the tail."""
    return length <= 0.0 or abs(d) + radius < 0.5 * length or radius < SMALL * length


@part
def node_dose(start, x, y, points, nodes, table, law, size, stack):
    """Return the dose at (x, y) from all points below a node of the path's tree, electrons / A^2."""
    leaves = len(nodes) // 2
    total, depth = 0.0, 1
    stack[0] = start
    while depth > 0:
        depth -= 1
        i = stack[depth]
        weight = nodes[i, 0]
        if weight == 0.0:
            continue
        radius = nodes[i, 3]
        dx, dy = wrapped(x - nodes[i, 1], size[0]), wrapped(y - nodes[i, 2], size[1])
        within = _near_one_image(dx, radius, size[0]) and _near_one_image(dy, radius, size[1])
        reach = max(APART * radius, radius + law[6])
        if radius == 0.0 or (within and dx * dx + dy * dy > reach * reach):
            total += weight * density_at(dx, dy, table, law)
        elif i < leaves:
            stack[depth] = 2 * i + 1
            stack[depth + 1] = 2 * i
            depth += 2
        else:
            first = (i - leaves) * LEAF
            for p in range(first, min(first + LEAF, len(points))):
                weight = points[p, 2]
                if weight > 0.0:
                    total += weight * density_at(wrapped(x - points[p, 0], size[0]), wrapped(y - points[p, 1], size[1]), table, law)
    return total


@kernel
def doses(xy, points, nodes, table, law, size):
    """Return the dose of the path ``points`` at each of the positions ``xy`` (n, 2), electrons / A^2, shape (n,)."""
    stack = np.empty(64, np.int64)
    out = np.empty(len(xy))
    for i in range(len(xy)):
        out[i] = node_dose(1, xy[i, 0], xy[i, 1], points, nodes, table, law, size, stack)
    return out


# ---- rules -------------------------------------------------------------------------------------------------------------------------------


@part
def _coordination(i, numbers, links, kinds):
    count = 0
    for k in range(links.shape[1]):
        j = links[i, k]
        if j >= 0 and kinds[i, k] == 0 and numbers[j] > 0:
            count += 1
    return count


@part
def _has_beside(i, number, numbers, links, kinds):
    for k in range(links.shape[1]):
        j = links[i, k]
        if j >= 0 and kinds[i, k] == 0 and numbers[j] == number:
            return True
    return False


@part
def _face(i, positions, links, kinds):
    """Return 1 for a site behind the mean of its neighbours along the beam, -1 for one in front of it, otherwise 0."""
    total = 0.0
    for k in range(links.shape[1]):
        j = links[i, k]
        if j >= 0 and kinds[i, k] == 0:
            total += positions[i, 2] - positions[j, 2]
    return 1 if total > 1e-6 else (-1 if total < -1e-6 else 0)


@part
def fits(rule, i, numbers, labels, positions, links, kinds):
    """Return True if a site meets the conditions of a rule; conditions on the partner are not checked."""
    if numbers[i] != rule[ELEMENT] or (rule[LABEL] >= 0 and labels[i] != rule[LABEL]):
        return False
    if rule[LEAST] > 0 or rule[MOST] < 99:
        bonds = _coordination(i, numbers, links, kinds)
        if bonds < rule[LEAST] or bonds > rule[MOST]:
            return False
    if rule[BESIDE] >= 0 and not _has_beside(i, rule[BESIDE], numbers, links, kinds):
        return False
    if rule[APART_FROM] >= 0 and _has_beside(i, rule[APART_FROM], numbers, links, kinds):
        return False
    return rule[FACE] == 0 or _face(i, positions, links, kinds) == rule[FACE]


@part
def fits_partner(rule, i, k, numbers, labels, links, kinds):
    """Return True if the site at the end of link ``k`` meets the rule's conditions on the partner."""
    j = links[i, k]
    if j < 0 or kinds[i, k] != rule[LINK] or numbers[j] != rule[PARTNER]:
        return False
    if rule[PARTNER_LABEL] >= 0 and labels[j] != rule[PARTNER_LABEL]:
        return False
    bonds = _coordination(j, numbers, links, kinds) if rule[PARTNER_LEAST] > 0 or rule[PARTNER_MOST] < 99 else rule[PARTNER_LEAST]
    return rule[PARTNER_LEAST] <= bonds <= rule[PARTNER_MOST]


@part
def compete(i, rules, matter, own):
    """Write the number of possible events and the cross-section of each process at site ``i`` to ``own``, shape (2, r).

    If the site meets the conditions of a process, the number is that of suitable partners, or 1 if the process needs no
    partner. Otherwise it is 0. The cross-section, A^2, excludes the energy transfers of processes with higher
    thresholds; see ``Branching``.
    """
    table, sigma, above, chances, parts = rules[0], rules[1], rules[4], rules[5], rules[6]
    numbers, labels, positions, links, kinds = matter
    for r in range(len(table)):
        own[0, r], own[1, r] = 0.0, sigma[r]
        if not fits(table[r], i, numbers, labels, positions, links, kinds):
            continue
        if table[r, PARTNER] == NOTHING:
            own[0, r] = 1.0
            continue
        for k in range(links.shape[1]):
            if fits_partner(table[r], i, k, numbers, labels, links, kinds):
                own[0, r] += 1.0
    for r in range(len(table)):
        taken = 0.0
        for b in range(parts.shape[1]):
            if own[0, r] > 0.0 and parts[r, b] > 0.0:
                left = 1.0
                for q in range(len(table)):
                    if above[r, q]:
                        left *= 1.0 - min(own[0, q] * chances[q, b], 1.0)
                taken += parts[r, b] * (1.0 - left)
        if taken > 0.0:
            own[1, r] = max(sigma[r] - taken, 0.0)


@part
def place(i, k, fraction, positions, links, size, out):
    """Write to ``out`` the point whose dose determines the rate of an event: the atom, or a point between atom and partner."""
    out[0], out[1] = positions[i, 0], positions[i, 1]
    if k >= 0:
        j = links[i, k]
        out[0] -= (1.0 - fraction) * wrapped(positions[i, 0] - positions[j, 0], size[0])
        out[1] -= (1.0 - fraction) * wrapped(positions[i, 1] - positions[j, 1], size[1])


@part
def _rotate(i, j, positions, links, kinds, numbers, size):
    """Rotate the bond i-j by 90 degrees about its centre, and exchange one neighbour of i with one of j.

    Return False, without any change, if i and j do not both have two other neighbours, or share one.
    """
    own, other = np.full(2, -1, np.int64), np.full(2, -1, np.int64)
    found = np.zeros(2, np.int64)
    for side in range(2):
        a, b = (i, j) if side == 0 else (j, i)
        for k in range(links.shape[1]):
            c = links[a, k]
            if c >= 0 and c != b and kinds[a, k] == 0 and numbers[c] > 0:
                if found[side] == 2:
                    return False
                (own if side == 0 else other)[found[side]] = c
                found[side] += 1
    if found[0] != 2 or found[1] != 2:
        return False
    for c in own:
        if c == other[0] or c == other[1]:
            return False
    dx, dy = 0.5 * wrapped(positions[j, 0] - positions[i, 0], size[0]), 0.5 * wrapped(positions[j, 1] - positions[i, 1], size[1])
    cx, cy, cz = positions[i, 0] + dx, positions[i, 1] + dy, 0.5 * (positions[i, 2] + positions[j, 2])
    positions[i, 0], positions[i, 1], positions[i, 2] = cx + dy, cy - dx, cz
    positions[j, 0], positions[j, 1], positions[j, 2] = cx - dy, cy + dx, cz
    # on the side to which i moves lie one neighbour of i, which i keeps, and one of j, which i takes; j likewise
    given = own[0] if _along(own[0], dy, -dx, cx, cy, positions, size) < _along(own[1], dy, -dx, cx, cy, positions, size) else own[1]
    taken = other[0] if _along(other[0], dy, -dx, cx, cy, positions, size) > _along(other[1], dy, -dx, cx, cy, positions, size) else other[1]
    _relink(i, given, taken, links)
    _relink(j, taken, given, links)
    _relink(given, i, j, links)
    _relink(taken, j, i, links)
    return True


@part
def _along(c, ux, uy, cx, cy, positions, size):
    return wrapped(positions[c, 0] - cx, size[0]) * ux + wrapped(positions[c, 1] - cy, size[1]) * uy


@part
def _relink(i, old, new, links):
    for k in range(links.shape[1]):
        if links[i, k] == old:
            links[i, k] = new
            return


@part
def act(rule, i, j, numbers, labels, positions, links, kinds, size):
    """Apply the action of a rule to site i and its partner j (-1: none); return True if the action was possible."""
    action = rule[ACTION]
    if action == EJECT:
        numbers[i] = 0
    elif action == BECOME:
        numbers[i] = rule[PRODUCT]
    elif action == EXCHANGE:
        numbers[i], numbers[j] = numbers[j], numbers[i]
        labels[i], labels[j] = labels[j], labels[i]
    elif not _rotate(i, j, positions, links, kinds, numbers, size):
        return False
    if rule[PRODUCT_LABEL] >= 0:
        labels[i] = rule[PRODUCT_LABEL]
        if j >= 0:
            labels[j] = rule[PRODUCT_LABEL]
    return True


@part
def grown(log, spots):
    """Return copies of two tables of five columns, each with twice as many rows."""
    more, further = np.empty((2 * len(log), 5), np.int64), np.empty((2 * len(log), 5))
    for e in range(len(log)):  # element by element, as numba takes seconds to compile slices
        for c in range(5):
            more[e, c], further[e, c] = log[e, c], spots[e, c]
    return more, further


@kernel
def list_channels(rules, matter, size):
    """Return the c possible events of a specimen as three arrays.

    The first array, shape (c, 3), contains the rule, the site and the index of the link to the partner (-1: none). The
    second array, shape (c, 2), contains the point whose dose determines the rate of the event, A. The third array,
    shape (c,), contains the cross-section, A^2.
    """
    table, fractions = rules[0], rules[3]
    numbers, labels, positions, links, kinds = matter
    count, capacity = 0, 256
    found, where = np.empty((capacity, 5), np.int64), np.empty((capacity, 5))
    point, own = np.empty(2), np.empty((2, len(table)))
    for i in range(len(numbers)):
        compete(i, rules, matter, own)
        for r in range(len(table)):
            if own[0, r] == 0.0:
                continue
            pair = table[r, PARTNER] != NOTHING
            for k in range(links.shape[1] if pair else 1):
                if pair and not fits_partner(table[r], i, k, numbers, labels, links, kinds):
                    continue
                if count == capacity:
                    found, where = grown(found, where)
                    capacity *= 2
                group = table[r, GROUP]
                place(i, k if group > 0 else -1, fractions[group], positions, links, size, point)
                found[count, 0], found[count, 1], found[count, 2] = r, i, k if pair else -1
                where[count, 0], where[count, 1], where[count, 2] = point[0], point[1], own[1, r]
                count += 1
    return found[:count, :3], where[:count, :2], where[:count, 2]
