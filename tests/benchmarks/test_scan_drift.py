"""Task ``drift``: fields that are right, shifted, sheared and a cell aside, the order of the baselines, and the kept scores."""

import json

import numpy as np
import pytest

from stemtwin.benchmarks import agents, comparisons, kept_scores, runner
from stemtwin.benchmarks.answers.displacements import DisplacementField
from stemtwin.benchmarks.baselines import scan_registration
from stemtwin.benchmarks.families import scan_drift
from stemtwin.benchmarks.metrics import scan_fields
from stemtwin.benchmarks.tasks import find_task
from tests.benchmarks import drifting_frames

DATA = drifting_frames.make()
TRUTH = DATA["displacement"].values
SHAPE = (drifting_frames.N, drifting_frames.N)
KEPT = kept_scores.path_of("drift")


def scored(fields, data=DATA):
    """Return the value of every metric of fields (n, frames, lines, nodes, 2)."""
    task = find_task("drift")
    answers = {name: DisplacementField(displacement=field) for name, field in zip(data["sample_id"].values.tolist(), fields, strict=True)}
    sums = task.score(data, task.form.checked(answers, data, "test")).sums()
    return {metric.name: float(metric.formula(sums)) for metric in task.metrics}


def entry(name, data=DATA):
    """Return the value of every metric of a baseline."""
    found = runner.predict(find_task("drift"), agents.find_baseline("drift", name), data)
    return scored([found[sample].displacement for sample in data["sample_id"].values.tolist()], data)


def test_the_truth_and_the_truth_shifted_score_alike():
    """Nobody sees a displacement that all frames share: both are perfect."""
    perfect = scored(TRUTH)
    assert (perfect["field_error"], perfect["strain_bias"], perfect["skill"]) == pytest.approx((0, 0, 1), abs=1e-6)
    assert scored(TRUTH + np.array([3.0, -7.0])) == pytest.approx(perfect, abs=1e-3, nan_ok=True)
    assert entry("oracle") == pytest.approx(perfect, nan_ok=True)


def test_frames_as_they_are_have_no_skill():
    """The error of no correction is that of the field itself, in pm and in pixels."""
    found = entry("frames")
    assert found["skill"] == pytest.approx(0, abs=1e-9)
    sizes = [scan_fields.root_mean_square(scan_fields.residual(0 * t[:n], t[:n])) for t, n in zip(TRUTH, DATA["frames"].values, strict=True)]
    assert found["field_error"] == pytest.approx(100 * np.mean(sizes), rel=1e-5)
    assert found["field_error_px"] == pytest.approx(np.mean(sizes) / drifting_frames.STEP, rel=1e-5)


def test_frames_that_were_not_taken_do_not_count():
    """Whatever an answer says of them."""
    changed = TRUTH.copy()
    for field, frames in zip(changed, DATA["frames"].values, strict=True):
        field[frames:] = 99.0
    assert scored(changed) == pytest.approx(scored(TRUTH), abs=1e-6, nan_ok=True)


def test_a_field_that_scales_the_frame_is_strain_and_one_that_turns_it_is_not():
    """By hand: 1 % along one axis is 1 %, a shear by 2 % of x along y is 2 % / sqrt 2, a small rotation nothing; a shift of a frame nothing."""
    places = scan_fields.node_positions(SHAPE, 4, 0.2, np.array([0.0, np.pi / 2]))
    zero, x, y = np.zeros_like(places), places[..., 0], places[..., 1]
    for field, wanted in (
        (np.stack([0.01 * x, 0 * x], -1), 1.0),
        (np.stack([0.02 * y, 0 * x], -1), 2 / np.sqrt(2)),
        (np.stack([-0.01 * y, 0.01 * x], -1), 0.0),
        (np.stack([0 * x, 0 * x], -1) + np.array([0.0, 5.0])[:, None, None, None], 0.0),
    ):
        assert scan_fields.strain(field + zero, places) == pytest.approx(wanted, abs=1e-9)


def test_a_frame_a_cell_aside_is_one_jump():
    """Whichever frame it is, the first among them; of frames that do not repeat there are none, and small errors are none."""
    truth = np.zeros((5, *SHAPE, 2))[:, :, :4]
    for frame in range(5):
        aside = truth.copy()
        aside[frame] += np.array([2.0, 0.0])
        keywords = {"shape": SHAPE, "step": 0.2, "rotation": np.zeros(5)}
        found = scan_fields.score_field(aside, truth, repeat=2.0, **keywords)
        assert (found["jumped"], found["others"]) == (1, 4)
        assert scan_fields.score_field(aside, truth, repeat=5.0, **keywords)["jumped"] == 0
        assert scan_fields.score_field(aside, truth, repeat=0.0, **keywords)["others"] == 0


def test_the_unit_of_length_does_not_matter_to_pixels():
    """All lengths twice as long: twice the error in pm, the same in pixels, skill and strain."""
    rng, keywords = np.random.default_rng(1), {"shape": SHAPE, "rotation": np.zeros(5)}
    truth, estimate = rng.normal(size=(2, 5, drifting_frames.N, 4, 2))
    here = scan_fields.score_field(estimate, truth, step=0.2, repeat=2.0, **keywords)
    there = scan_fields.score_field(2 * estimate, 2 * truth, step=0.4, repeat=4.0, **keywords)
    assert there.pop("field_error") == pytest.approx(2 * here.pop("field_error"))
    assert there == pytest.approx(here)


def test_a_rotated_raster_is_the_raster_turned_about_its_middle():
    """By the convention of the scans of the instrument themselves."""
    from stemtwin.twin.instrument.scan import RasterScan

    for turn in (0.0, np.pi / 2, 0.3):
        scan = RasterScan(shape=(8, 8), field_of_view_angstrom=(4.0, 4.0), rotation_rad=turn)
        theirs = scan.positions() - scan.positions().mean(axis=(0, 1))
        assert scan_fields.node_positions((8, 8), 8, 0.5, np.array([turn]))[0] == pytest.approx(theirs)


def test_lines_beat_rigid_shifts_beat_the_frames():
    """In series and pairs of a specimen without translation, and the drift of a pair is found: hardly any strain is left."""
    found = {name: entry(name) for name in ("frames", "rigid", "lines")}
    assert found["frames"]["field_error"] > found["rigid"]["field_error"] > 2 * found["lines"]["field_error"]
    assert found["lines"]["strain_bias"] < 0.2 * found["frames"]["strain_bias"]


def test_jitter_is_found_but_for_what_all_frames_share():
    """At a high dose the error is little more than the mean of five frames' jitter in each line, which nobody can see."""
    data = drifting_frames.make(1, dose=1e7, jitter=0.1, pairs=False)
    assert entry("lines", data)["field_error"] < 1.25 * 100 * 0.1 * np.sqrt(2 / 5)


def test_rigid_shifts_fall_into_the_trap_of_the_unit_cell():
    """A perfect lattice that drifts by more than half a cell between frames: cells are jumped."""
    data = drifting_frames.make(3, way=4.6, periodic=True, pairs=False, seed=2)
    assert entry("rigid", data)["cell_jumps"] > 0.3


@pytest.mark.slow
def test_a_report_has_an_interval_a_worst_slice_and_what_can_be_told_apart():
    """Intervals draw specimens; the worst slice is one of the card's; the least difference that a comparison sees is about the interval's width."""
    data, task = drifting_frames.make(8, seed=3), find_task("drift")
    data["material"] = ("sample", np.repeat(["alloy", "crystal"], 4))
    found = runner.predict(task, agents.find_baseline("drift", "frames"), data)
    made = runner.score_predictions(task, data, found, split="test", size="tiny", entry="frames", trust="baseline")
    primary = next(metric for metric in made.report.metrics if metric.name == "field_error")
    ends = primary.interval
    assert ends.low < primary.value < ends.high
    assert {part.label for part in made.report.slices if part.column == "material"} >= {"alloy", "crystal"}
    seen = comparisons.detectable_beside(task.primary.formula, comparisons.cluster_sums(task.primary.formula, made.samples))
    assert seen is not None
    assert 0.5 < seen / (ends.high - ends.low) < 3


def test_the_truth_is_no_input():
    """Of the data an entry sees counts, settings and rotation alone."""
    hidden = {"displacement", "material", "specimen", "periodic", "repeat_angstrom", "drift_angstrom_per_s", "jitter_angstrom", "hum_angstrom"}
    assert set(scan_drift.INPUTS).isdisjoint(hidden | {"walk_angstrom", "settling_fraction", "within_angstrom", "condition_seed"})


def test_spreading_keeps_all_electrons():
    """Counts and pixels on the grid add up to those of the frame, wherever it lies."""
    frames = scan_registration.frames_of({name: DATA[name].values[0] for name in scan_drift.INPUTS})
    parts = scan_registration.spread(frames.counts[0], frames.places[0] + np.array([0.37, -0.11]), frames.step, scan_registration.side_of(frames))
    assert parts.sum(axis=(1, 2)) == pytest.approx([frames.counts[0].sum(), frames.counts[0].size])


def test_the_classical_baselines_lead_the_kept_scores():
    """On the test split every step up is one of separated intervals, and the oracle is perfect."""
    rows = kept_scores.read("drift")["rows"]
    assert rows["lines"]["intervals"]["field_error"][1] < rows["frames"]["intervals"]["field_error"][0]
    assert rows["lines"]["intervals"]["strain_bias"][1] < rows["frames"]["intervals"]["strain_bias"][0]
    assert rows["lines"]["intervals"]["field_error"][1] < rows["rigid"]["intervals"]["field_error"][0]
    assert rows["oracle"]["values"]["all"]["all"]["field_error"] == 0


def test_the_kept_scores_agree_with_each_other():
    """Slices of a column have all samples together, and means over them are those of the whole."""
    for name, row in kept_scores.read("drift")["rows"].items():
        whole = row["values"]["all"]["all"]
        for column, parts in row["values"].items():
            assert sum(part["n"] for part in parts.values()) == whole["n"], (name, column)
            mean = sum(part["n"] * part["field_error"] for part in parts.values()) / whole["n"]
            assert mean == pytest.approx(whole["field_error"], abs=1e-4), (name, column)


@pytest.mark.slow
def test_the_kept_scores_come_out_again():
    """The first specimens of the test split, made anew and registered by every baseline, score as kept."""
    from stemtwin.datasets import generate, storage
    from stemtwin.datasets.cards import find_card
    from stemtwin.datasets.kinds import find_generator

    card, task = find_card("drift", "1.0.0"), find_task("drift")
    seeds = card.structure_seeds("std", "test")[: kept_scores.SAMPLED_CLUSTERS]
    made = find_generator(card.kind)
    rows = [row for seed in seeds for row in generate.specimen_rows(card, "std", made.specimen(card, "std", "test", seed))]
    data = storage.to_xarray(storage.to_numpy(storage.table_of(rows, card), card), card, "test")
    for name, kept in json.loads(KEPT.read_text())["rows"].items():
        again = kept_scores.each(task.score(data, runner.predict(task, agents.find_baseline("drift", name), data)))
        assert set(again) == set(kept["samples"])
        for sample, values in kept["samples"].items():
            assert again[sample] == pytest.approx(values, rel=1e-2, abs=1e-2), (name, sample)
