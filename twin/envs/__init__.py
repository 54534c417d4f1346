"""Gymnasium environments: experiments that an agent practises on the twin.

======================== ==================================================================
File                     Content
======================== ==================================================================
``arguments.py``         arguments of ``make``, randomisation of episodes
``canvas.py``            gauges, frames and text of pictures
``control_panel.py``     what can be set at a microscope, and what is read back
``damage_laws.py``       competing laws of beam damage, their posterior
``damage_pictures.py``   pictures of exposed areas
``discovery.py``         ``@environment``, the ids of all families
``drift_clusters.py``    clusters of heavy atoms, drawn for every episode
``drift_instrument.py``  presets and instrument of drift tracking, what its specimen does
``drift_pictures.py``    pictures of a watch on a drifting specimen
``drift_scenes.py``      images of sheets with one cluster
``drift_watch.py``       state of a watch, and what it is worth
``families/``            one file per family
``faults.py``            faults of an instrument, as probabilities
``flat_actions.py``      nested actions as one vector
``focus_features.py``    features of a frame that tell its focus
``focus_instrument.py``  presets, instruments and operators of the focusing task, version 2
``focus_limits.py``      limits of the focusing task, version 1
``forge_kinetics.py``    the kinetics under a parked beam, without images
``forge_pictures.py``    pictures of atoms that are moved
``forge_scenes.py``      presets, sheets, starts and goals of forging atom by atom
``forge_sight.py``       looks at atoms that are moved
``functional_env.py``    the protocol of a family, ``StemEnv``
``goal_family.py``       families with a goal and their rewards
``image_features.py``    images as uint8, powers of sectors of their spectra
``image_trees.py``       images and uncertainties from few points, by Gaussian trees
``making.py``            ``make``: from an id and arguments to an environment
``pictures.py``          pictures of environment states
``preparation.py``       specimens, the line that tells how far long builds are
``reference.py``         the scale of returns: what policies earn
``rewards.py``           rewards in [0, 1], ``REWARDS`` by name
``scalarisers.py``       numbers of a spectrum that a search is for
``scope_family.py``      what versions of the whole microscope have in common
``session.py``           a session at a microscope, as pure functions
``sparse_instrument.py`` presets and detector of the sparse scans, their reconstruction
``sparse_paths.py``      lines, spirals and hops of a scan, and their times
``sparse_pictures.py``   pictures of images from few points
``sparse_scenes.py``     particles, pores, boundaries, their expected image
``spectra_pictures.py``  pictures of searches by spectra
``spectral_presets.py``  difficulties of SpectrumDiscovery, the state of its episodes
``spectral_scenes.py``   image and spectra of the scenes of SpectrumDiscovery
``tree_kernels.py``      compiled sweeps over Gaussian trees
``tuning_film.py``       images of the film on which aberrations are corrected
``tuning_pictures.py``   pictures of a probe that is being corrected
``tuning_presets.py``    presets and instruments of the correction of aberrations
``tuning_ronchigram.py`` Ronchigrams on which aberrations are corrected
``tuning_state.py``      state of an episode of the correction of aberrations
``vector.py``            vectors of environments that compute together
``wrappers.py``          observation wrappers for training libraries
======================== ==================================================================
"""

from stemtwin.twin.envs import discovery

ENVIRONMENTS = discovery.registrations()
"""Every environment of stemtwin: id -> registration."""


def register() -> None:
    """Register every environment with Gymnasium by strings: nothing is imported before it is made."""
    for found in ENVIRONMENTS.values():
        discovery.register(found)
