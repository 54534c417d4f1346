"""Parts of real instruments, and the profiles that combine them.

======================== ====================================================================
File                   Content
======================== ====================================================================
``camera_response.py``   counts of a camera from expected patterns
``components.py``        data of correctors, detectors, read-out chains, scans and stages
``corrector.py``         the probe corrector: gain, rotation and side effects of a correction
``drift.py``             drift of aberrations, stage, current and energy
``normalisation.py``     conversion of readings to fractions of the beam
``profiles.py``          instrument profiles with their sources
``random_paths.py``      random paths that are pure functions of the time
``readout_chain.py``     electronics of image detectors
``scan_distortion.py``   true probe positions: hum, jitter, settling, hysteresis
``stage.py``             the stage: five axes, reach, speed, backlash
``tableau.py``           measurement of aberrations from images: C1A1 and Zemlin tableaus
``tableau_emulation.py`` measured aberrations that are drawn at random, without images
======================== ====================================================================
"""
