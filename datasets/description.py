"""Descriptions of a dataset for publication: a Hugging Face card, a citation file and Croissant metadata."""

import json
from pathlib import Path
from typing import Any

import yaml

from stemtwin.datasets import croissant, readme
from stemtwin.datasets.cards import Card
from stemtwin.datasets.columns import IMAGE_DIMS
from stemtwin.datasets.manifest import Manifest
from stemtwin.twin.files import write_atomically

AUTHORS = ("stemtwin contributors",)
ROWS = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Upper limit of the number of rows and name of each size category of Hugging Face."""
CITATION = "CITATION.cff"


def reference(card: Card) -> dict[str, Any]:
    """Return the entry of a dataset for a citation file (CFF 1.2.0)."""
    return {
        "type": "data",
        "title": f"{card.name}: {card.title}",
        "version": card.version,
        "license": card.licence,
        "authors": [{"name": name} for name in AUTHORS],
    }


def citation_file(card: Card) -> str:
    """Return the text of the file ``CITATION.cff`` of a dataset."""
    head = {"cff-version": "1.2.0", "message": "If you use this dataset, please cite it as below, with its version and size.", "type": "dataset"}
    rest = {key: value for key, value in reference(card).items() if key != "type"}
    abstract = " ".join(card.description.split())
    return yaml.safe_dump({**head, **rest, "abstract": abstract}, sort_keys=False, allow_unicode=True, width=100)


def bibtex(card: Card) -> str:
    """Return the BibTeX entry of a dataset."""
    key = f"stemtwin_{card.name.replace('-', '_')}_{card.version.replace('.', '_')}"
    fields = {"title": f"{{{card.name} {card.version}: {card.title}}}", "author": "{{stemtwin contributors}}", "note": f"{{{card.citation}}}"}
    return "\n".join([f"@misc{{{key},", *(f"  {name} = {value}," for name, value in fields.items()), "}"])


def hub_readme(card: Card, manifest: Manifest) -> str:
    """Return the text of a dataset's ``README.md`` for Hugging Face.

    It contains tags, the description, an example that loads the dataset, and the citation.
    """
    text = readme.dataset_readme(card, manifest.size)
    front = readme.front_matter(card, card.licence.lower())
    body = text.removeprefix(front)
    rows = sum(split.rows for split in manifest.splits.values())
    added = {
        "language": ["en"],
        "annotations_creators": ["machine-generated"],
        "source_datasets": ["original"],
        "size_categories": [next((name for most, name in ROWS if rows < most), "n>1M")],
        "task_categories": [task_category(card)],
        "tags": ["electron-microscopy", "STEM", "physics", "simulation", "croissant"],
    }
    head = front.rstrip().removesuffix("---") + yaml.safe_dump(added, sort_keys=False) + "---\n\n"
    name = f"{card.name}@{card.version}"
    load = f'import stemtwin as st\n\ndata = st.load_dataset("{name}", size="{manifest.size}", split="{next(iter(card.splits))}")'
    more = ["## Load", f"```python\n{load}\n```", f"Content {manifest.content_sha256}; `{croissant.FILE}` describes files and columns (Croissant)."]
    more += ["## BibTeX", f"```bibtex\n{bibtex(card)}\n```"]
    return head + body.rstrip() + "\n\n" + "\n\n".join(more) + "\n"


def task_category(card: Card) -> str:
    """Return the task category of Hugging Face that fits the truth columns of a dataset."""
    truth = [column for column in card.columns if column.role == "truth"]
    if any(column.shape and column.dim_names[-2:] == IMAGE_DIMS for column in truth):
        return "image-to-image"
    return "keypoint-detection" if any(column.ragged and column.name.endswith("x_angstrom") for column in truth) else "other"


def describe(card: Card, manifest: Manifest, folder: Path, *, url: str = "", published: str = "") -> list[Path]:
    """Write ``README.md``, ``croissant.json`` and ``CITATION.cff`` of a built dataset into a folder, and return their paths.

    Parameters
    ----------
    card, manifest : Card, Manifest
        Card of the dataset, and manifest of the build.
    folder : Path
        Folder of the files, which is created if it does not exist.
    url, published : str
        Web address of the dataset's folder and date of publication for the Croissant metadata, or ``""``; see
        :func:`stemtwin.datasets.croissant.croissant`.
    """
    metadata = json.dumps(croissant.croissant(card, manifest, url=url, published=published), indent=1, ensure_ascii=False) + "\n"
    texts = {"README.md": hub_readme(card, manifest), croissant.FILE: metadata, CITATION: citation_file(card)}
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    return [folder / name for name in texts]
