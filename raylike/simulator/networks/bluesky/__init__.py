"""Bluesky, as a signed-in account sees it."""
