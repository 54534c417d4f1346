"""The digital twin: physics, samples, instrument, environments. Imports point down.

=============== ==========================================================
File            Content
=============== ==========================================================
``checks.py``   checks of numbers
``errors.py``   the error tree, and hints about unknown names
``files.py``    files and folders that are whole or not there
``progress.py`` progress callbacks
``registry.py`` names for things
``physics/``    formulas on arrays
``samples/``    positions of atoms
``instrument/`` the microscope and its simulation
``envs/``       Gymnasium environments
=============== ==========================================================
"""
