"""A search for truth in what a participant gets: names, ids, order, attributes, and the metadata of Parquet, netCDF and zarr."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq

SHUFFLES = 1999
LIKELY = 2e-3
"""Probability of chance below which an order or an id tells truth."""
LAGS = 12
SHORTEST = 3
"""Letters of a text below which it is found anywhere."""


def texts_of(folder: Path) -> Iterator[tuple[str, str]]:
    """Give every name and text of a folder that is no array, and where it stands."""
    for path in sorted(folder.rglob("*")):
        yield "path", str(path.relative_to(folder))
        if path.suffix == ".parquet":
            yield from _parquet_texts(path)
        elif path.suffix == ".nc":
            yield from _netcdf_texts(path)
        elif path.name.startswith(".z") or path.suffix in (".json", ".toml", ".md", ".txt"):  # zarr.json among them
            yield path.name, path.read_text()


def _parquet_texts(path: Path) -> Iterator[tuple[str, str]]:
    schema = pq.read_schema(path)
    for key, value in (schema.metadata or {}).items():
        yield f"{path.name}: {key.decode()}", value.decode(errors="replace") if key != b"ARROW:schema" else ""
    for field in schema:
        yield f"{path.name}: column", field.name
        yield f"{path.name}: metadata of {field.name}", json.dumps({str(k): str(v) for k, v in (field.metadata or {}).items()})
    footer = pq.ParquetFile(path).metadata
    yield f"{path.name}: footer", f"{footer.created_by} {dict(footer.metadata or {}).keys()}"


def _netcdf_texts(path: Path) -> Iterator[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    def visit(name: str, item: Any) -> None:
        found.append((f"{path.name}: name", name))
        found.extend((f"{path.name}: {name}.{key}", str(value)) for key, value in item.attrs.items())

    with h5py.File(path) as file:
        found.extend((f"{path.name}: {key}", str(value)) for key, value in file.attrs.items())
        file.visititems(visit)
    yield from found


def told_by_texts(folder: Path, rows: Mapping[str, np.ndarray], hidden: Sequence[str]) -> list[str]:
    """Return the places where the name or a text value of a hidden column stands in a folder's names and metadata."""
    words = {name for name in hidden if len(name) >= SHORTEST}
    for name in hidden:
        if rows[name].dtype.kind == "U":
            words |= {word for word in np.unique(rows[name]).tolist() if len(word) >= SHORTEST}
    return [f"{where}: {word}" for where, text in texts_of(folder) for word in sorted(words) if _stands_in(word, text)]


def _stands_in(word: str, text: str) -> bool:
    """Return whether a word stands in a text, not as a part of a longer one."""
    return word in text and re.search(rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])", text) is not None


def told_by_order(order: np.ndarray, rows: Mapping[str, np.ndarray], hidden: Sequence[str]) -> list[str]:
    """Return the hidden columns that an order of the rows tells about.

    Neighbours at some distance are more alike than in shuffled rows, or a value rises or falls along the order.
    """
    rng = np.random.default_rng(0)
    shuffles = np.argsort(rng.random((SHUFFLES, len(order))), axis=1)
    return [name for name in hidden if (values := _numbers(rows[name])) is not None and _chance(values[order], shuffles) < LIKELY]


def _numbers(values: np.ndarray) -> np.ndarray | None:
    """Return single values as numbers, words by their place among all; None for columns with one value or with lists."""
    if values.ndim != 1 or len(np.unique(values)) < 2:
        return None
    return np.unique(values, return_inverse=True)[1].astype(float)


def _chance(values: np.ndarray, shuffles: np.ndarray) -> float:
    """Return the share of shuffles whose largest likeness is at least that of the order."""
    found = _likeness(values[None])[0]
    return float(((_likeness(values[shuffles]) >= found - 1e-12).sum() + 1) / (len(shuffles) + 1))


def _likeness(values: np.ndarray) -> np.ndarray:
    """Return the largest of equal neighbours and near neighbours at any lag, and of the trend, each in its standard deviations, for each row."""
    n = values.shape[1]
    spread = values - values.mean(axis=1, keepdims=True)
    spread /= spread.std(axis=1, keepdims=True)
    best = np.abs(spread @ np.linspace(-1, 1, n)) * np.sqrt(3 / n)
    _, counts = np.unique(values[0], return_counts=True)
    alike = float((counts * (counts - 1)).sum() / (n * (n - 1)))
    for lag in range(1, min(LAGS, n // 2) + 1):
        m = n - lag
        best = np.maximum(best, np.abs((spread[:, :-lag] * spread[:, lag:]).sum(axis=1)) / np.sqrt(m))
        equal = (values[:, :-lag] == values[:, lag:]).sum(axis=1)
        best = np.maximum(best, (equal - m * alike) / np.sqrt(max(m * alike * (1 - alike), 1e-9)))
    return best


def told_by_ids(ids: np.ndarray, rows: Mapping[str, np.ndarray], hidden: Sequence[str]) -> list[str]:
    """Return the hidden columns whose text stands in ids, or that the order of the ids tells about."""
    inside = [
        name
        for name in hidden
        if rows[name].ndim == 1 and rows[name].dtype.kind in "Ui" and len(np.unique(rows[name])) > 1 and _in_ids(ids, rows[name])
    ]
    return sorted({*inside, *told_by_order(np.argsort(ids, kind="stable"), rows, hidden)})


def _in_ids(ids: np.ndarray, values: np.ndarray) -> bool:
    """Return whether most ids hold the text of their value."""
    texts = values.astype(str)
    long = np.char.str_len(texts) >= SHORTEST
    return bool(long.any() and np.mean([text in name for text, name in zip(texts[long], ids[long], strict=True)]) > 0.5)
