"""Kinds of answers: what a task can ask for, how it is checked, kept in files, and told from another answer.

===================== =============================================================================
File                  Content
===================== =============================================================================
``arrays.py``         answers made of arrays: npz or zarr beside an index in Parquet
``displacements.py``  displacement fields
``form.py``           fields, the registry of kinds, and what every kind does
``images.py``         images
``label_maps.py``     label maps
``lattice_maps.py``   maps of orientation, lattice vectors and phase
``points.py``         points with class and confidence
``probabilities.py``  probabilities of classes
``rows.py``           answers of one row of numbers a sample
``tables.py``         tables in Parquet, read with suspicion
``unmixing.py``       spectra with abundances
``values.py``         numbers with a standard deviation or an interval
===================== =============================================================================
"""
