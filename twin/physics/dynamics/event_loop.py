"""Compiled loop over the events of the damage kinetics.

The loop is the next-reaction method (Gibson and Bruck, J. Phys. Chem. A 104 (2000) 1876) for time-dependent rates
(Anderson, J. Chem. Phys. 127 (2007) 214107). Each clock represents all processes whose rates depend on the dose at the
same point of the specimen. A clock fires when its integrated rate (cross-section times dose plus spontaneous rate times
time) reaches a random number from the exponential distribution. After an event, new numbers are drawn only for the
clocks whose rates the event changed.
"""

import math

import numpy as np

from stemtwin.twin.physics.dynamics.kinetics_kernels import (
    ACTION,
    GROUP,
    LEAF,
    NOTHING,
    PARTNER,
    ROTATE,
    act,
    compete,
    density_at,
    fits_partner,
    grown,
    node_dose,
    place,
    wrapped,
)
from stemtwin.twin.physics.engine.kernels.jit import kernel, part

NEVER = math.inf
# Factor of the total integrated rate beyond which a draw certainly does not fire. The total and the sum over blocks
# differ by much less.
SURE = 1.1

# path: points, nodes, starts (start time of each point of a pass, and the end), block_time, table, law, size, stack
# matter: numbers, labels, positions, links, kinds (copies that the loop changes)
# rules: table, cross-sections, spontaneous rates, fractions of the way, and the arrays of ``Branching``; see
#        ``Rules.arrays``
# own: number of matching partners and cross-section of each rule at one site (``compete``)
# clocks: weight of the dose, weight of the time, (pass, point) and fraction of the dwell at which it fires, tournament
#         tree of times, cumulative dose at the ends of blocks, whether that row is known, dose of one pass (nan:
#         unknown). Clock i is at site i; clocks for points beside the atom follow.


@part
def _clock_point(m, matter, rules, size, out):
    n, width = len(matter[0]), matter[3].shape[1]
    if m < n:
        out[0], out[1] = matter[2][m, 0], matter[2][m, 1]
        return
    wide = width * (len(rules[3]) - 1)
    i, rest = (m - n) // wide, (m - n) % wide
    place(i, rest % width, rules[3][1 + rest // width], matter[2], matter[3], size, out)


@part
def _row(m, matter, rules, clocks, path, out):
    """Return the cumulative dose at a clock's point at the ends of blocks, and set ``out`` to the point."""
    points, nodes, _, block_time, table, law, size, stack = path
    rows, known = clocks[5], clocks[6]
    _clock_point(m, matter, rules, size, out)
    row = rows[m]
    if not known[m]:
        blocks = len(block_time) - 1
        row[0] = 0.0
        for b in range(blocks):
            row[b + 1] = row[b] + node_dose(blocks + b, out[0], out[1], points, nodes, table, law, size, stack)
        known[m] = True
    return row


@part
def _whole(m, matter, rules, clocks, path, repeats, at):
    """Return the dose of one pass at a clock's point; for a single pass, the doses of blocks are not computed."""
    if repeats > 1 or clocks[6][m]:
        return _row(m, matter, rules, clocks, path, at)[-1]
    if not clocks[7][m] >= 0.0:
        points, nodes, _, _, table, law, size, stack = path
        _clock_point(m, matter, rules, size, at)
        clocks[7][m] = node_dose(1, at[0], at[1], points, nodes, table, law, size, stack)
    return clocks[7][m]


@part
def _gain(p, a, s, at, path):
    """Return the integrated rate over the whole dwell at one point of the path."""
    points, _, starts, _, table, law, size, _ = path
    gain = s * (starts[p + 1] - starts[p])
    if a > 0.0 and points[p, 2] > 0.0:
        gain += a * points[p, 2] * density_at(wrapped(at[0] - points[p, 0], size[0]), wrapped(at[1] - points[p, 1], size[1]), table, law)
    return gain


@part
def _until(p, f, a, s, row, at, path):
    """Return the integrated rate of one pass up to the fraction f of the dwell at point p."""
    block_time = path[3]
    per = LEAF * (len(path[1]) // 2) // (len(block_time) - 1)
    b = p // per
    total = a * row[b] + s * block_time[b]
    for q in range(b * per, p):
        total += _gain(q, a, s, at, path)
    return total + f * _gain(p, a, s, at, path)


@part
def _reach(rest, a, s, row, at, path):
    """Return the point, and the fraction of its dwell, at which the integrated rate of one pass reaches ``rest``."""
    block_time = path[3]
    per = LEAF * (len(path[1]) // 2) // (len(block_time) - 1)
    low, high = 0, len(block_time) - 2
    while low < high:
        middle = (low + high) // 2
        if a * row[middle + 1] + s * block_time[middle + 1] >= rest:
            high = middle
        else:
            low = middle + 1
    total, last = a * row[low] + s * block_time[low], low * per
    for p in range(low * per, min((low + 1) * per, len(path[0]))):
        gain = _gain(p, a, s, at, path)
        if gain > 0.0:
            if total + gain >= rest:
                return p, max((rest - total) / gain, 0.0)
            total, last = total + gain, p
    return last, 1.0


@part
def _set_time(m, value, times):
    i = len(times) // 2 + m
    times[i] = value
    i //= 2
    while i > 0:
        times[i] = min(times[2 * i], times[2 * i + 1])
        i //= 2


@part
def _draw(m, now, matter, rules, clocks, path, repeats, rng, at):
    """Draw the next firing of a clock that has not fired before ``now`` (pass, point, fraction of its dwell)."""
    weights, spontaneous, when, part_of, times = clocks[0], clocks[1], clocks[2], clocks[3], clocks[4]
    a, s = weights[m], spontaneous[m]
    fires = NEVER
    starts = path[2]
    whole = a * _whole(m, matter, rules, clocks, path, repeats, at) + s * starts[-1] if a > 0.0 or s > 0.0 else 0.0
    if whole > 0.0:
        drawn = rng.standard_exponential()
        if drawn < SURE * whole * (repeats - now[0]):  # only these few clocks need the doses of blocks
            row = _row(m, matter, rules, clocks, path, at)
            whole = a * row[-1] + s * starts[-1]
            goal = drawn + (_until(int(now[1]), now[2], a, s, row, at, path) if now[1] > 0 or now[2] > 0 else 0.0)
            passes = int(min(goal / whole, 1e15)) if whole > 0.0 else repeats
            if now[0] + passes < repeats:
                p, f = _reach(goal - passes * whole, a, s, row, at, path)
                when[m, 0], when[m, 1], part_of[m] = int(now[0]) + passes, p, f
                fires = when[m, 0] * starts[-1] + starts[p] + f * (starts[p + 1] - starts[p])
    _set_time(m, fires, times)


@part
def _refresh(i, fired, moved, now, matter, rules, clocks, path, repeats, rng, scratch, own, at):
    """Recompute the rates of a site, and redraw its clocks that fired, moved, or have a different rate."""
    numbers, labels, _, links, kinds = matter
    table, rates, fractions = rules[0], rules[2], rules[3]
    width, n = links.shape[1], len(numbers)
    wide = width * (len(fractions) - 1)
    scratch[:] = 0.0
    compete(i, rules, matter, own)
    sigma = own[1]
    for r in range(len(table)):
        if (sigma[r] <= 0.0 and rates[r] <= 0.0) or own[0, r] == 0.0:
            continue
        if table[r, PARTNER] == NOTHING:
            scratch[0, 0] += sigma[r]
            scratch[0, 1] += rates[r]
            continue
        group = table[r, GROUP]
        for k in range(width):
            if fits_partner(table[r], i, k, numbers, labels, links, kinds):
                scratch[0 if group == 0 else 1 + (group - 1) * width + k, 0] += sigma[r]
                scratch[0, 1] += rates[r]
    for c in range(1 + wide):
        m = i if c == 0 else n + i * wide + c - 1
        changed = scratch[c, 0] != clocks[0][m] or scratch[c, 1] != clocks[1][m]
        if changed or moved or m == fired:
            clocks[0][m], clocks[1][m] = scratch[c, 0], scratch[c, 1]
            _draw(m, now, matter, rules, clocks, path, repeats, rng, at)


@part
def _choose(m, p, matter, rules, path, rng, own, at):
    """Draw the rule and the slot of the partner (-1: none) of a firing clock, by their rates at that moment."""
    numbers, labels, _, links, kinds = matter
    table, rates, fractions = rules[0], rules[2], rules[3]
    n, width = len(numbers), links.shape[1]
    wide = width * (len(fractions) - 1)
    i, group, slot = (m, 0, -1) if m < n else ((m - n) // wide, 1 + (m - n) % wide // width, (m - n) % wide % width)
    compete(i, rules, matter, own)
    sigma = own[1]
    _clock_point(m, matter, rules, path[6], at)
    time = path[2][p + 1] - path[2][p]
    flux = _gain(p, 1.0, 0.0, at, path) / time if time > 0.0 else 0.0
    # the sum of all rates first, then the rule at a drawn fraction of it; with no current, cross-sections alone decide
    for trial in range(3):
        if trial == 0:
            goal, total = NEVER, 0.0
        elif trial == 1:
            if total <= 0.0:
                flux = 1.0
            goal, total = NEVER, 0.0
        else:
            goal, total = rng.random() * total, 0.0
        for r in range(len(table)):
            if own[0, r] == 0.0:
                continue
            pair, mine = table[r, PARTNER] != NOTHING, table[r, GROUP]
            for k in range(width if pair else 1):
                if pair and not fits_partner(table[r], i, k, numbers, labels, links, kinds):
                    continue
                share = sigma[r] * flux if mine == group and (group == 0 or k == slot) else 0.0
                share += rates[r] if group == 0 else 0.0
                total += share
                if share > 0.0 and total >= goal:
                    return r, (k if pair else -1)
    return -1, -1


@part
def _gather(i, j, second, links, mark, stamp, out):
    """List the sites whose rates may change by an event at i and j; return their number.

    They are i, j and their neighbours, with ``second`` also the neighbours' neighbours.
    """
    count = 0
    for seed in (i, j):
        if seed >= 0 and mark[seed] != stamp:
            mark[seed] = stamp
            out[count] = seed
            count += 1
    start = 0
    for _ in range(2 if second else 1):
        stop = count
        for c in range(start, stop):
            for k in range(links.shape[1]):
                site = links[out[c], k]
                if site >= 0 and mark[site] != stamp:
                    mark[site] = stamp
                    out[count] = site
                    count += 1
        start = stop
    return count


@part
def _forget(affected, count, n, wide, clocks):
    """Discard the doses at sites that moved or whose partners moved."""
    for c in range(count):
        clocks[6][affected[c]], clocks[7][affected[c]] = False, math.nan
        for slot in range(wide):
            m = n + affected[c] * wide + slot
            clocks[6][m], clocks[7][m] = False, math.nan


@part
def _doses(matter, rules, clocks, path, repeats, at):
    """Return the dose of all passes at every site."""
    dose = np.empty(len(matter[0]))
    for i in range(len(dose)):
        dose[i] = repeats * _whole(i, matter, rules, clocks, path, repeats, at)
    return dose


@kernel
def run(path, matter, rules, repeats, blocks, second, limit, rng, whole):
    """Simulate the events along a path, apply them to ``matter``, and return the events, as two tables, and the dose at each site.

    The columns of the tables are (rule, site, partner, both atomic numbers before the event) and (time, x, y, z, dose).
    ``whole`` is the dose that each site receives in one of the ``repeats`` passes over the path, nan if unknown. The
    returned dose is the sum over all passes, or an empty array if the number of events reached ``limit``.
    """
    numbers, labels, positions, links, kinds = matter
    table, fractions = rules[0], rules[3]
    n, width = links.shape
    wide = width * (len(fractions) - 1)
    count = n * (1 + wide)
    leaves = 1
    while leaves < count:
        leaves *= 2
    clocks = (
        np.zeros(count), np.zeros(count), np.zeros((count, 2), np.int64), np.zeros(count), np.full(2 * leaves, NEVER), np.empty((count, blocks + 1)),
        np.zeros(count, np.bool_), np.full(count, math.nan),
    )  # fmt: skip
    for i in range(n):
        clocks[7][i] = whole[i]
    scratch, own, at, now = np.zeros((1 + wide, 2)), np.empty((2, len(table))), np.empty(2), np.zeros(3)
    mark, affected = np.full(n, -1, np.int64), np.empty(n, np.int64)
    log, spots = np.empty((256, 5), np.int64), np.empty((256, 5))
    done, stamp = 0, 0
    fired, turned = done - 1, done > 0  # numba would compile once more for literals
    for i in range(n):
        _refresh(i, fired, turned, now, matter, rules, clocks, path, repeats, rng, scratch, own, at)
    while done < limit and clocks[4][1] < NEVER:
        node = 1
        while node < leaves:
            node = 2 * node if clocks[4][2 * node] <= clocks[4][2 * node + 1] else 2 * node + 1
        m = node - leaves
        now[0], now[1], now[2] = clocks[2][m, 0], clocks[2][m, 1], clocks[3][m]
        time, p = clocks[4][node], clocks[2][m, 1]
        i = m if m < n else (m - n) // wide
        r, k = _choose(m, p, matter, rules, path, rng, own, at)
        j = links[i, k] if k >= 0 else -1
        if done == len(log):
            log, spots = grown(log, spots)
        log[done, 0], log[done, 1], log[done, 2], log[done, 3], log[done, 4] = r, i, j, numbers[i], numbers[j] if j >= 0 else 0
        row = _row(i, matter, rules, clocks, path, at)
        spots[done, 0], spots[done, 1], spots[done, 2], spots[done, 3] = time, positions[i, 0], positions[i, 1], positions[i, 2]
        spots[done, 4] = now[0] * row[-1] + _until(p, now[2], 1.0, 0.0, row, at, path)
        stamp += 1
        changed = _gather(i, j, second or table[r, ACTION] == ROTATE, links, mark, stamp, affected)
        turned = False
        if r >= 0 and act(table[r], i, j, numbers, labels, positions, links, kinds, path[6]):
            done += 1
            turned = table[r, ACTION] == ROTATE
        if turned:
            _forget(affected, changed, n, wide, clocks)
        for c in range(changed):
            _refresh(affected[c], m, turned, now, matter, rules, clocks, path, repeats, rng, scratch, own, at)
    dose = np.empty(0)
    if done < limit:
        dose = _doses(matter, rules, clocks, path, repeats, at)
    return log[:done], spots[:done], dose
