"""The board: storage of results and the command line.

Imports point down: this folder < ``demos`` < ``cli``.

================= ===================================================================
File              Content
================= ===================================================================
``connection.py`` connections to the board's file, and its earlier versions
``models.py``     the database's tables
``store.py``      the store: one SQLite file that only grows
``tables.py``     boards as they are shown: rows in order, ranks
``cli/``          the command ``stemtwin``
``demos/``        demonstrations of the twin and of the board
================= ===================================================================
"""
