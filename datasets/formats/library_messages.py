"""Messages of other libraries while they read a file: kept off the screen, and collected for the result's attributes."""

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
"""Characters of one message that are kept."""
MOST = 10
"""Number of messages that are kept."""


class _Collector(logging.Handler):
    """Handler that adds warnings and errors to a list."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Add the first line of a record."""
        with contextlib.suppress(Exception):  # a record whose arguments do not fit its text says nothing
            add_message(self.messages, record.name.split(".")[0], record.getMessage())


def add_message(messages: list[str], library: str, said: str) -> None:
    """Add the first line of what a library said, once."""
    line = " ".join((said.strip().splitlines() or [""])[0].split())[:LONGEST]
    message = f"{library}: {line}"
    if line and message not in messages and len(messages) < MOST:
        messages.append(message)


@contextlib.contextmanager
def collect_messages(module: str = "") -> Iterator[list[str]]:
    """Keep warnings and log records of other libraries off the screen.

    Parameters
    ----------
    module : str
        Module to import before, where it is installed: one that sets up its own log when it is imported.

    Yields
    ------
    list of str
        The warnings and errors that they gave, complete after the block: what a reader left out or could not understand. Notices about the
        libraries themselves, such as deprecations, are dropped.
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
