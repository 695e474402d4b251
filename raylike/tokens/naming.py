"""What a token goes by: aliases, from user names or made up.

Knows names. Knows nothing of tokens.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from itertools import count

MAX_LENGTH = 64
_MARK_LENGTH = 6
"""Of the hash that tells apart user names which look alike once cleaned: 24 bits for a few dozen friends."""

_ALIAS = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{MAX_LENGTH - 1}}}")


def is_alias(text: str) -> bool:
    """Whether a token may go by this name."""
    return _ALIAS.fullmatch(text) is not None


def alias_of(user_name: str) -> str:
    """The alias of a user of a network, always the same: the name itself where it may be one.

    Otherwise it is cleaned and marked, so that no two users share an alias.
    """
    if is_alias(user_name):
        return user_name
    mark = hashlib.sha256(user_name.encode()).hexdigest()[:_MARK_LENGTH]
    cleaned = re.sub(r"[^A-Za-z0-9_.-]+", "-", user_name).strip("_.-") or "friend"
    return f"{cleaned[: MAX_LENGTH - _MARK_LENGTH - 1]}-{mark}"


def free(wanted: str, taken: Collection[str]) -> str:
    """`wanted`, or the first of `wanted-2`, `wanted-3`, ... that is not taken."""
    return next(alias for alias in spellings(wanted) if alias not in taken)


def spellings(wanted: str) -> Iterator[str]:
    """`wanted`, `wanted-2`, `wanted-3`, ... without end."""
    yield wanted
    for n in count(2):
        yield f"{wanted[: MAX_LENGTH - len(str(n)) - 1]}-{n}"


def friend(taken: Collection[str]) -> str:
    """A name for somebody whose name is not known: `friend-1`, or the first after it that is free."""
    return next(alias for n in count(1) if (alias := f"friend-{n}") not in taken)
