"""Request of a simulation as one frozen value: sample, beam, scan, detectors, engine and accuracy."""

import itertools
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Self, get_args

import tomli_w

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.files import write_atomically
from stemtwin.twin.instrument.detectors import AnyDetector, checked
from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.settings import LARGEST_TILT_MRAD, Beam, PotentialSlices
from stemtwin.twin.instrument.simulation import serialisation
from stemtwin.twin.instrument.simulation.engines.registry import DEPTHS, ENGINES, JOINING
from stemtwin.twin.physics.scattering_factors import PARAMETRIZATIONS
from stemtwin.twin.samples.sample import Sample

AUTO = "auto"
"""Name that leaves the choice of the engine to the planner."""
MOST_BLOCKS = 2**15
"""Largest number of cells that a probe can spread over: planning time grows with it, and no memory suffices for more."""
LEAST_TOLERANCE = 1e-4
"""Smallest tolerance above 0, the limit of single precision."""
POINT_GROUP = "point group"
"""Value of ``lattice_average`` for the average over a crystal's translations, rotations and mirrors."""
INDEPENDENT, LATIN = "independent", "latin"
"""Ways to draw the thermal displacements of frozen-phonon configurations: independently, or by Latin hypercube sampling."""
AUTO_PHONONS = 8
"""Number of frozen-phonon configurations of ``phonons="auto"``."""
_STATIC = "needs thermal displacements, but this sample is static. Give it thermal_sigma_angstrom, or use phonons='static'."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """Complete and immutable description of a simulation.

    Parameters
    ----------
    sample : Sample or PotentialSlices
        The sample.
    beam : Beam
        The beam.
    scan : RasterScan, SerpentineScan, SparseScan, SpiralScan, LissajousScan or PathScan
        Probe positions.
    detectors : tuple
        Registry names and detectors.
    engine : str
        ``"multislice"`` (the reference), ``"operator"`` (exact; an image with new optics takes milliseconds),
        ``"local"`` (dark field of large or changing thin specimens, to ``tolerance``), ``"tiled"`` (operators on
        overlapping windows of a large field, any detector, to ``tolerance``), ``"prism"`` (every
        ``interpolation``-th plane wave), ``"thermal"`` (dark field by thermal diffuse cross-sections, to
        ``tolerance``), ``"abtem"`` (an independent solver) or ``"auto"`` (the planner chooses).
    phonons : int or str
        Number of frozen-phonon configurations, or a word. ``"auto"`` uses 8 configurations if the sample has thermal
        displacements (``thermal_sigma_angstrom``). With ``lattice_average`` it uses fewer if their error is then as small
        as that of 8 without the average. A sample without thermal displacements is static. ``"damped"`` applies the
        Debye-Waller factor. It suits bright-field signals only, because it leaves out thermal diffuse scattering, which is
        most of a dark-field signal. ``"static"`` leaves the atoms at rest.
    seed : int
        Seed of the thermal displacements.
    grid : tuple of int, optional
        Number of points (ny, nx) of the wave, rounded up to sizes with the prime factors 2, 3 and 5. The default is the grid
        that the detectors need.
    sampling_angstrom : float or tuple of float, optional
        Largest distance between points, A; an alternative to ``grid``.
    slice_thickness_angstrom : float, optional
        Slice thickness, A. By default each atomic plane is a slice.
    parametrization : str
        Parametrization of the atomic potentials, ``"kirkland"`` or ``"lobato"``.
    antialias : bool
        True: reciprocal pixels at the edges of the aperture and of detectors are weighted by the fraction of the pixel
        that is covered. False: pixels are either inside or outside (pixel masks).
    oversampling : int
        Factor by which the grid for exp(i sigma V) is finer than the grid of the wave.
    tolerance : float
        Largest rms error of the local operator and of windows. The error is measured relative to multislice at random
        points and divided by the mean signal. 0 permits only exact engines, and multislice then propagates each probe
        through the whole field.
    interpolation : int
        PRISM interpolation factor f; 1 is exact.
    tilt_mrad : tuple of float
        Specimen tilt (ty, tx), mrad, in the order (y, x) of shapes and fields: an atom at depth z appears at
        x + z tan tx. The corresponding stage tilts are (alpha, beta). The beam tilt, (x, y), is a field of ``Beam``.
    blocks : tuple of int, optional
        Number of cells (ny, nx) that the window of one probe spans; by default as many as the probe needs. ``(1, 1)``
        uses the cell as the window, for comparison with programs that compute each probe in one cell; a probe wider than
        the cell then overlaps with itself.
    depths_angstrom : tuple of float, optional
        Increasing depths, A, from 0 to the sample's thickness, at which signals are computed in one pass, by
        ``"multislice"`` or ``"operator"``; by default only the exit face. The signal at a depth is that of a sample
        that ends there and contains all planes at or above that depth (at depth 0, the atoms on the entrance face).
        A sample of the library or of a file consists of the number of whole repeats nearest to the requested
        thickness, so it can be thinner than requested; depths up to the requested thickness are accepted. Behind the
        exit face there is vacuum, where signals equal those of the exit face and waves propagate freely.
    measure_error : bool
        Whether ``"thermal"`` measures its error for this sample, once, and refuses the request if the error exceeds
        ``tolerance``; with False, the result states the stored error, or else the errors measured on other samples.
    lattice_average : bool or str
        Average of frozen-phonon signals over the translations of a perfect crystal inside the cell. The average does
        not bias the signals, because their mean over all thermal displacements is invariant under these translations.
        ``"auto"`` averages if ``phonons="auto"``, the atoms form a perfect crystal (within 0.001 A), and the engine
        computes images of whole cells (``"operator"``, patterns from the scattering matrix, spectra from their
        operator). True averages any number of configurations, and refuses other engines and samples that are not
        perfect crystals. ``"point group"`` averages like True, and also over the crystal's rotations and mirrors about
        the beam direction, which transform the aberrations too. It requires images, round detectors and no tilts; each
        image takes up to eight times as long as with True, but building the operator takes no longer. False never
        averages.
    film_slices_angstrom : float, optional
        Thickness, A, up to which the local operator joins slices that contain only light atoms (up to silicon), such
        as amorphous films. The error of joining, measured with single probes relative to the separate slices, may be at most
        half of ``tolerance``. If it is larger, half the thickness is tried, then a quarter, and so on. By default the local
        operator joins no slices. The setting requires ``engine="local"``. Multislice in windows joins such slices without
        this setting if its check permits it.
    growing_windows : bool
        Whether the windows of the local operator grow with depth, within the same ``tolerance``, if that takes less
        time, as it does for thick specimens.
    displacements : str
        ``"independent"`` draws the displacements of each frozen-phonon configuration independently. ``"latin"``
        requires a number of ``phonons`` and draws all n configurations together: the distribution of each coordinate of
        each atom is divided into n equally probable intervals, and each interval is drawn once. The mean of all
        configurations then varies less than the stated standard error, which is that of independent configurations.

    Raises
    ------
    SettingsError
        A setting is invalid, or two settings contradict each other.

    Examples
    --------
    >>> import stemtwin as st
    >>> sample = st.load_sample("mos2-1h", size_angstrom=(8, 8))
    >>> beam = st.Beam(energy_ev=60e3, semiangle_mrad=30)
    >>> scan = st.RasterScan(shape=(16, 16), field_of_view_angstrom=(8, 8))
    >>> request = st.Request(sample=sample, beam=beam, scan=scan, detectors=("haadf",), phonons=2, seed=1)
    >>> st.simulate(request).haadf.shape
    (16, 16)
    """

    sample: Sample | PotentialSlices
    beam: Beam
    scan: Scan
    detectors: tuple[str | AnyDetector, ...] = ("haadf",)
    engine: str = AUTO
    phonons: int | str = "auto"
    seed: int = 0
    grid: tuple[int, int] | None = None
    sampling_angstrom: tuple[float, float] | float | None = None
    slice_thickness_angstrom: float | None = None
    parametrization: str = "kirkland"
    antialias: bool = True
    oversampling: int = 2
    tolerance: float = 0.01
    interpolation: int = 2
    tilt_mrad: tuple[float, float] = (0.0, 0.0)
    depths_angstrom: tuple[float, ...] | None = None
    blocks: tuple[int, int] | None = None
    measure_error: bool = True
    lattice_average: bool | str = AUTO
    film_slices_angstrom: float | None = None
    growing_windows: bool = False
    displacements: str = INDEPENDENT

    def __post_init__(self) -> None:
        """Check the settings."""
        _check_types(self)
        object.__setattr__(self, "detectors", checked(self.detectors))
        if not isinstance(self.engine, str) or self.engine not in (AUTO, *ENGINES):
            message = f"There is no engine named {self.engine!r}. Use one of {', '.join((AUTO, *ENGINES))}."
            raise SettingsError(message)
        if not isinstance(self.parametrization, str) or self.parametrization not in PARAMETRIZATIONS:
            message = f"There is no parametrization named {self.parametrization!r}. Use one of {', '.join(PARAMETRIZATIONS)}."
            raise SettingsError(message)
        object.__setattr__(self, "lattice_average", checked_average(self.lattice_average))
        object.__setattr__(self, "antialias", checks.flag("antialias", self.antialias))
        object.__setattr__(self, "measure_error", checks.flag("measure_error", self.measure_error))
        object.__setattr__(self, "seed", checks.whole("seed", self.seed, low=0))
        object.__setattr__(self, "oversampling", checks.whole("oversampling", self.oversampling, low=1, high=4))
        if self.grid is not None and self.sampling_angstrom is not None:
            message = f"Both grid={self.grid} and sampling_angstrom={self.sampling_angstrom} are given. Give one of them."
            raise SettingsError(message)
        if self.grid is not None:
            object.__setattr__(self, "grid", checks.whole_pair("grid", self.grid, low=8, high=8192))
        if self.sampling_angstrom is not None:
            both = self.sampling_angstrom if isinstance(self.sampling_angstrom, (tuple, list)) else (self.sampling_angstrom,) * 2
            object.__setattr__(self, "sampling_angstrom", checks.pair("sampling_angstrom", both, "A", above=0))
        if self.slice_thickness_angstrom is not None:
            value = checks.number("slice_thickness_angstrom", self.slice_thickness_angstrom, "A", low=0.05, high=100)
            object.__setattr__(self, "slice_thickness_angstrom", value)
        _check_film_slices(self)
        _check_growing_windows(self)
        object.__setattr__(self, "tolerance", checks.number("tolerance", self.tolerance, "of the mean signal", low=0, high=0.2))
        if 0 < self.tolerance < LEAST_TOLERANCE:
            message = f"tolerance={self.tolerance:g} is below {LEAST_TOLERANCE:g} of the mean signal. Use 0 for exact engines, or a larger tolerance."
            raise SettingsError(message)
        object.__setattr__(self, "interpolation", checks.whole("interpolation", self.interpolation, low=1, high=64))
        object.__setattr__(self, "tilt_mrad", checks.pair("tilt_mrad", self.tilt_mrad, "mrad"))
        if max(map(abs, self.tilt_mrad)) > LARGEST_TILT_MRAD:
            message = (
                f"tilt_mrad={self.tilt_mrad} exceeds {LARGEST_TILT_MRAD:g} mrad, the largest tilt for which slices are accurate. "
                "Choose another zone axis instead."
            )
            raise SettingsError(message)
        if self.blocks is not None:
            object.__setattr__(self, "blocks", checks.whole_pair("blocks", self.blocks, low=1, high=MOST_BLOCKS))
            if math.prod(self.blocks) > MOST_BLOCKS:
                message = f"blocks={self.blocks} gives {math.prod(self.blocks)} cells, but at most {MOST_BLOCKS} can be computed. Use fewer blocks."
                raise SettingsError(message)
        if self.depths_angstrom is not None:
            object.__setattr__(self, "depths_angstrom", _checked_depths(self.depths_angstrom, self.sample))
            if self.engine not in (AUTO, *ENGINES.names(DEPTHS)):
                message = (
                    f"engine={self.engine!r} computes signals at the exit face only, but depths_angstrom requests {self.faces} depths. "
                    f"Use engine={ENGINES.names(DEPTHS)[0]!r}, or one request for each thickness."
                )
                raise SettingsError(message)
        _check_phonons(self)
        _check_displacements(self)

    @property
    def asks_for_average(self) -> bool:
        """Return True if an average over the crystal's symmetries is requested explicitly; it then applies to any value of ``phonons``."""
        return self.lattice_average is True or self.lattice_average == POINT_GROUP

    @property
    def configurations(self) -> int:
        """Number of frozen-phonon configurations over which the signal is averaged; 1 without frozen phonons."""
        if self.phonons == "auto":
            return AUTO_PHONONS if is_thermal(self.sample) else 1
        return self.phonons if isinstance(self.phonons, int) else 1

    @property
    def faces(self) -> int:
        """Number of depths at which signals are computed: 1 without a depth series."""
        return 1 if self.depths_angstrom is None else len(self.depths_angstrom)

    @property
    def relative_tilt_rad(self) -> tuple[float, float]:
        """Tilt (ty, tx), rad, of the specimen relative to the beam.

        For a beam tilt lambda q, the wave is psi = exp(2 pi i q.r) u, and u is computed. Over a distance dz, u is
        multiplied by exp(-i pi lambda dz k^2) and by exp(-2 pi i dz lambda q.k). The second factor is equivalent to a
        specimen tilt t with tan t = -lambda q. Detectors collect the component k of u at k + q
        (``operator_cache.detector_weights``).
        """
        specimen, beam = (self.tilt_mrad[0] * 1e-3, self.tilt_mrad[1] * 1e-3), self.beam.tilt_rad
        if not any(beam):
            return specimen
        return math.atan(math.tan(specimen[0]) - beam[0]), math.atan(math.tan(specimen[1]) - beam[1])

    @property
    def thermal_motion(self) -> str:
        """Thermal motion of the atoms: ``"frozen"`` (random displacements in each configuration), ``"damped"`` or ``"static"``."""
        if self.phonons == "damped":
            return "damped"
        return "frozen" if self.phonons != "static" and is_thermal(self.sample) else "static"

    def to_dict(self) -> dict[str, Any]:
        """Return the request as nested dicts of plain values. A sample is written as its recipe, or as its arrays if it has no recipe."""
        converted = {
            "sample": serialisation.sample_to_dict(self.sample),
            "beam": serialisation.beam_to_dict(self.beam),
            "scan": serialisation.scan_to_dict(self.scan),
            "detectors": [d if isinstance(d, str) else serialisation.detector_to_dict(d) for d in self.detectors],
        }
        others = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in converted}
        return converted | {name: list(v) if isinstance(v, tuple) else v for name, v in others.items() if v is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the request that :meth:`to_dict` wrote.

        Raises
        ------
        SettingsError
            A key is missing or unknown.
        """
        needed = {item.name for item in fields(cls) if item.default is MISSING}
        known = {item.name for item in fields(cls)}
        unknown, missing = set(data) - known, needed - set(data)
        if unknown or missing:
            what = f"unknown keys: {', '.join(sorted(unknown))}" if unknown else f"no {', '.join(sorted(missing))}"
            message = f"This request has {what}. Possible keys are {', '.join(sorted(known))}; {', '.join(sorted(needed))} are required."
            raise SettingsError(message)
        read = dict(data)
        read["sample"] = serialisation.sample_from_dict(data["sample"])
        read["beam"] = serialisation.beam_from_dict(data["beam"])
        read["scan"] = serialisation.scan_from_dict(data["scan"])
        if isinstance(detectors := data.get("detectors"), list):
            read["detectors"] = tuple(d if isinstance(d, str) else serialisation.detector_from_dict(d) for d in detectors)
        return cls(**read)

    def save(self, path: str | Path) -> None:
        """Write the request as TOML, atomically."""
        write_atomically(Path(path), tomli_w.dumps(self.to_dict()).encode())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a request from TOML.

        Raises
        ------
        SettingsError
            The file cannot be read, is not TOML, or is not a request.
        """
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            message = f"The request {path} cannot be read: {error.strerror}. Write one with Request.save(path)."
            raise SettingsError(message) from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            message = f"The request {path} is not a TOML file ({error}). Write one with Request.save(path)."
            raise SettingsError(message) from None
        if not data:
            message = f"The request {path} is empty. Write one with Request.save(path)."
            raise SettingsError(message)
        return cls.from_dict(data)


def _check_types(request: Request) -> None:
    for name, kinds, repair in (
        ("sample", (Sample, PotentialSlices), "Use st.load_sample, st.read_sample or st.PotentialSlices"),
        ("beam", (Beam,), "Use st.Beam(energy_ev=..., semiangle_mrad=...)"),
        ("scan", get_args(Scan), "Use st.RasterScan(shape=..., field_of_view_angstrom=...) or another scan"),
    ):
        if not isinstance(getattr(request, name), kinds):
            message = f"{name}={getattr(request, name)!r} is not a {' or '.join(k.__name__ for k in kinds)}. {repair}."
            raise SettingsError(message)


def _deepest(sample: Sample | PotentialSlices) -> float:
    """Return the largest depth of a series, A: the larger of the sample's thickness and the requested thickness."""
    recipe = json.loads(sample.recipe) if isinstance(sample, Sample) and sample.recipe else {}
    return max(sample.thickness_angstrom, recipe.get("thickness_angstrom") or 0.0)


def _checked_depths(depths: object, sample: Sample | PotentialSlices) -> tuple[float, ...]:
    if isinstance(depths, (str, bytes)) or not isinstance(depths, Iterable):
        message = f"depths_angstrom={depths!r} is not a list of depths. Give numbers in A, for example (20, 40, 60)."
        raise SettingsError(message)
    repair = f"The sample is {sample.thickness_angstrom:.6g} A thick: omit larger depths, or use a thicker sample."
    limits = {"low": 0, "high": _deepest(sample), "repair": repair}
    out = tuple(checks.number(f"depths_angstrom[{i}]", value, "A", **limits) for i, value in enumerate(depths))
    if not out or any(b <= a for a, b in itertools.pairwise(out)):
        message = f"depths_angstrom={out} must be increasing depths. Give each depth once, the smallest first."
        raise SettingsError(message)
    return out


def _check_film_slices(request: Request) -> None:
    if request.film_slices_angstrom is None:
        return
    value = checks.number("film_slices_angstrom", request.film_slices_angstrom, "A", low=1, high=20)
    object.__setattr__(request, "film_slices_angstrom", value)
    if request.engine not in ENGINES.names(JOINING) or isinstance(request.sample, PotentialSlices):
        what = "a potential has no atoms" if isinstance(request.sample, PotentialSlices) else f"engine={request.engine!r} does not join slices"
        message = (
            f"film_slices_angstrom={value:g} applies to a sample of atoms with engine={ENGINES.names(JOINING)[0]!r}, but {what}. "
            "Use that engine with a Sample, or omit film_slices_angstrom."
        )
        raise SettingsError(message)


def _check_growing_windows(request: Request) -> None:
    object.__setattr__(request, "growing_windows", checks.flag("growing_windows", request.growing_windows))
    if request.growing_windows and request.engine not in ENGINES.names(JOINING):
        message = (
            f"growing_windows=True requires engine={ENGINES.names(JOINING)[0]!r}; engine={request.engine!r} has no growing windows. "
            "Use that engine, or omit growing_windows."
        )
        raise SettingsError(message)


def _check_phonons(request: Request) -> None:
    phonons = checked_phonons(request.phonons)
    if isinstance(phonons, str):
        if phonons == "damped" and not is_thermal(request.sample):
            message = f"phonons='damped' {_STATIC}"
            raise SettingsError(message)
        return
    object.__setattr__(request, "phonons", phonons)
    if not is_thermal(request.sample):
        message = f"phonons={phonons} {_STATIC}"
        raise SettingsError(message)


def _check_displacements(request: Request) -> None:
    if request.displacements not in (INDEPENDENT, LATIN):
        message = f"displacements={request.displacements!r} is not known. Use {INDEPENDENT!r} or {LATIN!r}."
        raise SettingsError(message)
    if request.displacements == LATIN and not isinstance(request.phonons, int):
        message = (
            f"displacements={LATIN!r} draws a fixed number of configurations together, but phonons={request.phonons!r} is not a number. "
            "Give phonons=8, for example, or omit displacements."
        )
        raise SettingsError(message)


def checked_phonons(phonons: object) -> int | str:
    """Return the checked setting ``phonons``: a number of configurations, ``"auto"``, ``"damped"`` or ``"static"``.

    Raises
    ------
    SettingsError
        The value is none of these.
    """
    if not isinstance(phonons, str):
        return checks.whole("phonons", phonons, low=1, high=10_000)
    if phonons not in ("auto", "damped", "static"):
        message = f"phonons={phonons!r} is not known. Use a number of configurations, 'auto', 'damped' or 'static'."
        raise SettingsError(message)
    return phonons


def checked_average(value: object) -> bool | str:
    """Return the checked setting ``lattice_average``: True, False, ``"auto"`` or ``"point group"``.

    Raises
    ------
    SettingsError
        The value is none of these.
    """
    if isinstance(value, str) and value not in (AUTO, POINT_GROUP):
        message = f"lattice_average={value!r} is not known. Use 'auto', 'point group', True or False."
        raise SettingsError(message)
    return value if isinstance(value, str) else checks.flag("lattice_average", value)


def is_thermal(sample: Sample | PotentialSlices) -> bool:
    """Return True if the sample's atoms have thermal displacements."""
    return isinstance(sample, Sample) and sample.thermal_sigma_angstrom is not None
