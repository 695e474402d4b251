"""Scoring with Ray: many photos at once, and a page and an HTTP API for whoever asks.

`many.py` needs nothing besides; the page and the API need the extra `serve`.

Knows Ray, and `raylike.scoring` below it.
"""

from __future__ import annotations

from raylike.errors import ConfigError


def require_extra() -> None:
    """Raise `ConfigError` where the packages of the extra `serve` are not installed."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        from ray import serve  # noqa: F401
    except ImportError as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"Ray Serve or what it needs is not installed: {why}", "", "pip install 'raylike[serve]'"
        ) from None
