"""Imaging operators: quadratic forms of the probe that give signals for any optics.

============================= =====================================================
File                          Content
============================= =====================================================
``beam_blocks.py``            blocks of plane waves inside an aperture
``diffraction.py``            diffraction patterns from the scattering matrix
``gram_matrix.py``            Hermitian forms of waves
``image_kernels.py``          compiled images on rasters and at points
``image_layout.py``           layout of plane waves and images in memory
``imaging_cache.py``          imaging operators on disk
``imaging_operator.py``       the dense imaging operator
``inelastic.py``              quadratic forms of localised losses, with channelling
``lattice_average.py``        averages over the translations of a perfect crystal
``point_group.py``            averages over the turns and mirrors of a perfect crystal
``prism.py``                  the scattering matrix, and PRISM
``quadratic_form_kernels.py`` compiled quadratic forms
``ronchigram_kernel.py``      the diffraction pattern of one wide probe
``rotated_rasters.py``        compiled images on rotated rasters
``single_probes.py``          single probes by multislice: the reference
============================= =====================================================
"""
