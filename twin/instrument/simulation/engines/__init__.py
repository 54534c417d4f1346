"""Engines: one file for each way to compute the signals of a request.

================= ====================================================================================
File              Content
================= ====================================================================================
``abtem.py``      abTEM, an independent solver, for comparison
``local.py``      the local operator: dark field of large or changing thin specimens, within a tolerance
``multislice.py`` multislice of each probe: the reference
``operator.py``   the imaging operator: exact, new optics in milliseconds
``prism.py``      PRISM: every f-th plane wave
``registry.py``   the registry of engines, and the class of an engine
``thermal.py``    thermal diffuse cross-sections of a specimen on a coarse grid, with a measured error
``tiled.py``      imaging operators on overlapping windows of a large field, within a tolerance
================= ====================================================================================

A new engine needs two steps: a new file adds a :class:`~stemtwin.twin.instrument.simulation.engines.registry.Engine` to the
registry ``ENGINES``, and ``MODULES`` lists the name of the file.
"""

import importlib

MODULES = ("multislice", "operator", "local", "tiled", "thermal", "prism", "abtem")
"""Modules of this package that add an engine, in the order in which messages list them."""

for _module in MODULES:
    importlib.import_module(f"{__name__}.{_module}")
