"""The command ``stemtwin``.

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
``image_files.py``       files of ``stemtwin image``, by their endings
``image_job.py``         a planned computation and what is said before it
``image_options.py``     checked options of ``stemtwin image``
``image_pictures.py``    pictures of its results
``image_quick.py``       quick images in the place of exact ones that take long
``image_signals.py``     its signals: images, patterns, spectra
``inputs.py``            ``stemtwin data inputs``
``knobs.py``             ``stemtwin knobs``
``listing.py``           ``stemtwin list``
``main.py``              dispatch of commands, exit codes
``number_lists.py``      numbers and series of numbers as people write them
``output.py``            JSON, tables and progress bars
``pack.py``              ``stemtwin data pack``
``replay.py``            ``stemtwin replay``
``review.py``            ``stemtwin review``
``structure_options.py`` thermal motion as people write it; the library's messages in the command's words
``submit.py``            ``stemtwin submit``
``task.py``              ``stemtwin task``
``warm.py``              ``stemtwin warm``
``warm_jobs.py``         small jobs that have every kernel compiled
``work_progress.py``     progress on a terminal and into a pipe
======================== ================================================================================
"""
