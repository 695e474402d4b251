"""A 64-bit fingerprint of how a photo looks: near copies differ in few bits.

After C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, Upper Austria
University of Applied Sciences, 2010, section 3.2.1: of the discrete cosine transform of a 32 x 32
gray picture, the 8 x 8 lowest frequencies without the constant ones, each 1 where it exceeds their
median. Averaging areas while shrinking stands in for the 7 x 7 mean filter that goes before.

Knows gray pixels. Knows nothing of files.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE_PX = 32
SIDE = 8
BITS = SIDE * SIDE


def perceptual_hash(gray: NDArray[np.uint8]) -> str:
    """Return the hash as 16 hex digits.

    Parameters
    ----------
    gray : uint8 array of shape (height, width), each >= 1
    """
    small = cv2.resize(gray, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[1 : SIDE + 1, 1 : SIDE + 1].ravel()
    bits = low > np.median(low)
    return np.packbits(bits).tobytes().hex()


def distance(one: str, other: str) -> int:
    """Bits in which two hashes differ, 0 to 64; up to about 10 means the same picture."""
    return (int(one, 16) ^ int(other, 16)).bit_count()
