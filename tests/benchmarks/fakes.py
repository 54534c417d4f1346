"""A small microscope for the tests: an incoherent image of a hexagonal lattice of columns by an aberrated probe, with counting noise."""

import gymnasium as gym
import numpy as np

STEPS = np.array([100.0, 50.0, 50.0])  # A per unit of action: C10, C12a, C12b
SHAPE, FIELD, WAVELENGTH, SEMIANGLE = (128, 128), 12.8, 0.0251, 0.020  # 200 keV, A, rad
FRAMES, DOSE = 20, 2e4


def lattice() -> np.ndarray:
    """Return (ny, nx) column weights of a hexagonal lattice, a = 3.2 A, heavy and light sites alternating."""
    weights = np.zeros(SHAPE)
    for row in range(5):
        for column in range(4):
            y, x = row * 2.56, column * 3.2 + (row % 2) * 1.6
            for shift, weight in ((0.0, 1.0), (1.6, 0.4)):
                iy, ix = int((y + shift) * 10) % 128, int(x * 10) % 128
                weights[iy, ix] += weight
    return weights


class FakeAutofocus(gym.Env):
    """The contract of Autofocus-v1 on a lattice of point columns."""

    def __init__(self, dose: float = DOSE) -> None:
        frequency = np.fft.fftfreq(128, FIELD / 128)
        ky, kx = np.meshgrid(frequency, frequency, indexing="ij")
        self.angle2, self.phi = (kx**2 + ky**2) * WAVELENGTH**2, np.arctan2(ky, kx)
        self.aperture = self.angle2 < SEMIANGLE**2
        self.object = np.fft.fft2(lattice())
        self.dose = dose
        self.action_space = gym.spaces.Box(-1, 1, (3,), np.float32)
        self.observation_space = gym.spaces.Dict(
            {
                "image": gym.spaces.Box(0, 65535, SHAPE, np.uint16),
                "knobs": gym.spaces.Box(-np.inf, np.inf, (3,), np.float32),
                "budget": gym.spaces.Box(0, 1, (2,), np.float32),
            }
        )

    def chi(self) -> np.ndarray:
        """Return the phase of the state, rad."""
        c10, a, b = self.state
        shape = c10 + a * np.cos(2 * self.phi) + b * np.sin(2 * self.phi)
        return np.pi / WAVELENGTH * self.angle2 * shape

    def truth(self) -> dict[str, float]:
        """Return the true state."""
        c10, a, b = (float(part) for part in self.state)
        strehl = float(np.abs(np.exp(1j * self.chi()[self.aperture]).mean()) ** 2)
        return {"C10_angstrom": c10, "C12_angstrom": float(np.hypot(a, b)), "C12a_angstrom": a, "C12b_angstrom": b, "strehl": strehl}

    def observe(self) -> dict[str, np.ndarray]:
        """Return the latest frame and the knobs."""
        probe = np.abs(np.fft.ifft2(self.aperture * np.exp(-1j * self.chi()))) ** 2
        signal = np.fft.ifft2(np.fft.fft2(probe / probe.sum()) * self.object).real.clip(0)
        counts = self.np_random.poisson(self.dose * (FIELD / 128) ** 2 * 8.0 * signal)
        budget = np.array([1 - self.frames / FRAMES, 1 - self.frames / FRAMES], dtype=np.float32)
        return {"image": counts.astype(np.uint16), "knobs": self.knobs.astype(np.float32), "budget": budget}

    def info(self) -> dict:
        """Return the cost so far."""
        return {"cost": {"dose_e_per_angstrom2": self.dose * self.frames, "beam_s": 0.1 * self.frames, "moves": self.frames - 1}}

    def reset(self, *, seed=None, options=None):
        """Draw a start."""
        del options
        super().reset(seed=seed)
        c10 = self.np_random.uniform(20, 150) * self.np_random.choice([-1, 1])
        size, angle = self.np_random.uniform(0, 100), self.np_random.uniform(0, 2 * np.pi)
        self.state = np.array([c10, size * np.cos(angle), size * np.sin(angle)])
        self.knobs, self.frames, self.good = np.zeros(3), 1, 0
        return self.observe(), self.info()

    def step(self, action):
        """Move, image, judge."""
        move = STEPS * np.asarray(action, dtype=float)
        self.state, self.knobs, self.frames = self.state + move, self.knobs + move, self.frames + 1
        truth = self.truth()
        self.good = self.good + 1 if abs(truth["C10_angstrom"]) < 20 and truth["C12_angstrom"] < 20 else 0
        return self.observe(), truth["strehl"], self.good >= 2, self.frames >= FRAMES, self.info()
