"""Families of environments: one file each, found by its ``@environment`` decorator.

===================== ============================================================
File                  Content
===================== ============================================================
``autofocus_v1.py``   ``stemtwin/Autofocus-v1``, frozen for the task ``autofocus@1``
``autofocus.py``      ``stemtwin/Autofocus-v2``
``microscope.py``     ``stemtwin/Microscope-v1``
===================== ============================================================
"""
