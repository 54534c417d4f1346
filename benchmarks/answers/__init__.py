"""Kinds of answers, with their checks, their files and their hashes.

===================== =============================================================================
File                  Content
===================== =============================================================================
``arrays.py``         answers made of arrays: npz or zarr beside an index in Parquet
``displacements.py``  displacement fields
``form.py``           fields, the registry of kinds, and the interface of every kind
``images.py``         images
``label_maps.py``     label maps
``lattice_maps.py``   maps of orientation, lattice vectors and phase
``points.py``         points with class and confidence
``probabilities.py``  probabilities of classes
``rows.py``           answers of one row of numbers for each sample
``tables.py``         strict reader of tables in Parquet
``unmixing.py``       spectra with abundances
``values.py``         numbers with a standard deviation or an interval
===================== =============================================================================
"""
