"""The front door: its names, where they come from, and how fast it opens."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import stemtwin

PUBLIC = {
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
}
HEAVY = {
    "abtem",
    "ase",
    "dask",
    "datasets",
    "matplotlib",
    "numba",
    "pandas",
    "pyarrow",
    "pydantic",
    "scipy",
    "skimage",
    "sqlalchemy",
    "xarray",
    "zarr",
}


def test_the_public_names_are_these() -> None:
    """A name enters or leaves the front door only together with this list."""
    assert set(stemtwin.__all__) == PUBLIC
    assert len(stemtwin.__all__) == len(PUBLIC)
    assert set(dir(stemtwin)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there_with_its_documentation(name: str) -> None:
    """Each public name is importable, under its own name, and documented."""
    thing = getattr(stemtwin, name)
    if name != "__version__":
        assert thing.__name__ == name
        assert thing.__doc__
        assert thing.__module__.startswith("stemtwin.")


def test_a_wrong_name_is_an_attribute_error() -> None:
    """A name that the front door does not have is refused as any module refuses it."""
    with pytest.raises(AttributeError, match="module 'stemtwin' has no attribute 'Microscop'"):
        stemtwin.Microscop  # noqa: B018


def test_type_checkers_see_the_same_names_from_the_same_homes() -> None:
    """The imports under TYPE_CHECKING and the table used at run time say the same."""
    tree = ast.parse(Path(stemtwin.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {(node.module, name.name) for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert seen == {(module, name) for module, names in stemtwin._HOMES.items() for name in names}
    assert {name for _, name in seen} == PUBLIC - {"__version__"}


def test_import_loads_nothing_heavy() -> None:
    """`import stemtwin` reads, compiles and loads none of the large packages; they come with the first use."""
    code = "import sys, stemtwin; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY & set(result.stdout.split()) == set()


def test_import_is_fast() -> None:
    """`import stemtwin` takes less than 1.5 s with a warm bytecode cache (the best of three, as other programs may be running)."""
    code = "import time; start = time.perf_counter(); import stemtwin; print(time.perf_counter() - start)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert min(float(run.stdout) for run in runs) < 1.5


def test_environments_are_registered_with_the_import() -> None:
    """After `import stemtwin` Gymnasium knows our environments; each spec holds strings only, so that it turns into JSON."""
    code = "import gymnasium as g, stemtwin; print(*(s.to_json() for s in g.registry.values() if s.namespace == 'stemtwin'), sep='\\n')"
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert '"id": "stemtwin/Autofocus-v1"' in result.stdout
