"""Compilation of functions that kernels alone call, as far as kernels need it.

numba takes every compiled function to machine code, with entries for Python and C, and optimises it by itself, before it links it into its
callers, where all of this is done again: for a chain of five functions five times. Parts of kernels stop at the code that is linked. Each kernel is
optimised with what it calls as one piece, and not function by function before that, which halves the time of a cold start. While a kernel and its
parts are compiled, Python's collector of cycles rests: it would go through a million objects that all stay, three hundred times, which is a sixth
of the time.
"""

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import numba
from numba.core import compiler, typed_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_machinery import register_pass


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector of cycles from running in a block, unless it is off anyway."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _WholeCode(JITCodeLibrary):
    """Code that is optimised as one piece alone, when all is linked, and not function by function before that."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout


class _LinkedCode(_WholeCode):
    """Code that only other libraries take in: neither optimised by itself nor made into machine code."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _KernelLowering(typed_passes.NativeLowering):
    """Lowering into code that is optimised as one piece."""

    _name = "kernel_lowering"

    def run_pass(self, state: Any) -> bool:
        """Lower one function."""
        state.library = _WholeCode(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().run_pass(state)


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(typed_passes.NativeLowering):
    """Lowering that stops before machine code, and tells callers where to find the function."""

    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        """Lower one function; register it under a function that cannot be called."""
        codegen = state.targetctx.codegen()
        state.library = _LinkedCode(codegen, state.func_id.func_qualname)
        done = super().run_pass(state)
        # numba wants a builtin function of (args, keywords), another one for each part; this one raises KeyError with the words inside
        key = f"{{{state.func_id.func_name} is a part of kernels and cannot be called from Python}}".format
        state.targetctx.insert_user_function(key, state["cr"].fndesc, [state.library])
        state["cr"] = state["cr"]._replace(cfunc=key)
        return done


def _pipeline(state: Any, lowering: type) -> list:
    """Return numba's pipeline with another lowering."""
    pipeline = compiler.DefaultPassBuilder.define_nopython_pipeline(state)
    pipeline._finalized = False
    pipeline.passes = [(lowering if step is typed_passes.NativeLowering else step, note) for step, note in pipeline.passes]
    pipeline.finalize()
    return [pipeline]


class StepwiseCompiler(compiler.Compiler):
    """numba's own pipeline, which optimises a kernel by itself, too, without collections while it runs."""

    def compile_extra(self, func: Any) -> Any:
        """Compile a function."""
        with _uncollected():
            return super().compile_extra(func)


class KernelCompiler(StepwiseCompiler):
    """Pipeline of most kernels, with :class:`_KernelLowering`."""

    def define_pipelines(self) -> list:
        """Return the one pipeline."""
        return _pipeline(self.state, _KernelLowering)


class _PartCompiler(compiler.CompilerBase):
    """numba's pipeline with :class:`_PartLowering`."""

    def define_pipelines(self) -> list:
        """Return the one pipeline."""
        self.state.flags.no_compile = True
        return _pipeline(self.state, _PartLowering)


def part_dispatcher(function: Callable, **options: Any) -> Callable:
    """Return a function that compiled functions may call, compiled when one of them is, with options as :func:`numba.njit` has."""
    settings: dict[str, Any] = {**options, "no_cpython_wrapper": True, "pipeline_class": _PartCompiler}
    return numba.njit(**settings)(function)
