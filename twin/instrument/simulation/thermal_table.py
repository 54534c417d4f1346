"""The table of errors of the engine ``thermal`` on whole images: ``python -m stemtwin.twin.instrument.simulation.thermal_table [SAMPLE ...]``.

Each row compares two images of a whole cell: that of the engine ``thermal``, and that of the exact engine with frozen phonons. The
exact image is averaged over the translations that map the cell's atoms onto themselves. Rows are written to ``thermal_errors.json`` as
soon as they are computed; an existing row is computed again only if its sample is named. ``docs/thermal.md`` shows the table.
No constant of the model was fitted to a sample. The form of the model and the band limit of its waves were chosen with SrTiO3,
Au, Si, MoS2 and graphene; WS2, Pt, tilted BaTiO3 and ZnO were held out.
"""

import itertools
import json
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk, make_supercell

from stemtwin.twin.files import write_atomically
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache, thermal_check
from stemtwin.twin.instrument.simulation.engines import operator, thermal
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

POINTS = 24
"""Pixels along each side of an image; a multiple of the divisions of a cell."""
PARTS = (1, 2, 3, 4, 6)
"""Divisors n; multiples of 1/n of a cell are tried as translations."""
DOCUMENT = Path(__file__).parents[3] / "docs" / "thermal.md"
BEGIN, END = "<!-- rows -->\n", "<!-- end of rows -->\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Sample and conditions of one or more rows of the table of errors, and the number of configurations of the exact image."""

    sample: str
    thickness: float | None = None
    energy_kv: float = 200.0
    semiangle: float = 20.0
    ring: tuple[float, float] = (60.0, 120.0)
    focus: tuple[float, ...] = (0.0,)
    tilt: tuple[float, float] = (0.0, 0.0)
    configurations: int = 32


ZNO, ZNO_CELL, ZNO_U, ZNO_SIGMA = "zno-001", (3.2498, 5.2066), 0.382, 0.09
"""Wurtzite ZnO along its hexagonal axis, which is not in the library: name, (a, c), A, fractional z of O, rms displacement, A."""


def sample_of(case: Case) -> Sample:
    """Return the sample of a case in a cell of about 8 A."""
    if case.sample == ZNO:
        a, c = ZNO_CELL
        cell = bulk("ZnO", "wurtzite", a=a, c=c, u=ZNO_U)
        wide = make_supercell(cell, [[1, 0, 0], [1, 2, 0], [0, 0, 1]])
        return Sample.from_ase(wide.repeat((2, 1, round((case.thickness or c) / c))), thermal_sigma_angstrom={"Zn": ZNO_SIGMA, "O": ZNO_SIGMA})
    settings: dict[str, Any] = {} if case.thickness is None else {"thickness_angstrom": case.thickness}
    return load_sample(case.sample, size_angstrom=(8, 8), **settings)


CASES = (
    Case(sample="mos2-1h", configurations=64, focus=(0.0, 40.0)),
    Case(sample="mos2-1h", energy_kv=80.0, semiangle=25.0, configurations=64),
    Case(sample="mos2-1h", energy_kv=60.0, semiangle=30.0, configurations=64),
    Case(sample="ws2-1h", configurations=64, focus=(0.0, 40.0)),
    Case(sample="ws2-1h", energy_kv=80.0, semiangle=25.0, configurations=64),
    Case(sample="ws2-1h", energy_kv=60.0, semiangle=30.0, configurations=64, focus=(0.0, -40.0)),
    Case(sample="graphene", energy_kv=60.0, semiangle=30.0, configurations=64),
    Case(sample="graphene", energy_kv=80.0, semiangle=25.0, configurations=64),
    Case(sample="au-001", thickness=40.0, focus=(0.0, -60.0)),
    Case(sample="au-001", thickness=40.0, tilt=(10.0, 0.0)),
    Case(sample="pt-001", thickness=40.0, focus=(0.0, -60.0)),
    Case(sample="pt-001", thickness=20.0),
    Case(sample="pt-001", thickness=40.0, tilt=(10.0, 5.0)),
    Case(sample="srtio3-001", thickness=40.0, focus=(0.0, -60.0, 40.0)),
    Case(sample="srtio3-001", thickness=40.0, energy_kv=80.0, semiangle=25.0),
    Case(sample="srtio3-001", thickness=40.0, tilt=(0.0, 15.0)),
    Case(sample="srtio3-001", thickness=40.0, ring=(90.0, 145.0)),
    Case(sample="srtio3-001", thickness=150.0),
    Case(sample="si-110", thickness=100.0),
    Case(sample="si-110", thickness=50.0, energy_kv=60.0, semiangle=30.0),
    Case(sample="batio3-001", thickness=40.0),
    Case(sample="batio3-001", thickness=40.0, tilt=(0.0, 15.0), focus=(0.0, -60.0)),
    Case(sample="batio3-001", thickness=40.0, tilt=(5.0, 0.0)),
    Case(sample=ZNO, thickness=60.0),
    Case(sample=ZNO, thickness=60.0, tilt=(0.0, 10.0)),
    Case(sample=ZNO, thickness=60.0, energy_kv=80.0, semiangle=25.0),
)


def translations(sample: Sample) -> list[tuple[float, float]]:
    """Return the translations that map the cell's atoms onto themselves, as fractions (y, x) of the cell."""
    size, at = np.array(sample.size_angstrom[::-1]), sample.positions_angstrom
    fractions = sorted({i / n for n in PARTS for i in range(n)})

    def places(shift: tuple[float, float]) -> set[tuple]:
        inside = np.round((at[:, :2] + np.array(shift[::-1]) * size) % size / size * 1000).astype(int) % 1000
        return set(zip(*inside.T.tolist(), np.round(at[:, 2], 1).tolist(), sample.numbers.tolist(), strict=True))

    whole = places((0.0, 0.0))
    near = {(x + i, y + j, z, n) for x, y, z, n in whole for i in (-1, 0, 1) for j in (-1, 0, 1)}
    return [shift for shift in itertools.product(fractions, fractions) if all((x, y, z, n) in near for x, y, z, n in places(shift))]


def averaged(image: np.ndarray, shifts: list[tuple[float, float]]) -> np.ndarray:
    """Return the mean of copies of an image of the whole cell. Each copy is shifted by fractions (y, x) of the cell."""
    ky, kx = (np.fft.fftfreq(n, 1 / n) for n in image.shape)
    kept = np.mean([np.exp(-2j * np.pi * (ky[:, None] * y + kx * x)) for y, x in shifts], axis=0)
    return np.fft.ifft2(np.fft.fft2(image) * kept).real


def requests_of(case: Case, sample: Sample, focus: float) -> tuple[Request, Request]:
    """Return the requests for the image of the exact engine and for that of the engine ``thermal``."""
    asked = Request(
        sample=sample,
        beam=Beam(energy_ev=case.energy_kv * 1e3, semiangle_mrad=case.semiangle, aberrations=Aberrations(C10=focus)),
        scan=RasterScan(shape=(POINTS, POINTS), field_of_view_angstrom=sample.size_angstrom),
        detectors=(AnnularDetector(inner_mrad=case.ring[0], outer_mrad=case.ring[1], name="ring"),),
        tilt_mrad=case.tilt,
        engine=thermal.NAME,
        measure_error=False,
    )
    return replace(asked, engine=operator.NAME, phonons=case.configurations), asked


def rows_of(case: Case) -> list[dict[str, Any]]:
    """Return the rows of the table of errors for a case, one row for each focus."""
    sample = sample_of(case)
    shifts, rows = translations(sample), []
    for focus in case.focus:
        exact, asked = requests_of(case, sample, focus)
        built = operator_cache.operator_for(exact, make_plan(exact))
        raw = operator.image_signals(built, exact)[0].astype(float)
        ours = thermal.model_signals(asked, make_plan(asked), asked.scan.points())[0].reshape(raw.shape)
        mean, statistical = averaged(raw, shifts), float(built.standard_error[0])
        taken = math.sqrt(((raw - mean) ** 2).mean()) / raw.mean()
        own = taken / math.sqrt(len(shifts) - 1) if len(shifts) > 1 else statistical  # the copies are independent
        rms = math.sqrt(((ours - mean) ** 2).mean()) / mean.mean()
        rows.append(
            {
                **described(case, focus),
                "rms": round(rms, 4),
                "own": round(own, 4),
                "error": round(math.sqrt(max(rms**2 - own**2, 0)), 4),
                "largest": round(float(np.abs(ours - mean).max() / mean.mean()), 3),
                "mean_ratio": round(float(ours.mean() / mean.mean()), 3),
                "configurations": case.configurations,
                "translations": len(shifts),
            }
        )
    return rows


def described(case: Case, focus: float) -> dict[str, Any]:
    """Return the conditions of a row of the table of errors as plain values."""
    return {
        "sample": case.sample,
        "thickness": case.thickness,
        "energy_kv": case.energy_kv,
        "semiangle": case.semiangle,
        "ring": list(case.ring),
        "C10": focus,
        "tilt": list(case.tilt),
    }


def as_text(rows: list[dict[str, Any]]) -> str:
    """Return rows as a table in Markdown."""
    head = "| sample | A | kV | mrad | ring, mrad | C10, A | tilt, mrad | error | statistical error | largest | mean / exact |\n"
    lines = [head, "|---" * 11 + "|\n"]
    for row in rows:
        thick = "layer" if row["thickness"] is None else f"{row['thickness']:g}"
        lines.append(
            f"| {row['sample']} | {thick} | {row['energy_kv']:g} | {row['semiangle']:g} | {row['ring'][0]:g}-{row['ring'][1]:g} | {row['C10']:g} | "
            f"{row['tilt'][0]:g}, {row['tilt'][1]:g} | {row['error']:.1%} | {row['own']:.1%} | {row['largest']:.0%} | {row['mean_ratio']:.3f} |\n"
        )
    return "".join(lines)


def keep(rows: list[dict[str, Any]]) -> None:
    """Write the rows of the table of errors to ``thermal_errors.json``, and the table to its documentation page if the page exists."""
    text = json.dumps({"rows": rows}, indent=1)
    write_atomically(thermal_check.TABLE, (text + "\n").encode())
    if DOCUMENT.exists():
        before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
        write_atomically(DOCUMENT, (before + BEGIN + "\n" + as_text(rows) + "\n" + END + rest.split(END)[1]).encode())


def order_of(row: dict[str, Any]) -> int:
    """Return the position of a row in the table of errors."""
    places = [described(case, focus) for case in CASES for focus in case.focus]
    known = {name: row[name] for name in places[0]}
    return places.index(known) if known in places else len(places)


def main(names: list[str]) -> None:
    """Compute the missing rows of the table of errors, and compute all rows of the named samples again."""
    rows = [row for row in thermal_check.table() if row["sample"] not in names]
    at = {order_of(row) for row in rows}
    missing = [
        replace(case, focus=focus)
        for case in CASES
        if (not names or case.sample in names) and (focus := tuple(each for each in case.focus if order_of(described(case, each)) not in at))
    ]
    for number, case in enumerate(missing, 1):
        planned = make_plan(requests_of(case, sample_of(case), case.focus[0])[0]).seconds
        print(f"{number} of {len(missing)}: {case}, about {planned:.0f} s", flush=True)  # noqa: T201 - a command
        found = rows_of(case)
        rows = sorted([*rows, *found], key=order_of)
        keep(rows)
        print(as_text(found), flush=True)  # noqa: T201
    keep(sorted(rows, key=order_of))


if __name__ == "__main__":
    main(sys.argv[1:])
