"""Page of the documentation on a rehearsal: ``python -m tests.rehearsal.page FOLDER`` (``make rehearsal-page``), after ``make rehearsal``.

A headless Chromium renders pages of the archive and sheets of the jury, which are stored as small pictures in
``docs/rehearsal``. The numbers in ``docs/rehearsal.md`` are those of the signed board, the log and the recorded times.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image

from stemtwin.benchmarks.names import printable
from stemtwin.benchmarks.report import version
from stemtwin.leaderboard.events.folders import open_folder
from stemtwin.twin.files import replacing, write_atomically
from tests.rehearsal.rehearse import ROOT, STEPS

PAGE, PICTURES = ROOT / "docs" / "rehearsal.md", ROOT / "docs" / "rehearsal"
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--hide-scrollbars")
COLOURS = 24
"""Number of colours of a picture, sufficient for text and lines."""
DESK, PAPER = (1360, 1400), (800, 1131)
"""Window sizes for pages and for A4 sheets, pixels."""


def shot(program: str, source: Path, target: Path, window: tuple[int, int]) -> None:
    """Write a picture of a page as shown in a window, without empty rows at the bottom, in few colours."""
    with tempfile.TemporaryDirectory(prefix="stemtwin-") as place:
        made = Path(place) / "page.png"
        size = f"--window-size={window[0]},{window[1]}"
        command = [program, *FLAGS, f"--user-data-dir={place}/user", size, f"--screenshot={made}", source.resolve().as_uri()]
        subprocess.run(command, capture_output=True, timeout=120, check=True)
        with Image.open(made) as image:
            plain = image.convert("RGB")
    ground = Image.new("RGB", plain.size, plain.getpixel((plain.width - 1, plain.height - 1)))
    box = _changed(plain, ground)
    cut = plain.crop((0, 0, plain.width, min(plain.height, box + 24)))
    with replacing(target) as temporary:
        cut.quantize(COLOURS).save(temporary, format="png", optimize=True)


def _changed(image: Image.Image, ground: Image.Image) -> int:
    """Return the number of rows up to the last one that differs from an empty page."""
    from PIL import ImageChops

    box = ImageChops.difference(image, ground).getbbox()
    return image.height if box is None else box[3]


def shots(archive: Path) -> dict[str, tuple[Path, tuple[int, int], str]]:
    """Return page, window size and caption of each picture, by name."""
    boards = sorted((archive / "pages" / "board").glob("*.html"))
    found = {"event": (archive / "pages" / "index.html", DESK, "Page of the event: dates for each site, rules, keys, and the signed log.")}
    for task in ("denoise", "hypothesis-test"):
        page = next(path for path in boards if path.name.startswith(task) and "slices" not in path.name)
        found[f"board-{task}"] = (page, DESK, f"Board of `{task}`.")
    for team, words in (("gauss", "which handed in a table of answers"), ("bayes", "which handed in an agent")):
        page = next(path for path in (archive / "jury").glob("*.html") if team in path.name)
        found[f"jury-{team}"] = (page, PAPER, f"Jury sheet of the team {team}, {words}.")
    found["jury"] = (archive / "jury" / "index.html", DESK, "Index of the jury sheets.")
    return found


def text(folder: Path, pictures: dict[str, str]) -> str:
    """Return the page, Markdown."""
    archive, steps = folder / "trial-archive", json.loads((folder / STEPS).read_text())
    event, rows = open_folder(archive), json.loads((archive / "board.json").read_text())["state"]["rows"]
    kinds = Counter(line.kind for line in event.lines)
    parts = [f"{one.task} ({one.size})" for one in event.event.tasks]
    parts += [
        f"{one.task} ({one.episodes} episodes, {one.attempts} {'attempt' if one.attempts == 1 else 'attempts'})" for one in event.event.environments
    ]
    form, minutes = "small" if steps["small"] else "full", steps["seconds"] / 60
    out = [
        "# A rehearsed event",
        f"`make rehearsal-page` wrote this page from the results of `make rehearsal` in its {form} form, with stemtwin {version()}. A rehearsal\n"
        "runs an event with twelve teams, from an empty folder to a verified archive. Each team is a process that uses only documented commands;\n"
        "three of them cheat, and two hand in broken submissions. No team consists of people, and the entries are baselines.",
        f"The tasks were {', '.join(parts)}. The rehearsal took {minutes:.0f} minutes on two cores, which other work "
        "shared. "
        f"The signed log has {sum(kinds.values())} lines: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}. "
        f"The isolation of agents was of the kind `{steps['isolation']}`. The archive was verified "
        + (
            "with another home folder."
            if steps["small"]
            else "in a new installation from wheels, without a network, with its own home folder and caches."
        ),
        "Entries whose scores do not differ significantly share a range of ranks and are in the order of their names:",
        "| task | rank | value | team and entry |\n|---|---|---|---|\n" + "\n".join(_row(row) for row in rows),
        "The following commands took longest. The seconds are sums over all runs; two teams ran at a time.",
        "| seconds | runs | command |\n|---|---|---|\n" + "\n".join(_longest(steps["times"])),
    ]
    for name, words in pictures.items():
        out += [f"{words}", f"![{words.rstrip('.')}](rehearsal/{name}.png)"]
    return "\n\n".join(out) + "\n"


def _row(row: dict[str, Any]) -> str:
    """Return a row of the board."""
    ends = row["rank"] or []
    rank = "-" if not ends else str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}-{ends[1]}"
    value = "no value" if row["value"] is None else f"{row['metric']} {row['value']:.4g}"
    return f"| {row['task']}@{row['major']} | {rank} | {value} | {row['team']}/{row['name']} |"


def _longest(times: list[list[Any]], count: int = 8) -> list[str]:
    """Return table rows of the slowest commands."""
    together: dict[str, list[float]] = {}
    for script, seconds in times:
        label = "a team, from clone to push" if script.startswith("git clone") else f"`{script.split(' --')[0].replace('|', ' ')}`"
        together.setdefault(printable(label)[:80], []).append(seconds)
    longest = sorted(together.items(), key=lambda one: -sum(one[1]))[:count]
    return [f"| {sum(seconds):.0f} | {len(seconds)} | {label} |" for label, seconds in longest]


def main() -> None:
    """Write the pictures and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of a finished rehearsal")
    folder = parser.parse_args().folder.resolve()
    program = shutil.which("chromium")
    if program is None:
        sys.exit("chromium is not installed. Install it, for example by: apt install chromium")
    PICTURES.mkdir(exist_ok=True)
    found = shots(folder / "trial-archive")
    for name, (source, window, _) in found.items():
        shot(program, source, PICTURES / f"{name}.png", window)
        sys.stdout.write(f"{name}: {(PICTURES / f'{name}.png').stat().st_size // 1024} kB\n")
    write_atomically(PAGE, text(folder, {name: words for name, (_, _, words) in found.items()}).encode())


if __name__ == "__main__":
    main()
