"""Compilation of kernels as a whole, and partial compilation of functions that only kernels call.

By default, numba optimises every compiled function separately and translates it to machine code with entry points for
Python and C. It then links the function into its callers and repeats all of this for them, so the innermost function of
a chain of five is processed five times. Here, a function that only kernels call is compiled only to unoptimised
LLVM code, which is linked into its callers. Each kernel is optimised once, together with everything that it calls, which
halves the time of a cold start. Python's cyclic garbage collector is off while a kernel and its parts are compiled.
Otherwise it would traverse a million live objects three hundred times, which takes a sixth of the compilation time.
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
    """Switch the cyclic garbage collector off in a block, and on again afterwards if it was on."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _WholeCode(JITCodeLibrary):
    """Code that is optimised only as a whole, after all of it is linked, and not function by function before."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout


class _LinkedCode(_WholeCode):
    """Code that is only linked into other libraries: neither optimised by itself nor translated to machine code."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _KernelLowering(typed_passes.NativeLowering):
    """Lowering to code that is optimised only as a whole."""

    _name = "kernel_lowering"

    def run_pass(self, state: Any) -> bool:
        """Lower one function."""
        state.library = _WholeCode(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().run_pass(state)


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(typed_passes.NativeLowering):
    """Lowering that stops before machine code and registers the function for its callers."""

    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        """Lower one function and register it under a placeholder that raises when Python calls it."""
        codegen = state.targetctx.codegen()
        state.library = _LinkedCode(codegen, state.func_id.func_qualname)
        done = super().run_pass(state)
        # numba needs a distinct builtin function of (args, keywords) for each part; this one raises KeyError with the text inside
        key = f"{{{state.func_id.func_name} is a part of kernels and cannot be called from Python}}".format
        state.targetctx.insert_user_function(key, state["cr"].fndesc, [state.library])
        state["cr"] = state["cr"]._replace(cfunc=key)
        return done


def _pipeline(state: Any, lowering: type) -> list:
    """Return numba's pipeline with another pass for lowering."""
    pipeline = compiler.DefaultPassBuilder.define_nopython_pipeline(state)
    pipeline._finalized = False
    pipeline.passes = [(lowering if step is typed_passes.NativeLowering else step, note) for step, note in pipeline.passes]
    pipeline.finalize()
    return [pipeline]


class StepwiseCompiler(compiler.Compiler):
    """Compiler with numba's own pipeline, which optimises each function separately; the garbage collector is off during compilation."""

    def compile_extra(self, func: Any) -> Any:
        """Compile a function while the garbage collector is off."""
        with _uncollected():
            return super().compile_extra(func)


class KernelCompiler(StepwiseCompiler):
    """Compiler that optimises a kernel only as a whole; most kernels use it."""

    def define_pipelines(self) -> list:
        """Return the pipelines of the compiler: a list with one pipeline."""
        return _pipeline(self.state, _KernelLowering)


class _PartCompiler(compiler.CompilerBase):
    """numba's pipeline with :class:`_PartLowering`, for functions that only kernels call."""

    def define_pipelines(self) -> list:
        """Return the one pipeline."""
        self.state.flags.no_compile = True
        return _pipeline(self.state, _PartLowering)


def part_dispatcher(function: Callable, **options: Any) -> Callable:
    """Return a function for use in compiled functions, compiled together with its first caller.

    ``options`` are those of :func:`numba.njit`.
    """
    settings: dict[str, Any] = {**options, "no_cpython_wrapper": True, "pipeline_class": _PartCompiler}
    return numba.njit(**settings)(function)
