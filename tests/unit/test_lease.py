"""The lease: one holder at a time, free again when it is given back, runs out, or its holder is gone."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from deltalake import CommitProperties, DeltaTable

from raylike import lease as module
from raylike.errors import TryAgainLater
from raylike.lease import Holder, Lease
from tests.s3_server import S3Server


@pytest.fixture(params=["folder", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "lock")
    s3: S3Server = request.getfixturevalue("s3")
    return f"{s3.bucket()}/study/lock"


def write_holder(uri: str, **changes: object) -> None:
    """Make somebody else the lease's last holder: here, with an hour left."""
    holder = {
        "token": "other",
        "host": "elsewhere",
        "machine": "other",
        "pid": 7,
        "until": time.time() + 3600,
    }
    metadata = {module.METADATA_KEY: json.dumps({**holder, **changes})}
    delta = DeltaTable(uri)
    delta.create_write_transaction(
        [], "append", delta.schema(), commit_properties=CommitProperties(custom_metadata=metadata)
    )


def taken_and_given_back(uri: str) -> Lease:
    lease = Lease(uri, "the study")
    lease.take()
    lease.give_back()
    return lease


def test_a_second_is_refused_until_the_first_gives_it_back(uri: str) -> None:
    first = Lease(uri, "the study")
    first.take()
    with pytest.raises(TryAgainLater, match=r"the study: is in use by process \d+ on (.|\n)*ends at .* UTC"):
        Lease(uri, "the study").take()
    first.give_back()
    taken_and_given_back(uri)


def test_a_lease_of_another_machine_holds_until_it_runs_out(uri: str) -> None:
    taken_and_given_back(uri)
    write_holder(uri)
    with pytest.raises(TryAgainLater, match="in use by process 7 on elsewhere"):
        Lease(uri, "the study").take()
    write_holder(uri, until=time.time() - 1)
    taken_and_given_back(uri)


def test_of_two_that_find_it_free_one_gets_it(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both looked before either took it."""
    taken_and_given_back(uri)
    seen = DeltaTable(uri)
    first, second = Lease(uri, "the study"), Lease(uri, "the study")
    monkeypatch.setattr(second, "_open", iter([seen, DeltaTable(uri)]).__next__)
    first.take()
    with pytest.raises(TryAgainLater):
        second.take()
    first.check()
    first.give_back()


def test_it_is_renewed_while_it_is_held(tmp_path: Path) -> None:
    uri = str(tmp_path / "lock")
    lease = Lease(uri, "the study", renewed_every_s=0.01)
    lease.take()
    taken = DeltaTable(uri).version()
    while DeltaTable(uri).version() < taken + 3:
        time.sleep(0.01)
    lease.check()
    lease.give_back()


def test_a_holder_notices_that_it_was_taken_over(tmp_path: Path) -> None:
    uri = str(tmp_path / "lock")
    lease = Lease(uri, "the study", renewed_every_s=0.2)
    lease.take()
    write_holder(uri)
    lease._renewing.join()
    with pytest.raises(TryAgainLater, match="was taken over by process 7 on elsewhere"):
        lease.check()
    lease.give_back()
    with pytest.raises(TryAgainLater, match="in use by process 7"):
        Lease(uri, "the study").take()


@pytest.mark.parametrize(
    ("changes", "at_work"),
    [
        ({}, True),
        ({"until": 99.0}, False),
        ({"until": 0.0}, False),
        ({"pid": 2**22 + 1}, False),  # beyond the largest process id that Linux gives out
        ({"pid": 2**22 + 1, "machine": "other"}, True),
    ],
)
def test_who_is_at_work(changes: dict[str, object], at_work: bool) -> None:
    machine = module._machine()
    holder = {"token": "t", "host": "h", "machine": machine, "pid": 1, "until": 101.0, **changes}
    assert Holder(**holder).is_at_work(now=100.0) is at_work  # type: ignore[arg-type]


def test_an_answer_that_was_lost_is_no_refusal(s3: S3Server) -> None:
    uri = f"{s3.bucket()}/study/lock"
    lease = taken_and_given_back(uri)
    lease = Lease(uri, "the study")
    s3.faults(lose=1)
    lease.take()
    lease.give_back()
