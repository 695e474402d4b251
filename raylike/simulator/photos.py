"""Photos on request: drawn by an executor, and the last ones kept.

A photo is some 8 ms of many short numpy and OpenCV calls, which threads of one process mostly spend
waiting for each other: on two cores, 32 requests under way, 55 photos/s came from two threads and 155
from two processes. So the simulator's own process draws in forked ones.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
from collections import OrderedDict
from concurrent.futures import Executor, ProcessPoolExecutor

import cv2
import numpy as np

from raylike.simulator.drawing import SIDE_PX, Kind, PhotoSpec, draw
from raylike.simulator.drawing.finish import encode
from raylike.simulator.world import World

SIDES_PX = {"": SIDE_PX, "_6": 306, "_5": 150}
"""Sides by the suffix of the file's name, as Instagram named its three sizes."""
_KEPT = 256
_SMALL_QUALITY = 85


def drawing_processes(count: int) -> Executor:
    """Processes that draw. Call it before there are threads or an event loop: they are forked.

    They end with the executor, and on Linux with the process that made them, even if that is killed.
    """
    context = multiprocessing.get_context("fork")
    executor = ProcessPoolExecutor(
        count, mp_context=context, initializer=_end_with_parent, initargs=(os.getpid(),)
    )
    for _ in range(count):
        executor.submit(
            draw_sized, PhotoSpec(Kind.PERSON, 0), SIDE_PX
        )  # forks now, and fills the noise tiles
    return executor


def _end_with_parent(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG, linux/prctl.h
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)


def draw_sized(spec: PhotoSpec, side_px: int) -> bytes:
    """A photo in one of the network's three sizes, as JPEG."""
    cv2.setNumThreads(1)
    photo = draw(spec)
    if side_px == SIDE_PX:
        return photo
    pixels = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None  # it was encoded a line ago
    small = cv2.resize(pixels, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return encode(small, _SMALL_QUALITY)


class Photos:
    """Draws a world's photos and keeps the last ones.

    Parameters
    ----------
    world : whose photos
    executor : draws; the event loop is never held up
    """

    def __init__(self, world: World, executor: Executor) -> None:
        self._world = world
        self._executor = executor
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    async def get(self, post: int, side_px: int = SIDE_PX) -> bytes:
        """The JPEG of a post's photo."""
        key = (post, side_px)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        loop = asyncio.get_running_loop()
        photo = await loop.run_in_executor(self._executor, draw_sized, self._world.spec(post), side_px)
        self._kept[key] = photo
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return photo
