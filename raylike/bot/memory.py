"""What the bot has answered, in a file of the workspace: so a kill answers nobody twice, and nobody never.

An answer is written down whole before it is sent, and as sent afterwards. After a kill in between, the same
answer is sent again, and the network finds that it has it (`mentions.Network.send`).

Knows the place and JSON. Knows nothing of networks.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import pyarrow.fs
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from raylike.bot.manners import OLDEST
from raylike.errors import InputDataError
from raylike.place import Place

FILE = "answers.json"
OWNER_ONLY = 0o600
KEPT = 2 * OLDEST
"""Of answers: longer than mentions are answered at all."""


class Answer(BaseModel):
    """An answer to a mention.

    Attributes
    ----------
    content : as `Network.answer` made it
    outcome : `written` until the network has it; `given up` where it was too late to send it again; `shown`
        to the user instead
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    post_id: str
    author_id: str
    author_name: str
    written_at: AwareDatetime
    text: str
    content: dict[str, Any]
    outcome: Literal["written", "sent", "refused", "given up", "shown"] = "written"


class Memory(BaseModel):
    """All of it. `since`: the place up to which mentions were dealt with; `answers`: by the post's id."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    since: str = ""
    answers: dict[str, Answer] = {}

    def unsent(self) -> list[Answer]:
        """Answers that were written down, and perhaps sent, the oldest first."""
        found = [answer for answer in self.answers.values() if answer.outcome == "written"]
        return sorted(found, key=lambda answer: answer.written_at)

    def moments(self, author_id: str | None = None) -> list[datetime]:
        """When answers were written: to all, or to one account."""
        return [
            answer.written_at for answer in self.answers.values() if author_id in (None, answer.author_id)
        ]


class Notebook:
    """The memory of one account.

    Parameters
    ----------
    place : which nobody else writes meanwhile (`Place.lock`); None: it ends with the process
    """

    def __init__(self, place: Place | None) -> None:
        self._place = place
        self.memory = Memory() if place is None else _read(place)

    def note(self, answer: Answer) -> None:
        """Write an answer down. Raises as `reach` does."""
        self.memory.answers[answer.post_id] = answer
        self.reach(self.memory.since, answer.written_at)

    def reach(self, since: str, now: datetime) -> None:
        """Write down up to where mentions were dealt with; answers of long ago are forgotten.

        Raises
        ------
        CannotWrite : if there is no room
        TryAgainLater : if somebody else has taken the place over
        """
        self.memory.since = since
        kept = {post: one for post, one in self.memory.answers.items() if now - one.written_at < KEPT}
        self.memory.answers = kept
        if self._place is not None:
            self._place.check_lock()
            self._place.write_file(FILE, self.memory.model_dump_json(indent=1).encode(), OWNER_ONLY)


def _read(place: Place) -> Memory:
    filesystem, root = place.filesystem()
    path = f"{root}/{FILE}"
    try:
        if filesystem.get_file_info(path).type != pyarrow.fs.FileType.File:
            return Memory()
        with filesystem.open_input_file(path) as file:
            return Memory.model_validate_json(file.read())
    except ValidationError as error:
        raise InputDataError(
            f"is not what the bot has written: {error.errors()[0]['msg']}",
            place.artifact(FILE),
            "move it away; mentions of the last day may then be answered a second time",
        ) from None
    except OSError as error:
        raise place.cannot_read(error) from error
