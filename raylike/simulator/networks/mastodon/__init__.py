"""Mastodon's API, and Pixelfed's, which is nearly the same."""
