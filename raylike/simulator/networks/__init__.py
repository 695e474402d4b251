"""The formats that one simulated world is told in: a package a network.

`bodies.py` turns the world into a network's JSON and knows no HTTP; `routes.py` answers requests with
it. `base.py` says what they share.
"""
