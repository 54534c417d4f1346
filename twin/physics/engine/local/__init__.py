"""Large fields in parts: the local operator, tiles for bright-field detectors, and windows for single probes.

====================== =========================================================
File                   Content
====================== =========================================================
``accuracy_check.py``  comparison with multislice at random points
``basis.py``           localised band-limited functions on a lattice
``exit_waves.py``      exit waves of the basis functions, and their correlations
``film_slices.py``     joining of film slices into thicker slices
``growing_windows.py`` windows that grow with depth
``local_cache.py``     disk cache of local operators
``local_image.py``     images by lattice transforms
``local_kernels.py``   compiled kernels of the local operator
``local_operator.py``  the local operator
``piece_cache.py``     disk cache of the pieces of an unfinished build
``probe_windows.py``   single probes in windows that follow their beam
``resources.py``       work and memory of a local operator
``tiles.py``           dense operators on overlapping tiles of a large field
====================== =========================================================
"""
