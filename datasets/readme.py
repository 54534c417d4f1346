"""The README of a built dataset: front matter that Hugging Face reads, and the card in words."""

import json

from stemtwin.datasets.cards import Card


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
    lines = [f"| {c.name} | {c.dtype}{'[]' if c.ragged else list(c.shape) or ''} | {c.unit} | {c.role} | {c.meaning} |" for c in card.columns]
    body.append("\n".join(["| name | type | unit | role | meaning |", "|---|---|---|---|---|", *lines]))
    body += ["## Licence and citation", f"{card.licence}. {card.citation}"]
    return "\n".join(head) + "\n" + "\n\n".join(body) + "\n"
