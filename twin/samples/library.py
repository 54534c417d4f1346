"""Specimens by name. The families register theirs when they are imported here."""

import json
from dataclasses import replace

from stemtwin.twin.samples import (  # noqa: F401 (they register what they hold)
    amorphous,
    dichalcogenides,
    ferroelectrics,
    graphene,
    metals,
    moire,
    particles,
    perovskites,
    semiconductors,
)
from stemtwin.twin.samples.builders import Cut
from stemtwin.twin.samples.sample import Sample
from stemtwin.twin.samples.sample_families import SAMPLES, BuildRequest, Value

__all__ = ["SAMPLES", "list_samples", "load_sample"]


def load_sample(
    name: str, *, size_angstrom: tuple[float, float] | None = None, thickness_angstrom: float | None = None, seed: int = 0, **knobs: Value
) -> Sample:
    """Return a specimen of the library.

    Parameters
    ----------
    name : str
        One of :func:`list_samples`.
    size_angstrom : (float, float), optional
        Wanted height (y) and width (x) in A: the whole repeats nearest to it; None: 16 A, or what the specimen needs.
    thickness_angstrom : float, optional
        In A: the whole repeats nearest to it; None: 40 A. A sheet has its own thickness, which a number replaces by a box that it is centred in.
    seed : int
        Of what is drawn: sites of defects, random alloys, amorphous films.
    **knobs : float, int or str
        The specimen's own settings: ``SAMPLES[name].knobs`` describes them. What was done stands in ``Sample.defects``.

    Raises
    ------
    UnknownNameError
        There is no such specimen, or no such knob.
    SettingsError
        A size, thickness, seed or knob that makes no sense, or more atoms than the machine's memory holds.

    Examples
    --------
    >>> load_sample("mos2-1h", vacancy_fraction=0.03, seed=1).defects[0].name
    'V_S'
    """
    specimen = SAMPLES[name]
    settings = specimen.settings(name, knobs)
    cut = Cut(size_angstrom=size_angstrom, thickness_angstrom=thickness_angstrom, seed=seed)
    recipe = {"kind": "library", "name": name, "size_angstrom": cut.size_angstrom, "thickness_angstrom": cut.thickness_angstrom, "seed": cut.seed}
    turned = {knob: value for knob, value in settings.items() if value != specimen.knobs[knob].default}
    order = BuildRequest(name=name, cut=cut, sigma=specimen.thermal_sigma_angstrom)
    return replace(specimen.make(order, **settings), recipe=json.dumps(recipe | turned, sort_keys=True))


def list_samples() -> tuple[str, ...]:
    """Return the names of the library's specimens."""
    return SAMPLES.names()
