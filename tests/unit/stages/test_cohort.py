"""Every post is kept or dropped for a reason, and the figures say what the band did."""

from __future__ import annotations

from pathlib import Path

import pytest

from raylike.errors import StageError
from raylike.stages import cohort
from raylike.workspace import Workspace
from tests.unit.stages.learning_workspace import context, write_posts, write_users

ORDINARY = {f"user{i}": 80 + 5 * i for i in range(9)}


def rows(path: Path) -> dict[str, dict[str, object]]:
    return {row["user_id"]: row for row in Workspace(path).read("cohort").to_pylist()}


def test_each_dropped_post_has_its_reason(tmp_path: Path) -> None:
    odd: dict[str, int | None] = {
        "none": 0,
        "few": 1,
        "star": 10**7,
        "shy": None,
        "left": None,
        "broken": None,
    }
    users = {**ORDINARY, **odd}
    write_posts(tmp_path, [*users, "unknown"], likes=[10] * (len(users) + 1))
    write_users(tmp_path, users, {"shy": "private", "left": "gone", "broken": "failed"})
    report = cohort.run(context(tmp_path, "cohort", cohort={"factor": 3.0}))
    found = rows(tmp_path)
    assert {user: found[user]["reason"] for user in [*odd, "unknown"]} == {
        "none": "zero followers",
        "few": "too few followers",
        "star": "too many followers",
        "shy": "account private",
        "left": "account gone",
        "broken": "look-up failed",
        "unknown": "not looked up",
    }
    assert all(found[user]["kept"] and found[user]["reason"] == "" for user in ORDINARY)
    assert found["user4"]["ratio"] == pytest.approx(0.1)
    assert found["none"]["ratio"] is None
    assert found["shy"]["followers"] is None
    assert (report.rows_in, report.rows_out, sum(report.skipped.values())) == (16, 9, 7)
    assert report.skipped["account private"] == 1
    # Of the 11 posts whose account has followers: (900 + 1 + 10^7) / 11.
    assert "mean 909,173" in report.notes[0]
    assert "median 100, MAD 10" in report.notes[1]


@pytest.mark.parametrize(("scale", "kept"), [("raw", 3), ("log", 5)])
def test_the_logarithm_widens_the_band_upwards(tmp_path: Path, scale: str, kept: int) -> None:
    users = {"a": 10, "b": 100, "c": 1000, "d": 10_000, "e": 1}
    write_posts(tmp_path, list(users), likes=[1] * 5)
    write_users(tmp_path, users)
    cohort.run(context(tmp_path, "cohort", cohort={"scale": scale, "factor": 1.4}))
    assert sum(bool(row["kept"]) for row in rows(tmp_path).values()) == kept


def test_equal_followers_keep_everybody_at_the_median_and_say_so(tmp_path: Path) -> None:
    users = {"a": 50, "b": 50, "c": 50, "d": 49}
    write_posts(tmp_path, list(users), likes=[1] * 4)
    write_users(tmp_path, users)
    report = cohort.run(context(tmp_path, "cohort"))
    assert (report.rows_out, dict(report.skipped)) == (3, {"too few followers": 1})
    assert "MAD is 0" in report.notes[-1]


def test_no_posts_and_no_kept_posts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="there are no posts"):
        cohort.run(context(tmp_path, "cohort"))
    write_posts(tmp_path, ["a", "b"], likes=[1, 1])
    with pytest.raises(StageError, match="no post is left of 2: not looked up 2"):
        cohort.run(context(tmp_path, "cohort"))
