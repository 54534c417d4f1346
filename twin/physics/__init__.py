"""Formulas of electron microscopy on arrays, in angstrom, eV, volt and radian: the lowest layer of the twin.

The modules import numpy, scipy and numba. ``engine/`` also imports llvmlite and threadpoolctl, and
``dynamics/relaxation.py`` imports threadpoolctl.

Conventions (each has a test in ``tests/physics/test_conventions.py``)
----------------------------------------------------------------------
* Arrays are ``[y, x]``, scans ``[iy, ix]``, stacks ``(..., ny, nx)``. Shapes, samplings and extents are (y, x);
  points and atoms are (x, y[, z]).
* The beam travels along +z; z = 0 is the entrance face; slices are listed in the order in which the beam meets them.
* The origin of FFTs is at [0, 0]. The forward transform has the kernel exp(-2 pi i k.r). Spatial frequencies are
  k = theta / lambda, without 2 pi.
* transmission = exp(+i sigma V); propagator = exp(-i pi lambda k^2 dz); probe = A exp(-i chi).
* chi = (2 pi / lambda) sum C_nm alpha^(n+1) / (n+1) cos(m (phi - phi_nm)), phi = atan2(ky, kx), from +x to +y. C10 > 0 is overfocus;
  C10 = 0 focuses on the entrance face; ``defocus`` is -C10. A vacuum of thickness d in front of the specimen has the
  same effect as an increase of C10 by d.
* A specimen tilt (ty, tx) multiplies the propagator by exp(+2 pi i dz (kx tan tx + ky tan ty)): an atom at depth z
  appears at x + z tan tx.
* A beam tilted by t is the probe times exp(2 pi i q.r), q = t / lambda; the detectors do not move. Waves are computed
  relative to the tilted beam: the specimen gets a tilt whose tangent is -lambda q, detector weights are evaluated at
  k + q, and the band limit is centred on the beam.
* Band limit: k < (1 - 1e-6) (2/3) / (2 max(dx, dy)), on the transmission and the propagator, never on the potential.
* Apertures and detectors are antialiased: a reciprocal pixel is weighted by its covered fraction. Without antialiasing
  they are pixel masks, inner <= theta < outer.
* A signal is the fraction of the incident beam that a detector collects.
* Random numbers come only from a ``numpy.random.Generator`` that the caller passes.

=========================== =======================================================================================================
File                        Content
=========================== =======================================================================================================
``aberrations.py``          ``Aberrations`` C10 to C56, chi, Cartesian and Haider notation
``camera.py``               response of a camera to electrons
``camera_pixels.py``        distribution of electrons over the camera's pixels
``coherence.py``            source size, focal spread, coherent modes
``detector_electronics.py`` pulse heights, lag, converter
``detector_weights.py``     weights of annular and segmented detectors
``electrons.py``            wavelength, interaction constant, velocity, largest energy transfer
``gradient_integration.py`` integration of a phase gradient
``grids.py``                ``Grid``: shape, extent, frequencies, band limit
``knot_kernels.py``         compiled interpolation between equidistant knots
``lag_filters.py``          first-order lag filters
``noise.py``                Poisson counts of electrons
``overlayer.py``            an amorphous film on the specimen, single scattering
``phase_diversity.py``      defocus and astigmatism from a defocus series of a film
``phase_error.py``          phase errors over an aperture: root mean square, pi/4 limit
``phonons.py``              thermal displacements
``poisson.py``              Poisson counts from means and uniform numbers
``poisson_kernels.py``      compiled inversion of the Poisson distribution
``potential.py``            slices, projected potential, transmission
``probe.py``                aperture, covered fractions, incident amplitudes
``scattering_factors.py``   Kirkland's and Lobato's electron scattering factors
``thermal_scattering.py``   thermal diffuse scattering of single atoms into a ring of angles
``zemlin.py``               aberrations about tilted beams, fit of a Zemlin tableau
``dynamics/``               damage: knock-on, electronic excitation, kinetics of events under the beam
``engine/``                 multislice, scattering matrix, dense and local imaging operators, their cache
``spectra/``                energy losses and X-rays
=========================== =======================================================================================================
"""
