"""The board: storage of results and the command line.

Imports point down: this folder < ``pages`` < ``events`` < ``demos`` < ``cli``.

==================== ===================================================================
File                 Content
==================== ===================================================================
``connection.py``    connections to the board's file, and its earlier versions
``duplicates.py``    near-duplicates between teams
``models.py``        the database's tables
``obstructions.py``  orders on slices beside that on the whole
``preview.py``       a row before it is entered
``review_checks.py`` checks between teams over folders
``reviews.py``       requests for review
``serving.py``       the pages in one room, over HTTP
``store.py``         the store: one SQLite file that only grows
``tables.py``        boards as they are shown: rows in order, ranks
``events/``          hackathons as folders, from settings to archive
``cli/``             the command ``stemtwin``
``pages/``           the board as static pages
``demos/``           demonstrations of the twin and of the board
==================== ===================================================================
"""
