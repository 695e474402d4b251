"""The bot's rounds: read the mentions, score their photos, answer; then wait and do it again.

Mentions are dealt with from the oldest on, and how far is written down after each. A trouble that may pass
ends a round; the next one goes on from there. Knows neither networks nor models, but what they promise.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from actors.outcomes import RateLimited, Refused, Transient
from raylike.bot.manners import Manners, objection, within_an_hour
from raylike.bot.memory import Answer, Notebook
from raylike.bot.mentions import Me, Mention, Network

Say = Callable[[Sequence[str]], str]
"""What is said of the photos at these addresses."""


@dataclass(frozen=True)
class Told:
    """What became of a mention, or of a round.

    Attributes
    ----------
    outcome : of an answer, as in `memory.Answer`; or why there is none; or a trouble that may pass
    name : whom it is about, without @; empty for a round
    text : of the answer
    """

    outcome: str
    name: str = ""
    post_id: str = ""
    text: str = ""


class Bot:
    """One account that answers.

    Parameters
    ----------
    say : runs in a thread of its own
    notebook : what was answered before
    posts : whether answers are sent; else they are told alone
    tell : hears what becomes of each mention, once
    """

    def __init__(
        self,
        network: Network,
        me: Me,
        say: Say,
        manners: Manners,
        notebook: Notebook,
        *,
        posts: bool,
        tell: Callable[[Told], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._network = network
        self._me = me
        self._say = say
        self._manners = manners
        self._notebook = notebook
        self._posts = posts
        self._tell = tell
        self._clock = clock
        self._dealt_with: set[str] = set()
        """Mentions that came in the last round: those at the very place where it ended come again."""

    async def run(self, every_s: float) -> None:
        """Rounds without end, so far apart; a trouble that may pass is told.

        Raises
        ------
        TokenRevoked, Refused : as the network raises them
        """
        while True:
            try:
                await self.round()
            except (Transient, RateLimited) as trouble:
                self._tell(Told(str(trouble)))
            await asyncio.sleep(every_s)

    async def round(self) -> None:
        """Deal with the mentions that there are.

        Raises
        ------
        Transient, RateLimited, TokenRevoked, Refused : as the network raises them
        """
        for answer in self._notebook.memory.unsent():
            age_s = (self._clock() - answer.written_at).total_seconds()
            if age_s > self._network.repeatable_s:
                self._notebook.note(answer.model_copy(update={"outcome": "given up"}))
                self._tell(Told("given up", post_id=answer.post_id))
            else:
                await self._send(answer)
        mentions = await self._network.mentions(self._me, self._notebook.memory.since)
        before, self._dealt_with = self._dealt_with, set()
        for mention in mentions:
            if mention.post_id not in before and not await self._deal_with(mention):
                return
            self._dealt_with.add(mention.post_id)
            if mention.place != self._notebook.memory.since:
                self._notebook.reach(mention.place, self._clock())

    async def _deal_with(self, mention: Mention) -> bool:
        """Answer a mention, or leave it alone; False if it has to wait, as do those after it."""
        now, memory = self._clock(), self._notebook.memory
        if mention.post_id in memory.answers:
            return True
        why_not = objection(mention, self._me, now)
        if why_not is None:
            of_account = within_an_hour(memory.moments(mention.author_id), now)
            if len(of_account) >= self._manners.per_account:
                why_not = "asked too often"
        if why_not is not None:
            self._tell(Told(why_not, mention.author_name, mention.post_id))
            return True
        of_all = within_an_hour(memory.moments(), now)
        if len(of_all) >= self._manners.per_hour:
            wait_s = 3600 - (now - of_all[-self._manners.per_hour]).total_seconds()
            self._tell(Told(f"enough answers for an hour: the next in {math.ceil(wait_s / 60)} min"))
            return False
        await self._answer(mention, now)
        return True

    async def _answer(self, mention: Mention, now: datetime) -> None:
        text = await asyncio.to_thread(self._say, mention.photos)
        answer = Answer(
            post_id=mention.post_id,
            author_id=mention.author_id,
            author_name=mention.author_name,
            written_at=now,
            text=text,
            content=self._network.answer(self._me, mention, text, now),
            outcome="written" if self._posts else "shown",
        )
        self._notebook.note(answer)
        if self._posts:
            await self._send(answer)
        else:
            self._tell(_told(answer))

    async def _send(self, answer: Answer) -> None:
        """Send what is written down. What the network will never take is not sent again."""
        try:
            await self._network.send(answer.content)
        except Refused as refused:
            done = answer.model_copy(update={"outcome": "refused"})
            self._tell(Told(f"refused: {refused}", answer.author_name, answer.post_id))
        else:
            done = answer.model_copy(update={"outcome": "sent"})
            self._tell(_told(done))
        self._notebook.note(done)


def _told(answer: Answer) -> Told:
    return Told(answer.outcome, answer.author_name, answer.post_id, answer.text)
