"""A workspace on a simulated S3 that fails, is slow, or refuses: survived, or one clear line and its code."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from raylike.errors import CannotWrite, CredentialsError, RaylikeError, ServiceUnavailable, TryAgainLater
from raylike.object_store import explained, require_credentials
from raylike.workspace import Workspace
from tests.s3_server import S3Server
from tests.unit.test_workspace import COMMIT, users, write_part

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def workspace(s3: S3Server) -> Workspace:
    workspace = Workspace(f"{s3.bucket()}/study")
    workspace.write("users", users("a"), COMMIT)
    return workspace


def raylike(*arguments: str, without: Collection[str] = (), **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command; the variables `without` are not in its environment."""
    environment = {name: value for name, value in os.environ.items() if name not in without} | more
    return subprocess.run(
        [sys.executable, "-c", "from cli.main import app; app()", *arguments],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "faults",
    [{"fail": 3, "status": 500}, {"fail": 3, "status": 503}, {"delay_s": 0.05}, {"lose": 1}],
    ids=["500", "503", "slow", "lost answer"],
)
def test_a_store_that_stumbles_is_survived_and_no_row_is_there_twice(
    s3: S3Server, workspace: Workspace, faults: dict[str, float]
) -> None:
    s3.faults(**faults)
    workspace.append("users", users("b"), COMMIT)
    s3.faults(**faults)
    part = write_part(workspace, users("c"))
    s3.faults(**faults)
    workspace.commit_parts("users", [part], COMMIT)
    s3.faults(**faults)
    assert sorted(workspace.read("users")["user_id"].to_pylist()) == ["a", "b", "c"]
    s3.faults(**faults)
    with workspace.lock():
        assert workspace.rows("users") == 3
    s3.faults(**faults)
    assert workspace.read_file(workspace.files("users")[0]).num_rows == 1


def test_a_read_only_bucket_can_be_read_and_says_so_when_written(s3: S3Server, workspace: Workspace) -> None:
    s3.faults(read_only=True)
    assert workspace.keys("users") == {"a"}
    with pytest.raises(CannotWrite, match="may not write there"), workspace.lock():
        pass
    with pytest.raises(CannotWrite, match="may not write there"):
        workspace.write_part("users", users("b"))
    with pytest.raises(CannotWrite, match="may not write there"):
        workspace.seal("users", COMMIT)


def test_a_missing_bucket_is_named(s3: S3Server) -> None:
    missing = Workspace("s3://studies-without-a-bucket/study")
    with pytest.raises(CannotWrite, match="s3://studies-without-a-bucket/study: there is no such bucket"):
        missing.write("users", users("a"), COMMIT)
    with pytest.raises(CannotWrite, match="there is no such bucket"), missing.lock():
        pass


def test_a_commit_after_the_lock_was_lost_is_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace.lock():
        assert workspace._lease is not None
        monkeypatch.setattr(workspace._lease, "_taken_by", "process 7 on elsewhere")
        with pytest.raises(TryAgainLater, match="taken over by process 7"):
            workspace.append("users", users("b"), COMMIT)
    assert workspace.keys("users") == {"a"}


@pytest.mark.parametrize(
    ("case", "code", "says"),
    [
        ("no credentials", 77, "no credentials were found for it"),
        ("no bucket", 73, "there is no such bucket"),
        ("read-only", 73, "these credentials may not write there"),
        ("no answer", 69, "does not answer: Connection refused"),
    ],
)
def test_a_run_that_cannot_begin_says_why_in_a_line(
    s3: S3Server, workspace: Workspace, case: str, code: int, says: str
) -> None:
    uri = "s3://studies-without-a-bucket/study" if case == "no bucket" else workspace.uri
    s3.faults(read_only=case == "read-only")
    nobody = "http://127.0.0.1:1"
    done = raylike(
        "run-all", "--workspace", uri, "--json",
        without=CREDENTIALS if case == "no credentials" else (),
        AWS_METADATA_ENDPOINT=nobody,
        **({"AWS_ENDPOINT_URL": nobody} if case == "no answer" else {}),
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    line, hint = done.stderr.strip().splitlines()
    assert line.startswith(f"raylike: {uri}: ")
    assert says in line
    assert hint.startswith("  hint: ")
    assert json.loads(done.stdout.splitlines()[-1])["exit_code"] == code


def test_commands_work_on_a_store(workspace: Workspace) -> None:
    assert "users" in raylike("status", "--workspace", workspace.uri).stdout
    exported = raylike("export", "users", "--workspace", workspace.uri, "-o", "-", "--format", "csv")
    assert exported.stdout.splitlines()[1].startswith("a,1,"), exported.stderr
    assert raylike("vacuum", "--workspace", workspace.uri).returncode == 0


@pytest.mark.parametrize("command", ["export users -o - --format csv", "vacuum"])
def test_commands_say_in_a_line_that_credentials_are_missing(workspace: Workspace, command: str) -> None:
    nobody = "http://127.0.0.1:1"
    done = raylike(
        *command.split(), "--workspace", workspace.uri, without=CREDENTIALS, AWS_METADATA_ENDPOINT=nobody
    )  # fmt: skip
    assert done.returncode == 77, done.stderr
    assert len(done.stderr.strip().splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "writing", "expected"),
    [
        (
            "403 Forbidden: <Code>SignatureDoesNotMatch</Code>",
            True,
            CredentialsError,
        ),
        ("AWS Error EXPIRED_TOKEN during HeadObject operation", False, CredentialsError),
        ("AWS Error ACCESS_DENIED during GetObject operation", False, CredentialsError),
        ("AWS Error ACCESS_DENIED during PutObject operation", True, CannotWrite),
        ("When resolving region for bucket 'b': Bucket 'b' not found", False, CannotWrite),
        ("AWS Error SLOW_DOWN during PutObject operation (HTTP status 503)", True, ServiceUnavailable),
        (
            "\x1b[31m↳\x1b[0m after 10 retries\n ↳ 503 Service Unavailable",
            True,
            ServiceUnavailable,
        ),
        ("Kernel error\n ↳ an error occurred while loading credentials", False, CredentialsError),
        ("Parquet magic bytes not found in footer", False, None),
    ],
)
def test_what_a_store_says_in_a_users_words(
    text: str, writing: bool, expected: type[RaylikeError] | None
) -> None:
    found = explained(OSError(text), "s3://b/study", writing=writing)
    assert type(found) is (type(None) if expected is None else expected)
    assert "\x1b" not in str(found)


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")


@pytest.fixture
def metadata(no_credentials: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Something that listens where an instance would have its metadata."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield


@pytest.mark.usefixtures("no_credentials")
def test_without_any_credentials_no_store_is_asked() -> None:
    with pytest.raises(CredentialsError, match="s3://b/study: no credentials were found for it"):
        require_credentials("s3://b/study")
    require_credentials("gs://b/study")
    require_credentials("/a/folder")


@pytest.mark.usefixtures("no_credentials")
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"])
def test_a_variable_for_credentials_is_enough_to_ask(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "somebody")
    require_credentials("s3://b/study")


@pytest.mark.usefixtures("no_credentials")
def test_a_file_of_credentials_is_enough_to_ask(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").touch()
    require_credentials("s3://b/study")


@pytest.mark.usefixtures("metadata")
def test_an_instances_role_is_asked_for_unless_that_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    require_credentials("s3://b/study")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(CredentialsError):
        require_credentials("s3://b/study")
