"""Families of tasks: one module for each task, found because it is here.

================= ============================================
File              Content
================= ============================================
``atoms.py``      the task ``atoms-2d``
``denoise.py``    the task ``denoise``
``focus.py``      the task ``autofocus``, version 1
``focus_v2.py``   the task ``autofocus@2``
``forge.py``      the task ``atom-forge``
``hypothesis.py`` the task ``hypothesis-test``
================= ============================================
"""
