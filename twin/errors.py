"""Every error that stemtwin raises on purpose, its warning of doubtful physics, and the hint about a name that does not exist.

::

    StemtwinError
    ├── UnknownNameError    (KeyError)      a name that no registry holds; says which name was probably meant
    ├── SettingsError       (ValueError)    a setting, or a combination of settings, that makes no sense
    ├── SamplingError       (ValueError)    a grid that cannot hold what was asked of it
    ├── StructureFileError  (ValueError)    a structure that cannot be read or built
    ├── InstrumentError     (RuntimeError)  a command that the instrument refuses; its state is unchanged
    ├── DatasetError        (OSError)       data that cannot be fetched, verified, built or written
    └── SubmissionError     (ValueError)    a submission that is refused before it is scored

A message says what is wrong (name, value, unit), the limit with the numbers that made it, and the repair.

:class:`PhysicsWarning` warns of settings that are legal and whose physics is doubtful.
"""

import difflib
from collections.abc import Iterable


class StemtwinError(Exception):
    """Base of every error that stemtwin raises on purpose."""


class UnknownNameError(StemtwinError, KeyError):
    """A name that no registry holds."""

    def __str__(self) -> str:
        """Return the message as it was given (KeyError would print its repr)."""
        return str(self.args[0]) if self.args else ""


class SettingsError(StemtwinError, ValueError):
    """A setting, or a combination of settings, that makes no sense."""


class SamplingError(StemtwinError, ValueError):
    """A grid that cannot hold what was asked of it."""


class StructureFileError(StemtwinError, ValueError):
    """A structure that cannot be read or built."""


class InstrumentError(StemtwinError, RuntimeError):
    """A command that the instrument refuses; its state is unchanged."""


class DatasetError(StemtwinError, OSError):
    """Data that cannot be fetched, verified, built or written."""


class SubmissionError(StemtwinError, ValueError):
    """A submission that is refused before it is scored."""


class PhysicsWarning(UserWarning):
    """A setting that is legal, and whose physics is doubtful."""


def closest(name: object, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to a wrong one, whatever its case; None where none is similar."""
    folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(str(name).casefold(), folded, n=1)
    return folded[near[0]] if near else None


def suggestion(name: object, known: Iterable[str], *, listed: str = "Known") -> str:
    """Return the last sentence of a message about an unknown name.

    Parameters
    ----------
    name : object
        The name that is not known.
    known : iterable of str
        The known names.
    listed : str
        Beginning of the list of all names, which is given where none of them is similar.

    Returns
    -------
    str
        ``Did you mean 'haadf'?`` or ``Known: haadf, bf.``
    """
    known = list(known)
    near = closest(name, known)
    return f"{listed}: {', '.join(known) or 'none'}." if near is None else f"Did you mean {near!r}?"
