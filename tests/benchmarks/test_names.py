"""Names stand on a board as they were written, or are refused at the door."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.benchmarks.names import LONGEST_NAME, check_name, printable
from stemtwin.twin.errors import SettingsError

GOOD = ("a", "log", "Team 7 (Köln)", "東北大学", "می‌خواهم", "👩‍🔬 lab", "x" * LONGEST_NAME, "pkg.mod:Name", "a_b-c/d", "[bold]")
BAD = {
    "": "has no visible character",
    "   ": "has no visible character",
    "\u3164\u2800": "has no visible character",
    "\u200b": "has no visible character",
    "\u200d": "has no visible character",
    "\u0301": "has no visible character",
    "\u00a0": "has no visible character",
    " a": "begins or ends with a blank",
    "a\u00a0": "begins or ends with a blank",
    "a\nb": "a control character, U[+]000A",
    "\x1b[31mred": "a control character, U[+]001B",
    "a\x00": "a control character, U[+]0000",
    "a\u202egol": "a character of direction or format, U[+]202E",
    "a\u2066b": "a character of direction or format, U[+]2066",
    "a\u200bb": "a character of direction or format, U[+]200B",
    "a\ufeffb": "a character of direction or format, U[+]FEFF",
    "a\u2028b": "a line separator",
    "a\ud800b": "half a character",
    "a\ue000b": "a character for private use",
    "x" * (LONGEST_NAME + 1): "has 81 characters; at most 80",
}


@pytest.mark.parametrize("name", GOOD)
def test_names_that_are_taken(name):
    """Any script, joined letters and emoji, and markup, which the board does not read, are names; the console shows them as they are."""
    assert check_name(name, "team") == printable(name) == name


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_names_that_are_refused(name):
    """Blank, control, direction, private and halved characters, and more than eighty, are refused in one printable sentence that names the key."""
    with pytest.raises(SettingsError, match=BAD[name]) as refusal:
        check_name(name, "team")
    said = str(refusal.value)
    assert said.startswith("team=")
    assert said.isascii()
    assert said.isprintable()


def test_no_name_is_a_team_where_it_may_be():
    """A team may be left out, but not be blank."""
    assert check_name("", "team", empty=True) == ""
    with pytest.raises(SettingsError, match="has no visible character"):
        check_name(" ", "team", empty=True)


@given(text=st.text(alphabet=st.characters(), max_size=20), encoding=st.sampled_from(["ascii", "cp1252", "utf-8", "shift_jis"]))
def test_any_text_is_shown_by_any_console(text, encoding):
    """Any text becomes one line that the encoding holds; what is a name and fits the encoding stays as it is."""
    shown = printable(text, encoding)
    assert shown.encode(encoding).decode(encoding) == shown
    assert len(shown.splitlines()) <= 1
    assert printable(shown, encoding) == shown
    try:
        check_name(text, "name").encode(encoding)
    except (SettingsError, UnicodeEncodeError):
        return
    assert shown == text
