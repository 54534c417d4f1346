"""Energy-loss and X-ray spectra: cross-sections of atoms, and loss probabilities in the bulk and at surfaces; units: A, eV, rad.

======================= =============================================================================================
File                    Content
======================= =============================================================================================
``atomic_masses.py``    atomic masses
``coreloss.py``         core-loss cross-sections into a collection angle, delocalisation
``dielectric.py``       dielectric response of materials
``eels_camera.py``      camera of a spectrometer
``gos.py``              hydrogenic generalised oscillator strengths
``ionisation_edges.py`` onsets, white lines
``lowloss.py``          mean free paths, single scattering, surfaces, plural scattering
``photoabsorption.py``  optical oscillator strengths of L and M edges
``plasmons.py``         plasmons of spheres and of the edges of flakes
``xrays.py``            ionisation, lines, bremsstrahlung, resolution, absorption, Cliff-Lorimer quantification
``zeroloss.py``         zero-loss peak in energy bins
======================= =============================================================================================

Labels: [M] marks a literature value quoted from memory, a default rather than a reference value; [A] marks an
engineering assumption, to be replaced where better values are known.
"""
