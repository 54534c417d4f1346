"""File formats: export of results, and import of files of microscopes and of other programs.

========================== ============================================================
File                       Content
========================== ============================================================
``array_conversion.py``    signals of files as arrays with our dimensions and units
``calibrations.py``        axes and attributes of results, as formats store them
``emd.py``                 EMD 1.0, for py4DSTEM
``emsa.py``                EMSA/MAS spectra
``export.py``              ``save``: a result in the format that the name's ending says
``file_formats.py``        the registry of formats, errors of files
``hyperspy.py``            HyperSpy's .hspy and .zspy
``library_messages.py``    messages of other libraries, kept off the screen
``mrc.py``                 MRC images and stacks
``ncem.py``                NCEM's EMD, before 1.0
``netcdf.py``              netCDF and zarr, which hold all of a result
``nsid.py``                NSID, for sidpy and SciFiReaders
``numpy_files.py``         NumPy's .npy and .npz
``parquet.py``             Parquet with Hugging Face features
``reader.py``              ``read_file``: a file as a Dataset like our own
``rosetta.py``             files of microscopes, read by RosettaSciIO
``signal_dictionaries.py`` RosettaSciIO's form of a signal
``tiff.py``                TIFF images and stacks
``tiff_calibrations.py``   calibrations of TIFF files: OME, ImageJ, DigitalMicrograph, resolution
``units.py``               units as files write them, and dimensions that have them
========================== ============================================================
"""

from stemtwin.datasets.formats.export import save
from stemtwin.datasets.formats.reader import read_file

__all__ = ["read_file", "save"]
