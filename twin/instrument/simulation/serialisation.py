"""Serialisation of settings as plain values (dicts, lists, numbers, strings) for files and attributes."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_type_hints

from stemtwin.twin.errors import SettingsError, StemtwinError
from stemtwin.twin.instrument.detectors import DETECTOR_KINDS, AnyDetector, kind_of
from stemtwin.twin.instrument.scan import SCANS, Scan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample

ARRAYS = ("numbers", "positions_angstrom", "size_angstrom", "thermal_sigma_angstrom", "notes", "sites")
"""Fields of a sample that are arrays or tuples."""


def beam_to_dict(beam: Beam) -> dict[str, Any]:
    """Return a beam as plain values, without aberrations that are zero."""
    out = {item.name: getattr(beam, item.name) for item in fields(beam) if item.name != "aberrations"}
    out["beam_tilt_mrad"] = list(beam.beam_tilt_mrad)
    return out | {"aberrations": {name: value for name, value in asdict(beam.aberrations).items() if value}}


def beam_from_dict(data: object) -> Beam:
    """Return the beam that :func:`beam_to_dict` wrote."""
    given = _mapping("beam", data)
    return _make(Beam, {**given, "aberrations": _make(Aberrations, _mapping("aberrations", given.get("aberrations", {})))})


def detector_to_dict(detector: AnyDetector) -> dict[str, Any]:
    """Return a detector as plain values, without settings that are None."""
    kind = kind_of(detector)
    settings: dict[str, Any] = asdict(detector)  # type: ignore[call-overload] - kinds of detectors are dataclasses
    return {"kind": kind, **{name: list(value) if isinstance(value, tuple) else value for name, value in settings.items() if value is not None}}


def detector_from_dict(data: object) -> AnyDetector:
    """Return the detector that :func:`detector_to_dict` wrote."""
    return _by_kind("detector", data, {name: DETECTOR_KINDS[name] for name in DETECTOR_KINDS})


def scan_to_dict(scan: Scan) -> dict[str, Any]:
    """Return a scan as plain values."""
    kind = next(name for name in SCANS if SCANS[name] is type(scan))
    given = {item.name: getattr(scan, item.name) for item in fields(scan)}
    return {"kind": kind, **{name: _listed(value) for name, value in given.items() if value is not None}}


def scan_from_dict(data: object) -> Scan:
    """Return the scan that :func:`scan_to_dict` wrote."""
    return _by_kind("scan", data, {name: SCANS[name] for name in SCANS})


def sample_to_dict(sample: Sample | PotentialSlices) -> dict[str, Any]:
    """Return a sample as its recipe, or as its arrays if the recipe does not reproduce it.

    A recipe does not reproduce a sample that was changed or whose file is missing.
    """
    if isinstance(sample, PotentialSlices):
        return {
            "kind": "potential",
            "array": sample.array.tolist(),
            "sampling_angstrom": list(sample.sampling_angstrom),
            "z_angstrom": sample.z_angstrom.tolist(),
        }
    if _made_by_recipe(sample):
        recipe = {name: value for name, value in json.loads(sample.recipe).items() if value is not None}
        return {**recipe, "digest": sample.digest}
    out: dict[str, Any] = {"kind": "arrays"}
    if sample.defects:
        out["defects"] = [{name: list(v) if isinstance(v, tuple) else v for name, v in asdict(one).items()} for one in sample.defects]
    for item in fields(sample):
        value = getattr(sample, item.name)
        if item.name not in ("recipe", "defects") and value is not None:
            out[item.name] = [v.tolist() if hasattr(v, "tolist") else v for v in value] if item.name in ARRAYS else value
    return out


def sample_from_dict(data: object) -> Sample | PotentialSlices:
    """Return the sample that :func:`sample_to_dict` wrote.

    A sample from a file is read again from the file, and a sample from the library is built again.

    Raises
    ------
    SettingsError
        The values do not describe a sample, or the sample differs from the one that was written.
    StructureFileError
        The sample's file is missing or has changed.
    """
    given = dict(_mapping("sample", data))
    if given.get("kind") in ("potential", "arrays"):
        return _by_kind("sample", given, {"potential": PotentialSlices, "arrays": Sample})
    digest = given.pop("digest", None)
    try:
        sample = _from_recipe(json.dumps(given))
    except TypeError as error:
        message = f"A sample cannot be created from {', '.join(given)}: {error}."
        raise SettingsError(message) from None
    if digest is not None and sample.digest != digest:
        message = (
            f"The sample {sample.name!r} differs from the one that was written (digest {sample.digest[:12]}, written {str(digest)[:12]}). "
            "Use the version of stemtwin that wrote it, or remove the digest to accept the present sample."
        )
        raise SettingsError(message)
    return sample


def _made_by_recipe(sample: Sample) -> bool:
    if not sample.recipe:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they were issued when the sample was created
            return _from_recipe(sample.recipe).digest == sample.digest
    except StemtwinError:
        return False


def _from_recipe(recipe: str) -> Sample:
    from stemtwin.twin.samples.readers.read_sample import sample_from_recipe  # readers are slow to import

    return sample_from_recipe(recipe)


def _listed(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else list(value) if isinstance(value, tuple) else value


def _mapping(name: str, data: object) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        message = f"{name}={data!r} is not a table of settings. Give names and values."
        raise SettingsError(message)
    return data


def _by_kind(name: str, data: object, kinds: Mapping[str, type]) -> Any:
    given = dict(_mapping(name, data))
    kind = given.pop("kind", next(iter(kinds)))
    if kind not in kinds:
        message = f"kind={kind!r} of a {name} is not known. Use one of {', '.join(kinds)}."
        raise SettingsError(message)
    return _make(kinds[kind], {key: _nested(kinds[kind], key, value) for key, value in given.items()})


def _nested(kind: type, key: str, value: Any) -> Any:
    """Return the value of a field; a field that holds a dataclass is created from a table of its settings."""
    hint = get_type_hints(kind).get(key)
    inner = next((one for one in (get_args(hint) if isinstance(hint, UnionType) else (hint,)) if isinstance(one, type) and is_dataclass(one)), None)
    return value if inner is None else _make(inner, _mapping(key, value))


def _make(kind: type, data: Mapping[str, Any]) -> Any:
    try:
        return kind(**data)
    except TypeError as error:
        message = f"{kind.__name__} cannot be created from {', '.join(data)}: {error}."
        raise SettingsError(message) from None
