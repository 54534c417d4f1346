"""Wave solvers on arrays, and the compiled kernels below them.

Each package imports only from packages to its left: ``kernels`` < ``multislice`` < ``operator`` < ``local``.

=============== ==================================================================
File            Content
=============== ==================================================================
``kernels/``    compilation, threads, transforms, SIMD values, the cache on disk
``local/``      the local operator, and tiles of a large field
``multislice/`` transmission functions and the propagation of waves through slices
``operator/``   imaging operators, single probes, scattering matrices, diffraction
=============== ==================================================================
"""
