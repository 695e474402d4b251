"""Why a photo is not there: every kind of failure of a download, with a few words for people.

Imports nothing heavy: help texts and the check of `--retry-failed` read it. Knows nothing of how a
failure is found (`fetching.py`, `robots.py`, `vision/inspection.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from raylike.errors import ConfigError

OK = "ok"
ALL = "all"
"""Stands for every cause, where one can be named."""

CAUSES: dict[str, str] = {
    "gone": "the server has it no longer, or the file is not there",
    "disallowed": "robots.txt or X-Robots-Tag asks robots to leave it alone",
    "robots_unreachable": "the server could not say what it allows to robots",
    "refused_address": "not http(s), or not a public address",
    "rate_limited": "the server let too little through",
    "timeout": "not complete in time, or no connection in time",
    "connection": "no connection, or one that broke before the answer",
    "http_error": "an answer that is no photo: 403, 5xx, or no valid HTTP",
    "too_many_redirects": "sent on more often than download.max_redirects",
    "truncated": "ends before it is complete",
    "too_large": "more bytes than download.max_bytes",
    "not_an_image": "a GIF, a page or something else, not JPEG, PNG or WebP",
    "too_small": "a side below download.min_side_px",
    "too_many_pixels": "more pixels than download.max_pixels",
    "too_many_scans": "a JPEG made to keep a decoder busy for hours",
    "unreadable": "the file cannot be read",
}
"""Status of a row of `images` that is not `ok` -> what it means."""


def check_cause(cause: str) -> None:
    """Raise `ConfigError` unless `cause` is one, or `all`."""
    if cause != ALL and cause not in CAUSES:
        raise ConfigError(
            f"{cause!r} is no cause of failure", "--retry-failed", f"one of: {ALL}, {', '.join(CAUSES)}"
        )


def failure_table(failed: Mapping[str, int]) -> tuple[str, ...]:
    """Lines for people: each cause with its count and its meaning, the most frequent first."""
    if not failed:
        return ()
    rows = sorted(failed.items(), key=lambda item: (-item[1], item[0]))
    name_width = max(len(cause) for cause, _ in rows)
    count_width = max(len(f"{count:,}") for _, count in rows)
    lines = [
        f"  {cause:<{name_width}}  {count:>{count_width},}  {CAUSES.get(cause, '')}".rstrip()
        for cause, count in rows
    ]
    total = sum(failed.values())
    return (
        f"not there, by cause ({total:,}):",
        *lines,
        "  to try them again: raylike download --retry-failed [CAUSE]",
    )
