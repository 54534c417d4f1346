"""Exceptions of stemtwin, its warning about doubtful physics, and suggestions for unknown names.

::

    StemtwinError
    ├── UnknownNameError    (KeyError)      an unknown name; the message suggests the most similar known name
    ├── SettingsError       (ValueError)    an invalid setting, or an invalid combination of settings
    ├── SamplingError       (ValueError)    a grid that is too coarse or too small for the request
    ├── StructureFileError  (ValueError)    a structure that cannot be read or built
    ├── InstrumentError     (RuntimeError)  a command that the instrument refuses; its state is unchanged
    ├── DatasetError        (OSError)       data that cannot be fetched, verified, built or written
    └── SubmissionError     (ValueError)    a submission that is refused before it is scored

A message states the error (name, value, unit), the limit with the numbers from which it follows, and the repair.

:class:`PhysicsWarning` marks settings that are valid although their physics is doubtful.
"""

import difflib
from collections.abc import Iterable


class StemtwinError(Exception):
    """Base class of the exceptions of stemtwin."""


class UnknownNameError(StemtwinError, KeyError):
    """Unknown name; the message suggests the most similar known name."""

    def __str__(self) -> str:
        """Return the message itself, not its repr as KeyError does."""
        return str(self.args[0]) if self.args else ""


class SettingsError(StemtwinError, ValueError):
    """Invalid setting, or invalid combination of settings."""


class SamplingError(StemtwinError, ValueError):
    """Grid that is too coarse or too small for the request."""


class StructureFileError(StemtwinError, ValueError):
    """Structure that cannot be read or built."""


class InstrumentError(StemtwinError, RuntimeError):
    """Command that the instrument refuses; its state is unchanged."""


class DatasetError(StemtwinError, OSError):
    """Data that cannot be fetched, verified, built or written."""


class SubmissionError(StemtwinError, ValueError):
    """Submission that is refused before it is scored."""


class PhysicsWarning(UserWarning):
    """Valid setting whose physics is doubtful."""


def closest(name: object, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to an unknown name, regardless of case, or None if no name is similar."""
    folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(str(name).casefold(), folded, n=1)
    return folded[near[0]] if near else None


def suggestion(name: object, known: Iterable[str], *, listed: str = "Known") -> str:
    """Return a suggestion of known names, the last sentence of a message about an unknown name.

    Parameters
    ----------
    name : object
        Unknown name.
    known : iterable of str
        Known names.
    listed : str
        Word before the list of all known names. The list is returned if no known name is similar.

    Returns
    -------
    str
        ``Did you mean 'haadf'?`` or ``Known: haadf, bf.``
    """
    known = list(known)
    near = closest(name, known)
    return f"{listed}: {', '.join(known) or 'none'}." if near is None else f"Did you mean {near!r}?"
