"""Energy-loss and X-ray spectra: cross-sections and probabilities, per atom, per surface, per mean free path. In A, eV, rad.

======================== ==================================================================================
File                     What is in it
======================== ==================================================================================
``zeroloss.py``          the zero-loss peak in energy bins
``dielectric.py``        dielectric response of materials; ``masses.py``: atomic masses
``lowloss.py``           mean free paths, single scattering, surfaces, plural scattering
``plasmons.py``          plasmons of spheres and of the rims of flakes
``edges.py``             onsets, white lines; ``photoabsorption.py``: optical strengths of L and M edges
``gos.py``               hydrogenic generalised oscillator strengths
``coreloss.py``          core-loss cross-sections into a collection angle, delocalisation
``xrays.py``             ionisation, lines, bremsstrahlung, resolution, absorption, Cliff and Lorimer's quantification
``response.py``          the camera of a spectrometer
======================== ==================================================================================

Labels: [M] from the literature by memory, a default and no reference value; [A] an engineering assumption, to be set by who knows better.
"""
