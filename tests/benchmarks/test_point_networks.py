"""Networks that find points: their grid keeps positions, targets and maps agree, what ships is small, and the kept scores come out again."""

import hashlib
import json

import numpy as np
import pytest

from stemtwin.benchmarks import agents, column_network, defect_network, kept_scores, point_network, runner
from stemtwin.benchmarks.sheet_lattices import contrasts
from stemtwin.benchmarks.tasks import find_task
from stemtwin.benchmarks.training import points
from tests.benchmarks import instrument_frames

NETWORKS = {"atoms-2d@2": (column_network.MODEL, column_network.ColumnNetwork), "defects": (defect_network.MODEL, defect_network.DefectNetwork)}
CLASSICAL = {"atoms-2d@2": "log", "defects": "residual"}
RNG = np.random.default_rng(0)


def bump(shape, x, y, sigma):
    """Return a Gaussian at a position, px."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 2 / sigma**2)


def centre(image):
    """Return the centre of mass x and y of an image."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([np.sum(image * columns), np.sum(image * rows)]) / image.sum()


@pytest.mark.parametrize("step", [0.06, 0.11, 0.15, 0.195])
def test_the_grid_keeps_positions_and_means(step):
    """A column is where its position says, to a hundredth of a pixel, for finer and coarser images; a constant image stays itself."""
    image = bump((120, 150), 70.3, 52.8, 0.6 / step)
    again = point_network.resampled(image, step)
    wanted = point_network.to_pixels(np.array([70.3, 52.8]) * step, step)
    assert centre(again) == pytest.approx(wanted, abs=0.01)
    assert point_network.to_angstrom(wanted, step) == pytest.approx(np.array([70.3, 52.8]) * step)
    assert point_network.resampled(np.full((40, 50), 7.0), step) == pytest.approx(7.0)


def test_points_come_back_from_their_targets():
    """Maps that are the targets of points in eight orientations give these points and classes; an unscored point hides the image from the loss."""
    places, classes = np.array([[20.3, 11.6], [24.9, 15.2], [40.0, 30.45]]), np.array([0, 1, 0])
    for turns in range(4):
        for mirrored in (False, True):
            _, moved = points.turned(np.zeros((1, 48, 64)), places, turns, mirrored)
            shape = (1, 64, 48) if turns % 2 else (1, 48, 64)
            wanted = points.targets(points.Example(maps=np.zeros(shape), places=moved, classes=classes), 2, 64)
            found, kinds, probability = point_network.peaks(wanted[:2], wanted[2:4], 0.45)
            order = np.array([np.argmin(np.linalg.norm(found - place, axis=1)) for place in moved])
            assert len(found) == 3
            assert found[order] == pytest.approx(moved, abs=1e-4)
            assert kinds[order].tolist() == classes.tolist()
            assert probability.min() > 0.85
    hidden = points.targets(points.Example(maps=np.zeros((1, 48, 64)), places=places[:1], classes=np.array([-1])), 2, 64)
    assert hidden[-1, 12, 20] == 0
    assert hidden[-1, 12, 30] == 1
    assert not hidden[:4].any()


def test_a_turned_image_has_its_points_where_they_say():
    """A bright column and its position turn together."""
    image = bump((48, 64), 20.3, 11.6, 2.0)[None]
    for turns in range(4):
        for mirrored in (False, True):
            again, places = points.turned(image, np.array([[20.3, 11.6]]), turns, mirrored)
            assert centre(again[0]) == pytest.approx(places[0], abs=0.01)


@pytest.mark.parametrize("task", NETWORKS)
def test_what_ships_is_small_and_what_is_told_of_it(task):
    """The file is smaller than 2 MB, has the stated checksum, and was trained on the data of its task."""
    path, _ = NETWORKS[task]
    told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert path.stat().st_size < 2e6
    assert hashlib.sha256(path.read_bytes()).hexdigest() == told["sha256"]
    assert told["dataset"] == f"{find_task(task).source}@{find_task(task).source_version}"
    assert max(one["val"] for one in told["curve"]) > 0.5


def test_columns_are_in_frames_of_any_shape():
    """The network finds the columns of clear frames, and stays within frames without electrons and of odd shapes."""
    data = instrument_frames.make(n=5, dose=4000.0)
    task = find_task("atoms-2d@2")
    found = runner.predict(task, agents.find_baseline("atoms-2d@2", "unet"), data)
    sums = task.score(data, task.form.checked(found, data, "test")).sums()
    assert float(task.primary.formula(sums)) > 0.8
    network = column_network.ColumnNetwork()
    given = {name: data[name].values[0] for name in ("gain_adu", "offset_adu", "sampling_angstrom", "energy_ev", "semiangle_mrad")}
    for image in (np.full((50, 71), 100, np.uint16), RNG.poisson(3.0, (50, 71)).astype(np.uint16)):
        one = network.predict({**given, "image": image}, RNG)
        assert ((one.confidence >= 0) & (one.confidence <= 1)).all()
        assert (one.positions <= (np.array([71, 50]) - 0.5) * given["sampling_angstrom"]).all()


def test_defects_have_classes_of_their_material():
    """In noise of any material no other class is named."""
    network = defect_network.DefectNetwork()
    for material in ("graphene", "wse2-1h"):
        given = {"image": RNG.poisson(9.0, (130, 140)), "material": material, "gain_adu": 1.0, "offset_adu": 0.0, "sampling_angstrom": 0.1}
        one = network.predict(given, RNG)
        names = {defect_network.CLASSES[number - 1] for number in one.classes}
        assert names <= contrasts(material).keys()


def test_baselines_that_run_together_are_compared():
    """The better one is first, the difference is that of the scores, an oracle is left out, and a later run keeps pairs that it does not touch."""
    data, task = instrument_frames.make(n=10, dose=40.0).assign(structure_seed=("sample", np.arange(10))), find_task("atoms-2d@2")
    rows, measured = kept_scores.measure(task, data, ["maxima", "random", "oracle"], {})
    (one,) = kept_scores.differences(task, measured, [])
    values = {name: row["values"]["all"]["all"]["ap"] for name, row in rows.items()}
    assert (one["first"], one["second"]) == ("maxima", "random")
    assert one["value"] == pytest.approx(values["maxima"] - values["random"], abs=2e-6)
    assert one["ends"][0] <= one["value"] <= one["ends"][1]
    others = {**one, "first": "log", "second": "unet"}
    assert kept_scores.differences(task, {"maxima": measured["maxima"]}, [one, others]) == [others]
    assert kept_scores.differences(task, measured, [{**one, "value": 0.0}, others]) == [others, one]


@pytest.mark.parametrize("task", NETWORKS)
def test_the_network_leads_the_kept_scores(task):
    """On the test split its primary metric is above that of the classical baseline, and the interval of their difference is above 0."""
    kept = kept_scores.read(task)
    (one,) = [one for one in kept["differences"] if {one["first"], one["second"]} == {"unet", CLASSICAL[task]}]
    assert one["first"] == "unet"
    assert one["ends"][0] > 0


@pytest.mark.slow
@pytest.mark.parametrize("task", NETWORKS)
def test_the_kept_scores_come_out_again(task):
    """The first specimen of the test split, made anew and searched by every baseline, scores as kept."""
    from stemtwin.datasets import generate, storage
    from stemtwin.datasets.cards import find_card
    from stemtwin.datasets.kinds import find_generator

    found, kept = find_task(task), kept_scores.read(task)
    card = find_card(found.source, found.source_version)
    specimen = find_generator(card.kind).specimen(card, kept["size"], "test", card.structure_seeds(kept["size"], "test")[0])
    rows = list(generate.specimen_rows(card, kept["size"], specimen))
    data = storage.to_xarray(storage.to_numpy(storage.table_of(rows, card), card), card, "test")
    for name, row in kept["rows"].items():
        again = kept_scores.each(found.score(data, runner.predict(found, agents.find_baseline(task, name), data)))
        assert again.keys() <= row["samples"].keys()
        for key in ("tp", "fp", "asked", "sure_tp", "sure_fp"):
            new, old = (np.array([part[sample].get(key, 0) for sample in again]) for part in (again, row["samples"]))
            assert new == pytest.approx(old, rel=0.02, abs=1), (name, key)
