"""Task defects: metrics are the counting that their definitions say, right answers score alike, and a residual finds what is wrong in a lattice."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.benchmarks.agents import find_baseline
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.baselines import defects as baselines
from stemtwin.benchmarks.families import defects
from stemtwin.benchmarks.runner import predict
from stemtwin.benchmarks.tasks import find_task
from stemtwin.datasets.generators import sheet_defects

TASK = find_task("defects")
N, STEP, GAIN, OFFSET = 160, 0.15, 8.0, 100.0
FRAME = np.array([[-0.05, -0.05], [19.95, 19.95]])
RIDGE = 3.16
"""Lattice constant of the drawn layers, A."""


def layer_sites():
    """Return metal, chalcogen and hollow sites (n, 2) of a layer over the frame, A."""
    field = N * STEP
    a, b = np.array([RIDGE, 0.0]), np.array([RIDGE / 2, RIDGE * np.sqrt(3) / 2])
    steps = np.array([[i, j] for i in range(-12, 12) for j in range(-1, 12)])
    metal = steps @ np.stack([a, b])
    found = [metal + part * (a + b) / 3 for part in (0, 1, 2)]
    return [sites[((sites > 0) & (sites < field)).all(axis=1)] for sites in found]


def drawn(seed=0, dose=2e5, n=4):
    """Return a dataset of MoS2 layers as Gaussian columns with one defect of some classes each, and counting noise."""
    rng, rows = np.random.default_rng(seed), []
    metal, chalcogen, hollow = layer_sites()
    y, x = np.mgrid[:N, :N] * STEP
    known = baselines.contrasts("mos2-1h")
    for _ in range(n):
        heights = [(place, 1.0) for place in metal] + [(place, 2 * (16 / 42) ** 1.7) for place in chalcogen]
        changed = []
        for kind in ("V_2X", "V_M", "M_M", "M_ad"):
            where = {"metal": metal, "chalcogen": chalcogen, "hollow": hollow}[known[kind][0]]
            inner = where[((where > 3) & (where < N * STEP - 3)).all(axis=1)]
            free = [place for place in inner if all(np.linalg.norm(place - other) > 4.5 for other, _ in changed)]
            place = free[rng.integers(len(free))]
            heights.append((place, known[kind][1]))
            changed.append((place, defects.CLASSES.index(kind) + 1))
        signal = sum(height * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 0.45**2)) for (px, py), height in heights) + 0.02
        counts = rng.poisson(np.maximum(signal, 0) * 0.01 * dose * STEP**2)
        rows.append((np.rint(counts * GAIN + OFFSET).astype(np.uint16), np.array([p for p, _ in changed]), np.array([c for _, c in changed])))
    per_row = {
        "sample_id": np.array([f"defects/test/{i:04d}" for i in range(n)]),
        "specimen": np.array([f"mos2-1h/{i}" for i in range(n)]),
        "material": np.full(n, "mos2-1h"),
        "prevalence": np.array(["realistic", "rare"])[np.arange(n) % 2],
        "instrument": np.full(n, "nion-60"),
        "n_sites": np.full(n, 120),
        "n_defects": np.full(n, 4),
    }
    numbers = {"gain_adu": GAIN, "offset_adu": OFFSET, "sampling_angstrom": STEP, "energy_ev": 6e4, "semiangle_mrad": 30.0, "inner_mrad": 60.0}
    numbers |= {"outer_mrad": 130.0, "current_pa": 50.0, "dwell_time_us": 10.0, "dose_e_per_angstrom2": dose}
    per_row |= {name: np.full(n, value) for name, value in numbers.items()}
    data = {name: ("sample", values) for name, values in per_row.items()}
    data["image"] = (("sample", "y", "x"), np.stack([row[0] for row in rows]))
    for axis, name in enumerate("xy"):
        data[f"defect_{name}_angstrom"] = (("sample", "defect"), np.stack([row[1][:, axis] for row in rows]))
    data["defect_class"] = (("sample", "defect"), np.stack([row[2] for row in rows]))
    return xr.Dataset(data)


DATA = drawn()


def values(found, data=DATA):
    """Return every metric of answers by name."""
    sums = TASK.score(data, TASK.form.checked(found, data, "test")).sums()
    return {metric.name: float(metric.formula(sums)) for metric in TASK.metrics}


def entry(name, data=DATA):
    """Return every metric of a baseline."""
    return values(predict(TASK, find_baseline("defects", name), data), data)


def test_the_classes_of_task_and_generator_are_the_same():
    """Names and order."""
    assert defects.CLASSES == sheet_defects.CLASSES
    assert len(defects.CLASSES) == 11


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)), unique_by=lambda one: one[0], max_size=6))
def test_counts_are_those_of_the_slow_way(drawn_):
    """Places 2 A apart, true and said class of each: by class, right where both are equal; without regard to it, always."""
    places = np.array([[2.0 * number, 10.0] for number, _, _ in drawn_]).reshape(-1, 2)
    true, said = (np.array([one[i] for one in drawn_], dtype=np.int64) for i in (1, 2))
    row = defects.count_defects(
        Points.at(places, classes=said, confidence=np.full(len(places), 0.8)), defects.TrueDefects(positions=places, classes=true), FRAME
    )
    assert row["ranked_tp"].sum() == row["asked"] == row["sure_tp"] == len(places)
    assert row["ranked_fp"].sum() == row["sure_fp"] == 0
    for number in range(1, 12):
        mine = slice((number - 1) * defects.COARSE, number * defects.COARSE)
        assert row["class_tp"][mine].sum() == ((true == number) & (said == number)).sum()
        assert row["class_fp"][mine].sum() == ((true != number) & (said == number)).sum()
        assert row["class_asked"][number - 1] == (true == number).sum()


def test_the_margin_and_its_defects_do_not_count():
    """A defect at the edge is not asked for, and a detection on it or in the margin is neither right nor wrong."""
    truth = defects.TrueDefects(positions=np.array([[0.5, 5.0], [0.7, 9.0], [5.0, 5.0]]), classes=np.array([1, 1, 1]))
    found = Points.at([[0.5, 5.0], [1.1, 9.0], [0.2, 15.0], [5.0, 5.0]], classes=[1, 1, 1, 1], confidence=[0.9, 0.9, 0.9, 0.9])
    row = defects.count_defects(found, truth, FRAME)
    assert (row["asked"], row["sure_tp"], row["sure_fp"]) == (1, 1, 0)


def test_right_answers_score_alike():
    """The truth in another order and with other confidences of at least one half has full marks, as the oracle has."""
    first, other = entry("oracle"), {}
    for name, truth in zip(DATA["sample_id"].values.tolist(), TASK.truth(DATA), strict=True):
        order = np.argsort(truth.positions[:, 1])
        sure = np.linspace(0.5, 1, len(order))
        other[name] = Points.at(truth.positions[order] + 0.1, classes=truth.classes[order], confidence=sure)
    assert values(other) == pytest.approx(first, nan_ok=True)
    assert (first["map"], first["ap"], first["recall_01"], first["precision_rare"], first["concentration_bias"]) == (1, 1, 1, 1, 0)


def test_an_answer_without_defects_is_valid_and_worth_nothing():
    """No detection: no precision, and as many too few as there are."""
    nothing = {name: Points.at(np.empty((0, 2))) for name in DATA["sample_id"].values.tolist()}
    found = values(nothing)
    assert (found["map"], found["ap"], found["recall_1"], found["concentration_bias"]) == (0, 0, 0, 1)
    assert np.isnan(found["precision_rare"])


def test_prevalence_lowers_precision_and_not_recall():
    """The same false alarms on images with a quarter of the defects: precision at 1 % falls, and it counts images of that prevalence alone."""
    truths = TASK.truth(DATA)
    found = {}
    for name, truth in zip(DATA["sample_id"].values.tolist(), truths, strict=True):
        places = np.vstack([truth.positions, [[11.0, 1.5], [1.5, 11.0]]])
        found[name] = Points.at(places, classes=[*truth.classes, 1, 1], confidence=np.full(len(places), 0.9))
    whole = values(found)
    fewer = DATA.assign(n_defects=("sample", np.where(DATA["prevalence"].values == "rare", 1, 4)))
    kept = {}
    for i, name in enumerate(fewer["sample_id"].values.tolist()):
        n = int(fewer["n_defects"].values[i])
        some = np.r_[:n, 4, 5]
        kept[name] = Points(positions=found[name].positions[some], classes=found[name].classes[some], confidence=found[name].confidence[some])
    assert values(kept, fewer)["precision_rare"] == pytest.approx(1 / 3)
    assert whole["precision_rare"] == pytest.approx(2 / 3)


def test_the_residual_names_what_is_wrong_in_a_layer():
    """At a high dose it finds and names most of what odd peaks do not, and the oracle all."""
    found = {name: entry(name) for name in ("odd-peaks", "residual", "oracle")}
    assert found["oracle"]["map"] == 1
    assert found["residual"]["map"] > 0.6
    assert found["residual"]["map"] > found["odd-peaks"]["map"] + 0.2
    assert entry("residual", drawn(dose=2e3))["map"] < found["residual"]["map"]


def test_material_and_brightness_alone_find_nothing():
    """A guess of the commonest class at places that do not depend on the picture is no better than the naive baseline."""

    class Blind:
        def predict(self, given, rng):
            side = given["image"].shape[0] * given["sampling_angstrom"] - 2
            return Points.at(rng.uniform(1, side, (4, 2)), classes=[1, 3, 4, 7], confidence=[0.6] * 4)

    naive = find_baseline("defects", "odd-peaks")
    blind = values(predict(TASK, type(naive)(task="defects", name="blind", text="", factory=Blind), DATA))
    assert blind["map"] <= entry("odd-peaks")["map"] + 0.02


def test_the_truth_is_no_input():
    """Of the data an entry sees readings, the material and settings alone."""
    seen = {field.name for field in TASK.inputs}
    assert seen.isdisjoint({"prevalence", "specimen", "n_sites", "n_defects", *(name for name in DATA if name.startswith("defect_"))})
