"""Energy-loss and X-ray spectra: cross-sections and probabilities, per atom, per surface, per mean free path. In A, eV, rad.

======================= =============================================================================================
File                    Content
======================= =============================================================================================
``atomic_masses.py``    atomic masses
``coreloss.py``         core-loss cross-sections into a collection angle, delocalisation
``dielectric.py``       dielectric response of materials
``eels_camera.py``      the camera of a spectrometer
``gos.py``              hydrogenic generalised oscillator strengths
``ionisation_edges.py`` onsets, white lines
``lowloss.py``          mean free paths, single scattering, surfaces, plural scattering
``photoabsorption.py``  optical strengths of L and M edges
``plasmons.py``         plasmons of spheres and of the rims of flakes
``xrays.py``            ionisation, lines, bremsstrahlung, resolution, absorption, Cliff and Lorimer's quantification
``zeroloss.py``         the zero-loss peak in energy bins
======================= =============================================================================================

Labels: [M] from the literature by memory, a default and no reference value; [A] an engineering assumption, to be set by who knows better.
"""
