"""Generator of ``drift``: displacements of a known drift, counts about the signal at the true points, turns of conditions, no short cuts."""

import dataclasses
import math

import numpy as np
import pytest

from stemtwin.benchmarks import statistics
from stemtwin.benchmarks.answers.displacements import DisplacementField
from stemtwin.benchmarks.tasks import find_task
from stemtwin.datasets import cards, generate, storage
from stemtwin.datasets.generators import drift
from stemtwin.datasets.kinds import find_generator
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.instrument.hardware.scan_distortion import ScanImperfections

TEXT = (cards.CARDS / "drift-1.0.0.toml").read_text(encoding="utf-8")
CARD = cards.parse_card(TEXT)
GENERATOR = find_generator("drift")
SIDE = 48


def small(*changes: tuple[str, str]) -> cards.Card:
    """The released card with frames of 48 x 48 px on cells of 8 A, one phonon configuration, and one crystal; further changes of its text."""
    crystals = TEXT[TEXT.index('[[generator.materials]]\nname = "lasrfeo3-001"') : TEXT.index("[[generator.setups]]")]
    usual = (
        ("[96, 96]", f"[{SIDE}, {SIDE}]"),
        ("96, 96]", f"{SIDE}, {SIDE}]"),
        ("[20, 96, 4, 2]", f"[20, {SIDE}, 4, 2]"),
        ("phonon_configurations = 6", "phonon_configurations = 1"),
        ("cell_angstrom = 11.7", "cell_angstrom = 8.0"),
        ("field_of_view_angstrom = [16.0, 19.0]", "field_of_view_angstrom = [8.0, 9.0]"),
        ("[0.001, 300.0]", "[1e-5, 1e5]"),
        (crystals, ""),
    )
    text = TEXT
    for old, new in (*usual, *changes):
        assert old in text, old
        text = text.replace(old, new)
    return cards.parse_card(text)


def condition_of(frames: int, card: cards.Card = CARD, seed: int = 0) -> drift.DriftCondition:
    """Return the conditions of the row of a specimen with so many frames."""
    specimen = GENERATOR.specimen(card, "tiny", "train", seed)
    return next(one for one in (drift.draw_condition(card, specimen, i) for i in range(4)) if one.frames == frames)


@pytest.mark.parametrize("frames", [2, 5])
def test_a_steady_drift_is_a_ramp_in_the_axes_of_the_first_frame(frames):
    """Without jitter, hum, settling and walk: the velocity times the time of a line, also of the frame that is scanned at 90 degrees."""
    condition = condition_of(frames)
    condition = dataclasses.replace(condition, imperfections=ScanImperfections(), walk_angstrom=0.0)
    field, within = drift.displacement(CARD, condition, drift.true_points(CARD, condition, 1))
    settings, (ny, nx) = CARD.generator, CARD.generator.image_shape
    line = (nx * condition.dwell_time_us + settings.flyback_us + settings.settle_us) * 1e-6
    frame = ny * line + settings.pause_s
    quarter = nx * condition.dwell_time_us * 1e-6 / 4
    times = (np.arange(frames) * frame)[:, None, None] + (np.arange(ny) * line)[:, None] + (np.arange(4) + 0.5) * quarter + settings.settle_us * 1e-6
    angle, (vy, vx) = condition.scan.rotation_rad, condition.velocity_angstrom_per_s
    along = np.array([math.cos(angle) * vx + math.sin(angle) * vy, -math.sin(angle) * vx + math.cos(angle) * vy])
    assert field[:frames] == pytest.approx(times[..., None] * along, abs=1e-5)
    assert not field[frames:].any()
    assert within < 0.3 * math.hypot(vx, vy) * quarter


def test_jitter_moves_whole_lines_and_hum_bends_them():
    """Jitter is the same in all quarters of a line and has the size that the row says; hum and settling are not."""
    condition = dataclasses.replace(condition_of(20), velocity_angstrom_per_s=(0.0, 0.0), walk_angstrom=0.0)
    jitter = dataclasses.replace(condition, imperfections=ScanImperfections(line_jitter_angstrom=0.1))
    field, within = drift.displacement(CARD, jitter, drift.true_points(CARD, jitter, 1))
    assert np.ptp(field, axis=2).max() < 1e-5
    assert field.std() == pytest.approx(0.1, rel=0.05)
    assert within == pytest.approx(0, abs=1e-9)
    bent = dataclasses.replace(condition, imperfections=ScanImperfections(hum_angstrom=(0.1, 0.1), settling_fraction=0.01))
    field, within = drift.displacement(CARD, bent, drift.true_points(CARD, bent, 1))
    assert np.ptp(field, axis=2).max() > 0.03
    assert within > 1e-4


def test_frames_and_doses_take_turns():
    """In every size and split all numbers of frames come equally often, and all decades of dose."""
    for size in ("tiny", "std"):
        for split in CARD.splits:
            found = []
            for seed in CARD.structure_seeds(size, split):
                specimen = GENERATOR.specimen(CARD, size, split, seed)
                found += [drift.draw_condition(CARD, specimen, i) for i in range(CARD.sizes[size].images_per_specimen[split])]
            counts = np.unique([one.frames for one in found], return_counts=True)
            assert counts[0].tolist() == [2, 5, 10, 20]
            assert np.ptp(counts[1]) == 0
            decades = np.bincount([int(np.log10(one.dose_e_per_angstrom2)) for one in found], minlength=6)[3:]
            assert decades.min() >= len(found) // 4


def test_splits_share_no_specimen():
    """Structure seeds are apart, and so are the alloys that they draw."""
    seeds = {split: set(CARD.structure_seeds("full", split)) for split in CARD.splits}
    assert not (seeds["train"] & seeds["val"] | seeds["train"] & seeds["test"] | seeds["val"] & seeds["test"])
    alloys = [GENERATOR.specimen(CARD, "std", split, CARD.splits[split] + 1) for split in CARD.splits]
    assert {one.material.name for one in alloys} == {"lasrfeo3-001"}
    assert len({one.sample().digest for one in alloys}) == len(alloys)


def test_a_card_that_cannot_be_recorded_is_refused():
    """A dose for which no current suffices, and nodes that do not divide a line."""
    for old, new, told in (
        ("current_pa = [0.001, 300.0]", "current_pa = [0.001, 0.01]", "needs a dwell time or current outside"),
        ("nodes = 4 ", "nodes = 7 ", "divisible by the number of nodes per line, 7"),
    ):
        with pytest.raises(DatasetError, match=told):
            cards.parse_card(TEXT.replace(old, new))


@pytest.mark.slow
def test_counts_are_poisson_about_the_signal_at_the_true_points():
    """The variance of the counts of a bright row about the signal there is their mean; at the commanded points it is not. Twice the same bits."""
    from stemtwin.twin.instrument.simulation.plan import make_plan
    from stemtwin.twin.instrument.simulation.simulate import expected
    from stemtwin.twin.physics.noise import electrons_per_point

    card = small(("dose_e_per_angstrom2 = [1e3, 1e6]", "dose_e_per_angstrom2 = [1e7, 1e7]"))
    specimen = GENERATOR.specimen(card, "tiny", "train", 0)
    sample, row = specimen.sample(), generate.specimen_rows(card, "tiny", specimen)[0]
    again = generate.specimen_rows(card, "tiny", specimen)[0]
    assert all(np.array_equal(row[name], again[name]) for name in row)
    conditions = [drift.draw_condition(card, specimen, i) for i in range(4)]
    condition, window = conditions[0], drift.window_angstrom(sample, specimen.setup, conditions)
    true = drift.true_points(card, condition, drift.stream_seed(card, 0, drift.SCAN_STREAM, 0)).reshape(-1, 2)
    nominal = np.stack([scan.positions().reshape(-1, 2) for scan in drift.rasters(condition)]).reshape(-1, 2)
    excess = []
    for points in (true, nominal):
        asked = drift.request(card, specimen, sample, condition, points)
        (signal,), *_ = expected(asked, make_plan(asked, window_angstrom=window))
        mean = signal.reshape(condition.frames, SIDE, SIDE) * electrons_per_point(condition.current_pa, condition.dwell_time_us * 1e-6)
        excess.append(float(((row["image"][: condition.frames] - mean) ** 2 / mean).mean()))
    assert excess[0] == pytest.approx(1, abs=6 * np.sqrt(2 / row["image"][: condition.frames].size))
    assert excess[1] > 3


@pytest.mark.slow
def test_metadata_and_mean_counts_tell_nothing_of_the_field():
    """A ridge regression of the field on all that is given but the picture scores within the interval of no correction."""
    card, task = small(), find_task("drift")
    data = {split: _rows(card, split, 14) for split in ("train", "test")}
    features = {split: _features(one) for split, one in data.items()}
    centre, spread = features["train"].mean(axis=0), features["train"].std(axis=0) + 1e-9
    x, new = ((features[split] - centre) / spread for split in ("train", "test"))
    fields = data["train"]["displacement"].values.reshape(len(x), -1)
    weights = np.linalg.solve(x.T @ x + len(x) * np.eye(x.shape[1]), x.T @ (fields - fields.mean(axis=0)))
    guessed = (new @ weights + fields.mean(axis=0)).reshape(data["test"]["displacement"].shape)
    ids = data["test"]["sample_id"].values.tolist()
    seen, none = (
        task.score(data["test"], {name: DisplacementField(displacement=one) for name, one in zip(ids, answers, strict=True)})
        for answers in (guessed, 0 * guessed)
    )
    ends = statistics.interval(task.primary.formula, none)
    assert float(task.primary.formula(seen.sums())) > ends.low
    assert float(task.metrics[2].formula(seen.sums())) < 0.1


def _rows(card: cards.Card, split: str, count: int):
    """Return the rows of the first specimens of a split."""
    made = find_generator("drift")
    first = card.splits[split]
    rows = [row for seed in range(first, first + count) for row in generate.specimen_rows(card, "tiny", made.specimen(card, "tiny", split, seed))]
    return storage.to_xarray(storage.to_numpy(storage.table_of(rows, card), card), card, split)


def _features(data) -> np.ndarray:
    """Return the single numbers that are given, the angle of the second frame, and the mean counts."""
    names = [field.name for field in find_task("drift").inputs if data[field.name].dims == ("sample",)]
    numbers = [np.log1p(data[name].values.astype(float)) for name in names]
    return np.stack([*numbers, data["rotation_rad"].values[:, 1], np.log1p(data["image"].values.mean(axis=(1, 2, 3)))], axis=1)
