"""Fine-tuning against a bare torch loop; its memory; a run that is killed on the way; the study's own size.

    uv run python -m benchmarks.finetune [speed steps memory packs kills study] [--rounds N] [--iterations N]

speed: training steps of all of AlexNet, photos out of JPEGs by Ray Data, against a loop over tensors in
memory in one process with as many threads. steps: the same without Ray, in CPU seconds of one process, for
machines that are shared. memory: the training process and the whole session, with few and many photos. packs:
the same without Ray. kills: a training whose worker, driver and worker again are killed by SIGKILL, beside an
undisturbed one; `--plot FILE` draws both curves. study: the first iterations of the preset `study`, and what
all would take.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from benchmarks.features import drawn_photos, with_photos
from raylike import Workspace
from raylike.cluster import Session
from raylike.commits import Commit
from raylike.config import FinetuneSettings, RaySettings, resolve
from raylike.processes import MIB, descendants, memory_mib
from raylike.progress import Silence
from raylike.stage import StageContext
from raylike.stages import finetune
from raylike.tables import LABELS
from raylike.vision import loading
from raylike.vision.decode import decode

CPUS = 2
LOOK_EVERY_S = 0.5
COMMIT = Commit("finetune", "benchmark")
STUDY_ITERATIONS = 35_000
KILLED_RUN: dict[str, Any] = {"trainable": "all", "iterations": 60, "batch_size": 8, "evaluate_every": 5,
              "checkpoint_every": 10, "lr": 0.003}  # fmt: skip


def photos(folder: Path, n: int, *, judged: int, drawn: int = 300) -> Workspace:
    """A workspace with `n` photos: `judged` validate, as many are tested on; the greener half is good."""
    files = drawn_photos(min(n, drawn))
    workspace = with_photos(folder, files, n)
    ids = [f"post{i:06d}" for i in range(n)]
    green = np.array([_greenness(files[i % len(files)]) for i in range(min(n, len(files)))])
    good = np.resize((green > np.median(green)).astype(int), n)
    folds = [0 if i < judged else -1 if i < 2 * judged else 1 + i % 4 for i in range(n)]
    labels = {
        "post_id": ids, "user_id": ids, "ratio": [0.1] * n, "label": good.tolist(), "threshold": [0.1] * n,
        "fold": folds, "split": ["test" if fold < 0 else "train" for fold in folds],
    }  # fmt: skip
    workspace.write("labels", pa.table(labels).cast(LABELS.schema), Commit("labels", "benchmark"))
    return workspace


def _greenness(file: bytes) -> float:
    picture = decode(file, at_least_px=64)
    assert picture is not None
    red, green, blue = picture.pixels.mean(axis=(0, 1))
    return float(green - (red + blue) / 2)


def run_stage(workspace: Workspace, *, resume: bool = False, preset: str = "laptop", **chosen: Any) -> None:
    """Train; the curve is in the table `curves` afterwards."""
    layer = {"preset": preset, "features": {"weights": "random"}, "finetune": chosen,
             "classify": {"resamples": 100}}  # fmt: skip
    settings = resolve(layer, environ={}).settings
    finetune.run(StageContext(workspace, settings, Silence(), COMMIT, resume=resume))


def curve(workspace: Workspace) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = workspace.read("curves").sort_by("iteration").to_pylist()
    return rows


def speed(rounds: int, batch_size: int, threads: int) -> None:
    """Photos a second in training steps, ours and the bare loop in turn, with as many threads."""
    with tempfile.TemporaryDirectory(prefix="raylike-finetune-") as folder:
        workspace = photos(Path(folder), 640, judged=16)
        ratios = []
        for _ in range(rounds):
            run_stage(workspace, trainable="all", iterations=30, batch_size=batch_size, evaluate_every=5)
            # The first look holds the wait for the first photos, which is no matter of steps.
            ours = statistics.median(look["photos_per_s"] for look in curve(workspace)[1:])
            bare = float(_alone("bare", f"{batch_size},{threads}"))
            ratios.append(ours / bare)
            print(f"ours {ours:.1f} photos/s, the bare loop {bare:.1f}: {ours / bare:.0%}", flush=True)
        print(
            f"median {statistics.median(ratios):.0%} of the bare loop, batches of {batch_size}, "
            f"{threads} threads"
        )


def bare(batch_size: int, threads: int) -> float:
    """A training loop and nothing else; photos a second, median of groups of five steps."""
    loop, rates = _bare_loop(batch_size, threads), []
    for _ in range(5):
        started = time.perf_counter()
        loop(5)
        rates.append(5 * batch_size / (time.perf_counter() - started))
    return statistics.median(rates[1:])


def _bare_loop(batch_size: int, threads: int = CPUS) -> Callable[[int], None]:
    """So many steps of all of AlexNet on tensors in memory."""
    import torch
    from torch import nn

    from raylike.vision import networks

    torch.set_num_threads(threads)
    network = networks.assembled(loading.load("alexnet", "random", 0, allow_random=False))
    network.set_submodule("classifier.6", nn.Linear(4096, 2))
    for parameter in network.parameters():
        parameter.data = parameter.data.clone()
    network.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4, fused=True)
    inputs = torch.randn(batch_size, 3, 224, 224).to(memory_format=torch.channels_last)
    labels = torch.arange(batch_size) % 2

    def train(n: int) -> None:
        for _ in range(n):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(inputs), labels).backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    return train


def steps(batch_size: int, groups: int, group: int) -> None:
    """CPU and wall clock seconds of a step, ours and the bare loop's in turn; ours decodes in a thread."""
    import torch

    with tempfile.TemporaryDirectory(prefix="raylike-finetune-") as folder:
        ours = _training(photos(Path(folder), max(256, batch_size), judged=8), batch_size)
        loops = {"ours": ours, "bare": _bare_loop(batch_size)}
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
        for i in range(groups + 1):
            for name in sorted(loops, reverse=i % 2 == 0):
                started = time.process_time(), time.perf_counter()
                loops[name](group)
                taken = time.process_time() - started[0], time.perf_counter() - started[1]
                seconds[name].append((taken[0] / group, taken[1] / group))
        cpu = {name: statistics.median(one for one, _ in taken[1:]) for name, taken in seconds.items()}
        wall = {name: statistics.median(one for _, one in taken[1:]) for name, taken in seconds.items()}
        print(
            f"batches of {batch_size}, {torch.get_num_threads()} threads: CPU seconds a step: ours "
            f"{cpu['ours']:.3f}, bare {cpu['bare']:.3f}: {cpu['bare'] / cpu['ours']:.1%}; wall clock "
            f"{wall['ours']:.3f} and {wall['bare']:.3f}"
        )


def _training(workspace: Workspace, batch_size: int) -> Callable[[int], None]:
    """So many steps of all of AlexNet, without a look."""
    import torch

    from raylike.learning import learning_set
    from raylike.learning.finetune import FineTuning

    torch.set_num_threads(CPUS)
    chosen, cpu = FinetuneSettings(batch_size=batch_size), torch.device("cpu")
    backbone = loading.load("alexnet", "random", 0, allow_random=False)
    tail, material, _ = learning_set.prepare(
        workspace, learning_set.read(workspace), backbone, chosen, seed=0, device=cpu
    )
    material = replace(material, validation=material.validation[:2])
    tuning = FineTuning(tail, chosen, seed=0, device=cpu)

    def train(n: int) -> None:
        wanted = tuning.iteration + n
        for _ in tuning.train(material, wanted + 1, wanted + 1, after_step=lambda: stop_at(wanted)):
            pass

    def stop_at(wanted: int) -> None:
        if tuning.iteration == wanted:
            raise StopTraining

    def run(n: int) -> None:
        with suppress(StopTraining):
            train(n)

    return run


class StopTraining(Exception):
    """Ends a training before its look."""


def packs(few: int, many: int) -> None:
    """The largest memory of a training process without Ray, in processes of their own."""
    with tempfile.TemporaryDirectory(prefix="raylike-finetune-") as folder:
        for n in (few, many):
            photos(Path(folder) / str(n), n, judged=8)
            print(f"{n:,} photos: at most {_alone('pack', str(Path(folder) / str(n)))} MiB", flush=True)


def memory(few: int, many: int) -> None:
    """The largest memory of the training process, and of the whole session, Ray and driver included."""
    for n in (few, many):
        with tempfile.TemporaryDirectory(prefix="raylike-finetune-") as folder:
            workspace = photos(Path(folder), n, judged=32)
            looks: list[tuple[float, float]] = []
            done = threading.Event()
            watcher = threading.Thread(target=_watch, args=(looks, done))
            watcher.start()
            run_stage(workspace, trainable="all", iterations=6, batch_size=64, evaluate_every=3)
            done.set()
            watcher.join()
            session, worker = (max(column) for column in zip(*looks, strict=True))
            print(
                f"{n:,} photos: the training process at most {worker:,.0f} MiB, all at most {session:,.0f}",
                flush=True,
            )


def _watch(looks: list[tuple[float, float]], done: threading.Event) -> None:
    while not done.wait(LOOK_EVERY_S):
        looks.append((memory_mib(), max((_pss_mib(one) for one in _workers(descendants())), default=0.0)))


def _workers(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for one in processes:
        try:
            if "RayTrainWorker" in " ".join(one.cmdline()):
                found.append(one)
        except psutil.Error:
            continue
    return found


def _pss_mib(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / MIB
    except psutil.Error:
        return 0.0


def kills(plot: Path | None, seed: int) -> None:
    """An undisturbed run, and one whose worker, driver and worker again are killed."""
    generator = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="raylike-finetune-", ignore_cleanup_errors=True) as folder:
        calm, disturbed = Path(folder) / "calm", Path(folder) / "disturbed"
        for path in (calm, disturbed):
            photos(path, 300, judged=60)
        _alone("train", str(calm))
        moments = [generator.uniform(low, low + 0.15) for low in (0.25, 0.5, 0.75)]
        killed_at = []
        running = _start(disturbed)
        for whom, share in zip(("worker", "driver", "worker"), moments, strict=True):
            killed_at.append(_kill(running, disturbed, whom, round(share * KILLED_RUN["iterations"])))
            print(f"killed the {whom} at iteration {killed_at[-1]}", flush=True)
            if whom == "driver":
                running = _start(disturbed)
        assert running.wait() == 0
        ours, theirs = curve(Workspace(disturbed)), curve(Workspace(calm))
        assert [row["iteration"] for row in ours] == [row["iteration"] for row in theirs]
        apart = {
            name: max(abs(a[name] - b[name]) for a, b in zip(ours, theirs, strict=True))
            for name in ("loss", "validation_ap")
        }
        print(f"killed at iterations {killed_at}; largest differences from the undisturbed run: {apart}")
        print(json.dumps([[row["iteration"], row["loss"], row["validation_ap"]] for row in ours]))
        if plot is not None:
            draw(plot, ours, theirs, killed_at)


def _start(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "benchmarks.finetune", "--alone", "train", str(path)])


def _kill(running: subprocess.Popen[bytes], path: Path, whom: str, iteration: int) -> int:
    """Wait until training is at an iteration, then kill; returns the iteration that it was at."""
    while (reached := _reached(path)) < iteration:
        assert running.poll() is None, "ended too early"
        time.sleep(0.2)
    family = psutil.Process(running.pid).children(recursive=True)
    if whom == "driver":
        running.kill()
        running.wait()
        psutil.wait_procs(family, timeout=60)
    else:
        (worker,) = _workers(family)
        os.kill(worker.pid, signal.SIGKILL)
    return reached


def _reached(path: Path) -> int:
    for told in path.glob("models/finetune/run-*/progress.json"):
        try:
            return int(json.loads(told.read_text())["iteration"])
        except (OSError, ValueError):
            continue
    return 0


def draw(path: Path, ours: list[dict[str, Any]], theirs: list[dict[str, Any]], killed_at: list[int]) -> None:
    """Both curves over each other."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for axis, name, title in zip(axes, ("loss", "validation_ap"), ("training loss", "validation AP"),
                                 strict=True):  # fmt: skip
        at = [row["iteration"] for row in ours]
        axis.plot(at, [row[name] for row in theirs], lw=5, alpha=0.3, label="undisturbed")
        axis.plot(at, [row[name] for row in ours], lw=1.5, marker="o", ms=3, label="killed three times")
        for moment in killed_at:
            axis.axvline(moment, color="0.6", lw=1, ls=":")
        axis.set(xlabel="iteration", title=title)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=110)


def study(iterations: int, n: int = 2_000) -> None:
    """The first iterations of the study's preset; the time for all of them is extrapolated."""
    with tempfile.TemporaryDirectory(prefix="raylike-finetune-") as folder:
        workspace = photos(Path(folder), n, judged=64)
        done = threading.Event()
        looks: list[tuple[float, float]] = []
        watcher = threading.Thread(target=_watch, args=(looks, done))
        watcher.start()
        run_stage(workspace, preset="study", iterations=iterations, evaluate_every=max(1, iterations // 4))
        done.set()
        watcher.join()
        rows = curve(workspace)
        rate = statistics.median(row["photos_per_s"] for row in rows[1:])
        seconds = 256 / rate
        print(
            f"{iterations} iterations of 256 photos: {seconds:.2f} s each ({rate:.0f} photos/s), so "
            f"{STUDY_ITERATIONS * seconds / 3600:.0f} h for {STUDY_ITERATIONS:,}; losses "
            f"{[round(row['loss'], 4) for row in rows]}; at most {max(look[0] for look in looks):,.0f} MiB, "
            f"the training process {max(look[1] for look in looks):,.0f}"
        )


def _alone(*arguments: str) -> str:
    """Run a part of this file in a process of its own; its last line."""
    command = [sys.executable, "-m", "benchmarks.finetune", "--alone", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return (done.stdout.strip().splitlines() or [""])[-1]


def train_alone(path: str) -> None:
    """One training in a session of its own; goes on where one was killed."""
    session = Session(RaySettings(num_cpus=CPUS, dashboard=False))
    session.wait()
    workspace = Workspace(path)
    try:
        run_stage(workspace, resume=workspace.exists("finetune_results"), **KILLED_RUN)
    finally:
        session.stop()


def _pack_alone(path: str) -> None:
    _training(Workspace(path), 64)(4)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


_ALONE: dict[str, Callable[[str], None]] = {
    "bare": lambda sizes: print(bare(*map(int, sizes.split(",")))),
    "train": train_alone,
    "pack": _pack_alone,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "cases", nargs="*", choices=["speed", "steps", "memory", "packs", "kills", "study", []]
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=200, help="of study")
    parser.add_argument("--few", type=int, default=1_000, help="photos of the first half of memory")
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=32, help="of speed and steps")
    parser.add_argument("--cpus", type=int, default=CPUS, help="of speed: 1 leaves a core to Ray's processes")
    parser.add_argument("--plot", type=Path, help="where kills draws its curves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.alone:
        _ALONE[chosen.alone[0]](chosen.alone[1])
        return
    cases = chosen.cases or ["speed", "memory", "kills"]
    if "kills" in cases:
        kills(chosen.plot, chosen.seed)
    if "steps" in cases:
        steps(chosen.batch_size, chosen.rounds, group=max(1, 128 // chosen.batch_size))
    if "packs" in cases:
        packs(chosen.few, chosen.many)
    if not {"speed", "memory", "study"} & set(cases):
        return
    session = Session(RaySettings(num_cpus=chosen.cpus, dashboard=False))
    session.wait()
    try:
        if "speed" in cases:
            speed(chosen.rounds, chosen.batch_size, chosen.cpus)
        if "memory" in cases:
            memory(chosen.few, chosen.many)
        if "study" in cases:
            study(chosen.iterations)
    finally:
        session.stop()


if __name__ == "__main__":
    main()
