"""EMSA spectra as programs in many countries write them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemtwin.datasets.formats import read_file
from stemtwin.twin.errors import DatasetError, SettingsError

WORDS = {
    "FORMAT": "EMSA/MAS Spectral Data File", "VERSION": "1.0", "TITLE": "Ti edge: 12:00", "NPOINTS": "4.", "NCOLUMNS": "1.", "XUNITS": "eV",
    "YUNITS": "counts", "DATATYPE": "Y", "XPERCHAN": "10.0", "OFFSET": "400.0", "SIGNALTYPE": "ELS", "BEAMKV   -kV": "200.0",
    "CONVANGLE-mR": "21", "COLLANGLE-mR": "36",
}  # fmt: skip


def emsa(numbers: str, *, end: bool = True, **words: str) -> str:
    """Return a file's text; ``words`` replace keywords."""
    listed = {**WORDS, **words}
    lines = [f"#{key:<13}: {value}" for key, value in listed.items() if value]
    return "\n".join([*lines, "#SPECTRUM    : Spectral Data Starts Here", numbers, *(["#ENDOFDATA   : "] if end else [])]) + "\n"


def read(path: Path, text: str | bytes) -> Any:
    """Return the spectrum of a file that has this text."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (array,) = read_file(path).data_vars.values()
    return array


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ("1.5\n2.5\n3.5\n4.5", {}),
        ("1.5, \n2.5, \n3.5, \n4.5, ", {}),
        ("1.5, 2.5,\n3.5, 4.5,", {"NCOLUMNS": "2"}),
        ("1.5 2.5 3.5 4.5", {"NCOLUMNS": "4"}),
        ("1,5\n2,5\n3,5\n4,5", {}),
        ("1,5\n2,5\n3,5\n4,5", {"XPERCHAN": "10,0", "OFFSET": "400,0"}),
        ("1,5; 2,5; 3,5; 4,5", {"XPERCHAN": "10,0", "OFFSET": "400,0", "BEAMKV   -kV": "200,0"}),
        ("1,5, 2,5, 3,5, 4,5", {"XPERCHAN": "10,0", "OFFSET": "400,0"}),
        ("1,5,2,5,3,5,4,5", {"XPERCHAN": "10,0", "OFFSET": "400,0"}),
        ("15.D-1\n2.5E+00\n3.5e0\n4.5", {"XPERCHAN": "1.0 E+01"}),
        ("400.0, 1.5\n410.0, 2.5\n420.0, 3.5\n430.0, 4.5", {"DATATYPE": "XY", "XPERCHAN": "", "OFFSET": ""}),
        ("400,0 1,5\n410,0 2,5\n420,0 3,5\n430,0 4,5", {"DATATYPE": "XY"}),
        ("400,0;1,5\n410,0;2,5\n420,0;3,5\n430,0;4,5", {"DATATYPE": "XY", "XPERCHAN": "10,0"}),
        ("400.0, 1.5, 410.0, 2.5\n420.0, 3.5, 430.0, 4.5", {"DATATYPE": "XY", "NCOLUMNS": "2"}),
        ("0.4\t1.5\n0.41\t2.5\n0.42\t3.5\n0.43\t4.5", {"DATATYPE": "", "XUNITS": "keV"}),
        ("\n1.5\n\n; a remark\n2.5\n3.5\n4.5\n", {"NPOINTS": ""}),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_numbers_of_all_kinds(tmp_path: Path, numbers: str, words: dict[str, str], newline: str) -> None:
    """Four values from 400 eV in steps of 10 eV, whatever parts numbers, decimals and lines; the microscope's settings come along."""
    array = read(tmp_path / "a.msa", emsa(numbers, **words).replace("\n", newline))
    assert array.dims == ("energy",)
    np.testing.assert_array_equal(array, [1.5, 2.5, 3.5, 4.5])
    np.testing.assert_allclose(array["energy"], [400, 410, 420, 430])
    assert array.name == "Ti_edge_12_00"
    settings = {"signal_type": "EELS", "energy_ev": 200e3, "semiangle_mrad": 21.0, "collection_mrad": 36.0}
    assert {name: array.attrs[name] for name in settings} == settings


def test_pairs_of_integers_are_not_decimals(tmp_path: Path) -> None:
    """Energies and counts with a comma between and no space: pairs, as the number of points says."""
    array = read(tmp_path / "a.msa", emsa("400,7\n410,8\n420,9\n430,3", DATATYPE="XY"))
    np.testing.assert_array_equal(array, [7, 8, 9, 3])
    array = read(tmp_path / "a.msa", emsa("7,8\n9,3", NCOLUMNS="2"))
    np.testing.assert_array_equal(array, [7, 8, 9, 3])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    """Marks of the byte order, and Latin-1, at the beginning and in units: the file is read."""
    array = read(tmp_path / "a.msa", "\n" * (encoding != "utf-16") + emsa("1\n2\n3\n4", TITLE="10 \u00b5m").replace("#FORMAT", "#format"))
    np.testing.assert_array_equal(array, [1, 2, 3, 4])
    array = read(tmp_path / "a.msa", emsa("1\n2\n3\n4", XUNITS="\u00b5m", XPERCHAN="1", SIGNALTYPE="CLS", XLABEL="wavelength").encode(encoding))
    assert array.dims == ("wavelength",)
    assert float(array["wavelength"][1] - array["wavelength"][0]) == pytest.approx(1e4)


def test_uneven_energies(tmp_path: Path) -> None:
    """Energies that are not evenly spaced are kept as they stand."""
    array = read(tmp_path / "a.msa", emsa("400 1\n410 2\n430 3\n460 4", DATATYPE="XY"))
    np.testing.assert_array_equal(array["energy"], [400, 410, 430, 460])


@pytest.mark.parametrize(
    ("numbers", "words", "message"),
    [
        ("1\n2\n3\n4", {"XPERCHAN": "ten"}, "#XPERCHAN of .*a.msa is 'ten', which is not a number"),
        ("1\n2\n3\n4", {"NPOINTS": "many"}, "#NPOINTS of .*a.msa is 'many', which is not a number"),
        ("1\n2\nthree\n4", {}, "Value 3 after #SPECTRUM of .*a.msa is 'three', which is not a number"),
        ("", {}, "holds no numbers after #SPECTRUM"),
    ],
)
def test_what_is_not_a_number_is_named(tmp_path: Path, numbers: str, words: dict[str, str], message: str) -> None:
    """The keyword or the place, the value and the file, in one sentence."""
    with pytest.raises(DatasetError, match=message):
        read(tmp_path / "a.msa", emsa(numbers, **words))


def test_missing_points_and_scales(tmp_path: Path) -> None:
    """A file without end that lacks points is refused; an ended one is read with a note, as is a setting that is not a number.

    Without a step or a unit, energies are not calibrated.
    """
    with pytest.raises(DatasetError, match="ends after 3 of the 4 points"):
        read(tmp_path / "a.msa", emsa("1\n2\n3", end=False))
    np.testing.assert_array_equal(read(tmp_path / "a.msa", emsa("1\n2\n3\n4", end=False)), [1, 2, 3, 4])
    (tmp_path / "b.msa").write_text(emsa("1\n2\n3", **{"BEAMKV   -kV": "unknown"}))
    note = read_file(tmp_path / "b.msa").attrs["import_note"]
    assert "#BEAMKV is 'unknown'" in note
    assert "#NPOINTS states 4 points, but the file holds 3" in note
    for words in ({"XPERCHAN": ""}, {"XPERCHAN": "0"}, {"XUNITS": ""}):
        with pytest.raises(SettingsError, match=r"a\.msa has no calibration"):
            read(tmp_path / "a.msa", emsa("1\n2\n3\n4", **words))
