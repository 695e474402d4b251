"""Hand a run to a cluster as a Ray job: the code and the settings of here, the packages and secrets of there.

What travels is this raylike's source and one settings file; both can be read by whoever can see the job,
so no token is among them. Tokens are where the job runs, in RAYLIKE_TOKENS or in a file there. Packages are
those that the cluster was set up with (cluster.yaml, the image), or, with `install`, the versions of here.

Knows Ray's job server. Knows nothing of stages.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import tomli_w

from raylike import cluster
from raylike.config import CONFIG_FILE, Layer, Resolved
from raylike.errors import ConfigError, ServiceUnavailable

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

HOUSES = ("actors", "cli", "raylike")
"""The packages that are sent."""
NOT_SENT = {"source.tokens", "ray.address"}
"""Settings that stay here: secrets, and where Ray is, which the job knows by itself."""
LOST_FOR_S = 60.0
"""So long a job server may not answer before a job is no longer followed."""
LOOK_EVERY_S = 1.0
STARTS_WITHIN_S = 60.0
"""The process of Ray that takes jobs, some seconds after the head."""
NOT_STARTED = "No available agent"
"""What Ray answers until then."""

ENDED = {"SUCCEEDED": 0, "FAILED": 1, "STOPPED": 130}
"""What a job ends as, and the exit code where Ray does not know the program's own."""


class Jobs:
    """The job server of a cluster, at the address of its dashboard.

    Raises
    ------
    ServiceUnavailable : if it does not answer, or turns us away
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = _connect(address)

    def submit(
        self, workspace: str, arguments: Sequence[str], chosen: Resolved, *, install: bool = False
    ) -> str:
        """Begin `raylike run-all --workspace WORKSPACE ARGUMENTS` there, and return the job's id.

        Parameters
        ----------
        workspace : an address that means the same there
        arguments : options of `run-all` other than settings
        chosen : those settings that are no defaults travel
        install : have Ray install the packages of here on each node, at their versions

        Raises
        ------
        ConfigError : for a workspace in a folder relative to the job's own
        ServiceUnavailable : if the server does not take the job
        """
        if "://" not in workspace and not Path(workspace).is_absolute():
            hint = "s3://BUCKET/PREFIX, or the whole path of a folder that all machines share"
            raise ConfigError("would be lost with the job", f"--workspace {workspace}", hint)
        with TemporaryDirectory(prefix="raylike-job-") as folder:
            pack(Path(folder), chosen)
            environment: dict[str, Any] = {"working_dir": folder}
            if install:
                environment["uv"] = {"packages": packages()}
            return self._submitted(entrypoint(["--workspace", workspace, *arguments]), environment)

    def _submitted(self, command: str, environment: dict[str, Any]) -> str:
        """The id of the job. A cluster that has only just started is waited for."""
        end = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                identity: str = self._client.submit_job(
                    entrypoint=command, runtime_env=environment, metadata={"raylike": version("raylike")}
                )
            except (RuntimeError, OSError) as error:
                if NOT_STARTED not in str(error) or time.monotonic() > end:
                    raise _no_jobs(self.address, error) from None
                time.sleep(LOOK_EVERY_S)
            else:
                return identity

    def follow(self, identity: str, say: Callable[[str], None]) -> int:
        """Hand on what the job prints until it ends, and return its exit code.

        Raises
        ------
        ServiceUnavailable : if the job server has not answered for a minute; the job may go on
        """
        return asyncio.run(self._follow(identity, say))

    async def _follow(self, identity: str, say: Callable[[str], None]) -> int:
        said, answered = 0, time.monotonic()
        while True:
            try:
                position = 0
                async for text in self._client.tail_job_logs(identity):  # after a break, from its beginning
                    answered = time.monotonic()
                    if position + len(text) > said:
                        say(text[max(0, said - position) :])
                        said = position + len(text)
                    position += len(text)
                job = await asyncio.to_thread(self._client.get_job_info, identity)
                if str(job.status) in ENDED:
                    return ENDED[str(job.status)] if job.driver_exit_code is None else job.driver_exit_code
                answered = time.monotonic()
            except (RuntimeError, OSError) as error:
                if time.monotonic() - answered > LOST_FOR_S:
                    hint = f"when it does: ray job logs {identity} --follow --address {self.address}"
                    raise ServiceUnavailable(f"no longer answers: {error}", self.address, hint) from None
            await asyncio.sleep(LOOK_EVERY_S)


def pack(folder: Path, chosen: Resolved) -> None:
    """Put into a folder what travels: our source, and the settings that are no defaults."""
    here = Path(__file__).parents[1]
    for house in HOUSES:
        shutil.copytree(here / house, folder / house, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / CONFIG_FILE).write_text(tomli_w.dumps(travelling(chosen)), encoding="utf-8")


def travelling(chosen: Resolved) -> Layer:
    """The settings that somebody chose: not defaults, and nothing that has to stay here.

    The preset is named, so that its values are those of the raylike that travels along.
    """
    values = chosen.settings.model_dump(mode="json", exclude_none=True, exclude={"source": {"tokens"}})
    layer: Layer = {"preset": chosen.settings.preset}
    for path, origin in chosen.origins.items():
        section, _, field = path.rpartition(".")
        if path in NOT_SENT or origin == "default" or origin.startswith("preset "):
            continue
        value = values[section].get(field) if section else values[field]
        if value is not None:
            (layer.setdefault(section, {}) if section else layer)[field] = value
    return layer


def entrypoint(arguments: Sequence[str]) -> str:
    """The job's command: its driver joins the Ray that it runs on.

    It leaves the folder that Ray has unpacked for the job: another node on the same machine unpacks there
    again, and oneMKL, under torch, ends a process whose working directory is gone.
    """
    given = shlex.join(["--address", "auto", *arguments])
    return f'cd / && python -m cli.main run-all --config "$OLDPWD/{CONFIG_FILE}" {given}'


def packages() -> list[str]:
    """The packages that raylike needs, and those that they need, each at the version of here."""
    from packaging.requirements import Requirement

    found: dict[str, str] = {}
    waiting = ["raylike"]
    while waiting:
        for line in requires(waiting.pop()) or ():
            needed = Requirement(line)
            if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
                continue
            name = needed.name.lower().replace("_", "-")
            with suppress(PackageNotFoundError):
                if name not in found:
                    found[name] = version(name)
                    waiting.append(name)
    return [f"{name}=={number}" for name, number in sorted(found.items())]


def _connect(address: str) -> JobSubmissionClient:
    try:
        cluster.reach(address)
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(address)
    except (OSError, RuntimeError, ValueError) as error:
        raise _no_jobs(address, error) from None


def _no_jobs(address: str, error: Exception) -> ServiceUnavailable:
    why = getattr(error, "strerror", None) or str(error).strip().splitlines()[0].rstrip(".")
    hint = "it is the dashboard's address; `ray dashboard cluster.yaml` opens a tunnel to it"
    if NOT_STARTED in str(error):
        hint = "does another Ray on the head's machine hold port 52365? then `ray start` takes another:"
        hint += " --dashboard-agent-listen-port"
    return ServiceUnavailable(f"takes no jobs: {why}", address, hint)
