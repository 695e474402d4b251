from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from raylike.commits import Commit
from raylike.config import CollectSettings, Settings, SourceSettings
from raylike.errors import CredentialsError, InputDataError, ServiceUnavailable, TryAgainLater
from raylike.progress import Silence
from raylike.stage import StageContext
from raylike.stages import collect
from raylike.workspace import Workspace
from tests.unit.providers.v1_server import RATE_ERROR, TOKEN, V1Server, media, meta_error

OTHER = TOKEN.replace("101", "102")
AS_OF = datetime(2015, 11, 1, tzinfo=UTC)
YESTERDAY = str(int(AS_OF.timestamp()) - 86400)


@pytest.fixture
def server() -> Iterator[V1Server]:
    with V1Server() as running:
        running.posts = [media(i, by=i % 7) for i in range(23)]
        yield running


def context(
    server: V1Server, path: Path, *, tokens: tuple[str, ...] = (TOKEN,), resume: bool = False, **options: Any
) -> StageContext:
    source = SourceSettings(
        name="instagram_v1",
        base_url=options.pop("base_url", server.base_url),
        tokens=tuple(map(SecretStr, tokens)),
        allow_private_addresses=True,
    )
    settings = Settings(source=source, collect=CollectSettings(as_of=AS_OF, **options))
    return StageContext(Workspace(path), settings, Silence(), Commit("collect", "f"), resume)


def ids(path: Path) -> list[str]:
    return sorted(Workspace(path).read("posts", ["post_id"]).column("post_id").to_pylist())


def test_every_post_that_can_be_used_and_the_reasons_for_the_rest(
    server: V1Server, workspace_path: Path
) -> None:
    server.posts += [
        media(100, type="video"),
        media(101, likes={}),
        media(102, created_time=YESTERDAY),
        media(3, by=3, likes={"count": 99}),
        media(103, id=None),
    ]
    report = collect.run(context(server, workspace_path))
    assert ids(workspace_path) == sorted(f"{i}_{i % 7}" for i in range(23))
    assert report.skipped == {
        "malformed": 1, "no like count": 1, "not an image": 1, "seen before": 1, "too young": 1,
    }  # fmt: skip
    assert (report.rows_in, report.rows_out) == (28, 23)
    row = Workspace(workspace_path).read("posts").sort_by("post_id").slice(0, 1).to_pylist()[0]
    assert row["provider"] == "instagram_v1"
    assert row["likes"] == 37
    commit = Workspace(workspace_path).last_commit("posts")
    assert commit is not None
    assert commit.complete


def test_a_killed_run_asks_for_no_committed_page_again(
    server: V1Server, workspace_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.posts[0] = media(0, type="video")
    monkeypatch.setattr(collect, "PAGES_PER_COMMIT", 2)
    undisturbed = collect.run(context(server, workspace_path / "a"))
    server.pages_asked.clear()

    class Killed(BaseException):
        pass

    real, commits = Workspace.append, []

    def dies_at_the_second(self: Workspace, *args: Any) -> None:
        commits.append(args)
        if len(commits) == 2:
            raise Killed
        real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "append", dies_at_the_second)
        with pytest.raises(Killed):
            collect.run(context(server, workspace_path / "b"))
    asked_before = len(server.pages_asked)
    report = collect.run(context(server, workspace_path / "b", resume=True))
    assert ids(workspace_path / "b") == ids(workspace_path / "a")
    assert report == undisturbed
    assert len(server.pages_asked) - 5 <= 2
    assert asked_before == 5


def test_resuming_a_finished_walk_asks_nothing(server: V1Server, workspace_path: Path) -> None:
    first = collect.run(context(server, workspace_path))
    server.pages_asked.clear()
    assert collect.run(context(server, workspace_path, resume=True)) == first
    assert server.pages_asked == []


def test_starting_afresh_replaces_the_table(server: V1Server, workspace_path: Path) -> None:
    collect.run(context(server, workspace_path))
    server.posts = server.posts[:4]
    assert collect.run(context(server, workspace_path)).rows_out == 4
    assert len(ids(workspace_path)) == 4


def test_it_stops_at_max_posts(server: V1Server, workspace_path: Path) -> None:
    assert collect.run(context(server, workspace_path, max_posts=8)).rows_out == 8
    assert len(server.pages_asked) == 2


def test_a_tag_without_usable_posts(server: V1Server, workspace_path: Path) -> None:
    server.posts = [media(1, type="video")]
    with pytest.raises(InputDataError, match=r"#me.*1 not an image"):
        collect.run(context(server, workspace_path))
    server.posts = []
    with pytest.raises(InputDataError, match="it is empty"):
        collect.run(context(server, workspace_path))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (web.json_response, "This tag cannot be viewed"),
        (web.Response, "HTML"),
    ],
)
def test_a_network_that_refuses_is_one_line(
    server: V1Server, workspace_path: Path, answer: Any, text: str
) -> None:
    def refuse(request: web.Request) -> web.Response:
        if answer is web.json_response:
            return web.json_response(
                meta_error("APINotAllowedError", "This tag cannot be viewed"), status=400
            )
        return web.Response(text="<html>welcome</html>", content_type="text/html")

    server.answer = refuse
    with pytest.raises(ServiceUnavailable, match=text) as caught:
        collect.run(context(server, workspace_path))
    assert "\n" not in str(caught.value).split("\n  hint")[0]
    assert TOKEN not in str(caught.value)


def test_nobody_there(server: V1Server, workspace_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.paced.Backoff.pause_s", lambda self, failures: 0.0)
    with pytest.raises(ServiceUnavailable, match="no connection"):
        collect.run(context(server, workspace_path, base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(ServiceUnavailable, match=r"TLS|certificate"):
        collect.run(context(server, workspace_path, base_url=server.base_url.replace("http", "https")))


def test_a_bad_token_is_put_aside_and_only_bad_ones_stop(server: V1Server, workspace_path: Path) -> None:
    server.revoked = {TOKEN}
    assert collect.run(context(server, workspace_path, tokens=(TOKEN, OTHER))).rows_out == 23
    server.revoked = {TOKEN, OTHER}
    with pytest.raises(CredentialsError) as caught:
        collect.run(context(server, workspace_path, tokens=(TOKEN, OTHER)))
    assert TOKEN not in str(caught.value)


def test_all_tokens_are_used_and_none_over_its_limit(workspace_path: Path) -> None:
    with V1Server(limit=3, window_s=0.3) as server:
        server.posts = [media(i) for i in range(48)]
        options = {"tokens": (TOKEN, OTHER), "rate_limit": "3/0.3"}
        assert collect.run(context(server, workspace_path, **options)).rows_out == 48
        assert server.over_limit == 0
        assert len(server.hits_by_token) == 2


def test_it_stops_rather_than_waits_if_told_so(server: V1Server, workspace_path: Path) -> None:
    server.answer = lambda request: (
        web.json_response(RATE_ERROR, status=429) if server.pages_asked[2:] else None
    )
    with pytest.raises(TryAgainLater, match="all tokens are used up"):
        collect.run(context(server, workspace_path, wait=False))
    server.answer = lambda request: None
    assert collect.run(context(server, workspace_path, resume=True)).rows_out == 23
    assert len(server.pages_asked) == 5


def test_it_runs_where_a_loop_is_running_already(server: V1Server, workspace_path: Path) -> None:
    async def notebook() -> int:
        return collect.run(context(server, workspace_path)).rows_out

    assert asyncio.run(notebook()) == 23


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "#me: 33 posts a hit, 118,800 an hour at 1 s a hit at most"),
        ({"max_posts": 66}, "#me, 66 posts: 2 hits on 1 token with 5000 hits in 3600 s each, about 2 s"),
    ],
)
def test_what_it_will_take_is_said_before(
    server: V1Server, workspace_path: Path, options: dict[str, Any], said: str
) -> None:
    notes: list[str] = []

    class Heard(Silence):
        def note(self, text: str) -> None:
            notes.append(text)

    collect.run(replace(context(server, workspace_path, **options), progress=Heard()))
    assert notes[0].startswith(said)
