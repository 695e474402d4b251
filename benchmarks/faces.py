"""Face detectors: photos a second against bare processes, accuracy on labelled photos, killed processes.

    uv run python -m benchmarks.faces [speed accuracy kills] [--photos DIR] [--model FILE]

All three without a name. `--photos DIR` is a folder of photos; with a `labels.csv` (file, label: face or
noface) accuracy is measured on it, beside pictures that installed packages bring. Without it speed uses
photos that the simulator draws. yunet is left out where its model cannot be had and no `--model` is named.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import itertools
import multiprocessing
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from raylike import Workspace
from raylike.cluster import Session
from raylike.commits import Commit
from raylike.config import FacesSettings, RaySettings, Settings
from raylike.errors import RaylikeError
from raylike.learning.face_curve import Share, share
from raylike.progress import Silence
from raylike.simulator.drawing import draw
from raylike.simulator.world import World
from raylike.stage import StageContext
from raylike.stages import faces
from raylike.tables import COHORT, IMAGES
from raylike.vision import decode, detectors
from raylike.vision.perceptual_hash import perceptual_hash

MOMENT = datetime(2015, 10, 1, tzinfo=UTC)
SIDE_PX = 640
PROCESSES = 2
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
PACKAGED = {
    "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
    "skimage": tuple(
        f"data/{name}"
        for name in (
            "astronaut.png", "brick.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png",
            "coins.png", "color.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png",
            "moon.png", "motorcycle_left.png", "page.png", "retina.jpg", "rocket.jpg", "text.png",
        )
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}  # fmt: skip
"""Pictures in packages that the development environment installs."""
WITH_FACE = {"grace_hopper.jpg", "astronaut.png"}


@dataclass(frozen=True)
class Chosen:
    """What the command line says."""

    photos: Path | None
    model: Path | None
    n: int
    rounds: int

    def variants(self) -> dict[str, FacesSettings]:
        """The detectors that can be built here, and yunet with one look only."""
        found = {"haar": FacesSettings(), "haar, profile too": FacesSettings(profile=True)}
        yunet = FacesSettings(detector="yunet", model_path=self.model)
        one_look = {"second_look": False}
        try:
            detectors.kind("yunet").load(yunet)
        except RaylikeError as error:
            print(f"yunet left out: {error}")
            return found
        found["yunet"] = yunet
        for size_px in (320, 480, 640):
            found[f"yunet, one look at {size_px} px"] = yunet.model_copy(
                update={**one_look, "size_px": size_px}
            )
        return found


# Speed


def photo_files(chosen: Chosen) -> Iterator[bytes]:
    """JPEGs of 640 px, without end: of the folder or drawn."""
    if chosen.photos is None:
        world = World(0, chosen.n)
        for post in itertools.cycle(range(min(chosen.n, world.posts.user.size))):
            yield draw(world.spec(post))
    paths = sorted(path for path in (chosen.photos or Path()).iterdir() if path.suffix.lower() in SUFFIXES)
    files = []
    for path in paths:
        pixels = cv2.imread(str(path))
        assert pixels is not None, path
        factor = SIDE_PX / max(pixels.shape[:2])
        pixels = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        files.append(bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]))
    yield from itertools.cycle(files)


def with_photos(folder: str | Path, files: Sequence[bytes]) -> Workspace:
    """A workspace whose cohort has these photos, written as the download stage does."""
    workspace = Workspace(folder)
    ids = [f"post{number:05d}" for number in range(len(files))]
    cohort = [
        {"post_id": i, "user_id": i, "followers": 9, "likes": 1, "ratio": 0.1, "kept": True, "reason": ""}
        for i in ids
    ]
    workspace.write("cohort", pa.Table.from_pylist(cohort, schema=COHORT.schema), Commit("cohort", "x"))
    images = [
        {"post_id": i, "bytes": file, "byte_size": len(file), "fetched_at": MOMENT, "status": "ok"}
        for i, file in zip(ids, files, strict=True)
    ]
    table = pa.Table.from_pylist(images, schema=IMAGES.schema)
    workspace.commit_parts("images", [workspace.write_part("images", table)], Commit("download", "x"))
    return workspace


def context(workspace: Workspace, settings: FacesSettings) -> StageContext:
    """What the faces stage receives."""
    return StageContext(workspace, Settings(faces=settings), Silence(), Commit("faces", "benchmark"))


def bare(
    file: str, groups: Sequence[int], settings: FacesSettings, model: detectors.Model | None, ready: Any
) -> None:
    """One plain process: Parquet in, decode, detect, hash, forget."""
    decode.use_threads(1)
    detector = detectors.built(settings, model)
    ready.wait()
    with pq.ParquetFile(file) as parquet:
        for group in groups:
            for photo in parquet.read_row_group(group, ["bytes"])["bytes"].to_pylist():
                picture = decode.decode(photo, at_least_px=detector.at_least_px, colour=detector.colour)
                assert picture is not None
                detector.detect(picture.pixels)
                perceptual_hash(picture.pixels)


def time_bare(workspace: Workspace, settings: FacesSettings) -> tuple[float, float]:
    """Seconds of two plain processes: all, and those after both were there with their detector built."""
    (file,) = workspace.files("images")
    n_groups = pq.ParquetFile(file).num_row_groups
    model = detectors.kind(settings.detector).load(settings)
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(PROCESSES + 1)
    started = time.monotonic()
    processes = [
        spawn.Process(target=bare, args=(file, range(k, n_groups, PROCESSES), settings, model, ready))
        for k in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    ready.wait()
    at_work = time.monotonic()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return time.monotonic() - started, time.monotonic() - at_work


def time_stage(workspace: Workspace, settings: FacesSettings) -> float:
    """Seconds of the faces stage, from its start to its last commit."""
    started = time.monotonic()
    report = faces.run(context(workspace, settings))
    assert report.rows_out == report.rows_in
    return time.monotonic() - started


def speed_case(chosen: Chosen) -> None:
    """The stage against two bare processes, in pairs; round 0 also starts Ray's workers."""
    files = list(itertools.islice(photo_files(chosen), chosen.n))
    variants = {name: s for name, s in chosen.variants().items() if "," not in name}
    size = sum(map(len, files)) / len(files) / 1000
    print(f"speed: {len(files)} photos of {SIDE_PX} px, {size:.0f} kB each")
    with tempfile.TemporaryDirectory(prefix="raylike-faces-") as folder, started_ray():
        workspace = with_photos(folder, files)
        for name, settings in variants.items():
            for number in range(chosen.rounds):
                stage_s = time_stage(workspace, settings)
                all_s, work_s = time_bare(workspace, settings)
                print(
                    f"speed: {name}, round {number}: "
                    f"{chosen.n / stage_s:.0f}/s by the stage ({stage_s:.1f} s); "
                    f"two bare processes {chosen.n / all_s:.0f}/s ({all_s:.1f} s): {all_s / stage_s:.0%}; "
                    f"their start left out {chosen.n / work_s:.0f}/s ({work_s:.1f} s): "
                    f"{work_s / stage_s:.0%}",
                    flush=True,
                )


class started_ray:  # noqa: N801  # used as a context manager, like a function
    """Ray for the length of the block; prints how long its start took."""

    def __enter__(self) -> None:
        started = time.monotonic()
        self._session = Session(RaySettings(dashboard=False))
        self._session.wait()
        print(f"Ray started in {time.monotonic() - started:.1f} s", flush=True)

    def __exit__(self, *_: object) -> None:
        self._session.stop()


# Accuracy


Pixels = NDArray[np.uint8]


def rotated(pixels: Pixels, degrees: float) -> Pixels:
    height, width = pixels.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(pixels, turn, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)


def disturbing(change: Callable[[Pixels], Any], quality: int = 90) -> Callable[[bytes], bytes]:
    """A photo file with its BGR pixels changed."""

    def disturbed(file: bytes) -> bytes:
        pixels = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
        changed = np.asarray(change(np.asarray(pixels, np.uint8)), np.uint8)
        return bytes(cv2.imencode(".jpg", changed, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])

    return disturbed


DISTURBANCES: dict[str, Callable[[bytes], bytes]] = {
    "half size": disturbing(lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)),
    "larger": disturbing(lambda p: cv2.resize(p, None, fx=1.4, fy=1.4, interpolation=cv2.INTER_CUBIC)),
    "JPEG quality 25": disturbing(lambda p: p, 25),
    "dark": disturbing(lambda p: 255 * (p / 255) ** 1.8),
    "bright": disturbing(lambda p: 255 * (p / 255) ** 0.6),
    "gray": disturbing(lambda p: cv2.cvtColor(p, cv2.COLOR_BGR2GRAY)),
    "8 degrees left": disturbing(lambda p: rotated(p, 8)),
    "8 degrees right": disturbing(lambda p: rotated(p, -8)),
    "frame": disturbing(
        lambda p: cv2.copyMakeBorder(p, 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=(127,) * 3)
    ),
    "blurred": disturbing(lambda p: cv2.GaussianBlur(p, (0, 0), 1.2)),
}
"""What photos suffer on their way to a network; each of them makes another sample of the same labels."""


@dataclass(frozen=True)
class Labelled:
    """Photos with whether they show a face."""

    name: str
    files: list[bytes]
    labels: NDArray[np.bool_]
    copies: int = 1
    """How often each photo is there, changed; the copies follow each other."""


def labelled(chosen: Chosen) -> Iterator[Labelled]:
    """The photos of the folder that its `labels.csv` names, and those of installed packages."""
    if chosen.photos is not None and (path := chosen.photos / "labels.csv").is_file():
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        files = [(chosen.photos / row["file"]).read_bytes() for row in rows]
        labels = np.array([row["label"] == "face" for row in rows])
        yield Labelled(chosen.photos.name, files, labels)
        disturbed = [disturb(file) for disturb in DISTURBANCES.values() for file in files]
        name = f"{chosen.photos.name}, disturbed in {len(DISTURBANCES)} ways"
        yield Labelled(name, disturbed, np.tile(labels, len(DISTURBANCES)), len(DISTURBANCES))
    paths = [path for path in packaged() if path.is_file()]
    yield Labelled(
        "packages",
        [path.read_bytes() for path in paths],
        np.array([path.name in WITH_FACE for path in paths]),
    )


def packaged() -> Iterator[Path]:
    """Pictures of installed packages."""
    for package, files in PACKAGED.items():
        spec = importlib.util.find_spec(package)
        for name in files if spec and spec.origin else ():
            yield Path(str(spec and spec.origin)).parent / name


def best_confidences(files: Sequence[bytes], settings: FacesSettings) -> tuple[NDArray[np.float64], float]:
    """The surest face of each photo (-inf without one), and ms of CPU time a photo, decoding left out."""
    kind = detectors.kind(settings.detector)
    detector = kind.create(settings, kind.load(settings))
    found, spent_s = [], 0.0
    for file in files:
        picture = decode.decode(file, at_least_px=detector.at_least_px, colour=detector.colour)
        if picture is None:
            found.append(-np.inf)
            continue
        started = time.process_time()
        seen = detector.detect(picture.pixels)
        spent_s += time.process_time() - started
        found.append(seen[0].confidence if seen else -np.inf)
    return np.array(found), 1000 * spent_s / len(files)


def at_cut(confidences: NDArray[np.float64], labels: NDArray[np.bool_], cut: float) -> tuple[Share, Share]:
    """Precision and recall."""
    kept = confidences >= cut
    right = int((kept & labels).sum())
    return share(right, int(kept.sum())), share(right, int(labels.sum()))


def best_cut(confidences: NDArray[np.float64], labels: NDArray[np.bool_], cuts: Sequence[float]) -> float:
    """The middle of the cuts at which the lower of precision and recall is highest."""
    worst = [min(found.value or 0 for found in at_cut(confidences, labels, cut)) for cut in cuts]
    at_best = [cut for cut, value in zip(cuts, worst, strict=True) if value == max(worst)]
    return at_best[len(at_best) // 2]


def split_half(confidences: NDArray[np.float64], photos: Labelled, cuts: Sequence[float]) -> str:
    """Precision and recall of a cut chosen on a random half of the photos and judged on the other.

    The mean of 200 times, and the range that 95 % of them lie in.
    """
    generator, labels = np.random.default_rng(0), photos.labels
    n = labels.size // photos.copies
    photo = np.arange(labels.size) % n  # copies of one photo stay together
    cuts_chosen: list[float] = []
    precisions: list[float] = []
    recalls: list[float] = []
    for _ in range(100):
        first = np.isin(photo, generator.permutation(n)[: n // 2])
        for chosen in (first, ~first):
            cut = best_cut(confidences[chosen], labels[chosen], cuts)
            above = ~chosen & (confidences >= cut)
            right = int((above & labels).sum())
            cuts_chosen.append(cut)
            precisions.append(right / max(1, int(above.sum())))
            recalls.append(right / max(1, int((~chosen & labels).sum())))
    return f"precision {spread(precisions)}, recall {spread(recalls)}, cut {spread(cuts_chosen)}"


def spread(values: Sequence[float]) -> str:
    """The mean, and between which values 95 % lie."""
    low, high = np.quantile(values, (0.025, 0.975))
    return f"{np.mean(values):.3f} ({low:.3f}-{high:.3f})"


def text(found: Share) -> str:
    return "-" if found.value is None else f"{found.value:.3f} ({found.low:.3f}-{found.high:.3f})"


def accuracy_case(chosen: Chosen) -> None:
    """Precision and recall of each detector at several cuts, and with a cut chosen on other photos."""
    decode.use_threads(1)
    for photos in labelled(chosen):
        print(f"accuracy: {photos.name}: {photos.labels.sum()} with a face, {(~photos.labels).sum()} without")
        for name, settings in chosen.variants().items():
            confidences, ms = best_confidences(photos.files, settings)
            default = detectors.min_confidence(settings)
            around = (2, 3, 4, 5, 6, 7) if settings.detector == "haar" else (0.6, 0.65, 0.7, 0.75, 0.8, 0.9)
            fine = np.linspace(0.5, 8, 76) if settings.detector == "haar" else np.linspace(0.4, 0.95, 56)
            halves = split_half(confidences, photos, fine.tolist())
            print(f"  {name}: {ms:.1f} ms of CPU a photo; split-half {halves}")
            for cut in sorted({*map(float, around), default}):
                precision, recall = at_cut(confidences, photos.labels, cut)
                mark = "*" if cut == default else " "
                print(f"    {cut:>5g}{mark} precision {text(precision):<20} recall {text(recall)}")


# Kills


def kills_case(chosen: Chosen) -> None:
    """SIGKILL of a process that is detecting, at a random moment; the table must be an undisturbed run's."""
    files = list(itertools.islice(photo_files(chosen), chosen.n))
    generator, settings = random.Random(0), FacesSettings()
    with tempfile.TemporaryDirectory(prefix="raylike-faces-") as folder, started_ray():
        workspace = with_photos(folder, files)
        time_stage(workspace, settings)  # starts Ray's workers, which later runs find there
        undisturbed_s = time_stage(workspace, settings)
        expected = workspace.read("faces").sort_by("post_id")
        for number in range(chosen.rounds):
            at_s, killed = generator.uniform(0.2, 0.8) * undisturbed_s, list[int]()
            killer = threading.Thread(target=kill_a_detector, args=(at_s, killed))
            killer.start()
            took_s = time_stage(workspace, settings)
            killer.join()
            same = workspace.read("faces").sort_by("post_id").equals(expected)
            verdict = "NOTHING KILLED" if not killed else "same table" if same else "DIFFERENT"
            print(
                f"kills: round {number}: process {killed} killed after {at_s:.1f} s: "
                f"{verdict}, {took_s:.1f} s instead of {undisturbed_s:.1f} s",
                flush=True,
            )


def kill_a_detector(after_s: float, killed: list[int]) -> None:
    """Kill one of this process's workers that is in `find_faces`, as soon as there is one."""
    time.sleep(after_s)
    until = time.monotonic() + 60
    while not killed and time.monotonic() < until:
        for process in psutil.Process().children(recursive=True):
            try:
                if "find_faces" in " ".join(process.cmdline()):
                    process.kill()
                    killed.append(process.pid)
                    break
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.02)


CASES: dict[str, Callable[[Chosen], None]] = {
    "speed": speed_case, "accuracy": accuracy_case, "kills": kills_case,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[[], *CASES])
    parser.add_argument("--photos", type=Path, help="folder of photos, with a labels.csv for accuracy")
    parser.add_argument("--model", type=Path, help="YuNet's ONNX file")
    parser.add_argument("--n", type=int, default=1000, help="photos")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    for case in given.cases or list(CASES):
        CASES[case](Chosen(given.photos, given.model, given.n, given.rounds))


if __name__ == "__main__":
    main()
