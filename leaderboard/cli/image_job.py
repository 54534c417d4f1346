"""Planned computation of ``stemtwin image``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stemtwin.leaderboard.cli.work_progress import span
from stemtwin.twin.errors import SamplingError, SettingsError

if TYPE_CHECKING:
    import xarray as xr

    from stemtwin.twin.progress import Progress
    from stemtwin.twin.samples.field_samples import FieldSample


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageJob:
    """Planned computation of a signal, with its estimated time and memory.

    Parameters
    ----------
    field : FieldSample
        Sample that contains the field of view.
    beam : Beam
        Beam; for a series of values of a setting, the beam at the first value.
    what : str
        Description of the signal and of its numbers of points and pixels, for the preamble (the text printed before the computation).
    engine, exactness : str
        Engine with the reason for its choice, and description of the engine's exactness.
    waves : int
        Number of waves reported as progress; 0 means no progress reports.
    memory_bytes : int
        Planned peak memory, bytes.
    seconds : float, optional
        Planned time, s; None for short computations without an estimate.
    notes : tuple of str
        Notes about sample and plan.
    compute : callable
        Function ``compute(progress)`` that returns the result.
    result_bytes : int
        Approximate size of the result, bytes.
    first : str
        First line of the preamble of a quick image, which names the approximation and its error; empty for other signals.
    """

    field: "FieldSample"
    beam: Any
    what: str
    engine: str
    exactness: str
    waves: int
    memory_bytes: int
    seconds: float | None
    notes: tuple[str, ...]
    compute: "Callable[[Progress | None], xr.Dataset]"
    result_bytes: int
    first: str = ""

    @property
    def extent(self) -> str:
        """Size of the simulated cell or window, which contains the field of view, as text."""
        height, width = self.field.sample.size_angstrom
        return f"{'cell' if self.field.sample.periodic else 'window'} of {width:.1f} x {height:.1f} A"

    @property
    def specimen(self) -> dict[str, Any]:
        """Formula, number of atoms, density, thermal motion and thickness of the sample, as JSON values."""
        sample = self.field.sample
        known = {"formula": sample.formula, "atoms": len(sample), "density_g_per_cm3": sample.density_g_per_cm3}
        return {**known, "thermal": sample.thermal_summary, "thickness_angstrom": float(sample.thickness_angstrom)}

    def preamble(self) -> list[str]:
        """Return the lines printed before the computation: aligned values, then the notes."""
        sample, beam = self.field.sample, self.beam
        time = "short: no multislice" if self.seconds is None else f"about {span(self.seconds)} on two cores"
        rows = {
            "formula": _reduced(sample.formula),
            "atoms": f"{len(sample)} in a {self.extent}",
            "density": f"{sample.density_g_per_cm3:.3g} g/cm^3",
            "thermal motion": sample.thermal_summary,
            "thickness": f"{sample.thickness_angstrom:.1f} A",
            "beam": f"{beam.energy_ev / 1e3:g} kV, {beam.semiangle_mrad:g} mrad, underfocus {-beam.aberrations.C10 + 0.0:g} A",
            "signal": self.what,
            "engine": self.engine,
            "planned time": time,
            "planned memory": _bytes(self.memory_bytes),
            "exactness": self.exactness,
        }
        return [
            *([self.first] if self.first else []),
            *(f"{name:<15} {value}" for name, value in rows.items()),
            *(f"{'note':<15} {note}" for note in self.notes),
        ]


def _reduced(formula: str) -> str:
    """Return a formula reduced to the smallest whole numbers, metals first."""
    from ase.formula import Formula

    return Formula(formula).reduce()[0].format("metal")


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def cheapest(fields: "Sequence[FieldSample]", plan: "Callable[[FieldSample], ImageJob]") -> ImageJob:
    """Plan a job on each of several samples of the same field of view, and return the job with the shortest estimated time.

    A note of the returned job contains the times of the other jobs.

    Raises
    ------
    StemtwinError
        No job can be computed; the error is that of the first sample.
    """
    jobs, errors = [], []
    for field in fields:
        try:
            jobs.append(plan(field))
        except (SamplingError, SettingsError) as error:  # the probe does not fit, or there is not enough memory
            errors.append(error)
    if not jobs:
        raise errors[0]
    # seconds is None for signals without channelling
    best = min(jobs, key=lambda job: (job.seconds is None, job.seconds or 0.0, job.field.area))
    if len(jobs) == 1:
        return best
    others = " and ".join(f"{span(job.seconds)} in a {job.extent}" for job in jobs if job is not best and job.seconds is not None)
    note = f"No cell of about the size of the field is periodic; the {best.extent} takes the least time"
    note += f" (others: {others})." if others else "."
    return replace(best, notes=(note, *best.notes))
