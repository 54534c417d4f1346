"""Least residual phase after correction by estimates of aberrations: the Bayesian Cramer-Rao bound of ``ronchigram`` under the card's prior.

The mean square error of any estimate is at least that of van Trees' inequality [1]_: the mean outer product of the errors is not below the inverse
of the mean information of the counts plus the information of the prior. The film is taken as known, which it is not, so the bound holds for
all methods and is far below reach. The information of the prior, a normal distribution of unknown spread, is bounded from above by its mean over
the spreads, since information is convex. ``python -m stemtwin.benchmarks.wavefront_bound`` prints the bound over rows of the test split.

References
----------
.. [1] H. L. van Trees, Detection, Estimation, and Modulation Theory I (1968), section 2.4.3.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

import numpy as np

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
    """Return the Fisher information of Poisson counts on parameters, (n, n), by central differences.

    Parameters
    ----------
    mean : callable
        Parameters (n,) to expected counts, any shape.
    at, steps : ndarray
        (n,) point of evaluation, and steps of the differences.
    """
    slopes = np.stack([((mean(at + step) - mean(at - step)) / 2).ravel() for step in np.diag(steps)]) / steps[:, None]
    return (slopes / np.maximum(mean(at).ravel(), LEAST_COUNT)) @ slopes.T


def prior_information(card: Card) -> np.ndarray:
    """Return the mean over the spreads of the prior's information on the coefficients, (12, 12), 1/A^2."""
    low, high = card.generator.spread
    inverse_square = (low**-2 - high**-2) / (2 * np.log(high / low)) if high > low else low**-2
    return np.diag(inverse_square / card.generator.sigmas() ** 2)


def least_phase(information: Sequence[np.ndarray], prior: np.ndarray, semiangle_mrad: float, energy_ev: float) -> float:
    """Return the least root mean square, over samples, of the residual phase in an aperture, rad.

    Parameters
    ----------
    information : sequence of ndarray
        (12, 12) information of the counts of some rows, 1/A^2.
    prior : ndarray
        (12, 12) information of the prior.
    semiangle_mrad, energy_ev : float
        Reference aperture [mrad] and beam energy [eV].
    """
    names = list(Aberrations().cartesian())
    rows = [names.index(name) for name in COEFFICIENTS]
    weights = phase_covariance(wavelength(energy_ev), semiangle_mrad * 1e-3)[np.ix_(rows, rows)]
    return float(np.sqrt(np.trace(weights @ np.linalg.inv(np.mean(information, axis=0) + prior))))


def bounds(card: Card, rows: int) -> dict[float, float]:
    """Return the least root mean square phase for each beam energy [eV], rad, from a number of rows of the test split for each."""
    made, settings, found = find_generator(card.kind), card.generator, {energy: [] for energy in card.generator.energy_ev}
    for seed in card.structure_seeds("std", "test"):
        specimen = made.specimen(card, "std", "test", seed)
        assert isinstance(specimen, RonchigramSpecimen)  # by the card's kind
        sample = specimen.sample()
        for image in range(len(found)):
            condition = draw_condition(card, specimen, image)
            if len(found[condition.energy_ev]) < rows:

                def counts(values: np.ndarray, condition=condition, sample=sample) -> np.ndarray:
                    return expected(card, sample, condition.with_coefficients(values))

                found[condition.energy_ev].append(poisson_information(counts, condition.coefficients, STEP * settings.sigmas()))
        if all(len(one) >= rows for one in found.values()):
            break
    return {energy: least_phase(one, prior_information(card), settings.reference_mrad, energy) for energy, one in found.items()}


def main(arguments: list[str] | None = None) -> None:
    """Print the bound for each beam energy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=6, help="number of rows for each energy (default: 6)")
    given = parser.parse_args(arguments)
    for energy, least in bounds(find_card("ronchigram", "1.0.0"), given.rows).items():
        sys.stdout.write(f"{energy / 1e3:g} keV: at least {least:.4f} rad\n")


if __name__ == "__main__":
    main()
