"""The corrector: what it is told and what it does."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.errors import InstrumentError, SettingsError, UnknownNameError
from stemtwin.twin.instrument.hardware.corrector import CARTESIAN, KRIVANEK, TYPICAL_CORRECTOR, CorrectorProfile, correct, corrected, request
from stemtwin.twin.physics.aberrations import HAIDER, MIXED, Aberrations, vector

changes = st.builds(
    Aberrations.from_cartesian,
    **{name: st.floats(-1e3, 1e3) for name in ("C10", "C12a", "C12b", "C21a", "C21b", "C23a", "C23b", "C30", "C34a", "C45b", "C56a")},
)
SILENT = replace(TYPICAL_CORRECTOR, scatter=0.0)


def rng() -> np.random.Generator:
    """Return a fresh generator."""
    return np.random.default_rng(0)


@given(changes)
def test_an_ideal_corrector_does_what_it_is_told(change: Aberrations) -> None:
    """Gain 1, no rotation, nothing beside: the change itself, and the opposite takes it back."""
    assert vector(correct(change, CorrectorProfile(), rng())) == pytest.approx(vector(change))
    back = Aberrations.from_cartesian(**{name: -value for name, value in change.cartesian().items()})
    assert vector(corrected(change, back, CorrectorProfile(), rng())) == pytest.approx(np.zeros(25), abs=1e-9)


@given(changes, changes, st.floats(-2, 2))
def test_without_hysteresis_corrections_add_up(first: Aberrations, second: Aberrations, factor: float) -> None:
    """What comes is linear in what was asked for."""
    both = Aberrations.from_cartesian(**dict(zip(CARTESIAN, (vector(first) + factor * vector(second)).tolist(), strict=True)))
    parts = vector(correct(first, SILENT, rng())) + factor * vector(correct(second, SILENT, rng()))
    assert vector(correct(both, SILENT, rng())) == pytest.approx(parts, abs=1e-6)


@given(st.sampled_from([name for name in KRIVANEK if name[2] != "0"]), st.floats(-3, 3), st.floats(0.5, 1.5), st.floats(-0.5, 0.5))
def test_gain_scales_and_rotation_turns(name: str, azimuth: float, gain: float, angle: float) -> None:
    """C_nm at phi_nm becomes gain C_nm at phi_nm + rotation, of this order alone."""
    order = int(name[1]) - 1
    profile = CorrectorProfile(
        gain=tuple(gain if i == order else 1.0 for i in range(5)), rotation_rad=tuple(angle if i == order else 0.0 for i in range(5))
    )
    asked = Aberrations(**{name: 100.0, f"phi{name[1:]}": azimuth})
    law = Aberrations(**{name: 100.0 * gain, f"phi{name[1:]}": azimuth + angle})
    assert vector(correct(asked, profile, rng())) == pytest.approx(vector(law), abs=1e-9)


def test_parasitic_aberrations_come_along() -> None:
    """1 um of C30 brings its ratio of C10 and C21; what is not asked for brings nothing."""
    came = correct(Aberrations(C30=1e4), SILENT, rng()).cartesian()
    assert came["C30"] == pytest.approx(1.08e4)
    assert (came["C10"], came["C21a"], came["C21b"]) == pytest.approx((50, 200, -100))
    assert not any(value for name, value in came.items() if name not in {"C30", "C10", "C21a", "C21b"})
    assert not vector(correct(Aberrations(), TYPICAL_CORRECTOR, rng())).any()


def test_hysteresis_scatters_with_the_size_of_the_request() -> None:
    """Repeated requests differ by scatter times their size, in both components; so do they grow."""
    profile, generator = CorrectorProfile(scatter=0.02), np.random.default_rng(4)
    asked = Aberrations(C23=500.0, phi23=0.2)
    came = np.array([vector(correct(asked, profile, generator)) for _ in range(1000)])
    place = CARTESIAN.index("C23a")
    assert came[:, place : place + 2].std(axis=0) == pytest.approx([10, 10], rel=4.5 / math.sqrt(2000))
    assert came.mean(axis=0) == pytest.approx(vector(asked), abs=4.5 * 10 / math.sqrt(1000))
    assert not np.delete(came, [place, place + 1], axis=1).any()


@pytest.mark.parametrize("conjugate", [False, True])
@pytest.mark.parametrize("name", list(HAIDER))
def test_clients_may_speak_either_language(name: str, conjugate: bool) -> None:
    """A request in Haider's notation is the same as the converted one in Krivanek's; value - target is taken away."""
    krivanek, factor = HAIDER[name]
    value, target = (30.0 + 0j, 10.0 + 0j) if krivanek[2] == "0" else (30 + 40j, 10 - 20j)
    asked = request(name, value, target, conjugate_mixed=conjugate)
    assert asked.to_haider(conjugate_mixed=conjugate)[name] == pytest.approx(target - value)
    sign = complex.conjugate if name in MIXED and not conjugate else complex  # the printed expansion conjugates the mixed terms
    same = request(krivanek, factor * sign(value), factor * sign(target))
    assert vector(asked) == pytest.approx(vector(same))
    assert vector(request(name, [value.real, value.imag], [target.real, target.imag], conjugate_mixed=conjugate)) == pytest.approx(vector(asked))


def test_what_is_beyond_reach_is_refused() -> None:
    """The message has the aberration, the value and the limit."""
    with pytest.raises(InstrumentError, match=r"C12 by 200000 A is beyond .* 100000 A for order 1"):
        correct(Aberrations(C12=-2e5), TYPICAL_CORRECTOR, rng())
    assert pytest.approx(1e5) == correct(Aberrations(C12=1e5), CorrectorProfile(), rng()).C12


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("C11", 1.0), UnknownNameError), (("B9", 1.0), UnknownNameError), (("C30", 1 + 1j), SettingsError), (("C3", 1 + 1j), SettingsError),
        (("A1", math.nan), SettingsError), (("A1", (1.0,)), SettingsError), (("A1", "much"), SettingsError),
        (("A1", 0.0, (0.0, math.inf)), SettingsError),
    ],
)  # fmt: skip
def test_requests_that_make_no_sense_are_refused(arguments: tuple, error: type) -> None:
    """No aberration, no number, an azimuth of what is round."""
    with pytest.raises(error, match=arguments[0]):
        request(*arguments)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gain": (1.0,)}, {"gain": (1.0, 1.0, 0.0, 1.0, 1.0)}, {"rotation_rad": (0.0, 0.0, 2.0, 0.0, 0.0)}, {"scatter": -0.1},
        {"duration_s": math.inf},
        {"parasitic": (("C10", "C10", 0.1),)}, {"parasitic": (("C12", "C10", 0.1),)}, {"parasitic": (("C12a", "C10", math.nan),)},
        {"reach_angstrom": (1.0, 1.0, 1.0, 1.0, -1.0)},
    ],
)  # fmt: skip
def test_profiles_that_make_no_sense_are_refused(wrong: dict) -> None:
    """The message names the setting."""
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        CorrectorProfile(**wrong)
