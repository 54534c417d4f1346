"""Detectors as frozen values, given by shape or by name.

================ ===========================================================
File             Content
================ ===========================================================
``annular.py``   annular detectors, and the usual rings and discs by name
``kinds.py``     protocols, and registries of classes and of usual detectors
``pixelated.py`` pixelated detectors, which are cameras
``segmented.py`` segmented detectors
``selection.py`` checks of a selection, and the angles of detectors given by name
================ ===========================================================
"""

from stemtwin.twin.instrument.detectors.annular import AnnularDetector, Sensitivity
from stemtwin.twin.instrument.detectors.kinds import (
    DETECTOR_KINDS,
    DETECTORS,
    USUAL_OUTER_MRAD,
    Detector,
    NamedDetector,
    kind_of,
    load_detectors,
    made,
    tags_of,
)
from stemtwin.twin.instrument.detectors.pixelated import PixelatedDetector
from stemtwin.twin.instrument.detectors.segmented import SegmentedDetector
from stemtwin.twin.instrument.detectors.selection import (
    AnyDetector,
    by_signal,
    cameras,
    checked,
    resolve,
    wanted_angle,
)

__all__ = [
    "DETECTORS",
    "DETECTOR_KINDS",
    "USUAL_OUTER_MRAD",
    "AnnularDetector",
    "AnyDetector",
    "Detector",
    "NamedDetector",
    "PixelatedDetector",
    "SegmentedDetector",
    "Sensitivity",
    "by_signal",
    "cameras",
    "checked",
    "kind_of",
    "load_detectors",
    "made",
    "resolve",
    "tags_of",
    "wanted_angle",
]
