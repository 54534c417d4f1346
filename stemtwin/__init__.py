"""A digital twin of a scanning transmission electron microscope, and a benchmark suite built on it.

``__all__`` lists the public names; each is imported at its first use, which keeps ``import stemtwin`` fast.
"""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Required in a checkout (bare or installed in place), where twin, datasets, benchmarks and leaderboard are siblings of this
# folder. The import hook of an editable install finds only packages with an __init__.py, and datasets must not have one
# (see datasets/README.md).
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "twin" / "registry.py").exists():
    __path__.append(str(_checkout))

if TYPE_CHECKING:
    from stemtwin.datasets.catalog import list_datasets, load_arrays, load_dataset
    from stemtwin.datasets.training import torch_dataset
    from stemtwin.twin.envs.reference import normalized_return, reference
    from stemtwin.twin.errors import (
        DatasetError,
        InstrumentError,
        PhysicsWarning,
        SamplingError,
        SettingsError,
        StemtwinError,
        StructureFileError,
        SubmissionError,
        UnknownNameError,
    )
    from stemtwin.twin.instrument.detectors import AnnularDetector, PixelatedDetector, SegmentedDetector
    from stemtwin.twin.instrument.scan import LissajousScan, PathScan, RasterScan, SerpentineScan, SparseScan, SpiralScan
    from stemtwin.twin.instrument.scope.microscope import Microscope
    from stemtwin.twin.instrument.settings import Beam, PlaneWave, PotentialSlices
    from stemtwin.twin.instrument.simulation.ronchigram import ronchigram
    from stemtwin.twin.instrument.simulation.series import simulate_series
    from stemtwin.twin.instrument.simulation.simulate import Request, exit_wave, explain, simulate
    from stemtwin.twin.physics.aberrations import Aberrations
    from stemtwin.twin.samples.columns import projected_columns
    from stemtwin.twin.samples.library import list_samples, load_sample
    from stemtwin.twin.samples.readers.read_sample import read_sample
    from stemtwin.twin.samples.sample import Sample

__all__ = [
    "Aberrations",
    "AnnularDetector",
    "Beam",
    "DatasetError",
    "InstrumentError",
    "LissajousScan",
    "Microscope",
    "PathScan",
    "PhysicsWarning",
    "PixelatedDetector",
    "PlaneWave",
    "PotentialSlices",
    "RasterScan",
    "Request",
    "Sample",
    "SamplingError",
    "SegmentedDetector",
    "SerpentineScan",
    "SettingsError",
    "SparseScan",
    "SpiralScan",
    "StemtwinError",
    "StructureFileError",
    "SubmissionError",
    "UnknownNameError",
    "__version__",
    "exit_wave",
    "explain",
    "list_datasets",
    "list_samples",
    "load_arrays",
    "load_dataset",
    "load_sample",
    "normalized_return",
    "projected_columns",
    "read_sample",
    "reference",
    "ronchigram",
    "simulate",
    "simulate_series",
    "torch_dataset",
]

_HOMES = {
    "stemtwin.datasets.catalog": ("list_datasets", "load_arrays", "load_dataset"),
    "stemtwin.datasets.training": ("torch_dataset",),
    "stemtwin.twin.envs.reference": ("normalized_return", "reference"),
    "stemtwin.twin.errors": (
        "DatasetError",
        "InstrumentError",
        "PhysicsWarning",
        "SamplingError",
        "SettingsError",
        "StemtwinError",
        "StructureFileError",
        "SubmissionError",
        "UnknownNameError",
    ),
    "stemtwin.twin.instrument.detectors": ("AnnularDetector", "PixelatedDetector", "SegmentedDetector"),
    "stemtwin.twin.instrument.scope.microscope": ("Microscope",),
    "stemtwin.twin.instrument.simulation.ronchigram": ("ronchigram",),
    "stemtwin.twin.instrument.scan": ("LissajousScan", "PathScan", "RasterScan", "SerpentineScan", "SparseScan", "SpiralScan"),
    "stemtwin.twin.instrument.settings": ("Beam", "PlaneWave", "PotentialSlices"),
    "stemtwin.twin.instrument.simulation.series": ("simulate_series",),
    "stemtwin.twin.instrument.simulation.simulate": ("Request", "exit_wave", "explain", "simulate"),
    "stemtwin.twin.physics.aberrations": ("Aberrations",),
    "stemtwin.twin.samples.columns": ("projected_columns",),
    "stemtwin.twin.samples.library": ("list_samples", "load_sample"),
    "stemtwin.twin.samples.readers.read_sample": ("read_sample",),
    "stemtwin.twin.samples.sample": ("Sample",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name from its module at its first use (PEP 562)."""
    if name not in _HOME_OF:
        message = f"module 'stemtwin' has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=sys.modules[__name__])  # obj: Python adds 'Did you mean'
    thing = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = thing
    return thing


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})


envs = importlib.import_module("stemtwin.twin.envs")
sys.modules["stemtwin.envs"] = envs  # `from stemtwin.envs import wrappers` then loads no second copy of the package
envs.register()  # gym.make("stemtwin/Autofocus-v1") works after `import stemtwin`
