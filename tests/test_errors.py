"""The error tree."""

import pickle

import pytest

from stemtwin.twin import errors

BUILTIN = {
    errors.UnknownNameError: KeyError,
    errors.SettingsError: ValueError,
    errors.SamplingError: ValueError,
    errors.StructureFileError: ValueError,
    errors.InstrumentError: RuntimeError,
    errors.DatasetError: OSError,
    errors.SubmissionError: ValueError,
}
MESSAGE = "semiangle_mrad=-1 mrad is below 0. Use a positive angle."


def test_the_table_above_is_the_whole_tree() -> None:
    """Every error of ours is directly below StemtwinError and stands in the tree drawn at the top of the module."""
    assert set(errors.StemtwinError.__subclasses__()) == set(BUILTIN)
    defined = {thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, BaseException)}
    assert defined == {errors.StemtwinError, errors.PhysicsWarning, *BUILTIN}
    for error, builtin in BUILTIN.items():
        assert f"{error.__name__:<20}({builtin.__name__})" in (errors.__doc__ or "")


@pytest.mark.parametrize(("error", "builtin"), BUILTIN.items(), ids=lambda kind: kind.__name__)
def test_an_error_is_also_its_builtin(error: type[errors.StemtwinError], builtin: type[Exception]) -> None:
    """Code that knows nothing of stemtwin catches each error as the Python error that fits it."""
    with pytest.raises(builtin) as caught:
        raise error(MESSAGE)
    assert isinstance(caught.value, errors.StemtwinError)


@pytest.mark.parametrize("error", BUILTIN, ids=lambda kind: kind.__name__)
def test_a_message_prints_as_it_was_written(error: type[errors.StemtwinError]) -> None:
    """The text of an error is its sentence, without quotes around it, and it survives the way between processes."""
    assert str(error(MESSAGE)) == MESSAGE
    again = pickle.loads(pickle.dumps(error(MESSAGE)))
    assert type(again) is error
    assert str(again) == MESSAGE


@pytest.mark.parametrize(
    ("wrong", "known", "hint"),
    [
        ("haadff", ("bf", "haadf"), "Did you mean 'haadf'?"),
        ("HAADF", ("bf", "haadf"), "Did you mean 'haadf'?"),
        ("graphen", ("Graphene", "Au"), "Did you mean 'Graphene'?"),
        ("xyz", ("bf", "haadf"), "Known: bf, haadf."),
        (17, (), "Known: none."),
    ],
)
def test_a_wrong_name_gets_the_most_similar_known_one_or_all(wrong: object, known: tuple[str, ...], hint: str) -> None:
    """The hint names the known name that differs least from the wrong one, letter case apart, and lists all names where none is similar."""
    assert errors.suggestion(wrong, known) == hint
    assert (errors.closest(wrong, known) is None) == hint.startswith("Known")
    assert errors.suggestion(wrong, known, listed="Knobs") == hint.replace("Known", "Knobs")
