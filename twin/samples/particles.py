"""Metal nanoparticles on amorphous carbon: Wulff and other closed shapes, in random or given orientations."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.amorphous import CARBON, film
from stemtwin.twin.samples.builders import check_memory
from stemtwin.twin.samples.metals import GOLD, PLATINUM, Metal
from stemtwin.twin.samples.sample import VACUUM_MARGIN, Defect, Sample
from stemtwin.twin.samples.sample_families import BuildRequest, Knob, specimen

SHAPES = ("wulff", "octahedron", "cuboctahedron", "icosahedron", "decahedron")
VIEWS = {"001": (0, 0, 1), "110": (1, 1, 0), "111": (1, 1, 1)}
MARGIN = 8.0  # A, default width of the film on either side of a particle
SMALLEST_MARGIN = 1.5  # A; with a smaller margin, a particle touches its periodic image
TOUCH = 2.3  # A, distance between the nearest atoms of particle and film
# Surface energies of {111} and {100}, J/m^2: L. Vitos et al., Surf. Sci. 411 (1998) 186.
SURFACE = {"Au": (1.283, 1.627), "Pt": (2.299, 2.734)}

Diameter = Annotated[
    float, Knob(about="diameter of a sphere with the same number of atoms; the nearest closed shape is built", low=6.0, high=120.0, unit="A")
]
Shape = Annotated[str, Knob(about="Wulff construction of {111} and {100}, or a closed shape", choices=SHAPES)]
View = Annotated[
    str,
    Knob(
        about="axis along the beam (001: fivefold in a decahedron) with a random rotation about it; or a random orientation",
        choices=("random", *VIEWS),
    ),
]
FilmThickness = Annotated[float, Knob(about="thickness of the carbon film behind the particle; 0: none", low=0.0, high=500.0, unit="A")]


def cluster(metal: Metal, shape: str, diameter: float) -> np.ndarray:
    """Return the positions (n, 3), A, of a particle's atoms around the origin.

    The cube axes of a single-crystal particle are x, y, z. The number of atoms is as near as the shape allows to the
    number of atoms in a sphere of the given diameter.
    """
    from ase.cluster import Decahedron, Icosahedron, Octahedron, wulff_construction

    wanted = 4 / metal.a**3 * np.pi / 6 * diameter**3
    if shape == "wulff":
        energies = SURFACE[metal.symbol]
        atoms = wulff_construction(
            metal.symbol, [(1, 1, 1), (1, 0, 0)], list(energies), max(1, round(wanted)), "fcc", rounding="closest", latticeconstant=metal.a
        )
        positions = atoms.positions
    else:
        size = min(range(1, 200), key=lambda length: abs(_magic(shape, length) - wanted))
        makers: dict[str, Callable[[], np.ndarray]] = {
            "octahedron": lambda: Octahedron(metal.symbol, size, latticeconstant=metal.a).positions,
            "cuboctahedron": lambda: Octahedron(metal.symbol, 2 * size + 1, cutoff=size, latticeconstant=metal.a).positions,
            "icosahedron": lambda: Icosahedron(metal.symbol, size, latticeconstant=metal.a).positions,
            "decahedron": lambda: Decahedron(metal.symbol, size + 1, size, 0, latticeconstant=metal.a).positions,
        }
        positions = makers[shape]()
    # Twinned shapes are strained, so their mean bond length is set.
    positions = positions * (metal.a / 2**0.5 / _mean_bond(positions, metal.a))
    return positions - (positions.min(axis=0) + positions.max(axis=0)) / 2


def _mean_bond(positions: np.ndarray, a: float) -> float:
    """Return the mean distance of neighbours up to 0.85 lattice constants apart, or a/sqrt2 for a single atom."""
    from scipy.spatial import cKDTree

    pairs = cKDTree(positions).query_pairs(0.85 * a, output_type="ndarray")
    return float(np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1).mean()) if len(pairs) else a / 2**0.5


def _magic(shape: str, size: int) -> float:
    """Return the number of atoms of a closed shape.

    The size n is the number of atoms along an edge of an octahedron or the number of shells. A decahedron has edges of
    n + 1 atoms and side edges of n.
    """
    n = size
    if shape == "octahedron":
        return n * (2 * n * n + 1) / 3
    if shape == "cuboctahedron":
        return (10 * n**3 + 15 * n**2 + 11 * n + 3) / 3
    if shape == "icosahedron":
        return (10 * n**3 - 15 * n**2 + 11 * n - 3) / 3
    return sum((5 * ring or 1) * (2 * n - ring) for ring in range(n + 1))  # columns in rings around the fivefold axis, each shorter by one atom


def rotation(view: str, rng: np.random.Generator) -> np.ndarray:
    """Return a random rotation (3, 3) of a particle.

    The view "random" gives a uniformly distributed rotation. Any other view is a crystal axis, such as "110". The
    rotation then puts this axis along the beam, at a random angle about the beam.
    """
    from scipy.spatial.transform import Rotation

    if view == "random":
        w = rng.normal(size=4)  # a uniform direction in four dimensions is a uniform rotation
        return Rotation.from_quat(w / np.linalg.norm(w)).as_matrix()
    axis = np.array(VIEWS[view], dtype=float)
    onto = Rotation.align_vectors([[0, 0, 1]], [axis / np.linalg.norm(axis)])[0]
    return (Rotation.from_rotvec([0, 0, rng.uniform(0, 2 * np.pi)]) * onto).as_matrix()


def _lowered(particle: np.ndarray, support: np.ndarray, box: np.ndarray) -> float:
    """Return the shift along z that leaves 2.3 A between a particle (n, 3) and the film behind it (m, 3)."""
    from scipy.spatial import cKDTree

    rim = particle[particle[:, 2] > particle[:, 2].max() - 6.0]
    spots = rim.copy()
    spots[:, :2] %= box
    start = float(support[:, 2].min() - particle[:, 2].max() - TOUCH)
    tree = cKDTree(support, boxsize=(box[0], box[1], 0.0))
    for shift in start + np.arange(0.0, 4.0, 0.05):
        if tree.query(spots + np.array([0, 0, shift + 0.05]), distance_upper_bound=TOUCH)[0].min() < TOUCH:
            return float(shift)
    return start + 4.0


def _make(metal: Metal, order: BuildRequest, diameter: float, shape: str, view: str, carbon: float) -> Sample:
    """Return a particle on the entrance side of its film."""
    turned = cluster(metal, shape, diameter) @ rotation(view, order.rng("orientation")).T
    extent = np.ptp(turned, axis=0)
    height, width = order.cut.size_angstrom or (float(np.ceil(extent[1] + 2 * MARGIN)), float(np.ceil(extent[0] + 2 * MARGIN)))
    needed = extent[:2] + 2 * SMALLEST_MARGIN
    if width < needed[0] or height < needed[1]:
        message = (
            f"size_angstrom=({height:.4g}, {width:.4g}) is too small for a particle {extent[1]:.3g} A high and {extent[0]:.3g} A wide, "
            f"which needs ({needed[1]:.4g}, {needed[0]:.4g}) A. Ask for a larger size or a smaller diameter_angstrom."
        )
        raise SettingsError(message)
    box = np.array([width, height])
    check_memory(order.name, len(turned) + 0.4 * height * width * carbon, (height, width), carbon + float(extent[2]))
    middle = np.append(box / 2, 0.0)
    particle = turned + middle
    symbols, places = np.full(len(particle), metal.symbol), particle
    if carbon > 0:
        kinds, support = film(CARBON, (width, height, carbon), 2.0, order.rng("film"))
        lift = np.array([0, 0, _lowered(particle, support, box)])
        symbols, places, middle = np.append(symbols, kinds), np.vstack([particle + lift, support]), middle + lift
    low, high = places[:, 2].min(), places[:, 2].max()
    own = float(high - low) + 2 * VACUUM_MARGIN
    thickness = order.cut.thickness_angstrom or own
    if thickness < own - 2 * VACUUM_MARGIN + 0.1:
        message = (
            f"thickness_angstrom={thickness:g} cannot hold particle and film, which need {high - low:.3f} A. "
            f"Leave out thickness_angstrom, or ask for {own:.4g} A or more."
        )
        raise SettingsError(message)
    up = np.array([0, 0, (thickness - low - high) / 2])
    name = f"{metal.symbol} {shape}, {len(particle)} atoms"
    note = f"{name}, view {view}, " + (f"on {carbon:g} A of amorphous carbon of 2.0 g/cm^3." if carbon else "free.")
    sample = order.atoms(symbols, places + up, (height, width), thickness, notes=(note,))
    return replace(sample, defects=(Defect(kind="particle", name=name, position_angstrom=tuple((middle + up).tolist())),))


def _particle(metal: Metal) -> Callable[..., Sample]:
    sources = metal.sources()

    @specimen(
        f"{metal.symbol.lower()}-particle-carbon",
        "particle",
        "metal",
        title=f"a {metal.title} nanoparticle on amorphous carbon",
        sigma={**sources["sigma"], "C": 0.07},  # type: ignore[dict-item]
        lattice_source=f"{sources['lattice_source']}; the film: see carbon-amorphous; surface energies of the Wulff shape: L. Vitos et al., Surf. "
        f"Sci. 411 (1998) 186",
        thermal_source=f"{sources['thermal_source']}; C 0.07 A: see carbon-amorphous",
    )
    def make(
        order: BuildRequest,
        *,
        diameter_angstrom: Diameter = 20.0,
        shape: Shape = "wulff",
        view: View = "random",
        film_thickness_angstrom: FilmThickness = 20.0,
    ) -> Sample:
        """Return a nanoparticle of the metal on an amorphous film."""
        return _make(metal, order, diameter_angstrom, shape, view, film_thickness_angstrom)

    return make


for _metal in (GOLD, PLATINUM):
    _particle(_metal)
