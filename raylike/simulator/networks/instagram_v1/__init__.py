"""Instagram's API v1, as of 2015."""
