"""Registry of scans by their names in files."""

from stemtwin.twin.registry import Registry

SCANS: Registry[type] = Registry("scan")
"""Scans by name, which are frozen dataclasses with the members that the package lists."""
