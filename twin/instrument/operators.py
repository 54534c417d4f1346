"""Imaging operators kept in the process: each built once for the same physics."""

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from stemtwin.twin.instrument import plain, specimen
from stemtwin.twin.instrument.plan import Plan
from stemtwin.twin.instrument.request import Request
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.physics.engine import imaging
from stemtwin.twin.physics.engine.imaging import ImagingOperator

CAPACITY_BYTES = 2 * 2**30
"""Operators held in the process take at most this; the one used longest ago goes first. The newest stays whatever its size."""
FOCAL_STATES = 3
"""An operator for two focal spreads holds its matrices this many times."""


class OperatorCache:
    """Operators by the hash of their physics; safe under several threads, and in a child after a fork."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, ImagingOperator] = OrderedDict()
        self.renew_locks()

    def renew_locks(self) -> None:
        """Forget who was waiting: after a fork, the threads that held the locks do not exist."""
        self._lock = threading.Lock()
        self._building: dict[str, threading.Lock] = {}

    def get(self, key: str, build: Callable[[], ImagingOperator]) -> ImagingOperator:
        """Return the operator of a key, built now if it is not held; who asks for it meanwhile waits for the same one."""
        with self._lock:
            found = self._take(key)
            mine = self._building.setdefault(key, threading.Lock())
        if found is not None:
            return found
        with mine:
            with self._lock:
                found = self._take(key)
            if found is None:
                found = build()
                with self._lock:
                    self._keep(key, found)
        with self._lock:
            self._building.pop(key, None)
        return found

    def __contains__(self, key: object) -> bool:
        """Return whether an operator is held."""
        with self._lock:
            return key in self._held

    def __len__(self) -> int:
        """Return how many operators are held."""
        with self._lock:
            return len(self._held)

    def clear(self) -> None:
        """Forget all operators."""
        with self._lock:
            self._held.clear()

    def _take(self, key: str) -> ImagingOperator | None:
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key)

    def _keep(self, key: str, operator: ImagingOperator) -> None:
        self._held[key] = operator
        while len(self._held) > 1 and FOCAL_STATES * sum(o.nbytes for o in self._held.values()) > CAPACITY_BYTES:
            self._held.popitem(last=False)


CACHE = OperatorCache()
"""The operators of this process."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=CACHE.renew_locks)


def operator_for(request: Request, plan: Plan, *, progress: Callable[[int], None] | None = None) -> ImagingOperator:
    """Return the operator of a request, built now if the process does not hold it; ``progress`` gets the waves just done, out of ``plan.waves``."""
    key = physics_key(request, plan)
    if progress is not None and key in CACHE:
        progress(plan.waves)

    def build() -> ImagingOperator:
        return imaging.build(
            specimen.stacks(request, plan),
            request.beam.semiangle_rad,
            detector_weights(request, plan),
            blocks=plan.blocks,
            antialias=request.antialias,
            progress=progress,
        )

    return CACHE.get(key, build)


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
    frozen = request.thermal_motion == "frozen"
    described = {
        "sample": content,
        "extent": plan.grid.extent,
        "shape": plan.grid.shape,
        "thickness": plan.thickness,
        "planes": plan.slices.planes.tolist(),
        "slices": hashlib.sha256(np.ascontiguousarray(plan.slices.index, dtype="<i8").tobytes()).hexdigest(),
        "energy": request.beam.energy_ev,
        "semiangle": request.beam.semiangle_mrad,
        "detectors": [{**plain.detector_to_dict(d), "name": ""} for d in plan.detectors],
        "motion": request.thermal_motion,
        "configurations": plan.configurations if frozen else 1,
        "seed": request.seed if frozen else 0,
        "parametrization": request.parametrization,
        "antialias": request.antialias,
        "oversampling": request.oversampling,
        "blocks": plan.blocks,
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def clear() -> None:
    """Forget all operators held in the process."""
    CACHE.clear()
