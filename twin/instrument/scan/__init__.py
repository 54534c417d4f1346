"""Scan paths as pure geometry, in specimen coordinates.

A scan is a frozen value. All scans have the following members:

========================== ==============================================================================
Name                       Meaning
========================== ==============================================================================
``shape``, ``dims``        shape of a result, and the names of its dimensions: (y, x) or (point,)
``count``                  number n of points that the beam visits
``positions()``            coordinates (x, y) of all points of ``shape``, A, shape (``*shape``, 2)
``order()``                flat index into ``shape`` of each visit, in visiting order, shape (n,)
``points()``               coordinates of the visits in visiting order, A, shape (n, 2)
``frame(values)``          values in visiting order, shape (..., n), as (..., ``*shape``)
``axes()``                 coordinates y and x of a rectangular raster along the axes, else None
``line_starts()``          visits that begin a line; between lines the beam pauses according to ``pause``
``pause``                  ``"flyback"``: back to the start; ``"turn"``: only the settling time; ``"none"``
``centre_angstrom``        middle (x, y) of the field, A; ``field_of_view_angstrom``: its height and width
========================== ==============================================================================

============= ===========================================================
File          Content
============= ===========================================================
``curves.py`` ``SpiralScan``, ``LissajousScan``
``kinds.py``  registry of scans by their names in files
``path.py``   ``PathScan``: any list of points
``raster.py`` ``RasterScan``, ``SerpentineScan``
``sparse.py`` ``SparseScan``: a part of a raster
============= ===========================================================
"""

from stemtwin.twin.instrument.scan.curves import LissajousScan, SpiralScan
from stemtwin.twin.instrument.scan.kinds import SCANS
from stemtwin.twin.instrument.scan.path import PathScan
from stemtwin.twin.instrument.scan.raster import RasterScan, SerpentineScan
from stemtwin.twin.instrument.scan.sparse import SparseScan

__all__ = ["SCANS", "LissajousScan", "PathScan", "RasterScan", "Scan", "SerpentineScan", "SparseScan", "SpiralScan"]

Scan = RasterScan | SerpentineScan | SparseScan | PathScan | SpiralScan | LissajousScan
