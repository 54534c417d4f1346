"""Registries: names for things."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.registry import Registry


def detectors() -> Registry[float]:
    """Return a registry of three detectors, two of them dark-field."""
    registry: Registry[float] = Registry("detector")
    registry.add("haadf", 60.0, "dark-field")
    registry.add("maadf", 40.0, "dark-field")
    registry.add("bf", 0.0)
    return registry


def test_things_come_back_by_name_in_the_order_of_their_adding() -> None:
    """A registry is a read-only mapping that keeps its order."""
    registry = detectors()
    assert registry["maadf"] == 40.0
    assert list(registry) == ["haadf", "maadf", "bf"]
    assert registry.names() == ("haadf", "maadf", "bf")
    assert len(registry) == 3
    assert "bf" in registry
    assert "abf" not in registry


def test_tags_select() -> None:
    """names(tag) lists the things that carry the tag, and no other."""
    registry = detectors()
    assert registry.names("dark-field") == ("haadf", "maadf")
    assert registry.names("no such tag") == ()
    assert registry.tags("haadf") == ("dark-field",)
    assert registry.tags("bf") == ()


def test_the_decorator_returns_what_it_decorates() -> None:
    """Registering a function leaves the function as it was."""
    registry: Registry[Callable[[], str]] = Registry("sample")

    @registry.register("graphene", "2d")
    def graphene() -> str:
        """Build it."""
        return "C2"

    assert graphene() == "C2"
    assert registry["graphene"] is graphene
    assert registry.names("2d") == ("graphene",)


def test_a_name_is_given_once() -> None:
    """Adding under a taken name is an error, and the first thing stays."""
    registry = detectors()
    with pytest.raises(SettingsError, match=r"There is already a detector named 'bf'"):
        registry.add("bf", 1.0)
    assert registry["bf"] == 0.0


@pytest.mark.parametrize(("wrong", "meant"), [("hadf", "haadf"), ("HAADF", "haadf"), ("maad", "maadf")])
def test_a_misspelt_name_is_answered_with_the_likeliest_one(wrong: str, meant: str) -> None:
    """The message names what was asked for and what was probably meant, letter case aside."""
    with pytest.raises(UnknownNameError) as caught:
        detectors()[wrong]
    assert str(caught.value) == f"There is no detector named {wrong!r}. Did you mean {meant!r}?"


def test_a_name_like_no_other_is_answered_with_all_of_them() -> None:
    """Where nothing is near, the message lists what there is."""
    with pytest.raises(UnknownNameError, match=r"Known: haadf, maadf, bf\.$"):
        detectors()["cathodoluminescence"]
    with pytest.raises(UnknownNameError, match=r"Known: none\.$"):
        Registry("sample")["graphene"]
    with pytest.raises(UnknownNameError, match="detector"):
        detectors().tags("xyzzy")


@given(st.lists(st.text(max_size=8), unique=True, max_size=12))
def test_any_text_is_a_name(names: list[str]) -> None:
    """What was added under a name is found under it, whatever the name, and nothing else is."""
    registry: Registry[int] = Registry("thing")
    for value, name in enumerate(names):
        registry.add(name, value)
    assert registry.names() == tuple(names)
    assert [registry[name] for name in names] == list(range(len(names)))
    with pytest.raises(KeyError):
        registry["".join(names) + "x" * 9]
