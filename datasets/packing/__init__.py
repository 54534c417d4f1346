"""Packing of measured microscope images as a dataset with a card, hashes, splits and a manifest.

======================= ============================================================
File                    Content
======================= ============================================================
``measured_images.py``  images of a file with square, calibrated pixels
``pack.py``             ``pack``: files and labels as a dataset's folder
``point_labels.py``     labelled points from a CSV file, with checks
======================= ============================================================
"""

from stemtwin.datasets.packing.pack import PackSettings, pack

__all__ = ["PackSettings", "pack"]
