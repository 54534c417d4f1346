"""Kinds of scans by the names that they have in files."""

from stemtwin.twin.registry import Registry

SCANS: Registry[type] = Registry("scan")
"""Scans by name: frozen dataclasses that answer to the names in the package's text."""
