"""Instrument of ``stemtwin/SparseScan-v1``: presets, readings along blocks of a scan path, and the fixed reconstruction."""

import dataclasses
import functools
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.envs import sparse_paths, sparse_scenes
from stemtwin.twin.envs.arguments import Randomisation
from stemtwin.twin.envs.functional_env import read_only
from stemtwin.twin.envs.image_trees import TreePrior, reconstruct
from stemtwin.twin.envs.sparse_paths import COUNT, Block
from stemtwin.twin.envs.sparse_scenes import SceneRange
from stemtwin.twin.instrument.hardware.profiles import find_profile
from stemtwin.twin.instrument.hardware.readout_chain import IDEAL_CHAIN, DetectorChain

USUAL_DWELL_US = 10.0
"""Usual dwell time, us."""
LONGEST = 4.0
"""Largest factor by which the usual dwell time may be multiplied or divided."""
PRIOR = TreePrior()
"""Prior of the image, fractions of the beam, in the fixed reconstruction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SparsePreset:
    """Settings of one difficulty of the sparse scans.

    Parameters
    ----------
    randomisation : Randomisation
        Ranges from which episodes are drawn.
    scene : SceneRange
        Ranges of the contents of scenes.
    share : float
        Dose budget as a fraction of the dose of one visit to every point of the field at the usual dwell time.
    faults : bool
        Whether readings contain the faults of the detector's read-out chain; otherwise they are electron counts.
    """

    randomisation: Randomisation
    scene: SceneRange
    share: float
    faults: bool = True

    def blocks(self, points: int) -> int:
        """Return the number of blocks that the dose budget allows if every block has the usual dwell time; it is at least 4."""
        return max(4, round(self.share * points**2 / COUNT))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sampling:
    """Incident and counted electrons so far, and the image reconstructed from them.

    Parameters
    ----------
    counts, exposure : ndarray
        Counted and incident electrons of each point of the field, float64 (n, n).
    visits : ndarray
        Number of readings of each point, float64 (n, n).
    estimate, uncertainty : ndarray
        Mean and standard deviation of the image, fractions of the beam, float64 (n, n).
    readings : ndarray
        Readings of the 64 points of the last block, uint16.
    """

    counts: np.ndarray
    exposure: np.ndarray
    visits: np.ndarray
    estimate: np.ndarray
    uncertainty: np.ndarray
    readings: np.ndarray


@functools.lru_cache(maxsize=16)
def budget(preset: SparsePreset, points: int) -> tuple[float, float]:
    """Return the budgets of an episode: beam time in units of the usual dwell time, and total time in us.

    Each budget suffices for the overview (the first block) followed by a raster of lines, both at the usual dwell time.
    """
    blocks = preset.blocks(points)
    first, line = sparse_paths.overview(points, sparse_scenes.PROFILE), sparse_paths.raster(1, points, sparse_scenes.PROFILE)[0]
    return float(blocks * COUNT), first.time_us(USUAL_DWELL_US) + (blocks - 1) * line.time_us(USUAL_DWELL_US)


@functools.lru_cache(maxsize=4)
def chain_of(profile: str, *, faults: bool) -> DetectorChain:
    """Return the read-out chain of an instrument's dark-field detector, or an ideal chain that counts electrons."""
    found = find_profile(profile).chain("haadf") if faults else None
    return found or IDEAL_CHAIN


def nothing(points: int) -> Sampling:
    """Return the sampling before the first block."""
    zero = read_only(np.zeros((points, points)))
    return Sampling(counts=zero, exposure=zero, visits=zero, estimate=zero, uncertainty=zero, readings=read_only(np.zeros(COUNT, np.uint16)))


def recorded(
    before: Sampling, way: Block, expected: np.ndarray, *, electrons: float, dwell_us: float, chain: DetectorChain, rng: np.random.Generator
) -> Sampling:
    """Return the sampling after a block was scanned, with new counts and readings but still with the image of ``before``.

    Parameters
    ----------
    before : Sampling
        Sampling before the block.
    way : Block
        The block.
    expected : ndarray
        Expected fraction of the beam that reaches the detector, at each point of the field, (n, n).
    electrons : float
        Incident electrons at each point of the block.
    dwell_us : float
        Dwell time at each point, us.
    chain : DetectorChain
        Read-out chain of the detector.
    rng : numpy.random.Generator
        Random generator of counts and noise.
    """
    rows, columns = way.pixels.T
    detected = chain.detect(expected[rows, columns] * electrons, rng)
    readings = detected if chain.bits == 0 else chain.convert(detected, rng, timing=way.timing(dwell_us), blanked=True)
    kept = np.minimum(readings, 65535).astype(np.uint16)
    return dataclasses.replace(added(before, rows, columns, chain.electrons(kept), electrons), readings=read_only(kept))


def added(before: Sampling, rows: np.ndarray, columns: np.ndarray, counted: np.ndarray, electrons: float) -> Sampling:
    """Return the sampling with electrons counted at further points, but still with the image of ``before``."""
    maps = before.counts.copy(), before.exposure.copy(), before.visits.copy()
    for one, value in zip(maps, (counted, electrons, 1.0), strict=True):
        np.add.at(one, (rows, columns), value)
        read_only(one)
    return dataclasses.replace(before, counts=maps[0], exposure=maps[1], visits=maps[2])


def imaged(known: Sampling, chain: DetectorChain) -> Sampling:
    """Reconstruct image and uncertainty from the counts of a sampling; return the sampling with both."""
    electronics = known.visits * (chain.read_noise_adu / (chain.gain_adu * chain.efficiency)) ** 2
    found = reconstruct(known.counts, known.exposure, PRIOR, excess=1 / (chain.dqe * chain.efficiency), electronics=electronics)
    return dataclasses.replace(known, estimate=read_only(found[0]), uncertainty=read_only(found[1]))


def raster_image(
    expected: np.ndarray, overview: Sampling, *, lines: int, electrons: float, chain: DetectorChain, rng: np.random.Generator
) -> Sampling:
    """Scan a raster of ``lines`` lines at the usual dwell time after the overview; return the sampling with its new image."""
    known = overview
    for way in sparse_paths.raster(lines, len(expected), sparse_scenes.PROFILE):
        known = recorded(known, way, expected, electrons=electrons, dwell_us=USUAL_DWELL_US, chain=chain, rng=rng)
    return imaged(known, chain)


def errors(known: Sampling, expected: np.ndarray) -> tuple[float, float, float]:
    """Return the root-mean-square error (fractions of the beam), the mean logarithmic score (nats) and the coverage of an image.

    The logarithmic score of a point is the logarithm of a Gaussian density at the true value. The mean and the standard
    deviation of the density are those of the image at this point, in thousandths of the beam. The coverage is the fraction
    of points whose error is below 1.645 standard deviations.
    """
    off = known.estimate - expected
    away = off / known.uncertainty
    score = -0.5 * (away**2 + np.log(2 * np.pi * (1e3 * known.uncertainty) ** 2))
    return float(np.sqrt((off**2).mean())), float(score.mean()), float((np.abs(away) < 1.6448536269514722).mean())


ALL = ("au-particle-carbon", "pt-particle-carbon", "mos2-1h", "al-sigma5-310")
PRESETS = {
    "easy": SparsePreset(
        randomisation=Randomisation(samples=("au-particle-carbon", "pt-particle-carbon"), electrons_per_point=(3000.0, 6000.0)),
        scene=SceneRange(particles=(3, 5), pores=(3, 4), boundaries=(1, 1), diameter=(20.0, 40.0), pore=(14.0, 24.0)),
        share=0.15,
        faults=False,
    ),
    "standard": SparsePreset(
        randomisation=Randomisation(samples=ALL, electrons_per_point=(2000.0, 5000.0)),
        scene=SceneRange(particles=(4, 7), pores=(3, 6), boundaries=(1, 1), diameter=(16.0, 36.0), pore=(12.0, 22.0)),
        share=0.15,
    ),
    "hard": SparsePreset(
        randomisation=Randomisation(samples=ALL, electrons_per_point=(1500.0, 3500.0), failing=0.05),
        scene=SceneRange(particles=(7, 12), pores=(5, 9), boundaries=(1, 2), diameter=(12.0, 30.0), pore=(8.0, 18.0)),
        share=0.12,
    ),
}
