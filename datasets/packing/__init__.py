"""Packing of measured files: a card, hashes, splits and a manifest for images that a microscope recorded.

======================= ============================================================
File                    Content
======================= ============================================================
``measured_images.py``  images of a file with square, calibrated pixels
``pack.py``             ``pack``: files and labels as a dataset's folder
``point_labels.py``     labelled points in a CSV file, checked
======================= ============================================================
"""

from stemtwin.datasets.packing.pack import PackSettings, pack

__all__ = ["PackSettings", "pack"]
