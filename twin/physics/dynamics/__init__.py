"""What the beam does to the specimen: how often atoms are displaced, and what becomes of them.

Cross-sections are in A^2 (1 barn = 1e-8 A^2), current densities in electrons / (A^2 s), doses in electrons / A^2.

======================= ===================================================================================
File                    What is in it
======================= ===================================================================================
``isotopes.py``         natural isotopes
``limits.py``           ranges in which the models hold
``mott.py``             Mott's series for heavy nuclei
``knockon.py``          knock-on cross-sections with thermal motion
``electronic.py``       radiolysis and excited states
``sites.py``            thresholds by element and site with their sources, tables of cross-sections
``density.py``          the probe's current density
``exposure.py``         a path of the beam in time, and the dose that it leaves anywhere
``specimen.py``         sites, atoms on them, links between them
``processes.py``        what can happen to an atom, as frozen values
``library.py``          processes of graphene and MoS2, the hop law of putting-dune
``kinetics.py``         ``advance``: a specimen, an exposure, processes -> the next specimen, events
``relax.py``            the structure after an event: a valence force field; ``advance_relaxed``
``contamination.py``    a film that grows under the beam, its halo, showers
``kernels.py``          compiled: doses, rules
``loop.py``             compiled: the loop over events
======================= ===================================================================================

One film, from the floor above::

    specimen, processes = specimen_of(sample), processes_of(sample)  # twin/samples/evolving.py
    density = probe_density(energy, semiangle, aberrations, source_size, focal_spread)
    for points, dwell in lines:  # or frames, or one parked point: any path
        exposure = Exposure(points=points, dwell=dwell, current=current, energy=energy, density=density)
        specimen, events = advance(specimen, exposure, processes, rng)  # advance_relaxed also relaxes the structure after each event
        log = log + events
    image(sample_of(specimen, sample))
"""
