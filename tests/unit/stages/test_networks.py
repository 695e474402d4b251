"""Collect, embedded followers and refresh against the simulated networks, each in its own format."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from raylike.commits import Commit
from raylike.config import CollectSettings, Settings, SourceSettings
from raylike.errors import ConfigError, InputDataError
from raylike.progress import Silence
from raylike.providers.base import ALWAYS_HONOURED
from raylike.simulator.networks.instagram_v1.bodies import username
from raylike.simulator.process import Simulator, SimulatorOptions, start
from raylike.simulator.world import AS_OF
from raylike.stage import StageContext, StageReport
from raylike.stages import collect, followers, refresh
from raylike.tables import POSTS
from raylike.tokens.checking import check, choose
from raylike.tokens.text import TokenText
from raylike.workspace import Workspace

USERS = 150


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions of Bluesky are kept there."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with start(SimulatorOptions(users=USERS, tokens=12)) as running:
        yield running


def context(
    simulator: Simulator,
    path: Path,
    name: str,
    stage: str = "collect",
    *,
    resume: bool = False,
    **options: Any,
) -> StageContext:
    source = SourceSettings(
        name=name,  # type: ignore[arg-type]  # checked by pydantic
        base_url=simulator.networks[name],
        tokens=simulator.logins.get(name, simulator.tokens),
        allow_private_addresses=True,
        accounts=options.pop("accounts", ()),
    )
    settings = Settings(source=source, collect=CollectSettings(as_of=AS_OF, **options))
    return StageContext(Workspace(path), settings, Silence(), Commit(stage, "f"), resume)


def collected(simulator: Simulator, path: Path, name: str, **options: Any) -> tuple[StageReport, pa.Table]:
    report = collect.run(context(simulator, path, name, **options))
    return report, Workspace(path).read("posts").sort_by("post_id")


@pytest.mark.parametrize("name", ["mastodon", "instagram_graph"])
def test_followers_that_come_with_posts_cost_no_hit(
    simulator: Simulator, workspace_path: Path, name: str
) -> None:
    accounts = tuple(username(row) for row in range(USERS)) if name == "instagram_graph" else ()
    report, posts = collected(simulator, workspace_path, name, accounts=accounts)
    assert report.rows_out == posts.num_rows > 50
    assert report.rows_in == posts.num_rows + sum(report.skipped.values())
    hits = sum(simulator.stats()["hits"])
    looked_up = followers.run(context(simulator, workspace_path, name, "followers"))
    assert sum(simulator.stats()["hits"]) == hits
    users = Workspace(workspace_path).read("users")
    assert set(users["user_id"].to_pylist()) == set(posts["user_id"].to_pylist())
    assert looked_up.rows_out == users.num_rows
    assert pc.min(users["followers"]).as_py() >= 0
    known = dict(zip(posts["user_id"].to_pylist(), posts["followers"].to_pylist(), strict=True))
    assert all(known[row["user_id"]] == row["followers"] for row in users.to_pylist())


def test_what_people_object_to_is_left_out_and_counted(simulator: Simulator, workspace_path: Path) -> None:
    report, posts = collected(simulator, workspace_path / "a", "mastodon")
    left_out = {reason for reason in report.skipped if reason in set(ALWAYS_HONOURED)}
    assert len(left_out) >= 3
    more, fewer = collected(
        simulator, workspace_path / "b", "mastodon", also_honour=("not_discoverable", "locked")
    )
    assert set(fewer["post_id"].to_pylist()) < set(posts["post_id"].to_pylist())
    assert {"account approves its followers", "account has not agreed to be recommended"} & set(more.skipped)


def test_accounts_that_are_not_there_are_named(simulator: Simulator, workspace_path: Path) -> None:
    there = next(row for row in range(USERS) if _is_read(simulator, workspace_path / str(row), username(row)))
    strangers = tuple(f"nobody{i:02}" for i in range(12))
    report, _ = collected(
        simulator, workspace_path / "all", "instagram_graph", accounts=(username(there), *strangers)
    )
    pages, missing = report.notes
    assert pages.endswith("pages of #me by 13 accounts")
    assert missing == f"not found, or not shown: {', '.join(strangers[:10])} and 2 more"


def _is_read(simulator: Simulator, path: Path, account: str) -> bool:
    """Whether an account can be read, and has posts to show."""
    try:
        collected(simulator, path, "instagram_graph", accounts=(account,))
    except InputDataError:
        return False
    return True


def test_checking_a_login_keeps_its_session_for_the_next_time(simulator: Simulator, tmp_path: Path) -> None:
    login = next(iter(simulator.logins["bluesky"])).get_secret_value()
    asked, _ = choose(TokenText.parse([f"anna={login}"], "x"), "bluesky", simulator.networks["bluesky"])
    kept = []
    for _ in range(2):
        (row,) = asyncio.run(check(asked, allow_private=True))
        assert row.state == "ok"
        kept += [file.read_text() for file in (tmp_path / "state").rglob("*.json")]
    assert len(kept) == 2
    assert kept[0] == kept[1]


def test_several_timelines_end_as_one_after_the_other(
    simulator: Simulator, workspace_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = tuple(username(row) for row in range(60))
    _, together = collected(simulator, workspace_path / "a", "instagram_graph", accounts=accounts)
    monkeypatch.setattr(collect, "MOST_TIMELINES", 1)
    _, one_by_one = collected(simulator, workspace_path / "b", "instagram_graph", accounts=accounts)
    assert together.drop_columns("collected_at") == one_by_one.drop_columns("collected_at")


def test_a_killed_run_leaves_open_timelines_where_they_were(
    simulator: Simulator, workspace_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = tuple(username(row) for row in range(60))
    _, undisturbed = collected(simulator, workspace_path / "a", "instagram_graph", accounts=accounts)
    monkeypatch.setattr(collect, "PAGES_PER_COMMIT", 7)

    class Killed(BaseException):
        pass

    real, pages = collect._Taken.add, []

    def dies_at_the_thirtieth(self: Any, *args: Any) -> None:
        pages.append(args)
        if len(pages) == 30:
            self.commit = lambda: None  # a killed process writes nothing more
            raise Killed
        real(self, *args)

    options = {"accounts": accounts}
    with monkeypatch.context() as patch:
        patch.setattr(collect._Taken, "add", dies_at_the_thirtieth)
        with pytest.raises(Killed):
            collect.run(context(simulator, workspace_path / "b", "instagram_graph", **options))
    collect.run(context(simulator, workspace_path / "b", "instagram_graph", resume=True, **options))
    found = Workspace(workspace_path / "b").read("posts").sort_by("post_id")
    assert found.drop_columns("collected_at") == undisturbed.drop_columns("collected_at")


def test_a_hashtag_without_owners_is_told_so(simulator: Simulator, workspace_path: Path) -> None:
    _, posts = collected(simulator, workspace_path, "instagram_graph")
    assert set(posts["user_id"].to_pylist()) == {""}
    with pytest.raises(InputDataError, match=r"nobody says who posted(.|\n)*--accounts"):
        followers.run(context(simulator, workspace_path, "instagram_graph", "followers"))


@pytest.mark.parametrize("name", ["instagram_v1", "mastodon", "bluesky"])
def test_a_refresh_keeps_the_history_and_renews_the_likes(
    simulator: Simulator, workspace_path: Path, name: str
) -> None:
    _, posts = collected(simulator, workspace_path, name)
    workspace = Workspace(workspace_path)
    fewer = posts.set_column(POSTS.schema.get_field_index("likes"), "likes", pc.subtract(posts["likes"], 1))
    before = workspace.last_commit("posts")
    assert before is not None
    workspace.write("posts", fewer, before.again_in("r"))
    report = refresh.run(context(simulator, workspace_path, name, "refresh"))
    after, readings = workspace.read("posts").sort_by("post_id"), workspace.read("readings")
    assert readings.num_rows == 2 * posts.num_rows
    gone = set(readings.filter(pc.field("status") == "gone")["post_id"].to_pylist())
    assert report.failed.get("gone", 0) == len(gone)
    for old, new in zip(posts.to_pylist(), after.to_pylist(), strict=True):
        assert new["likes"] == old["likes"] - (new["post_id"] in gone)
    last = workspace.last_commit("posts")
    assert last is not None
    assert (last.stage, last.fingerprint, last.complete) == ("collect", "f", True)
    assert last.data_version > before.data_version


def test_an_interrupted_refresh_asks_for_the_rest_alone(
    simulator: Simulator, workspace_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, posts = collected(simulator, workspace_path, "instagram_v1")

    class Killed(BaseException):
        pass

    real, written = Workspace.append, []

    def dies_at_the_fourth(self: Workspace, *args: Any) -> None:
        written.append(args)
        if len(written) >= 4:
            raise Killed
        real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(refresh, "COMMIT_EVERY_S", 0.0)
        patch.setattr(Workspace, "append", dies_at_the_fourth)
        with pytest.raises(Killed):
            refresh.run(context(simulator, workspace_path, "instagram_v1", "refresh"))
    kept = Workspace(workspace_path).rows("readings") - posts.num_rows
    assert 0 < kept < posts.num_rows
    hits = sum(simulator.stats()["hits"])
    refresh.run(context(simulator, workspace_path, "instagram_v1", "refresh"))
    assert sum(simulator.stats()["hits"]) - hits == posts.num_rows - kept
    assert Workspace(workspace_path).rows("readings") == 2 * posts.num_rows


def test_a_network_that_cannot_show_known_posts_says_so(simulator: Simulator, workspace_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot show known posts"):
        refresh.run(context(simulator, workspace_path, "instagram_graph", "refresh"))
