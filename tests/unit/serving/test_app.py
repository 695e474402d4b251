"""The HTTP API without Ray: photos in, scores out; every refusal has a status and a reason."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from raylike.scoring.results import PhotoScore, Wanted
from raylike.serving.app import About, create_app
from raylike.serving.problems import Problem
from raylike.serving.uploads import Held, UploadLimits
from tests.hostile_files import FILES, STATUS
from tests.pictures import encode, photo
from tests.unit.scoring.fakes import green_scorer, patched

LIMITS = UploadLimits(max_bytes=200_000, max_photos=4, max_body_bytes=500_000)
ABOUT = About("LinearSVC on <greenness>", "101 held-out photos", ("its weights are random",))
JPEG = {"Content-Type": "image/jpeg"}


async def score(photos: Sequence[tuple[str, bytes]], wanted: Wanted) -> list[PhotoScore]:
    return green_scorer().score(photos, wanted)


async def ready() -> bool:
    return True


def client(score: Any = score, ready: Any = ready, limits: UploadLimits = LIMITS, **about: Any) -> TestClient:
    app = create_app(score, ready, replace(ABOUT, **about), limits)
    return TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def http() -> TestClient:
    return client()


def refused(response: Any, status: int, kind: str) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told = response.json()
    assert (told["status"], told["type"]) == (status, f"urn:raylike:{kind}")
    return str(told["detail"])


def test_a_photo_as_the_body_is_scored(http: TestClient) -> None:
    told = http.post("/v1/score", content=patched(256, 256, 0, 0, 128), headers=JPEG).json()
    (found,) = told["photos"]
    assert (found["status"], found["rank"]) == ("ok", 1)
    assert 0 < found["percentile"] < 100
    assert "raised" not in found
    assert told["notes"] == ["its weights are random"]


def test_several_photos_of_a_form_are_ranked_and_bad_ones_are_told(http: TestClient) -> None:
    sides = {"small": 60, "large": 200}
    form = [("photo", (name, patched(256, 256, 0, 0, side), "image/png")) for name, side in sides.items()]
    form.insert(1, ("photo", ("bad", b"no photo", "image/png")))
    told = http.post("/v1/score?explain=true&crops=true", files=form).json()["photos"]
    assert [found["photo"] for found in told] == ["small", "bad", "large"]
    assert [found.get("rank") for found in told] == [2, None, 1]
    assert told[1]["status"] == "not_an_image"
    assert {"raised", "lowered", "heat", "best_crop"} <= set(told[0])


@pytest.mark.parametrize(("name", "cause"), STATUS.items())
def test_a_hostile_file_is_refused_with_a_reason(http: TestClient, name: str, cause: str) -> None:
    status = {"too_large": 413, "not_an_image": 415}.get(cause, 422)
    if name == "nothing":
        status, cause = 400, "no_photo"
    assert refused(http.post("/v1/score", content=FILES[name], headers=JPEG), status, cause)


def test_no_photo_is_kept_not_even_for_a_moment(http: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a file was made")

    monkeypatch.setattr(tempfile, "TemporaryFile", never)
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", never)
    large = FILES["photo"] + bytes(150_000)
    response = http.post("/v1/score", files=[("photo", ("a", large, "image/jpeg"))] * 3)
    assert response.status_code == 200, response.text


def test_a_body_that_is_announced_or_turns_out_too_large_is_cut_off(http: TestClient) -> None:

    assert refused(http.post("/v1/score", content=bytes(200_001), headers=JPEG), 413, "too_large")
    form = [("photo", (str(n), bytes(190_000), "image/png")) for n in range(3)]
    assert refused(http.post("/v1/score", files=form), 413, "too_large")
    one = [("photo", ("a", bytes(200_001), "image/png"))]
    assert refused(http.post("/v1/score", files=one), 413, "too_large")


def test_a_form_that_is_none_or_holds_too_much_is_refused(http: TestClient) -> None:
    form = [("photo", (str(n), photo(64, 64), "image/jpeg")) for n in range(5)]
    assert refused(http.post("/v1/score", files=form), 400, "bad_form")
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        response = http.post("/v1/score", content=b"nonsense", headers={"Content-Type": kind})
        assert response.status_code == 400, response.text
    assert refused(http.post("/v1/score", data={"photo": "text"}), 415, "not_an_image")


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    slow = client(limits=replace(LIMITS, timeout_s=0.0))
    assert refused(slow.post("/v1/score", content=photo(), headers=JPEG), 408, "timeout")


def test_a_parameter_that_cannot_be_read_is_named(http: TestClient) -> None:
    response = http.post("/v1/score?explain=perhaps", content=photo(), headers=JPEG)
    assert "explain" in refused(response, 400, "bad_parameter")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/score", 405), ("GET", "/nothing", 404)])
def test_what_is_not_served_is_a_problem_too(http: TestClient, method: str, path: str, status: int) -> None:
    refused(http.request(method, path), status, "not_served")


def test_overload_asks_to_come_back() -> None:
    async def busy(*_: object) -> list[PhotoScore]:
        raise Problem(503, "busy", "too many photos wait already")

    response = client(busy).post("/v1/score", content=photo(), headers=JPEG)
    refused(response, 503, "busy")
    assert response.headers["retry-after"] == "1"


def test_bytes_under_way_are_bounded_over_all_requests_and_given_back() -> None:
    held = Held(100)
    with held.counting() as one, held.counting() as other:
        one(60)
        other(40)
        with pytest.raises(Problem, match="busy"):
            other(1)
    with held.counting() as next_one:
        next_one(100)
    small = client(limits=replace(LIMITS, max_held_bytes=1000))
    for _ in range(2):
        refused(small.post("/v1/score", content=photo(), headers=JPEG), 503, "busy")


def test_what_breaks_says_nothing_of_the_inside() -> None:
    async def broken(*_: object) -> list[PhotoScore]:
        raise RuntimeError("secret")

    response = client(broken).post("/v1/score", content=photo(), headers=JPEG)
    assert "secret" not in refused(response, 500, "internal")


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"Host": "evil.example"}, 421, "other_host"),
        ({"Host": "127.0.0.1:8000", "Origin": "http://evil.example"}, 403, "other_origin"),
        ({"Host": "127.0.0.1:8000", "Origin": "http://127.0.0.1:9000"}, 403, "other_origin"),
        ({"Host": "127.0.0.1:8000", "Origin": "null"}, 403, "other_origin"),
    ],
)
def test_other_sites_pages_and_other_names_are_refused(
    http: TestClient, headers: dict[str, str], status: int, kind: str
) -> None:
    refused(http.post("/v1/score", content=photo(), headers={**JPEG, **headers}), status, kind)


def test_our_own_page_may_ask(http: TestClient) -> None:
    for host in ("127.0.0.1:8000", "localhost:8000", "[::1]:8000"):
        headers = {**JPEG, "Host": host, "Origin": f"http://{host}"}
        assert http.post("/v1/score", content=photo(), headers=headers).status_code == 200
    anywhere = client(hosts=frozenset())
    assert anywhere.get("/healthz", headers={"Host": "photos.example"}).status_code == 200


def test_health_and_readiness(http: TestClient) -> None:
    async def not_ready() -> bool:
        return False

    assert http.get("/healthz").json() == {"status": "up"}
    assert http.get("/readyz").json() == {"status": "ready"}
    down = client(ready=not_ready)
    assert down.get("/healthz").status_code == 200
    refused(down.get("/readyz"), 503, "not_ready")


def test_metrics_count_photos_by_what_became_of_them() -> None:
    http = client()
    http.post("/v1/score", content=photo(), headers=JPEG)
    http.post("/v1/score", content=b"no photo", headers=JPEG)
    text = http.get("/metrics").text
    assert 'raylike_photos_scored_total{status="ok"} 1.0' in text
    assert 'raylike_photos_scored_total{status="not_an_image"} 1.0' in text
    assert "raylike_score_seconds_count 2.0" in text


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_fetch_nothing_from_elsewhere_and_hold_no_script_of_their_own(
    http: TestClient, path: str
) -> None:
    response = http.get(path)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "LinearSVC on <greenness>" not in response.text
    assert not re.search(r"<script>|<style|style=|\son\w+=|(?:src|href)=\"(?!/)", response.text)
    for asset in re.findall(r"(?:src|href)=\"(/[^\"]*)\"", response.text):
        assert http.get(asset).status_code == 200


def test_the_api_describes_itself(http: TestClient) -> None:
    operation = http.get("/openapi.json").json()["paths"]["/v1/score"]["post"]
    assert {"200", "400", "408", "413", "415", "422", "503"} <= set(operation["responses"])
    assert "multipart/form-data" in operation["requestBody"]["content"]
    text = http.get("/docs").text
    assert all(word in text for word in ("POST /v1/score", "explain", "GET /readyz"))


def test_a_photo_that_is_turned_is_scored_upright(http: TestClient) -> None:
    turned = encode(np.zeros((200, 300, 3), np.uint8), orientation=6)
    (found,) = http.post("/v1/score", content=turned, headers=JPEG).json()["photos"]
    assert (found["width"], found["height"]) == (200, 300)
