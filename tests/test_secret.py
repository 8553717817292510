"""A secret is shown by nobody but `reveal`."""

import copy
import pickle
import traceback

import pytest

from proxy.secret import HIDDEN, Secret

SECRET = Secret("s3cret")


@pytest.mark.parametrize(
    "shown",
    [
        repr(SECRET),
        str(SECRET),
        f"{SECRET}",
        f"{SECRET!r}",
        f"{SECRET:>20}",
        "%s" % SECRET,  # noqa: UP031 - as the logging module does it
        "%r" % SECRET,  # noqa: UP031
    ],
)
def test_no_way_of_showing_it_shows_the_text(shown: str) -> None:
    assert shown == HIDDEN


def test_what_holds_it_does_not_show_it_either() -> None:
    assert "s3cret" not in repr({"a": [SECRET, (SECRET,)]})


def test_a_traceback_with_it_does_not_show_it() -> None:
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())

    assert HIDDEN in text
    assert "s3cret" not in text


def test_reveal_gives_the_text() -> None:
    assert SECRET.reveal() == "s3cret"


def test_secrets_are_equal_if_their_texts_are() -> None:
    assert Secret("a") == Secret("a")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_is_not_copied_to_where_nobody_looks_for_it(duplicate: object) -> None:
    assert callable(duplicate)
    with pytest.raises(TypeError, match="not pickled or copied"):
        duplicate(SECRET)


def test_it_has_no_dict_that_would_show_it() -> None:
    assert not hasattr(SECRET, "__dict__")
