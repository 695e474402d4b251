from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from aiohttp import web
from pydantic import SecretStr

from raylike.commits import Commit
from raylike.config import CollectSettings, Settings, SourceSettings
from raylike.errors import CredentialsError, InputDataError, ServiceUnavailable, TryAgainLater
from raylike.progress import Silence
from raylike.stage import StageContext
from raylike.stages import followers
from raylike.tables import POSTS
from raylike.workspace import Workspace
from tests.unit.providers.v1_server import TOKEN, V1Server

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_local")]

N_USERS = 60


@pytest.fixture
def server() -> Iterator[V1Server]:
    with V1Server() as running:
        running.users = {str(i): 100 + i for i in range(N_USERS)} | {"3": "private", "4": "gone"}
        yield running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A workspace with two posts of every user."""
    now = datetime.now(UTC)
    row = {"provider": "p", "created_at": now, "collected_at": now, "image_url": "u", "likes": 1, "tags": []}
    rows = [{**row, "post_id": str(i), "user_id": str(i % N_USERS)} for i in range(2 * N_USERS)]
    Workspace(tmp_path).write("posts", pa.Table.from_pylist(rows, POSTS.schema), Commit("collect", "f"))
    return tmp_path


def context(server: V1Server, path: Path, *, resume: bool = False, **options: Any) -> StageContext:
    source = SourceSettings(
        name="instagram_v1",
        base_url=server.base_url,
        tokens=tuple(SecretStr(TOKEN.replace("101", str(i))) for i in (1, 2)),
        allow_private_addresses=True,
    )
    collect = CollectSettings(tokens_per_actor=2, **options)
    settings = Settings(source=source, collect=collect)
    return StageContext(Workspace(path), settings, Silence(), Commit("followers", "f"), resume)


def statuses(path: Path) -> dict[str, str]:
    table = Workspace(path).read("users", ["user_id", "status"])
    assert table.num_rows == len(set(table.column("user_id").to_pylist()))
    return dict(zip(*table.to_pydict().values(), strict=True))


def test_every_account_has_a_row(server: V1Server, path: Path) -> None:
    report = followers.run(context(server, path))
    rows = Workspace(path).read("users").sort_by("user_id").to_pylist()
    assert [row["user_id"] for row in rows] == sorted(map(str, range(N_USERS)))
    by_id = {row["user_id"]: row for row in rows}
    assert by_id["3"]["status"] == "private"
    assert by_id["3"]["followers"] is None
    assert by_id["4"]["status"] == "gone"
    assert (by_id["5"]["followers"], by_id["5"]["following"], by_id["5"]["media_count"]) == (105, 280, 120)
    assert (report.rows_in, report.rows_out) == (N_USERS, N_USERS)
    assert report.skipped == {"gone": 1, "private": 1}
    assert report.failed == {}
    assert set(server.hits.values()) == {1}
    commit = Workspace(path).last_commit("users")
    assert commit is not None
    assert commit.complete


def test_a_run_leaves_no_token_behind(server: V1Server, path: Path) -> None:
    secret = TOKEN[4:].encode()
    followers.run(context(server, path))
    left_behind = [file for place in (path, Path(os.environ["RAY_TMPDIR"])) for file in place.rglob("*")]
    texts = [file for file in left_behind if file.is_file()]
    assert any(file.name.startswith("worker-") for file in texts)
    assert [file for file in texts if secret in file.read_bytes()] == []


def test_what_is_in_the_table_is_not_asked_again(server: V1Server, path: Path) -> None:
    followers.run(context(server, path))
    server.hits.clear()
    users = Workspace(path).read("users")
    Workspace(path).write("users", users.slice(0, 50), Commit("followers", "f").partial())
    report = followers.run(context(server, path, resume=True))
    assert sum(server.hits.values()) == 10
    assert report.rows_out == N_USERS
    assert followers.run(context(server, path, resume=True)).rows_out == N_USERS
    assert sum(server.hits.values()) == 10


def test_failed_look_ups_are_rows_and_stay_so(
    server: V1Server, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = lambda request: (
        web.json_response({"meta": {"code": 400, "error_type": "Odd"}}, status=400)
        if request.path.endswith("/9")
        else None
    )
    report = followers.run(context(server, path))
    assert statuses(path)["9"] == "failed"
    assert report.failed == {"look-up": 1}
    assert any("given up: 1 users" in note for note in report.notes)
    server.answer = lambda request: None
    followers.run(context(server, path, resume=True))
    assert statuses(path)["9"] == "failed"
    followers.run(context(server, path))
    assert statuses(path)["9"] == "ok"


def test_a_server_that_never_answers_stops_the_stage(server: V1Server, path: Path) -> None:
    server.answer = lambda request: web.json_response(
        {"meta": {"code": 400, "error_type": "Odd"}}, status=400
    )
    with pytest.raises(ServiceUnavailable, match="Odd"):
        followers.run(context(server, path))
    assert not Workspace(path).rows("users")


def test_used_up_tokens_stop_it_if_told_so_and_it_goes_on_later(path: Path) -> None:
    with V1Server(limit=20, window_s=600.0) as server:
        server.users = {str(i): 1 for i in range(N_USERS)}
        with pytest.raises(TryAgainLater, match="all tokens are used up"):
            followers.run(context(server, path, wait=False))
        assert server.over_limit == 0
        assert Workspace(path).rows("users") == 40
        server.limit = 5000
        server.window_s = 0.001
        followers.run(context(server, path, resume=True))
        assert Workspace(path).rows("users") == N_USERS
        assert sum(server.hits.values()) == N_USERS


def test_revoked_tokens_stop_it_with_what_was_found_kept(server: V1Server, path: Path) -> None:
    server.revoked = {TOKEN.replace("101", "1"), TOKEN.replace("101", "2")}
    with pytest.raises(CredentialsError, match="invalid") as caught:
        followers.run(context(server, path))
    assert TOKEN[4:] not in str(caught.value)


def test_without_posts_there_is_nothing_to_look_up(server: V1Server, tmp_path: Path) -> None:
    with pytest.raises(InputDataError):
        followers.run(context(server, tmp_path))
