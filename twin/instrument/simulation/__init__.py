"""Expected signals without noise: from a request to a Dataset.

=========================== ==========================================================
File                        Content
=========================== ==========================================================
``abtem_engine.py``         the engine ``abtem``
``approximate.py``          the engines ``prism`` and ``local``
``certify.py``              both solvers and the convergence of a request
``costs.py``                waves, memory and time of each engine
``diffraction_patterns.py`` 4D-STEM: patterns at each point
``incremental_operator.py`` a local operator that is updated where atoms moved
``memory.py``               peak memory, and the memory of the machine
``operator_cache.py``       operators kept in the process and on disk
``partial_coherence.py``    focal spread and source size by quadrature
``pattern_analysis.py``     PACBED, centre of mass, DPC, iCOM, virtual detectors
``pattern_files.py``        patterns written to disk as they are computed
``plan.py``                 engine, grid, slices and blocks of a request
``request.py``              a simulation as one frozen value
``results.py``              Datasets of signals
``ronchigram.py``           the far field of one parked probe
``serialisation.py``        settings as plain values, and back
``simulate.py``             simulate, explain, exit_wave
``slice_stacks.py``         transmission functions of each frozen-phonon configuration
``tiled.py``                the engine ``tiled``
=========================== ==========================================================
"""
