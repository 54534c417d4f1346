"""Training of the networks in ``benchmarks/learned``, in an environment with torch (``make learn``, ``make learn-columns`` and similar).

=============== ==================================================================
File            Content
=============== ==================================================================
``columns.py``  the U-Net of ``atoms-2d@2``: atomic columns
``defects.py``  the U-Net of ``defects``: point defects of monolayers
``denoiser.py`` the U-Net of ``denoise``
``forge.py``    the policy of AtomForge: imitation of a planner, then PPO
``learner.py``  a policy by Stable-Baselines3
``points.py``   the U-Net that finds points in images, its loss and its training
``unet.py``     the levels that the U-Nets share
=============== ==================================================================
"""
