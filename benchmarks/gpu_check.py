"""The features stage on a GPU: photos a second, how busy the GPU is, how far its figures are from a CPU's.

    uv run python -m benchmarks.gpu_check [--photos N]

Says so and ends where there is no GPU. It has not been run on one yet: nothing in `README.md` beside it
comes from here.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.features import DRAWN, TABLE, drawn_photos, with_photos
from raylike import Workspace, feature_rows
from raylike.cluster import Session
from raylike.commits import Commit
from raylike.config import FeaturesSettings, RaySettings, Settings
from raylike.progress import Silence
from raylike.stage import StageContext
from raylike.stages import features

PRECISIONS = ("fp32", "bf16")
COMPARED = 256
LOOK_EVERY_S = 0.2


def run(workspace: Workspace, device: str, precision: str) -> float:
    """Compute all features afresh; seconds."""
    settings = Settings.model_validate(
        {"device": device, "features": FeaturesSettings(weights="random", precision=precision)}  # type: ignore[arg-type]
    )
    commit = Commit("features", f"{device} {precision}")
    started = time.perf_counter()
    features.run(StageContext(workspace, settings, Silence(), commit, forced=True))
    return time.perf_counter() - started


def rows(workspace: Workspace) -> dict[str, np.ndarray[Any, Any]]:
    """Both layers, in the order of post and orientation."""
    table = workspace.read(TABLE, where=feature_rows.in_force(workspace, TABLE))
    table = table.sort_by([("post_id", "ascending"), ("flipped", "ascending")])
    return {
        layer: table[layer].combine_chunks().flatten().to_numpy().reshape(-1, 4096)
        for layer in ("fc6", "fc7")
    }


def watch(busy: list[int], done: threading.Event) -> None:
    """Note the GPU's utilisation in per cent, again and again. Needs nvidia-ml-py; nothing without it."""
    import torch

    while not done.wait(LOOK_EVERY_S):
        try:
            busy.append(torch.cuda.utilization())
        except ModuleNotFoundError:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=5_000)
    n = parser.parse_args().photos
    import torch

    if not torch.cuda.is_available():
        print("no GPU was found: nothing to check")
        return
    print(torch.cuda.get_device_name())
    session = Session(RaySettings(dashboard=False))
    session.wait()
    try:
        with tempfile.TemporaryDirectory(prefix="raylike-gpu-") as folder:
            drawn = drawn_photos(min(n, DRAWN))
            few = with_photos(Path(folder) / "few", drawn, COMPARED)
            run(few, "cpu", "fp32")
            expected = rows(few)
            many = with_photos(Path(folder) / "many", drawn, n)
            for precision in PRECISIONS:
                busy: list[int] = []
                done = threading.Event()
                watcher = threading.Thread(target=watch, args=(busy, done))
                watcher.start()
                seconds = run(many, "cuda", precision)
                done.set()
                watcher.join()
                used = f"busy {np.mean(busy):.0f} % of the time" if busy else "utilisation not known"
                print(f"{precision}: {n:,} photos in {seconds:.1f} s, {n / seconds:.0f}/s, GPU {used}")
                run(few, "cuda", precision)
                for layer, found in rows(few).items():
                    largest = np.abs(found - expected[layer]).max() / np.abs(expected[layer]).max()
                    print(f"  {layer}: largest difference from the CPU's fp32 {largest:.1e} of the largest")
    finally:
        session.stop()


if __name__ == "__main__":
    main()
