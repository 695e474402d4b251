"""Whom the bot answers, and how often: people who asked it by name, lately, and with a photo.

Nobody who would rather not: `#nobot` in a profile is how people on these networks say so. Two bots that
answer each other would never end, so it answers none.

Knows mentions. Knows nothing of networks or of what is answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from raylike.bot.mentions import Me, Mention

OLDEST = timedelta(hours=24)
"""A mention of longer ago is left alone: the bot was away, and nobody waits for it any more."""
HOUR = timedelta(hours=1)

_NO_BOT = re.compile(r"(?<!\w)#no_?bots?\b", re.IGNORECASE)


@dataclass(frozen=True)
class Manners:
    """How often it answers.

    Attributes
    ----------
    per_hour : answers to all; mentions beyond wait
    per_account : answers to one account within an hour; mentions beyond are not answered
    """

    per_hour: int = 60
    per_account: int = 5


def objection(mention: Mention, me: Me, now: datetime) -> str | None:
    """What speaks against an answer, in a few countable words; None if nothing does."""
    against = {
        "its own": mention.author_id == me.account_id,
        "not addressed": not mention.addressed,
        "by a bot": mention.is_bot,
        "wants no bots": _NO_BOT.search(mention.profile) is not None,
        "older than a day": now - mention.made_at > OLDEST,
        "without a photo": not mention.photos,
    }
    return next((why for why, holds in against.items() if holds), None)


def within_an_hour(moments: Iterable[datetime], now: datetime) -> list[datetime]:
    """Those of the last hour, in order."""
    return sorted(moment for moment in moments if now - moment < HOUR)
