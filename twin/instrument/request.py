"""A simulation as one frozen value: what to image, with which beam, where, on which detectors, and how exactly."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import tomli_w

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument import checks
from stemtwin.twin.instrument.detectors import AnnularDetector, Detector, SegmentedDetector
from stemtwin.twin.instrument.files import write_atomically
from stemtwin.twin.instrument.scan import PathScan, RasterScan, Scan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.scattering_factors import PARAMETRIZATIONS
from stemtwin.twin.samples.sample import Sample

ENGINES = ("auto", "multislice", "operator", "abtem")
AUTO_PHONONS = 8
"""Frozen-phonon configurations of ``phonons="auto"``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """Everything that decides a simulation.

    Parameters
    ----------
    sample : Sample or PotentialSlices
        The specimen.
    beam : Beam
        The beam.
    scan : RasterScan or PathScan
        Where it goes.
    detectors : tuple
        Registry names and detectors.
    engine : str
        ``"multislice"`` (the reference), ``"operator"`` (exact, new optics in milliseconds), ``"abtem"`` (the other solver), ``"auto"``.
    phonons : int or str
        Number of frozen-phonon configurations; ``"auto"``: 8 where the sample has thermal sigmas, else static; ``"damped"``: Debye-Waller factor;
        ``"static"``.
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

    Raises
    ------
    SettingsError
        A setting makes no sense, or two contradict each other.
    """

    sample: Sample | PotentialSlices
    beam: Beam
    scan: Scan
    detectors: tuple[str | Detector, ...] = ("haadf",)
    engine: str = "auto"
    phonons: int | str = "auto"
    seed: int = 0
    grid: tuple[int, int] | None = None
    sampling_angstrom: tuple[float, float] | float | None = None
    slice_thickness_angstrom: float | None = None
    parametrization: str = "kirkland"
    antialias: bool = True
    oversampling: int = 2

    def __post_init__(self) -> None:
        """Check the settings."""
        _check_types(self)
        if isinstance(self.detectors, (str, AnnularDetector, SegmentedDetector)):
            object.__setattr__(self, "detectors", (self.detectors,))
        object.__setattr__(self, "detectors", tuple(self.detectors))
        if self.engine not in ENGINES:
            message = f"There is no engine named {self.engine!r}. Use one of {', '.join(ENGINES)}."
            raise SettingsError(message)
        if self.parametrization not in PARAMETRIZATIONS:
            message = f"There is no parametrization named {self.parametrization!r}. Use one of {', '.join(PARAMETRIZATIONS)}."
            raise SettingsError(message)
        object.__setattr__(self, "seed", checks.whole("seed", self.seed, low=0))
        object.__setattr__(self, "oversampling", checks.whole("oversampling", self.oversampling, low=1, high=4))
        if self.grid is not None and self.sampling_angstrom is not None:
            message = f"Both grid={self.grid} and sampling_angstrom={self.sampling_angstrom} are given. Give one of them."
            raise SettingsError(message)
        if self.grid is not None:
            ny, nx = self.grid
            object.__setattr__(self, "grid", (checks.whole("grid[0]", ny, low=8, high=8192), checks.whole("grid[1]", nx, low=8, high=8192)))
        if self.sampling_angstrom is not None:
            both = self.sampling_angstrom if isinstance(self.sampling_angstrom, (tuple, list)) else (self.sampling_angstrom,) * 2
            object.__setattr__(self, "sampling_angstrom", checks.pair("sampling_angstrom", both, "A", above=0))
        if self.slice_thickness_angstrom is not None:
            value = checks.number("slice_thickness_angstrom", self.slice_thickness_angstrom, "A", low=0.05, high=100)
            object.__setattr__(self, "slice_thickness_angstrom", value)
        _check_phonons(self)

    @property
    def configurations(self) -> int:
        """Number of specimens that the signal is a mean of: frozen-phonon configurations, or 1."""
        if self.phonons == "auto":
            return AUTO_PHONONS if _is_thermal(self.sample) else 1
        return self.phonons if isinstance(self.phonons, int) else 1

    def to_dict(self) -> dict[str, Any]:
        """Return the request as nested dicts of plain values; a sample stands by its recipe, or by its arrays where it has none."""
        out: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None:
                continue
            if item.name == "sample":
                out["sample"] = sample_to_dict(value)
            elif item.name == "scan":
                out["scan"] = scan_to_dict(value)
            elif item.name == "detectors":
                out["detectors"] = [d if isinstance(d, str) else detector_to_dict(d) for d in value]
            elif item.name == "beam":
                out["beam"] = beam_to_dict(value)
            else:
                out[item.name] = list(value) if isinstance(value, tuple) else value
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the request that :meth:`to_dict` wrote.

        Raises
        ------
        SettingsError
            A key is missing or unknown.
        """
        data = dict(data)
        known = {item.name for item in fields(cls)}
        unknown, missing = set(data) - known, {"sample", "beam", "scan"} - set(data)
        if unknown or missing:
            what = f"unknown key {', '.join(sorted(unknown))}" if unknown else f"no {', '.join(sorted(missing))}"
            message = f"This request has {what}. Its keys are {', '.join(sorted(known))}; sample, beam and scan are needed."
            raise SettingsError(message)
        data["sample"] = sample_from_dict(data["sample"])
        data["beam"] = beam_from_dict(data["beam"])
        data["scan"] = scan_from_dict(data["scan"])
        data["detectors"] = tuple(d if isinstance(d, str) else detector_from_dict(d) for d in data.get("detectors", ("haadf",)))
        for name in ("grid", "sampling_angstrom"):
            if isinstance(data.get(name), list):
                data[name] = tuple(data[name])
        return cls(**data)

    def save(self, path: str | Path) -> None:
        """Write the request as TOML, atomically."""
        write_atomically(Path(path), tomli_w.dumps(self.to_dict()).encode())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a request from TOML.

        Raises
        ------
        SettingsError
            The file cannot be read, is no TOML, or is no request.
        """
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            message = f"{path} cannot be read as a request: {error}. Write one with Request.save(path)."
            raise SettingsError(message) from None
        return cls.from_dict(data)


def _check_types(request: Request) -> None:
    for name, kinds, repair in (
        ("sample", (Sample, PotentialSlices), "Use st.load_sample, st.read_sample or st.PotentialSlices"),
        ("beam", (Beam,), "Use st.Beam(energy_ev=..., semiangle_mrad=...)"),
        ("scan", (RasterScan, PathScan), "Use st.RasterScan or st.PathScan"),
    ):
        if not isinstance(getattr(request, name), kinds):
            message = f"{name}={getattr(request, name)!r} is no {' or '.join(k.__name__ for k in kinds)}. {repair}."
            raise SettingsError(message)


def _check_phonons(request: Request) -> None:
    phonons = request.phonons
    if isinstance(phonons, str):
        if phonons not in ("auto", "damped", "static"):
            message = f"phonons={phonons!r} is not known. Use a number of configurations, 'auto', 'damped' or 'static'."
            raise SettingsError(message)
        if phonons == "damped" and not _is_thermal(request.sample):
            message = "phonons='damped' needs thermal displacements, but this sample is static. Give it thermal_sigma_angstrom, or use phonons='static'."
            raise SettingsError(message)
        return
    object.__setattr__(request, "phonons", checks.whole("phonons", phonons, low=1, high=10_000))
    if not _is_thermal(request.sample):
        message = f"phonons={phonons} needs thermal displacements, but this sample is static. Give it thermal_sigma_angstrom, or use phonons='static'."
        raise SettingsError(message)


def _is_thermal(sample: Sample | PotentialSlices) -> bool:
    return isinstance(sample, Sample) and sample.thermal_sigma_angstrom is not None


def beam_to_dict(beam: Beam) -> dict[str, Any]:
    """Return a beam as plain values; aberrations that are zero are left out."""
    out = {item.name: getattr(beam, item.name) for item in fields(beam) if item.name != "aberrations"}
    out["aberrations"] = {k: v for k, v in asdict(beam.aberrations).items() if v}
    return out


def beam_from_dict(data: Mapping[str, Any]) -> Beam:
    """Return the beam that :func:`beam_to_dict` wrote."""
    return _make(Beam, {**data, "aberrations": _make(Aberrations, data.get("aberrations", {}))})


def detector_to_dict(detector: Detector) -> dict[str, Any]:
    """Return a detector as plain values."""
    return {"kind": "annular" if isinstance(detector, AnnularDetector) else "segmented", **asdict(detector)}


def detector_from_dict(data: Mapping[str, Any]) -> Detector:
    """Return the detector that :func:`detector_to_dict` wrote."""
    data = dict(data)
    return _make(SegmentedDetector if data.pop("kind", "annular") == "segmented" else AnnularDetector, data)


def scan_to_dict(scan: Scan) -> dict[str, Any]:
    """Return a scan as plain values."""
    if isinstance(scan, PathScan):
        return {"kind": "path", "positions_angstrom": scan.positions_angstrom.tolist()}
    return {"kind": "raster", **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(scan).items()}}


def scan_from_dict(data: Mapping[str, Any]) -> Scan:
    """Return the scan that :func:`scan_to_dict` wrote."""
    data = dict(data)
    kind = data.pop("kind", "raster")
    if kind == "path":
        return _make(PathScan, data)
    return _make(RasterScan, {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})


def sample_to_dict(sample: Sample | PotentialSlices) -> dict[str, Any]:
    """Return a sample by its recipe, or by its arrays."""
    if isinstance(sample, PotentialSlices):
        return {
            "kind": "potential",
            "array": sample.array.tolist(),
            "sampling_angstrom": list(sample.sampling_angstrom),
            "z_angstrom": sample.z_angstrom.tolist(),
        }
    return json.loads(sample.recipe)


def sample_from_dict(data: Mapping[str, Any]) -> Sample | PotentialSlices:
    """Return the sample that :func:`sample_to_dict` wrote; files are read and library samples built again."""
    data = dict(data)
    if data.get("kind") == "potential":
        data.pop("kind")
        data["sampling_angstrom"] = tuple(data["sampling_angstrom"])
        return _make(PotentialSlices, data)
    from stemtwin.twin.samples.readers import sample_from_recipe  # noqa: PLC0415 - readers are slow to import

    return sample_from_recipe(json.dumps(data))


def _make(kind: type, data: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever the kind is
    try:
        return kind(**data)
    except TypeError as error:
        message = f"{kind.__name__} cannot be made of {', '.join(data)}: {error}."
        raise SettingsError(message) from None
