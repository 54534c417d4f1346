"""Families of environments, one file each, registered by the ``@environment`` decorator.

============================ ==============================================================
File                         Content
============================ ==============================================================
``aberration_correction.py`` ``stemtwin/AberrationCorrection-v1``
``atom_forge.py``            ``stemtwin/AtomForge-v1``
``autofocus.py``             ``stemtwin/Autofocus-v2``
``autofocus_v1.py``          ``stemtwin/Autofocus-v1``, frozen for the task ``autofocus@1``
``drift_tracking.py``        ``stemtwin/DriftTracking-v1``
``hypothesis_test.py``       ``stemtwin/HypothesisTest-v1``
``microscope.py``            ``stemtwin/Microscope-v2``
``microscope_v1.py``         ``stemtwin/Microscope-v1``, kept for agents trained on it
``sparse_scan.py``           ``stemtwin/SparseScan-v1``
``spectrum_discovery.py``    ``stemtwin/SpectrumDiscovery-v1``
============================ ==============================================================
"""
