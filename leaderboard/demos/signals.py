"""All signals of one sample with one beam, saved in every format, and their evaluation.

The signals are an image, energy losses, X-rays and diffraction patterns. Each step is a function that returns the input
of the next step; ``stemtwin demo --signals`` calls the steps in turn. The results (thickness, edges, lattice, composition)
are derived only from the counts.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stemtwin.twin.progress import Tick

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from stemtwin.twin.instrument.scope.microscope import Microscope
    from stemtwin.twin.instrument.settings import Beam
    from stemtwin.twin.instrument.spectra import EDXDetector


THICKNESS_ANGSTROM = 62.48
POINTS, FIELD_ANGSTROM = 30, 11.715
"""Points along a side of the scan, and the side, A: three by three unit cells, so a mean over the scan is a mean over the cell."""
OFF_AXIS_MRAD = (60.0, 25.0)
"""Tilt off the zone axis for the composition, mrad; on the axis, channelling enhances the X-rays of elements in heavy columns."""
DARK_FIELD_MRAD = (40.0, 58.0)
HALVED = (((0.5, 0.0), (0.0, 1.0)), ((1.0, 0.0), (0.0, 0.5)), ((0.5, 0.5), (0.5, -0.5)))
"""Reciprocal vectors of cells that are twice as large, as multiples of the vectors of a cell."""
LEAST_PERIOD = 2.0
"""Least period of the lattice, A; columns may be closer."""
EDGES = ("Ti_L3", "O_K")
LINES = ("Sr_L", "Ti_K", "O_K")
ZERO_LOSS_END_EV = 3.1
"""End of the measured zero-loss peak, eV, below the band gap of SrTiO3 (3.2 eV); the tail of the peak beyond this energy is extrapolated."""


FILES = ("signals.nc", "signals.hf5", "signals.emd", "off-axis.nc", "off-axis-edx.hspy", "found.json", "signals.png")
"""Names of the written files; the other formats add one file for each signal."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taken:
    """Acquired signals: all signals on the zone axis, from one scan, and X-rays off the axis."""

    on_axis: "xr.Dataset"
    off_axis: "xr.Dataset"
    beam: "Beam"
    xrays: "EDXDetector"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Results of the evaluation.

    Parameters
    ----------
    t_over_lambda, thickness_angstrom : float
        Relative thickness ln(I_t / I_0), and its product with the mean free path, A.
    onsets_ev : dict
        Onset of each edge, eV.
    lattice_angstrom : tuple
        Two lattice vectors (x, y), A, from the virtual dark field of the patterns.
    composition, on_axis_composition : dict
        Atomic fractions by Cliff-Lorimer quantification, off and on the zone axis.
    """

    t_over_lambda: float
    thickness_angstrom: float
    onsets_ev: dict[str, float]
    lattice_angstrom: tuple[tuple[float, float], tuple[float, float]]
    composition: dict[str, float]
    on_axis_composition: dict[str, float]


def microscope(*, thickness_angstrom: float = THICKNESS_ANGSTROM, phonons: int | str = 2) -> "Microscope":
    """Return the corrected 200 kV instrument without instabilities, with SrTiO3 as sample.

    The model of energy losses omits surface plasmons, because the log-ratio method omits them too.
    """
    from stemtwin.twin.instrument.hardware.profiles import PROFILES
    from stemtwin.twin.instrument.scope.microscope import Microscope
    from stemtwin.twin.instrument.spectra import LossModel
    from stemtwin.twin.samples.library import load_sample

    sample = load_sample("srtio3-001", size_angstrom=(3.905, 3.905), thickness_angstrom=thickness_angstrom)
    return Microscope(sample, PROFILES["corrected-200kv"].still(), seed=1, phonons=phonons, losses=LossModel(surfaces=False))


def take(scope: "Microscope", tick: Tick, *, points: int = POINTS) -> Taken:
    """Acquire all signals on the zone axis in one scan, and X-rays off the axis.

    Parameters
    ----------
    scope : Microscope
        Result of :func:`microscope`.
    tick : callable
        Progress callback.
    points : int
        Number of points along a side of the scan.
    """
    from stemtwin.twin.instrument.detectors import PixelatedDetector
    from stemtwin.twin.instrument.scan import RasterScan
    from stemtwin.twin.instrument.spectra import EDXDetector, EELSDetector

    losses = EELSDetector(energy_range_ev=(-24.0, 1000.0), dispersion_ev=0.5, collection_mrad=40.0)
    xrays = EDXDetector()
    camera = PixelatedDetector(shape=(64, 64), outer_mrad=60.0)
    scan = RasterScan(shape=(points, points), field_of_view_angstrom=(FIELD_ANGSTROM, FIELD_ANGSTROM))
    on_axis = scope.acquire(scan, dwell_time_us=1e5, detectors=("haadf", losses, xrays, camera))
    tick(0.7)
    scope.move_stage(alpha_mrad=OFF_AXIS_MRAD[0], beta_mrad=OFF_AXIS_MRAD[1])
    coarse = RasterScan(shape=(8, 8), field_of_view_angstrom=(FIELD_ANGSTROM, FIELD_ANGSTROM))
    off_axis = scope.acquire_spectrum(coarse, dwell_time_us=3e6, detectors=(xrays,))
    tick(1.0)
    return Taken(on_axis=on_axis, off_axis=off_axis, beam=scope.truth()["beam"], xrays=xrays)


def save(taken: Taken, folder: Path, tick: Tick) -> tuple[list[Path], list[str]]:
    """Write all signals in every format of :mod:`stemtwin.datasets.formats` whose package is installed.

    Returns
    -------
    made : list of Path
        Written files.
    left_out : list of str
        Reason for each format that could not be written.
    """
    from stemtwin.datasets import formats
    from stemtwin.twin.errors import DatasetError

    whole, off = taken.on_axis, taken.off_axis
    wanted: list[tuple[xr.Dataset, str, str]] = [(whole, f"signals{ending}", "") for ending in (".nc", ".zarr", ".hf5", ".emd")]
    for ending in (".hspy", ".zspy", ".parquet"):
        wanted += [(whole, f"{name}{ending}", str(name)) for name in whole.data_vars]
    wanted += [(off, "off-axis.nc", ""), (off, "off-axis-edx.hspy", "edx")]
    made: list[Path] = []
    left_out: list[str] = []
    for number, (data, name, variable) in enumerate(wanted):
        try:
            made.append(formats.save(data, folder / name, variable=variable, overwrite=True))
        except DatasetError as error:
            if "installed" not in str(error):  # without the right version of its package, a format is left out
                raise
            if Path(name).suffix not in {Path(reason.split(":")[0]).suffix for reason in left_out}:  # once for each format
                left_out.append(f"{name}: {error}")
        tick((number + 1) / len(wanted))
    return made, left_out


# ---- evaluation -------------------------------------------------------------------------------------------------------------------------


def find(taken: Taken, folder: Path) -> Found:
    """Evaluate the counts, write the results to ``found.json`` in a folder, and return them."""
    from stemtwin.twin.files import write_atomically
    from stemtwin.twin.instrument.spectra import quantify
    from stemtwin.twin.physics.spectra import dielectric, lowloss

    losses = taken.on_axis.eels.sum(("y", "x"))
    material, beam = dielectric.material("srtio3"), taken.beam
    collection = float(taken.on_axis.eels.attrs["collection_mrad"]) * 1e-3
    path = lowloss.mean_free_path(material.mass_density, beam.energy_ev, collection, beam.semiangle_rad)
    ratio = log_ratio(losses.energy_loss_ev.to_numpy(), losses.to_numpy().astype(float))
    fractions = [quantify(data.edx.sum(("y", "x")).to_numpy(), LINES, beam, taken.xrays) for data in (taken.off_axis, taken.on_axis)]
    found = Found(
        t_over_lambda=ratio,
        thickness_angstrom=ratio * path,
        onsets_ev={name: onset(losses.energy_loss_ev.to_numpy(), losses.to_numpy().astype(float), near(name)) for name in EDGES},
        lattice_angstrom=lattice(dark_field(taken.on_axis.pixelated)),
        composition=fractions[0],
        on_axis_composition=fractions[1],
    )
    write_atomically(folder / "found.json", json.dumps(asdict(found), indent=1).encode())
    return found


def near(name: str) -> float:
    """Return the tabulated onset of an edge, eV."""
    from stemtwin.twin.physics.spectra import ionisation_edges as edges

    return edges.edge(name).onset


def log_ratio(energies: np.ndarray, counts: np.ndarray) -> float:
    """Return the relative thickness t / lambda = ln(I_t / I_0) from a spectrum with the zero-loss peak and all relevant losses.

    Here, t is the thickness, lambda is the mean free path, I_t is the sum of all counts, and I_0 is the sum over the
    zero-loss peak. The tail of this peak beyond the last channel in the band gap is extrapolated as E^-4.
    """
    last, half = int(np.flatnonzero(energies < ZERO_LOSS_END_EV)[-1]), (energies[1] - energies[0]) / 2
    near_end, far_end = (energies[last] - half) ** -3, (energies[last] + half) ** -3
    zero_loss = counts[: last + 1].sum() + counts[last] * far_end / (near_end - far_end)
    return math.log(counts.sum() / zero_loss)


def onset(energies: np.ndarray, counts: np.ndarray, expected: float) -> float:
    """Return the energy (eV) at which an edge near ``expected`` reaches half of its first maximum.

    A power law fitted before the edge is subtracted as background.
    """
    before = (energies > expected - 60) & (energies < expected - 6)
    slope, level = np.polyfit(np.log(energies[before]), np.log(counts[before]), 1)
    around = (energies > expected - 6) & (energies < expected + 12)
    at, signal = energies[around], counts[around] - np.exp(level + slope * np.log(energies[around]))
    top = int(np.argmax(signal > 0.85 * signal.max()))
    below = int(np.flatnonzero(signal[: top + 1] < signal[top : top + 3].max() / 2).max())
    half = signal[top : top + 3].max() / 2
    return float(at[below] + (half - signal[below]) / (signal[below + 1] - signal[below]) * (at[below + 1] - at[below]))


def dark_field(patterns: "xr.DataArray") -> "xr.DataArray":
    """Return the virtual dark-field image of patterns, from electrons far outside the bright-field disc."""
    from stemtwin.twin.instrument.detectors import AnnularDetector
    from stemtwin.twin.instrument.simulation.pattern_analysis import virtual

    return virtual(patterns, AnnularDetector(inner_mrad=DARK_FIELD_MRAD[0], outer_mrad=DARK_FIELD_MRAD[1], name="dark_field"))


def lattice(image: "xr.DataArray", *, orders: int = 4) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the two lattice vectors (x, y), A, of a periodic image.

    These vectors are the periods of the Fourier series, up to ``orders``, that fits the image best. The search starts at
    maxima of the autocorrelation. The sides of the field need not be whole numbers of periods.
    """
    from scipy.optimize import minimize

    values = image.to_numpy().astype(float)
    y, x = np.meshgrid(image.y.to_numpy(), image.x.to_numpy(), indexing="ij")
    start = np.linalg.inv(_periods(values, (float(image.y[1] - image.y[0]), float(image.x[1] - image.x[0])))).T
    h = [(i, j) for i in range(-orders, orders + 1) for j in range(-orders, orders + 1) if (i, j) >= (0, 0)]

    def misfit(flat: np.ndarray) -> float:
        g = flat.reshape(2, 2)  # rows: reciprocal vectors (y, x)
        phases = [2 * np.pi * ((i * g[0, 0] + j * g[1, 0]) * y + (i * g[0, 1] + j * g[1, 1]) * x).ravel() for i, j in h]
        basis = np.column_stack([*(np.cos(p) for p in phases), *(np.sin(p) for p in phases[1:])])
        projected = basis.T @ values.ravel()
        explained = projected @ np.linalg.solve(basis.T @ basis + 1e-9 * len(values.ravel()) * np.eye(len(projected)), projected)
        return float(1 - explained / (values**2).sum())

    def fitted(start: np.ndarray) -> np.ndarray:
        return minimize(misfit, start.ravel(), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 2000}).x.reshape(2, 2)

    best = fitted(start)
    while True:  # columns with nearly equal intensities can hide a larger cell
        larger = min((np.array(turn) @ best for turn in HALVED), key=lambda g: misfit(g.ravel()))
        if misfit(larger.ravel()) > misfit(best.ravel()) / 4:
            break
        best = fitted(larger)
    real = np.linalg.inv(best).T  # rows: lattice vectors (y, x)
    real = np.array(sorted((v if v[1] + 1e-6 * v[0] > 0 else -v for v in real), key=lambda v: abs(v[0])))
    first, second = ((float(v[1]), float(v[0])) for v in real)
    return first, second


def _periods(values: np.ndarray, step: tuple[float, float]) -> np.ndarray:
    """Return two short periods (y, x), A, of an image as rows, the one nearer to the x axis first.

    The periods are maxima of the autocorrelation.
    """
    centred = values - values.mean()
    sizes = [2 * n for n in values.shape]

    def correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.fft.irfft2(np.fft.rfft2(one, sizes) * np.fft.rfft2(other, sizes).conj(), sizes)

    ones = np.ones_like(centred)
    overlap = np.maximum(correlation(ones, ones), 1.0)
    norm = np.sqrt(np.maximum(correlation(centred**2, ones) * correlation(ones, centred**2), 1e-300))
    like = correlation(centred, centred) / norm
    ny, nx = (np.fft.fftfreq(n, 1 / n) for n in sizes)
    sy, sx = np.meshgrid(ny * step[0], nx * step[1], indexing="ij")
    length = np.hypot(sy, sx)
    peak = np.logical_and.reduce([like >= np.roll(like, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)])
    peak &= (length > LEAST_PERIOD) & (overlap > values.size / 4) & ((sx > 0) | ((sx == 0) & (sy > 0)))
    peak &= like > 0.9 * like[peak].max()
    found = np.column_stack([sy[peak], sx[peak]])[np.argsort(length[peak])]
    first = found[0]
    across = np.abs(found @ np.array([first[1], -first[0]])) > 0.5 * np.hypot(*found.T) * np.hypot(*first)  # 30 degrees from the first
    return np.array(sorted((first, found[across][0]), key=lambda v: abs(v[0])))


def told(found: Found) -> list[str]:
    """Return lines of text with each result and, in parentheses, its true value."""
    (ax, ay), (bx, by) = found.lattice_angstrom
    edges = ", ".join(f"{name.replace('_', ' ')} {at:.1f} eV ({near(name):g})" for name, at in found.onsets_ev.items())
    off, on = (", ".join(f"{symbol} {100 * value:.1f} %" for symbol, value in c.items()) for c in (found.composition, found.on_axis_composition))
    return [
        f"EELS: t/lambda = {found.t_over_lambda:.4f}, {found.thickness_angstrom:.2f} A thick ({THICKNESS_ANGSTROM:g})",
        f"EELS: edges {edges}",
        f"EDX: {off} off the zone axis (20, 20, 60); on the axis, with channelling, {on}",
        f"4D-STEM: lattice vectors ({ax:.3f}, {ay:.3f}) and ({bx:.3f}, {by:.3f}) A (3.905)",
    ]


# ---- pictures --------------------------------------------------------------------------------------------------------------------------


def draw(taken: Taken, found: Found, path: Path) -> Path:
    """Draw all signals and the results as one PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from stemtwin.twin.instrument import micrographs
    from stemtwin.twin.instrument.simulation import pattern_analysis as patterns

    figure = Figure(figsize=(12.0, 10.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 6)
    top = [figure.add_subplot(grid[0, 2 * i : 2 * i + 2]) for i in range(3)]
    middle = [figure.add_subplot(grid[1, 2 * i : 2 * i + 2]) for i in range(3)]
    losses, xrays = (figure.add_subplot(grid[2, 3 * i : 3 * i + 3]) for i in range(2))
    data = taken.on_axis
    micrographs.show(top[0], data.haadf, title="HAADF, electrons")
    micrographs.show(top[1], edge_map(data.eels, near("Ti_L3"), 14.0), title="EELS, Ti L above background")
    micrographs.show(top[2], folded(line_map(data.edx, 4509.0), 3), title="EDX, Ti K (cells folded)")
    micrographs.show(middle[0], dark_field(data.pixelated), title="4D-STEM: virtual dark field, 40 to 58 mrad")
    com = patterns.centre_of_mass(data.pixelated)
    micrographs.show(middle[1], patterns.icom(com, periodic=True), title="4D-STEM: centre of mass, and its integral")
    (dy, dx), every = (float(com[a][1] - com[a][0]) for a in "yx"), 2
    y, x = np.meshgrid(com.y[::every] + dy / 2, com.x[::every] + dx / 2, indexing="ij")
    middle[1].quiver(x, y, com.com_x[::every, ::every], com.com_y[::every, ::every], color="gold", angles="xy", width=0.005)
    mean = patterns.pacbed(data.pixelated)
    edge = float(mean.kx[-1]) + 0.5 * float(mean.kx[1] - mean.kx[0])
    middle[2].imshow(np.log10(np.maximum(mean.to_numpy(), 1)), cmap="magma", extent=(-edge, edge, edge, -edge))
    middle[2].set_title("4D-STEM: mean pattern, log", fontsize=10)
    middle[2].set_xlabel("kx (mrad)", fontsize=9)
    _draw_losses(losses, data.eels.sum(("y", "x")), found)
    for name, spectrum, fractions in (("on", data.edx, found.on_axis_composition), ("off", taken.off_axis.edx, found.composition)):
        total = spectrum.sum(("y", "x"))
        said = ", ".join(f"{symbol} {value:.1%}" for symbol, value in fractions.items())
        xrays.semilogy(total.photon_energy_ev / 1e3, np.maximum(total, 0.5) / float(total.sum()), lw=0.8, label=f"{name} the zone axis: {said}")
    xrays.set(xlim=(0.2, 6), ylim=(2e-5, 0.2), xlabel="photon energy (keV)", ylabel="fraction of the counts")
    xrays.set_title("EDX; true composition: Sr 20 %, Ti 20 %, O 60 %", fontsize=10)
    xrays.legend(fontsize=8)
    return micrographs.save_png(figure, path)


def _draw_losses(axes: "Axes", total: "xr.DataArray", found: Found) -> None:
    axes.semilogy(total.energy_loss_ev, np.maximum(total, 1), lw=0.8, color="black")
    near_edges = axes.inset_axes((0.4, 0.45, 0.58, 0.52))
    part = total.sel(energy_loss_ev=slice(435, 560))
    near_edges.plot(part.energy_loss_ev, part / 1e3, lw=0.8, color="black")
    near_edges.tick_params(labelsize=7)
    near_edges.set_ylabel("thousands", fontsize=7)
    for name, at in found.onsets_ev.items():
        near_edges.axvline(at, color="tab:red", lw=0.8, ls="--")
        near_edges.text(
            at - 1, 0.95 * float(part.max()) / 1e3, f"{name.replace('_', ' ')}: {at:.1f} eV", fontsize=8, rotation=90, va="top", ha="right"
        )
    axes.set(xlim=(-24, 800), xlabel="energy loss (eV)", ylabel="counts")
    measured = f"EELS: t/λ = {found.t_over_lambda:.4f}, {found.thickness_angstrom:.1f} Å"
    axes.set_title(f"{measured}; true thickness: {THICKNESS_ANGSTROM:g} Å", fontsize=10)


def edge_map(spectra: "xr.DataArray", onset_ev: float, width_ev: float) -> "xr.DataArray":
    """Return a map of the counts of an edge above the background; the shape of the background is fitted to the mean spectrum."""
    at = spectra.energy_loss_ev
    window, before = (at >= onset_ev - 1) & (at < onset_ev + width_ev), (at > onset_ev - 50) & (at < onset_ev - 5)
    mean = spectra.sum(("y", "x"), dtype=float)
    slope, level = np.polyfit(np.log(at[before]), np.log(mean[before]), 1)
    background = np.exp(level + slope * np.log(at[window])).sum() / mean[before].sum()
    return spectra[..., window].sum("energy_loss_ev", dtype=float) - float(background) * spectra[..., before].sum("energy_loss_ev", dtype=float)


def line_map(spectra: "xr.DataArray", energy_ev: float, width_ev: float = 160.0) -> "xr.DataArray":
    """Return a map of the number of photons in an energy window of width ``width_ev``, centred on a line at ``energy_ev``."""
    return spectra.sel(photon_energy_ev=slice(energy_ev - width_ev / 2, energy_ev + width_ev / 2)).sum("photon_energy_ev", dtype=float)


def folded(image: "xr.DataArray", cells: int) -> "xr.DataArray":
    """Return an image in which each unit cell is replaced by the mean of all unit cells.

    The image contains ``cells`` by ``cells`` unit cells, and the number of points along each side is a multiple of ``cells``.
    """
    ny, nx = (n // cells for n in image.shape)
    mean = image.to_numpy().reshape(cells, ny, cells, nx).mean(axis=(0, 2))
    return image.copy(data=np.tile(mean, (cells, cells)))


STEPS = ("acquire all signals", "write all formats", "evaluate the signals")
"""Names of the steps, for the progress bar."""
