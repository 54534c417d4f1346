"""Numbers and pictures of ``docs/measured.md``: ``python -m tests.measured.comparison [FOLDER]`` (``make measured``).

The image is in ``../shared/real`` beside the checkout and is not part of it. If it is absent, nothing is made and the reason is printed. The page has
the output of ``stemtwin compare``, as any user runs it.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from stemtwin.benchmarks.micrograph_report import ANSWERS, PICTURE, TEXT
from stemtwin.leaderboard.cli.main import main as run
from stemtwin.twin.files import write_atomically
from tests.measured.page import IMAGE, REAL, ROOT

PAGE, PICTURES = ROOT / "docs" / "measured.md", {PICTURE: "measured.png", ANSWERS: "measured-answers.png"}
BEGIN, END = "<!-- numbers: make measured -->", "<!-- end of numbers -->"
SRRUO3 = """SrRuO3 as a cube, a = 3.93 A
1.0
3.93 0 0
0 3.93 0
0 0 3.93
Sr Ru O
1 1 3
Direct
0.0 0.0 0.0
0.5 0.5 0.5
0.5 0.5 0.0
0.5 0.0 0.5
0.0 0.5 0.5
"""
"""POSCAR of the pseudocubic cell; the lattice parameter is that of bulk SrRuO3."""
REGIONS = {"pbtio3-001": "160,500,64,64", "srruo3.vasp": "84,500,64,64"}
"""Windows in the two layers, close to each other."""
OPTIONS = ("--semiangle", "20", "--inner", "60", "--outer", "200", "--variable", "image", "--pixel-size", "0.14996803")


def main(arguments: list[str] | None = None) -> None:
    """Make numbers and pictures, or print the reason why not."""
    parser = argparse.ArgumentParser(prog="python -m tests.measured.comparison", description="A measured micrograph beside the twin.")
    parser.add_argument("folder", nargs="?", type=Path, default=REAL, help="folder of the file (default: ../shared/real)")
    real = parser.parse_args(arguments).folder
    if not (real / IMAGE).is_file():
        sys.stdout.write(f"skipped: {real / IMAGE} is not on this machine, and measured files are not part of the repository\n")
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "srruo3.vasp").write_text(SRRUO3, encoding="utf-8")
        words = ["compare", str(real / IMAGE), *OPTIONS, "--output", str(folder / "out")]
        for name, region in REGIONS.items():
            words += ["--sample", str(folder / name) if name.endswith(".vasp") else name, "--region", region]
        if code := run(words):
            raise SystemExit(code)
        text = (folder / "out" / TEXT).read_text(encoding="utf-8").strip()
        for source, target in PICTURES.items():
            shutil.copyfile(folder / "out" / source, PAGE.parent / target)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    write_atomically(PAGE, "\n".join([before + BEGIN, "", text, "", END + rest.partition(END)[2]]).encode())
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
