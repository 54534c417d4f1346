"""Positions of atoms: the sample library, the readers of structure files and what they build.

A :class:`~stemtwin.twin.samples.sample.Sample` is a box of atoms: x and y across the beam, z along it, entrance face at z = 0. Crystals are oriented
with their zone axis [uvw] along +z, the direction in which the beam travels.

============================ ===================================================================================================================
File                         Content
============================ ===================================================================================================================
``amorphous.py``             random networks: films of amorphous carbon and silicon nitride
``builders.py``              from a crystal to a sample: whole repeats, windows, sheets in vacuum, the memory it would take
``columns.py``               ``projected_columns``: the atomic columns that the beam sees
``crystal.py``               ``Crystal``: one cell of a crystal with occupancies and thermal motion; its primitive cell; the draw of mixed sites
``defects.py``               take atoms out, exchange, add, move them: functions from sample to sample that keep the truth
``decorated_flakes.py``      flakes of MoS2 with particles of metals and oxides, drawn: one description of places, kinds and atoms
``default_displacements.py`` thermal motion for files that give none
``dichalcogenides.py``       1H layers of MoS2, WS2, MoSe2, WSe2, MoTe2 with vacancies, alloys, Janus layers
``ferroelectrics.py``        BaTiO3, PbTiO3: domains and walls
``field_samples.py``         ``load_fields``: samples that hold a field of view, from a file or the library
``graphene.py``              graphene with its defects, holes and edges
``kinetics_conversion.py``   from a sample to the specimen of ``physics/dynamics`` that changes under the beam, and back; what can happen to it
``lattice_translations.py``  the translations, turns and mirrors of a perfect crystal inside a sample's periodic cell
``library.py``               ``load_sample``, ``list_samples``: specimens by name, each with its knobs, its numbers and their sources
``metals.py``                Au, Pt, Al, Cu, Ni, Fe; Sigma5 (310) grain boundaries of Au, Al, Ni
``moire.py``                 two sheets of graphene or MoS2, stacked as in the crystal or twisted
``neighbours.py``            atoms around a point, bonds, coordination, atoms at edges
``particles.py``             nanoparticles of Au and Pt on amorphous carbon
``perovskites.py``           SrTiO3, LaFeO3, (La,Sr)FeO3
``readers/``                 ``read_sample``: structure files, one reader for each format
``sample.py``                ``Sample``: the frozen box of atoms, from and to ASE; ``Defect``: what was done to it at one place
``sample_families.py``       what such a specimen is: a function under ``@specimen(...)`` whose keywords are its knobs
``semiconductors.py``        Si, Ge, GaAs, CdTe, SiGe layers in silicon
``zone_axes.py``             zone axes as people write them, three or four indices
``zone_axis_cells.py``       the near-orthogonal cell of a crystal along a zone axis, with the strain that it needs
============================ ===================================================================================================================

Adding a specimen is one function in a family's file, or in a new file that ``library`` imports.
"""
