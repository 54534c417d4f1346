"""The command ``stemtwin`` of rehearsals: that of this checkout, and in the small form one whose hidden rows take seconds.

The rows of the small form come from few specimens of each dataset's first material, in small cells with one configuration of thermal
displacements. Everything else is as in the full form: keys, honeypots, bundle, scores, ranks, archive.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WRAPPER = '#!/bin/sh\nexec "{python}" -c "from stemtwin.leaderboard.cli.main import run; run()" "$@"\n'
SMALL_WRAPPER = WRAPPER.replace('-c "', f"-c \"import sys; sys.path.insert(1, '{ROOT}'); from tests.rehearsal.command import shrink; shrink(); ")
"""The command of the small form; a guide may set ``PYTHONPATH``, so it does not rely on that."""
SPECIMENS, IMAGES = 6, 2
"""Number of specimens of each split, and of rows of each specimen: enough for intervals, and for honeypots of three kinds."""
CHEAP = {"phonon_configurations": 1, "cell_angstrom": 8.0}
"""Settings of generators that have them."""


def shrink() -> None:
    """Draw the hidden rows of size ``tiny`` from few specimens of each dataset's first material."""
    from stemtwin.datasets.cards import Card
    from stemtwin.leaderboard.events import hidden_tasks

    whole = hidden_tasks.named_card

    def small(name: str, version: str | None = None) -> Card:
        card = whole(name, version)
        counts = {"specimens": dict.fromkeys(card.splits, SPECIMENS), "images_per_specimen": dict.fromkeys(card.splits, IMAGES)}
        size = card.sizes["tiny"].model_copy(update=counts)
        fields = type(card.generator).model_fields
        drawn = {"materials": card.generator.materials[:1]} | {key: value for key, value in CHEAP.items() if key in fields}
        return card.model_copy(update={"sizes": {**card.sizes, "tiny": size}, "generator": card.generator.model_copy(update=drawn)})

    hidden_tasks.named_card = small
