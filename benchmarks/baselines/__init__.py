"""Published, practised scoring methods that a submission is compared with.

================= ====================================================================
File              Content
================= ====================================================================
``atoms.py``      baselines of ``atoms-2d``: Laplacian of Gaussian, random, truth
``focus.py``      baselines of ``autofocus``: focal series, random, truth
``hypothesis.py`` baselines of ``hypothesis-test``: expected information, fixed, truth
================= ====================================================================
"""
