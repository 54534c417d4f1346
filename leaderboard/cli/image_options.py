"""Checked options of ``stemtwin image``, with the resulting beam and thermal motion."""

from dataclasses import dataclass, replace
from typing import Any

from stemtwin.leaderboard.cli.number_lists import parse_numbers
from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError

DEFAULT_DETECTORS = "haadf,abf"
"""Default detectors of an image."""
DEFAULT_PHONONS = 4
"""Default number of frozen-phonon configurations, if the atoms move and the engine does not average over the lattice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """Checked options of ``stemtwin image``.

    Parameters
    ----------
    signal, instrument : str
        Names of the signal and of the instrument's profile.
    detectors : tuple of str
        Names of the detectors and derived signals of an image.
    own_detectors : bool
        Whether the user named the detectors. If so, all of them are computed, even if this takes a long time.
    exact : bool
        Whether an exact image is computed even if it takes long, instead of a quick image.
    size : float
        Side of the field, A.
    points, pixels : int, optional
        Points along a side of the field, and pixels along a side of a camera; None selects the signal's default.
    outer : float, optional
        Angle at the camera's edge, mrad.
    energies : tuple of float, optional
        Lowest and highest energy and the width of a channel, eV.
    semiangle : float, optional
        Convergence semi-angle, mrad; None selects that of the instrument profile.
    defoci : tuple of float, optional
        Values of the underfocus, A; None selects the signal's default.
    tilts : tuple of (float, float)
        Tilts of the specimen (ty, tx), mrad.
    depths : tuple of float, optional
        Depths of a thickness series, A.
    phonons : int, optional
        Number of frozen-phonon configurations.
    dose : float
        Dose, e-/A^2; 0 means no noise.
    seed : int
        Random seed.
    """

    signal: str
    instrument: str
    detectors: tuple[str, ...]
    own_detectors: bool
    exact: bool
    size: float
    points: int | None
    pixels: int | None
    outer: float | None
    energies: tuple[float, ...] | None
    semiangle: float | None
    defoci: tuple[float, ...] | None
    tilts: tuple[tuple[float, float], ...]
    depths: tuple[float, ...] | None
    phonons: int | None
    dose: float
    seed: int

    @property
    def series(self) -> dict[str, tuple[Any, ...]]:
        """Values of each varied setting, by the name of the setting in ``simulate_series``."""
        found: dict[str, tuple[Any, ...]] = {}
        if self.defoci is not None and len(self.defoci) > 1:
            found["defocus"] = self.defoci
        if len(self.tilts) > 1:
            found["tilt_mrad"] = self.tilts
        if self.depths is not None:
            found["depths_angstrom"] = self.depths
        return found

    def defocus(self, usual: float = 0.0) -> float:
        """Return the underfocus, A: the first value of a series, or ``usual`` if no underfocus was given."""
        return usual if self.defoci is None else self.defoci[0]

    def thermal_motion(self, sample: Any) -> int | str:
        """Return the setting ``phonons`` of a request: the number of configurations, or ``"static"`` if that number is 0.

        Raises
        ------
        SettingsError
            Configurations are requested for a static sample.
        """
        moves = sample.thermal_sigma_angstrom is not None
        count = (DEFAULT_PHONONS if moves else 0) if self.phonons is None else self.phonons
        if count and not moves:
            message = f"--phonons {count} needs thermal motion, but {sample.name} is static. Use --thermal, or --phonons 0."
            raise SettingsError(message)
        return count or "static"

    def beam(self, sample: Any, usual_defocus: float = 0.0) -> Any:
        """Return the beam of the instrument without its instabilities; ``usual_defocus`` is the underfocus (A) if the options name none."""
        from stemtwin.twin.instrument.hardware.profiles import PROFILES
        from stemtwin.twin.instrument.scope.microscope import Microscope

        scope = Microscope(sample, PROFILES[self.instrument].still(), seed=self.seed)
        scope.set(C10=-self.defocus(usual_defocus))
        if self.semiangle is not None:
            scope.set(semiangle_mrad=self.semiangle)
        return scope.truth()["beam"]

    def beams(self, sample: Any) -> list[Any]:
        """Return the beams at the smallest and at the largest underfocus of a defocus series."""
        return [replace(self, defoci=(value,)).beam(sample) for value in (min(self.defoci or (0.0,)), max(self.defoci or (0.0,)))]


def check_options(given: dict[str, Any]) -> ImageOptions:
    """Check the values given on the command line, by option name, and return the options.

    Raises
    ------
    SettingsError
        A value cannot be read or is out of range.
    """
    checks.number("--size", given["size"], "A", low=2, high=500)
    checks.number("--dose", given["dose"], "e-/A^2", low=0, high=1e12)
    limits = {"points": (1, 4096), "pixels": (8, 2048), "phonons": (0, 1000), "seed": (0, None)}
    whole: dict[str, Any] = {
        name: None if given[name] is None else checks.whole(f"--{name}", given[name], low=low, high=high) for name, (low, high) in limits.items()
    }
    for name, unit in (("semiangle", "mrad"), ("outer", "mrad")):
        if given[name] is not None:
            checks.number(f"--{name}", given[name], unit, above=0, high=300)
    depths = None if given["depths"] is None else tuple(sorted(parse_numbers("--depths", given["depths"], "A")))
    defoci = None if given["defocus"] is None else parse_numbers("--defocus", given["defocus"], "A")
    detectors = tuple(name.strip() for name in (given["detectors"] or DEFAULT_DETECTORS).split(",") if name.strip())
    same = {name: given[name] for name in ("signal", "instrument", "exact", "size", "outer", "semiangle", "dose")}
    return ImageOptions(
        **same, **whole, detectors=detectors, own_detectors=given["detectors"] is not None, energies=_energies(given["energies"]), defoci=defoci,
        tilts=_tilts(given["tilt_x"], given["tilt_y"]), depths=depths,
    )  # fmt: skip


def _energies(text: str | None) -> tuple[float, ...] | None:
    """Return lowest energy, highest energy and channel width, eV."""
    if text is None:
        return None
    found = parse_numbers("--energies", text, "eV")
    if len(found) != 3 or ":" in text:
        message = f"--energies {text} must be three numbers in eV: the lowest, the highest and the width of a channel. "
        message += "Write, for example, 0,1000,0.5."
        raise SettingsError(message)
    return found


def _tilts(along_x: str, along_y: str) -> tuple[tuple[float, float], ...]:
    """Return tilts (ty, tx), mrad; a single number of one option is combined with every number of the other."""
    tx, ty = parse_numbers("--tilt-x", along_x, "mrad"), parse_numbers("--tilt-y", along_y, "mrad")
    if len(tx) != len(ty) and 1 not in (len(tx), len(ty)):
        message = f"--tilt-x has {len(tx)} values and --tilt-y {len(ty)}. Give both the same number of values, or one of them a single value."
        raise SettingsError(message)
    count = max(len(tx), len(ty))
    return tuple(zip(ty if len(ty) == count else ty * count, tx if len(tx) == count else tx * count, strict=True))
