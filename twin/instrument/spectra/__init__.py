"""Spectra of the twin: energy losses and X-rays from the same atoms and the same probe as the images.

================== ==============================================================================
File               What is in it
================== ==============================================================================
``settings.py``    ``EELSDetector``, ``EDXDetector``, ``LossModel``, ``Particle``
``densities.py``   what the probe sees of each element, with channelling; ``thin.py``: without
``structure.py``   materials and islands of a sample
``eels.py``        ``expected_eels``
``edx.py``         ``expected_edx``, compositions; ``elements.py``: X-ray data
================== ==============================================================================
"""

from stemtwin.twin.instrument.spectra.edx import expected_edx, fit_lines, quantify
from stemtwin.twin.instrument.spectra.eels import expected_eels, read_out
from stemtwin.twin.instrument.spectra.settings import EDXDetector, EELSDetector, LossModel, Particle

__all__ = ["EDXDetector", "EELSDetector", "LossModel", "Particle", "expected_edx", "expected_eels", "fit_lines", "quantify", "read_out"]
