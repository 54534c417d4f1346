"""The README of a built dataset: front matter that Hugging Face reads, and the card in words."""

import json

from stemtwin.datasets.cards import Card
from stemtwin.datasets.columns import Column


def dataset_readme(card: Card, size: str) -> str:
    """Return the text of ``README.md``, with which ``datasets.load_dataset(folder)`` finds the splits."""
    head = ["---", f"license: {card.licence.lower()}", f"pretty_name: {json.dumps(card.title)}"]
    head += ["configs:", "- config_name: default", "  data_files:"]
    head += [f"  - split: {split}\n    path: data/{split}-*.parquet" for split in card.splits]
    body = ["---", f"# {card.title}", f"{card.name} {card.version}, size {size}.", card.description.strip(), "## Limits"]
    body.append("\n".join(f"- {limit}" for limit in card.limits))
    body += ["## Splits", f"Split by structure seed ({card.seeds.policy})."]
    counts = card.sizes[size]
    rows = [f"| {split} | {n} | {n * counts.images_per_specimen[split]} |" for split, n in counts.specimens.items()]
    body.append("\n".join(["| split | specimens | images |", "|---|---|---|", *rows]))
    body.append("## Columns")
    lines = [f"| {c.name} | {_type(c)} | {c.unit} | {c.role} | {c.meaning} |" for c in card.columns]
    body.append("\n".join(["| name | type | unit | role | meaning |", "|---|---|---|---|---|", *lines]))
    body += ["## Licence and citation", f"{card.licence}. {card.citation}"]
    return "\n".join(head) + "\n" + "\n\n".join(body) + "\n"


def _type(column: Column) -> str:
    """Return type and dimensions of a column: ``uint16 [y 128, x 128]``, ``float64 [column: n_columns]``."""
    if column.ragged:
        return f"{column.dtype} [{column.dim_names[0]}: {column.count_name}]"
    sizes = ", ".join(f"{name} {length}" for name, length in zip(column.dim_names, column.shape, strict=True))
    return f"{column.dtype}{f' [{sizes}]' if sizes else ''}{', zarr' if column.cube else ''}"
