"""HyperSpy and eXSpy open the files of ``stemtwin demo --signals`` and find edges, thickness and composition; a script of ``make foreign``."""

import json
import math
import sys
import warnings
from pathlib import Path

import exspy  # pyright: ignore[reportMissingImports] - not ours
import hyperspy.api as hs  # pyright: ignore[reportMissingImports] - not ours
import numpy as np

ONSETS_EV = {"Ti_L3": 456.0, "O_K": 532.0}
"""Where eXSpy's own table has them too; a test of it is below."""
LINES = {"Sr": "Sr_La", "Ti": "Ti_Ka", "O": "O_Ka"}
PUT_IN = {"Sr": 0.2, "Ti": 0.2, "O": 0.6}
THICKNESS_NM, DENSITY_G_PER_CM3 = 6.248, 5.117
BAND_GAP_EV = 3.1


def say(text: str) -> None:
    """Write one line."""
    sys.stdout.write(f"HyperSpy {hs.__version__}, eXSpy {exspy.__version__}: {text}\n")


def thickness(losses: object) -> None:
    """Find the thickness by the log-ratio method, with eXSpy's mean free path from the metadata and the density."""
    found = float(np.squeeze(losses.estimate_thickness(threshold=BAND_GAP_EV, density=DENSITY_G_PER_CM3).data))
    say(f"thickness {10 * found:.2f} A (put in {10 * THICKNESS_NM:.2f})")
    assert abs(found / THICKNESS_NM - 1) < 0.02, found


def edges(losses: object) -> None:
    """Find where the edges that the elements have begin: at half of their first maximum, above a power law before them."""
    losses.add_elements(("Ti", "O"))
    assert {"Ti_L3", "O_K"} <= set(losses.subshells), losses.subshells
    for name, onset in ONSETS_EV.items():
        symbol, shell = name.split("_")
        listed = exspy.material.elements[symbol].Atomic_properties.Binding_energies[shell].onset_energy_eV
        assert abs(listed - onset) < 1.0, (name, listed)
        near = losses.isig[onset - 60.0 : onset + 12.0].remove_background((onset - 60.0, onset - 6.0), background_type="PowerLaw", fast=False)
        part = near.isig[onset - 6.0 :]
        at, signal = part.axes_manager[-1].axis, np.squeeze(part.data)
        top = int(np.argmax(signal > 0.85 * signal.max()))
        below = int(np.flatnonzero(signal[: top + 1] < signal[top] / 2).max())
        found = float(np.interp(signal[top] / 2, signal[below : below + 2], at[below : below + 2]))
        say(f"edge {name} at {found:.1f} eV (put in {onset:g})")
        assert abs(found - onset) < 1.0, found  # the resolution: 0.7 eV of the source, 0.75 eV of the camera


def line_counts(spectrum: object, symbols: list[str]) -> dict[str, object]:
    """Return the counts of each element's line by eXSpy's model of all lines, since the L lines of titanium overlap with the K line of oxygen."""
    spectrum.set_elements(symbols)
    model = spectrum.create_model()
    model.fit_background()
    model.fit()
    found = {signal.metadata.Sample.xray_lines[0]: signal for signal in model.get_lines_intensity()}
    return {symbol: found[LINES[symbol]] for symbol in symbols}


def composition(folder: Path) -> None:
    """Find the composition by Cliff and Lorimer, with k-factors from the standards, which hold as many atoms of each element."""
    symbols = list(LINES)
    standards = {s: float(np.squeeze(line_counts(hs.load(folder / f"standard-{s}.hspy").sum(), [s])[s].data)) for s in symbols}
    mass = {s: exspy.material.elements[s].General_properties.atomic_weight for s in symbols}
    factors = {s: mass[s] / standards[s] for s in symbols}
    rays = hs.load(folder / "off-axis-edx.hspy").sum()
    assert abs(rays.metadata.Acquisition_instrument.TEM.Stage.tilt_alpha - math.degrees(0.06)) < 1e-6
    counts = line_counts(rays, symbols)
    rays.set_lines(list(LINES.values()))  # eXSpy takes lines, intensities and factors in the order of the lines' names
    ordered = sorted(symbols, key=LINES.__getitem__)
    listed = [counts[s] for s in ordered]
    found = rays.quantification(listed, method="CL", factors=[factors[s] for s in ordered], composition_units="atomic")
    shares = {signal.metadata.Sample.elements[0]: float(np.squeeze(signal.data)) / 100 for signal in found}
    say("composition " + ", ".join(f"{s} {100 * shares[s]:.1f} % ({100 * PUT_IN[s]:g})" for s in symbols))
    error = math.sqrt(sum(1 / float(np.squeeze(signal.data)) for signal in listed) + sum(1 / value for value in standards.values()))
    for symbol, share in shares.items():
        assert abs(share / PUT_IN[symbol] - 1) < 3 * error + 0.03, (symbol, share, error)  # counting, and what channelling is left


def kinds(folder: Path) -> None:
    """Find the classes that belong to the signals, and the calibrations of the patterns."""
    opened = {name: type(hs.load(folder / f"{name}.hspy")).__name__ for name in ("haadf", "pixelated", "eels", "edx")}
    assert opened == {"haadf": "Signal2D", "pixelated": "Signal2D", "eels": "EELSSpectrum", "edx": "EDSTEMSpectrum"}, opened
    axes = hs.load(folder / "pixelated.hspy").axes_manager
    assert [(axis.name, str(axis.units)) for axis in axes.signal_axes] == [("kx", "mrad"), ("ky", "mrad")]
    assert [axis.scale for axis in axes.navigation_axes] == [0.3905, 0.3905]


def sidpy(folder: Path) -> None:
    """SciFiReaders opens all signals of the NSID file, of the right kinds."""
    import SciFiReaders  # pyright: ignore[reportMissingImports] - not ours

    channels = SciFiReaders.NSIDReader(str(folder / "signals.hf5")).read()
    found = {channel.title.split("/")[-1]: channel.data_type.name for channel in channels.values()}
    say(f"and SciFiReaders {SciFiReaders.__version__}: {json.dumps(found)}")
    assert found == {"haadf": "IMAGE", "pixelated": "IMAGE_4D", "eels": "SPECTRAL_IMAGE", "edx": "SPECTRAL_IMAGE"}, found


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # their own deprecations
    hs.set_log_level("ERROR")
    hs.preferences.General.show_progressbar = False
    at = Path(sys.argv[1])
    kinds(at)
    total = hs.load(at / "eels.hspy").sum()
    thickness(total)
    edges(total)
    composition(at)
    sidpy(at)
