"""Baselines: published and common methods with which submissions are compared.

========================= ==============================================================================
File                      Content
========================= ==============================================================================
``atoms.py``              baselines of ``atoms-2d``: Laplacian of Gaussian, random, truth
``atoms_v2.py``           baselines of ``atoms-2d@2``: maxima, Laplacian of Gaussian, random, truth
``deep_kernel.py``        deep kernel learning: a Gaussian process on features of a network
``defects.py``            baselines of ``defects``: odd peaks, residual from the unit cell, a U-Net, truth
``denoise.py``            baselines of ``denoise``: filters, BM3D, a U-Net, truth
``drift.py``              baselines of ``drift-tracking``: trackers, blind policies, truth
``drift_fit.py``          likelihoods, Kalman filter and CUSUM of the expert of ``drift-tracking``
``focus.py``              baselines of ``autofocus``: focal series, random, truth
``focus_fit.py``          fit of hypotheses to the frames, for the expert of ``autofocus@2``
``focus_v2.py``           baselines of ``autofocus@2``: fit of a model, blind policies, truth
``forge.py``              baselines of ``atom-forge`` and ``atom-drill``: a planner, rules, blind policies, truth
``forge_drill.py``        planner for patterns of vacancies, for the expert of ``atom-drill``
``forge_eyes.py``         positions and kinds of atoms in observations of ``atom-forge`` and ``atom-drill``
``forge_learned.py``      trained policies of ``atom-forge`` and ``atom-drill``, on features or frames
``forge_planner.py``      planner for walks of Si, for the expert of ``atom-forge``
``hypothesis.py``         baselines of ``hypothesis-test``: expected information, fixed, truth
``instruments.py``        baselines of ``instruments``: settings adapted to each instrument
``ronchigram.py``         baselines of ``ronchigram``: means, fit of segments, truth
``ronchigram_fit.py``     the fit of the spectra of a Ronchigram's segments
``scan_drift.py``         baselines of ``drift``: frames as they are, rigid shifts, line shifts, truth
``scan_registration.py``  registration of scanned frames, line by line
``sparse.py``             baselines of ``sparse-scan``: uncertainty, rasters, truth
``spectrum_discovery.py`` baselines of ``spectrum-discovery``: Gaussian processes, fixed searches, truth
``tuning.py``             baselines of ``aberration-correction``: Newton steps, blind policies, truth
``tuning_filter.py``      recursive least squares for aberrations and a corrector's response
``tuning_search.py``      baselines of ``aberration-correction``: trust regions, coordinate descent
========================= ==============================================================================
"""
