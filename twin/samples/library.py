"""Library of samples by name. This module imports the sample families, which register their samples."""

import json
from dataclasses import replace

from stemtwin.twin.samples import (  # noqa: F401 (the import registers the samples)
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
    """Return a sample of the library.

    Parameters
    ----------
    name : str
        Name from :func:`list_samples`.
    size_angstrom : (float, float), optional
        Requested height (y) and width (x) in A; the sample has the nearest whole number of repeats. None: 16 A, or the
        size that the sample needs.
    thickness_angstrom : float, optional
        Requested thickness in A; the sample has the nearest whole number of repeats. None: 40 A for a crystal, its own
        thickness for a sheet. A sheet is centred in a box of the requested thickness.
    seed : int
        Seed of all draws: sites of defects, random alloys, amorphous films.
    **knobs : float, int or str
        Settings of this sample, described by ``SAMPLES[name].knobs``. ``Sample.defects`` records the defects that they
        cause.

    Raises
    ------
    UnknownNameError
        The sample or the knob does not exist.
    SettingsError
        A size, thickness, seed or knob is outside its limits, or the atoms do not fit into the machine's memory.

    Examples
    --------
    >>> import stemtwin as st
    >>> sample = st.load_sample("mos2-1h", size_angstrom=(16, 16), vacancy_fraction=0.03, seed=1)
    >>> sample.defects[0].name
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
    """Return the names of the library's samples.

    Examples
    --------
    >>> import stemtwin as st
    >>> "srtio3-001" in st.list_samples()
    True
    """
    return SAMPLES.names()
