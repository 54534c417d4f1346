"""Task atoms-2d: the score of an image is the counting that its definition says, and the baselines stand in their order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.benchmarks.agents import find_baseline
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.baselines import atoms as baselines
from stemtwin.benchmarks.families.atoms import DETECTION, DOSE_EDGES, TrueColumns, content_hash, d90, frame_bounds, read_columns, score, score_image
from stemtwin.benchmarks.runner import predict, score_predictions
from stemtwin.benchmarks.tasks import find_task
from stemtwin.datasets.cards import find_card
from stemtwin.twin.errors import SettingsError, SubmissionError
from tests.benchmarks.frames import make

BOUNDS = np.array([[-0.05, -0.05], [9.95, 9.95]])
SPECIES = np.array([22, 38])
place = st.tuples(st.integers(1, 9), st.integers(1, 9))


def columns(positions, heaviest=None, visible=None):
    """Return true columns, strontium and visible where nothing else is said."""
    n = len(positions)
    return TrueColumns(
        positions=np.array(positions, dtype=float).reshape(-1, 2),
        heaviest=np.full(n, 38) if heaviest is None else np.array(heaviest),
        visible=np.ones(n, dtype=bool) if visible is None else np.array(visible, dtype=bool),
    )


@settings(max_examples=60)
@given(truth=st.lists(place, unique=True, max_size=8), found=st.lists(place, unique=True, max_size=8), shift=st.floats(-0.3, 0.3))
def test_counts_on_a_grid_are_set_operations(truth, found, shift):
    """On places 1 A apart (gate 0.4 A or more) the counts are those of sets: TP = both, FP = only found, FN = only true."""
    row = score_image(Points.at(np.array(found, dtype=float).reshape(-1, 2) + np.array([shift, 0])), columns(truth), BOUNDS, SPECIES)
    both = len(set(truth) & set(found))
    assert (row["tp"], row["fp"], row["fn"]) == (both, len(found) - both, len(truth) - both)
    assert row["square_distance"] == pytest.approx(both * shift**2)


def test_gate_is_the_smaller_of_half_an_angstrom_and_two_fifths_of_the_spacing():
    """A detection counts up to 0.5 A from a lone column and up to 0.4 d_nn from one of a close pair, and no further."""
    lone, pair = columns([[5, 5]]), columns([[5, 5], [6, 5]])
    for truth, limit in ((lone, 0.5), (pair, 0.4)):
        for offset, expected in ((limit - 1e-6, 1), (limit + 1e-6, 0)):
            assert score_image(Points.at([[5, 5 + offset]]), truth, BOUNDS, SPECIES)["tp"] == expected


def test_invisible_columns_and_the_margin_are_neither_right_nor_wrong():
    """A detection on a faint column or in the outer 0.5 A changes no count, nor does leaving it out; two on one faint column leave one wrong."""
    truth = columns([[5, 5], [7, 5], [0.3, 5]], visible=[True, False, True])
    nothing = {"tp": 1, "fp": 0, "fn": 0}
    for points in ([[5, 5]], [[5, 5], [7, 5]], [[5, 5], [0.3, 5]], [[5, 5], [9.7, 9.7]], [[5, 5], [0.6, 5]]):
        row = score_image(Points.at(points), truth, BOUNDS, SPECIES)
        assert {name: row[name] for name in nothing} == nothing, points
    assert score_image(Points.at([[5, 5], [7, 5], [7.1, 5]]), truth, BOUNDS, SPECIES)["fp"] == 1


def test_species_are_counted_by_the_matched_column():
    """A right position with the wrong element is a miss of the one species and a false alarm of the other; unknown is a miss alone."""
    truth = columns([[2, 2], [4, 2], [6, 2]], heaviest=[38, 38, 22])
    row = score_image(Points.at([[2, 2], [4, 2], [6, 2], [8, 8]], classes=[38, 22, 0, 22]), truth, BOUNDS, SPECIES)
    np.testing.assert_array_equal(row["species_tp"], [0, 1])
    np.testing.assert_array_equal(row["species_fp"], [2, 0])
    np.testing.assert_array_equal(row["species_fn"], [1, 1])


def test_metrics_from_sums_equal_their_definitions():
    """P, R, F1, RMSD and macro-F1 of hand-made sums, for one set of sums and for a stack of them."""
    sums = {
        "tp": np.array(6), "fp": np.array(2), "fn": np.array(4), "square_distance": np.array(0.06),
        "species_tp": np.array([3, 0, 0]), "species_fp": np.array([1, 2, 5]), "species_fn": np.array([1, 4, 0]),
        "dose_tp": np.zeros(12), "dose_fp": np.zeros(12), "dose_fn": np.zeros(12), "dose_samples": np.zeros(12), "dose_log10": np.zeros(12),
    }  # fmt: skip
    expected = {"f1": 12 / 18, "precision": 6 / 8, "recall": 6 / 10, "rmsd": 10.0, "macro_f1": (0.75 + 0.0) / 2}
    stacked = {name: np.stack([array, array]) for name, array in sums.items()}
    for metric in DETECTION[:5]:
        assert metric.formula(sums) == pytest.approx(expected[metric.name])
        np.testing.assert_allclose(metric.formula(stacked), [expected[metric.name]] * 2)
    assert np.isnan(DETECTION[5].formula(sums))


def test_d90_is_the_lowest_dose_that_suffices():
    """D90 is the mean dose of the lowest bin with F1 >= 0.9 above which no bin falls short, empty ones aside; undefined where the top fails."""
    doses = np.array([2e1, 2e2, 2e3, 2e4, 2e5])
    bins = np.eye(len(DOSE_EDGES) + 1)[np.searchsorted(DOSE_EDGES, doses)]

    def value(right):
        tp = np.array(right, dtype=float) @ bins
        sums = {
            "dose_tp": tp,
            "dose_fp": np.zeros_like(tp),
            "dose_fn": 10 * bins.sum(0) - tp,
            "dose_samples": bins.sum(0),
            "dose_log10": np.log10(doses) @ bins,
        }
        return d90(sums)

    assert value([2, 5, 9, 10, 10]) == pytest.approx(2e3)
    assert value([10, 5, 9, 10, 10]) == pytest.approx(2e3)
    assert value([10, 10, 10, 10, 10]) == pytest.approx(2e1)
    assert np.isnan(value([10, 10, 10, 10, 5]))


def test_d90_is_reached_at_exactly_nine_tenths():
    """Nine right, one missed and one wrong are an F1 of 18 / 20: that dose suffices; one more miss is too many."""
    for missed, value in ((1, 2e3), (2, np.nan)):
        sums = {"dose_tp": [9.0], "dose_fp": [1.0], "dose_fn": [missed], "dose_samples": [1.0], "dose_log10": [np.log10(2e3)]}
        np.testing.assert_allclose(d90({name: np.array(total) for name, total in sums.items()}), value)


def test_baselines_stand_in_their_order():
    """The oracle is perfect, random points are near nothing, and the Laplacian of Gaussian is far nearer to the truth, its positions within 10 pm."""
    task, data = find_task("atoms-2d"), make(dose=4000.0)
    value = {}
    for name in ("oracle", "log", "random"):
        entry = find_baseline("atoms-2d", name)
        report = score_predictions(task, data, predict(task, entry, data), split="test", size="tiny", entry=name, trust="baseline").report
        value[name] = {metric.name: metric.value for metric in report.metrics}
    assert value["oracle"]["f1"] == value["oracle"]["macro_f1"] == 1.0
    assert value["oracle"]["rmsd"] == 0.0
    assert value["random"]["f1"] < 0.3
    assert 0.9 < value["log"]["f1"] <= 1.0
    assert value["log"]["rmsd"] < 10.0
    assert value["log"]["macro_f1"] == 0.0


def test_low_dose_is_harder():
    """The Laplacian of Gaussian loses columns as the dose falls, and an image without electrons holds nothing."""
    task, entry = find_task("atoms-2d"), find_baseline("atoms-2d", "log")
    f1 = []
    for dose in (8000.0, 60.0):
        data = make(n=6, dose=dose)
        f1.append(float(DETECTION[0].formula(score(data, predict(task, entry, data)).sums())))
    assert f1[0] > f1[1]
    dark = make(n=1).assign(image=lambda one: one["image"] * 0)
    assert len(predict(task, entry, dark)["atoms-2d/test/000000"].positions) == 0


def test_a_detector_is_given_the_inputs_alone():
    """A detector that is no oracle sees the inputs of the task and nothing that names the truth, the material or the defocus."""
    task, data, seen = find_task("atoms-2d"), make(n=1), {}

    class Spy:
        def predict(self, given, rng):
            del rng
            seen.update(given)
            return Points.at([])

    entry = find_baseline("atoms-2d", "log")
    predict(task, type(entry)(task="atoms-2d", name="spy", text="", factory=Spy), data)
    assert set(seen) == {field.name for field in task.inputs}


def test_content_hash_is_of_what_is_scored():
    """The hash of a dataset ignores the order of its rows, and changes with one count of one pixel or one column."""
    data = make(n=4)
    same = data.isel(sample=[3, 1, 0, 2])
    assert content_hash(data) == content_hash(same)
    image, x = data["image"].copy(deep=True), data["column_x_angstrom"].copy(deep=True)
    image[0, 0, 0] += 1
    x[0, 0] += 1e-9
    assert len({content_hash(data), content_hash(data.assign(image=image)), content_hash(data.assign(column_x_angstrom=x))}) == 3


def test_frames_end_half_a_pixel_outside_their_outer_pixels():
    """Pixel [0, 0] is centred on (0, 0): the frame runs from -step/2 to (n - 1/2) step."""
    data = make(n=1)
    np.testing.assert_allclose(frame_bounds(data)[0], [[-0.1, -0.1], [12.7, 12.7]])
    assert len(read_columns(data)[0].positions) == int(data["n_columns"][0])


@pytest.mark.parametrize(("success", "moved"), [(True, True), (False, False)])
def test_a_refined_peak_does_not_depend_on_last_bits(success, moved, monkeypatch):
    """Steps of the fit that differ in their last bits give the same answer; a fit that does not converge leaves the peak where it is."""
    y, x = np.mgrid[:11, :11]
    image = 50 * np.exp(-((y - 5.3) ** 2 + (x - 4.8) ** 2) / 8) + 2.0
    fit, found = baselines.least_squares, []
    for error in (0.0, 1e-12):

        def disturbed(*args, error=error, **kwargs):
            result = fit(*args, **kwargs)
            result.x, result.success = result.x + error, success
            return result

        monkeypatch.setattr(baselines, "least_squares", disturbed)
        found.append(baselines.refine(image, np.array([5, 5]), 2.0))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], [5.3, 4.8] if moved else [5, 5], atol=1e-5)


def test_the_card_cuts_by_the_columns_of_the_task():
    """Scores are cut as the task says; the card's bins, which the digest of built data holds, are of the same columns and read by nobody."""
    card, task = find_card("atoms-2d", "1.0.0"), find_task("atoms-2d")
    assert {piece.column for piece in card.slices.values()} == {one.column for one in task.slices}
    assert {one.column: one.edges for one in task.slices if one.edges} == {
        "dose_e_per_angstrom2": (1e3, 1e4, 1e5),
        "C10_angstrom": (25, 50),
        "thickness_angstrom": (8, 40, 100),
    }, "other slices are another version of the task"


def test_an_entry_that_detects_is_told_to_predict():
    """An entry with a method of another name is told the one that is called."""

    class Old:
        def detect(self, given, rng):
            del given, rng

    entry = find_baseline("atoms-2d", "log")
    with pytest.raises(SettingsError, match=r"agent 'old' has no method predict\(given, rng\)"):
        predict(find_task("atoms-2d"), type(entry)(task="atoms-2d", name="old", text="", factory=Old), make(n=1))


def test_an_entry_of_this_process_is_checked_as_a_submission_is():
    """Points outside the frame or not finite are refused with the entry, the point and the sample, not scored."""

    class Outside:
        def predict(self, given, rng):
            del given, rng
            return Points.at([[1, 1], [99, 1]])

    entry = find_baseline("atoms-2d", "log")
    with pytest.raises(SubmissionError, match=r"out: point 1, column 'x_angstrom': 99\.0 lies outside the frame"):
        predict(find_task("atoms-2d"), type(entry)(task="atoms-2d", name="out", text="", factory=Outside), make(n=1))
