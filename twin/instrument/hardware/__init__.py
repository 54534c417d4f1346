"""Parts of real instruments, and the profiles that put them together.

======================== ====================================================================
File                   Content
======================== ====================================================================
``camera_response.py``   counts of a camera from expected patterns
``components.py``        parts with numbers: correctors, detectors, chains, stages
``corrector.py``         the probe corrector: gain, rotation and side effects of a correction
``drift.py``             drift of aberrations, stage, current and energy
``normalisation.py``     readings as fractions of the beam
``profiles.py``          instrument profiles with their sources
``random_paths.py``      random paths that are pure functions of the time
``readout_chain.py``     electronics of scanned detectors
``scan_distortion.py``   true probe positions: hum, jitter, settling, hysteresis
``stage.py``             the stage: five axes, reach, speed, backlash
``tableau.py``           aberrations measured from images: C1A1 and Zemlin tableaus
``tableau_emulation.py`` the same drawn from covariances, without images
======================== ====================================================================
"""
