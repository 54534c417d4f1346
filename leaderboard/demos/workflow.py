"""Whole workflow in steps: images, comparison of instruments, focus, dataset, scores of the baselines, board.

Each step is a function that writes its files to one folder and returns their paths; ``stemtwin demo`` calls the steps
in turn.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.twin.progress import Tick

if TYPE_CHECKING:
    from stemtwin.benchmarks.report import Report
    from stemtwin.leaderboard.tables import Board
    from stemtwin.twin.instrument.hardware.profiles import Profile
    from stemtwin.twin.samples.field_samples import FieldSample


DOSE = 2e4
"""Dose of the recorded frames, e-/A^2."""
INSTRUMENTS: dict[str, dict[str, float]] = {
    "corrected-200kv": {},
    "corrected-300kv": {},
    "nion-60": {},
    "nion-100": {},
    "schottky-200kv": {"C10": -550.0},
}
"""Compared instruments with their settings; without a corrector, underfocus compensates spherical aberration."""
SCAN_ANGSTROM = 16.0
"""Side of the fields in the comparison of instruments, A."""
EPISODES = 8
"""Number of episodes of each autofocus baseline, sufficient for intervals."""
FIELD_ANGSTROM = 24.0
"""Side of the imaged field, A."""
CELL_ANGSTROM = 10.0
"""Side of the cell of a periodic structure, A; the field contains the cell several times."""
LEAST_CELL_ANGSTROM = 3.0
"""Least side of the cell of a periodic structure in the comparison of instruments, A."""


def load_fields(structure: str) -> tuple["FieldSample", "FieldSample", tuple[str, ...]]:
    """Load the samples for the image and for the comparison of instruments.

    Parameters
    ----------
    structure : str
        Structure file, or name of a library sample.

    Returns
    -------
    imaged : FieldSample
        Sample of the image.
    compared : FieldSample
        Sample for the comparison of instruments; a periodic sample is small, because each instrument needs its own operator.
    notes : tuple of str
        Notes on changes to the structure.
    """
    from stemtwin.twin.samples.field_samples import load_field

    imaged = load_field(structure, side_angstrom=CELL_ANGSTROM)
    if imaged.sample.periodic:
        height, width = imaged.sample.size_angstrom
        note = f"The field of {FIELD_ANGSTROM:g} x {FIELD_ANGSTROM:g} A consists of cells of "
        note += f"{width:.1f} x {height:.1f} A (x, y)."
        notes = (*imaged.notes, note)
    else:
        imaged = load_field(structure, side_angstrom=FIELD_ANGSTROM)
        notes = imaged.notes
    compared = load_field(structure, side_angstrom=LEAST_CELL_ANGSTROM) if imaged.sample.periodic else imaged
    return imaged, compared, notes


def image_step(field: "FieldSample", folder: Path, tick: Tick) -> list[Path]:
    """Image a sample with the corrected instrument: HAADF and ABF, as PNG and netCDF.

    Parameters
    ----------
    field : FieldSample
        First result of :func:`load_fields`.
    folder : Path
        Folder of the files.
    tick : callable
        Progress callback.
    """
    from stemtwin.datasets.formats import save
    from stemtwin.twin.instrument import micrographs, shot_noise
    from stemtwin.twin.instrument.hardware.profiles import PROFILES
    from stemtwin.twin.instrument.scan import RasterScan
    from stemtwin.twin.instrument.scope.microscope import Microscope
    from stemtwin.twin.instrument.simulation.request import Request
    from stemtwin.twin.instrument.simulation.simulate import explain, simulate

    sample, size = field.sample, FIELD_ANGSTROM
    scan = RasterScan(shape=(128, 128), field_of_view_angstrom=(size, size), origin_angstrom=field.origin_angstrom)
    scope = Microscope(sample, PROFILES["corrected-200kv"].still(), seed=1)
    scope.set(semiangle_mrad=20.0)
    request = Request(sample=sample, beam=scope.truth()["beam"], scan=scan, detectors=_detectors())
    waves, done = explain(request).waves, 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        tick(done / waves)

    expected = simulate(request, progress=advance)
    counted = shot_noise.counted_electrons(expected, scan, DOSE, seed=1)
    frames = [("HAADF, expected", expected["haadf"]), ("ABF, expected", expected["abf"])]
    frames += [(f"HAADF, {DOSE:,.0f} e⁻/Å²", counted["haadf"])]
    caption = f"{sample.name}, {sample.thickness_angstrom:.0f} Å thick, 200 kV, 20 mrad"
    png = micrographs.save_png(micrographs.micrographs(frames, caption=caption), folder / "image.png")
    return [png, *(save(data, folder / f"image-{name}.nc", overwrite=True) for name, data in (("expected", expected), ("counted", counted)))]


def _detectors() -> tuple[Any, ...]:
    from stemtwin.twin.instrument.detectors import AnnularDetector

    return (AnnularDetector(inner_mrad=60, outer_mrad=120, name="haadf"), "abf")


def instrument_step(field: "FieldSample", folder: Path, tick: Tick) -> list[Path]:
    """Draw images of one sample by five instruments; then draw an ideal scan, a scan with drift and hum, and the dose map of the second scan."""
    from stemtwin.twin.instrument import micrographs
    from stemtwin.twin.instrument.hardware.profiles import PROFILES
    from stemtwin.twin.instrument.scan import RasterScan
    from stemtwin.twin.instrument.scope.microscope import Microscope

    sample, origin = field.sample, field.origin_angstrom
    scan = RasterScan(shape=(128, 128), field_of_view_angstrom=(SCAN_ANGSTROM, SCAN_ANGSTROM), origin_angstrom=origin)
    phonons = 2 if sample.thermal_sigma_angstrom is not None else "static"
    frames = []
    for number, (name, settings) in enumerate(INSTRUMENTS.items()):
        scope = Microscope(sample, name, seed=2, phonons=phonons)
        scope.set(**settings)
        frame = scope.acquire(scan, dwell_time_us=8.0, detectors=("haadf",)).haadf
        knobs = scope.settings
        frames.append((f"{name}: {knobs.energy_ev / 1e3:g} kV, {knobs.semiangle_mrad:g} mrad, {knobs.current_pa:g} pA", frame))
        tick((number + 1) / (len(INSTRUMENTS) + 1))
    caption = f"{sample.name} by five instruments: HAADF frames of 8 µs per point, ADC readings"
    made = [micrographs.save_png(micrographs.micrographs(frames, columns=3, caption=caption), folder / "instruments.png")]

    shaky = shaking(PROFILES["corrected-200kv"])
    still, moving = (Microscope(sample, profile, seed=2, phonons=phonons) for profile in (PROFILES["corrected-200kv"].still(), shaky))
    first, second = (scope.acquire(scan, dwell_time_us=40.0).haadf for scope in (still, moving))
    around = RasterScan(
        shape=(96, 96),
        field_of_view_angstrom=(1.5 * SCAN_ANGSTROM, 1.5 * SCAN_ANGSTROM),
        origin_angstrom=(origin[0] - 0.25 * SCAN_ANGSTROM, origin[1] - 0.25 * SCAN_ANGSTROM),
    )
    dose = still.dose_map(around).copy(data=moving.truth()["dose"].on_raster(around))
    shown = [("ideal scan: electrons", first), ("drift, hum, jitter: ADU", second), ("dose of that scan: e⁻/Å²", dose)]
    caption = f"{sample.name}, corrected-200kv, 40 µs per point: drift 3 Å/s, hum 0.5 Å"
    made.append(micrographs.save_png(micrographs.micrographs(shown, caption=caption), folder / "distortions.png"))
    tick(1.0)
    return made


def shaking(profile: "Profile") -> "Profile":
    """Return the profile of an instrument with a drift of 3 A/s, as just after a stage move, and a visible mains hum of 0.5 A."""
    from dataclasses import replace

    scan = replace(profile.imperfections, hum_angstrom=(0.25, 0.5))
    drift = replace(profile.instabilities, drift_speed_angstrom_per_s=0.0, drift_angstrom_per_s=(2.4, 1.8))
    return replace(profile, imperfections=scan, instabilities=drift)


def focus_step(folder: Path, tick: Tick) -> list[Path]:
    """Focus the microscope once with the focal-series baseline, and draw the frames that the baseline acquired."""
    from stemtwin.benchmarks.agents import brief_for, find_baseline
    from stemtwin.benchmarks.episodes import make_environment
    from stemtwin.benchmarks.tasks import load_tasks
    from stemtwin.twin.instrument import micrographs

    env = make_environment(load_tasks()["autofocus"])
    agent = find_baseline("autofocus", "focal-series").factory()
    observation, info = env.reset(seed=7)
    agent.reset(brief_for(env, task="autofocus", seed=7))
    frames = [_seen(env, observation)]
    done = False
    while not done:
        observation, _, terminated, truncated, info = env.step(agent.act(observation, info["cost"]))
        frames.append(_seen(env, observation))
        tick(len(frames) / 20)
        done = terminated or truncated
    env.close()
    caption = f"stemtwin/Autofocus-v1, focal-series baseline: {len(frames)} frames, {info['cost']['dose_e_per_angstrom2']:.2g} e⁻/Å²"
    return [micrographs.save_png(micrographs.micrographs(frames, columns=5, caption=caption), folder / "focal-series.png")]


def _seen(env: Any, observation: dict[str, np.ndarray]) -> tuple[str, Any]:
    import xarray as xr

    truth = env.unwrapped.truth()
    points = observation["image"].shape[0]
    side = env.unwrapped.task.field_of_view_angstrom / points * np.arange(points)
    frame = xr.DataArray(observation["image"], dims=("y", "x"), coords={"y": side, "x": side})
    return f"C10 {truth['C10_angstrom']:+.0f} Å, C12 {truth['C12_angstrom']:.0f} Å, Strehl {truth['strehl']:.2f}", frame


def check_data() -> None:
    """Raise DatasetError, before any work begins, if :func:`data_step` cannot build its dataset."""
    from stemtwin.datasets import fetch, generate
    from stemtwin.datasets.cards import find_card

    card = find_card("atoms-2d", "1.0.0")
    generate.check_build(card, "tiny", fetch.folder_of(card, "tiny"))


def data_step(tick: Tick) -> Path:
    """Build ``atoms-2d`` 1.0.0 tiny in the data folder, unless it exists, and return its folder."""
    from stemtwin.datasets import fetch, generate
    from stemtwin.datasets.cards import find_card

    card = find_card("atoms-2d", "1.0.0")
    folder = fetch.folder_of(card, "tiny")
    generate.build(card, "tiny", folder, progress=lambda done, total, _: tick(done / total))
    return folder


def score_step(folder: Path, tick: Tick) -> list["Report"]:
    """Score the baselines of ``atoms-2d`` and ``autofocus`` and write the report of each run."""
    from stemtwin.benchmarks import runner
    from stemtwin.benchmarks.agents import load_baselines
    from stemtwin.benchmarks.tasks import find_task

    entries = [b for b in (load_baselines()[name] for name in load_baselines()) if b.task in ("atoms-2d", "autofocus")]
    reports = []
    for number, entry in enumerate(entries):
        task = find_task(entry.task)

        def advance(done: int, total: int, number: int = number) -> None:
            tick((number + done / total) / len(entries))

        settings: dict[str, Any] = {"episodes": EPISODES} if task.kind == "agent" else {"split": "test", "size": "tiny"}
        result = runner.evaluate(task, baseline=entry.name, progress=advance, **settings)
        runner.save_run(folder / "runs" / task.name / entry.name, task, result)
        reports.append(result.report)
    return reports


def board_step(folder: Path, reports: list["Report"]) -> tuple[Path, list["Board"]]:
    """Enter reports on a board in the folder, and return the board's file and tables."""
    from stemtwin.leaderboard.store import Store

    path = folder / "board.db"
    with Store(path) as store:
        for report in reports:
            store.submit(report)
        return path, store.boards()


FILES = ("image.png", "image-expected.nc", "image-counted.nc", "instruments.png", "distortions.png", "focal-series.png", "board.db")
"""Names of the written files."""
STEPS = ("image the sample", "compare instruments", "focus the microscope", "build atoms-2d tiny", "score the baselines")
"""Names of the steps, for the progress bar."""
