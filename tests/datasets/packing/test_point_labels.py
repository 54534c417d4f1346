"""Labelled points in CSV files: each fault is one sentence with file, row, column and repair."""

from pathlib import Path

import numpy as np
import pytest

from stemtwin.datasets.packing.measured_images import MeasuredImages
from stemtwin.datasets.packing.point_labels import read_labels
from stemtwin.twin.errors import DatasetError


def images(name: str = "a.tif", count: int = 1) -> MeasuredImages:
    """Images of 10 x 20 pixels of 0.5 A: the frame ends at 9.75 A along x and 4.75 A along y."""
    return MeasuredImages(name=name, sha256="0" * 64, pixels=np.zeros((count, 10, 20)), sampling_angstrom=0.5)


HEAD = "file,x_angstrom,y_angstrom\n"
FAULTS = {
    "no such file": (None, "labels.csv cannot be read: No such file or directory. Give the CSV file"),
    "empty": ("", "row 1: the column 'file' is missing. Name the columns"),
    "UTF-16": ((HEAD + "a.tif,1,1\n").encode("utf-16"), "row 1: the file is UTF-16 or not text. Save it as CSV in UTF-8"),
    "Latin-1": (HEAD.encode() + b"\xe9.tif,1,1\n", "row 2: the byte 0xe9 is not UTF-8. Save"),
    "semicolons": (HEAD.replace(",", ";") + "a.tif;1,5;2\n", "row 1: the columns are separated by semicolons. Save the file with commas"),
    "byte order mark and semicolons": ("\ufeff" + HEAD.replace(",", ";"), "row 1: the columns are separated by semicolons"),
    "tabs": (HEAD.replace(",", "\t"), "row 1: the columns are separated by tabs"),
    "missing column": ("file,x_angstrom\na.tif,1\n", "row 1: the column 'y_angstrom' is missing"),
    "pixels and lengths": ("file,x_px,y_angstrom\na.tif,1,1\n", "row 1: the column 'x_angstrom' is missing"),
    "pixels without y": ("file,x_px\na.tif,1\n", "row 1: the column 'y_px' is missing"),
    "column twice": ("file,x_angstrom,y_angstrom,file\n", "row 1: the column 'file' occurs twice. Remove one"),
    "unknown column": ("file,x_angstrom,y_angstrom,heavyest\n", "row 1: the column 'heavyest' is not known. Did you mean 'heaviest'"),
    "too many cells": (HEAD + "a.tif,1,5,2,5\n", "row 2: there are 5 cells for 3 columns. Give one cell for each"),
    "open quote": (HEAD + 'a.tif,"1,2\n', "row 2: unexpected end of data. Save"),
    "unknown file": (HEAD + "a.tif,1,1\nb.tif,1,1\n", "row 3, column 'file': 'b.tif' is not one of the packed files. Did you mean 'a.tif'"),
    "a word": (HEAD + "a.tif,1,1\n\na.tif,one,2\n", "row 4, column 'x_angstrom': 'one' is not a finite number. Write it with a decimal point"),
    "decimal comma": (HEAD + 'a.tif,"1,5",2\n', "row 2, column 'x_angstrom': '1,5' is not a finite number"),
    "infinite": (HEAD + "a.tif,1,inf\n", "row 2, column 'y_angstrom': 'inf' is not a finite number"),
    "underscore": (HEAD + "a.tif,1_0,1\n", "row 2, column 'x_angstrom': '1_0' is not a finite number"),
    "one coordinate": (HEAD + "a.tif,1,\n", "row 2, column 'y_angstrom': '' is empty, but the other coordinate is not"),
    "right of the frame": (HEAD + "a.tif,9.75,1\n", "row 2, column 'x_angstrom': '9.75' lies outside the frame of a.tif, -0.2500 to 9.7500 A"),
    "below the frame": (HEAD + "a.tif,1,4.75\n", "row 2, column 'y_angstrom': '4.75' lies outside the frame of a.tif, -0.2500 to 4.7500 A"),
    "above the frame": (HEAD + "a.tif,1,-0.26\n", "row 2, column 'y_angstrom': '-0.26' lies outside"),
    "pixels outside": ("file,x_px,y_px\na.tif,19.5,0\n", "row 2, column 'x_px': '19.5' lies outside the frame of a.tif, -0.5000 to 19.5000 px"),
    "point twice": (HEAD + "a.tif,1,1\na.tif,2,1\na.tif,1.0,1\n", "row 4, column 'x_angstrom': the point repeats that of row 2. Remove one"),
    "empty and not": (HEAD + "a.tif,,\na.tif,1,1\n", "row 3, column 'x_angstrom': this row and row 2 contradict each other about whether a.tif has"),
    "not and empty": (HEAD + "a.tif,1,1\na.tif,nan,NaN\n", "row 3, column 'x_angstrom': this row and row 2 contradict each other about whether"),
    "no row": (HEAD, "no row names a.tif in column 'file'. Give the points of this image, or one row with empty 'x_angstrom' and 'y_angstrom'"),
    "no element": ("file,x_angstrom,y_angstrom,heaviest\na.tif,1,1,119\n", "row 2, column 'heaviest': '119' is not an atomic number from 1 to 118"),
    "half an element": ("file,x_angstrom,y_angstrom,heaviest\na.tif,1,1,6.5\n", "row 2, column 'heaviest': '6.5' is not an atomic number"),
    "some elements": ("file,x_angstrom,y_angstrom,heaviest\na.tif,1,1,6\na.tif,2,1,\n", "row 3, column 'heaviest': the cell is empty, but other"),
    "no such image": (
        "file,x_angstrom,y_angstrom,frame\na.tif,1,1,1\n",
        "row 2, column 'frame': '1' is not the number of an image of a.tif. Give 0 to 0",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence_with_row_column_and_repair(fault: str, tmp_path: Path) -> None:
    """A file of labels that is wrong anywhere names the place of its first fault."""
    content, said = FAULTS[fault]
    path = tmp_path / "labels.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError) as caught:
        read_labels(path, [images()])
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_of_a_stack_are_named(tmp_path: Path) -> None:
    """Points of a stack need the number of their image, and each image needs a row."""
    path, stack = tmp_path / "labels.csv", images(count=2)
    path.write_text(HEAD + "a.tif,1,1\n")
    with pytest.raises(DatasetError, match=r"row 1: the column 'frame' is missing, and a.tif holds 2 images"):
        read_labels(path, [stack])
    path.write_text("file,x_angstrom,y_angstrom,frame\na.tif,1,1,\n")
    with pytest.raises(DatasetError, match=r"row 2, column 'frame': '' is not the number of an image of a.tif. Give 0 to 1"):
        read_labels(path, [stack])
    path.write_text("file,x_angstrom,y_angstrom,frame\na.tif,1,1,0\n")
    with pytest.raises(DatasetError, match=r"no row names image 1 of a.tif in column 'file'"):
        read_labels(path, [stack])
    path.write_text("file,x_angstrom,y_angstrom,frame\na.tif,1,1,0\na.tif,,,1\n")
    found = read_labels(path, [stack])
    assert [len(found["a.tif", frame].positions) for frame in (0, 1)] == [1, 0]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_pixels_are_steps_and_spreadsheets_are_read(mark: str, tmp_path: Path) -> None:
    """Positions in pixels are those in A over the step; a UTF-8 byte order mark, blanks, blank lines and CRLF change nothing."""
    lengths, pixels = tmp_path / "lengths.csv", tmp_path / "pixels.csv"
    lengths.write_text("file,x_angstrom,y_angstrom,heaviest\na.tif,1,2,38\nb.tif,0.25,-0.25,8\n")
    pixels.write_text(f"{mark}file, x_px, y_px, heaviest\r\n a.tif, 2, 4, 38\r\n,,,\r\nb.tif,0.5,-0.5,8\r\n")
    one, other = (read_labels(path, [images("a.tif"), images("b.tif")]) for path in (lengths, pixels))
    for key in one:
        np.testing.assert_array_equal(one[key].positions, other[key].positions)
        np.testing.assert_array_equal(one[key].heaviest, other[key].heaviest)
    assert one["a.tif", 0].positions.tolist() == [[1.0, 2.0]]
