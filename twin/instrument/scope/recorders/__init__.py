"""Recorders of an acquisition, one module for each signal. The name of a signal is the first tag of its detectors.

=============== ==============================================
File            Content
=============== ==============================================
``images.py``   images of annular and segmented detectors
``patterns.py`` diffraction patterns of a camera
``recorder.py`` protocol and registry of recorders
``spectra.py``  energy-loss and X-ray spectra
=============== ==============================================
"""

from stemtwin.twin.instrument.scope.recorders.images import ImageRecorder
from stemtwin.twin.instrument.scope.recorders.patterns import PatternRecorder
from stemtwin.twin.instrument.scope.recorders.recorder import RECORDERS, Recorder, Recording
from stemtwin.twin.instrument.scope.recorders.spectra import SpectrumRecorder

__all__ = ["RECORDERS", "ImageRecorder", "PatternRecorder", "Recorder", "Recording", "SpectrumRecorder"]
