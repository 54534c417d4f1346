"""The board: storage of results and the command line.

============== ===================================================================
File           Content
============== ===================================================================
``demo.py``    the main job in five steps
``films.py``   films of beam damage
``leading.py`` a silicon atom in graphene led along a path
``models.py``  tables of the board
``pilot.py``   the agent that leads the silicon atom
``signals.py`` all signals of one sample
``store.py``   the store: one SQLite file that only grows
``cli/``       the command ``stemtwin``
============== ===================================================================
"""
