"""Command lines of confined processes: with bubblewrap if it works on this system, otherwise with limits of the operating system only.

In the file system of bubblewrap, a process can read the system's programs, the running Python, this package, the compiled kernels, and its own
folder. It can write only to a scratch folder, which is empty at the start. It has no network and cannot see other processes.
"""

import dataclasses
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError, suggestion
from stemtwin.twin.physics.engine.kernels.jit import cache_folder

Level = Literal["bubblewrap", "process"]
OPEN: dict[Level, tuple[str, ...]] = {
    "bubblewrap": (
        "the waiting time for an observation, from which the agent can infer how long the microscope computed, unless this time is padded",
        "the number of processes if root runs the agents, and the total memory of all processes of an agent",
        "faults of the kernel and of the processor, which bubblewrap does not guard against",
    ),
    "process": (
        "files that this user may read, keys of the event among them",
        "the network",
        "other processes of this user, whose memory a debugger may read",
        "processes that the agent leaves behind, and files that it writes",
        "the waiting time for an observation, from which the agent can infer how long the microscope computed, unless this time is padded",
    ),
}
"""Gaps that each level of isolation leaves open."""
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
PARTS = ("stemtwin", "stemtwin.twin", "stemtwin.datasets", "stemtwin.benchmarks", "stemtwin.leaderboard")
SCRATCH = "/tmp"
LAUNCH = """
import json, os, resource, sys
for name, value in json.loads(sys.argv[1]).items():
    kind = getattr(resource, name, None)
    if kind is not None:
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]}: {error.strerror}")
"""
"""Python program that sets limits on its own process and then replaces itself with the program of the agent."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Limits of an agent's process.

    Parameters
    ----------
    start_s : float
        Longest time from the start of the process to its first message, s.
    act_s : float
        Longest time of one decision, s.
    episode_s : float
        Longest time of all decisions of an episode together, s.
    memory_bytes : int
        Largest address space of a process, bytes.
    message_bytes : int
        Longest message that the agent is allowed to send, bytes.
    scratch_bytes : int
        Largest file, and with bubblewrap also the largest content of the scratch folder, bytes.
    processes : int
        Largest number of processes and threads; enforced with bubblewrap only.
    pad_s : float
        Shortest time from an action to the next observation, and from the end of an episode to the start of the next one, s; 0 means no delay.
    """

    start_s: float = 60.0
    act_s: float = 10.0
    episode_s: float = 600.0
    memory_bytes: int = 8 << 30
    message_bytes: int = 16 << 20
    scratch_bytes: int = 256 << 20
    processes: int = 256
    pad_s: float = 0.0

    def __post_init__(self) -> None:
        """Check every limit."""
        for name in ("start_s", "act_s", "episode_s"):
            checks.number_field(self, name, "s", above=0.0)
        checks.number_field(self, "pad_s", "s", low=0.0)
        for name in ("memory_bytes", "message_bytes", "scratch_bytes", "processes"):
            checks.whole(name, getattr(self, name), low=1)

    def system(self, level: Level) -> dict[str, int]:
        """Return the limits that the operating system enforces, by their names in the module ``resource``."""
        limits = {"RLIMIT_AS": self.memory_bytes, "RLIMIT_FSIZE": self.scratch_bytes, "RLIMIT_CORE": 0}
        return limits | ({"RLIMIT_NPROC": self.processes} if level == "bubblewrap" else {})  # elsewhere it counts all processes of the user


@functools.cache
def strongest_level() -> Level:
    """Return the strongest level of isolation that works on this system.

    A test run of bubblewrap decides, because some systems forbid the namespaces that bubblewrap needs.
    """
    program = shutil.which("bwrap")
    if program is None:
        return "process"
    tried = subprocess.run([program, "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, timeout=30, check=False)
    return "bubblewrap" if tried.returncode == 0 else "process"


def check_level(level: str | None) -> Level:
    """Return a level of isolation by its name, or the strongest level that works on this system if the name is None.

    Raises
    ------
    SettingsError
        The level is unknown, or does not work on this system.
    """
    strongest = strongest_level()
    if level is None or level == strongest:
        return strongest
    if level == "process":
        return "process"
    if level == "bubblewrap":
        message = "isolation 'bubblewrap' does not work here. Install bubblewrap and allow user namespaces, or choose 'process'."
        raise SettingsError(message)
    message = f"isolation {level!r} is not known. {suggestion(level, OPEN)}"
    raise SettingsError(message)


def confined_command(program: Sequence[str], folder: Path, limits: Limits, level: Level) -> list[str]:
    """Return the command line that runs a program under limits.

    Parameters
    ----------
    program : sequence of str
        Program and arguments.
    folder : Path
        Folder of the agent, in which the program starts.
    limits : Limits
        Limits that the system enforces.
    level : str
        ``"bubblewrap"`` or ``"process"``.

    Raises
    ------
    SettingsError
        The program is empty.
    """
    if not program:
        message = "The agent's program is empty. Name a program, such as 'python agent.py'."
        raise SettingsError(message)
    launched = [sys.executable, "-I", "-S", "-c", LAUNCH, json.dumps(limits.system(level)), *program]
    return [*_bubblewrap(folder.resolve(), limits), "--", *launched] if level == "bubblewrap" else launched


def _bubblewrap(folder: Path, limits: Limits) -> list[str]:
    """Return the command line of bubblewrap."""
    command = [shutil.which("bwrap") or "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "agent"]
    for name in SYSTEM:
        path = Path(name)
        if path.is_symlink():
            command += ["--symlink", str(path.readlink()), name]
        elif path.exists():
            command += ["--ro-bind", name, name]
    scratch = ["--size", str(limits.scratch_bytes), "--tmpfs"]
    command += ["--proc", "/proc", "--dev", "/dev", *scratch, "/dev/shm", "--remount-ro", "/dev", *scratch, SCRATCH]
    for path in (*python_folders(), cache_folder() / "kernels", folder):
        if path.is_dir():
            command += ["--ro-bind", str(path), str(path)]
    command += ["--remount-ro", "/", "--chdir", str(folder), "--clearenv"]
    for name, value in environment(folder).items():
        command += ["--setenv", name, value]
    return command


def python_folders() -> list[Path]:
    """Return the folders that the running Python and this package need."""
    named = {Path(sys.prefix), Path(sys.base_prefix), *map(Path, sysconfig.get_paths().values())}
    named |= {Path(where) for part in PARTS for where in _package_folders(part)[:1]}
    named = {path.absolute() for path in named if path.is_dir()}
    return sorted(path for path in named if not any(other in path.parents for other in named))


def _package_folders(part: str) -> list[str]:
    """Return the folders of a part of this package."""
    found = importlib.util.find_spec(part)
    return list(found.submodule_search_locations or ()) if found else []


def environment(folder: Path) -> dict[str, str]:
    """Return the environment variables of an agent's process, which receives no other variables."""
    handed = {name: os.environ[name] for name in ("LANG", "LC_ALL", "SYSTEMROOT") if name in os.environ}
    search = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    modules = os.pathsep.join((str(folder), str(Path(_package_folders(PARTS[0])[0]).parent)))  # the package that runs here, not one that is installed
    own = {"PATH": search, "HOME": SCRATCH, "TMPDIR": SCRATCH, "PYTHONPATH": modules, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return handed | own | threads | {"STEMTWIN_CACHE_DIR": str(cache_folder())}
