"""Lower bounds on the residual phase after correction by estimated aberrations: Bayesian bounds of ``ronchigram`` under the dataset card's prior.

The first bound is van Trees' inequality [1]_ for the mean square error of any estimate: the mean outer product of the errors is at least the inverse
of the total information, which is the mean information of the counts plus the information of the prior. The bound assumes that the film is known. In
the task the film is unknown, so the bound holds for all methods, but no method comes close to it. The prior is a normal distribution of unknown
spread. Its information is at most the mean information of normal distributions with the possible spreads, because information is convex.

The metric ``residual_phase`` is a mean of root mean squares and not the root of a mean square, so it may lie below the first bound. The second
bound applies to the metric itself. It is the bound of Ziv and Zakai (:mod:`stemtwin.benchmarks.error_bounds`) on the mean absolute error of the least
certain combination of the coefficients. The root mean square phase is at least the absolute value of this error. The second bound also assumes that
the spread is known.

``python -m stemtwin.benchmarks.wavefront_bound`` computes both bounds for samples of the test split and prints them.

References
----------
.. [1] H. L. van Trees, Detection, Estimation, and Modulation Theory I (1968), section 2.4.3.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

import numpy as np

from stemtwin.benchmarks.error_bounds import normal_mean_absolute
from stemtwin.datasets.cards import Card, find_card
from stemtwin.datasets.generators.ronchigram import COEFFICIENTS, RonchigramSpecimen, draw_condition, expected
from stemtwin.datasets.kinds import find_generator
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.electrons import wavelength
from stemtwin.twin.physics.phase_error import phase_covariance

STEP = 0.02
"""Step of the differences, in the prior's standard deviations."""
LEAST_COUNT = 1e-6


def poisson_information(mean: Callable[[np.ndarray], np.ndarray], at: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the Fisher information of Poisson counts about n parameters, (n, n), from central differences of the expected counts.

    Parameters
    ----------
    mean : callable
        Function of the parameters (n,) that returns expected counts of any shape.
    at, steps : ndarray
        (n,) point of evaluation, and steps of the differences.
    """
    slopes = np.stack([((mean(at + step) - mean(at - step)) / 2).ravel() for step in np.diag(steps)]) / steps[:, None]
    return (slopes / np.maximum(mean(at).ravel(), LEAST_COUNT)) @ slopes.T


def prior_information(card: Card) -> np.ndarray:
    """Return the prior's information on the coefficients, averaged over the unknown spread of the prior, (12, 12), 1/A^2."""
    low, high = card.generator.spread
    inverse_square = (low**-2 - high**-2) / (2 * np.log(high / low)) if high > low else low**-2
    return np.diag(inverse_square / card.generator.sigmas() ** 2)


def phase_weights(semiangle_mrad: float, energy_ev: float) -> np.ndarray:
    """Return the matrix of the quadratic form that gives the mean square phase in an aperture from the coefficients, (12, 12), rad^2/A^2."""
    names = list(Aberrations().cartesian())
    rows = [names.index(name) for name in COEFFICIENTS]
    return phase_covariance(wavelength(energy_ev), semiangle_mrad * 1e-3)[np.ix_(rows, rows)]


def least_phase(information: Sequence[np.ndarray], prior: np.ndarray, semiangle_mrad: float, energy_ev: float) -> float:
    """Return the van Trees bound on the rms residual phase in an aperture, rad; the mean square is over all samples.

    Parameters
    ----------
    information : sequence of ndarray
        Information of the counts of each row, (12, 12), 1/A^2.
    prior : ndarray
        (12, 12) information of the prior.
    semiangle_mrad, energy_ev : float
        Reference aperture [mrad] and beam energy [eV].
    """
    weights = phase_weights(semiangle_mrad, energy_ev)
    return float(np.sqrt(np.trace(weights @ np.linalg.inv(np.mean(information, axis=0) + prior))))


def least_mean_phase(information: np.ndarray, prior: np.ndarray, weights: np.ndarray) -> float:
    """Return the lower bound of Ziv and Zakai on the mean of the root mean square phase in an aperture, rad.

    The root mean square phase is at least the absolute error of a linear combination a . c of the coefficients c, if weights - a a^T is positive
    semidefinite. The function takes the combination with the largest variance, and returns a lower bound on its mean absolute error. The bound
    follows from the probability of a wrong decision between two values of a . c. Many pairs of coefficient vectors c have these two values. The
    bound uses the pair that is hardest to distinguish, given the electron counts and the prior.

    Parameters
    ----------
    information, prior, weights : ndarray
        (12, 12) information of the counts and of the prior, 1/A^2, and the matrix from :func:`phase_weights`, rad^2/A^2.
    """
    covariance = np.linalg.inv(information + prior)
    values, vectors = np.linalg.eigh(weights)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    _, found = np.linalg.eigh(root @ covariance @ root)
    combination = root @ found[:, -1]
    direction = covariance @ combination / (combination @ covariance @ combination)  # combination . direction = 1
    return normal_mean_absolute(float(direction @ information @ direction), float(direction @ prior @ direction))


def bounds(card: Card, rows: int) -> dict[float, tuple[float, float, float]]:
    """Return three bounds on the residual phase (rad) for each beam energy, eV, computed from ``rows`` samples of the test split.

    The first bound is that of :func:`least_phase`. The second and the third are the mean and the minimum, over the samples, of the bound that
    :func:`least_mean_phase` gives.
    """
    made, settings = find_generator(card.kind), card.generator
    found, means = {energy: [] for energy in settings.energy_ev}, {energy: [] for energy in settings.energy_ev}
    weights = {energy: phase_weights(settings.reference_mrad, energy) for energy in settings.energy_ev}
    for seed in card.structure_seeds("std", "test"):
        specimen = made.specimen(card, "std", "test", seed)
        assert isinstance(specimen, RonchigramSpecimen)  # by the card's kind
        sample = specimen.sample()
        for image in range(len(found)):
            condition = draw_condition(card, specimen, image)
            energy = condition.energy_ev
            if len(found[energy]) < rows:

                def counts(values: np.ndarray, condition=condition, sample=sample) -> np.ndarray:
                    return expected(card, sample, condition.with_coefficients(values))

                found[energy].append(poisson_information(counts, condition.coefficients, STEP * settings.sigmas()))
                own = np.diag(1 / (condition.spread * settings.sigmas()) ** 2)
                means[energy].append(least_mean_phase(found[energy][-1], own, weights[energy]))
        if all(len(one) >= rows for one in found.values()):
            break
    prior, angle = prior_information(card), settings.reference_mrad
    return {energy: (least_phase(one, prior, angle, energy), float(np.mean(means[energy])), min(means[energy])) for energy, one in found.items()}


def main(arguments: list[str] | None = None) -> None:
    """Print the bounds for each beam energy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=12, help="number of simulated Ronchigrams for each beam energy (default: 12)")
    given = parser.parse_args(arguments)
    for energy, (least, mean, row) in bounds(find_card("ronchigram", "1.0.0"), given.rows).items():
        told = f"root mean square at least {least:.4f} rad, mean at least {mean:.4f} rad, of the best row at least {row:.4f} rad"
        sys.stdout.write(f"{energy / 1e3:g} keV: {told}\n")


if __name__ == "__main__":
    main()
