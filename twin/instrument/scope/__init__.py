"""Simulated microscope: pure functions of its setup and state, and the class ``Microscope``, which stores both.

========================== =========================================================
File                       Content
========================== =========================================================
``aberration_tuning.py``   measurements and corrections of aberrations
``acquisition.py``         checked acquisitions, and frames
``bare_frames.py``         frames that hold only readings and clock time, for environments
``beam_damage.py``         changes of the specimen after a scan pass or a wait
``commands.py``            stage moves, waits, and the cost of any command
``common_operator.py``     one imaging operator for several camera lengths and semi-angles
``contamination_film.py``  signals through a contamination film, and the beam shower
``dose_budget.py``         the dose budget
``dose_log.py``            the nominal dose, pass by pass
``dose_map.py``            the true dose map, fixed to the specimen
``hidden_state.py``        hidden truth for scoring and training
``imaging_requests.py``    the simulation request of an acquisition
``incremental_imaging.py`` images of a specimen that changes
``knob_survey.py``         the effect of every knob on every signal
``knobs.py``               commanded settings, their limits and dependencies
``last_pass.py``           the last pass, with its expected signals
``microscope.py``          ``Microscope``
``readout.py``             detector readings of a pass
``scan_pass.py``           true positions, times and electrons of one pass
``setup.py``               the constant parts of a microscope
``specimen_state.py``      a specimen that the beam changes
``state.py``               the variable state as one frozen value
``recorders/``             one recorder for each kind of signal: images, patterns, spectra
========================== =========================================================
"""
