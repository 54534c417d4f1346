"""Effects of the beam on the specimen: displacement cross-sections, kinetics of the atoms, contamination.

Cross-sections are in A^2 (1 barn = 1e-8 A^2), current densities in electrons / (A^2 s), doses in electrons / A^2.

============================== ============================================================================
File                           Content
============================== ============================================================================
``competing_processes.py``     division of energy transfers between the processes of one atom
``contamination.py``           growth of a carbon film under the beam, its halo, beam showers
``current_density.py``         current density of the probe
``displacement_thresholds.py`` thresholds by element and site with their sources, cross-sections
``electronic_excitation.py``   radiolysis and excited states
``event_loop.py``              compiled loop over events
``exposure.py``                path of the beam in time, and the dose at any position
``isotopes.py``                natural isotopes
``kinetics.py``                ``advance``: specimen, exposure and processes -> next specimen and events
``kinetics_kernels.py``        compiled doses and rules
``knockon.py``                 knock-on cross-sections with thermal motion
``mott.py``                    Mott's series for heavy nuclei
``process_library.py``         sets of processes for graphene, MoS2 and solids; hop model of the program putting-dune
``processes.py``               processes that an atom can undergo, as immutable objects
``relaxation.py``              relaxation after an event by a valence force field, ``advance_relaxed``
``site_network.py``            sites, their atoms, and links between sites
============================== ============================================================================

The following code computes one frame of a movie and uses ``twin/samples``, the layer above::

    specimen, processes = specimen_of(sample), processes_of(sample)  # twin/samples/kinetics_conversion.py
    density = probe_density(energy, semiangle, aberrations, source_size, focal_spread)
    for points, dwell in lines:  # or frames, or one parked point: any path
        exposure = Exposure(points=points, dwell=dwell, current=current, energy=energy, density=density)
        specimen, events = advance(specimen, exposure, processes, rng)  # advance_relaxed also relaxes the structure after each event
        log = log + events
    image(sample_of(specimen, sample))
"""
