"""The board: storage of results and the command line.

Imports point down: this folder < ``demos`` < ``cli``.

============= ===================================================================
File          Content
============= ===================================================================
``models.py`` tables of the board
``store.py``  the store: one SQLite file that only grows
``cli/``      the command ``stemtwin``
``demos/``    demonstrations of the twin and of the board
============= ===================================================================
"""
