"""The dataset with the twin's own microscope behind it."""

import time

import numpy as np
import pytest

from stemtwin.datasets import cards, comparison, generate, storage, verify
from stemtwin.datasets.kinds import find_generator
from stemtwin.datasets.manifest import read_manifest


@pytest.fixture(scope="module")
def released() -> cards.Card:
    """The released card."""
    return cards.read_card(cards.CARDS / "atoms-2d-1.0.0.toml")


def draw_specimen(card, size, split, seed):
    """The specimen of a seed."""
    return find_generator("atoms-2d").specimen(card, size, split, seed)


@pytest.fixture(scope="module")
def monolayer(released) -> list[dict]:
    """The rows of a MoS2 sheet in the ideal instrument, whose probe is symmetric."""
    specimen = draw_specimen(released, "tiny", "test", 2_000_001)
    assert (specimen.material, specimen.setup.instrument) == ("mos2-1h", "ideal")
    return generate.specimen_rows(released, "tiny", specimen)


def offset(row: dict, axis: str) -> float:
    """Mean distance of the image's local centroids from the molybdenum columns of the truth along an axis, A."""
    image, pitch = row["image"].astype(float), row["sampling_angstrom"]
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] * pitch
    found = []
    for cx, cy, z in zip(row["column_x_angstrom"], row["column_y_angstrom"], row["column_heaviest"], strict=True):
        if z != 42 or not 1 < min(cx, cy) < max(cx, cy) < pitch * 128 - 1:
            continue
        near = (x - cx) ** 2 + (y - cy) ** 2 < 0.8**2
        found.append((image[near] * (x[near] - cx if axis == "x" else y[near] - cy)).sum() / image[near].sum())
    assert len(found) > 8
    return float(np.mean(found))


def test_columns_stand_where_the_microscope_shows_them(monolayer):
    """In turned frames with enough dose, the spots' centroids agree with the truth to 0.03 A on average: a quarter of a pixel, no half pixel off."""
    bright = [row for row in monolayer if row["dose_e_per_angstrom2"] > 1e5]
    assert len(bright) >= 2
    for row in bright:
        assert abs(offset(row, "x")) < 0.03, row["sample_id"]
        assert abs(offset(row, "y")) < 0.03, row["sample_id"]


def test_the_same_specimen_gives_the_same_bits_and_fresh_noise_for_each_image(released, monolayer):
    """Made again, every image is the same; no two images of a specimen are."""
    again = generate.specimen_rows(released, "tiny", draw_specimen(released, "tiny", "test", 2_000_001))
    assert {comparison.difference(c, a[c.name], b[c.name]).text for a, b in zip(monolayer, again, strict=True) for c in released.columns} == {""}
    assert len({row["image"].tobytes() for row in monolayer}) == len(monolayer)


def test_one_operator_serves_all_images_of_a_specimen(released, monkeypatch):
    """Whatever the conditions, a specimen's imaging operator is built once."""
    from stemtwin.twin.instrument.simulation import operator_cache
    from stemtwin.twin.physics.engine.operator import imaging_operator

    built, build = [], imaging_operator.build
    monkeypatch.setattr(imaging_operator, "build", lambda *args, **kwargs: built.append(1) or build(*args, **kwargs))
    operator_cache.clear()
    rows = generate.specimen_rows(released, "tiny", draw_specimen(released, "tiny", "val", 1_000_005))
    assert len(rows) == 5
    assert len(built) == 1


@pytest.mark.slow
def test_tiny_is_built_verified_and_made_again(released, tmp_path):
    """The whole of tiny is 90 images, in about a minute on two cores; three of its specimens made again agree within the published tolerances."""
    start = time.perf_counter()
    generate.build(released, "tiny", tmp_path / "tiny")
    seconds = time.perf_counter() - start
    report = verify.verify(released, tmp_path / "tiny", regenerate=3)
    assert (report.rows, report.rows_made_again) == (90, 15)
    assert seconds < 300, "five times what two quiet cores need"
    manifest = read_manifest(tmp_path / "tiny")
    for split in released.splits:
        data = storage.to_numpy(storage.read_parquet([tmp_path / "tiny" / path for path in manifest.paths(split, "parquet")]), released)
        assert data["column_visible"].any(axis=1).all()
