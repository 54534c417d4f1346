"""The guides of participants and organisers in new virtual environments, command by command, with the time of each step: ``make newcomer``.

A wheel of this checkout is installed in place of a released one; its dependencies come from the package index or from a folder, ``--wheels``. Homes
and caches are empty. It ends with exit code 1 and a sentence if a command fails, a submission has no rank, the archive is not verified, or the
participant's commands take longer than 15 minutes together.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from stemtwin.benchmarks.isolation.sandbox import strongest_level
from tests.rehearsal.guides import PARTICIPATING, Following
from tests.rehearsal.rehearse import COPIED, ROOT

LIMIT_S = 900.0
"""Time of the participant's commands, s."""


def wheel_of(folder: Path) -> Path:
    """Pack a wheel of this checkout into a folder and return it."""
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=COPIED)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder / "wheel"), str(source)]
    subprocess.run(command, check=True, timeout=600)
    shutil.rmtree(source)
    return next((folder / "wheel").glob("*.whl"))


def main() -> None:
    """Follow both guides and print the time of each block of commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="new folder")
    parser.add_argument("--wheels", type=Path, help="folder of wheels, for an installation without a network")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    folder.mkdir(parents=True)
    wheel = wheel_of(folder)
    source = str(wheel) if asked.wheels is None else f"--no-index --find-links {asked.wheels.resolve()} {wheel}"
    following = Following(folder / "event", source=source, isolation=strongest_level())
    total, output = 0.0, ""
    for step in following.steps():
        own = step.block.page == PARTICIPATING
        total, output = total + step.wall_s * own, step.output
        last = step.block.text.strip().splitlines()[-1][:70]
        who = "participant" if own else "organiser"
        sys.stdout.write(f"{step.wall_s:6.1f} s ({step.processor_s:.1f} s of processor time)  {who}, {step.block.heading}: {last}\n")
        sys.stdout.flush()
    ranks = ", ".join(f"{entry}: {rank}" for entry, rank in following.ranks().items())
    if not output.endswith("verified\n"):
        sys.exit(output)
    sys.stdout.write(f"{total:6.1f} s of the participant, from an empty folder to ranked submissions ({ranks}) of a verified event\n")
    if total > LIMIT_S:
        sys.exit(f"the participant's commands took more than {LIMIT_S:.0f} s")


if __name__ == "__main__":
    main()
