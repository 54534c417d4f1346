"""Collection of messages that other libraries emit while they read a file, for the attributes of the result."""

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator

LIBRARIES = (
    "rsciio", "hyperspy", "tifffile", "imagecodecs", "PIL", "h5py", "h5netcdf", "emdfile", "sidpy", "pyNSID", "zarr", "numcodecs", "fsspec",
    "asyncio", "xarray", "dask", "distributed", "scipy", "pint",
)  # fmt: skip
"""Names of the loggers of libraries that read files."""
LONGEST = 200
"""Largest length of a collected message, characters."""
MOST = 10
"""Largest number of collected messages."""


class _Collector(logging.Handler):
    """Handler that adds warnings and errors to a list."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Add the first line of a record."""
        with contextlib.suppress(Exception):  # a record whose arguments do not fit its text is ignored
            add_message(self.messages, record.name.split(".")[0], record.getMessage())


def add_message(messages: list[str], library: str, said: str) -> None:
    """Add the first line of a library's message to a list, unless the list already contains it."""
    line = " ".join((said.strip().splitlines() or [""])[0].split())[:LONGEST]
    message = f"{library}: {line}"
    if line and message not in messages and len(messages) < MOST:
        messages.append(message)


@contextlib.contextmanager
def collect_messages(module: str = "") -> Iterator[list[str]]:
    """Collect the warnings and log records of other libraries in a list instead of printing them.

    Parameters
    ----------
    module : str
        Module that is imported first if it is installed, because the module configures its own logging on import.

    Yields
    ------
    list of str
        Warnings and errors of the libraries, for example about parts of a file that a reader omitted or could not
        interpret. The list is complete at the end of the ``with`` block. Notices about the libraries themselves, such as deprecations,
        are dropped.
    """
    if module and importlib.util.find_spec(module) is not None:
        importlib.import_module(module)
    messages: list[str] = []
    collector = _Collector(messages)
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    before = [(list(logger.handlers), logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [collector], False
    try:
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            yield messages
        for warning in given:
            if warning.category is UserWarning:
                add_message(messages, "warning", str(warning.message))
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
