"""Readers of structure files, one module for each format, with shared modules for space groups, elements and orbits.

========================= ====================================================================================================================
File                      Content
========================= ====================================================================================================================
``ase_formats.py``        all other formats, read by ASE, with their occupancies and displacements
``cif.py``                ``read_cif``: one data block of a CIF, mCIF or mmCIF
``cif_displacements.py``  U, B and beta of CIF sites, isotropic and anisotropic
``cif_sites.py``          listed sites of a CIF: elements, coordinates, occupancies, stated multiplicities
``cif_symmetry.py``       stated symmetry of a CIF: operations (magnetic ones, too), a Hall symbol, or the name or number of a space group
``cif_tags.py``           tags, loops and numbers of a CIF data block
``content_faults.py``     contradictions between an interpretation of a file's symmetry and the file's statements
``element_symbols.py``    elements of type symbols and labels: charges, isotopes, water, mixed sites, masses
``file_content.py``       ``FileContent``: bytes unpacked (gz, bz2, xz, zip) and decoded; ``unit_cell``: lattice vectors from six numbers
``formats.py``            ``read_crystal``: the registry of formats, each recognised by its content
``lammps.py``             dumps and data files of LAMMPS
``lattice_vacuum.py``     vacuum along directions that do not repeat
``orbits.py``             ``Operations``: symmetry operations of a cell; the orbit of a site, special positions included
``pdb.py``                PDB
``poscar.py``             POSCAR and CONTCAR of VASP
``read_sample.py``        ``read_sample``: from a file to a sample; ``sample_from_recipe``
``shelx.py``              .res and .ins of SHELX
``simulator_formats.py``  image simulators: Prismatic and computem, QSTEM and AtomEye, Dr. Probe, muSTEM, JEMS
``sites.py``              ``ListedSites`` and their expansion by operations
``space_groups.py``       settings of a space group from its name, in all usual spellings, or its number
``symmetry_choice.py``    choice of a space-group setting by metric, formula, multiplicities and distances
``vesta.py``              .vesta of VESTA
``xtl.py``                .xtl of GSAS, CrystalMaker and Materials Studio
``xyz.py``                xyz and extended xyz
========================= ====================================================================================================================
"""
