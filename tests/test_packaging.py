"""Packaging: what is installed, under which names, and what it needs."""

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import stemtwin
from stemtwin.twin.physics.scattering_factors import PARAMETRIZATIONS

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAPPED = {"stemtwin": "stemtwin", "twin": "stemtwin.twin", "datasets": "stemtwin.datasets"}
MAPPED |= {"benchmarks": "stemtwin.benchmarks", "leaderboard": "stemtwin.leaderboard"}
PACKAGES: list[str] = PROJECT["tool"]["setuptools"]["packages"]
NOT_IMPORTED = {"dask", "h5netcdf", "h5py"}  # xarray and abTEM import them for us
DEVELOPERS = {"test", "docs", "all"}  # extras that are not for users
USERS_OWN = {"bm3d"}
"""Packages that are used where a user has installed them, and that no extra asks for: their licences allow non-commercial use only."""
MODULES_OF = {
    "rosettasciio": "rsciio",
    "stable-baselines3": "stable_baselines3",
}  # distributions of extras whose module has another name: they need not be installed here
BROUGHT = {"llvmlite"}  # numba pins the one version it works with


def folder_of(package: str) -> Path:
    """Return where a package of ours lies in the checkout."""
    part = next(part for part, name in MAPPED.items() if package == name or (part != "stemtwin" and package.startswith(f"{name}.")))
    return ROOT / part / package.removeprefix(MAPPED[part]).lstrip(".").replace(".", "/")


def python(code: str, *options: str, cwd: Path = ROOT) -> str:
    """Run some code in a new interpreter and return what it printed."""
    result = subprocess.run([sys.executable, *options, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_package_list_is_the_folders() -> None:
    """Every folder that holds Python is listed as a package, and no other."""
    found = {".".join((name, *path.parent.relative_to(ROOT / part).parts)) for part, name in MAPPED.items() for path in (ROOT / part).rglob("*.py")}
    assert sorted(found) == PACKAGES
    mapping = PROJECT["tool"]["setuptools"]["package-dir"]
    assert mapping == {name: part for part, name in MAPPED.items()}


def test_each_package_has_an_init_but_datasets() -> None:
    """All packages are regular ones, except the folder that must not shadow Hugging Face's library."""
    without = {package for package in PACKAGES if not (folder_of(package) / "__init__.py").exists()}
    assert without == {"stemtwin.datasets"}


@pytest.mark.parametrize("options", [(), ("-W", "error")], ids=["plain", "warnings as errors"])
def test_import_datasets_from_the_root_is_hugging_face(options: tuple[str, ...]) -> None:
    """A program started from the checkout gets Hugging Face's library under the name `datasets`."""
    code = "import datasets; print(datasets.__file__, callable(datasets.load_dataset))"
    where, loads = python(code, *options).rsplit(maxsplit=1)
    assert Path(where).parent.parent == Path(sysconfig.get_path("purelib"))
    assert loads == "True"


def test_import_datasets_under_pytest_is_hugging_face() -> None:
    """Pytest, which puts the checkout on the path, gets Hugging Face's library too."""
    import datasets

    assert callable(datasets.load_dataset)
    assert str(ROOT) in sys.path


@pytest.mark.parametrize("options", [("-I",), ("-S", "-I")], ids=["installed", "bare checkout"])
def test_our_modules_import_from_anywhere(tmp_path: Path, options: tuple[str, ...]) -> None:
    """stemtwin.datasets and its neighbours are found from another working directory, installed in place or put on the path."""
    path = [str(ROOT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")] if "-S" in options else []
    names = [module for module in PACKAGES if module != "stemtwin"]
    code = f"import sys, importlib.util as u; sys.path += {path!r}\nfor name in {names!r}: print(name, *u.find_spec(name).submodule_search_locations)"
    found = dict(line.split(maxsplit=1) for line in python(code, *options, cwd=tmp_path).splitlines())
    assert {name: Path(where.split()[0]).resolve() for name, where in found.items()} == {name: folder_of(name) for name in names}


def test_a_module_has_one_name() -> None:
    """Nothing of ours, and not numpy, is loaded twice, under a top-level name and under stemtwin's."""
    code = "import sys, stemtwin; [getattr(stemtwin, n) for n in ('StemtwinError', 'Aberrations')]; print(*sys.modules)"
    modules = python(code).split()
    assert "stemtwin.twin.physics.aberrations" in modules
    assert {name.split(".")[0] for name in modules} & {"twin", "benchmarks", "leaderboard", "tests"} == set()


def test_the_version_stands_in_one_place() -> None:
    """The version is stemtwin.__version__; the citation says the same, and the changelog has its section."""
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "stemtwin.__version__"}
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [stemtwin.__version__]
    assert re.search(rf"^## {re.escape(stemtwin.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)


def distribution(requirement: str) -> str:
    """Return the normalised name of the distribution that a requirement asks for."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def test_what_is_imported_is_required_and_the_other_way_round() -> None:
    """Every third-party package that our modules import is a dependency or in an extra for users, and each of those is imported (or explained)."""
    providers = {module: {name.lower().replace("_", "-") for name in names} for module, names in metadata.packages_distributions().items()}
    imported: set[str] = set()
    for package in PACKAGES:
        for path in folder_of(package).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {name.name.split(".")[0] for name in node.names}
                elif isinstance(node, ast.ImportFrom):
                    imported.add((node.module or "").split(".")[0])
    imported -= {"stemtwin", *BROUGHT, *USERS_OWN, *sys.stdlib_module_names}
    extras = PROJECT["project"]["optional-dependencies"]
    asked = {distribution(entry) for name in set(extras) - DEVELOPERS for entry in extras[name]}
    optional = {MODULES_OF.get(name, name) for name in asked}
    assert {module for module in optional if module not in {name.lower() for name in imported}} == set(), "in an extra, but not imported"
    imported = {module for module in imported if module.lower() not in optional}
    required = {distribution(requirement) for requirement in PROJECT["project"]["dependencies"]}
    assert {module for module in imported if not providers.get(module, set()) & required} == set(), "no dependency, and in no extra"
    used = set().union(*(providers[module] for module in imported))
    assert required - used - NOT_IMPORTED == set(), "in [project] dependencies, but not imported"


def test_dependencies_have_lower_bounds_and_no_pins() -> None:
    """A requirement says from which version on; it never forbids a later one."""
    extras = PROJECT["project"]["optional-dependencies"]
    for requirement in [*PROJECT["project"]["dependencies"], *(entry for name in extras if name != "all" for entry in extras[name])]:
        assert re.fullmatch(r"[\w-]+(\[[\w-]+\])?>=[\d.]+", requirement), requirement


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of what it is made of, without a network."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for part in MAPPED:
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", copy / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "CITATION.cff"):
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(out), str(copy)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_our_packages_and_nothing_else(wheel: Path) -> None:
    """The wheel is one top-level package, with every module, table, card, registry, scale and policy file of the checkout."""
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"stemtwin-{stemtwin.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"stemtwin", info}
    wanted = {f"{package.replace('.', '/')}/{path.name}" for package in PACKAGES for path in folder_of(package).glob("*.py")}
    wanted |= {f"stemtwin/datasets/cards/{path.name}" for path in (ROOT / "datasets" / "cards").glob("*.*")}
    wanted |= {f"stemtwin/twin/physics/tables/{name}.csv" for name in PARAMETRIZATIONS}
    wanted |= {f"stemtwin/twin/envs/scales/{path.name}" for path in (ROOT / "twin" / "envs" / "scales").glob("*.json")}
    wanted |= {f"stemtwin/benchmarks/learned/{path.name}" for path in (ROOT / "benchmarks" / "learned").glob("*.*")}
    wanted |= {
        f"stemtwin/leaderboard/{room}/templates/{path.name}"
        for room in ("events", "pages")
        for path in (ROOT / "leaderboard" / room / "templates").glob("*.*")
    }
    wanted |= {f"stemtwin/benchmarks/scores/{path.name}" for path in (ROOT / "benchmarks" / "scores").glob("*.json")}
    wanted.add("stemtwin/twin/instrument/simulation/thermal_errors.json")
    assert {name for name in names if name.startswith("stemtwin/")} == wanted
    assert f"{info}/licenses/LICENSE" in names


@pytest.mark.slow
def test_the_installed_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Installed elsewhere, stemtwin, its packages and its tables are found there, beside Hugging Face's library."""
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    site = [str(target), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    code = f"""
import sys
sys.path += {site!r}
import importlib, stemtwin, datasets
print(stemtwin.__file__, stemtwin.StemtwinError.__name__, stemtwin.Aberrations.__name__, len(stemtwin.__path__), callable(datasets.load_dataset))
for name in {PACKAGES!r}:
    assert importlib.import_module(name).__path__[0].startswith({str(target)!r}), name
from stemtwin.twin.physics.scattering_factors import PARAMETRIZATIONS, coefficients
print(*(coefficients(name, 14).shape[0] for name in PARAMETRIZATIONS))
"""
    # -S: no .pth file, so that an installation in place cannot step in for what the wheel lacks
    where, *rest = python(code, "-I", "-S", cwd=tmp_path).split()
    assert Path(where) == target / "stemtwin" / "__init__.py"
    assert rest == ["StemtwinError", "Aberrations", "1", "True", "4", "2"]


def test_the_command_is_installed() -> None:
    """The distribution offers one command, stemtwin."""
    assert PROJECT["project"]["scripts"] == {"stemtwin": "stemtwin.leaderboard.cli.main:run"}
    tree = ast.parse((ROOT / "leaderboard" / "cli" / "main.py").read_text(encoding="utf-8"))
    assert "run" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
