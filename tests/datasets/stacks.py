"""A kind of dataset with what atoms-2d does not have: channels and frames, images without noise, cubes, two ragged lists, small integers."""

from collections.abc import Iterator
from typing import Any, ClassVar

from stemtwin.datasets import cards
from stemtwin.datasets.draw import Stream, random_generator, stream_seed
from stemtwin.datasets.kinds import GENERATORS, CardModel, Generator, generator

HEAD = """
schema = "stemtwin/dataset-card@2"
name = "stacks"
version = "1.0.0"
kind = "test-stacks"
title = "Stacks"
description = "Random numbers."
licence = "CC0-1.0"
citation = "nobody"
limits = ["none"]
seeds = { entropy = 7, policy = "public" }
splits = { train = 0, test = 1000 }
slices = {}
generator = { mean = 20.0 }
[sizes.tiny]
specimens = { train = 3, test = 2 }
images_per_specimen = { train = 2, test = 1 }
"""
COLUMNS = (
    ("sample_id", "string", "identity", ""),
    ("split", "string", "identity", ""),
    ("specimen", "string", "condition", ""),
    ("structure_seed", "int64", "condition", ""),
    ("mean", "float32", "condition", ""),
    ("stack", "uint16", "input", 'shape = [2, 8, 6, 5]\ndims = ["frame", "channel", "y", "x"]'),
    ("expected", "float32", "truth", 'shape = [8, 6, 5]\ndims = ["channel", "y", "x"]'),
    ("profile", "float64", "truth", 'shape = [7]\ndims = ["bin"]'),
    ("classes", "uint8", "truth", 'shape = [6, 5]\ncompare = "exact"'),
    ("cube", "uint32", "input", 'shape = [3, 2, 6, 5]\ndims = ["ky", "kx", "y", "x"]\ncube = true'),
    ("n_vacancies", "int64", "truth", ""),
    ("vacancy_x_angstrom", "float64", "truth", 'ragged = true\ndims = ["vacancy"]\ncount = "n_vacancies"'),
    ("vacancy_kind", "string", "truth", 'ragged = true\ndims = ["vacancy"]\ncount = "n_vacancies"'),
    ("n_events", "int64", "truth", ""),
    ("event", "int32", "truth", 'ragged = true\ndims = ["event"]\ncount = "n_events"'),
)


def card_text() -> str:
    """The card."""
    tables = (
        f'[[columns]]\nname = "{name}"\ndtype = "{dtype}"\nrole = "{role}"\nunit = "1"\nmeaning = "a {name}"\n{more}\n'
        for name, dtype, role, more in COLUMNS
    )
    return HEAD + "\n".join(tables)


class StacksSettings(CardModel):
    """The mean count."""

    mean: float


class Stacks(Generator):
    """Random numbers of every type and shape; the first specimen has no vacancies."""

    settings: ClassVar[type[CardModel]] = StacksSettings

    def rows(self, card: Any, size: str, specimen: Any) -> Iterator[dict[str, Any]]:
        """Yield the rows of a specimen."""
        rng = random_generator(stream_seed(card, specimen.structure_seed, Stream.MICROSCOPE))
        for _ in range(card.sizes[size].images_per_specimen[specimen.split]):
            expected, vacancies = rng.uniform(0, card.generator.mean, (8, 6, 5)), specimen.structure_seed % 1000
            yield {
                "mean": card.generator.mean,
                "stack": rng.poisson(expected, (2, 8, 6, 5)),
                "expected": expected,
                "profile": expected.sum(axis=(1, 2))[:7],
                "classes": expected[0] > 3,
                "cube": rng.poisson(70_000, (3, 2, 6, 5)),
                "n_vacancies": vacancies,
                "vacancy_x_angstrom": rng.random(vacancies),
                "vacancy_kind": ["O", "S", "Mo"][:vacancies],
                "n_events": 2,
                "event": [-4, 1_000_000],
            }

    def seconds(self, card: Any, size: str) -> float:  # noqa: ARG002
        """Return a short time."""
        return 0.1


if "test-stacks" not in GENERATORS:
    generator("test-stacks")(Stacks)


def stacks_card() -> cards.Card:
    """The card, read."""
    return cards.parse_card(card_text())
