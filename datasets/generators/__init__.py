"""Generators of datasets: one file for each kind, found by its ``@generator`` decorator.

===================== ==================================================================
File                  Content
===================== ==================================================================
``atomic_columns.py`` ``atomic-columns``: columns on instruments with all their faults
``atoms_2d.py``       ``atoms-2d``: HAADF images and their atomic columns
``denoise.py``        ``denoise``: noisy frames with vacancies, and their truth
``drift.py``          ``drift``: frame series and orthogonal pairs, and the true probe
``ronchigram.py``     ``ronchigram``: far fields of a parked probe, and their aberrations
``sheet_defects.py``  ``sheet-defects``: point defects of monolayers
===================== ==================================================================
"""
