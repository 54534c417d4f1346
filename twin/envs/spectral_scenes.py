"""Scenes of SpectrumDiscovery: cached dark-field image and expected EELS and X-ray spectra of a decorated flake."""

import functools
from dataclasses import asdict, dataclass

import numpy as np

from stemtwin.twin.envs.arguments import SPLITS
from stemtwin.twin.envs.functional_env import read_only
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache
from stemtwin.twin.instrument.simulation.engines import thermal
from stemtwin.twin.instrument.simulation.simulate import simulate
from stemtwin.twin.instrument.spectra import EDXDetector, EELSDetector, LossModel, Particle, expected_edx, expected_eels
from stemtwin.twin.instrument.spectra.areal_densities import THIN
from stemtwin.twin.physics.engine.kernels import array_cache
from stemtwin.twin.physics.spectra.dielectric import MATERIALS, Material
from stemtwin.twin.physics.spectra.plasmons import FlakeModes
from stemtwin.twin.samples.decorated_flakes import DecoratedFlake, draw_flake, flake_atoms
from stemtwin.twin.samples.sample import Sample

PITCH_ANGSTROM = 4.0
"""Distance between neighbouring candidate positions, A."""
FINER = 2
"""Number of image pixels per distance between neighbouring candidates, along each axis."""
SCENES = 8
"""Number of scenes of a split."""
BEAM = Beam(energy_ev=200e3, semiangle_mrad=10.0)
DARK_FIELD = AnnularDetector(inner_mrad=40.0, outer_mrad=120.0, name="haadf")
LOW = EELSDetector(energy_range_ev=(-1.0, 8.0), dispersion_ev=0.1, collection_mrad=25.0, zero_loss_fwhm_ev=0.25)
CORE = EELSDetector(energy_range_ev=(703.0, 727.0), dispersion_ev=0.5, collection_mrad=25.0, zero_loss_fwhm_ev=0.5)
XRAYS = EDXDetector(energy_range_ev=(200.0, 8200.0), dispersion_ev=40.0)
EDGES = ("Fe_L3", "Fe_L2")
VALENCES = (2.0, 3.0)
IRON_OXIDE = Material(
    name="iron-oxide", formula=(("Fe", 2), ("O", 3)), density=0.0990, losses=((23.0, 9.0, 1.0),), static=5.0, gap=2.2, source="one broad maximum [A]"
)
RIM = {"edge": (2.1, 0.5), "corner": (1.6, 0.4), "amplitudes": (0.004, 0.012)}
"""Parameters of the plasmons at the edge of the flake [A]; see ``FlakeModes``."""
REACH = 0.075
"""Decay length of the edge plasmons, as a fraction of the side of the field."""
CODE = (*operator_cache.SPECTRUM_CODE, "samples/*.py", "envs/spectral_scenes.py")
"""Files below ``twin/`` that determine the numbers of a scene."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectralScene:
    """Expected signals of a scene, as fractions of the incident beam.

    The field has n x n candidate positions, at which spectra can be taken.

    Parameters
    ----------
    image : ndarray
        Dark-field image, float32 (2 n, 2 n).
    low, core, edx : ndarray
        Spectra of all candidates, float32 (n, n, channels).
    """

    image: np.ndarray
    low: np.ndarray
    core: np.ndarray
    edx: np.ndarray

    def turned(self, turn: int) -> "SpectralScene":
        """Return the scene in one of the eight orientations of a square, 0 to 7."""
        return SpectralScene(**{name: turned(getattr(self, name), turn) for name in ARRAYS})


ARRAYS = ("image", "low", "core", "edx")
"""Arrays of a scene."""


def turned(values: np.ndarray, turn: int) -> np.ndarray:
    """Return an array (n, n, ...) rotated by ``turn % 4`` right angles, and mirrored if ``turn`` is at least 4."""
    out = np.rot90(values, turn % 4)
    return out[:, ::-1] if turn >= 4 else out


def candidates(field_angstrom: float) -> int:
    """Return the number of candidate positions of the beam along each side of a square field."""
    return round(field_angstrom / PITCH_ANGSTROM)


@functools.lru_cache(maxsize=64)
def scene_seeds(split: str, count: int = SCENES, root: int | None = None) -> tuple[int, ...]:
    """Return the seeds of the scenes of a split, which do not occur in other splits.

    If ``root`` is given, the seeds are 64-bit numbers derived from ``root``, and the split is ignored.
    """
    if root is None:
        return tuple(1000 * SPLITS[split] + number for number in range(count))
    return tuple(int(seed) for seed in np.random.SeedSequence(root).generate_state(count, np.uint64))


_HELD: dict[tuple[float, int], SpectralScene] = {}
"""Scenes in the memory of this process, by field and seed."""


def scene(field_angstrom: float, seed: int) -> SpectralScene:
    """Return a scene from memory or from the disk cache, or compute and cache it."""
    found = _HELD.get((field_angstrom, seed))
    if found is None:
        flake = draw_flake(field_angstrom, seed)
        cache, key = array_cache.default_cache(), scene_key(flake)
        arrays = cache.get(key)
        if arrays is None:
            arrays = make_scene(flake)
            cache.put(key, arrays)
        found = SpectralScene(**{name: read_only(values) for name, values in arrays.items()})
        _HELD[field_angstrom, seed] = found
    return found


def is_kept(field_angstrom: float, seed: int) -> bool:
    """Return True if a scene is in memory or in the disk cache."""
    return (field_angstrom, seed) in _HELD or scene_key(draw_flake(field_angstrom, seed)) in array_cache.default_cache()


def seconds(field_angstrom: float) -> float:
    """Return the usual time to compute a scene, s."""
    return 3 + 12 * (field_angstrom / 128) ** 2


def scene_key(flake: DecoratedFlake) -> str:
    """Return the cache key of a scene, from its atoms, its losses, the instrument, and the code."""
    sample, _ = flake_atoms(flake)
    losses = {"oxide": asdict(IRON_OXIDE), "rim": RIM, "reach": REACH, "edges": EDGES, "valences": VALENCES}
    optics = {
        "beam": asdict(BEAM),
        "ring": (DARK_FIELD.inner_mrad, DARK_FIELD.outer_mrad),
        "low": asdict(LOW),
        "core": asdict(CORE),
        "edx": asdict(XRAYS),
    }
    grid = {"pitch": PITCH_ANGSTROM, "finer": FINER}
    described = {"flake": asdict(flake), "sample": sample.digest, "losses": losses, "optics": optics, "grid": grid}
    return array_cache.content_key({"scene": described, "code": operator_cache.code(CODE)})


def make_scene(flake: DecoratedFlake) -> dict[str, np.ndarray]:
    """Compute the arrays of a scene: the image by the engine ``thermal``, and the spectra by ``thin``, without channelling."""
    sample, ferric = flake_atoms(flake)
    n = candidates(flake.field_angstrom)
    image = simulate(sample, BEAM, raster(flake, FINER * n), detectors=(DARK_FIELD,), engine=thermal.NAME, measure_error=False)
    low = expected_eels(sample, BEAM, raster(flake, n), LOW, model=low_losses(flake), engine=THIN, edges=())
    edx = expected_edx(sample, BEAM, raster(flake, n), XRAYS, engine=THIN)
    core = core_spectra(flake, sample, ferric)
    return {"image": image[DARK_FIELD.name].values, "low": low.eels.values, "core": core, "edx": edx.edx.values}


def low_losses(flake: DecoratedFlake) -> LossModel:
    """Return the loss model of a flake: dipoles of its metal particles, plasmons of its edge, and bulk losses."""
    spheres = tuple(
        Particle(centre_angstrom=one.centre_angstrom, radius_angstrom=one.radius_angstrom, material=one.kind)
        for one in flake.particles
        if one.kind in MATERIALS
    )
    rim = FlakeModes(**RIM, reach=REACH * flake.field_angstrom)  # type: ignore[arg-type]
    return LossModel(materials=((("Fe", "O"), IRON_OXIDE),), particles=spheres, flake=rim)


def core_spectra(flake: DecoratedFlake, sample: Sample, ferric: np.ndarray) -> np.ndarray:
    """Return the spectra of the L edges of iron, float32 (n, n, channels).

    Two spectra are computed at each position, one for divalent iron only and one for trivalent iron only. The two spectra are mixed
    according to the fraction of trivalent iron under the probe. The result is exact to first order in the core losses,
    whose probability is below 1e-3.
    """
    scan = raster(flake, candidates(flake.field_angstrom))
    found = []
    for valence in VALENCES:
        model = LossModel(materials=((("Fe", "O"), IRON_OXIDE),), surfaces=False, valences=(("Fe", valence),))
        found.append(expected_eels(sample, BEAM, scan, CORE, model=model, engine=THIN, edges=EDGES))
    iron = f"density_{EDGES[0]}"
    if not ferric.any():
        return found[0].eels.values
    part = _atoms(sample, ferric | (sample.numbers != 26))
    trivalent = expected_eels(part, BEAM, scan, CORE, model=model, engine=THIN, edges=EDGES)[iron].values
    share = np.clip(trivalent / np.maximum(found[0][iron].values, 1e-30), 0, 1)[..., None]
    return ((1 - share) * found[0].eels.values + share * found[1].eels.values).astype(np.float32)


def _atoms(sample: Sample, kept: np.ndarray) -> Sample:
    """Return a sample with the atoms of a mask, bool (n,), in the same box."""
    assert sample.thermal_sigma_angstrom is not None
    return Sample(
        name=sample.name,
        numbers=sample.numbers[kept],
        positions_angstrom=sample.positions_angstrom[kept],
        size_angstrom=sample.size_angstrom,
        thickness_angstrom=sample.thickness_angstrom,
        periodic=False,
        thermal_sigma_angstrom=sample.thermal_sigma_angstrom[kept],
    )


def raster(flake: DecoratedFlake, count: int) -> RasterScan:
    """Return the raster scan over the centres of ``count`` x ``count`` squares that fill the field."""
    side, step = flake.field_angstrom, flake.field_angstrom / count
    return RasterScan(shape=(count, count), field_of_view_angstrom=(side, side), origin_angstrom=(step / 2, step / 2))
