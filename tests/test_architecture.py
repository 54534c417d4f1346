"""The layers of the package, the rooms inside them, and the sizes of modules and functions.

Imports point down only: physics < samples < instrument < control, envs < datasets < benchmarks < leaderboard.
"""

import ast
import functools
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from stemtwin.twin.instrument.simulation.engines.registry import ENGINES

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("stemtwin", "twin", "datasets", "benchmarks", "leaderboard")
LAYERS = {
    "stemtwin.twin.errors": 0,
    "stemtwin.twin.checks": 1,
    "stemtwin.twin.files": 1,
    "stemtwin.twin.progress": 1,
    "stemtwin.twin.registry": 1,
    "stemtwin.twin.physics": 2,
    "stemtwin.twin.samples": 3,
    "stemtwin.twin.instrument": 4,
    "stemtwin.twin.control": 5,
    "stemtwin.twin.envs": 5,
    "stemtwin.datasets": 6,
    "stemtwin.benchmarks": 7,
    "stemtwin.leaderboard": 8,
}
ROOMS = {
    "stemtwin.twin.instrument": ("hardware", "simulation", "spectra", "scope"),
    "stemtwin.twin.physics.engine": ("kernels", "multislice", "operator", "local"),
    "stemtwin.datasets": ("generators", "formats", "packing"),
    "stemtwin.leaderboard": ("demos", "cli"),
}
"""Subpackages of a package from the lowest up; its own modules, and subpackages that are not listed, lie below all of them."""
LONGEST_MODULE, LONGEST_FUNCTION, DEEPEST_CLASS = 500, 60, 2
NAMES_OF_ENGINES = {
    "stemtwin.twin.physics": "knows no registry: its literals name cached arrays and the distribution of abTEM's tables",
    "stemtwin.twin.instrument.simulation.engines": "defines them",
    "stemtwin.datasets.generators.atoms_2d": "a released format, which lists what it may hold",
    "stemtwin.leaderboard": "commands and demonstrations name engines as users do",
}
"""Packages and modules that may hold the name of an engine as a literal, and why; all others read the registry."""
QUESTION = re.compile(
    "(What|How|Whether|Which|Where|When|Who|Why|If|"
    "(Return|Draw|Find|Decide|Say|Give|Tell|Check|Show|Compute) ((at|by|from|in|into|of|on|over|to) )?(what|how|which|where|when|who|why))\\b"
)
"""Beginnings of a docstring that is neither a noun phrase nor an imperative with a noun object."""
TABLES: set[str] = set()  # modules that are tables of coefficients, and so may be longer
UNITS = ("_ev", "_kev", "_mrad", "_angstrom", "_pa", "_us", "_nm", "_px")

FILES = sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py"))


def module_name(path: Path) -> str:
    """Return the name under which a file of ours is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "stemtwin" else ("stemtwin", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Give every imported name, as far down as it is spelled out, and its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield from ((f"{node.module}.{name.name}", node.lineno) for name in node.names)


def loaded(tree: ast.Module) -> Iterator[str]:
    """Give every name that importing the module imports: not what its functions do, nor what stands under TYPE_CHECKING."""
    queue: list[ast.AST] = list(tree.body)
    while queue:
        node = queue.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (target for target, _ in imports(node))
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.expr) and not guarded(node):
            queue.extend(ast.iter_child_nodes(node))


def guarded(node: ast.AST) -> bool:
    """Return whether a statement is an `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def layer_of(module: str) -> str | None:
    """Return the layer of a module of ours."""
    return next((layer for layer in LAYERS if module == layer or module.startswith(f"{layer}.")), None)


def misdirected(module: str, target: str) -> str | None:
    """Return what is wrong with an import of ours from a module, or None."""
    own, other = layer_of(module), layer_of(target)
    if other is None:
        return None if target == "stemtwin.__version__" else "imports from the front door or from the parent of a whole layer"
    if own is None:
        return "has no layer"
    if own == "stemtwin.twin.physics" and other == "stemtwin.twin.registry":
        return "physics knows no registry"
    return None if own == other or LAYERS[other] < LAYERS[own] else f"{own} is not above {other}"


def room_of(package: str, module: str) -> int | None:
    """Return the height of a module's room inside a package, 0 for the base, or None for a module outside."""
    if not module.startswith(f"{package}."):
        return None
    room = module.removeprefix(f"{package}.").split(".")[0]
    return ROOMS[package].index(room) + 1 if room in ROOMS[package] else 0


def climbs(module: str, target: str) -> bool:
    """Return whether an import leads to a higher room of the same package."""
    rooms = [(room_of(package, module), room_of(package, target)) for package in ROOMS]
    return any(own is not None and other is not None and other > own for own, other in rooms)


def listed_files(docstring: str) -> set[str]:
    """Return the files and folders that the table in a package's docstring lists: the first cell of each row."""
    rows = [line for line in docstring.splitlines() if line.startswith("``")]
    return {found[1] for row in rows if (found := re.match(r"``(\w+(?:\.py|/))``", row))}


def literals(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Give every string literal and its line."""
    yield from ((node.value, node.lineno) for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def docstrings(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Give the docstring of each module, class, function and constant, and its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            alone = node.body if isinstance(node, ast.Module | ast.ClassDef) else node.body[:1]
            texts = [each.value for each in alone if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)]
            yield from ((text.value, text.lineno) for text in texts if isinstance(text.value, str))


def inside(module: str, packages: Iterable[str]) -> bool:
    """Return whether a module is one of some packages and modules, or lies in one of them."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def imported_modules(path: Path) -> set[str]:
    """Return the modules of ours that a file imports when it runs, at its top or inside functions; the front door left out."""
    names = {module_name(file) for file in FILES} - {"stemtwin"}
    types = {found for node in ast.walk(tree_of(path)) if guarded(node) for found in imports(node)}
    targets = (target for target, line in imports(tree_of(path)) if (target, line) not in types)
    found = {target if target in names else target.rpartition(".")[0] for target in targets}
    return (found & names) - {module_name(path)}


def cycle_of(graph: dict[str, set[str]]) -> list[str]:
    """Return the nodes of a cycle of a directed graph, the first one again at the end; nothing where there is none."""
    left = {node: set(targets) for node, targets in graph.items()}
    while free := [node for node, targets in left.items() if not targets & left.keys()]:
        left = {node: targets for node, targets in left.items() if node not in free}
    walk = sorted(left)[:1]
    while walk and walk[-1] not in walk[:-1]:
        walk.append(min(left[walk[-1]] & left.keys()))
    return walk[walk.index(walk[-1]) :] if walk else []


def dotted(node: ast.AST) -> str:
    """Return a.b.c for an attribute or a name, else nothing."""
    return ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""


def each(paths: Iterable[Path]) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """Return a decorator that makes one test of a law of many files, which names all that break it: thousands of cases take longer than the law."""
    files = tuple(paths)

    def decorate(law: Callable[[Path], None]) -> Callable[[], None]:
        def test() -> None:
            wrong = []
            for path in files:
                try:
                    law(path)
                except AssertionError as error:
                    wrong.append(f"{module_name(path)}: {error}")
            assert files
            assert not wrong, "\n".join(wrong)

        test.__name__, test.__doc__ = law.__name__, law.__doc__
        return test

    return decorate


each_file = each(FILES)
each_package = each(path for path in FILES if path.name == "__init__.py" and path.parent.name != "stemtwin")
each_physics_file = each(path for path in FILES if module_name(path).startswith("stemtwin.twin.physics"))


@each_file
def test_imports_point_down(path: Path) -> None:
    """A module imports from its own layer and from lower ones, absolutely, and never from the front door (but for the version)."""
    module = module_name(path)
    if module == "stemtwin":
        assert {target for target in loaded(tree_of(path)) if target.startswith("stemtwin")} <= {"stemtwin.twin.envs"}, (
            "the front door imports the layers lazily"
        )
        return
    ours = [(target, line) for target, line in imports(tree_of(path)) if target.split(".")[0] == "stemtwin"]
    assert [f"line {line}: {target}: {wrong}" for target, line in ours if (wrong := misdirected(module, target))] == []
    assert [target for target, _ in imports(tree_of(path)) if target.split(".")[0] in {"twin", "benchmarks", "leaderboard", "tests"}] == []


@pytest.mark.parametrize(
    ("module", "target", "right"),
    [
        ("stemtwin.twin.physics.probe", "stemtwin.twin.physics.grids", True),
        ("stemtwin.twin.physics.probe", "stemtwin.twin.errors.SamplingError", True),
        ("stemtwin.twin.physics.probe", "stemtwin.twin.registry.Registry", False),
        ("stemtwin.twin.physics.probe", "stemtwin.twin.samples.sample.Sample", False),
        ("stemtwin.twin.envs.functional_env", "stemtwin.twin.control.dispatcher", False),
        ("stemtwin.twin.instrument.scan", "stemtwin.RasterScan", False),
        ("stemtwin.leaderboard.store", "stemtwin.__version__", True),
        ("stemtwin.leaderboard.store", "stemtwin.benchmarks.runner", True),
        ("stemtwin.benchmarks.runner", "stemtwin.leaderboard.store", False),
        ("stemtwin.physicsx", "stemtwin.twin.errors", False),
    ],
)
def test_the_judge_of_imports_judges_right(module: str, target: str, right: bool) -> None:
    """An import down or sideways within a layer is right; up, across, or through the front door is wrong."""
    assert (misdirected(module, target) is None) is right


@each_file
def test_rooms_are_entered_from_above(path: Path) -> None:
    """Inside a package with rooms a module imports from its own room and from lower ones, also inside functions."""
    module = module_name(path)
    assert [f"line {line}: {target}" for target, line in imports(tree_of(path)) if climbs(module, target)] == []


@pytest.mark.parametrize(
    ("module", "target", "wrong"),
    [
        ("stemtwin.twin.instrument.detectors", "stemtwin.twin.instrument.scope.state", True),
        ("stemtwin.twin.instrument.scan.raster", "stemtwin.twin.instrument.hardware.stage.Stage", True),
        ("stemtwin.twin.instrument.hardware.stage", "stemtwin.twin.instrument.hardware.drift", False),
        ("stemtwin.twin.instrument.simulation.plan", "stemtwin.twin.instrument.spectra.eels", True),
        ("stemtwin.twin.instrument.scope.state", "stemtwin.twin.instrument.hardware.stage", False),
        ("stemtwin.twin.physics.engine.multislice.multislice", "stemtwin.twin.physics.engine.operator.prism", True),
        ("stemtwin.twin.instrument.hardware.stage", "stemtwin.twin.physics.engine.local.basis", False),
        ("stemtwin.datasets.storage", "stemtwin.datasets.formats.export", True),
        ("stemtwin.leaderboard.demos.workflow", "stemtwin.leaderboard.cli.image.load", True),
        ("stemtwin.leaderboard.cli.demo", "stemtwin.leaderboard.demos.workflow", False),
    ],
)
def test_the_judge_of_rooms_judges_right(module: str, target: str, wrong: bool) -> None:
    """An import to a higher room of the same package is wrong; down, sideways and into another package is not this rule's matter."""
    assert climbs(module, target) is wrong


@each(path for path in FILES if not inside(module_name(path), NAMES_OF_ENGINES))
def test_engines_are_named_by_the_registry(path: Path) -> None:
    """Outside the package of engines no literal is the name of one: callers ask the registry, or the engine's own module."""
    assert [f"line {line}: {value}" for value, line in literals(tree_of(path)) if value in ENGINES] == []


def test_the_judge_of_names_judges_right() -> None:
    """A name is found as a value and as a default, not inside a longer text; a module is exempt with its whole package, not by a common prefix."""
    found = [value for value, _ in literals(ast.parse("""def f(engine="operator"): return engine == 'local' or "engine='prism'" """))]
    assert [value for value in found if value in ENGINES] == ["operator", "local"]
    assert inside("stemtwin.leaderboard.films", NAMES_OF_ENGINES)
    assert not inside("stemtwin.twin.physicsx", NAMES_OF_ENGINES)
    for exempt in NAMES_OF_ENGINES:
        held = {value for path in FILES if inside(module_name(path), [exempt]) for value, _ in literals(tree_of(path))}
        assert held & set(ENGINES), f"{exempt} needs no exemption"


def test_no_module_imports_itself_through_others() -> None:
    """Imports make no cycle between files, those inside functions included, those for type checkers not; the front door is left out."""
    assert cycle_of({module_name(path): imported_modules(path) for path in FILES if module_name(path) != "stemtwin"}) == []


@pytest.mark.parametrize(
    ("graph", "cycle"),
    [
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}}, ["a", "b", "a"]),
        ({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b"}}, ["b", "c", "d", "b"]),
        ({"a": {"elsewhere"}}, []),
    ],
)
def test_the_judge_of_cycles_judges_right(graph: dict[str, set[str]], cycle: list[str]) -> None:
    """A cycle is found wherever it is, and only its own nodes are named."""
    assert cycle_of(graph) == cycle


@each_package
def test_tables_of_files_name_exactly_the_files(path: Path) -> None:
    """The table in a package's docstring has one row per module and per subpackage of its folder, and no other."""
    modules = {file.name for file in path.parent.glob("*.py")} - {"__init__.py"}
    folders = {f"{file.parent.name}/" for file in path.parent.glob("*/__init__.py")}
    assert listed_files(ast.get_docstring(tree_of(path)) or "") == modules | folders


@each_physics_file
def test_physics_stands_on_numpy_scipy_and_numba_alone(path: Path) -> None:
    """The lowest layer computes with the standard library, numpy, scipy and numba (in the engine also llvmlite), and nothing else."""
    allowed = {"numpy", "scipy", "numba", "stemtwin", *sys.stdlib_module_names}
    if ".engine." in module_name(path):
        allowed |= {"llvmlite"}  # vector instructions that numba has no word for
    if ".engine." in module_name(path) or module_name(path).endswith(".dynamics.relaxation"):
        allowed |= {"threadpoolctl"}  # holds BLAS to one thread, so that the bits do not depend on their number
    assert {target.split(".")[0] for target, _ in imports(tree_of(path))} <= allowed


@each_physics_file
def test_physics_is_given_its_generators(path: Path) -> None:
    """The lowest layer makes no random generator and uses no global one: it is handed a Generator."""
    assert not {target for target, _ in imports(tree_of(path)) if target.split(".")[0] in {"random", "secrets"} or target.startswith("numpy.random")}
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    assert [f"line {call.lineno}" for call in calls if dotted(call.func).startswith(("np.random.", "numpy.random."))] == []


@each_physics_file
def test_physics_reads_no_file_but_its_cache_and_its_tables(path: Path) -> None:
    """The lowest layer opens files in the engine (cache, kernels) and for the scattering factors only."""
    if ".engine." in module_name(path) or module_name(path).endswith(".scattering_factors"):
        return
    readers = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "load", "loadtxt", "fromfile", "memmap"}
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    assert [f"line {call.lineno}" for call in calls if ast.unparse(call.func).split(".")[-1] in readers] == []


@each_physics_file
def test_physics_has_no_unit_suffixes(path: Path) -> None:
    """In the lowest layer everything is in A, eV and rad, therefore no name carries a unit."""
    names = {node.arg for node in ast.walk(tree_of(path)) if isinstance(node, ast.arg)}
    names |= {node.target.id for node in ast.walk(tree_of(path)) if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    assert {name for name in names if name.endswith(UNITS)} == set()


@each_file
def test_docstrings_begin_with_a_noun_or_an_imperative(path: Path) -> None:
    """The first line of a docstring is a noun phrase or an imperative with a noun object: no question word begins it or is its object."""
    assert [f"line {line}: {text.splitlines()[0]}" for text, line in docstrings(tree_of(path)) if QUESTION.match(text.strip())] == []


@pytest.mark.parametrize(
    ("first", "right"),
    [
        ("Whereabouts of the beam.", True),
        ("Return the collected fraction.", True),
        ("Return whether an atom is there.", True),
        ("Return what detectors collect.", False),
        ("Return how many there are.", False),
        ("Return into how many blocks it divides.", False),
        ("Decide how to compute a request.", False),
        ("What detectors collect.", False),
        ("Whether an atom is there.", False),
        ("Where the beam is.", False),
    ],
)
def test_the_judge_of_docstrings_judges_right(first: str, right: bool) -> None:
    """A question word at the beginning is found in a module, a class, a function and below a constant; 'whether' is the usual object for a truth."""
    tree = ast.parse(f'''"""{first}"""\nX = 1\n"""{first}"""\nclass A:\n  """{first}"""\n  def f():\n    """{first}"""\n    """No docstring."""''')
    assert [text for text, _ in docstrings(tree)] == [first] * 4
    assert (QUESTION.match(first) is None) is right


@each_file
def test_plotting_and_abtem_are_imported_inside_functions(path: Path) -> None:
    """Matplotlib and abTEM are loaded by the function that draws or simulates with them, never by an import of ours."""
    assert {target.split(".")[0] for target in loaded(tree_of(path))} & {"matplotlib", "abtem"} == set()


@each_file
def test_rooms_are_small(path: Path) -> None:
    """A module has at most 500 lines (tables of coefficients apart), a function at most 60, its docstring included."""
    if module_name(path) not in TABLES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE
    functions = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    sizes = {f"line {node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: size for name, size in sizes.items() if size > LONGEST_FUNCTION} == {}


def test_public_class_names_are_unique() -> None:
    """A public class or type alias has one meaning in the project: no two modules define the same name."""
    homes: dict[str, list[str]] = {}
    for path in FILES:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name) and target.id[0].isupper() and not target.id.isupper()]
            else:
                names = []
            for name in names:
                if not name.startswith("_"):
                    homes.setdefault(name, []).append(module_name(path))
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def test_inheritance_is_shallow() -> None:
    """A class of ours has at most one other class of ours above it, and one class only is a gymnasium.Env (with one vector twin)."""
    bases = {
        node.name: [dotted(base).split(".")[-1] for base in node.bases]
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
    }

    def depth(name: str) -> int:
        return 1 + max((depth(base) for base in bases[name] if base in bases), default=0)

    assert {name: depth(name) for name in bases if depth(name) > DEEPEST_CLASS} == {}
    assert sum("Env" in above for above in bases.values()) <= 1
    assert sum("VectorEnv" in above for above in bases.values()) <= 1
