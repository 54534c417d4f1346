"""Strict reader of YAML headers, which must be small and flat, with each key once and plain values only."""

import codecs
from pathlib import Path
from typing import Any

import yaml

from stemtwin.twin.errors import SubmissionError

LARGEST_BYTES = 64_000
DEEPEST = 3
"""Deepest nesting: the header, a value that is a list or a mapping, and one more below it."""
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks and the encodings they mean; longer marks come before marks that are their beginnings."""


def read_keys(path: Path) -> dict[str, Any]:
    """Return the keys and values of a header.

    Raises
    ------
    SubmissionError
        The header is too large, not text, not YAML, nested too deeply or not a mapping, or it contains anchors, tags or a key twice.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror}). Make it readable."
        raise SubmissionError(message) from None
    if len(raw) > LARGEST_BYTES:
        message = (
            f"{path} has {path.stat().st_size} bytes; at most {LARGEST_BYTES} are read. "
            "Shorten it, for example by replacing ids in the list 'empty' with table rows of NaN."
        )
        raise SubmissionError(message)
    encoding = next((name for mark, name in MARKS.items() if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
        _check_events(text, path)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, SubmissionError):
            raise
        message = f"{path} is not YAML ({' '.join(str(error).split())}). Correct the line that this error names."
        raise SubmissionError(message) from None
    if not isinstance(content, dict):
        message = f"{path} contains {type(content).__name__}, not keys and values. Write lines such as 'task: atoms-2d/test@1'."
        raise SubmissionError(message)
    return content


def _check_events(text: str, path: Path) -> None:
    """Check nesting, anchors and keys while the text is parsed, before anything is built from it."""
    levels: list[dict[str, Any]] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            message = f"{path}, line {line}: an anchor or an alias ('&', '*') is not allowed. Write the value out."
            raise SubmissionError(message)
        if isinstance(event, yaml.ScalarEvent):
            _count(levels, event.value, path, line)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            _count(levels, None, path, line)
            levels.append({"keys": set() if isinstance(event, yaml.MappingStartEvent) else None, "key": True})
            if len(levels) > DEEPEST:
                message = f"{path}, line {line}: values are nested more than {DEEPEST} deep. Write the header flat."
                raise SubmissionError(message)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            levels.pop()


def _count(levels: list[dict[str, Any]], value: str | None, path: Path, line: int) -> None:
    """Register a value, or the start of a nested value; in a mapping, keys and values alternate."""
    if not levels or levels[-1]["keys"] is None:
        return
    top = levels[-1]
    if top["key"]:
        if value is None or value in top["keys"]:
            told = "a key that is not text" if value is None else f"key {value!r} occurs twice"
            message = f"{path}, line {line}: {told}. Give each key once, as text."
            raise SubmissionError(message)
        top["keys"].add(value)
    top["key"] = not top["key"]
