"""How many bits may two perceptual hashes differ in, if their photos are to count as copies?

    uv run python -m benchmarks.duplicates [--photos FOLDER] [--detector haar|yunet]

Photos are hashed as the faces stage does it, from what it decodes for the detector. Copies are made of the
photos and of photos that the simulator draws; recall is the share of copies within so many bits, and false
merges are different photos within as many. Then the search is timed on hashes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from raylike.learning.duplicates import (
    MAX_PRODUCT_BITS,
    bits_beyond_a_product,
    groups_of_copies,
    near_pairs,
)
from raylike.simulator.drawing import Kind, draw
from raylike.simulator.world import World
from raylike.vision import decode
from raylike.vision.perceptual_hash import AT_LEAST_PX, distance, perceptual_hash

Pixels = NDArray[np.uint8]
Hash = Callable[[bytes], str | None]
BITS = (0, 2, 4, 6, 8, 10, 12)
N_PEOPLE, N_ELSE = 6000, 3000
N_COPIED = 131

Decoding = dict[str, Any]
DECODED: dict[str, Decoding] = {
    "haar": {"at_least_px": AT_LEAST_PX, "colour": False},
    "yunet": {"at_least_px": 640, "colour": True},
}
"""What a photo is decoded to, by the detector that wants it so."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of JPEGs, all different")
    parser.add_argument("--detector", choices=DECODED, default="haar", help="what photos are decoded for")
    chosen = parser.parse_args()
    hash_of = partial(hashed, decoding=DECODED[chosen.detector])
    kinds = {"drawn people": drawn(N_PEOPLE, people=True), "drawn else": drawn(N_ELSE, people=False)}
    if chosen.photos:
        files = sorted(chosen.photos.glob("*.jpg"))
        kinds["photos"] = [(file.name, file.read_bytes()) for file in files]
    print("different photos within so many bits, and per million pairs")
    for name, pictures in kinds.items():
        print_false_merges(name, pictures, hash_of)
    if chosen.photos:
        print_false_merges("quarters of photos", [*quarters(kinds["photos"])], hash_of)
    for name, pictures in kinds.items():
        print_recall(name, [data for _, data in pictures[:N_COPIED]], hash_of)
        print_decodings([data for _, data in pictures[:N_COPIED]])
    print_speed()


def drawn(n: int, *, people: bool) -> list[tuple[str, bytes]]:
    """Different photos as the simulator draws them, each with its name."""
    world = World(0, 2 * n)
    wanted = np.flatnonzero((world.posts.kind == Kind.PERSON) == people)
    different = {int(world.posts.seed[i]): int(i) for i in wanted}
    return [(str(seed), draw(world.spec(i))) for seed, i in islice(different.items(), n)]


def quarters(pictures: list[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """The four quarters of each photo: more different photos of the same world."""
    for name, data in pictures:
        pixels = pixels_of(data)
        height, width = (side // 2 for side in pixels.shape[:2])
        for y, x in ((0, 0), (0, width), (height, 0), (height, width)):
            yield name, encode(pixels[y : y + height, x : x + width])


def print_false_merges(name: str, pictures: list[tuple[str, bytes]], hash_of: Hash) -> None:
    """Pairs of different photos within so many bits; quarters of one photo are not paired."""
    known = [(name, text) for name, data in pictures if (text := hash_of(data))]
    owner = np.array([name for name, _ in known])
    hashes = np.array([int(text, 16) for _, text in known], dtype=np.uint64)
    telling = bits_beyond_a_product(hashes) > MAX_PRODUCT_BITS
    owner, hashes = owner[telling], hashes[telling]
    counts = np.zeros(65, dtype=np.int64)
    for row in range(1, hashes.size):
        others = owner[:row] != owner[row]
        counts += np.bincount(np.bitwise_count(hashes[:row] ^ hashes[row])[others], minlength=65)
    pairs = int(counts.sum())
    within = {bits: int(counts[: bits + 1].sum()) for bits in BITS}
    shown = "  ".join(f"{bits}: {n} ({1e6 * n / pairs:.1f})" for bits, n in within.items())
    print(f"{name:18} {hashes.size} of {len(pictures)} compared, {pairs:,} pairs  {shown}")


def print_recall(name: str, pictures: list[bytes], hash_of: Hash) -> None:
    """The share of copies within so many bits, by what was done to them."""
    rng = np.random.default_rng(0)
    print(f"\n{name}: {len(pictures)} photos; share of copies within bits {BITS}")
    everything: list[int] = []
    for change, copy in CHANGES.items():
        bits = [bits_between(hash_of(data), hash_of(copy(pixels_of(data), rng))) for data in pictures]
        everything += bits
        print(f"{change:28}", *(f"{np.mean(np.array(bits) <= most):7.1%}" for most in BITS))
    print(f"{'all':28}", *(f"{np.mean(np.array(everything) <= most):7.1%}" for most in BITS))


def print_decodings(pictures: list[bytes]) -> None:
    """The share of photos whose hashes by two ways to decode them lie within so many bits."""
    for one, other in combinations(DECODED, 2):
        bits = np.array([
            bits_between(hashed(data, DECODED[one]), hashed(data, DECODED[other])) for data in pictures
        ])  # fmt: skip
        print(f"{f'for {one}, for {other}':28}", *(f"{np.mean(bits <= most):7.1%}" for most in BITS))


def resized(factor: float) -> Callable[[Pixels, np.random.Generator], bytes]:
    """A copy of another size."""
    return lambda pixels, _: encode(
        cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8)
    )


def cropped(share: float) -> Callable[[Pixels, np.random.Generator], bytes]:
    """A copy that lacks this share of its height and of its width, at random from either end."""

    def copy(pixels: Pixels, rng: np.random.Generator) -> bytes:
        height, width = pixels.shape[:2]
        away_y, away_x = round(height * share), round(width * share)
        y, x = int(rng.integers(away_y + 1)), int(rng.integers(away_x + 1))
        return encode(pixels[y : y + height - away_y, x : x + width - away_x])

    return copy


def brightened(factor: float) -> Callable[[Pixels, np.random.Generator], bytes]:
    """A copy in another light."""
    return lambda pixels, _: encode(np.clip(pixels * factor, 0, 255).astype(np.uint8))


def captioned(share: float) -> Callable[[Pixels, np.random.Generator], bytes]:
    """A copy with a line of white text, this share of the height, near the lower edge."""

    def copy(pixels: Pixels, _: np.random.Generator) -> bytes:
        marked = pixels.copy()
        height = marked.shape[0]
        scale = share * height / 22  # the font's capitals are 22 px high at 1
        at = (round(0.05 * marked.shape[1]), round(0.96 * height))
        cv2.putText(marked, "so true #me", at, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 2)
        return encode(marked)

    return copy


def recompressed(quality: int) -> Callable[[Pixels, np.random.Generator], bytes]:
    """A copy as a JPEG of this quality."""
    return lambda pixels, _: encode(pixels, quality)


CHANGES = {
    **{f"JPEG quality {quality}": recompressed(quality) for quality in (40, 60, 80, 95)},
    **{f"resized to {factor:.0%}": resized(factor) for factor in (0.5, 0.75, 1.5, 2.0)},
    **{f"cropped by {share:.0%}": cropped(share) for share in (0.01, 0.02, 0.03)},
    **{f"brightness x {factor}": brightened(factor) for factor in (0.8, 1.1, 1.25)},
    "caption, 4 % of the height": captioned(0.04),
}


def pixels_of(data: bytes) -> Pixels:
    """BGR pixels at full size."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return pixels.astype(np.uint8)


def encode(pixels: Pixels, quality: int = 85) -> bytes:
    """The pixels as JPEG."""
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def hashed(data: bytes, decoding: Decoding) -> str | None:
    """The hash as the faces stage takes it."""
    picture = decode.decode(data, **decoding)
    return perceptual_hash(picture.pixels) if picture else None


def bits_between(one: str | None, other: str | None) -> int:
    """Bits in which two hashes differ; 64 if one is none."""
    return 64 if one is None or other is None else distance(one, other)


def print_speed() -> None:
    """Seconds to find the groups among random hashes, half of them within three bits of another."""
    print("\nn hashes, bits: seconds, groups")
    for n in (35_000, 200_000):
        hashes = clustered(n)
        texts = [f"{value:016x}" for value in hashes.tolist()]
        for bits in (4, 6, 8, 10):
            started = time.perf_counter()
            groups = groups_of_copies([None] * n, texts, bits)
            seconds = time.perf_counter() - started
            print(f"{n:7} {bits:2}: {seconds:6.2f} s, {np.unique(groups).size}")
    hashes = np.arange(2**14, dtype=np.uint64)
    started = time.perf_counter()
    n_pairs = sum(one.size for one, _ in near_pairs(hashes, 6))
    print(f"16,384 hashes in 14 bits, 6: {time.perf_counter() - started:.1f} s, {n_pairs:,} pairs met")


def clustered(n: int) -> NDArray[np.uint64]:
    """Hashes with 32 of 64 bits set, as photos have; half are copies of a tenth, up to three bits off."""
    rng = np.random.default_rng(0)
    half = n // 2
    set_bits = rng.random((half, 64)).argsort(axis=1) < 32
    originals = np.packbits(set_bits, axis=1).view(np.uint64).ravel()
    copies = originals[rng.integers(0, half // 10, n - half)].copy()
    for _ in range(3):
        copies ^= np.left_shift(np.uint64(1), rng.integers(0, 64, copies.size).astype(np.uint64))
    return np.concatenate([originals, copies])


if __name__ == "__main__":
    main()
