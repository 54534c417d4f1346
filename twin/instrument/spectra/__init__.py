"""Spectra of the twin: energy losses and X-rays from the same atoms and the same probe as the images.

============================ ===================================================
File                         Content
============================ ===================================================
``areal_densities.py``       atoms of each element that the probe sees
``edx.py``                   expected X-ray spectra; compositions
``eels.py``                  expected energy-loss spectra
``materials.py``             materials of a sample, for its low loss
``spectrometer_settings.py`` detectors of spectra and loss models
``thin_limit.py``            the incident probe at the atoms, without scattering
``xray_data.py``             X-ray data of the elements
============================ ===================================================
"""

from stemtwin.twin.instrument.spectra.edx import expected_edx, explain_edx, fit_lines, quantify
from stemtwin.twin.instrument.spectra.eels import expected_eels, explain_eels, read_out
from stemtwin.twin.instrument.spectra.spectrometer_settings import EDXDetector, EELSDetector, LossModel, Particle

__all__ = [
    "EDXDetector",
    "EELSDetector",
    "LossModel",
    "Particle",
    "expected_edx",
    "expected_eels",
    "explain_edx",
    "explain_eels",
    "fit_lines",
    "quantify",
    "read_out",
]
