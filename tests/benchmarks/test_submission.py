"""A submission is read whole or refused with one sentence that names the file, the row, the column and the reason."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.submission import read_submission, write_submission
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.errors import SubmissionError
from tests.benchmarks.frames import make

TASK, DATA = find_task("atoms-2d"), make(n=4)
IDS = DATA["sample_id"].values.tolist()


@pytest.fixture
def folder(tmp_path):
    """Return a right submission: detections in three samples, none in the fourth."""
    rng = np.random.default_rng(1)
    found = {name: Points.at(rng.uniform(0, 12, (5, 2)), classes=rng.integers(0, 90, 5), confidence=np.ones(5)) for name in IDS[:3]} | {IDS[3]: Points.at([])}
    return write_submission(tmp_path / "entry", TASK, found, split="test", size="tiny", name="mine", team="us")


def edit_header(folder, **changes):
    """Change keys of submission.yaml; None removes one."""
    path = folder / "submission.yaml"
    content = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))


def edit_table(folder, change):
    """Rewrite predictions.parquet by a function of its columns."""
    path = folder / "predictions.parquet"
    columns = {name: np.array(values) for name, values in pq.read_table(path).to_pydict().items()}
    pq.write_table(pa.table({name: pa.array(values) for name, values in change(columns).items()}), path)


def put(row, **values):
    """Return a change that sets values in one row."""

    def change(columns):
        for name, value in values.items():
            if columns[name].dtype.kind == "U":
                columns[name] = columns[name].astype(object)
            columns[name][row] = value
        return columns

    return change


def append(**values):
    """Return a change that appends a row like the first one, but for some values."""

    def change(columns):
        return {name: np.append(column, np.array([values.get(name, column[0])])) for name, column in columns.items()}

    return change


def cast(name, dtype):
    """Return a change of one column's type."""
    return lambda columns: columns | {name: columns[name].astype(dtype)}


def test_what_was_written_is_read(folder):
    """Writing and reading give the same answers and the same hash; the empty sample has none."""
    read = read_submission(folder, TASK, DATA)
    assert (read.header.name, read.header.team, read.header.split, read.header.size) == ("mine", "us", "test", "tiny")
    assert [len(read.found[name].positions) for name in IDS] == [5, 5, 5, 0]
    again = write_submission(folder.parent / "again", TASK, read.found, split="test", size="tiny", name="other")
    assert TASK.form.digest(read_submission(again, TASK, DATA).found) == TASK.form.digest(read.found)


def test_the_hash_ignores_order_and_sees_every_number(folder):
    """The content hash is that of the answers, in whatever order their rows stand; one changed number changes it."""
    before = TASK.form.digest(read_submission(folder, TASK, DATA).found)
    edit_table(folder, lambda columns: {name: values[::-1] for name, values in columns.items()})
    assert TASK.form.digest(read_submission(folder, TASK, DATA).found) == before
    edit_table(folder, put(3, score=0.5))
    assert TASK.form.digest(read_submission(folder, TASK, DATA).found) != before


def test_an_empty_sample_may_be_a_row_of_nan(folder):
    """A row with x and y NaN answers for a sample in which nothing was found."""
    edit_header(folder, empty=[])
    edit_table(folder, append(sample_id=IDS[3], x_angstrom=np.nan, y_angstrom=np.nan))
    assert len(read_submission(folder, TASK, DATA).found[IDS[3]].positions) == 0


HEADERS = {
    "another task": ({"task": "atoms-3d/test@1"}, r"submission\.yaml: key 'task' is 'atoms-3d/test@1', accepted here: atoms-2d/test@1"),
    "another version": ({"task": "atoms-2d/test@2"}, "key 'task' is 'atoms-2d/test@2'"),
    "another split": ({"task": "atoms-2d/hidden@1"}, "key 'task' is 'atoms-2d/hidden@1'"),
    "another dataset": ({"dataset": "atoms-2d@0.9.0"}, r"key 'dataset' is 'atoms-2d@0\.9\.0', accepted here: atoms-2d@1\.0\.0"),
    "another schema": ({"schema": "stemtwin/submission@9"}, "key 'schema' is 'stemtwin/submission@9'"),
    "no name": ({"name": None}, "key 'name': Field required"),
    "unknown key": ({"colour": "red"}, "key 'colour': Extra inputs are not permitted"),
    "wrong type": ({"empty": 3}, "key 'empty': Input should be a valid tuple"),
    "unknown empty": ({"empty": [IDS[3], "nowhere"]}, "key 'empty': 'nowhere' is not a sample of this split"),
    "empty twice": ({"empty": [IDS[3], IDS[3]]}, f"key 'empty': '{IDS[3]}' is listed twice"),
    "empty and not": ({"empty": [IDS[3], IDS[0]]}, f"key 'empty': '{IDS[0]}' has rows in the table"),
    "missing sample": ({"empty": []}, rf"predictions\.parquet, column 'sample_id': 1 of 4 samples have no row, the first is '{IDS[3]}'"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_wrong_headers_are_refused(folder, case):
    """Each wrong header is refused with the key, its value and what is accepted."""
    changes, message = HEADERS[case]
    edit_header(folder, **changes)
    with pytest.raises(SubmissionError, match=message):
        read_submission(folder, TASK, DATA)


TABLES = {
    "unknown id": (put(2, sample_id="atoms-2d/test/999999"), "row 2, column 'sample_id': 'atoms-2d/test/999999' is not a sample of this split"),
    "x not finite": (put(3, x_angstrom=np.inf), "row 3, column 'x_angstrom': inf is not finite"),
    "only y is NaN": (put(3, y_angstrom=np.nan), "row 3, column 'y_angstrom': nan is not finite"),
    "score is NaN": (put(4, score=np.nan), "row 4, column 'score': nan is not finite"),
    "no such element": (put(1, heaviest=119), "row 1, column 'heaviest': 119 is not an atomic number from 1 to 118"),
    "negative element": (put(1, heaviest=-1), "row 1, column 'heaviest': -1 is not an atomic number"),
    "left of the frame": (put(0, x_angstrom=-0.11), r"row 0, column 'x_angstrom': -0\.11 lies outside the frame, -0\.1000 to 12\.7000 A"),
    "below the frame": (put(0, y_angstrom=12.71), r"row 0, column 'y_angstrom': 12\.71 lies outside the frame"),
    "a row twice": (append(), r"row 15, column 'x_angstrom': .* repeats the position of row 0"),
    "nothing and something": (append(x_angstrom=np.nan, y_angstrom=np.nan), "row 15, column 'x_angstrom': nan says that nothing was found"),
    "column missing": (lambda columns: {k: v for k, v in columns.items() if k != "heaviest"}, "column 'heaviest' is missing"),
    "column too many": (lambda columns: columns | {"z_angstrom": columns["score"]}, "column 'z_angstrom' is not one of"),
    "x is text": (cast("x_angstrom", str), "column 'x_angstrom' has type (large_)?string, float is needed"),
    "x is integer": (cast("x_angstrom", np.int64), "column 'x_angstrom' has type int64, float is needed"),
    "element is float": (cast("heaviest", float), "column 'heaviest' has type double, integer is needed"),
    "id is a number": (lambda columns: columns | {"sample_id": np.arange(15)}, "column 'sample_id' has type int64, string is needed"),
    "null": (lambda columns: columns | {"score": pa.array([None] + [1.0] * 14)}, "row 0, column 'score': null"),
}


@pytest.mark.parametrize("case", TABLES)
def test_wrong_tables_are_refused(folder, case):
    """Each wrong table is refused with the file, the row, the column and the reason, in one sentence or two and one line."""
    change, message = TABLES[case]
    edit_table(folder, change)
    with pytest.raises(SubmissionError, match=message) as caught:
        read_submission(folder, TASK, DATA)
    assert "predictions.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_broken_files_are_refused(folder):
    """A missing file, a file that is not YAML, a list, a pickle in place of a table: each is named."""
    header, table = folder / "submission.yaml", folder / "predictions.parquet"
    good = header.read_text()
    table.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(SubmissionError, match=r"predictions\.parquet: not a parquet file"):
        read_submission(folder, TASK, DATA)
    table.unlink()
    with pytest.raises(SubmissionError, match=r"predictions\.parquet: there is no such file"):
        read_submission(folder, TASK, DATA)
    for text, message in (("a: [1", "not YAML"), ("- 1", "holds list"), ("!!python/object/apply:os.getcwd []", "not YAML"), ("", "holds NoneType")):
        header.write_text(text)
        with pytest.raises(SubmissionError, match=message):
            read_submission(folder, TASK, DATA)
    header.write_bytes(good.encode() + b"\n#" + b" " * 5_000_000)
    with pytest.raises(SubmissionError, match="bytes, at most"):
        read_submission(folder, TASK, DATA)
    header.unlink()
    with pytest.raises(SubmissionError, match=r"submission\.yaml: there is no such file"):
        read_submission(folder, TASK, DATA)
