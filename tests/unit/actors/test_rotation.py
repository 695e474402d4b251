"""Requests from one process with several tokens: whichever has budget, none beyond its limit."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from pydantic import SecretStr

from actors.budget import Limit
from actors.outcomes import AllUsedUp, Credential, NoTokenLeft, Reply, TokenRevoked
from actors.rotation import Rotation


def rotation(
    names: Sequence[str],
    limit: Limit,
    said: list[str] | None = None,
    *,
    wait: bool = True,
    in_flight: int = 2,
) -> Rotation:
    credentials = [Credential(name, SecretStr(f"secret-of-{name}-0123456789")) for name in names]
    return Rotation(credentials, [limit], in_flight, wait=wait, say=(said if said is not None else []).append)


class Server:
    """Counts hits by token; refuses the tokens in `revoked`."""

    def __init__(self, *revoked: str) -> None:
        self.hits: Counter[str] = Counter()
        self.revoked = revoked

    async def __call__(self, credential: Credential) -> Reply[str]:
        self.hits[credential.alias] += 1
        await asyncio.sleep(0)
        if credential.alias in self.revoked:
            raise TokenRevoked("it was taken back")
        return Reply(credential.alias)


def ask(turns: Rotation, server: Server, times: int) -> list[str]:
    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(turns.call(server) for _ in range(times)))

    return asyncio.run(all_of_them())


def test_every_token_is_used_up_before_anybody_waits() -> None:
    server = Server()
    ask(rotation("abc", Limit(4, 60.0), wait=False), server, 12)
    assert server.hits == {"a": 4, "b": 4, "c": 4}


def test_when_all_are_used_up_it_waits_or_says_so() -> None:
    server, turns = Server(), rotation("ab", Limit(2, 0.1))
    assert len(ask(turns, server, 8)) == 8
    with pytest.raises(AllUsedUp) as caught:
        ask(rotation("ab", Limit(2, 60.0), wait=False), Server(), 5)
    assert caught.value.wait_s == pytest.approx(60.0, abs=1.0)


def test_a_revoked_token_leaves_and_the_others_do_its_work() -> None:
    said: list[str] = []
    server = Server("b")
    assert set(ask(rotation("abc", Limit(100, 60.0), said), server, 30)) == {"a", "c"}
    assert len(said) == 1
    assert "it was taken back" in said[0]
    assert "secret-of-b" not in said[0]


def test_without_any_token_left_it_ends_with_the_reasons() -> None:
    with pytest.raises(NoTokenLeft) as caught:
        ask(rotation("ab", Limit(100, 60.0)), Server("a", "b"), 6)
    assert sorted(label[0] for label in caught.value.reasons) == ["a", "b"]
