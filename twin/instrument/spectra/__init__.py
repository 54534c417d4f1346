"""Expected spectra: energy losses and X-rays from the same atoms and probe as the images.

============================ ===================================================
File                         Content
============================ ===================================================
``areal_densities.py``       areal density of each element under the probe
``edx.py``                   expected X-ray spectra; compositions
``eels.py``                  expected energy-loss spectra
``materials.py``             materials of a sample, for its low-loss spectrum
``spectrometer_settings.py`` spectrometers and models of the energy losses
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
