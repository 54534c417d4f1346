"""Positions of atoms: the sample library, the readers of structure files and the builders of samples.

A :class:`~stemtwin.twin.samples.sample.Sample` is a box of atoms: x and y across the beam, z along it, entrance face at
z = 0. Crystals are oriented with their zone axis [uvw] along +z, the direction in which the beam travels.

============================ ===================================================================================================================
File                         Content
============================ ===================================================================================================================
``amorphous.py``             random networks: films of amorphous carbon and silicon nitride
``builders.py``              samples cut from a crystal: whole repeats, windows, sheets in vacuum; a check that they fit into memory
``columns.py``               ``projected_columns``: the atomic columns that the beam sees
``crystal.py``               ``Crystal``: one cell of a crystal with occupancies and thermal motion; its primitive cell; random filling of sites
``defects.py``               functions that remove, substitute, add and move atoms of a sample and record each change
``decorated_flakes.py``      flakes of MoS2 with randomly placed particles of metals and oxides
``default_displacements.py`` thermal motion for files without displacements
``dichalcogenides.py``       1H layers of MoS2, WS2, MoSe2, WSe2, MoTe2 with vacancies, alloys, Janus layers
``ferroelectrics.py``        BaTiO3, PbTiO3 with domains and walls
``field_samples.py``         ``load_fields``: samples that cover a field of view, from a file or the library
``graphene.py``              graphene with its defects, holes and edges
``kinetics_conversion.py``   conversion of a sample to the site network of ``physics/dynamics`` and back; the processes of a sample
``lattice_translations.py``  translations, rotations and mirrors of a perfect crystal inside a sample's periodic cell
``library.py``               ``load_sample``, ``list_samples``: samples by name, each with its settings (knobs) and the sources of its data
``metals.py``                Au, Pt, Al, Cu, Ni, Fe; Sigma5 (310) grain boundaries of Au, Al, Ni
``moire.py``                 bilayers of graphene or MoS2, stacked as in the crystal or twisted
``neighbours.py``            atoms around a point, bonds, coordination numbers, atoms at edges
``particles.py``             nanoparticles of Au and Pt on amorphous carbon
``perovskites.py``           SrTiO3, LaFeO3, (La,Sr)FeO3
``readers/``                 ``read_sample``: structure files, one reader for each format
``sample.py``                ``Sample``: the frozen box of atoms, from and to ASE; ``Defect``: a change at one site
``sample_families.py``       ``@specimen(...)``, which registers a function in the library; the function's keywords are the sample's knobs
``semiconductors.py``        Si, Ge, GaAs, CdTe, SiGe layers in silicon
``zone_axes.py``             zone axes in all usual notations, with three or four indices
``zone_axis_cells.py``       nearly orthogonal cells of a crystal along a zone axis, and the strain that makes them orthogonal
============================ ===================================================================================================================

A new sample is one function in a family's file, or in a new file that ``library`` imports.
"""
