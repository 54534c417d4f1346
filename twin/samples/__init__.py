"""Where the atoms are: the sample library, the readers of structure files and what they build.

A :class:`~stemtwin.twin.samples.sample.Sample` is a box of atoms: x and y across the beam, z along it, entrance face at z = 0. Crystals are oriented
with their zone axis [uvw] along +z, the direction in which the beam travels.

=============  ==================================================================================================
file           what it holds
=============  ==================================================================================================
``sample``     ``Sample``: the frozen box of atoms, from and to ASE
``crystal``    ``Crystal``: one cell of a crystal with occupancies and thermal motion; its primitive cell; the draw of mixed sites
``cells``      the near-orthogonal cell of a crystal along a zone axis, with the strain that it needs
``build``      from a crystal to a sample: whole repeats, windows, sheets in vacuum, the memory it would take
``cif``        one crystal from a CIF
``readers``    ``read_sample``: CIF by ``cif``, everything else by ASE
``library``    ``load_sample``, ``list_samples``: specimens by name, each with its numbers and their sources
``columns``    ``projected_columns``: the atomic columns that the beam sees
=============  ==================================================================================================
"""
