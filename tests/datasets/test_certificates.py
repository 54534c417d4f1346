"""Certificates of datasets: which rows, of what, and what is kept of them."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemtwin.datasets import certificates
from stemtwin.datasets.cards import Card, find_card
from stemtwin.datasets.generators.ronchigram import draw_condition
from stemtwin.datasets.kinds import find_generator
from stemtwin.leaderboard.cli.main import main
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.instrument.simulation.certify import Certificate, ComparisonRow
from stemtwin.twin.instrument.simulation.certify_ronchigram import FLAT, MOVING
from stemtwin.twin.instrument.simulation.request import Request

CARDS = [find_card("atoms-2d", "1.0.0"), find_card("denoise", "1.0.0"), find_card("atoms-2d", "2.0.0"), find_card("defects", "1.0.0")]
RONCHIGRAM = find_card("ronchigram", "1.0.0")


def stand_in(request: Request, **_: Any) -> Certificate:
    """Return a certificate whose differences follow from the thickness of the request."""
    names = [detector.name for detector in request.detectors]
    told = {"abTEM, our slices, same grid": 1e-6, "abTEM, its own potential, same grid": 0.1, "ours, 1.5 times finer grid": 0.01}
    lines = [
        ComparisonRow(detector=name, what=what, ours=0.05, other=0.05 * (1 + rms), largest=2 * rms, rms=rms * request.sample.thickness_angstrom)
        for what, rms in told.items()
        for name in names
    ]
    return Certificate(points=16, grid=(64, 64), slices=3, lines=tuple(lines), standard_error=dict.fromkeys(names, 0.02), notes=("a note",))


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_rows_are_spread_over_specimens_and_materials(card: Card) -> None:
    """Ten rows are of ten specimens of every split and of all materials but one at most; their images differ; more rows than specimens go on."""
    rows = certificates.chosen(card, "std")
    assert len({(one.split, one.structure_seed) for one, _ in rows}) == len(rows) == certificates.ROWS
    assert {one.split for one, _ in rows} == set(card.splits)
    materials = {one.name.partition("/")[0] for one, _ in rows}
    assert len(materials) >= min(len(rows), len(card.generator.materials) - 1)
    assert len({image for _, image in rows}) > 1
    most = certificates.chosen(card, "tiny", 20)
    assert len({(one.split, one.structure_seed, image) for one, image in most}) == 20
    with pytest.raises(DatasetError, match="rows=0"):
        certificates.chosen(card, "tiny", 0)


def test_rows_of_ronchigrams_have_all_materials_and_energies() -> None:
    """Energies take turns over seed and number of the image together, of which the certified rows have even and odd sums."""
    rows = certificates.chosen(RONCHIGRAM, "std")
    assert {draw_condition(RONCHIGRAM, one, image).energy_ev for one, image in rows} == set(RONCHIGRAM.generator.energy_ev)
    assert {one.material.name for one, _ in rows} == {one.name for one in RONCHIGRAM.generator.materials}


def test_a_ronchigram_is_certified_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its request has the row's camera, aberrations and probe and no window for a scan; its rows say pixels, and lines that only they have."""
    specimen, image = certificates.chosen(RONCHIGRAM, "tiny")[2]  # a crystal, which is made at once
    request, condition = certificates.request_of(RONCHIGRAM, "tiny", specimen, image), draw_condition(RONCHIGRAM, specimen, image)
    assert request.sample.size_angstrom == specimen.sample().size_angstrom
    assert request.detectors == (RONCHIGRAM.generator.camera(),)
    assert request.scan.points().tolist() == [list(condition.position_angstrom)]
    assert request.beam.aberrations == condition.beam(40.0).aberrations
    told = {FLAT: 0.03, MOVING: 0.02, "abTEM, our slices, same grid": 1e-6}
    lines = tuple(ComparisonRow(detector="ronchigram", what=what, ours=1.0, other=1.0, largest=rms, rms=rms) for what, rms in told.items())
    made = Certificate(points=9000, grid=(64, 64), slices=3, lines=lines, standard_error={"ronchigram": 0.004}, notes=("a note",))
    monkeypatch.setattr("stemtwin.twin.instrument.simulation.certify_ronchigram.certify_ronchigram", lambda _, **__: made)
    monkeypatch.setattr(certificates, "chosen", lambda *_: [(specimen, image)])
    found = certificates.certify_dataset(RONCHIGRAM, "tiny", rows=1)
    assert found["worst"] == {certificates.SOLVERS: 1e-6, certificates.FLAT: 0.03, certificates.MOTION: 0.02, certificates.PHONONS: 0.004}
    assert certificates.extent(found) == "1 rows of the size tiny at 9000 pixels of the bright-field disc each"
    assert "| phase grating | thermal motion | phonons |" in certificates.table(found)
    assert certificates.seconds(RONCHIGRAM, "tiny", 1) > 0


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_a_request_is_that_of_the_row_with_room_for_the_probe(card: Card) -> None:
    """Beam, detectors and scan are the row's; the cell is repeated as a whole until a probe fits, and its atoms with it."""
    from stemtwin.twin.instrument.simulation.discretisation import discretise

    specimen, image = certificates.chosen(card, "tiny")[0]
    own = find_generator(card.kind).request(card, "tiny", specimen, image)
    asked = certificates.request_of(card, "tiny", specimen, image)
    assert own is not None
    assert (asked.scan, asked.detectors, asked.beam.aberrations) == (own.scan, own.detectors, own.beam.aberrations)
    times = [a / b for a, b in zip(asked.sample.size_angstrom, own.sample.size_angstrom, strict=True)]
    assert times == pytest.approx([round(t) for t in times])
    assert len(asked.sample) == round(math.prod(times)) * len(own.sample)
    assert discretise(dataclasses.replace(asked, engine="multislice")).blocks == (1, 1)
    box = np.array(own.sample.size_angstrom[::-1])
    folded = np.unique(np.round(asked.sample.positions_angstrom[:, :2] % box, 6) % np.round(box, 6), axis=0)
    assert len(folded) <= len(np.unique(np.round(own.sample.positions_angstrom[:, :2], 6), axis=0))


def test_what_is_kept_is_the_greatest_of_each_comparison(tmp_path: Path) -> None:
    """Differences stand by comparison and detector, the worst over rows beside; a run that stopped goes on, and gives the same."""
    card, seen = CARDS[1], []
    found = certificates.certify_dataset(card, "tiny", rows=4, certify=stand_in, keep=lambda told: seen.append(json.dumps(told)))
    thickest = max(row["thickness_angstrom"] for row in found["rows"])
    assert found["worst"][certificates.SOLVERS] == pytest.approx(1e-6 * thickest, rel=1e-3)
    assert found["worst"][certificates.PHONONS] == 0.02
    assert found["notes"] == ["a note"]
    assert set(found["rows"][0]["differences"][certificates.PLACED]) == {"haadf", "abf"}
    path = tmp_path / "certificate.json"
    path.write_text(seen[1])
    kept = certificates.read_rows(path, card, "tiny")
    assert len(kept) == 2
    again = certificates.certify_dataset(card, "tiny", rows=4, certify=stand_in, kept=kept)
    assert again == found
    assert certificates.seconds(card, "tiny", 4, found["rows"]) == 0
    assert 0 < certificates.seconds(card, "tiny", 4, kept) < certificates.seconds(card, "tiny", 4)
    assert certificates.read_rows(path, card, "std") == []
    text = certificates.table(found)
    assert text.count("\n") == 2 + 2 * 4
    assert "| **worst** |" in text


def test_only_the_certificate_of_this_card_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate of other content is none; one that is not JSON is named."""
    card = CARDS[0]
    path = tmp_path / "x.json"
    monkeypatch.setattr(certificates, "path_of", lambda _: path)
    assert certificates.read(card) is None
    path.write_text(json.dumps({"card_sha256": card.digest}))
    assert certificates.read(card) == {"card_sha256": card.digest}
    path.write_text(json.dumps({"card_sha256": "0"}))
    assert certificates.read(card) is None
    path.write_text("{")
    with pytest.raises(DatasetError, match="is not JSON"):
        certificates.read(card)


def test_the_command_certifies_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Table and file have what was computed; options of datasets are refused beside a request."""
    monkeypatch.setattr("stemtwin.twin.instrument.simulation.certify.certify", stand_in)
    output = tmp_path / "certificate.json"
    assert main(["certify", "denoise@1", "--size", "tiny", "--rows", "2", "--output", str(output)]) == 0
    told = capsys.readouterr()
    assert "2 rows with both solvers, about" in told.err
    assert "worst" in told.out
    assert len(json.loads(output.read_text(encoding="utf-8"))["rows"]) == 2
    (tmp_path / "request.toml").write_text("x = 1")
    assert main(["certify", str(tmp_path / "request.toml"), "--rows", "2"]) == 2
    assert "--rows applies to a dataset" in capsys.readouterr().err
