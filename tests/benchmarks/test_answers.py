"""Answers of every kind: what is written is read, the digest is of what is scored, and what is wrong is one sentence."""

import dataclasses
import json
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.benchmarks.answers import arrays
from stemtwin.benchmarks.answers.displacements import DisplacementAnswers, DisplacementField
from stemtwin.benchmarks.answers.form import Field, load_answers
from stemtwin.benchmarks.answers.images import ImageAnswers, ImageEstimate
from stemtwin.benchmarks.answers.label_maps import LabelMap, LabelMapAnswers
from stemtwin.benchmarks.answers.lattice_maps import LatticeMap, LatticeMapAnswers
from stemtwin.benchmarks.answers.points import PointAnswers, Points
from stemtwin.benchmarks.answers.probabilities import Probabilities, ProbabilityAnswers
from stemtwin.benchmarks.answers.unmixing import Unmixing, UnmixingAnswers
from stemtwin.benchmarks.answers.values import ValueAnswers, Values
from stemtwin.twin.errors import SubmissionError

IDS = ["a/0", "b/1", "c/2"]
DATA = xr.Dataset({"sample_id": ("sample", IDS), "cube": (("sample", "y", "x", "energy"), np.zeros((3, 4, 5, 6)))})
BOUNDS = np.tile([[0.0, 0.0], [10.0, 20.0]], (3, 1, 1))


def unit(rng, *shape):
    """Return unit quaternions."""
    values = rng.normal(size=(*shape, 4))
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def shares(rng, *shape):
    """Return numbers that sum to 1 along the first axis."""
    values = rng.uniform(0.1, 1, shape)
    return values / values.sum(axis=0)


def unmixed(rng):
    """Return up to three spectra and their abundances."""
    count = int(rng.integers(1, 4))
    return Unmixing(spectra=rng.uniform(size=(count, 6)), abundances=shares(rng, count, 4, 5))


def numbers(rng, names=("C10", "C12")):
    """Return numbers with standard deviations and intervals."""
    value = {name: float(rng.normal()) for name in names}
    return Values(
        value=value,
        sigma=dict.fromkeys(names, 1.0),
        low={name: one - 2 for name, one in value.items()},
        high={name: one + 2 for name, one in value.items()},
    )


def some_points(rng):
    """Return a few points, sometimes none."""
    n = int(rng.integers(0, 4))
    return Points.at(rng.uniform(0, 10, (n, 2)), classes=rng.integers(0, 5, n), confidence=rng.uniform(size=n))


X, Y = (Field(name=name, dtype="float", unit="A") for name in "xy")
FORMS = {
    "points": (
        PointAnswers(
            positions=(X, Y),
            classes=Field(name="z", dtype="integer", low=0, high=9, optional=True),
            confidence=Field(name="score", dtype="float", optional=True, scored=False),
            bounds=lambda _: BOUNDS,
        ),
        some_points,
    ),
    "values": (
        ValueAnswers(
            quantities=(Field(name="C10", dtype="float", unit="A"), Field(name="C12", dtype="float")), sigma="optional", interval="optional"
        ),
        numbers,
    ),
    "images": (
        ImageAnswers(unit="e-", sigma=True),
        lambda rng: ImageEstimate(image=rng.normal(size=(4, 5)), sigma=rng.uniform(size=(4, 5))),
    ),
    "label-maps": (
        LabelMapAnswers(classes=("film", "cap", "void"), probabilities=True),
        lambda rng: LabelMap(labels=rng.integers(0, 3, (4, 5)), probabilities=shares(rng, 3, 4, 5)),
    ),
    "displacements": (
        DisplacementAnswers(dims=("y",), largest=9.0, sigma=True),
        lambda rng: DisplacementField(displacement=rng.uniform(-9, 9, (4, 2)), sigma=rng.uniform(size=(4, 2))),
    ),
    "unmixing": (
        UnmixingAnswers(most=3),
        unmixed,
    ),
    "lattice-maps": (
        LatticeMapAnswers(lattice="optional", phase="optional", phases=("fcc", "hcp")),
        lambda rng: LatticeMap(orientation=unit(rng, 4, 5), lattice=rng.normal(size=(4, 5, 2, 2)), phase=rng.integers(0, 2, (4, 5))),
    ),
    "probabilities": (ProbabilityAnswers(classes=("one", "two", "three")), lambda rng: Probabilities(probabilities=shares(rng, 3))),
}
every_kind = pytest.mark.parametrize("kind", FORMS)


def answers_of(kind, seed=0):
    """Return a form and checked answers of its kind."""
    form, make = FORMS[kind]
    rng = np.random.default_rng(seed)
    return form, form.checked({name: make(rng) for name in IDS}, DATA, "mine")


def parts(answer):
    """Return the parts of an answer, plainly."""
    return {one.name: getattr(answer, one.name) for one in dataclasses.fields(answer)}


def same(a, b):
    """Return whether two answers are the same to the last bit."""
    return all(
        (one is None and other is None) or np.array_equal(one, other) if not isinstance(one, dict) else one == other
        for one, other in zip(parts(a).values(), parts(b).values(), strict=True)
    )


def test_every_kind_is_tested():
    """The forms of this file are those of the registry, each under its own name."""
    assert set(FORMS) == set(load_answers())
    for kind, (form, _) in FORMS.items():
        assert form.kind == kind
        assert isinstance(form, load_answers()[kind])
        assert json.dumps([dataclasses.asdict(field) for field in form.fields])


@every_kind
@settings(max_examples=5)
@given(seed=st.integers(0, 99))
def test_what_is_written_is_read(kind, seed, tmp_path_factory):
    """Answers that went through files are the same to the last bit, and have the same digest, whatever the order they were written in."""
    form, answers = answers_of(kind, seed)
    folder = tmp_path_factory.mktemp("entry")
    form.write(folder, {name: answers[name] for name in reversed(IDS)})
    read = form.read(folder, DATA, ())
    assert list(read) == IDS
    assert form.digest(read) == form.digest(answers)
    assert form.missing(read) == form.missing(answers)
    assert all(same(read[name], answers[name]) for name in IDS if kind != "points" or len(answers[name]))


@every_kind
def test_the_digest_sees_every_scored_number(kind):
    """A change of one number of a scored part is another answer, and so is an answer for another sample; equal answers are equal."""
    form, answers = answers_of(kind, 3)
    digest = form.digest(answers)
    assert form.digest(dict(reversed(answers.items()))) == digest
    name = next(name for name in IDS if kind != "points" or len(answers[name]))
    for part, value in parts(answers[name]).items():
        changed = dict(value, C10=value["C10"] + 0.01) if isinstance(value, dict) else np.array(value)
        if isinstance(changed, np.ndarray):
            changed.flat[0] += np.array(1).astype(changed.dtype)
        other = answers | {name: dataclasses.replace(answers[name], **{part: changed})}
        assert (form.digest(other) != digest) == (part != "confidence"), part
    swapped = answers | {IDS[0]: answers[IDS[1]], IDS[1]: answers[IDS[0]]}
    assert form.digest(swapped) != digest


@every_kind
def test_optional_parts_are_left_out_for_all_or_none(kind):
    """A part that all leave out is missing; one that some leave out is refused; one that must be there is asked for."""
    form, answers = answers_of(kind, 3)
    gone = {"values": {"sigma": ["sigma"], "interval": ["low", "high"]}}.get(kind, {})
    optional = gone or {
        name: [name] for name in parts(answers[IDS[0]]) if name not in ("image", "labels", "displacement", "positions", "orientation")
    }
    if kind in ("unmixing", "probabilities"):
        return
    for part, attributes in optional.items():
        bare = {name: dataclasses.replace(answer, **dict.fromkeys(attributes)) for name, answer in answers.items()}
        assert form.missing(form.checked(bare, DATA, "mine")) == {part}
        full = next(name for name in IDS if kind != "points" or len(answers[name]))
        with pytest.raises(SubmissionError, match=f"mine: '{part}' is left out for"):
            form.checked(bare | {full: answers[full]}, DATA, "mine")


def test_another_class_of_answers_is_named():
    """An entry that returns something else is told what is needed."""
    form, _ = FORMS["points"]
    with pytest.raises(SubmissionError, match="mine: sample 'a/0' has an answer of type list, not Points"):
        form.checked({"a/0": [(1, 2)]}, DATA, "mine")


ones = np.ones((4, 5))
WRONG = {
    "shape": ("images", ImageEstimate(image=ones.T), r"'image' has the shape \(5, 4\); \(y: 4, x: 5\) is needed"),
    "not finite": ("images", ImageEstimate(image=ones * np.nan), r"'image' at \[0, 0\] is nan, which is not finite"),
    "too large": ("images", ImageEstimate(image=ones * 1e39), r"'image' at \[0, 0\] is 1e\+39, which is not between -3\.4"),
    "negative sigma": ("images", ImageEstimate(image=ones, sigma=-ones), r"'sigma' at \[0, 0\] is -1, which is not between 0 and"),
    "complex": ("images", ImageEstimate(image=ones * 1j), "'image' has type complex128; float is needed"),
    "label": ("label-maps", LabelMap(labels=np.full((4, 5), 3)), r"'labels' at \[0, 0\] is 3, which is not between 0 and 2"),
    "float label": ("label-maps", LabelMap(labels=ones), "'labels' has type float64; integer is needed"),
    "sum": ("label-maps", LabelMap(labels=np.zeros((4, 5), int), probabilities=np.full((3, 4, 5), 0.3)), "a pixel differs from 1 by 0.1"),
    "components": ("unmixing", Unmixing(spectra=np.ones((4, 6)), abundances=np.ones((4, 4, 5))), r"\(component: 1 to 3, energy: 6\) is needed"),
    "two numbers": (
        "unmixing",
        Unmixing(spectra=np.ones((2, 6)), abundances=np.ones((3, 4, 5))),
        r"'abundances' has the shape \(3, 4, 5\); \(component: 2",
    ),
    "quaternion": ("lattice-maps", LatticeMap(orientation=np.ones((4, 5, 4))), "a quaternion of 'orientation' differs from 1 by 1"),
    "no orientation": ("lattice-maps", LatticeMap(phase=np.zeros((4, 5), int)), "'orientation' is left out"),
    "far": (
        "displacements",
        DisplacementField(displacement=np.full((4, 2), 9.1)),
        r"'displacement' at \[0, 0\] is 9\.1, which is not between -9 and 9",
    ),
    "frame": ("points", Points.at([[1, 2], [11, 1]]), r"point 1, column 'x': 11\.0 lies outside the frame, 0\.0000 to 10\.0000 A \(sample 'b/1'\)"),
    "twice": ("points", Points.at([[1, 2], [1, 2]]), "point 1, column 'x': 1.0 repeats the position"),
    "shapes": ("points", Points.at([[1, 2]], classes=[1, 2]), r"the shape of classes is \(2,\); \(1,\) is needed"),
    "float class": ("points", Points.at([[1, 2]], classes=[1.5]), "classes have type float64; integers are needed"),
    "three axes": ("points", Points.at([[1, 2, 3]], dimensions=3), r"the shape of positions is \(1, 3\); \(1, 2\) is needed"),
    "no quantity": ("values", Values(value={"C10": 1.0}), "sample 'b/1' has no value of 'C12'"),
    "infinite": ("values", Values(value={"C10": 1.0, "C12": np.inf}), r"column 'C12': inf is not finite \(sample 'b/1'\)"),
    "ends": (
        "values",
        Values(value={"C10": 1.0, "C12": 1.0}, low={"C10": 2.0, "C12": 0.0}, high={"C10": 1.0, "C12": 2.0}),
        "column 'C10_low': 2.0 is above C10_high",
    ),
    "one": ("probabilities", Probabilities(probabilities=np.array([0.5, 0.5, 0.5])), "do not sum to 1 within 0.0001"),
    "below 0": ("probabilities", Probabilities(probabilities=np.array([-0.5, 0.5, 1.0])), "column 'p_one': -0.5 is not between 0 and 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_answers_are_one_sentence(case):
    """Shapes, types, ranges and sums that are wrong are refused with the entry, the sample, the place, the value and the limit."""
    kind, wrong, message = WRONG[case]
    form, _ = FORMS[kind]
    with pytest.raises(SubmissionError, match=message) as caught:
        form.checked({"b/1": wrong}, DATA, "mine")
    assert str(caught.value).startswith("mine")
    assert "\n" not in str(caught.value)


@pytest.fixture
def folder(tmp_path):
    """Return the files of answers that are images."""
    form, answers = answers_of("images")
    form.write(tmp_path, answers)
    return tmp_path


def refused(folder, message, kind="images"):
    """Read files that must be refused."""
    with pytest.raises(SubmissionError, match=message) as caught:
        FORMS[kind][0].read(folder, DATA, ())
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


def index(folder, **columns):
    """Rewrite columns of the index."""
    path = folder / "predictions.parquet"
    table = pq.read_table(path).to_pydict() | columns
    pq.write_table(pa.table(table), path)


def test_pickles_are_not_read(folder):
    """An array of objects is refused by its header: nothing is unpickled."""
    np.savez(folder / "answers-0000.npz", image=np.array([{"a": 1}] * 3, dtype=object))
    refused(folder, "'image' has the shape|'image' has type object; float is needed")


def test_arrays_are_refused_by_their_headers(folder, monkeypatch):
    """Shapes, types, missing and unknown arrays are told before any content is read."""
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("the array was read"))
    path = folder / "answers-0000.npz"
    for content, message in (
        ({"image": np.ones((3, 40, 50))}, r"array 'image': 'image' has the shape \(40, 50\)"),
        ({"image": np.ones((3, 4, 5), complex)}, "has type complex128; float is needed"),
        ({"image": np.ones((2, 4, 5))}, "array 'image' has 2 rows, but predictions.parquet refers to row 2"),
        ({"image": np.ones((4, 4, 5))}, "array 'image' has 4 rows, but predictions.parquet refers to 3 rows"),
        ({"image": np.ones(3)}, r"has the shape \(\)"),
        ({"sigma": np.ones((3, 4, 5))}, "array 'image' is missing"),
        ({"image": np.ones((3, 4, 5)), "more": np.ones(3)}, "array 'more' is not one of image, sigma"),
    ):
        np.savez(path, **content)
        refused(folder, message)


def test_files_of_arrays_that_are_none_are_named(folder):
    """A missing file, one that is cut off or no archive, a link, and a name that leads elsewhere are refused."""
    path = folder / "answers-0000.npz"
    content = path.read_bytes()
    for wrong in (b"", b"PK\x03\x04", content[:200], content[:300] + bytes(100) + content[400:]):
        path.write_bytes(wrong)
        refused(folder, r"answers-0000\.npz cannot be read")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image.npy", b"no array")
    refused(folder, r"answers-0000\.npz cannot be read")
    path.unlink()
    refused(folder, "there is no such file, but predictions.parquet names it")
    path.symlink_to("/etc/passwd")
    refused(folder, "there is no such file")
    for name in ("../a.npz", "/etc/a.npz", "a.npy", ".npz"):
        index(folder, file=[name] * 3)
        refused(folder, "row 0, column 'file': .* is not the name of an npz or zarr file")


def test_an_index_answers_for_each_sample_once(folder):
    """A sample without a row, with two, and a negative row are named."""
    index(folder, sample_id=["a/0", "b/1", "b/1"])
    refused(folder, "1 of 3 samples have no row; the first is 'c/2'")
    index(folder, sample_id=IDS, row=[0, -1, 2])
    refused(folder, "row 1, column 'row': -1 must be at least 0")
    with pytest.raises(SubmissionError, match="key 'empty' names 'a/0', but images cannot be empty"):
        FORMS["images"][0].read(folder, DATA, ("a/0",))


def test_zarr_is_read(folder):
    """Arrays in a zarr group are the same answers as in npz; other arrays are refused by their metadata."""
    zarr = pytest.importorskip("zarr")
    form, answers = answers_of("images")
    group = zarr.open_group(folder / "answers.zarr", mode="w")
    for part in ("image", "sigma"):
        group.create_array(part, data=np.stack([getattr(answers[name], part) for name in IDS]), chunks=(1, 4, 5))
    index(folder, file=["answers.zarr"] * 3, row=[0, 1, 2])
    assert form.digest(form.read(folder, DATA, ())) == form.digest(answers)
    group.create_array("more", data=np.ones(3))
    refused(folder, "array 'more' is not one of")


def test_large_answers_are_cut_into_files(folder, monkeypatch):
    """Answers above the size of a file are in several, and are read back the same."""
    form, answers = answers_of("images")
    monkeypatch.setattr(arrays, "SHARD_BYTES", 2 * 2 * 4 * 5 * 4)
    form.write(folder, answers)
    assert {path.name for path in folder.glob("*.npz")} == {"answers-0000.npz", "answers-0001.npz"}
    assert form.digest(form.read(folder, DATA, ())) == form.digest(answers)


def test_uncertainties_of_some_quantities_alone_are_refused(tmp_path):
    """A table with the standard deviation of one of two numbers is told which column is missing."""
    form, answers = answers_of("values")
    form.write(tmp_path, answers)
    path = tmp_path / "predictions.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["C12_sigma"]), path)
    refused(tmp_path, "column 'C12_sigma' is missing, but 'C10_sigma' is there", "values")
