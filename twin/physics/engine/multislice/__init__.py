"""Multislice: transmission functions of atoms, and the propagation of waves through them.

========================== ==================================================
File                       Content
========================== ==================================================
``absorbing.py``           sums of abs(psi)^2 times cross-sections
``absorbing_kernels.py``   compiled passes of waves through absorbing planes
``multislice.py``          slice stacks, exit waves, signals
``multislice_kernels.py``  compiled passes over batches of waves
``structure_factors.py``   the kernel of structure factors
``thermal_specimen.py``    mean planes with diffuse scattering into rings
``transmission.py``        potentials and transmission functions
``transmission_update.py`` update of a transmission function after atoms moved
========================== ==================================================
"""
