"""Croissant metadata of a built dataset (MLCommons, JSON-LD, format 1.1) for its Parquet files and columns.

Each Parquet file is described by a file object with its SHA-256 and by a record set. The record set is named after the
split; the number of the shard is appended if the split has several shards. Arrays and ragged columns are described as
Croissant arrays. Cubes, which are arrays too large for tables, are stored as zarr and are omitted, because Hugging Face's
reader omits them, too.

References
----------
.. [1] MLCommons, Croissant Format Specification, version 1.1, https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html.
"""

from typing import Any

from stemtwin.datasets.cards import Card
from stemtwin.datasets.columns import Column
from stemtwin.datasets.manifest import FileEntry, Manifest
from stemtwin.datasets.storage import tabular

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
FILE = "croissant.json"
LICENCES = {
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
}
TYPES = {"string": "sc:Text", "bool": "sc:Boolean", "float64": "cr:Float64", "float32": "cr:Float32", "int64": "cr:Int64", "int32": "cr:Int32"}
TYPES |= {"uint32": "cr:UInt32", "uint16": "cr:UInt16", "uint8": "cr:UInt8"}
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "annotation": "cr:annotation",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataBiases": "cr:dataBiases",
    "dataCollection": "cr:dataCollection",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "excludes": "cr:excludes",
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "personalSensitiveInformation": "cr:personalSensitiveInformation",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""JSON-LD context of the specification."""


def croissant(card: Card, manifest: Manifest, *, url: str = "", published: str = "") -> dict[str, Any]:
    """Return the Croissant metadata of a built dataset in JSON types, for the file ``croissant.json`` in its folder.

    Parameters
    ----------
    card : Card
        Card of the dataset.
    manifest : Manifest
        Manifest of the build.
    url : str
        Web address of the dataset's folder. With ``""``, the addresses of the files are relative to the metadata file.
    published : str
        Date of publication, ISO 8601; with ``""``, the metadata contain no date.
    """
    files = [(entry, record_set(manifest, entry)) for entry in manifest.files if entry.carrier == "parquet"]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": f"{card.name}-{manifest.size}",
        "alternateName": card.title,
        "description": " ".join(card.description.split()),
        "version": card.version,
        "license": LICENCES.get(card.licence, card.licence),
        "url": url or f"https://pypi.org/project/stemtwin/#{card.id}",
        **({"datePublished": published} if published else {}),
        "creator": {"@type": "sc:Organization", "name": "stemtwin contributors"},
        "keywords": ["scanning transmission electron microscopy", "simulation", card.kind],
        "citeAs": card.citation,
        "isLiveDataset": False,
        "rai:dataCollection": "Simulated from the card by stemtwin; nothing was measured.",
        "rai:dataLimitations": list(card.limits),
        "rai:dataCollectionType": "Simulations",
        "distribution": [_file_object(entry, url) for entry, _ in files],
        "recordSet": [_records(card, entry, name) for entry, name in files],
    }


def record_set(manifest: Manifest, entry: FileEntry) -> str:
    """Return the name of a Parquet file's record set: the split, with the shard number if the split has several shards."""
    shards = manifest.paths(str(entry.split), "parquet")
    return str(entry.split) if len(shards) == 1 else f"{entry.split}-{shards.index(entry.path):05d}"


def _file_object(entry: FileEntry, url: str) -> dict[str, Any]:
    """Return the description of a file."""
    return {
        "@type": "cr:FileObject",
        "@id": entry.path,
        "name": entry.path,
        "contentUrl": f"{url.rstrip('/')}/{entry.path}" if url else entry.path,
        "contentSize": f"{entry.bytes} B",
        "encodingFormat": "application/x-parquet",
        "sha256": entry.sha256,
    }


def _records(card: Card, entry: FileEntry, name: str) -> dict[str, Any]:
    """Return the record set of a file, with a field for each column."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"Rows of {entry.path}; the split is {entry.split}, and no specimen is in two splits.",
        "key": {"@id": f"{name}/sample_id"},
        "field": [_field(column, entry, name) for column in tabular(card)],
    }


def _field(column: Column, entry: FileEntry, name: str) -> dict[str, Any]:
    """Return the field of a column."""
    unit = "" if column.unit == "1" else f" [{column.unit}]"
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{name}/{column.name}",
        "name": column.name,
        "description": f"{column.role}: {column.meaning}{unit}",
        "dataType": TYPES[column.dtype],
        "source": {"fileObject": {"@id": entry.path}, "extract": {"column": column.name}},
    }
    if column.ragged or column.shape:
        field |= {"isArray": True, "arrayShape": "-1" if column.ragged else ",".join(map(str, column.shape))}
    return field
