"""File formats: export of results, and import of files from microscopes and of their programs.

========================== ============================================================
File                       Content
========================== ============================================================
``array_conversion.py``    conversion of a file's signals to arrays with stemtwin's dimensions and units
``calibrations.py``        axes and attributes of results for storage in files
``emd.py``                 EMD 1.0, for py4DSTEM
``emsa.py``                EMSA/MAS spectra
``export.py``              ``save``: export of a result in the format that the file's ending selects
``file_formats.py``        the registry of formats, and errors for files
``hyperspy.py``            HyperSpy's .hspy and .zspy
``library_messages.py``    collection of messages of other libraries
``mrc.py``                 MRC images and stacks
``ncem.py``                NCEM's EMD, versions before 1.0
``netcdf.py``              netCDF and zarr, which store a result completely
``nsid.py``                NSID, for sidpy and SciFiReaders
``numpy_files.py``         NumPy's .npy and .npz
``parquet.py``             Parquet with Hugging Face features
``reader.py``              ``read_file``: import of a file as an ``xarray.Dataset``
``rosetta.py``             files of microscopes, read by RosettaSciIO
``signal_dictionaries.py`` signals as dictionaries in RosettaSciIO's form
``tiff.py``                TIFF images and stacks
``tiff_calibrations.py``   calibrations of TIFF files: OME, ImageJ, DigitalMicrograph, resolution
``units.py``               notations of units in files, and the names of axes by unit
========================== ============================================================
"""

from stemtwin.datasets.formats.export import save
from stemtwin.datasets.formats.reader import read_file

__all__ = ["read_file", "save"]
