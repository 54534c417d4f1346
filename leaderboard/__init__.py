"""The board (leaderboard): stored results with tables and pages, hackathon events, demonstrations, and the command line.

A module imports only from its own folder and from earlier ones in this order: this folder, ``pages``, ``events``, ``demos``, ``cli``.

==================== ===================================================================
File                 Content
==================== ===================================================================
``connection.py``    connections to the board's file, migration of earlier versions
``duplicates.py``    near-duplicate answers of different teams
``models.py``        the database's tables
``obstructions.py``  pairs of entries whose order is reversed on a slice of the samples
``preview.py``       preview of a row before it is entered
``review_checks.py`` comparison of submissions of different teams
``reviews.py``       requests for review
``serving.py``       HTTP server of the pages for a local network
``store.py``         append-only store in one SQLite file
``tables.py``        tables of a board: rows in order, ranks
``events/``          hackathons as folders, from settings to archive
``cli/``             the command ``stemtwin``
``pages/``           the board as static pages
``demos/``           demonstrations of the twin and of the board
==================== ===================================================================
"""
