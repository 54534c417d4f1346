"""A newcomer's first quarter of an hour: from an empty folder to a ranked submission, by documented commands, with the time of each step.

``make newcomer`` runs it. The event is made before the clock starts. Then a new virtual environment is made, with a home and caches of its own, the
package is installed into it from a wheel of this checkout (what it needs comes from the package index, or from a folder by ``--wheels``), practice
data are built, and a submission to hidden rows is answered, tried, handed in and scored. It ends with exit code 1 and a sentence where a step fails,
where the submission holds no rank, or where the steps take longer than 15 minutes together.
"""

import argparse
import datetime
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.rehearsal.rehearse import COPIED, ROOT

LIMIT_S = 900.0
"""Time from the installation to the rank, s."""
TASK, TEAM = "denoise", "newcomers"
STEPS = (
    ("virtual environment", "{python} -m venv venv"),
    ("install", "venv/bin/python -m pip install --quiet {source}"),
    ("open the bundle", "stemtwin event open event"),
    ("build practice data", f"stemtwin data build {TASK}@1 --size tiny"),
    ("answer and score practice rows", f"stemtwin eval {TASK} --baseline gaussian --size tiny --output practice"),
    ("try a submission", "stemtwin submit practice/submission --dry-run"),
    ("answer hidden rows", f"stemtwin event predict event/opened --task {TASK} --baseline gaussian --output {TEAM}/first"),
    ("hand in", f"stemtwin submit {TEAM}/first --event event --team {TEAM}"),
    ("score and rank", "stemtwin event score event"),
)
"""Steps and their commands; the last one is the organiser's."""


def run(command: str, where: Path, variables: dict[str, str]) -> str:
    """Run a command and return its output; a failure ends everything."""
    done = subprocess.run(["bash", "-e", "-c", command], cwd=where, env=variables, capture_output=True, text=True, timeout=3000, check=False)
    if done.returncode:
        sys.exit(f"{command}\nended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def prepare(folder: Path) -> Path:
    """Make an event with hidden rows, open it, pack a wheel of this checkout, and return the wheel."""
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    stemtwin = f'{sys.executable} -c "from stemtwin.leaderboard.cli.main import run; run()"'
    opens = datetime.datetime.now(datetime.UTC).replace(microsecond=0) - datetime.timedelta(minutes=1)
    run(f"{stemtwin} event new event --task {TASK}:tiny --opens {opens.isoformat()} && {stemtwin} event seal event", folder, here)
    run(f"{stemtwin} event open event && rm -r event/opened", folder, here)
    shutil.copytree(ROOT, folder / "source", ignore=COPIED)
    run(f"{sys.executable} -m pip wheel --quiet --no-deps --wheel-dir wheel ./source", folder, here)
    shutil.rmtree(folder / "source")
    return next((folder / "wheel").glob("*.whl"))


def rank(folder: Path) -> str:
    """Return the rank of the submission on the signed board; without one everything ends."""
    rows = [row for row in json.loads((folder / "event" / "board.json").read_text())["state"]["rows"] if row["team"] == TEAM]
    if len(rows) != 1 or rows[0]["rank"] is None:
        sys.exit(f"the board holds {len(rows)} rows of {TEAM}, of which none is ranked")
    low, high = rows[0]["rank"]
    return f"rank {low}" if low == high else f"ranks {low} to {high}"


def processor_s() -> float:
    """Return the processor time of all commands that have ended, s."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def main() -> None:
    """Go through the steps and print the time of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="new folder")
    parser.add_argument("--wheels", type=Path, help="folder of wheels, for an installation without a network")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    folder.mkdir(parents=True)
    wheel = prepare(folder)
    source = str(wheel) if asked.wheels is None else f"--no-index --find-links {asked.wheels.resolve()} {wheel}"
    variables = {"PATH": f"{folder / 'venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    variables |= {name: str(folder / "home" / name.lower()) for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
    total = 0.0
    for name, command in STEPS:
        began, used = time.monotonic(), processor_s()
        run(command.format(python=sys.executable, source=source), folder, variables)
        seconds = time.monotonic() - began
        total += seconds
        sys.stdout.write(f"{seconds:6.1f} s ({processor_s() - used:.1f} s of processor time)  {name}\n")
        sys.stdout.flush()
    told = f"{total:6.1f} s  from nothing to {rank(folder)} of {TASK}"
    sys.stdout.write(f"{told}\n")
    if total > LIMIT_S:
        sys.exit(f"that is more than {LIMIT_S:.0f} s")


if __name__ == "__main__":
    main()
