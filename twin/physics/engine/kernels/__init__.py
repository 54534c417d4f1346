"""Tools of all kernels: compilation, threads, transforms, SIMD values, and arrays on disk.

===================== ==========================================
File                  Content
===================== ==========================================
``array_cache.py``    arrays on disk by content
``blas.py``           BLAS on one thread
``butterflies.py``    stages of transforms, written into kernels
``fft.py``            mixed-radix transforms of 16 lines at once
``jit.py``            compilation of kernels
``parts.py``          functions that kernels alone call
``simd_complex64.py`` 16 complex64 as one value of a kernel
``simd_float32.py``   16 float32 as one value
``simd_float64.py``   8 float64 as one value
``spare.py``          scratch that outlives a call
``threads.py``        work on threads, also after a fork
===================== ==========================================
"""
