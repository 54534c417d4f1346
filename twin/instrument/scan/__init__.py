"""Scan paths as pure geometry, in specimen coordinates.

A scan is a frozen value. All scans have the following members:

========================== ==============================================================================
Name                       Meaning
========================== ==============================================================================
``shape``, ``dims``        shape of a result, and the names of its dimensions: (y, x) or (point,)
``count``                  number n of points that the beam visits
``positions()``            coordinates (x, y) of all points, visited or not, A, shape (``*shape``, 2)
``order()``                flat index of the point of each visit, in visiting order, shape (n,)
``points()``               coordinates of the visits in visiting order, A, shape (n, 2)
``frame(values)``          values (..., n) in visiting order, rearranged to shape (..., ``*shape``)
``axes()``                 coordinates y and x of a raster without rotation; None for other scans
``line_starts()``          index of the first visit in each line, in visiting order
``pause``                  pause between lines: ``"flyback"`` (with settling), ``"turn"`` (settling only) or ``"none"``
``centre_angstrom``        middle (x, y) of the field of view, A
``field_of_view_angstrom`` height and width of the field of view, A
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
