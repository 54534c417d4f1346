"""Solvers on arrays, and what makes them fast.

Imports point down: ``kernels`` < ``multislice`` < ``operator`` < ``local``.

=============== ================================================================
File            Content
=============== ================================================================
``kernels/``    compilation, threads, transforms, SIMD values, the cache on disk
``local/``      the local operator, and tiles of a large field
``multislice/`` transmission functions and waves through slices
``operator/``   imaging operators, single probes, scattering matrices, patterns
=============== ================================================================
"""
