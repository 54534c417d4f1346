"""Structure files: each format has one file, and is recognised by content; space groups, elements and site orbits are shared.

========================= ====================================================================================================================
File                      Content
========================= ====================================================================================================================
``ase_formats.py``        every other format, read by ASE; its occupancies and displacements are kept
``cif.py``                ``read_cif``: one data block of a CIF, mCIF or mmCIF
``cif_displacements.py``  U, B and beta of CIF sites, isotropic and anisotropic
``cif_sites.py``          the listed sites of a CIF: elements, coordinates, occupancies, stated multiplicities
``cif_symmetry.py``       the symmetry that a CIF states: operations (also magnetic), Hall symbol, name, number
``cif_tags.py``           tags, loops and numbers of a CIF data block
``content_faults.py``     what a reading of a file's symmetry contradicts
``element_symbols.py``    elements of type symbols and labels: charges, isotopes, water, mixed sites, masses
``file_content.py``       ``FileContent``: bytes unpacked (gz, bz2, xz, zip) and decoded; ``unit_cell``: lattice vectors from six numbers
``formats.py``            ``read_crystal``: the registry of formats, each with what recognises it
``lammps.py``             dumps and data files of LAMMPS
``lattice_vacuum.py``     vacuum along directions that do not repeat
``orbits.py``             ``Operations``: isometries of a cell; the images of a site, special positions included
``pdb.py``                PDB
``poscar.py``             POSCAR and CONTCAR of VASP
``read_sample.py``        ``read_sample``: from a file to a sample; ``sample_from_recipe``
``shelx.py``              .res and .ins of SHELX
``simulator_formats.py``  image simulators: Prismatic and computem, QSTEM and AtomEye, Dr. Probe, muSTEM, JEMS
``sites.py``              ``ListedSites`` and their expansion by operations
``space_groups.py``       settings of a space group from its name as people write it, or its number
``symmetry_choice.py``    the choice of a setting by metric, formula, multiplicities and distances
``vesta.py``              .vesta of VESTA
``xtl.py``                .xtl of GSAS, CrystalMaker and Materials Studio
``xyz.py``                xyz and extended xyz
========================= ====================================================================================================================
"""
