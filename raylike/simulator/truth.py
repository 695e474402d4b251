"""What only the simulator knows: why a photo was liked, and whether it shows a person.

Opened by the evaluation of a simulated run and by tests, and by nothing else: a model or a filter that
could look in here would prove nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raylike.simulator.drawing.spec import Kind
from raylike.simulator.world import World


def oracle(seed: int, users: int, post_ids: Sequence[str]) -> NDArray[np.float64]:
    """The appeal of each photo in log likes: the best score that any model of pictures could give.

    Parameters
    ----------
    seed, users : as the simulator was started with
    post_ids : ids of posts of that world

    Returns
    -------
    float64 array of shape (len(post_ids),)

    Raises
    ------
    KeyError : for an id that is not of this world
    """
    world = World(seed, users)
    return world.appeal[_rows(world, post_ids)]


def is_person(seed: int, users: int, post_ids: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each photo was drawn to show a person's face, (len(post_ids),); parameters as `oracle`."""
    world = World(seed, users)
    shown: NDArray[np.bool_] = world.posts.kind[_rows(world, post_ids)] == Kind.PERSON
    return shown


def _rows(world: World, post_ids: Sequence[str]) -> NDArray[np.int64]:
    rows = np.empty(len(post_ids), np.int64)
    for k, post_id in enumerate(post_ids):
        row = world.find_post(post_id)
        if row is None:
            raise KeyError(post_id)
        rows[k] = row
    return rows
