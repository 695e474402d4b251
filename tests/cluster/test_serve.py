"""Requests go through Ray Serve to model processes; many files through Ray Data, in order."""

from __future__ import annotations

import concurrent.futures
import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from raylike.config import resolve
from raylike.scoring import sources
from raylike.scoring.results import Wanted
from raylike.serving import deployment, many
from raylike.serving.app import About
from raylike.serving.deployment import Service
from raylike.serving.uploads import UploadLimits
from tests.unit.scoring.fakes import green_scorer, patched


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def post(url: str, data: bytes) -> tuple[int, dict[str, object]]:
    request = urllib.request.Request(url, data, {"Content-Type": "image/png"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("processes", [1, 2])
def test_photos_of_many_clients_are_scored_by_model_processes(ray_local: None, processes: int) -> None:
    port = free_port()
    about = About("LinearSVC on greenness", "101 held-out photos")
    deployment.start(Service(green_scorer, about, UploadLimits(100_000), "127.0.0.1", port, processes, 1))
    try:
        url = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{url}/readyz", timeout=30) as answer:
            assert json.load(answer) == {"status": "ready"}
        sides = list(range(40, 240, 10))
        with concurrent.futures.ThreadPoolExecutor(8) as clients:
            photos = [patched(256, 256, 0, 0, side) for side in sides]
            answers = list(clients.map(lambda photo: post(f"{url}/v1/score", photo), photos))
        assert {status for status, _ in answers} == {200}
        scores = [told["photos"][0]["score"] for _, told in answers]  # type: ignore[index]
        assert scores == sorted(scores)
        assert len(set(scores)) > len(sides) / 2

        status, told = post(f"{url}/v1/score?explain=true&crops=true", photos[5])
        assert status == 200
        assert {"heat", "best_crop"} <= set(told["photos"][0])  # type: ignore[index]
        assert post(f"{url}/v1/score", b"no photo")[0] == 415
        assert post(f"{url}/v1/score", bytes(100_001))[0] == 413
    finally:
        deployment.stop()


@pytest.mark.ray
def test_many_photos_are_scored_in_order_and_bad_ones_told(
    ray_local: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "TOGETHER", 3)
    for number in range(20):
        photo = b"no photo" if number % 7 == 3 else patched(256, 256, 0, 0, 40 + 10 * number)
        (tmp_path / f"{number:02d}.png").write_bytes(photo)
    found = sources.expand([str(tmp_path)])
    reader = sources.reader(resolve({}, environ={}).settings)
    results = list(many.score_many(found, green_scorer, reader, Wanted(explanation=False, crop=False)))
    assert [result.photo for result in results] == [source.name for source in found]
    assert [n for n, result in enumerate(results) if result.status != "ok"] == [3, 10, 17]
    scores = [result.score for result in results if result.score is not None]
    assert scores == sorted(scores)
