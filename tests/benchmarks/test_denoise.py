"""Task ``denoise``: what each metric says of perfect, flattering and worse answers, the order of the baselines, and the kept scores."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.benchmarks import agents, denoiser, kept_scores, runner
from stemtwin.benchmarks.answers.images import ImageEstimate
from stemtwin.benchmarks.baselines import denoise as baselines
from stemtwin.benchmarks.families import denoise
from stemtwin.benchmarks.metrics import restoration, vacancies
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.errors import SettingsError
from tests.benchmarks import noisy_frames

DATA, PERFECT = noisy_frames.make()
TRUTH = DATA["expected"].values
STEP = noisy_frames.STEP
KEPT = kept_scores.path_of("denoise")


def scored(images, data=DATA):
    """Return the value of every metric of images (n, 2, y, x)."""
    task = find_task("denoise")
    answers = {name: ImageEstimate(image=image) for name, image in zip(data["sample_id"].values.tolist(), images, strict=True)}
    sums = task.score(data, task.form.checked(answers, data, "test")).sums()
    return {metric.name: float(metric.formula(sums)) for metric in task.metrics}


def entry(name, data=DATA):
    """Return the value of every metric of a baseline."""
    found = runner.predict(find_task("denoise"), agents.find_baseline("denoise", name), data)
    return scored([found[sample].image for sample in data["sample_id"].values.tolist()], data)


def test_the_truth_is_perfect():
    """It has the largest PSNR, structure 1, resolution at the Nyquist frequency, and invents nothing."""
    found = scored(TRUTH)
    assert found["psnr"] == found["psnr_haadf"] == found["psnr_abf"] == restoration.MOST_DB
    assert found["ssim"] == pytest.approx(1, abs=1e-9)
    assert found["resolution"] == pytest.approx(2 * STEP)
    assert found["deviance"] == pytest.approx(0, abs=1e-9)
    assert found["hallucination"] == found["filled"] == found["emptied"] == 0
    assert found == entry("oracle")


def test_the_perfect_lattice_fills_every_vacancy():
    """It looks better than any denoised image, and its PSNR says so, but no vacancy is left in it and no column is emptied."""
    found = scored(PERFECT)
    assert found["psnr"] > entry("gaussian")["psnr"]
    assert found["filled"] == 1
    assert found["emptied"] == 0
    assert found["hallucination"] == 0.5


def test_a_constant_image_shows_nothing():
    """All its sites are wrong, it has no resolution, and hardly any structure."""
    found = entry("constant")
    assert found["hallucination"] == found["filled"] == found["emptied"] == 1
    assert found["resolution"] == 4.0
    assert found["ssim"] < 0.6
    assert found["psnr"] < entry("gaussian")["psnr"] - 4


def test_the_counts_themselves_score_low():
    """They hallucinate little, as nothing is added to them, but stand at the bottom of the others."""
    counts, gaussian = entry("counts"), entry("gaussian")
    assert counts["psnr"] < gaussian["psnr"] - 8
    assert counts["ssim"] < gaussian["ssim"] / 2
    assert counts["deviance"] > 1
    assert counts["deviance"] > 10 * gaussian["deviance"]


def test_one_emptied_column_counts_once():
    """An image without an atom that is there has one emptied column, whatever its gain and offset."""
    sites, truth = denoise.sites_of(DATA)[0], TRUTH[0, 0].astype(float)
    inner = sites.within(truth.shape, STEP)
    victim = np.flatnonzero(inner.missing == 0)[0]
    y, x = np.mgrid[: noisy_frames.N, : noisy_frames.N] * STEP
    hole = np.exp(-((x - inner.positions[victim, 0]) ** 2 + (y - inner.positions[victim, 1]) ** 2) / (2 * noisy_frames.WIDTH**2))
    emptied = truth - 0.6 * 0.01 * hole * 3000 * STEP**2
    for gain, offset in ((1.0, 0.0), (0.4, 2.0), (3.0, -1.0)):
        found = vacancies.count_invented(gain * emptied + offset, truth, sites, STEP)
        assert (found["filled"], found["emptied"]) == (0, 1)
        assert found["vacancies"] == (inner.missing > 0).sum()
        assert found["intact"] == (inner.missing == 0).sum()


def test_an_inverted_image_shows_nothing():
    """Where columns are dark that are bright, every site is wrong."""
    found = vacancies.count_invented(-TRUTH[0, 0].astype(float), TRUTH[0, 0].astype(float), denoise.sites_of(DATA)[0], STEP)
    assert found["filled"] == found["vacancies"] > 0
    assert found["emptied"] == found["intact"] > 0


@settings(max_examples=6, deadline=None)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 100))
def test_nothing_but_the_deviance_depends_on_the_unit_of_counts(scale, seed):
    """Truth, estimate and L times a number: the same values; the deviance times the number."""
    truth = TRUTH[seed % len(TRUTH)].astype(float)
    estimate = np.maximum(truth + np.random.default_rng(seed).normal(0, 0.1 * truth.max(), truth.shape), 0)
    ranges = tuple(r * 3000 * STEP**2 for r in noisy_frames.RANGES)
    sites = denoise.sites_of(DATA)[seed % len(TRUTH)]
    here = denoise.score_sample(estimate, truth, sites, ranges, STEP)
    there = denoise.score_sample(estimate * scale, truth * scale, sites, tuple(r * scale for r in ranges), STEP)
    assert there.pop("deviance") == pytest.approx(scale * here.pop("deviance"), rel=1e-6)
    assert there == pytest.approx(here, rel=1e-6, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(step=st.floats(0.05, 0.3))
def test_the_resolution_is_a_length(step):
    """Pixels of another size: rings are counted in 1/A, so that the curve of a white truth and noise stays, and its end is two pixels."""
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(64, 64))
    frequency, correlation = restoration.ring_correlation(truth + 0.5 * rng.normal(size=truth.shape), truth, step)
    assert frequency[-1] < 0.5 / step
    assert len(frequency) == max(int((0.5 / step - 0.25) / 0.25 + 1e-9), 0)
    assert (correlation > restoration.THRESHOLD).all()
    assert restoration.resolution(truth, truth, step) == 2 * step


def test_ring_correlation_by_the_slow_way():
    """The same by the definition, over the whole transform and one ring at a time."""
    rng = np.random.default_rng(1)
    f, g = rng.normal(size=(2, 32, 48))
    window = np.outer(np.hanning(34)[1:-1], np.hanning(50)[1:-1])
    a, b = (np.fft.fft2((image - image.mean()) * window) for image in (f, g))
    q = np.hypot(np.fft.fftfreq(32, 0.2)[:, None], np.fft.fftfreq(48, 0.2))
    frequency, found = restoration.ring_correlation(f, g, 0.2)
    for middle, value in zip(frequency, found, strict=True):
        ring = (q >= middle - 0.125) & (q < middle + 0.125)
        slow = (a[ring] * b[ring].conj()).sum().real / np.sqrt((np.abs(a[ring]) ** 2).sum() * (np.abs(b[ring]) ** 2).sum())
        assert value == pytest.approx(slow, rel=1e-9)


def test_the_deviance_is_what_fresh_counts_say():
    """The mean deviance of many independent counts from an estimate, less that from the truth, is the deviance of the truth from the estimate."""
    rng = np.random.default_rng(2)
    truth = rng.uniform(0.5, 4, (12, 12))
    estimate = truth * rng.uniform(0.7, 1.4, truth.shape)
    counts = rng.poisson(truth, (8000, *truth.shape))

    def fresh(mean):
        terms = np.where(counts > 0, counts * np.log(np.maximum(counts, 1) / mean), 0.0) - counts + mean
        return 2 * terms.mean()

    assert restoration.deviance(estimate, truth) == pytest.approx(fresh(estimate) - fresh(truth), rel=0.03)


def test_noise_makes_every_metric_worse():
    """More electrons in a Gaussian estimate: larger PSNR and structure, smaller resolution, deviance in parts of the dose, and hallucination."""
    found = [entry("gaussian", noisy_frames.make(dose=dose, seed=4, n=8)[0]) for dose in (30.0, 300.0, 3000.0)]
    for name, sign in (("psnr", 1), ("psnr_haadf", 1), ("psnr_abf", 1), ("ssim", 1), ("resolution", -1), ("hallucination", -1)):
        worst, middle, best = (sign * one[name] for one in found)
        assert worst < middle < best, name


def test_the_order_of_the_classical_baselines():
    """On lattices with few vacancies every filter beats the constant, the constant the counts, and the lattice alone fills more vacancies."""
    found = {name: entry(name) for name in ("counts", "constant", "gaussian", "fourier", "nlm")}
    for name in ("gaussian", "fourier", "nlm"):
        assert found[name]["psnr"] > found["constant"]["psnr"] > found["counts"]["psnr"], name
        assert found[name]["hallucination"] < found["constant"]["hallucination"], name
    assert found["fourier"]["filled"] > 2 * max(found["gaussian"]["filled"], 0.05)


def test_the_smoothing_has_the_least_error_that_it_can_have():
    """The width that counts alone choose is nearly as good as the one that the truth would choose."""
    counts = denoiser.counts_of({name: DATA[name].values[0] for name in ("image", "frames")})
    for channel, truth in zip(counts, TRUTH[0], strict=True):
        errors = [np.mean((baselines.gaussian_filter(channel, sigma, mode="reflect") - truth) ** 2) for sigma in baselines.SIGMAS_PX]
        assert np.mean((baselines.least_risk(channel) - truth) ** 2) < 1.15 * min(errors)


def test_the_inverse_of_the_anscombe_transform_is_unbiased():
    """The mean of transformed counts comes back as their mean, also where there are few."""
    counts = np.random.default_rng(0).poisson(np.array([[0.5], [1.0], [3.0], [10.0], [100.0]]), (5, 200_000))
    means = baselines.unbiased_inverse(baselines.anscombe(counts).mean(axis=1))
    assert means == pytest.approx([0.5, 1.0, 3.0, 10.0, 100.0], rel=0.05)


def test_bins_keep_the_place_of_things():
    """Without a filter, a bright image comes back nearly as it was: its sums over bins are interpolated where they lie, also beside odd edges."""
    y, x = np.mgrid[:63, :70]
    truth = 2000 * (2 + np.sin(x / 6) * np.cos(y / 7))
    assert np.abs(baselines.binned(truth, lambda image: image) - truth)[:60, :66].max() < 0.02 * truth.max()


def test_bm3d_says_what_its_licence_allows(monkeypatch):
    """Where it is not installed, one sentence says why it does not come along."""
    monkeypatch.setitem(__import__("sys").modules, "bm3d", None)
    with pytest.raises(SettingsError, match=r"non-commercial use only; .* pip install bm3d"):
        agents.make_entry(agents.find_baseline("denoise", "bm3d"), "predictions")


def test_the_truth_is_no_input():
    """Of the data an entry sees counts, settings and L alone."""
    assert set(denoise.INPUTS).isdisjoint({"expected", "material", "scan", "specimen", *(name for name in DATA if name.startswith(("site_", "n_")))})


def test_the_network_is_small_and_takes_any_shape():
    """It is below 2 MB, and its estimate is finite, never negative, of the input's shape, also of sizes that are no multiple of 16."""
    assert denoiser.MODEL.stat().st_size < 2e6
    network, rng = denoiser.OnnxDenoiser(), np.random.default_rng(0)
    for shape in ((64, 64), (50, 71)):
        for rate in (0.0, 0.01, 30.0):
            given_ = {"image": rng.poisson(rate, (8, 2, *shape)).astype(np.uint16), "frames": 8, "sampling_angstrom": 0.15}
            image = network.predict(given_, rng).image
            assert image.shape == (2, *shape)
            assert np.isfinite(image).all()
            assert image.min() >= 0


def test_the_network_leads_the_kept_scores():
    """On the test split it beats every classical baseline in PSNR and structure, and fills fewer vacancies than the lattice alone."""
    rows = {name: row["values"]["all"]["all"] for name, row in kept_scores.read("denoise")["rows"].items()}
    for name in ("counts", "constant", "gaussian", "fourier", "nlm"):
        assert rows["unet"]["psnr"] > rows[name]["psnr"], name
        assert rows["unet"]["ssim"] > rows[name]["ssim"], name
    assert rows["unet"]["hallucination"] < rows["fourier"]["hallucination"]
    assert rows["oracle"]["hallucination"] == 0


def test_the_kept_scores_agree_with_each_other():
    """Slices of a column have all samples together, and means over them are those of the whole."""
    for name, row in kept_scores.read("denoise")["rows"].items():
        whole = row["values"]["all"]["all"]
        for column, parts in row["values"].items():
            assert sum(part["n"] for part in parts.values()) == whole["n"], (name, column)
            mean = sum(part["n"] * part["psnr"] for part in parts.values()) / whole["n"]
            assert mean == pytest.approx(whole["psnr"], abs=1e-4), (name, column)


def test_the_page_shows_the_kept_scores():
    """The tables of the page are those that the command prints."""
    page = (kept_scores.FOLDER.parents[1] / "docs" / "denoise.md").read_text(encoding="utf-8")
    for part in kept_scores.tables(find_task("denoise")).split("\n\n"):
        assert part in page


@pytest.mark.slow
def test_the_kept_scores_come_out_again():
    """The first specimens of the test split, made anew and denoised by every baseline that runs here, score as kept."""
    from stemtwin.datasets import generate, storage
    from stemtwin.datasets.cards import find_card
    from stemtwin.datasets.kinds import find_generator

    card, task = find_card("denoise", "1.0.0"), find_task("denoise")
    seeds = card.structure_seeds("std", "test")[: kept_scores.SAMPLED_CLUSTERS]
    made = find_generator(card.kind)
    rows = [row for seed in seeds for row in generate.specimen_rows(card, "std", made.specimen(card, "std", "test", seed))]
    data = storage.to_xarray(storage.to_numpy(storage.table_of(rows, card), card), card, "test")
    for name, kept in json.loads(KEPT.read_text())["rows"].items():
        if name == "bm3d":
            continue
        samples = task.score(data, runner.predict(task, agents.find_baseline("denoise", name), data))
        again = kept_scores.each(samples)
        assert set(again) == set(kept["samples"])
        for sample, values in kept["samples"].items():
            for key, value in values.items():
                slack = 1 if key in ("filled", "emptied") else 1e-3 * max(1.0, abs(value))
                assert again[sample][key] == pytest.approx(value, abs=slack), (name, sample, key)
