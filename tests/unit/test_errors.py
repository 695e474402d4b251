"""Errors travel between processes and say what to do."""

from __future__ import annotations

import pickle

import pytest

from raylike import errors
from raylike.errors import RaylikeError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RaylikeError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_survives_the_way_from_a_worker(kind: type[RaylikeError]) -> None:
    there = kind("has no column: 'likes'", "posts.csv", "name it with --map")
    back = pickle.loads(pickle.dumps(there))
    assert type(back) is kind
    assert (back.what, back.where, back.hint, back.exit_code) == (
        there.what, there.where, there.hint, there.exit_code,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("is not writable",), "is not writable"),
        (("is not writable", "/data"), "/data: is not writable"),
        (("is full", "/data", "make room"), "/data: is full\n  hint: make room"),
    ],
)
def test_the_text_says_where_what_and_what_to_do(arguments: tuple[str, ...], text: str) -> None:
    assert str(RaylikeError(*arguments)) == text


def test_exit_codes_are_the_documented_ones() -> None:
    assert {kind.__name__: kind.exit_code for kind in KINDS} == {
        "RaylikeError": 1,
        "ConfigError": 2,
        "InputDataError": 65,
        "ServiceUnavailable": 69,
        "CannotWrite": 73,
        "TryAgainLater": 75,
        "CredentialsError": 77,
        "StageError": 1,
    }


def test_the_drawing_names_every_kind_with_its_code() -> None:
    for kind in KINDS:
        (line,) = [row for row in (errors.__doc__ or "").splitlines() if f"{kind.__name__} " in row]
        assert str(kind.exit_code) in line
