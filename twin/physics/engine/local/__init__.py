"""Large fields in parts: the local operator, tiles for bright-field detectors, windows for single probes.

====================== =========================================================
File                   Content
====================== =========================================================
``accuracy_check.py``  comparison with multislice at random points
``basis.py``           localised band-limited functions on a lattice
``exit_waves.py``      exit waves of the basis functions, and their correlations
``film_slices.py``     slices of films joined into thicker ones
``growing_windows.py`` windows that grow with depth
``local_cache.py``     local operators on disk
``local_image.py``     images by lattice transforms
``local_kernels.py``   compiled parts
``local_operator.py``  the local operator
``piece_cache.py``     finished pieces of an unfinished build
``probe_windows.py``   single probes through windows that follow their beam
``resources.py``       work and memory of a local operator
``tiles.py``           dense operators on overlapping tiles of a large field
====================== =========================================================
"""
