"""All cases of golden values, in the order in which they are computed."""

from tests.golden import benchmark, environments, images, patterns, scopes, specimens, spectra
from tests.golden.registry import CASES, Arrays, Case

__all__ = [
    "CASES",
    "Arrays",
    "Case",
    "benchmark",
    "environments",
    "images",
    "patterns",
    "scopes",
    "specimens",
    "spectra",
]
