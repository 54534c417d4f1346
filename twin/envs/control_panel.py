"""The control panel of a microscope: controls and read-backs as numbers from -1 to 1."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from stemtwin.twin.instrument.hardware.profiles import Profile
from stemtwin.twin.instrument.hardware.stage import StagePosition
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.knobs import Knobs
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.aberrations import Aberrations

COEFFICIENTS = tuple(Aberrations().cartesian())
"""Names of the Cartesian aberrations with knobs, to fifth order."""
QUARTER_WAVES = {1: 10.0, 2: 4.0, 3: 4.0, 4: 1.0, 5: 1.0}
"""Largest value of an aberration by its order, in units of the value that gives a quarter-wave phase at the aperture's edge."""
ORDINALS = ("", "1st", "2nd", "3rd", "4th", "5th")
FIELD_ANGSTROM = (4.0, 256.0)
DWELL_US = (0.1, 100.0)
REACH_ANGSTROM = 100.0
"""Largest distance of the field's centre from the origin along each axis, A."""
STAGE_ANGSTROM, STAGE_MRAD = 1000.0, 20.0
STAGE_AXES = ("x_angstrom", "y_angstrom", "z_angstrom", "alpha_mrad", "beta_mrad")
STAGE_SCALE = np.array([STAGE_ANGSTROM] * 3 + [STAGE_MRAD] * 2)
TILT_MRAD, SHIFT_ANGSTROM = 5.0, 50.0
LONGEST_WAIT_S = 60.0
GAIN, OFFSET = (0.1, 10.0), 1000.0
CURRENTS = 1e-3
"""Smallest beam current, as a fraction of the profile's largest current."""
STEP = 0.25
"""Largest change by one incremental action, as a fraction of half the range."""
DIRECT = ("acquire", "aperture", "blanked", "camera_length", "wait")
"""Parts of an action that are set directly even in incremental actions."""

Nested = dict[str, Any]


def logarithmic(value: float, low: float, high: float) -> float:
    """Convert a number in [-1, 1] to a value between two limits on a logarithmic scale."""
    return float(low * (high / low) ** ((float(value) + 1) / 2))


def place(value: float, low: float, high: float) -> float:
    """Convert a value between two limits on a logarithmic scale to a number in [-1, 1]."""
    return 2 * math.log(value / low) / math.log(high / low) - 1


def choice(value: float, choices: tuple[float, ...]) -> float:
    """Convert a choice to a number in [-1, 1], from its position among all choices; a single choice gives 0."""
    return 2 * choices.index(value) / (len(choices) - 1) - 1 if len(choices) > 1 else 0.0


def square(side: float, shape: tuple[int, int]) -> tuple[float, float]:
    """Return the height and width of a field of view with square pixels, from its longer side and its shape (ny, nx)."""
    longest = max(shape)
    return side * shape[0] / longest, side * shape[1] / longest


def unit(count: int) -> gym.spaces.Box:
    """Return the space of ``count`` numbers from -1 to 1."""
    return gym.spaces.Box(-1.0, 1.0, (count,), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Read-back of one knob.

    Parameters
    ----------
    group, name : str
        Part of the microscope, and label of the knob.
    value : float
        Position of the knob within its range, in [-1, 1].
    text : str
        The value with its unit.
    """

    group: str
    name: str
    value: float
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPanel:
    """Controls of a microscope that actions can set.

    Parameters
    ----------
    profile : Profile
        The instrument.
    detectors : tuple of str
        Names of the detectors that record every frame.
    shape : tuple of int
        Numbers of scan points (ny, nx) of every frame.
    semiangles_mrad, camera_lengths_mm : tuple of float
        Available apertures (mrad) and camera lengths, mm.
    coefficients : tuple of str
        Names of the Cartesian aberrations that have a knob.
    tilting : bool
        Whether the beam and the stage can be tilted.
    complete : bool
        Whether the panel also has controls without effect: a choice with a single aperture or camera length, and the
        gain and offset of detectors without a read-out chain.
    """

    profile: Profile
    detectors: tuple[str, ...]
    shape: tuple[int, int]
    semiangles_mrad: tuple[float, ...]
    camera_lengths_mm: tuple[float, ...]
    coefficients: tuple[str, ...] = COEFFICIENTS
    tilting: bool = False
    complete: bool = False

    @property
    def axes(self) -> int:
        """Number of movable axes of the stage."""
        return 5 if self.tilting else 3

    @property
    def chained(self) -> tuple[str, ...]:
        """Detectors with a gain and an offset on the panel."""
        return tuple(name for name in self.detectors if self.complete or self.profile.chain(name) is not None)

    @property
    def reach(self) -> np.ndarray:
        """Largest absolute value of each aberration on the panel, A."""
        return reach_angstrom(self.coefficients, self.profile.semiangle_mrad, self.profile.energy_ev)

    def _chosen(self, name: str, choices: tuple[float, ...]) -> dict[str, gym.Space]:
        return {name: gym.spaces.Discrete(len(choices))} if self.complete or len(choices) > 1 else {}

    @property
    def action_space(self) -> gym.spaces.Dict:
        """Space of actions: the setpoints of all controls, as numbers in [-1, 1] or as indices of discrete choices."""
        channels = len(self.chained)
        chain = {"gain": unit(channels), "offset": unit(channels)} if channels else {}
        detectors = {**self._chosen("camera_length", self.camera_lengths_mm), **chain}
        beam = {
            "optics": unit(len(self.coefficients)),
            **self._chosen("aperture", self.semiangles_mrad),
            "current": unit(1),
            "shift": unit(2),
            "blanked": gym.spaces.Discrete(2),
            **({"tilt": unit(2)} if self.tilting else {}),
        }
        return gym.spaces.Dict(
            {
                "scan": gym.spaces.Dict({"acquire": gym.spaces.Discrete(2), "field": unit(4), "dwell": unit(1)}),
                "beam": gym.spaces.Dict(beam),
                **({"detectors": gym.spaces.Dict(detectors)} if detectors else {}),
                "stage": unit(self.axes),
                "wait": unit(1),
            }
        )

    @property
    def observed(self) -> dict[str, gym.Space]:
        """Observation spaces by name: the frames, a flag for new frames, and the read-backs of the knobs and of the stage."""
        return {
            "frames": gym.spaces.Box(0, 65535, (len(self.detectors), *self.shape), np.uint16),
            "fresh": gym.spaces.MultiBinary(1),
            "knobs": unit(self.count),
            "stage": self.stage_space(),
        }

    def stage_space(self) -> gym.spaces.Box:
        """Return the space of the readings of the stage's encoders, A and mrad."""
        ends = (2 * STAGE_SCALE).astype(np.float32)[: self.axes]
        return gym.spaces.Box(-ends, ends, (self.axes,), np.float32)

    # ---- from an action to commands

    def aberrations(self, action: Nested) -> dict[str, float]:
        """Return the Cartesian aberrations that an action sets, A."""
        return dict(zip(self.coefficients, (action["beam"]["optics"] * self.reach).tolist(), strict=True))

    def changes(self, action: Nested) -> dict[str, Any]:
        """Return the arguments of ``Microscope.set`` for an action: the values of all knobs by name, without the aberrations."""
        beam, detectors, profile = action["beam"], action.get("detectors", {}), self.profile
        return {
            "current_pa": logarithmic(beam["current"][0], profile.max_current_pa * CURRENTS, profile.max_current_pa),
            "semiangle_mrad": self.semiangles_mrad[int(beam.get("aperture", 0))],
            "beam_tilt_mrad": tuple((TILT_MRAD * beam.get("tilt", np.zeros(2))).tolist()),
            "beam_shift_angstrom": tuple((SHIFT_ANGSTROM * beam["shift"]).tolist()),
            "blanked": bool(beam["blanked"]),
            "camera_length_mm": self.camera_lengths_mm[int(detectors.get("camera_length", 0))],
            "gain": {name: logarithmic(value, *GAIN) for name, value in self._chains(detectors.get("gain", ()))},
            "offset_adu": {name: float(OFFSET * value) for name, value in self._chains(detectors.get("offset", ()))},
        }

    def _chains(self, values: Any) -> list[tuple[str, float]]:
        """Return the detectors with a read-out chain and their values; the others count electrons."""
        return [(name, value) for name, value in zip(self.chained, values, strict=True) if self.profile.chain(name) is not None]

    def way(self, action: Nested) -> dict[str, float]:
        """Return the stage position that an action commands, by axis, A and mrad."""
        return dict(zip(STAGE_AXES, (action["stage"] * STAGE_SCALE[: len(action["stage"])]).tolist(), strict=False))

    def scan(self, field: Any, rotation_rad: float = 0.0) -> RasterScan:
        """Return the raster scan for four numbers in [-1, 1]: centre x, centre y, size and rotation.

        The scan is additionally rotated by ``rotation_rad``.
        """
        x, y, size, turn = (float(value) for value in field)
        (height, width), (ny, nx) = square(logarithmic(size, *FIELD_ANGSTROM), self.shape), self.shape
        return RasterScan(
            shape=self.shape,
            field_of_view_angstrom=(height, width),
            origin_angstrom=(REACH_ANGSTROM * x - width * (nx - 1) / (2 * nx), REACH_ANGSTROM * y - height * (ny - 1) / (2 * ny)),
            rotation_rad=math.pi * turn + rotation_rad,
        )

    def dwell_time_us(self, dwell: float) -> float:
        """Return the dwell time for a number in [-1, 1], us."""
        return logarithmic(dwell, *DWELL_US)

    # ---- from knobs to read-backs

    def readings(self, knobs: Knobs) -> tuple[Reading, ...]:
        """Return the read-backs of all knobs, in the order of the observation."""
        profile, gain, offset = self.profile, dict(knobs.gain), dict(knobs.offset_adu)
        cartesian = knobs.aberrations.cartesian()
        out: list[Reading] = []

        def add(group: str, name: str, value: float, text: str) -> None:
            out.append(Reading(group=group, name=name, value=float(value), text=text))

        for name, end in zip(self.coefficients, self.reach, strict=True):
            add(f"{ORDINALS[int(name[1])]} order", name, cartesian[name] / end, length_text(cartesian[name]))
        add("beam", "current", place(knobs.current_pa, profile.max_current_pa * CURRENTS, profile.max_current_pa), f"{knobs.current_pa:.3g} pA")
        if self.complete or len(self.semiangles_mrad) > 1:
            add("beam", "aperture", choice(knobs.semiangle_mrad, self.semiangles_mrad), f"{knobs.semiangle_mrad:.3g} mrad")
        for axis, shift in zip("xy", knobs.beam_shift_angstrom, strict=True):
            add("beam", f"shift {axis}", shift / SHIFT_ANGSTROM, length_text(shift))
        add("beam", "blanked", choice(knobs.blanked, (False, True)), "blanked" if knobs.blanked else "beam on")
        if self.complete or len(self.camera_lengths_mm) > 1:
            add("detectors", "camera length", choice(knobs.camera_length_mm, self.camera_lengths_mm), f"{knobs.camera_length_mm:g} mm")
        for name in self.chained:
            add("detectors", f"{name} gain", place(gain.get(name, 1.0), *GAIN), f"x {gain.get(name, 1.0):.2g}")
        for name in self.chained:
            add("detectors", f"{name} offset", offset.get(name, 0.0) / OFFSET, f"{offset.get(name, 0.0):+.0f} ADU")
        if self.tilting:
            for axis, tilt in zip("xy", knobs.beam_tilt_mrad, strict=True):
                add("beam", f"tilt {axis}", tilt / TILT_MRAD, f"{tilt:+.2f} mrad")
        return tuple(out)

    def stage_readings(self, stage: StagePosition) -> tuple[Reading, ...]:
        """Return the readings of the stage's encoders."""
        out = []
        for axis, value, end in zip(STAGE_AXES, stage.array()[: self.axes].tolist(), STAGE_SCALE, strict=False):
            name, unit_of = axis.split("_")
            text = length_text(value) if unit_of == "angstrom" else f"{value:+.2f} mrad"
            out.append(Reading(group="stage", name=name, value=value / end, text=text))
        return tuple(out)

    def numbers(self, knobs: Knobs) -> np.ndarray:
        """Return the read-backs of all knobs as numbers in [-1, 1], float32."""
        return np.clip([reading.value for reading in self.readings(knobs)], -1, 1).astype(np.float32)

    @property
    def count(self) -> int:
        """Number of read-backs of knobs."""
        choices = sum(self.complete or len(each) > 1 for each in (self.semiangles_mrad, self.camera_lengths_mm))
        return len(self.coefficients) + 4 + choices + 2 * len(self.chained) + 2 * self.tilting

    def setpoints(self, knobs: Knobs, stage: StagePosition, scan: tuple[float, ...]) -> Nested:
        """Return the action that leaves all controls unchanged, as numbers in [-1, 1] without the discrete choices.

        Parameters
        ----------
        knobs : Knobs
            Current positions of the knobs.
        stage : StagePosition
            Commanded position of the stage.
        scan : tuple of float
            Setpoints of the field (four numbers) and of the dwell time (one number), in [-1, 1].
        """
        profile, gain, offset = self.profile, dict(knobs.gain), dict(knobs.offset_adu)
        cartesian = knobs.aberrations.cartesian()
        return {
            "scan": {"field": np.array(scan[:4]), "dwell": np.array(scan[4:])},
            "beam": {
                "optics": np.array([cartesian[name] for name in self.coefficients]) / self.reach,
                "current": np.array([place(knobs.current_pa, profile.max_current_pa * CURRENTS, profile.max_current_pa)]),
                "shift": np.array(knobs.beam_shift_angstrom) / SHIFT_ANGSTROM,
                "tilt": np.array(knobs.beam_tilt_mrad) / TILT_MRAD,
            },
            "detectors": {
                "gain": np.array([place(gain.get(name, 1.0), *GAIN) for name in self.chained]),
                "offset": np.array([offset.get(name, 0.0) / OFFSET for name in self.chained]),
            },
            "stage": stage.array()[: self.axes] / STAGE_SCALE[: self.axes],
        }


def length_text(angstrom: float) -> str:
    """Return a length as text, with its sign, in A, nm, um or mm."""
    for name, size, least in (("mm", 1e7, 1e7), ("µm", 1e4, 1e4), ("nm", 1e1, 1e3)):
        if abs(angstrom) >= least:
            return f"{angstrom / size:+.3g} {name}"
    return f"{angstrom:+.{0 if abs(angstrom) >= 9.95 else 1}f} Å"


def stepped(action: Nested, setpoints: Nested) -> Nested:
    """Return the setpoints after an incremental action.

    Each setpoint changes by a quarter of the number in the action, and stays within [-1, 1]. The choices and the waiting time
    are taken from the action itself.
    """
    out: Nested = {}
    for name, part in action.items():
        if isinstance(part, dict):
            out[name] = stepped(part, setpoints[name])
        else:
            out[name] = part if name in DIRECT else np.clip(setpoints[name] + STEP * np.asarray(part, float), -1, 1)
    return out


@functools.lru_cache(maxsize=32)
def reach_angstrom(coefficients: tuple[str, ...], semiangle_mrad: float, energy_ev: float) -> np.ndarray:
    """Return the largest absolute value of each aberration on the panel (A) as a read-only array.

    For the orders n from 1 to 5 this value is 10, 4, 4, 1 and 1 times the coefficient C that satisfies
    C alpha^(n + 1) / (n + 1) = lambda / 4 (alpha: convergence semi-angle, rad; lambda: wavelength, A).
    """
    alpha, wavelength = semiangle_mrad * 1e-3, electrons.wavelength(energy_ev)
    orders = [int(name[1]) for name in coefficients]
    out = np.array([QUARTER_WAVES[n] * (n + 1) * wavelength / 4 / alpha ** (n + 1) for n in orders])
    out.flags.writeable = False
    return out
