"""Tools shared by all kernels: compilation, threads, Fourier transforms, SIMD values, and arrays on disk.

===================== ====================================================
File                  Content
===================== ====================================================
``array_cache.py``    disk cache of arrays, keyed by a hash of their inputs
``blas.py``           BLAS limited to one thread
``butterflies.py``    code generators for stages of Fourier transforms
``fft.py``            mixed-radix transforms of 16 lines at once
``jit.py``            compilation of kernels and the cache of machine code
``parts.py``          compilation of functions that only kernels call
``simd_complex64.py`` 16 complex64 numbers as one value
``simd_float32.py``   16 float32 numbers as one value
``simd_float64.py``   8 float64 numbers as one value
``spare.py``          reuse of scratch memory between calls
``threads.py``        work on a pool of threads, also after a fork
===================== ====================================================
"""
