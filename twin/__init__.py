"""Digital twin of the microscope: physics, samples, instrument, environments.

A folder imports only from files and folders above it in the table.

=============== ==========================================================
File            Content
=============== ==========================================================
``checks.py``   validation of numbers
``errors.py``   exceptions, and suggestions for unknown names
``files.py``    atomic writes, checks before a write, locks
``progress.py`` progress callbacks
``registry.py`` registries of named objects
``physics/``    formulas on arrays
``samples/``    positions of atoms
``instrument/`` microscope and simulation
``envs/``       Gymnasium environments
=============== ==========================================================
"""
