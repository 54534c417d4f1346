"""Gymnasium environments: experiments on the twin for agents.

======================== ==================================================================
File                     Content
======================== ==================================================================
``arguments.py``         arguments of ``make``, randomisation of episodes
``canvas.py``            gauges, frames and text of pictures
``control_panel.py``     controls and read-backs of a microscope as numbers
``damage_laws.py``       competing laws of beam damage, and their posterior
``damage_pictures.py``   pictures of exposed areas
``damage_presets.py``    presets of HypothesisTest
``discovery.py``         ``@environment``, the ids of all families
``drift_clusters.py``    clusters of heavy atoms, drawn for every episode
``drift_instrument.py``  presets, instrument and specimen events of drift tracking
``drift_pictures.py``    pictures of drift tracking
``drift_scenes.py``      images of sheets with one cluster
``drift_watch.py``       state and score of drift tracking
``families/``            one file per family
``faults.py``            probabilities of instrument faults
``flat_actions.py``      nested actions as one vector
``focus_features.py``    features of a frame that depend on focus
``focus_instrument.py``  presets, instruments and operators of the focusing task, version 2
``focus_limits.py``      limits of the focusing task, version 1
``forge_kinetics.py``    kinetics under a parked beam, without images
``forge_pictures.py``    pictures of atom-by-atom fabrication
``forge_scenes.py``      presets, sheets, starts and goals of atom-by-atom fabrication
``forge_sight.py``       observations of atom-by-atom fabrication
``functional_env.py``    the protocol of a family, ``StemEnv``
``goal_family.py``       families with a goal and their rewards
``image_features.py``    uint8 images, sector powers of power spectra
``image_trees.py``       images and their uncertainties from few points, by Gaussian trees
``making.py``            ``make``: an environment from an id and arguments
``pictures.py``          pictures of environment states
``preparation.py``       specimens of environments, and progress lines during long builds
``reference.py``         scale of returns from reference policies
``rewards.py``           rewards in [0, 1], ``REWARDS`` by name
``scalarisers.py``       figures of merit of a spectrum
``scope_family.py``      common parts of the versions of the whole microscope
``session.py``           a session at a microscope, as pure functions
``sparse_instrument.py`` presets and detector of the sparse scans, their reconstruction
``sparse_paths.py``      lines, spirals and hops of a scan, and their times
``sparse_pictures.py``   pictures of sparse scans
``sparse_scenes.py``     particles, pores, boundaries, their expected image
``spectra_pictures.py``  pictures of the spectrum search
``spectral_presets.py``  difficulties of SpectrumDiscovery, the state of its episodes
``spectral_scenes.py``   image and spectra of the scenes of SpectrumDiscovery
``tree_kernels.py``      compiled loops over Gaussian trees
``tuning_film.py``       images of the film for aberration correction
``tuning_pictures.py``   pictures of aberration correction
``tuning_presets.py``    presets and instruments of aberration correction
``tuning_ronchigram.py`` Ronchigrams for aberration correction
``tuning_state.py``      state of an episode of aberration correction
``vector.py``            vectors of environments whose states are computed together
``wrappers.py``          observation wrappers for training libraries
======================== ==================================================================
"""

from stemtwin.twin.envs import discovery

ENVIRONMENTS = discovery.registrations()
"""Registrations of all environments by id."""


def register() -> None:
    """Register every environment with Gymnasium; a family is imported only when one of its environments is made."""
    for found in ENVIRONMENTS.values():
        discovery.register(found)
