"""Certificates of datasets: comparisons of stemtwin's multislice with abTEM's on rows of a card, and convergence tests.

For each certified row, the expected signal is computed at 16 points of the scan in several ways: with stemtwin's
multislice, with abTEM on the same slices, and with abTEM's own potential. To test the convergence, stemtwin computes the
signal again on a finer grid, with other slices, and for each frozen-phonon configuration
(:mod:`stemtwin.twin.instrument.simulation.certify`). The probes are coherent. The specimen's cell is repeated until it
holds a whole probe, as abTEM requires. A row with one Ronchigram is compared in all pixels of its bright-field disc
(:mod:`stemtwin.twin.instrument.simulation.certify_ronchigram`). A certificate is stored beside its card.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.datasets import cards, generate
from stemtwin.datasets.cards import Card, known
from stemtwin.datasets.kinds import DrawnSpecimen, find_generator
from stemtwin.twin.errors import DatasetError

if TYPE_CHECKING:
    from stemtwin.twin.instrument.simulation.certify import Certificate
    from stemtwin.twin.instrument.simulation.request import Request

SCHEMA = "stemtwin/certificate@1"
ROWS = 10
ABTEM_TIMES = 3.0
"""Ratio of abTEM's computing time to stemtwin's for the same waves."""
DIGITS = 4
"""Number of significant digits in a certificate."""
SOLVERS, PLACED, GRID, SLICES, PHONONS = "both solvers, same slices", "abTEM's own placement", "sampling", "slices", "phonons"
FLAT, MOTION = "phase grating", "thermal motion"
PARTS = {
    SOLVERS: ("abTEM, our slices",),
    PLACED: ("abTEM, its own potential",),
    GRID: ("finer grid",),
    SLICES: ("half as thick", "twice as thick"),
    FLAT: ("as one phase grating",),
    MOTION: ("atoms in motion",),
}
"""Comparisons of a certificate, each with the texts that identify its lines."""


def path_of(card: Card) -> Path:
    """Return the path of the file with a card's certificate."""
    return cards.CARDS / f"{card.id}.certificate.json"


def read(card: Card) -> dict[str, Any] | None:
    """Return the certificate of a card, or None if no certificate belongs to the card's present content.

    Raises
    ------
    DatasetError
        The file is not JSON.
    """
    path = path_of(card)
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"{path} is not JSON: {error}. Make the certificate again with 'stemtwin certify {card.name}@{card.version}'."
        raise DatasetError(message) from None
    return found if found.get("card_sha256") == card.digest else None


def read_rows(path: Path, card: Card, size: str) -> list[dict[str, Any]]:
    """Return the rows of an unfinished certificate in a file.

    The list is empty if the file cannot be read or belongs to another card or size.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        same = (found["schema"], found["card_sha256"], found["size"]) == (SCHEMA, card.digest, size)
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return found["rows"] if same else []


def chosen(card: Card, size: str, rows: int = ROWS) -> list[tuple[DrawnSpecimen, int]]:
    """Return the specimen and the image number of each row of a certificate.

    The specimens are spread over all splits.

    Raises
    ------
    DatasetError
        The card does not have this size, or the size has fewer rows than requested.
    """
    known("size", size, card.sizes, card.id)
    if not 1 <= rows <= card.images(size):
        message = f"rows={rows} of {card.id} {size} must be from 1 to {card.images(size)}. Give another number."
        raise DatasetError(message)
    counts = card.sizes[size].images_per_specimen
    drawn = list(generate.specimens(card, size))
    turns = [(at, turn) for turn in range(max(counts.values())) for at, one in enumerate(drawn) if turn < counts[one.split]]
    first = [turns[i] for i in np.linspace(0, len(drawn) - 1, min(rows, len(drawn))).round().astype(int)]
    spread = first + turns[len(drawn) : len(drawn) + rows - len(first)]
    shifts = {at: number for number, (at, _) in enumerate(first)}  # images and specimens in step would meet only some conditions that take turns
    return [(drawn[at], (at + turn + shifts.get(at, 0)) % counts[drawn[at].split]) for at, turn in spread]


def request_of(card: Card, size: str, specimen: DrawnSpecimen, image: int) -> "Request":
    """Return the simulation request for a row's expected signals, with the cell repeated until it holds a whole probe.

    Raises
    ------
    DatasetError
        The card's generator does not define a multislice simulation of the truth.
    """
    from stemtwin.twin.instrument.settings import PotentialSlices
    from stemtwin.twin.instrument.simulation.certify import repeated
    from stemtwin.twin.instrument.simulation.diffraction_patterns import has_camera
    from stemtwin.twin.instrument.simulation.discretisation import discretise

    request = find_generator(card.kind).request(card, size, specimen, image)
    if request is None:
        message = f"The kind {card.kind!r} of {card.id} does not define a multislice simulation of the truth. Certify another dataset."
        raise DatasetError(message)
    coherent = dataclasses.replace(request, beam=dataclasses.replace(request.beam, source_size_angstrom=0.0, focal_spread_angstrom=0.0))
    sample = request.sample
    if has_camera(request) or isinstance(sample, PotentialSlices):
        return coherent  # a Ronchigram has its own window of whole cells
    window = discretise(coherent).probe_window
    height, width = sample.size_angstrom
    return dataclasses.replace(coherent, sample=repeated(sample, (math.ceil(window / height), math.ceil(window / width))))


def seconds(card: Card, size: str, rows: int = ROWS, kept: Sequence[dict[str, Any]] = ()) -> float:
    """Return the estimated time (s) in which this machine computes the missing rows of a certificate.

    The rows in ``kept``, from an earlier run, are not computed again. The estimate assumes that abTEM takes three times as
    long as stemtwin.

    Raises
    ------
    StemtwinError
        A row cannot be computed.
    """
    from stemtwin.twin.instrument.simulation import certify_ronchigram
    from stemtwin.twin.instrument.simulation.certify import FINER, coherent_points
    from stemtwin.twin.instrument.simulation.diffraction_patterns import has_camera
    from stemtwin.twin.instrument.simulation.plan import make_plan

    total, done = 0.0, _by_specimen(kept)
    for specimen, image in chosen(card, size, rows):
        if (specimen.name, specimen.split, image) in done:
            continue
        request = request_of(card, size, specimen, image)
        if has_camera(request):
            total += certify_ronchigram.seconds(request)
            continue
        plan = make_plan(coherent_points(request))
        total += plan.seconds * (1 + (3 + FINER**2 + 2 * ABTEM_TIMES) / plan.configurations)
    return total


def certify_dataset(
    card: Card,
    size: str,
    *,
    rows: int = ROWS,
    progress: Callable[[int, int, str], None] | None = None,
    kept: Sequence[dict[str, Any]] = (),
    keep: Callable[[dict[str, Any]], None] | None = None,
    certify: "Callable[..., Certificate] | None" = None,
) -> dict[str, Any]:
    """Compare stemtwin's multislice with abTEM's on rows of a card, and test the convergence of the signals.

    Parameters
    ----------
    card : Card
        Card of the dataset.
    size : str
        Size whose specimens are used. The dataset itself does not have to be built.
    rows : int
        Number of rows, each from a different specimen if the size has enough specimens.
    progress : callable, optional
        Called with the number of finished rows, the number of all rows, and the current step.
    kept : sequence of dict
        Rows of an earlier, interrupted run, which are not computed again.
    keep : callable, optional
        Called after each row with the certificate up to this row.
    certify : callable, optional
        Function that is called instead of :func:`solvers_compared`.

    Returns
    -------
    dict
        Certificate in JSON types. Each of its ``rows`` holds the rms differences of the row's signals, divided by
        the mean signal. ``worst`` holds the largest difference of each comparison.

    Raises
    ------
    StemtwinError
        A row cannot be computed.
    """
    run, picked = certify or solvers_compared, chosen(card, size, rows)
    done = _by_specimen(kept)
    told: dict[str, Any] = {"schema": SCHEMA, "dataset": f"{card.name}@{card.version}", "card_sha256": card.digest, "size": size}
    told |= {"points": 0, "worst": {}, "notes": [], "rows": []}
    for number, (specimen, image) in enumerate(picked):
        what = f"{specimen.name}, image {image}"
        row = done.get((specimen.name, specimen.split, image))
        if row is None:
            say = (lambda text, what=what, number=number: progress(number, len(picked), f"{what}: {text}")) if progress else None
            request = request_of(card, size, specimen, image)
            row = _row(specimen, image, request, run(request, progress=say))
        told["rows"].append(row)
        told |= {"points": row["points"], "worst": worst(told["rows"])}
        told["notes"] = list(dict.fromkeys(note for one in told["rows"] for note in one["notes"]))
        if keep:
            keep(told)
    if progress:
        progress(len(picked), len(picked), "done")
    return told


def solvers_compared(request: "Request", *, progress: Callable[[str], None] | None = None) -> "Certificate":
    """Compare stemtwin's multislice with abTEM's on the simulation request of one row.

    The request has a scan, or a camera that records one Ronchigram.
    """
    from stemtwin.twin.instrument.simulation import certify, certify_ronchigram
    from stemtwin.twin.instrument.simulation.diffraction_patterns import has_camera

    compare = certify_ronchigram.certify_ronchigram if has_camera(request) else certify.certify
    return compare(request, progress=progress)


def _by_specimen(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Return rows by the name of the specimen, its split and the number of the image."""
    return {(row["specimen"], row["split"], row["image"]): row for row in rows}


def _row(specimen: DrawnSpecimen, image: int, request: "Request", certificate: "Certificate") -> dict[str, Any]:
    """Return a row of the certificate: its settings, and its differences by comparison and detector."""
    differences: dict[str, dict[str, float]] = {}
    for line in certificate.lines:
        part = next(name for name, words in PARTS.items() if any(word in line.what for word in words))
        differences.setdefault(part, {})[line.detector] = _short(line.rms)
    if certificate.standard_error:
        differences[PHONONS] = {name: _short(error) for name, error in certificate.standard_error.items()}
    sample = request.sample
    return {
        "split": specimen.split,
        "specimen": specimen.name,
        "image": image,
        "energy_ev": request.beam.energy_ev,
        "semiangle_mrad": request.beam.semiangle_mrad,
        "thickness_angstrom": _short(float(sample.thickness_angstrom)),
        "cell_angstrom": [_short(length) for length in sample.size_angstrom],
        "grid": list(certificate.grid),
        "slices": certificate.slices,
        "points": certificate.points,
        "configurations": request.configurations,
        "signals": {line.detector: _short(line.ours) for line in certificate.lines},
        "differences": differences,
        "notes": list(certificate.notes),
    }


def worst(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the largest difference of each comparison over rows and detectors."""
    found: dict[str, float] = {}
    for row in rows:
        for part, by_detector in row["differences"].items():
            found[part] = max([found.get(part, 0.0), *by_detector.values()])
    return found


def _short(value: float) -> float:
    """Return a number rounded to the significant digits of a certificate."""
    return float(f"{value:.{DIGITS}g}")


def extent(certificate: dict[str, Any]) -> str:
    """Return a text with the number of rows of a certificate and the number of compared points or pixels per row."""
    what = "pixels of the bright-field disc" if FLAT in certificate["worst"] else "points"
    return f"{len(certificate['rows'])} rows of the size {certificate['size']} at {certificate['points']} {what} each"


def table(certificate: dict[str, Any]) -> str:
    """Return a certificate as a Markdown table with a line for each row and detector.

    Each difference is the rms difference over the compared points or pixels, divided by the mean signal.
    """
    parts = [part for part in (*PARTS, PHONONS) if part in certificate["worst"]]
    lines = [f"| specimen | thickness (A) | signal | {' | '.join(parts)} |", "|---" * (len(parts) + 3) + "|"]
    for row in certificate["rows"]:
        for detector, signal in row["signals"].items():
            cells = [percent(row["differences"].get(part, {}).get(detector)) for part in parts]
            lines.append(f"| {row['specimen']}, {row['split']} | {row['thickness_angstrom']:.3g} | {detector} {signal:.3g} | {' | '.join(cells)} |")
    greatest = [f"**{percent(certificate['worst'][part])}**" for part in parts]
    lines.append(f"| **worst** | | | {' | '.join(greatest)} |")
    return "\n".join(lines)


def percent(value: float | None) -> str:
    """Return a relative difference as text: a percentage, or scientific notation below 0.1 %, or ``-`` for None."""
    return "-" if value is None else f"{value:.1e}" if value < 1e-3 else f"{value:.2%}"
