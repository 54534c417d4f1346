"""The command ``stemtwin``.

======================== ================================================================================
File                     Content
======================== ================================================================================
``board.py``             ``stemtwin board``
``certify.py``           ``stemtwin certify``
``damage.py``            ``stemtwin damage``
``data.py``              ``stemtwin data``
``demo.py``              ``stemtwin demo``
``evaluate.py``          ``stemtwin eval``
``image.py``             ``stemtwin image``
``knobs.py``             ``stemtwin knobs``
``listing.py``           ``stemtwin list``
``main.py``              dispatch of commands, exit codes
``output.py``            JSON, tables and progress bars
``structure_options.py`` thermal motion as people write it; the library's messages in the command's words
``submit.py``            ``stemtwin submit``
``task.py``              ``stemtwin task``
======================== ================================================================================
"""
