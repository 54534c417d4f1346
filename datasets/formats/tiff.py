"""TIFF images and stacks of ImageJ, OME, DigitalMicrograph and other programs.

Files with metadata of FEI, Zeiss, TVIPS, Olympus, JEOL or Hamamatsu are read by RosettaSciIO.
"""

from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.datasets.formats import rosetta
from stemtwin.datasets.formats.file_formats import check_package, unreadable
from stemtwin.datasets.formats.signal_dictionaries import plain_signal
from stemtwin.datasets.formats.tiff_calibrations import Calibration, is_vendors, read_calibrations, vendor_pixels
from stemtwin.datasets.formats.units import unit_of
from stemtwin.twin.errors import DatasetError

COLOURS, PALETTE = (2, 5, 6, 8), 3
"""Values of the tag PhotometricInterpretation: RGB, CMYK, YCbCr and CIELab; a palette."""
SEPARATE = 2
"""Value of the tag PlanarConfiguration for separate planes; stacks of three images without colours have it, too."""
NAMES = {"Y": "height", "X": "width", "Z": "depth", "C": "channel", "S": "channel"}
"""Names of axes by tifffile's letter; any other axis numbers frames."""
SIDES = ("height", "width")
"""Names of the axes y and x in RosettaSciIO's signals."""


def read(path: Path, *, lazy: bool) -> list[dict[str, Any]]:
    """Return each series of images of a file as a dictionary in RosettaSciIO's form.

    Raises
    ------
    DatasetError
        The file has another format, needs a package that is not installed, or holds a colour image.
    """
    check_package("tifffile", path, "Reading")
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            if not is_vendors(file):
                whole = [(i, each) for i, each in enumerate(file.series) if not each.keyframe.is_reduced and each.size]
                return [_signal(path, file, number, series, several=len(whole) > 1, lazy=lazy) for number, series in whole]
            pixels = vendor_pixels(file)
    except DatasetError:
        raise
    except Exception as error:  # tifffile raises errors of several kinds for unexpected content
        if "imagecodecs" in str(error):
            message = f"{path} is compressed ({error}). Install imagecodecs with 'pip install imagecodecs', or save it without compression."
            raise DatasetError(message) from error
        raise unreadable(path, "TIFF", error) from error
    signals = rosetta.read(path, "tiff", lazy=lazy)
    for axis in (axis for signal in signals for axis in signal["axes"] if axis["name"] in SIDES):
        if pixels:  # RosettaSciIO exchanges the sides of oblong pixels
            axis |= {"scale": pixels[SIDES.index(axis["name"])], "units": "m"}
    return signals


def _signal(path: Path, file: Any, number: int, series: Any, *, several: bool, lazy: bool) -> dict[str, Any]:
    """Return the signal of one series, with calibrated axes."""
    page, letters, notes = series.keyframe, list(series.axes), []
    values = _lazily(path, number, series) if lazy else series.asarray()
    if "S" in letters and int(page.photometric) in COLOURS and int(page.planarconfig) == SEPARATE:
        notes.append("planes that the file calls red, green and blue are channels here")
    elif "S" in letters and (int(page.photometric) in COLOURS or page.extrasamples):
        values, note = _grey(path, np.moveaxis(np.asarray(values), letters.index("S"), -1), len(page.extrasamples))
        letters.remove("S")
        notes.append(note)
    if int(page.photometric) == PALETTE:
        notes.append("the values are numbers of colours of its palette")
    known = read_calibrations(file, page, number)
    counting = next((i for i, letter in enumerate(letters) if letter not in NAMES), -1)
    if counting < 0 and "Z" in letters and not known.get("Z", Calibration()).unit:
        counting = letters.index("Z")  # a stack of images
    axes = []
    for i, (letter, size) in enumerate(zip(letters, values.shape, strict=True)):
        name, each = NAMES.get(letter, f"axis {letter}"), known.get(letter, Calibration())
        axis = {"name": name, "size": size, "units": each.unit, "scale": each.step, "offset": each.offset, "reason": each.reason}
        if i == counting:
            axis |= {"name": "frame", "units": None, "scale": 1.0, "offset": 0.0}
            unit = unit_of(each.unit)
            if unit and unit[0] == "s":
                axis["times"] = (each.offset + each.step * np.arange(size)) * unit[1]
        axes.append(axis | {"navigate": i < len(letters) - 2})
    name = series.name if several and series.name and series.name != "Generic" else path.stem
    return plain_signal(values, name, axes) | {"notes": notes}


def _lazily(path: Path, number: int, series: Any) -> Any:
    import dask.array as da
    import tifffile
    from dask.delayed import delayed

    return da.from_delayed(delayed(tifffile.imread)(path, series=number), series.shape, series.dtype)


def _grey(path: Path, values: np.ndarray, transparencies: int) -> tuple[np.ndarray, str]:
    """Return the channel of a grey image that is stored as colours (..., samples), and a note.

    The last ``transparencies`` of the samples are transparencies.
    """
    first, *others = (values[..., i] for i in range(values.shape[-1] - transparencies))
    if not all(np.array_equal(first, other) for other in others):
        message = (
            f"{path} is a colour image ({values.shape[-1]} samples per pixel), whose colours are not a measured signal. "
            "Save the image again as grey values of 8, 16 or 32 bits."
        )
        raise DatasetError(message)
    left = "its channels are equal, and one was taken" if others else "its transparency was left out"
    return first, f"the grey image was stored with {values.shape[-1]} samples a pixel; {left}"
