"""Task ``ronchigram``: quarter waves and Strehl ratios by hand, calibration, the fit of segments on spectra of its own model, and the kept scores."""

import dataclasses
import json

import numpy as np
import pytest
import xarray as xr

from stemtwin.benchmarks import agents, kept_scores, runner, wavefront_bound
from stemtwin.benchmarks.answers.values import Values
from stemtwin.benchmarks.baselines import ronchigram as baselines
from stemtwin.benchmarks.baselines import ronchigram_fit
from stemtwin.benchmarks.families import ronchigram
from stemtwin.benchmarks.metrics import wavefront
from stemtwin.benchmarks.tasks import find_task
from stemtwin.datasets.cards import find_card
from stemtwin.datasets.generators.ronchigram import COEFFICIENTS, flat_aperture_mrad
from stemtwin.leaderboard.reviews import bound_reviews
from stemtwin.twin.physics.electrons import wavelength

SETTINGS = find_card("ronchigram", "1.0.0").generator
ENERGY, REFERENCE = 200e3, 30.0


def make(n=6, seed=0):
    """Return a dataset of n samples with aberrations of the card's prior and Ronchigrams without a picture."""
    rng = np.random.default_rng(seed)
    draws = baselines.prior_draws()[rng.permutation(baselines.DRAWS)[:n]]
    same = {"pixel_mrad": 0.656, "energy_ev": ENERGY, "semiangle_mrad": 40.0, "reference_mrad": REFERENCE, "electrons": 1e7, "spread": 1.0}
    same |= {"set_C10_angstrom": SETTINGS.C10_angstrom}
    return xr.Dataset(
        {name: ("sample", np.full(n, value)) for name, value in same.items()}
        | {name: ("sample", draws[:, k]) for k, name in enumerate(ronchigram.NAMES)}
        | {
            "sample_id": ("sample", np.array([f"ronchigram/test/{i:06d}" for i in range(n)])),
            "specimen": ("sample", np.array([f"film/{i}" for i in range(n)])),
            "material": ("sample", np.full(n, "film")),
            "image": (("sample", "ky", "kx"), rng.poisson(100.0, (n, 128, 128)).astype(np.uint16)),
            "aperture_mrad": ("sample", np.array([flat_aperture_mrad(one, 40.0, ENERGY) for one in draws])),
        }
    )


DATA = make()


def scored(answers, data=DATA):
    """Return the value of every metric of answers in the order of the samples."""
    task = find_task("ronchigram")
    found = dict(zip(data["sample_id"].values.tolist(), answers, strict=True))
    sums = task.score(data, task.form.checked(found, data, "test")).sums()
    return {metric.name: float(metric.formula(sums)) for metric in task.metrics}


def test_the_truth_is_perfect_with_and_without_intervals():
    """No phase is left, the probe is ideal, the aperture right; intervals, which another right answer may give, change none of that."""
    plain = ronchigram.true_values(DATA)
    zeros = dict.fromkeys(plain[0].value, 1.0)
    certain = [
        Values(value=one.value, sigma=zeros, low={k: v - 1 for k, v in one.value.items()}, high={k: v + 1 for k, v in one.value.items()})
        for one in plain
    ]
    here, there = scored(plain), scored(certain)
    for name in ("residual_phase", "quarter_waves", "aperture_error"):
        assert here[name] == there[name] == pytest.approx(0, abs=1e-9)
    for name in ("strehl", "skill"):
        assert here[name] == there[name] == pytest.approx(1)
    assert there["miscoverage_90"] == pytest.approx(0.1)


def test_without_intervals_calibration_is_not_given():
    """A report says so instead of a number."""
    task = find_task("ronchigram")
    found = runner.predict(task, agents.find_baseline("ronchigram", "oracle"), DATA)
    made = runner.score_predictions(task, DATA, found, split="test", size="tiny", entry="oracle", trust="oracle")
    values = {metric.name: metric.value for metric in made.report.metrics}
    assert values["residual_phase"] == pytest.approx(0, abs=1e-9)
    assert values["miscoverage_68"] is None
    assert values["miscoverage_90"] is None


def test_a_quarter_wave_of_defocus_by_hand():
    """The phase pi/2 (r/R)^2 has the standard deviation pi / (2 sqrt 12) and the Strehl ratio (sin(pi/4) / (pi/4))^2; one of seven errors is 1."""
    error = np.zeros(12)
    error[0] = wavefront.quarter_waves(REFERENCE, ENERGY)[0]
    assert error[0] == pytest.approx(wavelength(ENERGY) / 2 / 0.03**2)
    found = wavefront.score_aberrations(error, np.zeros(12), error / 2, semiangle_mrad=REFERENCE, energy_ev=ENERGY)
    assert found["residual_phase"] == pytest.approx(np.pi / 2 / np.sqrt(12), rel=0.01)
    assert found["strehl"] == pytest.approx((np.sin(np.pi / 4) / (np.pi / 4)) ** 2, rel=0.01)
    assert found["quarter_waves"] == pytest.approx(1 / 7)
    assert found["skill"] == pytest.approx(-1)


def test_an_aberration_turned_leaves_as_much_phase():
    """Errors of the same size in any direction score alike: the disc has no direction."""
    for a, b in ((1, 2), (3, 4), (5, 6), (8, 9), (10, 11)):
        sizes = []
        for angle in (0.0, 0.4, 1.1):
            error = np.zeros(12)
            error[[a, b]] = 500 * np.cos(angle), 500 * np.sin(angle)
            sizes.append(wavefront.residual_phase(error, REFERENCE, ENERGY))
        assert np.ptp(sizes) < 0.01 * sizes[0]


def test_the_flat_aperture_of_spherical_aberration_by_hand():
    """2 pi / lambda C30 alpha^4 / 4 = pi / 4; focus and astigmatism do not count, and there is none wider than the Ronchigram's."""
    coefficients = np.zeros(12)
    coefficients[7], coefficients[:3] = 2e5, 1e4
    assert flat_aperture_mrad(coefficients, 40.0, ENERGY) == pytest.approx(1e3 * (wavelength(ENERGY) / 2 / 2e5) ** 0.25, rel=0.03)
    assert flat_aperture_mrad(np.zeros(12), 40.0, ENERGY) == 40.0


def test_intervals_of_the_right_width_are_calibrated():
    """Errors drawn with the standard deviations that an answer states: the shares are those of a normal distribution; half as wide they are not."""
    data, rng = make(60, seed=1), np.random.default_rng(2)
    truth, sigma = ronchigram.coefficients_of(data), 50.0
    for factor, most in ((1.0, 0.06), (0.5, 1.0)):
        answers = []
        for row in truth + sigma * rng.standard_normal(truth.shape):
            value = dict(zip((*ronchigram.NAMES, "aperture_mrad"), [*row.tolist(), 20.0], strict=True))
            wide = factor * sigma
            ends = [{name: number + side * 1.645 * wide for name, number in value.items()} for side in (-1, 1)]
            answers.append(Values(value=value, sigma=dict.fromkeys(value, wide), low=ends[0], high=ends[1]))
        found = scored(answers, data)
        assert found["miscoverage_68"] < most
        assert found["miscoverage_90"] < most
        assert (found["miscoverage_90"] > 0.1) is (factor < 1)


def test_the_prior_is_calibrated_and_has_no_skill():
    """Its intervals hold as many of other draws of the prior as they say."""
    answer = runner.predict(find_task("ronchigram"), agents.find_baseline("ronchigram", "prior"), DATA)[DATA["sample_id"].values.tolist()[0]]
    rng, n = np.random.default_rng(7), 4000
    spread = np.exp(rng.uniform(*np.log(SETTINGS.spread), (n, 1)))
    draws = SETTINGS.means() + spread * SETTINGS.sigmas() * rng.standard_normal((n, len(COEFFICIENTS)))
    value, sigma, low, high = (np.array([part[name] for name in ronchigram.NAMES]) for part in (answer.value, answer.sigma, answer.low, answer.high))
    assert wavefront.count_inside(value - sigma, value + sigma, draws) / draws.size == pytest.approx(0.6827, abs=0.03)
    assert wavefront.count_inside(low, high, draws) / draws.size == pytest.approx(0.9, abs=0.02)
    assert scored([answer] * len(DATA["sample_id"]))["skill"] == pytest.approx(0, abs=1e-9)


def test_the_hessian_of_each_aberration_by_hand():
    """Defocus magnifies alike in all directions, astigmatism with opposite signs, spherical aberration three times as much along the radius."""
    found = ronchigram_fit.hessian_basis(np.array([[0.0, 0.0], [0.02, 0.0]]), ENERGY)
    assert found[0] == pytest.approx(np.array([[1, 0, 1]] * 2), abs=1e-4)
    assert found[1] == pytest.approx(np.array([[1, 0, -1]] * 2), abs=1e-4)
    assert found[2] == pytest.approx(np.array([[0, 1, 0]] * 2), abs=1e-4)
    assert found[7, 1] == pytest.approx([3 * 0.02**2, 0, 0.02**2], abs=1e-5)


def test_the_fit_finds_what_made_the_spectra():
    """Powers drawn from the model: the coefficients come out within their standard deviations, far nearer than the prior."""
    rng, given = np.random.default_rng(4), {name: DATA[name].values[0] for name in ronchigram.INPUTS}
    segments = ronchigram_fit.segments_of(given)
    mean, sigma = SETTINGS.means(), SETTINGS.sigmas()
    truth = mean + sigma * np.clip(rng.standard_normal(len(COEFFICIENTS)), -1.5, 1.5)
    expected = ronchigram_fit.model(segments, truth, ronchigram_fit.FILM, 10.0)
    object.__setattr__(segments, "power", expected * rng.exponential(size=expected.shape))
    found = ronchigram_fit.fit(segments, mean, sigma)
    off = (found.coefficients - truth) / np.sqrt(np.diag(found.covariance))
    assert np.abs(off).max() < 3.5
    left, blind = (wavefront.residual_phase(one - truth, REFERENCE, ENERGY) for one in (found.coefficients, mean))
    assert left < 0.3 * blind


def test_noise_alone_leaves_the_prior():
    """A Ronchigram without a picture: the fit stays within the prior and does not become certain."""
    given = {name: DATA[name].values[0] for name in ronchigram.INPUTS}
    mean, sigma = SETTINGS.means(), SETTINGS.sigmas()
    found = ronchigram_fit.fit(ronchigram_fit.segments_of(given), mean, sigma)
    assert (np.sqrt(np.diag(found.covariance)) > 0.5 * sigma).all()


def test_the_information_of_counts_by_hand():
    """Counts with the mean a b have the information b / a on a; counts and prior add, and the phase of defocus alone follows from its variance."""
    found = wavefront_bound.poisson_information(lambda p: np.array([p[0] * 3.0, p[1]]), np.array([2.0, 5.0]), np.array([1e-3, 1e-3]))
    assert found == pytest.approx(np.diag([3.0 / 2.0, 1 / 5.0]))
    known = np.diag([1e12] * len(COEFFICIENTS))
    known[0, 0] = 3.0
    least = wavefront_bound.least_phase([known, known], np.diag([1.0] + [0.0] * 11), REFERENCE, ENERGY)
    one = np.zeros(12)
    one[0] = 0.5  # 1 / sqrt(3 + 1)
    assert least == pytest.approx(wavefront.residual_phase(one, REFERENCE, ENERGY), rel=1e-3)


def test_only_the_truth_is_beyond_the_bound():
    """Answers with the true coefficients are sent to a review, those of the prior are not."""
    task = find_task("ronchigram")
    reviews = {}
    for name in ("oracle", "prior"):
        found = runner.predict(task, agents.find_baseline("ronchigram", name), DATA)
        report = runner.score_predictions(task, DATA, found, split="test", size="tiny", entry=name, trust="baseline").report
        reviews[name] = [one.kind for one in bound_reviews(dataclasses.replace(report, team="a"), task)]
    assert reviews == {"oracle": ["bound"], "prior": []}
    assert f"residual_phase {ronchigram.LEAST_PHASE_RAD:g}" in task.bound_text


def test_the_truth_is_no_input():
    """Of the data an entry sees the Ronchigram and what was set alone."""
    assert set(ronchigram.INPUTS).isdisjoint(
        {*ronchigram.NAMES, "aperture_mrad", "spread", "material", "specimen", "amorphous", "thickness_angstrom"}
    )


def test_the_fit_leads_the_kept_scores_on_amorphous_films():
    """By a fifth on each film; on all samples together each mean is outside of the other's interval. Not on the crystal, as the page says."""
    rows = kept_scores.read("ronchigram")["rows"]
    whole = {name: rows[name]["values"]["all"]["all"]["residual_phase"] for name in ("segments", "prior")}
    assert rows["segments"]["intervals"]["residual_phase"][1] < whole["prior"]
    assert rows["prior"]["intervals"]["residual_phase"][0] > whole["segments"]
    for film in ("carbon-amorphous", "si3n4-amorphous"):
        here, there = (rows[name]["values"]["material"][film] for name in ("segments", "prior"))
        assert here["residual_phase"] < 0.8 * there["residual_phase"]
        assert here["strehl"] > there["strehl"]


@pytest.mark.slow
def test_the_kept_scores_come_out_again():
    """The first specimens of the test split, made anew and measured by every baseline, score as kept."""
    from stemtwin.datasets import generate, storage
    from stemtwin.datasets.kinds import find_generator

    card, task = find_card("ronchigram", "1.0.0"), find_task("ronchigram")
    seeds = card.structure_seeds("std", "test")[: kept_scores.SAMPLED_CLUSTERS]
    made = find_generator(card.kind)
    rows = [row for seed in seeds for row in generate.specimen_rows(card, "std", made.specimen(card, "std", "test", seed))]
    data = storage.to_xarray(storage.to_numpy(storage.table_of(rows, card), card), card, "test")
    for name, kept in json.loads(kept_scores.path_of("ronchigram").read_text())["rows"].items():
        samples = task.score(data, runner.predict(task, agents.find_baseline("ronchigram", name), data))
        means = {key: np.mean([values[key] for values in kept["samples"].values()]) for key in ("residual_phase", "strehl")}
        for key, value in means.items():
            assert samples.statistics[key].mean() == pytest.approx(value, rel=0.02, abs=1e-6), (name, key)
