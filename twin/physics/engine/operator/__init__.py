"""Imaging operators: quadratic forms of the probe amplitudes that give the signals for any optics.

============================= ==========================================================
File                          Content
============================= ==========================================================
``beam_blocks.py``            blocks of plane waves inside an aperture
``diffraction.py``            diffraction patterns from the scattering matrix
``gram_matrix.py``            Hermitian forms of exit waves
``image_kernels.py``          images on rasters and at points, compiled code
``image_layout.py``           layout of plane waves and images in memory
``imaging_cache.py``          imaging operators on disk
``imaging_operator.py``       the dense imaging operator
``inelastic.py``              quadratic forms of localised energy losses, with channelling
``lattice_average.py``        averages over the translations of a perfect crystal
``point_group.py``            averages over the rotations and mirrors of a perfect crystal
``prism.py``                  the scattering matrix and PRISM
``quadratic_form_kernels.py`` quadratic forms, compiled code
``ronchigram_kernel.py``      the diffraction pattern of one wide probe
``rotated_rasters.py``        images on rotated rasters, compiled code
``single_probes.py``          signals of single probes by multislice, as a reference
============================= ==========================================================
"""
