"""Notes of a team on its method for a jury (key ``method`` of ``submission.yaml``), with a check of their lengths and links."""

import re
from collections.abc import Mapping
from typing import Any

from stemtwin.benchmarks.names import printable
from stemtwin.twin.errors import SettingsError

TEXTS = {"domain": 600, "summary": 400, "license": 80}
"""Texts and the most characters of each: three sentences on the physics of the problem, the method, the license of the code."""
LINKS = ("code", "film")
LINK = re.compile(r"https?://[^\s<>\"'`\\@{}|^]{1,300}")
"""Pattern of a web address that a page turns into a link. It excludes '@', because a login such as ``name@`` could disguise the host."""


def check_notes(method: Mapping[str, Any]) -> dict[str, Any]:
    """Check the notes on a method and return them; keys that no page shows are not checked.

    Raises
    ------
    SettingsError
        A note is not a string or is too long, or a link is not a web link.
    """
    for name, longest in TEXTS.items():
        value = method.get(name, "")
        if not isinstance(value, str):
            message = f"method.{name} has the type {type(value).__name__}; a string is needed. Write the text in quotes."
            raise SettingsError(message)
        if len(value) > longest:
            message = f"method.{name} has {len(value)} characters; at most {longest} are shown. Shorten it."
            raise SettingsError(message)
    for name in LINKS:
        value = method.get(name, "")
        if value and not (isinstance(value, str) and LINK.fullmatch(value)):
            message = f"method.{name} is {ascii(value)[:80]}, which is not a web link. Give one as https://host/path, without '@', quotes or spaces."
            raise SettingsError(message)
    return dict(method)


def shown_notes(method: Mapping[str, Any]) -> dict[str, str]:
    """Return the notes that pages show, each in one line."""
    return {name: printable(" ".join(method[name].split())) for name in (*TEXTS, *LINKS) if method.get(name)}
