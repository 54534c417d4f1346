"""Pictures of the results of ``stemtwin image``: frames with titles, and montages of series."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.leaderboard.cli.image_options import ImageOptions

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

MOST_FRAMES = 12
"""Largest number of frames drawn for one variable; a longer series is sampled evenly."""
COLUMNS = 4
"""Largest number of frames in a row."""
IMAGE, PATTERN, ENERGY = ("y", "x"), ("ky", "kx"), "energy_ev"

WORDS = {"t_over_lambda": "t / λ", "collected": "collected", "pixelated": "diffraction pattern", "pacbed": "mean pattern", "ronchigram": "Ronchigram"}
"""Titles of variables whose names are not those of detectors."""

Titled = list[tuple[str, "xr.DataArray"]]


def picture(data: "xr.Dataset", sample: Any, beam: Any, options: ImageOptions) -> "Figure":
    """Return a figure with all frames of a result and a caption."""
    from stemtwin.twin.instrument import micrographs

    found = [frame for name in data for frame in frames(data[name])]
    rows = math.ceil(len(found) / COLUMNS)
    return micrographs.micrographs(found, columns=math.ceil(len(found) / rows), caption=_caption(sample, beam, options, len(found)))


def frames(array: "xr.DataArray") -> Titled:
    """Return the title and the array of each frame of one variable; a variable that is a single number has no frame."""
    dims = {str(dim) for dim in array.dims}
    if {*IMAGE, *PATTERN} <= dims:
        return _of_patterns(array)
    if ENERGY in dims:
        return [(f"{_title(array)}{', mean of the field' if len(dims) > 1 else ''}", _mean(array, ENERGY))]
    kept = next((each for each in (IMAGE, PATTERN) if set(each) <= dims), None)
    if kept is None:
        return []
    return _spread(array, kept)


def _spread(array: "xr.DataArray", kept: tuple[str, str]) -> Titled:
    """Return one frame for each value of the other dimensions; many values are sampled evenly."""
    others = [str(dim) for dim in array.dims if dim not in kept]
    places = list(np.ndindex(*(array.sizes[dim] for dim in others)))
    chosen = np.unique(np.linspace(0, len(places) - 1, min(len(places), MOST_FRAMES)).round().astype(int))
    found: Titled = []
    left_out = f" ({len(chosen)} of {len(places)} frames)" if len(chosen) < len(places) else ""
    for number in chosen:
        one = array.isel(dict(zip(others, places[number], strict=True)))
        said = [_place(one, dim, index) for dim, index in zip(others, places[number], strict=True)]
        title = _title(array) + (left_out if number == chosen[0] else "")
        found.append((f"{title}\n{', '.join(said)}" if said else title, one.transpose(*kept)))
    return found


def _place(one: "xr.DataArray", dim: str, index: int) -> str:
    """Return the position of a frame along a dimension as text, with the unit."""
    names = [dim] if dim in one.coords else [name for name in (f"{dim}_x", f"{dim}_y") if name in one.coords]
    if not names:
        return f"{dim} {index}"
    units = {"angstrom": "Å"}
    values = [f"{name.removesuffix('_x').removesuffix('_y')} {float(one[name]):g}" if number == 0 else f"{float(one[name]):g}"
              for number, name in enumerate(names)]  # fmt: skip
    unit = str(one[names[0]].attrs.get("units", ""))
    return f"{', '.join(values)} {units.get(unit, unit)}"


def _of_patterns(array: "xr.DataArray") -> Titled:
    """Return the mean pattern, the pattern in the centre of the field, and the image of the direct disc."""
    middle = array.isel(y=array.sizes["y"] // 2, x=array.sizes["x"] // 2)
    disc = np.hypot(array["ky"], array["kx"]) <= array.attrs["semiangle_mrad"]
    image = array.where(disc, 0).sum(PATTERN).assign_attrs(units=array.attrs["units"], long_name="fraction of the beam")
    mean = array.mean(IMAGE, dtype=float, keep_attrs=True)
    return [("mean pattern", mean), ("pattern in the centre", middle), ("direct disc", image)]


def _mean(array: "xr.DataArray", kept: str) -> "xr.DataArray":
    return array.mean([dim for dim in array.dims if dim != kept], dtype=float, keep_attrs=True)


def _title(array: "xr.DataArray") -> str:
    """Return the name of a signal with the angles of its detector."""
    name = str(array.name)
    if name.startswith("density_"):
        return name.removeprefix("density_").replace("_", " ")
    words = WORDS.get(name, name.upper())
    if "inner_mrad" not in array.attrs or "outer_mrad" not in array.attrs:
        return words
    return f"{words}  {array.attrs['inner_mrad']:.3g}-{array.attrs['outer_mrad']:.3g} mrad"


def _caption(sample: Any, beam: Any, options: ImageOptions, count: int) -> str:
    """Return the caption below the picture, at most as wide as its frames."""
    signal = f"{options.dose:g} e⁻/Å²" if options.dose else "expected signal"
    parts = [f"{sample.name}, {sample.thickness_angstrom:.0f} Å thick", f"{beam.energy_ev / 1e3:g} kV, {beam.semiangle_mrad:g} mrad, {signal}"]
    return ("\n" if count == 1 else ", ").join(parts)
