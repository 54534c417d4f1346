"""Multislice: transmission functions of atoms, and waves through them.

========================== ==============================================
File                       Content
========================== ==============================================
``absorbing.py``           sums of abs(psi)^2 times cross-sections
``absorbing_kernels.py``   their compiled passes
``multislice.py``          slices, exit waves, signals
``multislice_kernels.py``  compiled passes over batches of waves
``structure_factors.py``   the kernel of structure factors
``thermal_specimen.py``    a specimen as mean planes that scatter diffusely into rings
``transmission.py``        potentials and transmission functions
``transmission_update.py`` transmission functions after a few atoms moved
========================== ==============================================
"""
