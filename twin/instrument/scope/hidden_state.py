"""Hidden state of a microscope, for scoring and training only."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.physics import probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.dynamics.kinetics import Events


class Truth(Mapping[str, Any]):
    """Hidden values by name; expensive values are computed when they are first read.

    Parameters
    ----------
    known : dict
        Values by name.
    computed : dict of callable
        Functions without arguments, by name, that compute values.
    """

    def __init__(self, known: dict[str, Any], computed: dict[str, Callable[[], Any]]) -> None:
        self._known, self._computed = dict(known), dict(computed)

    def __getitem__(self, name: str) -> Any:
        """Return the value of a name."""
        if name not in self._known and name in self._computed:
            self._known[name] = self._computed[name]()
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter({**self._known, **self._computed})

    def __len__(self) -> int:
        """Return the number of names."""
        return len({**self._known, **self._computed})


def truth(setup: Setup, state: ScopeState) -> Truth:
    """Return the hidden state of a microscope; see ``Microscope.truth``."""
    beam, matter, last = setup.beam(state, state.time_s), state.matter, state.last
    true = beam.aberrations
    cartesian, first_order = true.cartesian(), Aberrations(C10=true.C10, C12=true.C12, phi12=true.phi12)
    known = {
        "aberrations": true,
        "C10_angstrom": true.C10,
        "C12_angstrom": true.C12,
        "C12a_angstrom": cartesian["C12a"],
        "C12b_angstrom": cartesian["C12b"],
        "strehl": probe.strehl_ratio(beam.wavelength_angstrom, beam.semiangle_rad, first_order),
        "beam": beam,
        "sample": state.specimen,
        "stage": state.stage.true,
        "drift_angstrom": tuple(float(v) for v in setup.course.drift_angstrom(state.time_s, state.creep)),
        "dose": state.dose,
        "events": Events.none() if matter is None else matter.events,
        "film": None if matter is None else matter.film,
        "current_factor": float(setup.course.current_factor(state.time_s)),
        "seed": setup.seed,
    }
    return Truth(known, {"expected": lambda: None if last is None else last.expected()})
