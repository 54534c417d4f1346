"""Generators of datasets: one file for each kind, found by its ``@generator`` decorator.

================= ======================================================================
File              Content
================= ======================================================================
``atoms_2d.py``   ``atoms-2d``: HAADF images and their atomic columns
``denoise.py``    ``denoise``: noisy frames with vacancies, and their truth
``drift.py``      ``drift``: frame series and orthogonal pairs, and the true probe
``ronchigram.py`` ``ronchigram``: far fields of a parked probe, and their aberrations
================= ======================================================================
"""
