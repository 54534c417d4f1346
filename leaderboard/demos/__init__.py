"""Demonstrations of the twin and of the board, for ``stemtwin demo``.

=========================== ===============================================================
File                        Content
=========================== ===============================================================
``films.py``                films of beam damage
``pilot.py``                agent that moves a silicon atom and sees only images
``signals.py``              all signals of one sample, and their evaluation
``silicon_manipulation.py`` manipulation of a silicon atom in graphene by the parked beam
``workflow.py``             whole workflow in five steps, from a structure to a board
=========================== ===============================================================
"""
