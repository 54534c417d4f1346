"""Families of tasks, one module for each task; every module of this package is imported automatically.

========================= =============================================================
File                      Content
========================= =============================================================
``atoms.py``              the task ``atoms-2d``, version 1
``atoms_v2.py``           the task ``atoms-2d@2``
``defects.py``            the task ``defects``
``denoise.py``            the task ``denoise``
``drift.py``              the task ``drift-tracking``
``focus.py``              the task ``autofocus``, version 1
``focus_keeping.py``      the task ``focus-keeping``
``focus_v2.py``           the task ``autofocus@2``
``forge.py``              the task ``atom-forge``
``forge_drill.py``        the task ``atom-drill``
``hypothesis.py``         the task ``hypothesis-test``
``instruments.py``        the task ``instruments``
``ronchigram.py``         the task ``ronchigram``
``scan_drift.py``         the task ``drift``
``sparse.py``             the task ``sparse-scan``
``spectrum_discovery.py`` the task ``spectrum-discovery``
``tuning.py``             the task ``aberration-correction``
========================= =============================================================
"""
