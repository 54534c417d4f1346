"""Command line of stemtwin: the command ``stemtwin`` and its subcommands.

======================== ================================================================================
File                     Content
======================== ================================================================================
``board.py``             ``stemtwin board``
``certify.py``           ``stemtwin certify``
``compare.py``           ``stemtwin compare``
``damage.py``            ``stemtwin damage``
``data.py``              ``stemtwin data``
``demo.py``              ``stemtwin demo``
``evaluate.py``          ``stemtwin eval``
``event.py``             ``stemtwin event``
``film.py``              ``stemtwin film``
``image.py``             ``stemtwin image``
``image_files.py``       output files of ``stemtwin image`` by their endings
``image_job.py``         planned computation of ``stemtwin image`` and its preamble
``image_options.py``     checked options of ``stemtwin image``
``image_pictures.py``    pictures of the results of ``stemtwin image``
``image_quick.py``       quick images, which replace exact images that take long
``image_signals.py``     signals of ``stemtwin image``: images, patterns, spectra
``inputs.py``            ``stemtwin data inputs``
``knobs.py``             ``stemtwin knobs``
``listing.py``           ``stemtwin list``
``main.py``              dispatch of commands, exit codes
``number_lists.py``      parser of numbers and series of numbers
``output.py``            JSON, tables and progress bars
``pack.py``              ``stemtwin data pack``
``replay.py``            ``stemtwin replay``
``review.py``            ``stemtwin review``
``structure_options.py`` parser of ``--thermal``; replacement of argument names in messages
``submit.py``            ``stemtwin submit``
``task.py``              ``stemtwin task``
``warm.py``              ``stemtwin warm``
``warm_jobs.py``         small jobs that compile every kernel
``work_progress.py``     progress reports on a terminal and in a pipe
======================== ================================================================================
"""
