"""py4DSTEM opens the cube of ``stemtwin demo --signals`` and finds the lattice and the centre of mass; a script of ``make foreign``.

py4DSTEM's releases need numpy 1, so it runs in an environment of its own and imports nothing of ours.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import py4DSTEM  # pyright: ignore[reportMissingImports] - not ours
from py4DSTEM.process.strain import latticevectors  # pyright: ignore[reportMissingImports] - not ours
from py4DSTEM.process.utils import get_maxima_2D  # pyright: ignore[reportMissingImports] - not ours

CELL, STEP, PIXEL_MRAD, SHAPE = 3.905, 0.3905, 1.875, (30, 30, 64, 64)
"""Put in: cell and scan step, A, camera pixel, mrad, and points."""
DARK_FIELD_MRAD = (40.0, 58.0)


def say(text: str) -> None:
    """Write one line."""
    sys.stdout.write(f"py4DSTEM {py4DSTEM.__version__}: {text}\n")


def opened(path: Path) -> object:
    """Return the cube, with the calibration that was put in."""
    cube = py4DSTEM.read(str(path))
    assert type(cube).__name__ == "DataCube"
    assert cube.shape == SHAPE, cube.shape
    scale = cube.calibration
    assert (scale.get_R_pixel_units(), scale.get_Q_pixel_units()) == ("A", "mrad")
    assert np.allclose((scale.get_R_pixel_size(), scale.get_Q_pixel_size()), (STEP, PIXEL_MRAD))
    return cube


def columns(image: np.ndarray, most: int) -> np.ndarray:
    """Return the brightest places of an image to a fraction of a pixel, a structured array of x, y, intensity."""
    return get_maxima_2D(image, subpixel="poly", sigma=1, minSpacing=4, edgeBoundary=2, maxNumPeaks=most)


def lattice(cube: object) -> None:
    """Find the cell in the virtual dark field: a lattice through all columns, of which every second one is brighter."""
    radii = tuple(angle / PIXEL_MRAD for angle in DARK_FIELD_MRAD)
    image = cube.get_virtual_image(mode="annulus", geometry=((0, 0), radii), centered=True, verbose=False).data
    found = columns(image, 100)
    bright = found["intensity"] > found["intensity"].max() * 0.9
    assert 4 <= bright.sum() < len(found), found["intensity"]
    assert found["intensity"][~bright].max() < 0.8 * found["intensity"].max()  # two kinds of columns, so the cell is that of one kind
    x, y = found["x"], found["y"]
    far = np.hypot(x - x[0], y - y[0])
    steps = [(x[i] - x[0], y[i] - y[0]) for i in np.argsort(far)[1:5]]
    first = steps[0]
    second = next(step for step in steps if abs(first[0] * step[1] - first[1] * step[0]) > 0.5 * np.hypot(*first) ** 2)
    h, k, _ = latticevectors.index_bragg_directions(x[0], y[0], x, y, first, second)
    fields = {"qx": x, "qy": y, "intensity": np.ones(len(x)), "g1_ind": h, "g2_ind": k}
    indexed = np.zeros(len(x), [(name, values.dtype) for name, values in fields.items()])
    for name, values in fields.items():
        indexed[name] = values
    _, _, ax, ay, bx, by, error = latticevectors.fit_lattice_vectors(py4DSTEM.PointList(indexed))
    one, two = (vector * np.sign(vector[np.argmax(np.abs(vector))]) for vector in STEP * np.array([[ax + bx, ay + by], [ax - bx, ay - by]]))
    say(f"lattice ({one[1]:.3f}, {one[0]:.3f}) and ({two[1]:.3f}, {two[0]:.3f}) A (put in {CELL}), {len(h)} columns, {STEP * error:.3f} A beside")
    for vector in (one, two):
        assert abs(np.hypot(*vector) / CELL - 1) < 0.01, vector
        assert min(abs(vector)) < 0.01 * CELL, vector  # along the scan


def centre_of_mass(cube: object, expected: np.ndarray) -> None:
    """Find the centre of mass that noise-free patterns have, mrad; its integral is highest at the columns."""
    found = py4DSTEM.process.phase.DPC(datacube=cube, energy=200e3, verbose=False)
    found.preprocess(plot_center_of_mass=False, plot_rotation=False, force_com_rotation=0, force_com_transpose=False)
    measured = PIXEL_MRAD * np.stack([found._com_measured_x, found._com_measured_y])
    measured = measured - measured.mean(axis=(1, 2), keepdims=True)
    expected = expected - expected.mean(axis=(1, 2), keepdims=True)
    slope = float((measured * expected).sum() / (expected**2).sum())
    alike = float(np.corrcoef(measured.ravel(), expected.ravel())[0, 1])
    say(f"centre of mass {slope:.3f} of the expected one (1), correlation {alike:.4f}, {expected.std():.2f} mrad rms")
    assert abs(slope - 1) < 0.01, slope
    assert alike > 0.999, alike
    found.reconstruct(max_iter=64, progress_bar=False)
    phase = np.asarray(found.object_phase)[: SHAPE[0], : SHAPE[1]]
    at = columns(phase, 100)
    wanted = np.array([(i, j) for i in range(1, 6) for j in range(1, 6) if (i + j) % 2 == 0]) * CELL / STEP / 2
    beside = [STEP * np.hypot(at["x"] - x, at["y"] - y).min() for x, y in wanted]
    say(f"phase by DPC: maxima within {max(beside):.2f} A of the {len(wanted)} columns")
    assert max(beside) < 0.4, beside


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # their own deprecations
    folder = Path(sys.argv[1])
    data = opened(folder / "signals.emd")
    lattice(data)
    centre_of_mass(data, np.load(folder / "expected-com.npy"))
