"""Recorders of an acquisition: one file per signal, found by the first tag of its detectors.

=============== ==============================================
File            Content
=============== ==============================================
``images.py``   images of scanned detectors
``patterns.py`` diffraction patterns of a camera
``recorder.py`` the protocol of recorders, and their registry
``spectra.py``  energy losses and X-rays
=============== ==============================================
"""

from stemtwin.twin.instrument.scope.recorders.images import ImageRecorder
from stemtwin.twin.instrument.scope.recorders.patterns import PatternRecorder
from stemtwin.twin.instrument.scope.recorders.recorder import RECORDERS, Recorder, Recording
from stemtwin.twin.instrument.scope.recorders.spectra import SpectrumRecorder

__all__ = ["RECORDERS", "ImageRecorder", "PatternRecorder", "Recorder", "Recording", "SpectrumRecorder"]
