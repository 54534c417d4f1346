"""Decorators that compile kernels, and the cache of their machine code.

numba keeps compiled functions on disk, but does not compile them again when an inlined function in *another* file
changes, which gives wrong numbers without a warning. Kernels made here are therefore kept in a separate folder, named by
the hash of all source files of the engine, the versions of numba and llvmlite, and the CPU: ``<cache>/kernels/<hash>``,
where ``<cache>`` is ``$STEMTWIN_CACHE_DIR`` if set, else the user's cache folder (``~/.cache/stemtwin`` on Linux). Each
entry also carries the hash of the kernel's module and of all modules of the same package that it imports, directly or
indirectly: after an edit of any of them, inside the engine or not, the kernel is compiled again.

Other users of numba in the process keep their own settings. Nothing is compiled, read or written before the first call
of a kernel. If the folder cannot be written or a file in it is truncated, the only effect is one more compilation. Only
one process at a time compiles a kernel. Other processes that need the kernel wait for its machine code instead of
compiling it themselves.
"""

import ast
import contextlib
import functools
import hashlib
import importlib.util
import os
import pickle
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite
import numba
from llvmlite import binding
from numba.core import caching
from numba.misc.appdirs import user_cache_dir

from stemtwin.twin import files
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.physics.engine.kernels.parts import KernelCompiler, StepwiseCompiler, part_dispatcher

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False, "no_cfunc_wrapper": True}
"""Options of every kernel: serial code that releases the global interpreter lock."""


def cache_folder() -> Path:
    """Return the folder of the engine's disk caches: ``$STEMTWIN_CACHE_DIR`` if set, else the user's cache folder."""
    return Path(os.environ.get("STEMTWIN_CACHE_DIR") or user_cache_dir("stemtwin", appauthor=False))


_DAMAGE = (OSError, EOFError, pickle.UnpicklingError, ValueError, TypeError, AttributeError, KeyError, IndexError, ImportError)
"""Exceptions raised by reading a file that is truncated or was written by another program."""


@functools.cache
def sources_digest() -> str:
    """Return the hash of the engine's sources, the compiler's version and this CPU, as 16 hex digits."""
    digest = hashlib.sha256()
    engine = Path(__file__).parents[1]
    for path in sorted(engine.rglob("*.py")):
        digest.update(path.relative_to(engine).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    features = binding.get_host_cpu_features().flatten()
    digest.update("\0".join((numba.__version__, llvmlite.__version__, platform.python_version(), binding.get_host_cpu_name(), features)).encode())
    return digest.hexdigest()[:16]


def _imported(module: ModuleType) -> set[str]:
    """Return the names of the loaded modules that a loaded module imports.

    The modules among the attributes of a package are not all imports of it: every submodule becomes an attribute of its
    package, whichever module imports it.
    """
    text = Path(module.__file__ or os.devnull).read_text(encoding="utf-8")
    named = re.findall(r"^\s*(?:from|import)\s+(\.*[\w.]*)", text, re.MULTILINE)
    names = {importlib.util.resolve_name(name, module.__package__) if name.startswith(".") else name for name in named}
    if hasattr(module, "__path__"):
        lines = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) and node.module]
        names |= {f"{node.module}.{each.name}" for node in lines for each in node.names}
    else:
        names |= {value.__name__ for value in vars(module).values() if isinstance(value, ModuleType)}
    return names & sys.modules.keys()


def _own_modules(name: str) -> set[str]:
    """Return the names of a loaded module and of all modules of the same package that it imports, directly or indirectly."""
    package = name.partition(".")[0]
    own, left = set(), {name}
    while left:
        own.add(name := left.pop())
        left |= {other for other in _imported(sys.modules[name]) if other.partition(".")[0] == package} - own
    return own


@functools.cache
def imports_digest(name: str) -> str:
    """Return the hash of the sources of a loaded module and of all modules of its package that it imports, directly or indirectly."""
    digest = hashlib.sha256()
    for own in sorted(_own_modules(name)):
        digest.update(own.encode() + b"\0" + Path(sys.modules[own].__file__ or os.devnull).read_bytes() + b"\0")
    return digest.hexdigest()


class _Locator(caching._CacheLocator):
    """Location of one kernel's machine code on disk."""

    def __init__(self, function: Callable) -> None:
        self._module = function.__module__
        self._py_file = function.__code__.co_filename  # for numba's warnings
        self._line = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str(cache_folder() / "kernels" / sources_digest())

    def get_source_stamp(self) -> str:
        return sources_digest() + imports_digest(self._module)

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Callable, py_file: str) -> "_Locator":  # noqa: ARG003 (numba's signature)
        return cls(py_func)


class _Results(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012


class _Files(caching.FunctionCache):
    _impl_class = _Results


WAIT = 120.0
"""Longest time that a process waits for another one to compile a kernel, s; afterwards it compiles the kernel itself."""
POLL = 0.05
"""Time between two checks of the other process's lock, s."""


class _KernelCache(caching._Cache):
    """numba's cache of one function, opened at the first call of the function; unusable files are ignored silently.

    A process that does not find the function in the cache holds a lock until it has compiled and kept it, or has failed
    to compile it.
    """

    def __init__(self, function: Callable) -> None:
        self._function = function
        self._lock = contextlib.ExitStack()

    @functools.cached_property
    def _files(self) -> _Files:
        return _Files(self._function)

    @property
    def cache_path(self) -> str:
        return self._files.cache_path

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = self._load(sig, target_context)
        if found is None:
            self._wait()
            found = self._load(sig, target_context)
            if found is not None:
                self.release()
        return found

    def _load(self, sig: Any, target_context: Any) -> Any:
        try:
            return self._files.load_overload(sig, target_context)
        except _DAMAGE:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            self._files.save_overload(sig, data)
        except _DAMAGE:
            self._start_again(sig, data)
        finally:
            self.release()

    def _wait(self) -> None:
        """Take the lock of the function once no other process compiles it; go on without it where locking is not possible."""
        name, line = f"{self._function.__module__}.{self._function.__qualname__}", self._function.__code__.co_firstlineno
        with contextlib.ExitStack() as lock, contextlib.suppress(OSError, NotImplementedError, DatasetError):
            folder = Path(self.cache_path)
            folder.mkdir(parents=True, exist_ok=True)
            holder = f"another process, which compiles {name}"
            lock.enter_context(files.locked(folder / f"{name}-{line}.lock", limit_s=WAIT, holder=holder, poll_s=POLL, tell=False))
            self._lock = lock.pop_all()

    def release(self) -> None:
        """Release the lock, so other processes can compile the function."""
        self._lock.close()

    def _start_again(self, sig: Any, data: Any) -> None:
        """Overwrite a truncated index; give up silently if the folder cannot be written."""
        try:
            self._files.flush()
            self._files.save_overload(sig, data)
        except OSError:
            return

    def enable(self) -> None:
        self._files.enable()

    def disable(self) -> None:
        self._files.disable()

    def flush(self) -> None:
        self._files.flush()


def kernel(function: Callable, *, pipeline: type = KernelCompiler) -> Callable:
    """Compile a function that Python calls; its machine code is stored on disk and runs without the global interpreter lock."""
    dispatcher = numba.njit(**OPTIONS, pipeline_class=pipeline)(function)
    dispatcher._cache = cache = _KernelCache(function)
    compiled = dispatcher._compiler.compile

    def compile_or_release(*types: Any) -> Any:
        """Compile the function; after a failure, release the lock so other processes do not wait."""
        try:
            return compiled(*types)
        except BaseException:
            cache.release()
            raise

    dispatcher._compiler.compile = compile_or_release
    return dispatcher


def stepwise_kernel(function: Callable) -> Callable:
    """Compile a kernel in two steps: optimise its own code, then optimise it together with the functions that it calls.

    The order of the optimisations affects rounding. This order keeps released images reproducible bit for bit.
    """
    return kernel(function, pipeline=StepwiseCompiler)


def inlined(function: Callable) -> Callable:
    """Compile a function that kernels call, always inlined into its callers."""
    return part_dispatcher(function, forceinline=True, **OPTIONS)


def part(function: Callable) -> Callable:
    """Compile a function that kernels call, inlined where LLVM's cost model favours it."""
    return part_dispatcher(function, **OPTIONS)
