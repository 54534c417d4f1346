"""The digital twin: physics, samples, instrument, environments. Imports point down.

=============== ==========================================================
File            Content
=============== ==========================================================
``errors.py``   the error tree
``registry.py`` names for things
``physics/``    formulas on arrays
``samples/``    positions of atoms
``instrument/`` the microscope and its simulation
``envs/``       Gymnasium environments
=============== ==========================================================
"""
