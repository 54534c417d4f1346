"""Imaging operators kept in the process: each built once for the same physics."""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from stemtwin.twin.instrument import specimen
from stemtwin.twin.instrument.plan import Plan
from stemtwin.twin.instrument.request import Request, detector_to_dict
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.physics.engine import imaging
from stemtwin.twin.physics.engine.imaging import ImagingOperator

CAPACITY_BYTES = 2 * 2**30
"""Operators held in the process take at most this; the one used longest ago goes first."""

_held: OrderedDict[str, ImagingOperator] = OrderedDict()
_lock = threading.Lock()


def operator_for(request: Request, plan: Plan, *, progress: Callable[[int], None] | None = None) -> ImagingOperator:
    """Return the operator of a request, built now if the process does not hold it."""
    key = physics_key(request, plan)
    with _lock:
        if key in _held:
            _held.move_to_end(key)
            return _held[key]
    operator = imaging.build(
        specimen.stacks(request, plan),
        request.beam.semiangle_rad,
        detector_weights(request, plan),
        blocks=plan.blocks,
        antialias=request.antialias,
        progress=progress,
    )
    with _lock:
        _held[key] = operator
        while len(_held) > 1 and sum(o.nbytes for o in _held.values()) > CAPACITY_BYTES:
            _held.popitem(last=False)
    return operator


def detector_weights(request: Request, plan: Plan) -> imaging.Weights:
    """Return the function that weighs reciprocal pixels for all channels of all detectors."""
    wavelength = request.beam.wavelength_angstrom

    def weights(ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float]) -> np.ndarray:
        return np.concatenate([d.weights(ky, kx, pixel, wavelength, antialias=request.antialias) for d in plan.detectors])

    return weights


def physics_key(request: Request, plan: Plan) -> str:
    """Return a hash of everything that an operator depends on: not the optics, the scan or the detectors' names."""
    sample = request.sample
    if isinstance(sample, PotentialSlices):
        content = hashlib.sha256(sample.array.tobytes() + sample.z_angstrom.tobytes()).hexdigest()
    else:
        content = sample.digest
    described = {
        "sample": content,
        "extent": plan.grid.extent,
        "shape": plan.grid.shape,
        "planes": plan.slices.planes.tolist(),
        "energy": request.beam.energy_ev,
        "semiangle": request.beam.semiangle_mrad,
        "detectors": [{**detector_to_dict(d), "name": ""} for d in plan.detectors],
        "configurations": plan.configurations,
        "phonons": request.phonons if isinstance(request.phonons, str) and request.phonons != "auto" else "frozen",
        "seed": request.seed,
        "parametrization": request.parametrization,
        "antialias": request.antialias,
        "oversampling": request.oversampling,
        "blocks": plan.blocks,
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def clear() -> None:
    """Forget all operators held in the process."""
    with _lock:
        _held.clear()


