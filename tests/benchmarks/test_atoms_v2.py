"""Tasks atoms-2d@2 and instruments: average precision is what its definition says, right answers score alike, and domains are told apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.benchmarks.agents import find_baseline
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.baselines import atoms_v2 as baselines
from stemtwin.benchmarks.families import atoms_v2, instruments
from stemtwin.benchmarks.families.atoms import TrueColumns
from stemtwin.benchmarks.metrics import ranked
from stemtwin.benchmarks.runner import predict, score_predictions
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.errors import SubmissionError
from tests.benchmarks import instrument_frames

FRAME = np.array([[-0.05, -0.05], [19.95, 19.95]])
DATA = instrument_frames.make(n=5, dose=15.0)
EVERY = instrument_frames.make(n=15)


def truth_at(places, visible=None):
    """Return true columns of strontium with a bound of 0.02 A."""
    places = np.array(places, dtype=float).reshape(-1, 2)
    seen = np.ones(len(places), dtype=bool) if visible is None else np.array(visible, dtype=bool)
    columns = TrueColumns(positions=places, heaviest=np.full(len(places), 38), visible=seen)
    return atoms_v2.BoundedColumns(columns=columns, bounds=np.full(len(places), 0.02))


def ap_of(found, truth):
    """Return the average precision of points in one image."""
    return float(ranked.average_precision(atoms_v2.ranked_counts(found, truth, FRAME)))


def values(task, data, found):
    """Return every metric of answers by name."""
    sums = task.score(data, task.form.checked(found, data, "test")).sums()
    return {metric.name: float(metric.formula(sums)) for metric in task.metrics}


def entry(name, data=DATA, task="atoms-2d@2"):
    """Return every metric of a baseline."""
    return values(find_task(task), data, predict(find_task(task), find_baseline(task, name), data))


@settings(max_examples=30, deadline=None)
@given(right=st.lists(st.booleans(), min_size=1, max_size=12, unique=False), missed=st.integers(0, 4))
def test_average_precision_is_the_area_under_the_curve_of_one_detection_after_the_other(right, missed):
    """Detections of different confidence, by the slow way: each step of recall times the best precision from there on."""
    n, places = len(right), [[1.0 + 1.5 * i, 5.0] for i in range(len(right))]
    extra = [[1.0 + 1.5 * i, 15.0] for i in range(missed)]
    truth = truth_at([place for place, good in zip(places, right, strict=True) if good] + extra)
    confidence = np.linspace(0.9, 0.1, n)
    precision = np.cumsum(right) / np.arange(1, n + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    asked = sum(right) + missed
    found = ap_of(Points.at(places, confidence=confidence), truth)
    assert np.isnan(found) if asked == 0 else found == pytest.approx(float(np.sum(best * np.array(right)) / asked))


def test_a_surer_detection_chooses_first():
    """One to one: of two detections on one column the surer is right, also where the other is nearer, and the other is wrong."""
    truth = truth_at([[5.0, 5.0]])
    found = atoms_v2.ranked_matches(Points.at([[5.0, 5.01], [5.0, 5.3]], confidence=[0.3, 0.8]), truth.columns.positions, truth.gates)
    assert found.tolist() == [-1, 0]
    assert ap_of(Points.at([[5.0, 5.01], [5.0, 5.3]], confidence=[0.3, 0.8]), truth) == 1.0
    assert ap_of(Points.at([[5.0, 5.0], [9.0, 9.0]], confidence=[0.3, 0.8]), truth) == 0.5


def test_faint_columns_and_the_margin_are_not_counted():
    """A detection on a faint column or near the edge is neither right nor wrong, also where it is surest of all."""
    truth = truth_at([[5.0, 5.0], [8.0, 5.0]], visible=[True, False])
    for place in ([8.0, 5.0], [0.2, 9.0]):
        assert ap_of(Points.at([place, [5.0, 5.0]], confidence=[0.9, 0.5]), truth) == 1.0
    assert ap_of(Points.at([[8.0, 8.0], [5.0, 5.0]], confidence=[0.9, 0.5]), truth) == 0.5


def test_right_answers_score_alike():
    """The truth in another order, with confidences that rise with each column's place, scores as the truth with ones: 1, and no distance."""
    task = find_task("atoms-2d@2")
    truths = dict(zip(DATA["sample_id"].values.tolist(), task.truth(DATA), strict=True))
    plain, other = {}, {}
    for name, truth in truths.items():
        places, species = truth.positions[truth.visible], truth.heaviest[truth.visible]
        plain[name] = Points.at(places, classes=species, confidence=np.ones(len(places)))
        order = np.argsort(places[:, 0])[::-1]
        other[name] = Points.at(places[order], classes=species[order], confidence=0.5 + 0.5 * np.linspace(0, 1, len(places)))
    first, second = values(task, DATA, plain), values(task, DATA, other)
    assert first["ap"] == first["f1"] == first["macro_f1"] == 1.0
    assert first["rmsd"] == 0.0
    assert second == pytest.approx(first, nan_ok=True)


def test_efficiency_is_one_for_errors_as_large_as_the_bound():
    """Errors drawn with the bound's variance have efficiency 1; columns whose bound is above a third of the gate say nothing of it."""
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(np.arange(2, 18, 2.0), np.arange(2, 18, 2.0)), axis=-1).reshape(-1, 2)
    rows = []
    for _ in range(20):
        truth = truth_at(places)
        rows.append(atoms_v2.bounded_distances(Points.at(places + rng.normal(0, 0.02 / np.sqrt(2), places.shape)), truth, FRAME))
    sums = {name: np.sum([row[name] for row in rows]) for name in rows[0]}
    assert float(ranked.efficiency(sums)) == pytest.approx(1.0, abs=0.05)
    loose = atoms_v2.BoundedColumns(columns=truth_at(places).columns, bounds=np.full(len(places), 0.3))
    assert atoms_v2.bounded_distances(Points.at(places), loose, FRAME) == {"square_bound": 0.0, "bounded_square_distance": 0.0}


def test_baselines_stand_in_their_order():
    """The oracle is perfect; fits beat maxima, and maxima random points; fewer electrons are harder."""
    found = {name: entry(name) for name in ("oracle", "log", "maxima", "random")}
    assert found["oracle"]["ap"] == 1.0
    assert 1 >= found["log"]["ap"] > found["maxima"]["ap"] > 3 * found["random"]["ap"]
    assert entry("log", instrument_frames.make(n=5, dose=4.0))["ap"] < found["log"]["ap"]


@pytest.mark.slow
def test_metadata_and_brightness_alone_are_no_detector():
    """A lattice laid by the mean reading and the settings, without a look at the picture, is within the interval of the naive baseline or below."""
    task, data = find_task("atoms-2d@2"), instrument_frames.make(n=12, dose=15.0, clusters=6)

    class Blind:
        def predict(self, given, rng):
            del rng
            step, (ny, nx) = float(given["sampling_angstrom"]), given["image"].shape
            mean = (given["image"].mean() - given["offset_adu"]) / (given["dose_e_per_angstrom2"] * step**2)
            spacing = 2.0 + 1.0 / (1.0 + mean)
            grid = np.stack(np.meshgrid(np.arange(0.3, (nx - 1) * step, spacing), np.arange(0.3, (ny - 1) * step, spacing)), axis=-1)
            return Points.at(grid.reshape(-1, 2), confidence=np.full(grid.size // 2, 0.5))

    naive = find_baseline("atoms-2d@2", "maxima")
    report = score_predictions(task, data, predict(task, naive, data), split="test", size="tiny", entry="maxima", trust="baseline").report
    blind = values(task, data, predict(task, type(naive)(task="atoms-2d@2", name="blind", text="", factory=Blind), data))
    assert report.primary.interval is not None
    assert blind["ap"] <= report.primary.interval.high


@pytest.mark.slow
def test_a_report_has_intervals_slices_and_a_detectable_difference():
    """Every headline metric of the naive baseline has a clustered interval, slices glue, and the worst is named."""
    task, data = find_task("atoms-2d@2"), instrument_frames.make(n=12, dose=15.0, clusters=6)
    found = predict(task, find_baseline("atoms-2d@2", "maxima"), data)
    report = score_predictions(task, data, found, split="test", size="tiny", entry="maxima", trust="baseline").report
    assert report.primary.name == "ap"
    assert report.primary.interval.low < report.primary.value < report.primary.interval.high
    assert report.gluing_residual < 1e-12
    assert report.worst.value <= report.primary.value
    assert report.detectable > 0


def test_a_confidence_is_asked_for():
    """Points without one, or with one above 1, are refused in a sentence."""
    task, name = find_task("atoms-2d@2"), str(DATA["sample_id"].values[0])
    one = DATA.isel(sample=[0])
    with pytest.raises(SubmissionError, match=r"'confidence' \(score\) is left out"):
        task.form.checked({name: Points.at([[1.0, 1.0]])}, one, "test")
    with pytest.raises(SubmissionError, match="score"):
        task.form.checked({name: Points.at([[1.0, 1.0]], confidence=[1.5])}, one, "test")


def test_unseen_instruments_are_told_from_those_of_training():
    """An answer that is perfect at home and empty away scores 0, with a gap of 1; one with twenty labels right away gains 1."""
    task = find_task("instruments")
    truths = task.truth(EVERY)
    homely, taught = {}, {}
    for i, name in enumerate(EVERY["sample_id"].values.tolist()):
        places = truths[i].positions[truths[i].visible]
        right, nothing = Points.at(places, confidence=np.ones(len(places))), Points.at(np.empty((0, 2)), confidence=np.empty(0))
        home = str(EVERY["instrument"].values[i]) in instruments.HOME
        homely[name] = right if home else nothing
        taught[name] = right if home or EVERY["labels"].values[i] == 20 else nothing
    first, second = values(task, EVERY, homely), values(task, EVERY, taught)
    assert (first["away"], first["worst"], first["gap"], first["gain"]) == (0.0, 0.0, 1.0, 0.0)
    assert (second["away_0"], second["away_5"], second["away_20"], second["gain"]) == (0.0, 0.0, 1.0, 1.0)
    assert 0 < second["away"] < 1


def test_domains_add_up_to_the_whole():
    """Counts by instrument and labels sum to those of all, also in resamples of samples."""
    task = find_task("instruments")
    samples = task.score(EVERY, predict(task, find_baseline("instruments", "maxima"), EVERY))
    for which in (np.arange(15), np.array([0, 2, 3, 3, 7])):
        sums = samples.take(which).sums()
        for name in ("tp", "fp"):
            assert sums[f"domain_{name}"].sum() == sums[f"ranked_{name}"].sum()
        assert sums["domain_asked"].sum() == sums["asked"]


def test_an_adapted_entry_may_use_what_the_labels_say():
    """The baseline with settings for each instrument reads those of the number of labels, and of training where there are none."""
    some = EVERY.isel(sample=slice(2, 5))
    assert entry("adapted", some, "instruments")["away"] > entry("random", some, "instruments")["away"]
    assert {"instrument", "labels"} <= {field.name for field in find_task("instruments").inputs}


def test_the_truth_is_no_input():
    """Of the data an entry sees readings and settings alone."""
    for name in ("atoms-2d@2", "instruments"):
        seen = {field.name for field in find_task(name).inputs}
        assert seen.isdisjoint(
            {"material", "structure", "specimen", "thickness_angstrom", "C10_angstrom", *(n for n in DATA if n.startswith("column_"))}
        )


def test_the_scale_is_the_finest_that_the_noise_allows():
    """Bright columns are sought at the finest scale, whatever the step, and those near the noise at a wider one."""
    y, x = np.mgrid[:128, :128]
    for step in (0.08, 0.16):
        sigma, found = 1.2 / baselines.FWHM_PER_SIGMA / step, []
        for height in (100.0, 0.8):
            image = np.full(y.shape, 2.0)
            for place in np.random.default_rng(0).uniform(15, 113, (6, 2)):
                image += height * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * sigma**2))
            found.append(baselines.best_response(np.random.default_rng(1).poisson(image).astype(float), step)[2])
        assert found[0] == pytest.approx(max(baselines.WIDTHS_ANGSTROM[0] / baselines.FWHM_PER_SIGMA / step, 1.0))
        assert found[1] > 1.2 * found[0]
