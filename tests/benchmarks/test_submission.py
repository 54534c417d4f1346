"""A submission is read whole or refused with one sentence that names the file, the row, the column and the reason."""

import codecs
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from stemtwin.benchmarks.answers import tables
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.runner import score_submission
from stemtwin.benchmarks.submission import named_task, read_header, read_submission, write_submission
from stemtwin.benchmarks.submission_paths import check_file
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.errors import SubmissionError
from tests.benchmarks.frames import make

TASK, DATA = find_task("atoms-2d"), make(n=4)
IDS = DATA["sample_id"].values.tolist()
ROWS = 15
"""Rows with points; the next one says that the fourth sample has none."""


@pytest.fixture
def folder(tmp_path):
    """Return a right submission: detections in three samples, none in the fourth."""
    rng = np.random.default_rng(1)
    found = {name: Points.at(rng.uniform(0, 12, (5, 2)), classes=rng.integers(0, 90, 5), confidence=np.ones(5)) for name in IDS[:3]}
    return write_submission(tmp_path / "entry", TASK, found | {IDS[3]: Points.at([])}, split="test", size="tiny", name="mine", team="us")


def edit_header(folder, **changes):
    """Change keys of submission.yaml; None removes one."""
    path = folder / "submission.yaml"
    content = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))


def edit_table(folder, change):
    """Rewrite predictions.parquet by a function of its columns."""
    path = folder / "predictions.parquet"
    columns = {name: np.array(values) for name, values in pq.read_table(path).to_pydict().items()}
    pq.write_table(pa.table({name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in change(columns).items()}), path)


def list_empty(folder):
    """Say in the header, and no more in the table, that the fourth sample has no points."""
    edit_table(folder, lambda columns: {name: values[:ROWS] for name, values in columns.items()})
    edit_header(folder, empty=[IDS[3]])


def digest(folder):
    """Return the digest of what is read."""
    return TASK.form.digest(read_submission(folder, TASK, DATA).found)


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


def cast(name, kind):
    """Return a change of one column's type in Arrow."""
    return lambda columns: columns | {name: pa.array(columns[name]).cast(kind)}


def test_what_was_written_is_read(folder):
    """Writing and reading give the same answers and the same digest; the empty sample has none."""
    read = read_submission(folder, TASK, DATA)
    assert (read.header.name, read.header.team, read.header.split, read.header.size) == ("mine", "us", "test", "tiny")
    assert [len(read.found[name]) for name in IDS] == [5, 5, 5, 0]
    again = write_submission(folder.parent / "again", TASK, read.found, split="test", size="tiny", name="other")
    assert digest(again) == digest(folder)


def test_the_digest_is_of_what_is_scored(folder):
    """The digest ignores the order of rows and confidences, which no metric reads; one changed position or class makes another answer."""
    before = digest(folder)
    edit_table(folder, lambda columns: {name: values[::-1] for name, values in columns.items()})
    assert digest(folder) == before
    edit_table(folder, put(3, score=0.5))
    assert digest(folder) == before
    edit_table(folder, lambda columns: {name: values for name, values in columns.items() if name != "score"})
    assert digest(folder) == before
    for change in (put(3, heaviest=91), put(4, x_angstrom=1.5)):
        edit_table(folder, change)
        assert digest(folder) != before


def test_a_part_left_out_is_not_given(folder):
    """Without classes the metric of classes has no value, with its reason; all others are what they were, and the answers are others."""
    whole = score_submission(TASK, DATA, read_submission(folder, TASK, DATA)).report
    edit_table(folder, lambda columns: {name: values for name, values in columns.items() if name != "heaviest"})
    report = score_submission(TASK, DATA, read_submission(folder, TASK, DATA)).report
    assert (report.metric("macro_f1").value, report.metric("macro_f1").reason) == (None, "not given")
    assert whole.metric("macro_f1").value is not None
    assert report.primary == whole.primary
    assert report.artefact_sha256 != whole.artefact_sha256


def test_an_empty_sample_may_be_said_in_three_ways(folder):
    """A row of NaN, a row of nulls as pandas writes it (then the elements are floats), and the key 'empty' say the same."""
    before = digest(folder)
    nulls = {name: lambda values: pa.array([*values[:ROWS].tolist(), None]) for name in ("x_angstrom", "y_angstrom", "score")}
    nulls["heaviest"] = lambda values: pa.array([*values[:ROWS].astype(float).tolist(), None])
    edit_table(folder, lambda columns: {name: nulls.get(name, pa.array)(values) for name, values in columns.items()})
    assert digest(folder) == before
    list_empty_from_nulls(folder)
    assert digest(folder) == before


def list_empty_from_nulls(folder):
    """Drop the row of nulls and list its sample in the header."""
    path = folder / "predictions.parquet"
    pq.write_table(pq.read_table(path).slice(0, ROWS), path)
    edit_header(folder, empty=[IDS[3]])


TYPES = {
    "categories": ("sample_id", pa.dictionary(pa.int8(), pa.string())),
    "large strings": ("sample_id", pa.large_string()),
    "string views": ("sample_id", pa.string_view()),
    "unsigned": ("heaviest", pa.uint64()),
    "small integers": ("heaviest", pa.int8()),
    "whole floats": ("heaviest", pa.float64()),
    "float32 confidence": ("score", pa.float32()),
    "half confidence": ("score", pa.float16()),
}


@pytest.mark.parametrize("case", TYPES)
def test_types_that_fit_are_taken(folder, case):
    """Texts, integers and floats of every width, and categories, are read as what they hold."""
    before = digest(folder)
    edit_table(folder, cast(*TYPES[case]))
    assert digest(folder) == before


def test_an_index_of_pandas_is_passed_over(folder):
    """A column that pandas made of an index nobody asked for is not read."""
    before = digest(folder)
    edit_table(folder, lambda columns: columns | {"__index_level_0__": np.arange(ROWS + 1)[::-1]})
    assert digest(folder) == before


def test_float32_positions_are_taken(folder):
    """Positions of single precision count as the doubles nearest to them."""
    edit_table(folder, cast("x_angstrom", pa.float32()))
    before = np.concatenate([points.positions for points in read_submission(folder, TASK, DATA).found.values()])
    assert before.dtype == np.float64


HEADERS = {
    "another task": ({"task": "atoms-3d/test@1"}, r"submission\.yaml: key 'task' is 'atoms-3d/test@1'; accepted here: atoms-2d/test@1"),
    "another version": ({"task": "atoms-2d/test@2"}, "key 'task' is 'atoms-2d/test@2'"),
    "another split": ({"task": "atoms-2d/hidden@1"}, "key 'task' is 'atoms-2d/hidden@1'"),
    "another dataset": ({"dataset": "atoms-2d@0.9.0"}, r"key 'dataset' is 'atoms-2d@0\.9\.0'; accepted here: atoms-2d@1\.0\.0"),
    "another schema": ({"schema": "stemtwin/submission@9"}, "key 'schema' is 'stemtwin/submission@9'"),
    "no name": ({"name": None}, "key 'name': Field required"),
    "blank name": ({"name": " \u2800"}, "name=' .u2800' has no visible character"),
    "turned name": ({"team": "a\u202eb"}, r"team='a\\u202eb' holds a character of direction or format, U\+202E"),
    "control name": ({"name": "a\x1b[2Jb"}, r"name=.* holds a control character, U\+001B"),
    "unknown key": ({"colour": "red"}, "key 'colour': Extra inputs are not permitted"),
    "wrong type": ({"empty": 3}, "key 'empty': Input should be a valid tuple"),
    "unknown empty": ({"empty": [IDS[3], "nowhere"]}, "key 'empty': 'nowhere' is not a sample of this split"),
    "empty twice": ({"empty": [IDS[3], IDS[3]]}, f"key 'empty': '{IDS[3]}' is listed twice"),
    "empty and not": ({"empty": [IDS[3], IDS[0]]}, f"key 'empty': '{IDS[0]}' has rows in the table"),
    "missing sample": ({"empty": []}, rf"predictions\.parquet, column 'sample_id': 1 of 4 samples have no row; the first is '{IDS[3]}'"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_wrong_headers_are_refused(folder, case):
    """Each wrong header is refused with the key, its value and what is accepted."""
    changes, message = HEADERS[case]
    list_empty(folder)
    edit_header(folder, **changes)
    with pytest.raises(SubmissionError, match=message):
        read_submission(folder, TASK, DATA)


TEXTS = {
    "a list not closed": ("a: [1", "not YAML"),
    "a list": ("- 1", "contains list"),
    "code": ("!!python/object/apply:os.getcwd []", "not YAML"),
    "nothing": ("", "contains NoneType"),
    "a key twice": ("name: a\ntask: b\nname: c", "line 3: key 'name' occurs twice"),
    "a key twice inside": ("method: {a: 1, a: 2}", "line 1: key 'a' occurs twice"),
    "an alias": ("a: &x [1]\nb: *x", "line 1: an anchor or an alias"),
    "depth": ("a: [[[1]]]", "line 1: values are nested more than 3 deep"),
    "great depth": ("a: " + "[" * 30000, "line 1: values are nested more than 3 deep"),
    "a key of keys": ("? {a: 1}\n: 2", "line 1: a key that is not text"),
    "length": ("#" + " " * 64_000, "64001 bytes; at most 64000 are read"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_texts_that_are_no_header_are_refused(folder, case):
    """Duplicate keys, anchors, depth, length, code and what is no mapping are named, with the line."""
    text, message = TEXTS[case]
    (folder / "submission.yaml").write_text(text)
    with pytest.raises(SubmissionError, match=message) as caught:
        read_submission(folder, TASK, DATA)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mark", "encoding"), [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"), (b"", "utf-8")]
)
def test_byte_order_marks_are_read(folder, mark, encoding):
    """A header with a byte order mark, as editors on Windows write it, says what it says without."""
    path = folder / "submission.yaml"
    text = path.read_text().replace("team: us", "team: Öl")
    path.write_bytes(mark + text.encode(encoding))
    assert read_submission(folder, TASK, DATA).header.team == "Öl"


TABLES = {
    "unknown id": (put(2, sample_id="atoms-2d/test/999999"), "row 2, column 'sample_id': 'atoms-2d/test/999999' is not a sample of this split"),
    "x not finite": (put(3, x_angstrom=np.inf), "row 3, column 'x_angstrom': inf is not finite"),
    "only y is NaN": (put(3, y_angstrom=np.nan), "row 3, column 'y_angstrom': nan is not finite"),
    "score is NaN": (put(4, score=np.nan), "row 4, column 'score': nan is not finite"),
    "no such element": (put(1, heaviest=119), "row 1, column 'heaviest': 119 is not between 0 and 118"),
    "negative element": (put(1, heaviest=-1), "row 1, column 'heaviest': -1 is not between 0 and 118"),
    "half an element": (
        lambda columns: columns | {"heaviest": columns["heaviest"] + 0.5},
        r"row 0, column 'heaviest': .*\.5 is not a 64-bit integer",
    ),
    "huge element": (
        lambda columns: columns | {"heaviest": np.full(ROWS + 1, 2**64 - 1, np.uint64)},
        "column 'heaviest': 18446744073709551615 is not",
    ),
    "left of the frame": (put(0, x_angstrom=-0.11), r"row 0, column 'x_angstrom': -0\.11 lies outside the frame, -0\.1000 to 12\.7000 A"),
    "below the frame": (put(0, y_angstrom=12.71), r"row 0, column 'y_angstrom': 12\.71 lies outside the frame"),
    "a row twice": (append(), r"row 16, column 'x_angstrom': .* repeats the position of row 0"),
    "nothing and something": (append(x_angstrom=np.nan, y_angstrom=np.nan), "row 16, column 'x_angstrom': nan says that nothing was found"),
    "column missing": (lambda columns: {k: v for k, v in columns.items() if k != "y_angstrom"}, "column 'y_angstrom' is missing"),
    "column too many": (lambda columns: columns | {"z_angstrom": columns["score"]}, "column 'z_angstrom' is not one of"),
    "x is text": (cast("x_angstrom", "string"), "column 'x_angstrom' has type (large_)?string; float is needed"),
    "x is integer": (lambda columns: columns | {"x_angstrom": np.arange(ROWS + 1)}, "column 'x_angstrom' has type int64; float is needed"),
    "id is a number": (lambda columns: columns | {"sample_id": np.arange(ROWS + 1)}, "column 'sample_id' has type int64; string is needed"),
    "null": (lambda columns: columns | {"score": pa.array([None] + [1.0] * ROWS)}, "row 0, column 'score': null"),
    "null id": (lambda columns: columns | {"sample_id": pa.array([None, *columns["sample_id"][1:].tolist()])}, "row 0, column 'sample_id': null"),
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


def test_millions_of_rows_in_a_small_file_are_refused_unread(folder, monkeypatch):
    """Four million equal rows take less than 100 kB; the footer's number refuses them before one is read."""
    path = folder / "predictions.parquet"
    one = np.ones(1_000_000)
    part = pa.table({"sample_id": pa.DictionaryArray.from_arrays(one.astype(np.int8), IDS), "x_angstrom": one, "y_angstrom": one})
    with pq.ParquetWriter(path, part.schema, compression="zstd") as writer:
        for _ in range(4):
            writer.write_table(part)
    assert path.stat().st_size < 1e5
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *_, **__: pytest.fail("the table was read"))
    with pytest.raises(SubmissionError, match=r"4000000 rows; at most 40000 are read \(10000 for each of 4 samples\)"):
        read_submission(folder, TASK, DATA)
    monkeypatch.setattr(tables, "LARGEST_BYTES", 100)
    pq.write_table(part.slice(0, 4), path)
    with pytest.raises(SubmissionError, match="bytes once unpacked; at most 100 are read"):
        read_submission(folder, TASK, DATA)


def without(name):
    """Return a change of the folder that removes a file."""
    return lambda folder: (folder / name).unlink()


def in_place(content, name="predictions.parquet"):
    """Return a change of the folder that writes a file."""
    return lambda folder: (folder / name).write_bytes(content)


def parts(folder):
    """Put a folder of parts in the place of the table."""
    table = folder / "predictions.parquet"
    content = table.read_bytes()
    table.unlink()
    table.mkdir()
    (table / "part-0.parquet").write_bytes(content)


def loose_parts(folder):
    """Leave parts without a header."""
    for name in ("a.parquet", "b.parquet"):
        (folder / name).write_bytes((folder / "predictions.parquet").read_bytes())
    (folder / "predictions.parquet").unlink()
    (folder / "submission.yaml").unlink()


FOLDERS = {
    "no header": (without("submission.yaml"), r"submission\.yaml: there is no such file, only predictions\.parquet: a table without its header"),
    "no table": (without("predictions.parquet"), r"predictions\.parquet: there is no such file; a header alone is not a submission"),
    "parts": (parts, r"predictions\.parquet is a folder of parts, but one file is needed"),
    "loose parts": (loose_parts, "contains 2 parquet files, such as 'a.parquet', and has no submission.yaml"),
    "a pickle": (in_place(b"\x80\x04K\x01."), r"predictions\.parquet is not a parquet file"),
    "an empty table": (in_place(b""), "not a parquet file, but an empty file"),
    "commas": (in_place(b"sample_id,x\na,1\nb,2\n"), "not a parquet file, but a CSV file separated by commas"),
    "semicolons": (in_place(b"\xef\xbb\xbfsample_id;x\r\na;1,5\r\nb;2,5\r\n"), "not a parquet file, but a CSV file separated by semicolons"),
    "cut off": (in_place(b"PAR1 and no end"), "not a parquet file"),
}


@pytest.mark.parametrize(("major", "registered"), [(1, "atoms-2d"), (2, "atoms-2d@2"), (9, "atoms-2d")])
def test_a_header_names_its_task_in_its_version(folder, major, registered):
    """The second version of a task is not taken for the first; a version that does not exist is, for the check of the header to refuse it."""
    edit_header(folder, task=f"atoms-2d/test@{major}")
    assert named_task(read_header(folder)).registered == registered


@pytest.mark.parametrize("case", FOLDERS)
def test_folders_that_are_no_submission_are_named(folder, case):
    """A lone table, a lone header, parts, tables of other kinds: the sentence names what is there."""
    change, message = FOLDERS[case]
    change(folder)
    with pytest.raises(SubmissionError, match=message):
        read_submission(folder, TASK, DATA)


def test_files_in_place_of_a_folder_are_named(folder, tmp_path):
    """A zip, a table, a header and a CSV file handed in alone are named for what they are; what may be a report is not."""
    packed = tmp_path / "entry.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(folder / "submission.yaml", "submission.yaml")
    table = tmp_path / "answers.csv"
    table.write_text("sample_id;x\na;1\n")
    told = {packed: "a zip archive", folder / "predictions.parquet": "a parquet table without its header", table: "separated by semicolons"}
    for path, message in (told | {folder / "submission.yaml": "a header without its folder"}).items():
        for refuse in (check_file, lambda path: read_submission(path, TASK, DATA)):
            with pytest.raises(SubmissionError, match=message):
                refuse(path)
    report = tmp_path / "report.json"
    report.write_text('{"a": 1,\n "b": 2}')
    check_file(report)
