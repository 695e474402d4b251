"""What stands between requests and a model: how many photos may wait, and how long."""

from __future__ import annotations

import asyncio

import pytest

from raylike.scoring.results import PLAIN, PhotoScore, Wanted
from raylike.serving import deployment
from raylike.serving.problems import Problem

Photo = tuple[str, bytes]


class Model:
    """Answers when it is let; remembers what was asked."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked: list[str] = []

    async def plain(self, photo: Photo) -> PhotoScore:
        self.asked.append(f"plain {photo[0]}")
        await self.gate.wait()
        return PhotoScore(photo[0], "ok")

    async def detailed(self, photo: Photo, wanted: Wanted) -> PhotoScore:
        self.asked.append(f"detailed {photo[0]} {wanted.crop}")
        return PhotoScore(photo[0], "ok")


def photos(*names: str) -> list[Photo]:
    return [(name, b"") for name in names]


def test_photos_are_asked_for_together_and_answered_in_order() -> None:
    async def check() -> None:
        model = Model()
        score = deployment.scoring_by(model.plain, model.detailed, most=8)
        asking = asyncio.create_task(score(photos("a", "b"), PLAIN))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert model.asked == ["plain a", "plain b"]
        model.gate.set()
        assert [result.photo for result in await asking] == ["a", "b"]
        await score(photos("c"), Wanted())
        assert model.asked[2:] == ["detailed c True"]

    asyncio.run(check())


def test_more_photos_than_may_wait_are_told_to_come_back() -> None:
    async def check() -> None:
        model = Model()
        score = deployment.scoring_by(model.plain, model.detailed, most=3)
        asking = asyncio.create_task(score(photos("a", "b"), PLAIN))
        await asyncio.sleep(0)
        with pytest.raises(Problem, match="too many photos"):
            await score(photos("c", "d"), PLAIN)
        model.gate.set()
        await asking
        assert len(await score(photos("c", "d"), PLAIN)) == 2

    asyncio.run(check())


def test_a_photo_that_takes_too_long_is_no_longer_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        model = Model()
        score = deployment.scoring_by(model.plain, model.detailed, most=1)
        with pytest.raises(Problem, match="not done after"):
            await score(photos("a"), PLAIN)
        model.gate.set()
        assert await score(photos("b"), PLAIN)

    monkeypatch.setattr(deployment, "TIMEOUT_S", 0.02)
    asyncio.run(check())
