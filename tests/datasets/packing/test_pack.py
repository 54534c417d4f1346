"""Measured files as datasets: packed, loaded and scored; what is wrong is one sentence, and nothing is written then."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import datasets as hf
import h5py
import numpy as np
import pytest
import tifffile

from stemtwin.benchmarks.measured import load_task
from stemtwin.benchmarks.report import ORDERED, TRUST
from stemtwin.benchmarks.runner import evaluate
from stemtwin.benchmarks.tasks import find_task
from stemtwin.datasets.cards import find_card
from stemtwin.datasets.catalog import inputs, load_arrays, load_dataset
from stemtwin.datasets.manifest import read_manifest
from stemtwin.datasets.measured import read_measured_card
from stemtwin.datasets.packing import PackSettings, pack
from stemtwin.datasets.packing.measured_images import MeasuredImages, common_type
from stemtwin.leaderboard.cli.main import main
from stemtwin.twin.errors import DatasetError, SettingsError

REAL = Path("/work/shared/real")
STEP = 0.2


def lattice(seed: int, shape: tuple[int, int] = (48, 64)) -> tuple[np.ndarray, np.ndarray]:
    """Counts of an image of columns 2.4 A apart, shape px, and their positions x, y, A."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]] * STEP
    places = np.array([(a, b) for a in np.arange(1.2, x.max(), 2.4) for b in np.arange(1.2, y.max(), 2.4)]) + rng.normal(0, 0.1, 2)
    bells = sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * 0.4**2)) for a, b in places)
    return rng.poisson(5 + 100 * bells).astype(np.uint16), places


def write_tiff(path: Path, image: np.ndarray, step_nm: float | None = STEP / 10) -> Path:
    """Write an ImageJ TIFF, calibrated where a step is given."""
    told = {} if step_nm is None else {"resolution": (1 / step_nm, 1 / step_nm), "metadata": {"unit": "nm"}}
    tifffile.imwrite(path, image, imagej=True, **told)
    return path


def write_emd(path: Path, image: np.ndarray, steps: tuple[float, float] = (STEP, STEP)) -> Path:
    """Write an EMD file as NCEM's programs do."""
    with h5py.File(path, "w") as file:
        file.attrs["version_major"], file.attrs["version_minor"] = 0, 2
        group = file.create_group("data/img")
        group.attrs["emd_group_type"] = 1
        group["data"] = image
        for number, (name, length, step) in enumerate(zip(("y", "x"), image.shape, steps, strict=True), start=1):
            group[f"dim{number}"] = np.arange(length) * step / 10
            group[f"dim{number}"].attrs.update(name=name, units="[n_m]")
    return path


def write_labels(path: Path, points: dict[str, np.ndarray]) -> Path:
    """Write points as CSV."""
    rows = [f"{name},{x},{y}" for name, places in points.items() for x, y in places]
    path.write_text("\n".join(["file,x_angstrom,y_angstrom", *rows]) + "\n")
    return path


@pytest.fixture
def films(tmp_path: Path) -> tuple[list[Path], Path]:
    """Three files, a TIFF, an EMD and another TIFF, of equal images, and their labels."""
    files, points = [], {}
    for seed, (name, write) in enumerate((("vacancy_srtio3.tif", write_tiff), ("b.emd", write_emd), ("c.tif", write_tiff))):
        image, points[name] = lattice(seed)
        files.append(write(tmp_path / name, image))
    return files, write_labels(tmp_path / "points.csv", points)


def packed(films: tuple[list[Path], Path], folder: Path, **settings: object) -> Path:
    """Pack films for atoms-2d and return the folder."""
    files, labels = films
    given = {"name": "films", "labels_by": "person", **settings}
    told = None if given["labels_by"] == "none" else labels
    pack(files, folder, PackSettings(**given), find_card("atoms-2d", "1.0.0"), task="atoms-2d", labels=told)
    return folder


def test_packed_data_say_what_the_files_say(films: tuple[list[Path], Path], tmp_path: Path) -> None:
    """Images, pixel sizes and labels are those of the files in every format; facts that nobody gave are unknown; the card survives the disk."""
    folder = packed(films, tmp_path / "out", facts={"material": "srtio3", "energy_ev": 200e3})
    data = load_dataset(folder, split="test")
    assert sorted(data["specimen"].values.tolist()) == ["b.emd", "c.tif", "vacancy_srtio3.tif"]
    for row, name in enumerate(data["specimen"].values.tolist()):
        image, places = lattice({"vacancy_srtio3.tif": 0, "b.emd": 1, "c.tif": 2}[name])
        np.testing.assert_array_equal(data["image"].values[row], image)
        n = int(data["n_columns"][row])
        found = np.stack([data["column_x_angstrom"].values[row, :n], data["column_y_angstrom"].values[row, :n]], axis=1)
        np.testing.assert_array_equal(found[np.lexsort(found.T)], places[np.lexsort(places.T)])
    assert data["image"].dtype == np.uint16
    np.testing.assert_allclose(data["sampling_angstrom"].values, STEP, rtol=1e-6)
    assert set(data["material"].values.tolist()) == {"srtio3"}
    assert np.isnan(data["dose_e_per_angstrom2"].values).all()
    assert data.attrs["source"] == "measured"
    np.testing.assert_array_equal(load_dataset(folder, split="test", format="numpy")["image"], data["image"].values)
    assert hf.Dataset.from_parquet(str(folder / "data" / "test-00000-of-00001.parquet"), cache_dir=str(tmp_path / "hf")).num_rows == 3
    card = read_measured_card(folder)
    assert card.digest == read_manifest(folder).card_sha256
    assert pickle.loads(pickle.dumps(card)) == card


def test_packed_data_are_plain_arrays(films: tuple[list[Path], Path], tmp_path: Path) -> None:
    """'load_arrays' of a packed folder gives the images of the files, their labels as truth, and what else is known as facts."""
    folder = packed(films, tmp_path / "out", facts={"material": "srtio3"})
    images, truth, facts = load_arrays(folder, split="test")
    assert (images.shape, images.dtype) == ((3, 48, 64), np.uint16)
    for image, x, y, name in zip(images, truth["column_x_angstrom"], truth["column_y_angstrom"], facts["specimen"].tolist(), strict=True):
        counts, places = lattice({"vacancy_srtio3.tif": 0, "b.emd": 1, "c.tif": 2}[name])
        np.testing.assert_array_equal(image, counts)
        found = np.stack([x, y], axis=1)
        np.testing.assert_array_equal(found[np.lexsort(found.T)], places[np.lexsort(places.T)])
    assert set(facts["material"].tolist()) == {"srtio3"}
    assert set(inputs(load_dataset(folder, split="test"), folder).variables) == {"sample_id", *read_measured_card(folder).column_names("input")}
    with pytest.raises(DatasetError, match="is a folder, whose data have their own version"):
        load_arrays(folder, version="1.0.0", split="test")


def test_names_and_order_follow_from_hashes(films: tuple[list[Path], Path], tmp_path: Path) -> None:
    """The order of the files plays no part in what is packed, nor do their names in ids and inputs: a name may tell the truth."""
    files, labels = films
    one = packed(films, tmp_path / "one")
    other = packed((files[::-1], labels), tmp_path / "other")
    assert read_manifest(one).content_sha256 == read_manifest(other).content_sha256
    data = load_dataset(one, split="test")
    given = read_measured_card(one).column_names("identity", "input")
    assert not [name for name in given if name != "image" and "vacancy" in " ".join(map(str, data[name].values.tolist()))]


def test_files_go_whole_to_their_splits(films: tuple[list[Path], Path], tmp_path: Path) -> None:
    """Squares of one file are in one split, every pixel of a square is the file's, and each label is in the square that holds its pixel."""
    folder = packed(films, tmp_path / "out", shares=(1 / 3, 1 / 3, 1 / 3), tile_px=16)
    splits = {split: load_dataset(folder, split=split) for split in ("train", "val", "test")}
    names = [set(data["specimen"].values.tolist()) for data in splits.values()]
    assert [len(one) for one in names] == [1, 1, 1]
    assert len(set.union(*names)) == 3
    assert [data.sizes["sample"] for data in splits.values()] == [12, 12, 12]
    for data in splits.values():
        image, places = lattice({"vacancy_srtio3.tif": 0, "b.emd": 1, "c.tif": 2}[data["specimen"].values[0]])
        squares = image.reshape(3, 16, 4, 16).transpose(0, 2, 1, 3).reshape(12, 16, 16)
        found = []
        for row in range(12):
            (where,) = np.flatnonzero((squares == data["image"].values[row]).all(axis=(1, 2)))
            n, corner = int(data["n_columns"][row]), np.array([where % 4, where // 4]) * 16 * STEP
            own = np.stack([data["column_x_angstrom"].values[row, :n], data["column_y_angstrom"].values[row, :n]], axis=1)
            assert ((own > -0.5 * STEP - 1e-9) & (own < 15.5 * STEP + 1e-9)).all()
            found.append(own + corner)
        all_found = np.concatenate(found)
        np.testing.assert_allclose(all_found[np.lexsort(all_found.T.round(6))], places[np.lexsort(places.T.round(6))], atol=1e-9)


def test_a_baseline_is_scored_on_packed_data_from_the_command_line(films: tuple[list[Path], Path], tmp_path: Path, capsys, monkeypatch) -> None:
    """'data pack', 'eval --data' with a baseline and with its own answers, and 'board' work one after another, in a table that says measured."""
    monkeypatch.setenv("STEMTWIN_DATABASE", str(tmp_path / "board.db"))
    monkeypatch.setenv("STEMTWIN_DATA_DIR", str(tmp_path / "data"))
    files, labels = films
    words = ["data", "pack", *map(str, files), "--task", "atoms-2d", "--name", "films", "--labels", str(labels), "--labels-by", "person", "--json"]
    assert main(words) == 0
    folder = json.loads(capsys.readouterr().out)["folder"]
    run = tmp_path / "run"
    assert main(["eval", "atoms-2d", "--data", folder, "--baseline", "log", "--output", str(run), "--submit"]) == 0
    report = json.loads((run / "report.json").read_text())
    assert (report["source"]["name"], report["source"]["size"], report["source"]["n"]) == ("measured/films", "packed", 3)
    scores = {one["name"]: one["value"] for one in report["metrics"]}
    assert scores["f1"] > 0.99
    assert scores["d90"] is None
    assert "macro_f1" not in scores  # no label names an element
    assert report["slices"] == []  # nothing is known that slices are cut by
    capsys.readouterr()
    assert main(["eval", "atoms-2d", "--data", folder, "--predictions", str(run / "submission"), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert {one["name"]: one["value"] for one in again["metrics"]} == scores
    assert again["comparability_key"] == report["comparability_key"]
    assert main(["board"]) == 0
    assert "measured/films" in capsys.readouterr().out


def test_labels_by_an_algorithm_hold_no_rank(films: tuple[list[Path], Path], tmp_path: Path) -> None:
    """What is scored against an algorithm's labels says so; an oracle stays one; the truth of a person's labels is scored as usual."""
    task, folder = find_task("atoms-2d"), packed(films, tmp_path / "out", labels_by="algorithm")
    assert evaluate(task, baseline="random", measured=folder).report.trust == "algorithm"
    assert evaluate(task, baseline="oracle", measured=folder).report.trust == "oracle"
    assert "algorithm" in TRUST
    assert "algorithm" not in ORDERED
    assert "an algorithm labelled" in (folder / "README.md").read_text()
    person = evaluate(task, baseline="oracle", measured=packed(films, tmp_path / "person")).report
    assert person.metric("f1").value == 1.0
    assert evaluate(task, baseline="random", measured=tmp_path / "person").report.trust == "baseline"


def test_images_without_labels_cannot_be_scored(films: tuple[list[Path], Path], tmp_path: Path) -> None:
    """Images that nobody labelled are packed and loaded, and not scored; a dataset of another task is refused."""
    folder = packed(films, tmp_path / "out", labels_by="none")
    assert load_dataset(folder, split="test")["n_columns"].values.tolist() == [0, 0, 0]
    with pytest.raises(SettingsError, match="without labels"):
        load_task(find_task("atoms-2d"), folder)
    with pytest.raises(DatasetError, match="holds no measured dataset"):
        load_task(find_task("atoms-2d"), tmp_path)


def test_known_elements_and_doses_are_scored(films: tuple[list[Path], Path], tmp_path: Path) -> None:
    """Where labels name elements and the dose is known, metrics and slices of them are given."""
    files, labels = films
    text = labels.read_text().splitlines()
    labels.write_text("\n".join([f"{text[0]},heaviest", *(f"{line},38" for line in text[1:])]))
    folder = packed((files, labels), tmp_path / "out", facts={"dose_e_per_angstrom2": "2e4", "material": "srtio3"})
    report = evaluate(find_task("atoms-2d"), baseline="oracle", measured=folder).report
    assert report.metric("macro_f1").value == 1.0
    assert report.metric("d90").value == pytest.approx(2e4)
    assert {one.column for one in report.slices} == {"dose_e_per_angstrom2", "material"}


def test_a_changed_file_is_found(films: tuple[list[Path], Path], tmp_path: Path) -> None:
    """Card, tables and netCDF files are checked against their hashes."""
    folder = packed(films, tmp_path / "out")
    for name, form in (("card.toml", "xarray"), ("netcdf/test.nc", "xarray"), ("data/test-00000-of-00001.parquet", "numpy")):
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content.replace(b"a person", b"a  robot") if name == "card.toml" else content + b"\0")
        with pytest.raises(DatasetError):
            load_dataset(copy, split="test", format=form)
        shutil.rmtree(copy)
    with pytest.raises(DatasetError, match="Did you mean 'test'"):
        load_dataset(folder, split="tset")


def refreshed(folder: Path) -> None:
    """Write the hashes of the files as they are into the manifest, as a forger would."""
    path = folder / "manifest.json"
    told = json.loads(path.read_text())
    for entry in told["files"]:
        content = (folder / entry["path"]).read_bytes()
        entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.write_text(json.dumps(told))


def test_packed_data_are_verified_as_built_ones(films: tuple[list[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every file, the content of both carriers, and splits that share a file are checked; rows that cannot be regenerated are refused."""
    folder = packed(films, tmp_path / "out", shares=(1 / 3, 0, 2 / 3))
    assert main(["data", "verify", str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["files"], report["rows"], report["rows_made_again"]) == (6, 3, 0)
    assert report["content_sha256"] == read_manifest(folder).content_sha256

    def refusal(*more: str) -> str:
        assert main(["data", "verify", str(folder), *more]) in (1, 2)
        return capsys.readouterr().err

    said = f"--regenerate 2 is not possible: {folder} holds measured data, which have no seeds. Leave out this argument."
    assert said in refusal("--regenerate", "2")
    assert "leave out --size" in refusal("--size", "tiny")
    manifest = (folder / "manifest.json").read_bytes()
    for entry in read_manifest(folder).files:
        content = (folder / entry.path).read_bytes()
        (folder / entry.path).write_bytes(content + b"\n")
        assert f"{folder / entry.path} is corrupted" in refusal()
        (folder / entry.path).unlink()
        lacking = "holds no measured dataset: it has no card.toml" if entry.path == "card.toml" else "is missing, but the manifest lists it. Pack the"
        assert lacking in refusal()
        (folder / entry.path).write_bytes(content)
    (folder / "data" / "train-00000-of-00001.parquet").write_bytes((folder / "data" / "test-00000-of-00001.parquet").read_bytes())
    refreshed(folder)
    assert f"The Parquet files of train in {folder} do not match the content in the manifest. Pack the files again" in refusal()
    (folder / "manifest.json").write_bytes(manifest)


def _two(folder: Path, other: np.ndarray, step_nm: float | None = STEP / 10) -> list[Path]:
    return [write_tiff(folder / "a.tif", lattice(0)[0]), write_tiff(folder / "b.tif", other, step_nm)]


def _same_name(folder: Path) -> list[Path]:
    (folder / "sub").mkdir()
    return [write_tiff(folder / "a.tif", lattice(0)[0]), write_tiff(folder / "sub" / "a.tif", lattice(1)[0])]


def _saved(folder: Path, **arrays: np.ndarray) -> list[Path]:
    np.savez(folder / "a.npz", **arrays)
    return [folder / "a.npz"]


def _simulated(folder: Path) -> list[Path]:
    import xarray as xr

    steps = {dim: (dim, np.arange(8) * STEP, {"units": "angstrom"}) for dim in ("y", "x")}
    xr.Dataset({"haadf": (("y", "x"), np.ones((8, 8)))}, steps, {"stemtwin_settings": "{}"}).to_netcdf(folder / "a.nc", engine="h5netcdf")
    return [folder / "a.nc"]


BAD_FILES = {
    "uncalibrated": (
        lambda d: [write_tiff(d / "a.tif", lattice(0)[0], None)],
        {},
        "a.tif is not calibrated: its axis y is in pixels. Give the pixel",
    ),
    "oblong pixels": (lambda d: [write_emd(d / "a.emd", lattice(0)[0], (5, 2.5))], {}, "a.emd has pixels of 5 A along y and 2.5 A along x. Resample"),
    "mixed pixel sizes": (lambda d: _two(d, lattice(1)[0], 0.03), {}, "b.tif has pixels of 0.3 A, "),
    "mixed shapes": (lambda d: _two(d, lattice(1, (48, 48))[0]), {}, "b.tif has 48 x 48 pixels, but a.tif has 48 x 64. Cut them into tiles"),
    "too small to cut": (
        lambda d: _two(d, lattice(1, (20, 48))[0]),
        {"tile_px": 24},
        "b.tif has 20 x 48 pixels, too few for tiles of 24 x 24 pixels",
    ),
    "one name twice": (_same_name, {}, "sub/a.tif have the same name 'a.tif', so labels cannot distinguish them. Rename one"),
    "one image twice": (lambda d: _two(d, lattice(0)[0]), {}, "b.tif holds the same bytes as "),
    "no such file": (lambda d: [d / "a.tif"], {}, "a.tif does not exist"),
    "unknown ending": (lambda _: [Path(__file__)], {}, "There is no reader for the ending of "),
    "a folder": (lambda d: [d], {}, "is a folder, which has no hash. Give files"),
    "NaN": (
        lambda d: _saved(d, image=np.where(np.eye(8) > 0, np.nan, 1)),
        {"pixel_size_angstrom": 0.2},
        "a.npz, image 0, row 0, column 0: the pixel is nan",
    ),
    "complex": (lambda d: _saved(d, image=np.ones((8, 8), complex)), {"pixel_size_angstrom": 0.2}, "a.npz holds values of type complex128"),
    "a line": (lambda d: _saved(d, line=np.ones(8)), {}, "a.npz holds no image with the dimensions (y, x) or (frame, y, x); it holds line (x)"),
    "two images": (
        lambda d: _saved(d, one=np.ones((8, 8)), two=np.ones((9, 9))),
        {},
        "a.npz holds several variables with images: one, two. Choose one",
    ),
    "no such variable": (lambda d: _saved(d, one=np.ones((8, 8))), {"variable": "on"}, "a.npz has no variable 'on'. Did you mean 'one'"),
    "simulated": (_simulated, {}, "a.nc was simulated by stemtwin"),
    "no file": (lambda _: [], {}, "No file was given"),
}
BAD_SETTINGS = {
    "name": ({"name": "My films"}, "The name 'My films' of the dataset is not valid"),
    "version": ({"version": "1"}, "The version '1' of the dataset is not valid"),
    "licence": ({"licence": ""}, "The licence '' of the dataset is not valid"),
    "origin": ({"labels_by": "persons"}, "labels_by='persons' is not known. Did you mean 'person'"),
    "shares": ({"shares": (0.5, 0.5, 0.5)}, "The shares 0.5, 0.5, 0.5 of train, val and test must be 0 or more and add up to 1"),
    "empty split": ({"shares": (0.1, 0.0, 0.9)}, "The share 0.1 of 3 file(s) leaves no file for train"),
    "pixel size": ({"pixel_size_angstrom": 0.0}, "The pixel size 0 A must be above 0"),
    "tile": ({"tile_px": 1}, "The edge of the tiles, 1 px, must be at least 2 px"),
    "fact": (
        {"facts": {"materials": "x"}},
        "'materials' cannot be given as a fact: it is not a column that a user can fill. Did you mean 'material'",
    ),
    "truth": ({"facts": {"n_columns": "3"}}, "'n_columns' cannot be given as a fact: it is not a column that a user can fill"),
    "number": ({"facts": {"energy_ev": "200 keV"}}, "The given 'energy_ev' is '200 keV', which is not a number. Give a number in eV"),
    "not finite": ({"facts": {"energy_ev": "nan"}}, "The given 'energy_ev' is nan, which is not finite"),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_file_that_cannot_be_packed_is_one_sentence(fault: str, tmp_path: Path) -> None:
    """Each fault of a file names it and the repair, before anything is written."""
    make, settings, said = BAD_FILES[fault]
    with pytest.raises((DatasetError, SettingsError)) as caught:
        packed((make(tmp_path), tmp_path / "points.csv"), tmp_path / "out", labels_by="none", **settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fault", BAD_SETTINGS)
def test_a_wrong_setting_is_one_sentence(fault: str, films: tuple[list[Path], Path], tmp_path: Path) -> None:
    """Each wrong setting is named with its repair, and nothing is written."""
    settings, said = BAD_SETTINGS[fault]
    with pytest.raises(DatasetError) as caught:
        packed(films, tmp_path / "out", **settings)
    assert said in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_labels_and_their_origin_go_together(films: tuple[list[Path], Path], tmp_path: Path) -> None:
    """Labels without an origin, an origin without labels, wrong labels and a folder that is not empty are refused before anything is written."""
    (files, labels), card = films, find_card("atoms-2d", "1.0.0")
    with pytest.raises(DatasetError, match="labels_by='person' needs a file of labels"):
        pack(files, tmp_path / "out", PackSettings(name="films", labels_by="person"), card, task="atoms-2d")
    with pytest.raises(DatasetError, match="labels_by='none' contradicts the file of labels"):
        pack(files, tmp_path / "out", PackSettings(name="films", labels_by="none"), card, task="atoms-2d", labels=labels)
    labels.write_text(labels.read_text() + "c.tif,1000,1\n")
    with pytest.raises(DatasetError, match=r"points.csv, row \d+, column 'x_angstrom': '1000' lies outside the frame of c.tif"):
        packed(films, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(DatasetError, match="is not empty"):
        packed(films, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.emd", "c.tif", "points.csv", "vacancy_srtio3.tif"]


def test_only_points_can_be_packed(films: tuple[list[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A task whose truth is not a list of points is refused with the names of those that can be packed."""
    words = ["data", "pack", str(films[0][0]), "--task", "denoise", "--name", "films", "--labels-by", "none", "--folder", str(tmp_path / "out")]
    assert main(words) == 1
    assert capsys.readouterr().err == (
        "stemtwin: Files cannot be packed for the task 'denoise', as its truth is not a list of points. Give another task: atoms-2d.\n"
    )
    assert not (tmp_path / "out").exists()


def test_grey_values_keep_their_bits(tmp_path: Path) -> None:
    """Negative, fractional and large values come back as they were, in the smallest type that holds all of them."""
    rng = np.random.default_rng(0)
    images = {
        "uint16": rng.integers(0, 65536, (8, 8)),
        "float32": rng.normal(size=(8, 8)).astype(np.float32),
        "float64": rng.normal(size=(8, 8)),
    }
    for dtype, image in images.items():
        assert common_type([MeasuredImages(name="a", sha256="", pixels=image[None], sampling_angstrom=1.0)]) == dtype
    signed = rng.integers(-9, 9, (8, 8), dtype=np.int16)
    folder = packed((_saved(tmp_path, image=signed), tmp_path), tmp_path / "out", labels_by="none", pixel_size_angstrom=0.2)
    found = load_dataset(folder, split="test")["image"].values[0]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, signed)


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "measured_haadf_pto_sro.npz").is_file(), reason="measured files of /work/shared/real are not on this machine")
def test_measured_files_are_packed_and_scored(tmp_path: Path) -> None:
    """A measured HAADF image, labelled by an algorithm, is cut, packed, loaded and scored without a rank; files that do not fit say why."""
    source = REAL / "measured_haadf_pto_sro.npz"
    step = float(np.load(source)["sampling_angstrom"][0])
    settings = PackSettings(name="pto-sro", labels_by="algorithm", pixel_size_angstrom=step, tile_px=112, facts={"material": "PbTiO3/SrRuO3"})
    bare = tmp_path / "bare"
    card = find_card("atoms-2d", "1.0.0")
    pack([source], bare, PackSettings(name="pto-sro", labels_by="none", pixel_size_angstrom=step), card, task="atoms-2d")
    image = load_dataset(bare, split="test")["image"].values[0]
    np.testing.assert_array_equal(image, np.load(source)["image"])
    from skimage.feature import peak_local_max

    peaks = peak_local_max(image, min_distance=6, threshold_rel=0.6)
    labels = tmp_path / "points.csv"
    labels.write_text("\n".join(["file,x_px,y_px", *(f"{source.name},{x},{y}" for y, x in peaks)]) + "\n")
    folder = tmp_path / "out"
    manifest = pack([source], folder, settings, card, task="atoms-2d", labels=labels)
    assert manifest.splits["test"].rows == (224 // 112) * (1312 // 112)
    data = load_dataset(folder, split="test")
    in_squares = (peaks[:, 1] < 1312 // 112 * 112).sum()
    assert int(data["n_columns"].sum()) == in_squares
    report = evaluate(find_task("atoms-2d"), baseline="oracle", measured=folder).report
    assert (report.source.name, report.metric("f1").value) == ("measured/pto-sro", 1.0)
    assert evaluate(find_task("atoms-2d"), baseline="random", measured=folder).report.trust == "algorithm"


REAL_FILES = {"case-06.tif": "", "case-08.emd": "5 A along y and 2.5 A along x", "case-10.mrc": "is not calibrated", "case-12.msa": "holds no image"}


@pytest.mark.skipif(not (REAL / "files").is_dir(), reason="measured files of /work/shared/real are not on this machine")
@pytest.mark.parametrize("name", REAL_FILES)
def test_files_as_people_have_them(name: str, tmp_path: Path) -> None:
    """Files of other programs are packed, or refused for what they are."""
    films = ([REAL / "files" / name], tmp_path)
    if not REAL_FILES[name]:
        assert float(load_dataset(packed(films, tmp_path / "out", labels_by="none"), split="test")["sampling_angstrom"][0]) == pytest.approx(0.2)
        return
    with pytest.raises(DatasetError, match=REAL_FILES[name]):
        packed(films, tmp_path / "out", labels_by="none")
