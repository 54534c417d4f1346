"""Images of measured files with square, calibrated pixels, cut into square tiles if requested."""

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
"""Units of lengths in coordinates."""
SAME_STEP = 1e-3
"""Largest relative difference of two pixel sizes that count as equal."""
SETTINGS = "stemtwin_settings"
"""Name of the attribute that all results simulated by stemtwin have."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredImages:
    """Images of one file.

    Parameters
    ----------
    name : str
        Name of the file without its folder.
    sha256 : str
        Hash of the file's bytes.
    pixels : ndarray
        Grey values (n, ny, nx) of the file.
    sampling_angstrom : float
        Size of the square pixels, A.
    """

    name: str
    sha256: str
    pixels: np.ndarray
    sampling_angstrom: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTile:
    """A tile of an image: the number of the image in its file, and the tile's first row and column in the image, px."""

    image: int
    top: int
    left: int


def read_images(paths: Sequence[Path], *, pixel_size_angstrom: float | None = None, variable: str | None = None) -> list[MeasuredImages]:
    """Read the images of measured files.

    Parameters
    ----------
    paths : sequence of Path
        Files with the same pixel size, in formats that :func:`stemtwin.datasets.formats.reader.read_file` reads.
    pixel_size_angstrom : float, optional
        Pixel size of files without a calibration, A.
    variable : str, optional
        Name of the variable with the images, for files with several variables.

    Returns
    -------
    list of MeasuredImages
        Images of each file.

    Raises
    ------
    DatasetError
        Two files have the same name or the same bytes. A file cannot be read, is not calibrated, or was simulated by
        stemtwin; none of its variables holds images, or several do and ``variable`` is not given. The pixels of a file are
        not square, their values are not real and finite, or their size differs from that in another file.
    """
    by_name: dict[str, Path] = {}
    for path in paths:
        if path.name in by_name:
            message = f"{by_name[path.name]} and {path} have the same name {path.name!r}, so labels cannot distinguish them. Rename one of them."
            raise DatasetError(message)
        by_name[path.name] = path
    found: list[MeasuredImages] = []
    for path in paths:
        one = read_one(path, pixel_size_angstrom, variable)
        if twin := next((other for other in found if other.sha256 == one.sha256), None):
            message = f"{path} holds the same bytes as {by_name[twin.name]}. Leave out one of them."
            raise DatasetError(message)
        first = found[0] if found else one
        if abs(one.sampling_angstrom / first.sampling_angstrom - 1) > SAME_STEP:
            message = (
                f"{path} has pixels of {one.sampling_angstrom:.6g} A, but {by_name[first.name]} has pixels of {first.sampling_angstrom:.6g} A. "
                "Pack files of different pixel sizes as separate datasets."
            )
            raise DatasetError(message)
        found.append(one)
    return found


def read_one(path: Path, pixel_size_angstrom: float | None, variable: str | None) -> MeasuredImages:
    """Read the images of one file; see :func:`read_images`."""
    if path.is_dir():
        message = f"{path} is a folder, which has no hash. Give files."
        raise DatasetError(message)
    data = read_file(path, calibrations="pixels")
    if SETTINGS in data.attrs:
        message = f"{path} was simulated by stemtwin, as its attribute {SETTINGS} shows. Pack only measured files."
        raise DatasetError(message)
    image = _image_of(data, path, variable)
    steps = [_step(image, axis, path, pixel_size_angstrom) for axis in (-2, -1)]
    if abs(steps[0] / steps[1] - 1) > SAME_STEP:
        message = f"{path} has pixels of {steps[0]:.6g} A along y and {steps[1]:.6g} A along x. Resample it to square pixels."
        raise DatasetError(message)
    pixels = np.asarray(image.values)
    if pixels.dtype.kind not in "biuf":
        message = f"{path} holds values of type {pixels.dtype}, which are not real numbers. Save real grey values."
        raise DatasetError(message)
    pixels = pixels.reshape(-1, *pixels.shape[-2:])
    if not np.isfinite(pixels).all():
        frame, row, column = (int(place[0]) for place in np.nonzero(~np.isfinite(pixels)))
        message = f"{path}, image {frame}, row {row}, column {column}: the pixel is {pixels[frame, row, column]}. Use only finite values."
        raise DatasetError(message)
    return MeasuredImages(name=path.name, sha256=file_sha256(path), pixels=pixels, sampling_angstrom=float(np.mean(steps)))


def _image_of(data: "xr.Dataset", path: Path, variable: str | None) -> Any:
    """Return the variable with the images of a file."""
    names = [str(name) for name, array in data.data_vars.items() if _plain_dims(array) in (("y", "x"), ("frame", "y", "x"))]
    if variable is not None and variable in map(str, data.data_vars):
        names = [name for name in names if name == variable]
    elif variable is not None:
        message = f"{path} has no variable {variable!r}. {suggestion(variable, map(str, data.data_vars))}"
        raise DatasetError(message)
    if not names:
        held = ", ".join(f"{name} ({', '.join(map(str, array.dims))})" for name, array in data.data_vars.items())
        message = f"{path} holds no image with the dimensions (y, x) or (frame, y, x); it holds {held}. Give files of images."
        raise DatasetError(message)
    if len(names) > 1:
        message = f"{path} holds several variables with images: {', '.join(names)}. Choose one as the variable."
        raise DatasetError(message)
    return data[names[0]]


def _plain_dims(array: Any) -> tuple[str, ...]:
    """Return the names of a variable's dimensions without the variable's name, which the reader may append as a suffix."""
    return tuple(str(dim).removesuffix(f"_{array.name}") for dim in array.dims)


def _step(image: Any, axis: int, path: Path, given: float | None) -> float:
    """Return the pixel size along an axis, A."""
    dim = str(image.dims[axis])
    places = np.asarray(image[dim].values, dtype=float) if dim in image.coords else np.arange(image.shape[axis], dtype=float)
    unit = str(image[dim].attrs.get("units", "pixel")) if dim in image.coords else "pixel"
    if unit == "pixel":
        if given is None:
            message = f"{path} is not calibrated: its axis {dim} is in pixels. Give the pixel size in A."
            raise DatasetError(message)
        return given
    if unit not in LENGTHS or len(places) < 2:
        message = f"{path} has an axis {dim} of {len(places)} point(s) in {unit}. Give images of at least 2 x 2 pixels with axes in units of length."
        raise DatasetError(message)
    steps = np.diff(places)
    step = float(steps.mean())
    if not step > 0 or np.abs(steps - step).max() > SAME_STEP * step:
        message = (
            f"{path} has uneven or falling positions along {dim}, with steps of {steps.min():.6g} to {steps.max():.6g} A. "
            "Resample it to even, rising positions."
        )
        raise DatasetError(message)
    return step


def tiles_of(images: MeasuredImages, edge: int | None) -> list[ImageTile]:
    """Return the square tiles of all images of a file, row by row.

    ``edge`` is the edge length of the tiles, px; with None, each tile is a whole image. The last rows and columns of an
    image are omitted if they do not fill a tile.

    Raises
    ------
    DatasetError
        An image is smaller than a tile.
    """
    count, ny, nx = images.pixels.shape
    if edge is None:
        return [ImageTile(image=image, top=0, left=0) for image in range(count)]
    if edge > min(ny, nx):
        message = f"{images.name} has {ny} x {nx} pixels, too few for tiles of {edge} x {edge} pixels. Give a smaller edge."
        raise DatasetError(message)
    tops, lefts = range(0, ny - edge + 1, edge), range(0, nx - edge + 1, edge)
    return [ImageTile(image=image, top=top, left=left) for image in range(count) for top in tops for left in lefts]


def common_shape(images: Sequence[MeasuredImages], edge: int | None) -> tuple[int, int]:
    """Return the common size (y, x) of all images or tiles in pixels; raise DatasetError if the sizes differ."""
    if edge is not None:
        return edge, edge
    first = images[0]
    for one in images[1:]:
        if one.pixels.shape[1:] != first.pixels.shape[1:]:
            shapes = [" x ".join(map(str, each.pixels.shape[1:])) for each in (one, first)]
            message = f"{one.name} has {shapes[0]} pixels, but {first.name} has {shapes[1]}. Cut them into tiles, or pack them as separate datasets."
            raise DatasetError(message)
    return first.pixels.shape[1:]


def common_type(images: Sequence[MeasuredImages]) -> str:
    """Return the smallest type that holds the grey values of all images without loss: uint16, float32 or float64."""
    for dtype in ("uint16", "float32"):
        if all(_fits(one.pixels, np.dtype(dtype)) for one in images):
            return dtype
    return "float64"


def _fits(pixels: np.ndarray, dtype: np.dtype) -> bool:
    """Return True if a type holds all values without loss."""
    if dtype.kind == "u" and (pixels.min() < 0 or pixels.max() > np.iinfo(dtype).max):
        return False
    with np.errstate(over="ignore"):
        return bool(np.array_equal(pixels.astype(dtype).astype(float), pixels.astype(float)))
