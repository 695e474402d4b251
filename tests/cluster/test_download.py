"""The download stage on a real Ray: tables, resumption, processes that die."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from aiohttp import web

from actors.downloads import DownloadOptions, WorkerDied, download
from actors.lanes import Traffic
from raylike.commits import Commit
from raylike.config import Settings, resolve
from raylike.errors import CannotWrite, InputDataError, ServiceUnavailable
from raylike.progress import Silence
from raylike.stage import StageContext, StageReport
from raylike.stages import download as stage
from raylike.tables import COHORT, POSTS
from raylike.workspace import Workspace
from tests.hostile_files import FILES, STATUS
from tests.pictures import photo

pytestmark = pytest.mark.ray

HOST = "photos.test"
N = 24
CONTENTS = [photo(320, 240, shade) for shade in range(N)]
EPOCH = datetime(2015, 10, 1, tzinfo=UTC)


class Server:
    """Serves `/N.jpg` on loopback from a thread, and counts what it is asked for."""

    def __init__(self) -> None:
        self.hits: list[str] = []
        self.missing: set[str] = set()
        self.port = 0

    def run(self, ready: threading.Event, stop: threading.Event) -> None:
        async def serve() -> None:
            app = web.Application()
            app.router.add_get("/{name}.jpg", self.answer)
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = runner.addresses[0][1]
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.02)
            await runner.cleanup()

        asyncio.run(serve())

    async def answer(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.hits.append(name)
        if name in self.missing:
            raise web.HTTPNotFound
        return web.Response(body=CONTENTS[int(name)], content_type="image/jpeg")


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    ready, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=served.run, args=(ready, stop))
    thread.start()
    ready.wait(10)
    yield served
    stop.set()
    thread.join(10)


def fill(workspace: Workspace, places: list[str], provider: str = "simulator") -> None:
    """A workspace with these posts; the cohort leaves out the last."""
    posts = [
        {
            "post_id": f"p{i:03d}",
            "provider": provider,
            "user_id": "u",
            "created_at": EPOCH,
            "collected_at": EPOCH,
            "image_url": place,
            "likes": 1,
            "tags": [],
        }
        for i, place in enumerate(places)
    ]
    cohort = [
        {
            "post_id": post["post_id"],
            "user_id": "u",
            "likes": 1,
            "kept": post is not posts[-1],
            "reason": "",
        }
        for post in posts
    ]
    workspace.write("posts", pa.Table.from_pylist(posts, schema=POSTS.schema), Commit("collect", "f"))
    workspace.write("cohort", pa.Table.from_pylist(cohort, schema=COHORT.schema), Commit("cohort", "f"))


def settings_for(server: Server, **download: Any) -> Settings:
    source = {"resolve": {HOST: f"127.0.0.1:{server.port}"}}
    return resolve({"source": source, "download": {"attempts": 1, **download}}, environ={}).settings


def run(
    workspace: Workspace, settings: Settings, *, resume: bool = False, retry: str | None = None
) -> StageReport:
    commit = Commit("download", "f")
    return stage.run(StageContext(workspace, settings, Silence(), commit, resume, retry))


def contents(workspace: Workspace) -> list[dict[str, Any]]:
    """The rows of `images` by post, but for when they were fetched."""
    return workspace.read("images").drop_columns(["fetched_at"]).sort_by("post_id").to_pylist()


def addresses() -> list[str]:
    return [f"http://{HOST}/{i}.jpg" for i in range(N)]


def test_the_cohorts_photos_are_there_with_their_facts(
    ray_local: None, workspace_path: Path, server: Server
) -> None:
    workspace = Workspace(workspace_path)
    fill(workspace, addresses())
    server.missing = {"3", "7"}
    report = run(workspace, settings_for(server, commit_every=10))
    rows = contents(workspace)
    assert [row["post_id"] for row in rows] == [f"p{i:03d}" for i in range(N - 1)]
    assert rows[0]["bytes"] == CONTENTS[0]
    assert rows[0]["status"] == "ok"
    assert rows[3]["status"] == "gone"
    assert rows[3]["bytes"] is None
    assert (report.rows_in, report.rows_out, dict(report.failed)) == (N - 1, N - 1, {"gone": 2})
    last = workspace.last_commit("images")
    assert last is not None
    assert last.complete
    assert len(workspace.files("images")) >= 3


def test_a_rerun_fetches_what_is_missing_and_nothing_else(
    ray_local: None, workspace_path: Path, server: Server
) -> None:
    workspace = Workspace(workspace_path)
    fill(workspace, addresses()[:11])
    run(workspace, settings_for(server))
    before = contents(workspace)
    server.hits.clear()
    fill(workspace, addresses())
    run(workspace, settings_for(server), resume=True)
    assert sorted(server.hits, key=int) == [str(i) for i in range(10, N - 1)]
    assert contents(workspace)[:10] == before
    server.hits.clear()
    run(workspace, settings_for(server), resume=False)
    assert len(server.hits) == N - 1
    assert len(contents(workspace)) == N - 1


def test_the_table_is_there_before_the_processes_write(
    ray_local: None, workspace_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def nothing(*_: Any) -> Iterator[Any]:
        seen.append(Workspace(workspace_path).exists("images"))
        return iter(())

    monkeypatch.setattr(stage, "download", nothing)
    fill(Workspace(workspace_path), addresses())
    run(Workspace(workspace_path), settings_for(server, actors=2), resume=True)
    assert seen == [True]


def test_failures_are_tried_again_by_cause_and_nothing_else_is(
    ray_local: None, workspace_path: Path, server: Server
) -> None:
    workspace = Workspace(workspace_path)
    places = addresses()
    places[5] = "http://127.0.0.1:1/5.jpg"
    fill(workspace, places)
    server.missing = {"3", "7", "9"}
    first = run(workspace, settings_for(server, commit_every=4))
    assert dict(first.failed) == {"gone": 3, "refused_address": 1}
    before = contents(workspace)
    server.missing = {"7"}
    server.hits.clear()
    second = run(workspace, settings_for(server, commit_every=2), resume=True, retry="gone")
    assert sorted(server.hits) == ["3", "7", "9"]
    assert dict(second.failed) == {"gone": 1, "refused_address": 1}
    assert second.rows_out == N - 1
    after = contents(workspace)
    assert [row["status"] for row in after if row["post_id"] in ("p003", "p007", "p009")] == [
        "ok",
        "gone",
        "ok",
    ]
    assert [row for row in after if row["post_id"] not in ("p003", "p009")] == [
        row for row in before if row["post_id"] not in ("p003", "p009")
    ]
    server.missing = set()
    assert dict(run(workspace, settings_for(server), resume=True, retry="all").failed) == {
        "refused_address": 1
    }


def test_a_retry_that_is_broken_off_loses_nothing(
    ray_local: None, workspace_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(workspace_path)
    fill(workspace, addresses())
    server.missing = {str(i) for i in range(12)}
    run(workspace, settings_for(server))
    server.missing = set()
    honest, commits = Workspace.commit_parts, []

    def dies_at_the_third(self: Workspace, *arguments: Any, **options: Any) -> None:
        commits.append(arguments)
        if len(commits) == 3:
            raise KeyboardInterrupt
        honest(self, *arguments, **options)

    monkeypatch.setattr(Workspace, "commit_parts", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(workspace, settings_for(server, commit_every=4), resume=True, retry="all")
    monkeypatch.undo()
    statuses = [row["status"] for row in contents(workspace)]
    assert len(statuses) == N - 1
    assert statuses.count("gone") == 8
    run(workspace, settings_for(server), resume=True, retry="all")
    assert {row["status"] for row in contents(workspace)} == {"ok"}
    assert len(contents(workspace)) == N - 1


def test_batches_and_processes_do_not_change_the_table(
    ray_local: None, workspace_path: Path, server: Server
) -> None:
    tables = []
    for i, (actors, commit_every) in enumerate([(1, 100), (2, 3)]):
        workspace = Workspace(workspace_path / str(i))
        fill(workspace, addresses())
        run(workspace, settings_for(server, actors=actors, commit_every=commit_every))
        tables.append(contents(workspace))
    assert tables[0] == tables[1]


def test_imported_files_are_read(
    ray_local: None, workspace_path: Path, tmp_path: Path, server: Server
) -> None:
    paths = [tmp_path / f"{i}.jpg" for i in range(4)]
    for path, data in zip(paths, CONTENTS, strict=False):
        path.write_bytes(data)
    paths[1].unlink()
    workspace = Workspace(workspace_path)
    fill(workspace, [str(path) for path in paths], provider="files")
    run(workspace, settings_for(server))
    assert [row["status"] for row in contents(workspace)] == ["ok", "gone", "ok"]


def test_a_folder_of_a_thousand_hostile_files_is_accounted_for_by_cause(
    ray_local: None, workspace_path: Path, tmp_path: Path, server: Server
) -> None:
    names = [name for name, _ in zip(cycle(FILES), range(1000), strict=False)]
    paths = [tmp_path / f"{i}.jpg" for i in range(1001)]  # the last is left out by `fill`
    for path, name in zip(paths, names, strict=False):
        path.write_bytes(FILES[name])
    paths[0].unlink()
    paths[0].mkdir()
    paths[1].unlink()
    os.mkfifo(paths[1])
    paths[2].unlink()
    expected = Counter(STATUS.get(name, "ok") for name in names[3:])
    expected.update(["unreadable", "not_an_image", "gone"])
    workspace = Workspace(workspace_path)
    fill(workspace, [str(path) for path in paths], provider="files")
    settings = settings_for(server, max_bytes=200_000, max_pixels=1_000_000, min_side_px=16)
    report = run(workspace, settings)
    assert Counter(row["status"] for row in contents(workspace)) == expected
    assert report.rows_out == 1000
    assert dict(report.failed) == {cause: n for cause, n in expected.items() if cause != "ok"}
    assert any(line.split()[:2] == ["gone", "1"] for line in report.notes)


def test_when_nothing_can_be_had_the_next_run_tries_again(
    ray_local: None, workspace_path: Path, server: Server
) -> None:
    workspace = Workspace(workspace_path)
    fill(workspace, [f"http://127.0.0.1:{server.port}/{i}.jpg" for i in range(3)])
    with pytest.raises(ServiceUnavailable, match="refused_address 2"):
        run(workspace, settings_for(server))
    server.missing = {"0", "1"}
    fill(workspace, addresses()[:3])
    with pytest.raises(InputDataError, match="gone 2"):
        run(workspace, settings_for(server), resume=True)
    assert contents(workspace) == []
    server.missing = set()
    run(workspace, settings_for(server), resume=True)
    assert [row["status"] for row in contents(workspace)] == ["ok", "ok"]


class Deadly(stage.PhotoJob):
    """Kills its process when a part has ended, as often as there are lives in a file."""

    def __init__(self, lives: Path, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._lives = lives
        self._finished = 0

    def finish_part(self) -> Any:
        self._finished += 1
        deaths = len(self._lives.read_bytes())
        parts = super().finish_part()
        if self._finished > 1 and deaths:
            self._lives.write_bytes(bytes(deaths - 1))
            os.kill(os.getpid(), 9)  # written, but nobody will ever hear of it
        return parts


def deadly_batches(
    workspace: Workspace, server: Server, lives: Path, deaths: int, restarts: int
) -> list[list[int]]:
    """Download by a process that dies; commit the parts as the stage does, and return their items."""
    lives.write_bytes(bytes(deaths))
    settings = settings_for(server)
    fill(workspace, addresses())
    resolve_to = dict(settings.source.resolve)
    make_job = partial(Deadly, lives, workspace, settings.download, resolve_to, False)
    seen = []
    options = DownloadOptions(part_rows=5, write_rows=2, restarts=restarts)
    for batch in download(make_job, stage._wanted(workspace), options):
        if batch.stored is not None:
            workspace.commit_parts("images", batch.stored, Commit("download", "f", complete=False))
            seen.append(list(batch.done))
    return seen


def test_a_killed_downloader_loses_no_photo_and_doubles_none(
    ray_local: None, workspace_path: Path, tmp_path: Path, server: Server
) -> None:
    workspace = Workspace(workspace_path)
    seen = deadly_batches(workspace, server, tmp_path / "lives", deaths=2, restarts=3)
    assert sorted(place for batch in seen for place in batch) == list(range(N - 1))
    undisturbed = Workspace(workspace_path / "undisturbed")
    fill(undisturbed, addresses())
    run(undisturbed, settings_for(server))
    assert contents(workspace) == contents(undisturbed)


class Slow(stage.PhotoJob):
    """Kills its process at the tenth photo, once: five are stored by then, and four more were told of."""

    def __init__(self, mark: Path, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._mark = mark

    async def fetch(self, item: stage.Photo) -> dict[str, Any]:
        if not self._mark.exists():
            await asyncio.sleep(0.15)
            if item.post_id == "p009":
                self._mark.touch()
                os.kill(os.getpid(), 9)
        return await super().fetch(item)


def test_photos_that_went_with_a_process_are_counted_back(
    ray_local: None, workspace_path: Path, tmp_path: Path, server: Server
) -> None:
    workspace, settings = Workspace(workspace_path), settings_for(server)
    fill(workspace, addresses())
    resolve_to = dict(settings.source.resolve)
    make_job = partial(Slow, tmp_path / "died", workspace, settings.download, resolve_to, False)
    options = DownloadOptions(part_rows=5, traffic=Traffic(in_flight=1))
    told = [batch.counts.get("ok", 0) for batch in download(make_job, stage._wanted(workspace), options)]
    assert min(told) < 0
    assert sum(told) == N - 1


class FullDisk(stage.PhotoJob):
    """Finds no room for its sixth row."""

    _written = 0

    def write(self, rows: list[dict[str, Any]]) -> None:
        self._written += len(rows)
        if self._written > 5:
            raise CannotWrite("cannot be written: No space left on device", "images", "make room")
        super().write(rows)


def test_a_full_disk_ends_the_run_with_its_own_error_and_costs_nothing_committed(
    ray_local: None, workspace_path: Path, server: Server
) -> None:
    workspace, settings = Workspace(workspace_path), settings_for(server)
    fill(workspace, addresses())
    make_job = partial(FullDisk, workspace, settings.download, dict(settings.source.resolve), False)

    def download_all() -> None:
        for batch in download(make_job, stage._wanted(workspace), DownloadOptions(part_rows=5)):
            if batch.stored is not None:
                workspace.commit_parts("images", batch.stored, Commit("download", "f", complete=False))

    with pytest.raises(CannotWrite, match="No space left"):
        download_all()
    assert len(contents(workspace)) == 5
    run(workspace, settings, resume=True)
    assert [row["status"] for row in contents(workspace)] == ["ok"] * (N - 1)


def test_a_downloader_that_always_dies_ends_the_run_with_what_there_is(
    ray_local: None, workspace_path: Path, tmp_path: Path, server: Server
) -> None:
    workspace = Workspace(workspace_path)
    with pytest.raises(WorkerDied, match="downloader-0"):
        deadly_batches(workspace, server, tmp_path / "lives", deaths=100, restarts=1)
    assert contents(workspace)
