"""Engines: one file for each way to compute the signals of a request.

================= ====================================================================================
File              Content
================= ====================================================================================
``abtem.py``      abTEM, an independent solver, for comparison
``local.py``      the local operator: dark field of large or changing thin specimens, to a tolerance
``multislice.py`` multislice of each probe: the reference
``operator.py``   the imaging operator: exact, new optics in milliseconds
``prism.py``      PRISM: every f-th plane wave
``registry.py``   the registry of engines, and the class of an engine
``thermal.py``    thermal diffuse cross-sections of one coarse specimen, with a measured error
``tiled.py``      imaging operators on overlapping windows of a large field, to a tolerance
================= ====================================================================================

A new engine is a file that adds a :class:`~stemtwin.twin.instrument.simulation.engines.registry.Engine` to
``ENGINES``, and the file's name in ``MODULES``.
"""

import importlib

MODULES = ("multislice", "operator", "local", "tiled", "thermal", "prism", "abtem")
"""Modules of this package that add an engine, in the order in which messages list them."""

for _module in MODULES:
    importlib.import_module(f"{__name__}.{_module}")
