"""What can go wrong on purpose, and for which request it does.

The choice is a hash of seed, kind of request, its identity and the attempt, so that two runs meet the
same faults in the same places. Knows nothing of HTTP; `server.py` acts the faults out.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping

FAULTS: dict[str, str] = {
    "error_500": "answers 500 with a body that is not JSON",
    "error_503": "answers 503 without a body, as for too many requests a second",
    "html": "answers 200 with a proxy's HTML page instead of JSON or a photo",
    "reset": "closes the connection: before an API answer, in the middle of a photo",
    "stall": "says nothing for 10 s, then answers",
    "latency": "answers half a second late",
    "rate_limited": "answers 429 although the token has hits left (API)",
    "token_revoked": "this share of the tokens, at least one, is refused after 40 hits (API)",
    "truncated": "serves the first half of a photo as if it were all (photos)",
    "corrupt": "serves noise with a JPEG's first bytes, each time (photos)",
    "missing": "answers 404 or 410, each time (photos)",
    "redirect_internal": "redirects to http://169.254.169.254/, each time (photos)",
    "bomb": "serves a few bytes of PNG that claim 50,000 x 50,000 px, each time (photos)",
}
"""Every fault by name. Without a word in brackets it concerns API answers and photos alike."""

STALL_S = 10.0
LATENCY_S = 0.5
REVOKED_AFTER_HITS = 40
BOMB_SIDE_PX = 50_000

LASTING = frozenset({"corrupt", "missing", "redirect_internal", "bomb"})
"""Faults of the thing itself: asking again does not help."""
_OF_PHOTOS = LASTING | {"truncated"}
_OF_API = frozenset({"rate_limited"})
_OF_TOKENS = frozenset({"token_revoked"})


def unit_hash(*parts: object) -> float:
    """A number in [0, 1) that follows from `parts` and looks random."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


class FaultPlan:
    """Decides which answers are spoiled, and how.

    Parameters
    ----------
    seed : of the simulator
    shares : fault -> share of answers in [0, 1]
    tokens : how many tokens there are at the start
    """

    def __init__(self, seed: int, shares: Mapping[str, float], tokens: int) -> None:
        self._seed = seed
        self._shares = dict(shares)
        share = self._shares.get("token_revoked", 0.0)
        self._revoked = max(round(share * tokens), 1) if share > 0 else 0

    def pick(self, kind: str, identity: str, attempt: int) -> str | None:
        """The fault of one request, or None.

        Parameters
        ----------
        kind : "photo", or the name of an API call
        identity : what is asked for
        attempt : how often it was asked for before
        """
        foreign = (_OF_API if kind == "photo" else _OF_PHOTOS) | _OF_TOKENS
        for name, share in self._shares.items():
            if name in foreign or share <= 0:
                continue
            chance = unit_hash(self._seed, name, kind, identity, 0 if name in LASTING else attempt)
            if chance < share:
                return name
        return None

    def is_revoked(self, token: int, hits: int) -> bool:
        """Whether a token, by its number, is refused once it has made `hits` hits."""
        return token < self._revoked and hits >= REVOKED_AFTER_HITS


def bomb() -> bytes:
    """A PNG of a few hundred bytes whose header claims 2.5 gigapixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", BOMB_SIDE_PX, BOMB_SIDE_PX, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(3 * BOMB_SIDE_PX + 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
