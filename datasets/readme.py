"""The README of a built dataset: front matter for Hugging Face, and the content of the card as text."""

import json

from stemtwin.datasets.cards import Card
from stemtwin.datasets.columns import Column


def dataset_readme(card: Card, size: str) -> str:
    """Return the text of ``README.md``.

    Its front matter lists the files of the splits, so Hugging Face's ``datasets.load_dataset(folder)`` finds them.
    """
    body = [f"# {card.title}", f"{card.name} {card.version}, size {size}.", card.description.strip(), "## Limits"]
    body.append("\n".join(f"- {limit}" for limit in card.limits))
    body += ["## Splits", f"Split by structure seed ({card.seeds.policy})."]
    counts = card.sizes[size]
    rows = [f"| {split} | {n} | {n * counts.images_per_specimen[split]} |" for split, n in counts.specimens.items()]
    body.append("\n".join(["| split | specimens | images |", "|---|---|---|", *rows]))
    body += ["## Columns", table_of_columns(card), "## Licence and citation", f"{card.licence}. {card.citation}"]
    return front_matter(card, card.licence.lower()) + "\n\n".join(body) + "\n"


def front_matter(card: Card, licence: str) -> str:
    """Return the front matter of a README, with the licence in Hugging Face's notation."""
    head = ["---", f"license: {licence}", f"pretty_name: {json.dumps(card.title)}"]
    head += ["configs:", "- config_name: default", "  data_files:"]
    head += [f"  - split: {split}\n    path: data/{split}-*.parquet" for split in card.splits]
    return "\n".join([*head, "---", "", ""])


def table_of_columns(card: Card) -> str:
    """Return the Markdown table of a card's columns."""
    lines = [f"| {c.name} | {_type(c)} | {c.unit} | {c.role} | {c.meaning} |" for c in card.columns]
    return "\n".join(["| name | type | unit | role | meaning |", "|---|---|---|---|---|", *lines])


def _type(column: Column) -> str:
    """Return type and dimensions of a column: ``uint16 [y 128, x 128]``, ``float64 [column: n_columns]``."""
    if column.ragged:
        return f"{column.dtype} [{column.dim_names[0]}: {column.count_name}]"
    sizes = ", ".join(f"{name} {length}" for name, length in zip(column.dim_names, column.shape, strict=True))
    return f"{column.dtype}{f' [{sizes}]' if sizes else ''}{', zarr' if column.cube else ''}"
