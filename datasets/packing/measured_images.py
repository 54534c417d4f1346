"""Images of measured files: calibrated, of square pixels, cut into squares where wanted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.datasets.formats.reader import read_file
from stemtwin.datasets.storage import file_sha256
from stemtwin.twin.errors import DatasetError, suggestion

if TYPE_CHECKING:
    import xarray as xr

LENGTHS = ("angstrom", "A")
"""Units of coordinates that are lengths."""
SAME_STEP = 1e-3
"""Largest relative difference of two steps that count as equal."""
SETTINGS = "stemtwin_settings"
"""Attribute of every result that stemtwin simulated."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredImages:
    """The images of one file.

    Parameters
    ----------
    name : str
        Name of the file, without its folder.
    sha256 : str
        Hash of its bytes.
    pixels : ndarray
        (n, ny, nx) grey values as in the file.
    sampling_angstrom : float
        Step of the square pixels, A.
    """

    name: str
    sha256: str
    pixels: np.ndarray
    sampling_angstrom: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTile:
    """A square of an image: the image's number in its file, and the first row and column, px."""

    image: int
    top: int
    left: int


def read_images(paths: Sequence[Path], *, pixel_size_angstrom: float | None = None, variable: str | None = None) -> list[MeasuredImages]:
    """Read the images of measured files.

    Parameters
    ----------
    paths : sequence of Path
        Files that :func:`stemtwin.datasets.formats.reader.read_file` reads, of one pixel size.
    pixel_size_angstrom : float, optional
        Step of the pixels of files that have no calibration, A.
    variable : str, optional
        Name of the images in files that hold several.

    Raises
    ------
    DatasetError
        Two files have one name or the same bytes; a file cannot be read, holds no image or several, is not calibrated, was simulated, or has
        pixels that are not square, not numbers, or of another size than those of the others.
    """
    by_name: dict[str, Path] = {}
    for path in paths:
        if path.name in by_name:
            message = f"{by_name[path.name]} and {path} have the same name {path.name!r}, by which labels name files. Rename one of them."
            raise DatasetError(message)
        by_name[path.name] = path
    found: list[MeasuredImages] = []
    for path in paths:
        one = read_one(path, pixel_size_angstrom, variable)
        if twin := next((other for other in found if other.sha256 == one.sha256), None):
            message = f"{path} holds the same bytes as {by_name[twin.name]}. Leave one of them out."
            raise DatasetError(message)
        first = found[0] if found else one
        if abs(one.sampling_angstrom / first.sampling_angstrom - 1) > SAME_STEP:
            message = (
                f"{path} has pixels of {one.sampling_angstrom:.6g} A, {by_name[first.name]} of {first.sampling_angstrom:.6g} A. "
                "Pack files of different pixel sizes as datasets of their own."
            )
            raise DatasetError(message)
        found.append(one)
    return found


def read_one(path: Path, pixel_size_angstrom: float | None, variable: str | None) -> MeasuredImages:
    """Read the images of one file; see :func:`read_images`."""
    if path.is_dir():
        message = f"{path} is a folder, whose bytes have no hash. Give files."
        raise DatasetError(message)
    data = read_file(path, calibrations="pixels")
    if SETTINGS in data.attrs:
        message = f"{path} was simulated by stemtwin: it has the attribute {SETTINGS}. Pack measured files alone."
        raise DatasetError(message)
    image = _image_of(data, path, variable)
    steps = [_step(image, axis, path, pixel_size_angstrom) for axis in (-2, -1)]
    if abs(steps[0] / steps[1] - 1) > SAME_STEP:
        message = f"{path} has pixels of {steps[0]:.6g} A along y and {steps[1]:.6g} A along x. Resample it to square pixels."
        raise DatasetError(message)
    pixels = np.asarray(image.values)
    if pixels.dtype.kind not in "biuf":
        message = f"{path} holds values of type {pixels.dtype}. Save real grey values."
        raise DatasetError(message)
    pixels = pixels.reshape(-1, *pixels.shape[-2:])
    if not np.isfinite(pixels).all():
        frame, row, column = (int(place[0]) for place in np.nonzero(~np.isfinite(pixels)))
        message = f"{path}, image {frame}, row {row}, column {column}: the pixel is {pixels[frame, row, column]}. Replace what is not finite."
        raise DatasetError(message)
    return MeasuredImages(name=path.name, sha256=file_sha256(path), pixels=pixels, sampling_angstrom=float(np.mean(steps)))


def _image_of(data: "xr.Dataset", path: Path, variable: str | None) -> Any:
    """Return the variable of a file that holds its images."""
    names = [str(name) for name, array in data.data_vars.items() if _plain_dims(array) in (("y", "x"), ("frame", "y", "x"))]
    if variable is not None and variable in map(str, data.data_vars):
        names = [name for name in names if name == variable]
    elif variable is not None:
        message = f"{path} has no variable {variable!r}. {suggestion(variable, map(str, data.data_vars))}"
        raise DatasetError(message)
    if not names:
        held = ", ".join(f"{name} ({', '.join(map(str, array.dims))})" for name, array in data.data_vars.items())
        message = f"{path} holds no image with the dimensions y and x, or frame, y and x, but {held}. Give files of images."
        raise DatasetError(message)
    if len(names) > 1:
        message = f"{path} holds several images: {', '.join(names)}. Name one as the variable."
        raise DatasetError(message)
    return data[names[0]]


def _plain_dims(array: Any) -> tuple[str, ...]:
    """Return the dimensions of a variable without the variable's name, which the reader adds where two of a file clash."""
    return tuple(str(dim).removesuffix(f"_{array.name}") for dim in array.dims)


def _step(image: Any, axis: int, path: Path, given: float | None) -> float:
    """Return the step along an axis, A."""
    dim = str(image.dims[axis])
    places = np.asarray(image[dim].values, dtype=float) if dim in image.coords else np.arange(image.shape[axis], dtype=float)
    unit = str(image[dim].attrs.get("units", "pixel")) if dim in image.coords else "pixel"
    if unit == "pixel":
        if given is None:
            message = f"{path} is not calibrated: its axis {dim} counts pixels. Give the pixel size in A."
            raise DatasetError(message)
        return given
    if unit not in LENGTHS or len(places) < 2:
        message = f"{path} has an axis {dim} of {len(places)} point(s) in {unit}. Give images of at least 2 x 2 pixels with steps in lengths."
        raise DatasetError(message)
    steps = np.diff(places)
    step = float(steps.mean())
    if not step > 0 or np.abs(steps - step).max() > SAME_STEP * step:
        message = f"{path} has uneven or falling steps along {dim}, {steps.min():.6g} to {steps.max():.6g} A. Resample it to even, rising ones."
        raise DatasetError(message)
    return step


def tiles_of(images: MeasuredImages, edge: int | None) -> list[ImageTile]:
    """Return the squares of the images of a file, row by row, what is left over at the far edges left out; whole images without an edge.

    Raises
    ------
    DatasetError
        An image is smaller than the square.
    """
    count, ny, nx = images.pixels.shape
    if edge is None:
        return [ImageTile(image=image, top=0, left=0) for image in range(count)]
    if edge > min(ny, nx):
        message = f"{images.name} has {ny} x {nx} pixels, too few for squares of {edge}. Give a smaller edge."
        raise DatasetError(message)
    tops, lefts = range(0, ny - edge + 1, edge), range(0, nx - edge + 1, edge)
    return [ImageTile(image=image, top=top, left=left) for image in range(count) for top in tops for left in lefts]


def common_shape(images: Sequence[MeasuredImages], edge: int | None) -> tuple[int, int]:
    """Return the size in pixels (y, x) that all images have; raise DatasetError where they differ."""
    if edge is not None:
        return edge, edge
    first = images[0]
    for one in images[1:]:
        if one.pixels.shape[1:] != first.pixels.shape[1:]:
            shapes = [" x ".join(map(str, each.pixels.shape[1:])) for each in (one, first)]
            message = f"{one.name} has {shapes[0]} pixels, {first.name} {shapes[1]}. Cut them into squares of a common edge, or pack them apart."
            raise DatasetError(message)
    return first.pixels.shape[1:]


def common_type(images: Sequence[MeasuredImages]) -> str:
    """Return the type that holds the grey values of all images without loss: uint16, float32 or float64."""
    for dtype in ("uint16", "float32"):
        if all(_fits(one.pixels, np.dtype(dtype)) for one in images):
            return dtype
    return "float64"


def _fits(pixels: np.ndarray, dtype: np.dtype) -> bool:
    """Return whether a type holds all values without loss."""
    if dtype.kind == "u" and (pixels.min() < 0 or pixels.max() > np.iinfo(dtype).max):
        return False
    with np.errstate(over="ignore"):
        return bool(np.array_equal(pixels.astype(dtype).astype(float), pixels.astype(float)))
