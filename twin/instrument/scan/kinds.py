"""Registry of scans by their names in files."""

from stemtwin.twin.registry import Registry

SCANS: Registry[type] = Registry("scan")
"""Classes of scans by name. They are frozen dataclasses with the members that the docstring of the package lists."""
