"""A simulation as one frozen value: what to image, with which beam, where, on which detectors, and how exactly."""

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
"""The engine that the planner chooses."""
MOST_BLOCKS = 2**15
"""Cells that a probe can spread over: a plan looks at each of them, and beyond this no memory holds what it would need."""
LEAST_TOLERANCE = 1e-4
"""Smallest tolerance beside 0: single precision is no better."""
POINT_GROUP = "point group"
"""The average over a crystal's translations, turns and mirrors."""
INDEPENDENT, LATIN = "independent", "latin"
"""Thermal displacements of frozen-phonon configurations: drawn one by one, or together."""
AUTO_PHONONS = 8
"""Frozen-phonon configurations of ``phonons="auto"``."""
_STATIC = "needs thermal displacements, but this sample is static. Give it thermal_sigma_angstrom, or use phonons='static'."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """Everything that decides a simulation.

    Parameters
    ----------
    sample : Sample or PotentialSlices
        The specimen.
    beam : Beam
        The beam.
    scan : RasterScan, SerpentineScan, SparseScan, SpiralScan, LissajousScan or PathScan
        Where it goes.
    detectors : tuple
        Registry names and detectors.
    engine : str
        ``"multislice"`` (the reference), ``"operator"`` (exact, new optics in milliseconds), ``"local"`` (dark field of large or changing thin
        specimens, to ``tolerance``), ``"tiled"`` (operators on overlapping windows of a large field, any detector, to ``tolerance``), ``"prism"``
        (every ``interpolation``-th plane wave), ``"thermal"`` (dark field by thermal diffuse cross-sections, to ``tolerance``), ``"abtem"`` (the
        other solver), ``"auto"``.
    phonons : int or str
        Number of frozen-phonon configurations; ``"auto"``: 8 where the sample has thermal sigmas, or as few as reach the error of 8 by
        ``lattice_average``, else static; ``"damped"``: Debye-Waller factor, for bright fields alone: thermal diffuse scattering, most of a dark
        field, is left out; ``"static"``.
    seed : int
        Of the thermal displacements.
    grid : tuple of int, optional
        Points (ny, nx) of the wave; rounded up to sizes with factors 2, 3 and 5. By default what the detectors need.
    sampling_angstrom : float or tuple of float, optional
        Largest distance between points, A, instead of ``grid``.
    slice_thickness_angstrom : float, optional
        By default slices are atomic planes.
    parametrization : str
        ``"kirkland"`` or ``"lobato"``.
    antialias : bool
        Aperture and detector edges by covered fractions of reciprocal pixels; False: pixel masks.
    oversampling : int
        exp(i sigma V) is evaluated on a grid so many times finer.
    tolerance : float
        Of the local operator and of windows: rms error over random points of multislice, divided by the mean signal; 0: exact engines alone, and
        multislice of each probe through the whole field.
    interpolation : int
        f of PRISM; 1 is exact.
    tilt_mrad : tuple of float
        Tilt of the specimen (ty, tx), mrad, as shapes and fields are (y, x): an atom at depth z appears at x + z tan tx. Of a stage these are
        (alpha, beta). ``Beam`` has the beam's tilt, (x, y).
    blocks : tuple of int, optional
        Number of cells (ny, nx) that the window of one probe spans; by default as many as the probe needs. ``(1, 1)``: the cell as one window, for
        comparison with codes that do not divide the aperture; a probe wider than the cell then overlaps with itself.
    depths_angstrom : tuple of float, optional
        Signals at several depths from one pass, A, increasing, from 0 to the sample's thickness: what the detectors would see if the sample ended
        there, behind all planes at or above that depth (at 0 behind atoms on the entrance face). By multislice or the operator. Without it: at the
        exit face. A sample of the library, or from a file, has the whole repeats nearest to the thickness that was asked for: depths up to that
        thickness are taken too. Behind the exit face there is vacuum, so that signals are those of the exit face, and waves are propagated.
    measure_error : bool
        Of ``"thermal"``: measure its error for this sample, once, and refuse what misses ``tolerance``; False: only state the errors measured on
        other samples.
    lattice_average : bool or str
        Average the signals of frozen phonons over the translations of a perfect crystal inside the cell, which is exact and unbiased: the mean over
        all displacements has this symmetry, that of a few configurations has not. ``"auto"``: where ``phonons="auto"``, the sample is a perfect
        crystal by the places of its atoms (within 0.001 A), and the engine has images of whole cells (``"operator"``, patterns by the scattering
        matrix, spectra by their operator). True: with any number of configurations; a sample that is no perfect crystal and other engines are
        refused. ``"point group"``: as True, and over the crystal's turns and mirrors across the beam, for which the aberrations are turned along:
        images on round detectors, without tilts; each image takes up to eight times as long, the operator no longer. False: never.
    film_slices_angstrom : float, optional
        Of the local operator: slices that hold light atoms alone (up to silicon), such as amorphous films, are joined up to this thickness, A, where
        the check allows it: where single probes through all slices show that joining costs at most half of ``tolerance``, else up to a half, a
        quarter ... of it. Without it: never. Windows of single probes join them by themselves where their own check allows it.
    growing_windows : bool
        Of the local operator: whether windows grow with depth, within the same ``tolerance``, where that takes less time: thick specimens.
    displacements : str
        ``"independent"`` in each frozen-phonon configuration, or ``"latin"``: drawn together, each coordinate of each atom once from each of as many
        equally probable intervals, for a number of ``phonons``. The mean of all configurations then varies less than the stated standard error,
        that of independent ones.

    Raises
    ------
    SettingsError
        A setting makes no sense, or two contradict each other.
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
            message = f"tolerance={self.tolerance:g} is below {LEAST_TOLERANCE:g} of the mean signal. Use 0 for exact work, or at least that."
            raise SettingsError(message)
        object.__setattr__(self, "interpolation", checks.whole("interpolation", self.interpolation, low=1, high=64))
        object.__setattr__(self, "tilt_mrad", checks.pair("tilt_mrad", self.tilt_mrad, "mrad"))
        if max(map(abs, self.tilt_mrad)) > LARGEST_TILT_MRAD:
            message = f"tilt_mrad={self.tilt_mrad} is beyond {LARGEST_TILT_MRAD:g} mrad, where slices are no good cut. Turn the zone axis instead."
            raise SettingsError(message)
        if self.blocks is not None:
            object.__setattr__(self, "blocks", checks.whole_pair("blocks", self.blocks, low=1, high=MOST_BLOCKS))
            if math.prod(self.blocks) > MOST_BLOCKS:
                message = f"blocks={self.blocks} are {math.prod(self.blocks)} cells, and at most {MOST_BLOCKS} can be computed. Ask for fewer."
                raise SettingsError(message)
        if self.depths_angstrom is not None:
            object.__setattr__(self, "depths_angstrom", _checked_depths(self.depths_angstrom, self.sample))
            if self.engine not in (AUTO, *ENGINES.names(DEPTHS)):
                message = (
                    f"engine={self.engine!r} gives signals at the exit face only, and depths_angstrom asks for {self.faces} depths. "
                    f"Use engine={ENGINES.names(DEPTHS)[0]!r}, or one request for each thickness."
                )
                raise SettingsError(message)
        _check_phonons(self)
        _check_displacements(self)

    @property
    def asks_for_average(self) -> bool:
        """Return whether an average over the crystal's symmetries is asked for by name, whatever ``phonons`` is."""
        return self.lattice_average is True or self.lattice_average == POINT_GROUP

    @property
    def configurations(self) -> int:
        """Number of specimens that the signal is a mean of: frozen-phonon configurations, or 1."""
        if self.phonons == "auto":
            return AUTO_PHONONS if is_thermal(self.sample) else 1
        return self.phonons if isinstance(self.phonons, int) else 1

    @property
    def faces(self) -> int:
        """Number of depths at which there are signals: 1 without a depth series."""
        return 1 if self.depths_angstrom is None else len(self.depths_angstrom)

    @property
    def relative_tilt_rad(self) -> tuple[float, float]:
        """Tilt (ty, tx), rad, of the specimen against the beam.

        Waves are computed relative to a tilted beam, psi = exp(2 pi i q.r) u: over a distance dz, u is multiplied by exp(-i pi lambda dz k^2) and by
        exp(-2 pi i dz lambda q.k), which is a specimen tilt of tan t = -lambda q. Detectors see u at k + q (``operator_cache.detector_weights``).
        """
        specimen, beam = (self.tilt_mrad[0] * 1e-3, self.tilt_mrad[1] * 1e-3), self.beam.tilt_rad
        if not any(beam):
            return specimen
        return math.atan(math.tan(specimen[0]) - beam[0]), math.atan(math.tan(specimen[1]) - beam[1])

    @property
    def thermal_motion(self) -> str:
        """Thermal motion of the atoms: ``"frozen"`` (at random places in each configuration), ``"damped"`` or ``"static"``."""
        if self.phonons == "damped":
            return "damped"
        return "frozen" if self.phonons != "static" and is_thermal(self.sample) else "static"

    def to_dict(self) -> dict[str, Any]:
        """Return the request as nested dicts of plain values; a sample stands by its recipe, or by its arrays where it has none."""
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
            message = f"This request has {what}. Its keys are {', '.join(sorted(known))}; {', '.join(sorted(needed))} are needed."
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
            message = f"{name}={getattr(request, name)!r} is no {' or '.join(k.__name__ for k in kinds)}. {repair}."
            raise SettingsError(message)


def _deepest(sample: Sample | PotentialSlices) -> float:
    """Return the largest depth of a series, A: the thickness that the sample has, or the one that was asked for."""
    recipe = json.loads(sample.recipe) if isinstance(sample, Sample) and sample.recipe else {}
    return max(sample.thickness_angstrom, recipe.get("thickness_angstrom") or 0.0)


def _checked_depths(depths: object, sample: Sample | PotentialSlices) -> tuple[float, ...]:
    if isinstance(depths, (str, bytes)) or not isinstance(depths, Iterable):
        message = f"depths_angstrom={depths!r} is no list of depths. Give numbers of A, for example (20, 40, 60)."
        raise SettingsError(message)
    repair = f"The sample is {sample.thickness_angstrom:.6g} A thick: leave larger depths out, or use a thicker sample."
    limits = {"low": 0, "high": _deepest(sample), "repair": repair}
    out = tuple(checks.number(f"depths_angstrom[{i}]", value, "A", **limits) for i, value in enumerate(depths))
    if not out or any(b <= a for a, b in itertools.pairwise(out)):
        message = f"depths_angstrom={out} are not increasing depths. Give each depth once, the smallest first."
        raise SettingsError(message)
    return out


def _check_film_slices(request: Request) -> None:
    if request.film_slices_angstrom is None:
        return
    value = checks.number("film_slices_angstrom", request.film_slices_angstrom, "A", low=1, high=20)
    object.__setattr__(request, "film_slices_angstrom", value)
    if request.engine not in ENGINES.names(JOINING) or isinstance(request.sample, PotentialSlices):
        what = "a potential has no atoms" if isinstance(request.sample, PotentialSlices) else f"engine={request.engine!r} joins none"
        message = (
            f"film_slices_angstrom={value:g} joins slices of atoms for engine={ENGINES.names(JOINING)[0]!r}, and {what}. "
            "Use that engine with a Sample, or leave it out."
        )
        raise SettingsError(message)


def _check_growing_windows(request: Request) -> None:
    object.__setattr__(request, "growing_windows", checks.flag("growing_windows", request.growing_windows))
    if request.growing_windows and request.engine not in ENGINES.names(JOINING):
        message = (
            f"growing_windows=True is for engine={ENGINES.names(JOINING)[0]!r}, and engine={request.engine!r} has no windows that grow. "
            "Use that engine, or leave it out."
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
            f"displacements={LATIN!r} draws a number of configurations together, and phonons={request.phonons!r} is none. "
            "Give phonons=8, or leave displacements out."
        )
        raise SettingsError(message)


def checked_phonons(phonons: object) -> int | str:
    """Return a number of frozen-phonon configurations, or one of the words that stand for it.

    Raises
    ------
    SettingsError
        It is neither.
    """
    if not isinstance(phonons, str):
        return checks.whole("phonons", phonons, low=1, high=10_000)
    if phonons not in ("auto", "damped", "static"):
        message = f"phonons={phonons!r} is not known. Use a number of configurations, 'auto', 'damped' or 'static'."
        raise SettingsError(message)
    return phonons


def checked_average(value: object) -> bool | str:
    """Return a setting of the average over lattice translations: a flag, ``"auto"`` or ``"point group"``.

    Raises
    ------
    SettingsError
        It is none of these.
    """
    if isinstance(value, str) and value not in (AUTO, POINT_GROUP):
        message = f"lattice_average={value!r} is not known. Use 'auto', 'point group', True or False."
        raise SettingsError(message)
    return value if isinstance(value, str) else checks.flag("lattice_average", value)


def is_thermal(sample: Sample | PotentialSlices) -> bool:
    """Return whether the sample's atoms have thermal displacements."""
    return isinstance(sample, Sample) and sample.thermal_sigma_angstrom is not None
