"""How far golden values may be from those of another machine, by the class of an array; on one machine the bits agree.

The class is the first part of an array's name:

======== ============================================================================================================
Class    What may differ
======== ============================================================================================================
truth    nothing; of floats 1e-9 of each value
expected expected signals: 1e-5 of the largest magnitude in the array
counts   electrons, photons and readings of a converter: at most 1e-4 of the values, or one value, or as many as
         1e-7 of the sum of all, since a mean that is rounded by so much of itself changes a drawn count as often;
         by one, where they are large by 1e-4 of themselves and at most 8 (a converter reads several for an electron)
score    1e-6, of values beyond 1 as a part of them
bits     anything: hashes, compared bit for bit only
======== ============================================================================================================
"""

from dataclasses import dataclass

import numpy as np

from tests.golden.registry import Arrays

CLASSES = ("truth", "expected", "counts", "score", "bits")
TRUTH, EXPECTED, SCORE = 1e-9, 1e-5, 1e-6
COUNTS_SHARE, COUNTS_ROUNDING, ELECTRON_ADU = 1e-4, 1e-7, 8
SMALLEST = 1e-12
"""Floats of truth below this are 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One array beside the recorded one.

    Parameters
    ----------
    name : str
        ``<case>/<class>/<name>``.
    shape : tuple of int
        Shape of the new array.
    dtype : str
        Element type of the new array.
    equal : bool
        Whether all bits are the same.
    difference : float
        Largest difference; NaN where there is none to give.
    fault : str
        Reason for which the tolerance is not kept; "" where it is.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    equal: bool
    difference: float
    fault: str

    def refused(self, *, exact: bool) -> bool:
        """Return True where the difference is too large."""
        return bool(self.fault) or (exact and not self.equal)


def class_of(name: str) -> str:
    """Return the class of an array.

    Raises
    ------
    ValueError
        The name does not begin with a class.
    """
    found = name.split("/", maxsplit=1)[0]
    if found not in CLASSES:
        message = f"{name!r} does not begin with one of {', '.join(CLASSES)}. Name arrays <class>/<name>."
        raise ValueError(message)
    return found


def compare(case: str, new: Arrays, recorded: Arrays) -> list[Comparison]:
    """Return one comparison per array of either side, in the order of their names."""
    names = sorted(new | recorded)
    return [compare_array(f"{case}/{name}", class_of(name), new.get(name), recorded.get(name)) for name in names]


def compare_array(name: str, kind: str, new: np.ndarray | None, recorded: np.ndarray | None) -> Comparison:
    """Return the comparison of an array with the recorded one; None stands for one that is not there."""
    if new is None or recorded is None:
        there = new if new is not None else recorded
        assert there is not None  # one of them is there
        fault = "not recorded" if recorded is None else "no longer computed"
        dtype = str(there.dtype)
        return Comparison(name=name, shape=there.shape, dtype=dtype, equal=False, difference=np.nan, fault=fault)
    fault, difference = "", np.nan
    if new.shape != recorded.shape or new.dtype != recorded.dtype:
        fault = f"{recorded.dtype} {recorded.shape} was recorded"
    elif not np.issubdtype(new.dtype, np.number) and new.dtype != bool:
        fault = "other values" if kind != "bits" and not np.array_equal(new, recorded) else ""
    else:
        difference, fault = _differ(kind, new, recorded)
    equal = new.shape == recorded.shape and new.dtype == recorded.dtype and new.tobytes() == recorded.tobytes()
    return Comparison(name=name, shape=new.shape, dtype=str(new.dtype), equal=equal, difference=difference, fault=fault)


def _differ(kind: str, new: np.ndarray, recorded: np.ndarray) -> tuple[float, str]:
    """Return the largest difference of two arrays of numbers, and what is wrong with it."""
    a, b = (np.atleast_1d(values.astype(np.float64)) for values in (new, recorded))
    undefined = np.isnan(a) | np.isnan(b)
    if kind != "bits" and (np.isnan(a) != np.isnan(b)).any():
        return np.nan, "NaN in other places"
    infinite = np.isinf(a) | np.isinf(b)
    if kind != "bits" and (a[infinite] != b[infinite]).any():
        return np.inf, "infinite in other places"
    a, b = a[~(undefined | infinite)], b[~(undefined | infinite)]
    if not a.size:
        return 0.0, ""
    apart, largest = np.abs(a - b), float(np.abs(b).max())
    if kind == "truth" and np.issubdtype(new.dtype, np.inexact):
        wrong = apart > TRUTH * np.abs(b) + SMALLEST
    elif kind == "truth":
        wrong = new.ravel() != recorded.ravel()
    elif kind == "expected":
        wrong = apart > EXPECTED * largest
    elif kind == "score":
        wrong = apart > SCORE * np.maximum(1, np.abs(b))
    elif kind == "counts":
        few = np.count_nonzero(apart) <= max(1, COUNTS_SHARE * new.size, COUNTS_ROUNDING * np.abs(b).sum())
        wrong = apart > (np.clip(COUNTS_SHARE * np.abs(b), 1, ELECTRON_ADU) if few else 0)
    else:
        wrong = np.zeros(1, bool)
    fault = f"{np.count_nonzero(wrong)} of {new.size} values beyond the tolerance" if wrong.any() else ""
    return float(apart.max()), fault
