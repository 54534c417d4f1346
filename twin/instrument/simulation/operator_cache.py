"""Caches of imaging operators in the process and on disk; requests with the same physics share one operator."""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from stemtwin.twin import physics
from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.simulation import serialisation, slice_stacks
from stemtwin.twin.instrument.simulation.discretisation import Discretisation
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import INDEPENDENT, Request
from stemtwin.twin.physics.detector_weights import Weights
from stemtwin.twin.physics.engine.kernels import array_cache as disk
from stemtwin.twin.physics.engine.local.local_operator import LocalOperator
from stemtwin.twin.physics.engine.local.tiles import Divided
from stemtwin.twin.physics.engine.multislice.thermal_specimen import ThermalSpecimen
from stemtwin.twin.physics.engine.operator import imaging_cache
from stemtwin.twin.physics.engine.operator.diffraction import DiffractionMatrix
from stemtwin.twin.physics.engine.operator.imaging_operator import ImagingOperator

CAPACITY_BYTES = 2 * 2**30
"""Largest memory of the operators that the process holds, bytes.

The least recently used operator is dropped first; the newest stays regardless of its size.
"""
FOCAL_STATES = 3
"""Number of copies of its matrices that an operator for two focal spreads holds."""


Held = TypeVar("Held", ImagingOperator, LocalOperator, DiffractionMatrix, Divided, ThermalSpecimen)


class OperatorCache(Generic[Held]):
    """Cache of operators by the hash of their physics. It is safe in several threads and in a child process after a fork."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Held] = OrderedDict()
        self.renew_locks()

    def renew_locks(self) -> None:
        """Replace all locks. After a fork, the threads that held the locks do not exist in the child process."""
        self._lock = threading.Lock()
        self._building: dict[str, threading.Lock] = {}

    def get(self, key: str, build: Callable[[], Held]) -> Held:
        """Return the operator of a key; it is built unless it is cached. Other threads wait for a build of the same key."""
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
        """Return True if an operator is held."""
        with self._lock:
            return key in self._held

    def __len__(self) -> int:
        """Return the number of operators held."""
        with self._lock:
            return len(self._held)

    def clear(self) -> None:
        """Remove all operators from the cache."""
        with self._lock:
            self._held.clear()

    def _take(self, key: str) -> Held | None:
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key)

    def _keep(self, key: str, operator: Held) -> None:
        self._held[key] = operator
        while len(self._held) > 1 and FOCAL_STATES * sum(o.nbytes for o in self._held.values()) > CAPACITY_BYTES:
            self._held.popitem(last=False)


TWIN = Path(physics.__file__).parents[1]
"""The folder ``twin/``."""
IMAGE_CODE = (
    "physics/*.py",
    "physics/tables/*",
    "physics/engine/**/*.py",
    "instrument/*.py",
    "instrument/detectors/**/*.py",
    "instrument/simulation/**/*.py",
)
"""Files below ``twin/`` that determine the numbers of an operator for images; a sample enters by its ``Sample.digest``."""
SPECTRUM_CODE = (*IMAGE_CODE, "physics/spectra/*.py", "instrument/spectra/*.py")
"""Files below ``twin/`` that determine the numbers of an operator for spectra."""
CACHE: OperatorCache[ImagingOperator] = OperatorCache()
"""Dense operators of this process."""
LOCAL: OperatorCache[LocalOperator] = OperatorCache()
"""Local operators of this process."""
THERMAL: OperatorCache[ThermalSpecimen] = OperatorCache()
"""Specimens with thermal cross-sections of this process."""
MATRICES: OperatorCache[DiffractionMatrix] = OperatorCache()
"""Scattering matrices of this process, each for one camera."""
DIVIDED: OperatorCache[Divided] = OperatorCache()
"""Divisions of fields into windows of this process; the operators of the windows are in ``CACHE``."""
if hasattr(os, "register_at_fork"):
    for _cache in (CACHE, LOCAL, DIVIDED, MATRICES, THERMAL):
        os.register_at_fork(after_in_child=_cache.renew_locks)


def operator_for(request: Request, plan: Plan, *, progress: Callable[[int], None] | None = None) -> ImagingOperator:
    """Return the operator of a request. It is built unless it is cached in the process or on disk.

    ``progress`` is called with the number of waves completed since the last call, out of ``plan.waves``. A build that was
    interrupted is continued, with bit-identical results.
    """
    key, done, progress = physics_key(request, plan), 0, capped(progress, plan.waves)

    def report(waves: int) -> None:
        nonlocal done
        done += waves
        if progress is not None:
            progress(waves)

    def build() -> ImagingOperator:
        """Return the operator on disk, or a new one."""
        return imaging_cache.build(
            disk.default_cache(),
            key,
            slice_stacks.stacks(request, plan),
            request.beam.semiangle_rad,
            detector_weights(request, plan),
            blocks=plan.blocks,
            antialias=request.antialias,
            progress=report,
            held=plan.waves_bytes,
            depths=request.depths_angstrom,
            average=plan.average,
        )

    operator = CACHE.get(key, build)
    if progress is not None and not done:
        progress(plan.waves)
    return operator


def capped(progress: Callable[[int], None] | None, most: int) -> Callable[[int], None] | None:
    """Return a progress callback that reports at most ``most`` waves in total.

    A lattice average can need more waves than planned; these are not reported.
    """
    left = most

    def report(waves: int) -> None:
        nonlocal left
        if progress is not None and (now := min(waves, left)) > 0:
            left -= now
            progress(now)

    return None if progress is None else report


def detector_weights(request: Request, plan: Plan | Discretisation) -> Weights:
    """Return the function that gives the detection efficiency of reciprocal pixels for all detector channels.

    The coordinates of the pixels are relative to the direction of the beam.
    """
    return weights_behind(plan.detectors, request.beam.wavelength_angstrom, request.beam.tilt_rad, antialias=request.antialias)


def weights_behind(detectors: Sequence[Detector], wavelength: float, tilt: tuple[float, float], *, antialias: bool) -> Weights:
    """Return the function that gives the detection efficiency of a reciprocal pixel from its position relative to a tilted beam.

    ``wavelength`` is in A, and ``tilt`` is the beam tilt (y, x), rad.
    """
    qy, qx = (t / wavelength for t in tilt)

    def weights(ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float]) -> np.ndarray:
        ky, kx = ky + qy, kx + qx
        return np.concatenate([d.weights(ky, kx, pixel, wavelength, antialias=antialias) for d in detectors])

    return weights


def physics_key(request: Request, plan: Plan, *, engine: tuple[str | float, ...] = ()) -> str:
    """Return the hash of all properties that determine an operator, including the code.

    The hash does not depend on the aberrations, the source size, the focal spread, the scan or the detectors' names.
    ``engine`` names an engine other than the dense operator, with its further settings, for example ``("local", tolerance)``.
    """
    sample = request.sample
    if isinstance(sample, PotentialSlices):
        content = hashlib.sha256(sample.array.tobytes() + sample.z_angstrom.tobytes()).hexdigest()
    else:
        content = sample.digest
    described = {
        **surroundings(request, plan),
        "code": code(),
        "sample": content,
        "planes": plan.slices.planes,
        "slices": plan.slices.index,
        "semiangle": request.beam.semiangle_mrad,
        "blocks": plan.blocks,
        "engine": engine,
        **({} if request.depths_angstrom is None else {"depths": request.depths_angstrom}),
        **({} if plan.average is None else {"average": asdict(plan.average)}),
    }
    return disk.content_key(described)


def code(patterns: tuple[str, ...] = IMAGE_CODE) -> str:
    """Return the hash of the code that determines operators: the files below ``twin/`` that match glob patterns."""
    return disk.code_digest(TWIN, *patterns)


def surroundings(request: Request, plan: Plan) -> dict[str, Any]:
    """Return the properties that determine an operator, except the atoms, slices, convergence and probe window."""
    frozen = request.thermal_motion == "frozen"
    return {
        "extent": plan.grid.extent,
        "shape": plan.grid.shape,
        "thickness": plan.thickness,
        "periodic": getattr(request.sample, "periodic", True),
        "energy": request.beam.energy_ev,
        "detectors": [{**serialisation.detector_to_dict(d), "name": ""} for d in plan.detectors],
        "motion": request.thermal_motion,
        "configurations": plan.most_configurations if frozen else 1,
        "seed": request.seed if frozen else 0,
        "parametrization": request.parametrization,
        "antialias": request.antialias,
        "oversampling": request.oversampling,
        "tilt": request.tilt_mrad,
        "beam tilt": request.beam.beam_tilt_mrad,
        **({"displacements": request.displacements} if frozen and request.displacements != INDEPENDENT else {}),
    }


def clear() -> None:
    """Remove all operators from the caches of the process."""
    CACHE.clear()
    LOCAL.clear()
    DIVIDED.clear()
    MATRICES.clear()
    THERMAL.clear()
