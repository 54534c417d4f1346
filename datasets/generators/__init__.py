"""Generators of datasets, one file for each kind, which are registered by the decorator ``@generator``.

===================== ==================================================================
File                  Content
===================== ==================================================================
``atomic_columns.py`` ``atomic-columns``: atomic columns in frames of imperfect instruments
``atoms_2d.py``       ``atoms-2d``: HAADF images and their atomic columns
``denoise.py``        ``denoise``: noisy frames with vacancies, and their noiseless images
``drift.py``          ``drift``: frame series and orthogonal pairs with probe displacements
``ronchigram.py``     ``ronchigram``: Ronchigrams and their aberrations
``sheet_defects.py``  ``sheet-defects``: point defects of monolayers
===================== ==================================================================
"""
