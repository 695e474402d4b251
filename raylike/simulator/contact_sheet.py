"""A sheet of a hundred of the simulator's photos, to look at.

python -m raylike.simulator.contact_sheet OUT.jpg [--seed 0] [--users 2000]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from raylike.errors import CannotWrite
from raylike.simulator.drawing import draw
from raylike.simulator.drawing.finish import encode
from raylike.simulator.drawing.noise import Image
from raylike.simulator.world import World

_COLUMNS, _ROWS = 10, 10
_THUMBNAIL_PX, _GAP_PX = 128, 4
_QUALITY = 82


def contact_sheet(seed: int, users: int) -> Image:
    """A hundred posts of a world, chosen at random, in a grid; blue-green-red."""
    world = World(seed, users)
    photos = np.flatnonzero(~world.posts.is_video)
    chosen = np.random.default_rng(seed).choice(
        photos, _COLUMNS * _ROWS, replace=photos.size < _COLUMNS * _ROWS
    )
    cell = _THUMBNAIL_PX + _GAP_PX
    sheet = np.full((_ROWS * cell + _GAP_PX, _COLUMNS * cell + _GAP_PX, 3), 255, np.uint8)
    for place, post in enumerate(chosen):
        photo = cv2.imdecode(np.frombuffer(draw(world.spec(int(post))), np.uint8), cv2.IMREAD_COLOR)
        assert photo is not None  # it was just encoded
        small = cv2.resize(photo, (_THUMBNAIL_PX, _THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
        y, x = (_GAP_PX + cell * step for step in divmod(place, _COLUMNS))
        sheet[y : y + _THUMBNAIL_PX, x : x + _THUMBNAIL_PX] = small
    return sheet


def main(arguments: list[str] | None = None) -> int:
    """Write the sheet; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m raylike.simulator.contact_sheet", description=__doc__)
    parser.add_argument("out", type=Path, help="the JPEG to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--users", type=int, default=2000)
    options = parser.parse_args(arguments)
    try:
        options.out.write_bytes(encode(contact_sheet(options.seed, options.users), _QUALITY))
    except OSError as error:
        print(f"{options.out}: {error.strerror}", file=sys.stderr)
        return CannotWrite.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
