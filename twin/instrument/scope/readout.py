"""Detector readings: electrons, or ADU (steps of the analogue-to-digital converter) for detectors with a read-out chain."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.instrument.hardware.profiles import Profile
from stemtwin.twin.instrument.hardware.readout_chain import DetectorChain
from stemtwin.twin.instrument.scope.knobs import Knobs
from stemtwin.twin.instrument.scope.scan_pass import ScanPass
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.physics import noise


def chain(profile: Profile, knobs: Knobs, name: str) -> DetectorChain | None:
    """Return the read-out chain of a detector with its commanded gain and offset, or None for an electron counter."""
    usual = profile.chain(name)
    if usual is None:
        return None
    gain, offset = dict(knobs.gain).get(name, 1.0), dict(knobs.offset_adu).get(name, 0.0)
    return replace(usual, gain_adu=usual.gain_adu * gain, offset_adu=usual.offset_adu + offset)


def read(setup: Setup, state: ScopeState, detectors: Sequence[Detector], signals: np.ndarray, shot: ScanPass) -> np.ndarray:
    """Return the readings of all channels in one pass, in visiting order.

    Parameters
    ----------
    setup, state : Setup, ScopeState
        The microscope. The number of past frames in the state selects the random numbers of the noise.
    detectors : sequence
        The detectors.
    signals : ndarray
        Expected fractions of the incident beam, shape (channels, n).
    shot : ScanPass
        The pass.

    Returns
    -------
    ndarray
        Readings in electrons (uint32) or ADU, shape (channels, n).
    """
    rng, dark = setup.rng("noise", state.frames), state.knobs.blanked or setup.profile.blanks_pauses
    chains = [chain(setup.profile, state.knobs, d.name) for d in detectors]
    count = noise.COUNTINGS[setup.counting]
    if not any(chains):
        return count(signals, shot.incident, rng)
    out, channel = [], 0
    for detector, electronics in zip(detectors, chains, strict=True):
        for signal in signals[channel : channel + detector.channels]:
            if electronics is None:
                out.append(count(signal, shot.incident, rng))
                continue
            pulses = electronics.detect(signal * shot.incident, rng, count)
            out.append(electronics.convert(pulses, rng, timing=shot.timing, blanked=dark))
        channel += detector.channels
    return np.stack(out)


def read_together(
    setups: Sequence[Setup],
    states: Sequence[ScopeState],
    detectors: Sequence[Sequence[Detector]],
    signals: np.ndarray,
    shots: Sequence[ScanPass],
) -> list[np.ndarray]:
    """Return the readings of several microscopes, one pass each, bit-identical to those of :func:`read`.

    The expected signals have the shape (passes, channels, n).
    """
    told = list(zip(setups, states, detectors, signals, shots, strict=True))
    counted = all(
        setup.counting == "inversion" and not any(chain(setup.profile, state.knobs, d.name) for d in listed) for setup, state, listed, _, _ in told
    )
    if not counted:
        return [read(*each) for each in told]
    generators = [setup.rng("noise", state.frames) for setup, state, *_ in told]
    return list(noise.count_frames_by_inversion(signals, [shot.incident for shot in shots], generators))


def describe(profile: Profile, knobs: Knobs, detectors: Sequence[Detector]) -> dict[str, dict[str, Any]]:
    """Return the attributes of each detector's readings: the units and, for ADU, the conversion to electrons."""
    told = {}
    for detector in detectors:
        electronics = chain(profile, knobs, detector.name)
        told[detector.name] = {"units": "electrons", "long_name": "detected electrons"}
        if electronics is not None:
            told[detector.name] = {
                "units": "adu",
                "long_name": "reading of the analogue-to-digital converter",
                "gain_adu": electronics.gain_adu * electronics.efficiency,
                "offset_adu": electronics.offset_adu,
            }
    return told
