"""Instrument: settings, the expected signals that follow from them, and the microscope that counts electrons.

Modules import only from their own group or from groups before it, in this order: the modules of this folder, ``detectors``
and ``scan``; ``hardware``; ``simulation``; ``spectra``; ``scope``.

================== =====================================================================
File               Content
================== =====================================================================
``micrographs.py`` figures of frames, patterns and spectra with units
``settings.py``    Beam, PlaneWave, PotentialSlices
``shot_noise.py``  random electron counts at a given dose
``timing.py``      times at which the beam visits the points of a scan
``detectors/``     detectors by shape and by name
``hardware/``      parts of real instruments: optics, stage, detector electronics, drift
``scan/``          scan paths as pure geometry
``scope/``         the microscope: knobs, acquisitions, dose, damage, clock
``simulation/``    requests, plans, engines, results: expected signals without noise
``spectra/``       expected energy-loss and X-ray spectra
================== =====================================================================
"""
