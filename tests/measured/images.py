"""Time and outcome of ``stemtwin image`` for structure files: ``python -m tests.measured.images [FOLDER]`` (``make images``).

The program images every structure file below the folder, by default ``../shared/real``, and a particle on carbon with the default options, each in
its own process that keeps no operators and uses the kernels on disk. The table has file, engine, exactness, wall time and processor time, and for a
refused file the message. The exit code is 1 if an image takes more than a minute. Run it on a quiet machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "real"
PARTICLE = "au-particle-carbon"
LIMIT_S = 60.0
"""An image that takes longer fails the run."""
PATIENCE_S = 600.0
"""An image that takes longer is ended."""
OTHERS = frozenset({".md", ".csv", ".npz", ".tif", ".emd", ".mrc", ".msa"})
"""Suffixes of files without a structure."""
PROGRAM = "import sys; from stemtwin.leaderboard.cli.main import main; sys.exit(main(sys.argv[1:]))"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Result of one image.

    Attributes
    ----------
    file : str
        The structure.
    engine, exactness : str
        Values of ``stemtwin image --json``; for a refused file an empty engine and the message.
    wall, processor : float
        Wall time and processor time of the whole process, s.
    """

    file: str
    engine: str
    exactness: str
    wall: float
    processor: float

    @property
    def slow(self) -> bool:
        """Whether it took longer than the limit."""
        return self.wall > LIMIT_S

    @property
    def row(self) -> str:
        """Line of the table."""
        return f"| {self.file} | {self.engine or 'refused'} | {self.exactness} | {self.wall:.1f}{' **slow**' * self.slow} | {self.processor:.1f} |"


def structures(folder: Path) -> list[Path]:
    """Return the structure files below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() not in OTHERS)


def imaged(structure: str, name: str) -> Outcome:
    """Image a structure file or a sample of the library in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "-c", PROGRAM, "image", structure, "--json", "--output", str(Path(folder) / "image.png")]
        environment = {**os.environ, "STEMTWIN_CACHE_BYTES": "0", "PYTHONPATH": str(ROOT)}
        before, start = os.times(), time.perf_counter()
        try:
            done = subprocess.run(command, env=environment, cwd=folder, check=False, capture_output=True, text=True, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            done = None
        after, wall = os.times(), time.perf_counter() - start
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    if done is None:
        return Outcome(file=name, engine="", exactness=f"ended after {PATIENCE_S:.0f} s", wall=wall, processor=spent)
    if done.returncode:
        return Outcome(file=name, engine="", exactness=" ".join(done.stderr.split()), wall=wall, processor=spent)
    said = json.loads(done.stdout)
    return Outcome(file=name, engine=said["engine"], exactness=said["exactness"], wall=wall, processor=spent)


def table(outcomes: Iterable[Outcome]) -> bool:
    """Print a line of the table as each image is done; return whether all took at most a minute."""
    sys.stdout.write("| file | engine | exactness, or reason for the refusal | wall, s | processor, s |\n|---|---|---|---|---|\n")
    met = True
    for outcome in outcomes:
        sys.stdout.write(f"{outcome.row}\n")
        sys.stdout.flush()
        met &= not outcome.slow
    return met


def main(arguments: list[str] | None = None) -> int:
    """Image all files, print the table, and return 1 if one took more than a minute."""
    parser = argparse.ArgumentParser(prog="python -m tests.measured.images", description="Time and outcome of an image of every structure file.")
    parser.add_argument("folder", nargs="?", type=Path, default=REAL, help="folder of structure files (default: ../shared/real)")
    parser.add_argument("--only", default="", help="image only files whose name contains this text")
    asked = parser.parse_args(arguments)
    named = [(str(path), str(path.relative_to(asked.folder))) for path in structures(asked.folder)]
    if not named:
        sys.stdout.write(f"no structure files below {asked.folder}: they are not part of the repository\n")
    chosen = [(path, name) for path, name in [*named, (PARTICLE, PARTICLE)] if asked.only.lower() in name.lower()]
    return 0 if table(imaged(path, name) for path, name in chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
