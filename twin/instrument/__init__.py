"""The instrument: what people set, what is computed of it, and the microscope that counts electrons.

================== ==============================================================================
File               What is in it
================== ==============================================================================
``settings.py``    Beam, PlaneWave, PotentialSlices
``scan/``          scan paths as pure geometry
``timing.py``      when the beam is where; ``distortion.py``: where it truly is; ``dose.py``: where its electrons went
``detectors.py``   detectors by name, and their angles; ``chain.py``: their electronics; ``normalisation.py``: back to fractions
``pixelated.py``   the camera; ``camera.py``: what it counts
``diffraction.py`` 4D-STEM: patterns at each point; ``cubes.py``: written to disk as they are computed
``ronchigram.py``  the far field of one parked probe
``patterns.py``    PACBED, centre of mass, DPC, iCOM, virtual detectors
``spectra/``       energy losses and X-rays from the atoms and the probe of the images
``request.py``     a simulation as one frozen value; ``plain.py``: all of it as plain values
``plan.py``        engine, grid, slices, blocks; ``costs.py``, ``memory.py``: what each engine needs
``specimen.py``    transmission functions of each frozen-phonon configuration
``operators.py``   imaging operators, each built once and kept in the process and on disk
``approximate.py`` PRISM and the local operator, with their measured errors
``changing.py``    a local operator that follows atoms that move, come and go
``windows.py``     operators on overlapping windows of a large field
``quadrature.py``  partial coherence for engines that know coherent probes only
``simulate.py``    simulate, explain, exit_wave; ``results.py``: their Datasets
``abtem_engine.py`` the same request through abTEM; ``certify.py``: both solvers and the convergence
``profiles.py``    the numbers that make one microscope differ from another; ``hardware.py``: parts of real ones
``instabilities.py`` what does not stand still; ``wander.py``: random paths that are pure functions of the time
``stage.py``       five axes with reach, speed, backlash and errors
``corrector.py``   what changes when an aberration is told to change; ``tableau.py``: aberrations measured from images
``microscope.py``  knobs, frames, dose, clock; ``spectrometers.py``: spectra of the same electrons
``pictures.py``    frames for people
================== ==============================================================================
"""
