"""The lowest layer: formulas on arrays, in angstrom, eV, volt and radian. It imports numpy, scipy and numba, nothing else.

Conventions (each has a test in ``tests/physics/test_conventions.py``)
----------------------------------------------------------------------
* Arrays are ``[y, x]``, scans ``[iy, ix]``, stacks ``(..., ny, nx)``. Shapes, samplings and extents are (y, x); points and atoms are (x, y[, z]).
* The beam travels along +z; z = 0 is the entrance face; slices are listed from the entrance face on.
* The origin of FFTs is at [0, 0]. The forward transform is exp(-2 pi i k.r). k = theta / lambda, without 2 pi.
* transmission = exp(+i sigma V); propagator = exp(-i pi lambda k^2 dz); probe = A exp(-i chi).
* chi = (2 pi / lambda) sum C_nm alpha^(n+1) / (n+1) cos(m (phi - phi_nm)), phi = atan2(ky, kx), from +x to +y. C10 > 0 is overfocus;
  C10 = 0 focuses on the entrance face; a vacuum of thickness d in front equals C10 + d; ``defocus`` is -C10.
* A specimen tilted by (ty, tx) multiplies the propagator by exp(+2 pi i dz (kx tan tx + ky tan ty)): an atom at depth z appears at x + z tan tx.
* A beam tilted by t is the probe times exp(2 pi i q.r), q = t / lambda; detectors stay. Waves are computed relative to it: a specimen tilt of
  tan t = -lambda q, detectors at k + q, the band limit about the beam.
* Band limit: k < (1 - 1e-6) (2/3) / (2 max(dx, dy)), on the transmission and the propagator, never on the potential.
* Apertures and detectors are antialiased: a reciprocal pixel counts by its covered fraction. Without: pixel masks, inner <= theta < outer.
* A signal is the fraction of the incident beam that a detector collects.
* Kernels draw no random numbers; whoever needs them passes a ``numpy.random.Generator``.

=========================== =======================================================================================================
File                        Content
=========================== =======================================================================================================
``aberrations.py``          ``Aberrations`` C10 to C56, chi, Cartesian and Haider notation
``camera.py``               what a camera makes of electrons
``camera_pixels.py``        which pixel they fall on
``coherence.py``            source size, focal spread, coherent modes
``detector_electronics.py`` pulse heights, lag, converter
``detector_weights.py``     what detectors weigh: annuli and segments
``electrons.py``            wavelength, interaction constant, velocity, largest energy transfer
``gradient_integration.py`` a phase from its gradient
``grids.py``                ``Grid``: shape, extent, frequencies, band limit
``knot_kernels.py``         compiled interpolation between equidistant knots
``lag_filters.py``          things that follow with a lag
``noise.py``                counting electrons
``overlayer.py``            an amorphous film on the specimen, single scattering
``phase_diversity.py``      images of a film at several foci, and the defocus and astigmatism that they share
``phase_error.py``          phase errors over an aperture: root mean square, pi/4 limit
``phonons.py``              thermal displacements
``poisson.py``              Poisson counts from means and uniform numbers
``poisson_kernels.py``      compiled inversion of the Poisson distribution
``potential.py``            slices, projected potential, transmission
``probe.py``                aperture, covered fractions, incident amplitudes
``scattering_factors.py``   Kirkland's and Lobato's electron scattering factors
``thermal_scattering.py``   thermal diffuse cross-sections of single atoms for rings
``zemlin.py``               aberrations about tilted beams, tableaus fitted
``dynamics/``               damage: knock-on, electronic excitation, kinetics of events under the beam (a table in its own text)
``engine/``                 multislice, scattering matrix, dense and local imaging operators, their cache (a table in its own text)
``spectra/``                energy losses and X-rays (a table in its own text)
=========================== =======================================================================================================
"""
