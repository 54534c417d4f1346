"""Compiled inversion of the Poisson distribution: the smallest k with F(k; mean) > u. ``poisson.py`` calls these kernels.

Means below 16 are inverted by sequential search, 128 values at a time in vector instructions. For larger means,
Cornish and Fisher's expansion gives the quantile to within a known error. If the quantile is nearer to an integer than
this error, the distribution function F itself decides. F is computed as the sum of its terms or, for means of at least
1000, by Temme's uniform expansion (DLMF 8.12). Below the mean, F is compared with u; above it, 1 - F is compared with
1 - u. Both tails are therefore exact, and the count never decreases when u increases.
"""

import math

import numpy as np

from stemtwin.twin.physics.engine.kernels.jit import kernel, part

LANES = 128  # values searched together
LARGE = 16.0  # least mean that is inverted by expansion
UPPER = 1.0 - 2.0**-10  # least uniform that is compared with the upper tail
TEMME = 1000.0  # least mean whose distribution function is computed by Temme's expansion
NARROW = 0.27  # largest |eta| at which Temme's series below are exact; 8.5 standard deviations at TEMME
MOST_MEAN = 1e9
ROUNDING = 2.0**-49  # rounding error of the quantile, relative to the mean

# Temme's C_0 to C_3 in powers of eta (DLMF 8.12.9 to 8.12.12):
# C_0 = 1/mu - 1/eta and eta C_k = dC_(k-1)/d eta + (-1)^k g_k eta / mu
_C0 = np.array((
    -1 / 3, 1 / 12, -2 / 135, 1 / 864, 1 / 2835, -1.7875514403292181e-4, 3.9192631785224378e-5,
    -2.1854485106799922e-6, -1.8540622107151600e-6, 8.2967113409530860e-7, -1.7665952736826079e-7,
    6.7078535434014986e-9, 1.0261809784240308e-8, -4.3820360184533532e-9, 9.1476995822367902e-10,
))  # fmt: skip
_C1 = np.array((
    -1 / 540, -1 / 288, 1 / 378, -9.9022633744855967e-4, 2.0576131687242798e-4, -4.0187757201646091e-7,
    -1.8098550334489978e-5, 7.6491609160811101e-6, -1.6120900894563446e-6,
))  # fmt: skip
_C2 = np.array((
    4.1335978835978836e-3, -2.6813271604938272e-3, 7.7160493827160494e-4, 2.0093878600823045e-6,
    -1.0736653226365161e-4, 5.2923448829120125e-5,
))  # fmt: skip
_C3 = np.array((6.4943415637860082e-4, 2.2947209362139918e-4, -4.6918949439525571e-4))  # arrays: one function of all, where tuples need four

_DECAYS = np.array([math.exp(-(j + 0.5) / 8) for j in range(int(8 * LARGE) + 1)])

# Wichura's approximations of the normal quantile, highest power first (AS 241, Applied Statistics 37, 477, 1988)
_CENTRE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867, 5394.1960214247511077,
     687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_MIDDLE = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0),
)  # fmt: skip


@part
def _rising(coefficients, x):
    """Return the value of a polynomial, coefficients in ascending order."""
    total = 0.0
    for i in range(len(coefficients) - 1, -1, -1):
        total = total * x + coefficients[i]
    return total


@part
def _ratio(r, both):
    """Return the value of a rational function of degree 7."""
    a, b = both
    above = ((((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * r + a[6]) * r + a[7]
    below = ((((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + b[5]) * r + b[6]) * r + b[7]
    return above / below


@part
def normal_quantile(u):
    """Return the quantile of the normal distribution for 0 < u < 1, to a relative error of about 1e-15."""
    q = u - 0.5
    if abs(q) <= 0.425:
        return q * _ratio(0.180625 - q * q, _CENTRE)
    r = math.sqrt(-math.log(u if q < 0.0 else 1.0 - u))
    w = _ratio(r - 1.6, _MIDDLE) if r <= 5.0 else _ratio(r - 5.0, _FAR)
    return -w if q < 0.0 else w


@part
def _excess(mean, a):
    """Return x - log(1 + x) for 1 + x = mean / a, without cancellation."""
    x, v = (mean - a) / a, (mean - a) / (mean + a)
    if abs(v) > 0.3:
        return x - math.log(mean / a)
    square = v * v
    power, total, j = square, 0.0, 3
    while power > 1e-18:
        total += power / j
        power *= square
        j += 2
    return v * x - 2.0 * v * total


@part
def _probability(k, mean):
    """Return the probability of k counts by Loader's saddle-point expansion (k >= 16) or as a product."""
    if k < 16:
        term = math.exp(-mean)
        for j in range(1, k + 1):
            term *= mean / j
        return term
    s = 1.0 / (k * k)
    stirling = (1.0 / 12 - (1.0 / 360 - (1.0 / 1260 - (1.0 / 1680 - s / 1188) * s) * s) * s) / k
    return math.exp(-k * _excess(mean, 1.0 * k) - stirling) / math.sqrt(2.0 * math.pi * k)


@part
def _temme(a, half, eta, sign):
    """Return the upper (sign 1) or lower (sign -1) incomplete gamma function of order a; ``half`` is eta^2 / 2."""
    series = _rising(_C0, eta) + (_rising(_C1, eta) + (_rising(_C2, eta) + _rising(_C3, eta) / a) / a) / a
    rest = math.exp(-a * half) / math.sqrt(2.0 * math.pi * a) * series
    return 0.5 * math.erfc(sign * eta * math.sqrt(0.5 * a)) + sign * rest


@part
def tail(k, mean, lower):
    """Return F(k; mean) if ``lower``, else 1 - F(k; mean); the smaller of the two is accurate to a few units in the last place.

    F is the Poisson distribution function.
    """
    first, a = k, k + 1.0
    if mean >= TEMME:
        half = _excess(mean, a)
        eta = math.sqrt(2.0 * half) if mean > a else -math.sqrt(2.0 * half)
        if abs(eta) < NARROW:
            return _temme(a, half, eta, 1.0 if lower else -1.0)
    total = term = 1.0
    if lower:
        while term > 1e-18 * total:
            term *= k / mean
            total += term
            k -= 1
        return total * _probability(first, mean)
    j = k + 2.0
    while term > 1e-18 * total:
        term *= mean / j
        total += term
        j += 1.0
    return total * _probability(k + 1, mean)


@part
def exceeds(k, mean, u):
    """Return True if the Poisson distribution function F(k; mean), as evaluated by :func:`tail`, exceeds u."""
    lower = k < mean
    share = tail(k, mean, lower)
    return share > u if lower else share < 1.0 - u


@part
def expanded(mean, w):
    """Return the real number x that solves Q(x, mean) = u to order mean^(-3/2), and a bound on its error.

    Q is the regularised upper incomplete gamma function, and w is the normal quantile of u. Compared with 30-digit
    arithmetic, the error is at most 0.6 of the bound wherever the bound is below 1 / 4.
    """
    s, q = 1.0 / math.sqrt(mean), w * w
    x = mean + w * (mean * s) + (q + 2.0) / 6.0
    second = ((3.0 * q + 7.0) * q - 16.0) / 810.0
    third = w * ((-207.0 * q - 548.0) * q + 2684.0) / 155520.0
    x += s * (-w * (q + 2.0) / 72.0 + s * (second + s * third))
    return x, s * s * s * s * (0.004 + q * (0.02 + q * (0.004 + q * 0.003))) + ROUNDING * mean


@part
def count_large(mean, u):
    """Return the count for a mean of at least 16, by bisection between bounds from an expansion of the quantile function."""
    if u <= 0.0:
        return 0
    x, error = expanded(mean, normal_quantile(u))
    if error > 0.25:  # deep in a tail
        low, high = -1, math.floor(mean + 12.0 * math.sqrt(mean)) + 60
    else:
        low, high = math.floor(x - error) - 1, math.floor(x + error)
    while high - low > 1:
        middle = (low + high) // 2
        if exceeds(middle, mean, u):
            high = middle
        else:
            low = middle
    return high


@part
def _decay(mean):
    """Return exp(-mean) for 0 <= mean < 16, by operations that exist as vector instructions."""
    j = np.uint32(mean * 8.0)
    t = (j + 0.5) * 0.125 - mean
    series = 1 / 24 + t * (1 / 120 + t * (1 / 720 + t * (1 / 5040 + t / 40320)))
    return _DECAYS[j] * (1.0 + t * (1.0 + t * (1 / 2 + t * (1 / 6 + t * series))))


@part
def count_small(mean, u):
    """Return the count for a mean below 16 by sequential search, which uses the upper tail if 1 - u is at most 2^-10."""
    k, term = 0, _decay(mean)
    total = term
    inside = u < UPPER
    most = u if inside else UPPER
    while most >= total:
        term *= mean * (1.0 / (k + 1))
        total += term
        k += 1
    if not inside:
        while tail(k, mean, inside) >= 1.0 - u:
            k += 1
    return k


@part
def _search_lanes(rate, value, term, total, count):
    """Increase each count until its sum of probabilities exceeds its uniform."""
    going, k = 1, 0
    while going > 0:
        k += 1
        share, going = 1.0 / k, 0
        for i in range(LANES):
            hit = np.int64(value[i] >= total[i])
            more = term[i] * (rate[i] * share)
            term[i] = more
            total[i] += more
            count[i] += hit
            going += hit


@part
def _expand_lanes(rate, value, count):
    """Write the counts of large means whose uniform is central and whose count the expansion determines."""
    for i in range(LANES):
        q, a = value[i] - 0.5, rate[i] if rate[i] > LARGE else LARGE
        x, error = expanded(a, q * _ratio(0.180625 - q * q, _CENTRE))
        sure = (abs(q) <= 0.425) & (rate[i] >= LARGE) & (abs(x - math.floor(x + 0.5)) > error)
        count[i] = np.int64(x) if sure else count[i]


@part
def _prepare_lanes(mean, uniforms, rate, value, term, total, count):
    """Load a block, padded with zeros; return the numbers of small means, of large means and of valid values.

    A count of -1 marks a lane that the search of the lanes does not handle.
    """
    size = len(mean)
    for i in range(size):
        rate[i], value[i] = mean[i], uniforms[i]
    for i in range(size, LANES):
        rate[i], value[i] = 0.0, 0.0
    small = large = right = 0
    for i in range(LANES):
        a, u = rate[i], value[i]
        lane = (a < LARGE) & (u < UPPER)
        right += (a >= 0.0) & (a <= MOST_MEAN) & (u >= 0.0) & (u < 1.0)
        small += lane
        large += a >= LARGE
        term[i] = _decay(a if lane and a > 0.0 else 0.0)
        total[i] = term[i] if lane else 2.0  # above every uniform
        count[i] = 0 if lane else -1
    return small, large, right


@part
def _finish_lanes(rate, value, count):
    """Compute the counts of the remaining lanes one by one."""
    for i in range(LANES):
        if count[i] < 0:
            count[i] = count_large(rate[i], value[i]) if rate[i] >= LARGE else count_small(rate[i], value[i])


def scratch() -> tuple[np.ndarray, np.ndarray]:
    """Return working memory for :func:`invert`, which compiles in less time because it allocates no memory itself."""
    return np.empty((4, LANES)), np.empty(LANES, np.int64)


@kernel
def invert(mean, uniforms, out, most, floats, count):
    """Write the Poisson count for each mean and its uniform number to ``out``; return -1, or the start of an invalid block.

    ``mean``, ``uniforms`` and ``out`` are 1-D arrays of equal length. Blocks of 128 elements are processed one after
    another. At a block with an invalid mean, an invalid uniform number or a count above ``most``, the function stops and
    returns the index of the block's first element. ``floats`` and ``count`` are working memory from :func:`scratch`.
    """
    rate, value, term, total = floats[0], floats[1], floats[2], floats[3]
    for start in range(0, len(mean), LANES):
        # slices, because an index that could be negative prevents vector instructions in a loop
        here = out[start : start + LANES]
        small, large, right = _prepare_lanes(mean[start : start + LANES], uniforms[start : start + LANES], rate, value, term, total, count)
        if right < LANES:
            return start
        if small > 0:
            _search_lanes(rate, value, term, total, count)
        if large > 0:
            _expand_lanes(rate, value, count)
        if small < LANES:
            _finish_lanes(rate, value, count)
        highest = 0
        for i in range(len(here)):
            highest = count[i] if count[i] > highest else highest
            here[i] = count[i]
        if highest > most:
            return start
    return -1
