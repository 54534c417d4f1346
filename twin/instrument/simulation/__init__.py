"""Expected signals of a request, without noise.

A request is discretised (``discretisation``), an engine is chosen by its estimated cost (``plan``), and the engine computes
the signals (``engines``), which are returned as a Dataset.

=========================== ==========================================================
File                        Content
=========================== ==========================================================
``certify.py``              comparison of two solvers, and numerical convergence
``certify_ronchigram.py``   the same comparison for a Ronchigram
``costs.py``                number of waves, memory and time; estimates for all engines
``crystal_average.py``      averages over a crystal's lattice translations
``derived_signals.py``      centre of mass, iCOM and iDPC from the signals of detectors
``diffraction_patterns.py`` 4D-STEM: a diffraction pattern at each point
``discretisation.py``       grid, slices, detector angles and plane waves of a request
``doubtful_physics.py``     notes and warnings on valid requests with doubtful physics
``engines/``                engines, one file each
``incremental_operator.py`` a local operator that is updated where atoms moved
``memory.py``               peak memory, and the memory of the machine
``operator_cache.py``       caches of operators in the process and on disk
``partial_coherence.py``    focal spread and source size by quadrature
``pattern_analysis.py``     PACBED, centre of mass, DPC, iCOM, virtual detectors
``pattern_files.py``        patterns written to disk as they are computed
``plan.py``                 engine, costs and notes of a request
``request.py``              a simulation as one frozen value
``results.py``              Datasets of signals
``ronchigram.py``           the far field of one stationary probe
``scan_signals.py``         signals along a scan, means over configurations
``serialisation.py``        settings as plain values, and back
``series.py``               simulate_series, explain_series: defocus, tilt and depth series
``simulate.py``             simulate, explain, exit_wave
``slice_stacks.py``         transmission functions of each frozen-phonon configuration
``source_rasters.py``       rasters blurred by a source of finite size, from fewer points
``thermal_check.py``        measured errors of the engine ``thermal``
``thermal_table.py``        command for the table of errors of ``thermal`` on whole images
``windowed_probes.py``      windows for the single probes of a long request
=========================== ==========================================================
"""

import stemtwin.twin.instrument.simulation.engines  # noqa: F401 - first: it registers the engines that requests name
