"""Building: the schema, the same bits every time, nothing half written, and going on after a kill."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import datasets as hf
import numpy as np
import pytest
from filelock import FileLock

from stemtwin.datasets import generate, storage
from stemtwin.datasets.generators import atoms_2d
from stemtwin.datasets.manifest import read_manifest
from stemtwin.twin import files
from stemtwin.twin.errors import DatasetError

CONFTEST = Path(__file__).with_name("conftest.py")
KILLED_BUILD = """
import os, runpy, signal, sys
from stemtwin.datasets import cards, generate
from stemtwin.datasets.generators import atoms_2d

names = runpy.run_path(sys.argv[1])

def die(done, total, text):
    if done == 7:
        os.kill(os.getpid(), signal.SIGKILL)

atoms_2d.microscope_shots = names["spots"]
generate.build(cards.parse_card(names["small_card_text"]()), "tiny", sys.argv[2], progress=die)
"""


def files_of(folder: Path) -> dict[str, str]:
    """Every file of a folder with its hash."""
    return {str(path.relative_to(folder)): storage.file_sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def arrays_of(folder: Path, card, split: str) -> dict[str, np.ndarray]:
    """A split of a folder as arrays."""
    manifest = read_manifest(folder)
    return storage.to_numpy(storage.read_parquet([folder / path for path in manifest.paths(split, "parquet")]), card)


def test_a_build_has_the_rows_and_the_schema_of_its_card(card, finished):
    """Every split has specimens x images rows with unique names, every column of the card in its type, and values that fit each other."""
    for split in card.splits:
        data = arrays_of(finished, card, split)
        assert set(data) == set(card.column_names())
        assert len(data["image"]) == 30 == len(set(data["sample_id"]))
        assert data["sample_id"][12] == f"atoms-small/{split}/000012"
        assert data["image"].dtype == np.uint16
        for column in card.columns:
            assert data[column.name].dtype.kind == {"string": "U", "bool": "b", "int64": "i", "float64": "f", "uint16": "u"}[column.dtype]
        side = data["sampling_angstrom"] * card.generator.image_shape[0]
        for axis in ("column_x_angstrom", "column_y_angstrom"):
            inside = ~np.isnan(data[axis])
            assert (inside.sum(axis=1) == data["n_columns"]).all()
            assert (np.nan_to_num(data[axis]) >= -data["sampling_angstrom"][:, None] / 2).all()
            assert (np.nan_to_num(data[axis]) <= side[:, None]).all()
        assert (data["column_visible"].any(axis=1) == (data["n_columns"] > 0)).all()
        assert (data["n_columns"] > 0).all()
        electrons = data["current_pa"] * data["dwell_time_us"] * 1e-18 / 1.602176634e-19
        np.testing.assert_allclose(electrons / data["sampling_angstrom"] ** 2, data["dose_e_per_angstrom2"], rtol=1e-12)


def test_no_structure_is_in_two_splits(card, finished):
    """The structure seeds and the specimens that really stand in the splits are disjoint."""
    seeds = [set(arrays_of(finished, card, split)["structure_seed"].tolist()) for split in card.splits]
    names = [set(arrays_of(finished, card, split)["specimen"].tolist()) for split in card.splits]
    assert sum(map(len, seeds)) == len(set.union(*seeds)) == 18
    assert sum(map(len, names)) == len(set.union(*names)) == 18


def test_the_truth_is_where_the_image_shows_it(card, finished):
    """The image is brighter at the heaviest columns of its truth than half-way to their neighbours: no axis is swapped or turned."""
    data = arrays_of(finished, card, "train")
    better = 0
    for row in range(len(data["image"])):
        count, pitch = data["n_columns"][row], data["sampling_angstrom"][row]
        heavy = data["column_heaviest"][row, :count] == data["column_heaviest"][row, :count].max()
        x, y = (np.rint(data[f"column_{axis}_angstrom"][row, :count][heavy] / pitch).astype(int) for axis in "xy")
        image = data["image"][row].astype(float)
        better += image[y.clip(0, 23), x.clip(0, 23)].mean() > 1.2 * image.mean()
    assert better == len(data["image"])


def test_two_builds_are_equal_bit_for_bit(card, finished, tmp_path, image_source):
    """The same card gives the same files, manifest and all, in another folder; progress runs from 0 to the number of specimens."""
    told = []
    generate.build(card, "tiny", tmp_path / "again", progress=lambda *args: told.append(args))
    assert files_of(tmp_path / "again") == files_of(finished)
    assert [done for done, _, _ in told] == list(range(19))
    assert {total for _, total, _ in told} == {18}


@pytest.mark.slow
def test_a_killed_build_goes_on_and_ends_with_the_same_bits(card, finished, tmp_path, image_source, monkeypatch):
    """SIGKILL in the midst leaves no dataset; the next call makes only the missing specimens, and every byte is that of a build in one go."""
    folder = tmp_path / "killed"
    run = subprocess.run([sys.executable, "-c", KILLED_BUILD, str(CONFTEST), str(folder)], check=False, capture_output=True)
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    assert not folder.exists()
    assert len(list((tmp_path / "killed.partial" / "parts").glob("*.parquet"))) == 7
    made = []

    def source(sample, specimen, conditions, card):
        made.append(specimen.structure_seed)
        return image_source(sample, specimen, conditions, card)

    monkeypatch.setattr(atoms_2d, "microscope_shots", source)
    generate.build(card, "tiny", folder)
    assert len(made) == 11
    assert files_of(folder) == files_of(finished)
    assert not (tmp_path / "killed.partial").exists()


def test_parts_of_another_card_are_not_used(card, tmp_path, image_source):
    """A stopped build that another card or size began is begun anew."""

    def stop_at(n):
        def progress(done, total, text):
            if done == n:
                raise KeyboardInterrupt

        return progress

    with pytest.raises(KeyboardInterrupt):
        generate.build(card, "tiny", tmp_path / "x", progress=stop_at(3))
    other = card.model_copy(update={"title": "Another"})
    with pytest.raises(KeyboardInterrupt):
        generate.build(other, "tiny", tmp_path / "x", progress=stop_at(1))
    assert len(list((tmp_path / "x.partial" / "parts").glob("*.parquet"))) == 1


def test_a_source_that_fails_leaves_nothing_that_looks_finished(card, tmp_path, monkeypatch):
    """An error in the midst of a specimen leaves neither a folder nor a half-written part."""

    def broken(sample, specimen, conditions, card):
        yield atoms_2d.Shot(counts=np.zeros(card.generator.image_shape, np.uint32), source_size_angstrom=0.0)
        message = "the gun is off"
        raise RuntimeError(message)

    monkeypatch.setattr(atoms_2d, "microscope_shots", broken)
    with pytest.raises(RuntimeError, match="gun"):
        generate.build(card, "tiny", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    assert [path.name for path in (tmp_path / "x.partial").rglob("*") if path.is_file()] == ["origin.json"]


def test_a_folder_in_use_is_left_alone(card, finished, local, tmp_path, image_source):
    """A finished build is returned as it is; other content, another size and a file in the way are refused, each in one sentence."""
    before = files_of(local)
    assert generate.build(card, "tiny", local) == read_manifest(finished)
    with pytest.raises(DatasetError, match=r"holds atoms-small 1\.0\.0 tiny, not atoms-small 1\.0\.0 std"):
        generate.build(card, "std", local)
    with pytest.raises(DatasetError, match="was made from a card that differs"):
        generate.build(card.model_copy(update={"title": "Another"}), "tiny", local)
    assert files_of(local) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(DatasetError, match="is not empty and holds no dataset"):
        generate.build(card, "tiny", tmp_path / "mine")
    with pytest.raises(DatasetError, match=r"cannot be written: .*thesis\.tex is a file"):
        generate.build(card, "tiny", tmp_path / "mine" / "thesis.tex" / "x")
    with pytest.raises(DatasetError, match="Did you mean 'tiny'"):
        generate.build(card, "tyny", tmp_path / "y")


def test_a_count_beyond_uint16_is_refused(card, monkeypatch):
    """No count is wrapped round silently."""

    def bright(sample, specimen, conditions, card):
        for _ in conditions:
            yield atoms_2d.Shot(counts=np.full(card.generator.image_shape, 70_000, np.uint32), source_size_angstrom=0.0)

    monkeypatch.setattr(atoms_2d, "microscope_shots", bright)
    with pytest.raises(DatasetError, match=r"image of .* holds 70000 \(unit e-\), above the limit 65535 of uint16"):
        generate.specimen_rows(card, "tiny", next(generate.specimens(card, "tiny")))


def test_hugging_face_loads_the_folder_by_itself(card, finished, tmp_path):
    """``datasets.load_dataset(folder)`` finds the splits by the README's front matter, with the image as Array2D of uint16."""
    data = hf.load_dataset(str(finished), cache_dir=str(tmp_path / "cache"))
    assert {split: part.num_rows for split, part in data.items()} == {"train": 30, "val": 30, "test": 30}
    assert data["test"].features == storage.features(card)
    assert data["test"].features["image"] == hf.Array2D(card.generator.image_shape, "uint16")
    expected = arrays_of(finished, card, "test")
    np.testing.assert_array_equal(np.array(data["test"][3]["image"]), expected["image"][3])


def test_a_build_waits_for_another_one(card, finished, tmp_path, image_source, monkeypatch, capsys):
    """While another process builds into the folder, a build tells its wait, and ends it when nothing is written; a finished one has none."""
    monkeypatch.setattr(generate, "LOCK_S", 0.3)
    monkeypatch.setattr(files, "NOTICE_S", 0.1)
    folder = tmp_path / "x"
    with (
        FileLock(tmp_path / ".x.lock", is_singleton=False),
        pytest.raises(DatasetError, match=r"\.x\.lock is still locked by another build of .*x after"),
    ):
        generate.build(card, "tiny", folder)
    assert capsys.readouterr().err.count("waiting for another build") == 1
    shutil.copytree(finished, folder)
    with FileLock(tmp_path / ".x.lock", is_singleton=False):
        assert generate.build(card, "tiny", folder) == read_manifest(finished)


def test_a_finished_dataset_may_be_read_only(card, finished, monkeypatch):
    """Nothing is tried on the disk where the dataset is there already."""
    monkeypatch.setattr(generate, "check_writable", lambda *_, **__: pytest.fail("a trial"))
    assert generate.check_build(card, "tiny", finished) == read_manifest(finished)
