"""Where the atoms are: the sample library, the readers of structure files and what they build.

A :class:`~stemtwin.twin.samples.sample.Sample` is a box of atoms: x and y across the beam, z along it, entrance face at z = 0. Crystals are oriented
with their zone axis [uvw] along +z, the direction in which the beam travels.

===================  ============================================================================================================
file                 what it holds
===================  ============================================================================================================
``sample``           ``Sample``: the frozen box of atoms, from and to ASE; ``Defect``: what was done to it at one place
``crystal``          ``Crystal``: one cell of a crystal with occupancies and thermal motion; its primitive cell; the draw of mixed sites
``cells``            the near-orthogonal cell of a crystal along a zone axis, with the strain that it needs
``build``            from a crystal to a sample: whole repeats, windows, sheets in vacuum, the memory it would take
``cif``              one crystal from a CIF
``readers``          ``read_sample``: CIF by ``cif``, everything else by ASE
``columns``          ``projected_columns``: the atomic columns that the beam sees
``neighbours``       atoms around a point, bonds, coordination, atoms at edges
``defects``          take atoms out, exchange, add, move them: functions from sample to sample that keep the truth
``library``          ``load_sample``, ``list_samples``: specimens by name, each with its knobs, its numbers and their sources
``specimens``        what such a specimen is: a function under ``@specimen(...)`` whose keywords are its knobs
``perovskites``      SrTiO3, LaFeO3, (La,Sr)FeO3
``ferroelectrics``   BaTiO3, PbTiO3: domains and walls
``semiconductors``   Si, Ge, GaAs, CdTe, SiGe layers in silicon
``metals``           Au, Pt, Al, Cu, Ni, Fe; Sigma5 (310) grain boundaries of Au, Al, Ni
``graphene``         graphene with its defects, holes and edges
``dichalcogenides``  1H layers of MoS2, WS2, MoSe2, WSe2, MoTe2 with vacancies, alloys, Janus layers
``moire``            two sheets of graphene or MoS2, stacked as in the crystal or twisted
``amorphous``        random networks: films of amorphous carbon and silicon nitride
``particles``        nanoparticles of Au and Pt on amorphous carbon
``evolving``         from a sample to the specimen of ``physics/dynamics`` that changes under the beam, and back; what can happen to it
===================  ============================================================================================================

Adding a specimen is one function in a family's file, or in a new file that ``library`` imports.
"""
