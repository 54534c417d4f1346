"""Solvers on arrays, and what makes them fast.

======================== ==================================================================================
File                     What is in it
======================== ==================================================================================
``lanes.py``             16 float32 as one value of a kernel; ``doubles.py``: 8 float64
``fft.py``               mixed-radix transforms of 16 lines at once
``passes.py``            the compiled passes of multislice; ``multislice.py``: slices, exit waves, signals
``probes.py``            single probes by multislice: the reference
``transmission.py``      potentials and transmissions; ``structure.py``: their kernel; ``change.py``: moved atoms
``imaging.py``           the dense imaging operator; ``forms.py``: its kernels; ``kept.py``: on disk
``gram.py``              products of waves; ``inelastic.py``: forms of localised losses, with channelling
``windows.py``           dense operators on overlapping windows of a large field
``prism.py``             the scattering matrix, and PRISM
``diffraction.py``       patterns: the scattering matrix in Fourier space, as a camera sees it; ``shadow.py``: of one wide probe
``local.py``             the local operator, in pieces: ``local_basis``, ``local_waves``, ``local_image``, ``local_kernels``, ``local_check``;
                         ``local_size.py``: what it takes; ``kept_local.py``: on disk
``cache.py``             arrays on disk by content
``jit.py``               how kernels are compiled and kept
``threads.py``           work on threads, also after a fork
======================== ==================================================================================
"""
