"""Effects of the beam on the specimen: rates of displacement, and the fate of the atoms.

Cross-sections are in A^2 (1 barn = 1e-8 A^2), current densities in electrons / (A^2 s), doses in electrons / A^2.

============================== ============================================================================
File                           Content
============================== ============================================================================
``competing_processes.py``     energy transfers that one atom's processes share
``contamination.py``           a film that grows under the beam, its halo, showers
``current_density.py``         the probe's current density
``displacement_thresholds.py`` thresholds by element and site with their sources, cross-sections
``electronic_excitation.py``   radiolysis and excited states
``event_loop.py``              compiled: the loop over events
``exposure.py``                a path of the beam in time, and the dose that it leaves anywhere
``isotopes.py``                natural isotopes
``kinetics.py``                ``advance``: a specimen, an exposure, processes -> the next specimen, events
``kinetics_kernels.py``        compiled: doses, rules
``knockon.py``                 knock-on cross-sections with thermal motion
``mott.py``                    Mott's series for heavy nuclei
``process_library.py``         processes of graphene and MoS2, the hop law of putting-dune
``processes.py``               what can happen to an atom, as frozen values
``relaxation.py``              the structure after an event: a valence force field; ``advance_relaxed``
``site_network.py``            sites, atoms on them, links between them
============================== ============================================================================

One film, from the layer above::

    specimen, processes = specimen_of(sample), processes_of(sample)  # twin/samples/kinetics_conversion.py
    density = probe_density(energy, semiangle, aberrations, source_size, focal_spread)
    for points, dwell in lines:  # or frames, or one parked point: any path
        exposure = Exposure(points=points, dwell=dwell, current=current, energy=energy, density=density)
        specimen, events = advance(specimen, exposure, processes, rng)  # advance_relaxed also relaxes the structure after each event
        log = log + events
    image(sample_of(specimen, sample))
"""
