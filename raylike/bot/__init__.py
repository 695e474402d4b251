"""A bot that answers people who show it a photo: what the model thinks of it.

    mentions.py    what a mention is, and what a network has to offer: one protocol
    mastodon.py    Mastodon's words for it
    bluesky.py     Bluesky's
    manners.py     whom it answers, and how often
    words.py       what it says
    memory.py      what was answered, kept so that a kill answers nobody twice
    rounds.py      the loop: read, score, answer
    opening.py     all of these from settings

Knows the providers and `scoring/`. Knows neither Ray nor the command line.
"""
