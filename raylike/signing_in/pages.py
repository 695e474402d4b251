"""What friends see: one template, filled for each moment of a sign-in.

Pages are whole in themselves: no script, nothing from elsewhere, and their own policy forbids browsers
to fetch any. They hold no secret. Knows templates and headers. Knows nothing of requests.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from raylike.signing_in.networks import SignIn

TEMPLATES = Path(__file__).parent / "templates"

WELCOME, THANKS, DENIED, STALE, FAILED, ENOUGH, NOT_HERE, BROKEN = (
    "welcome",
    "thanks",
    "denied",
    "stale",
    "failed",
    "enough",
    "not_here",
    "broken",
)
"""Moments: blocks of the template."""


def page(moment: str, network: SignIn, start: str, alias: str = "") -> str:
    """The page for a moment.

    Parameters
    ----------
    moment : one of those above
    start : address that begins a sign-in
    alias : what the token goes by, once it is kept
    """
    return (
        _environment()
        .get_template("page.html.j2")
        .render(moment=moment, network=network, start=start, alias=alias, style=Markup(_style()))
    )


@cache
def headers() -> dict[str, str]:
    """What goes with every page: nothing is loaded, framed, remembered or passed on."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "X-Robots-Tag": "noindex, nofollow",
        "Cache-Control": "no-store",
    }


@cache
def _style() -> str:
    return (TEMPLATES / "style.css").read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
