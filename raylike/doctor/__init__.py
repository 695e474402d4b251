"""Before a run: what on this machine, on a cluster's nodes and in the settings would let it end badly.

Looks, and changes nothing, except that a workspace in a bucket is locked for a moment to see whether it
can be written. Knows which facts and checks belong to which settings.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from raylike import cluster, source, tokens
from raylike.config import Settings
from raylike.doctor import checks
from raylike.doctor.checks import Finding
from raylike.doctor.facts import MachineFacts, survey
from raylike.errors import CannotWrite, ConfigError, RaylikeError, TryAgainLater
from raylike.providers import NETWORKS
from raylike.vision import alexnet, weight_files
from raylike.workspace import Workspace

__all__ = ["Finding", "examine"]

HTTPS_PORT = 443


def examine(workspace: Workspace, settings: Settings) -> list[Finding]:
    """Look at everything that a run under these settings would need.

    With `ray.address` other than `local`, at every node of that cluster as well.
    """
    necessary = _necessary(settings)
    wanted = [*necessary, *_useful(settings)]
    pairs = [(host, int(port)) for host, _, port in (address.rpartition(":") for address in wanted)]
    folders = [workspace.uri] if workspace.is_local else []
    here = survey(folders, pairs)
    findings = [_workspace(workspace), *_tokens(settings), *_weights(settings)]
    findings += checks.machine(here, settings, necessary)
    if settings.ray.address == "local":
        findings.append(checks.gpus([here], settings.device))
        return [*findings, *checks.exposure([here], None)]
    try:
        with closing(_Joined(settings)) as joined:
            findings += _cluster(joined, here, settings, necessary, partial(survey, [], pairs))
    except RaylikeError as error:
        findings.append(checks.bad("Ray", "", error))
    return findings


class _Joined:
    """A cluster, for as long as it is looked at."""

    def __init__(self, settings: Settings) -> None:
        self._session = cluster.Session(settings.ray)
        self._session.wait()
        self.dashboard_url = self._session.dashboard_url

    def close(self) -> None:
        """Leave it."""
        self._session.stop()


def _cluster(
    joined: _Joined,
    here: MachineFacts,
    settings: Settings,
    necessary: dict[str, str],
    look: partial[MachineFacts],
) -> Iterator[Finding]:
    answers = cluster.on_every_node(look)
    for answer in answers:
        if answer.error:
            yield Finding("Ray", answer.node, "bad", answer.error, "is raylike installed there?", 69)
    nodes = [answer.value for answer in answers if answer.value is not None]
    yield checks.ok("Ray", "", f"{len(answers)} nodes, {cluster.cpus()} CPUs at {settings.ray.address}")
    yield from checks.versions(here, nodes)
    for answer in answers:
        if answer.value is not None:
            middle = (answer.asked_at + answer.answered_at) / 2
            half = (answer.answered_at - answer.asked_at) / 2
            yield checks.clock(answer.value.name, answer.value.clock - middle, half)
            yield from checks.machine(answer.value, settings, necessary)
    yield checks.gpus(nodes, settings.device)
    yield from checks.exposure(nodes, _asks_for_token(joined.dashboard_url))


def _necessary(settings: Settings) -> dict[str, str]:
    """`host:port` without which a run ends, and what it is for."""
    needed: dict[str, str] = {}
    if settings.source.name in NETWORKS and settings.source.name != "simulator":
        address = settings.source.base_url or source.network(settings).home
        if address:
            needed[_host_and_port(address, settings.source.resolve)] = f"{settings.source.name}'s API"
    if _weights_to_fetch(settings) and not settings.features.allow_random:
        needed[_host_and_port(alexnet.FILE.url, {})] = "trained weights"
    return needed


def _useful(settings: Settings) -> list[str]:
    """`host:port` without which a run goes on, as the settings allow it."""
    fetching = _weights_to_fetch(settings) and settings.features.allow_random
    return [_host_and_port(alexnet.FILE.url, {})] if fetching else []


def _host_and_port(url: str, resolve: dict[str, str]) -> str:
    parts = urlsplit(url)
    port = parts.port or (HTTPS_PORT if parts.scheme == "https" else 80)
    return resolve.get(parts.hostname or "", f"{parts.hostname}:{port}")


def _weights_to_fetch(settings: Settings) -> bool:
    """Whether AlexNet's trained weights are wanted and are not on this machine."""
    chosen = settings.features
    trained = chosen.backbone == "alexnet" and chosen.weights == "imagenet" and chosen.weights_file is None
    return trained and not weight_files.cached(alexnet.FILE).is_file()


def _weights(settings: Settings) -> Iterator[Finding]:
    chosen = settings.features
    if chosen.weights_file is not None:
        if chosen.weights_file.is_file():
            yield checks.ok("weights", "", str(chosen.weights_file))
        else:
            error = ConfigError(
                "there is no such file", str(chosen.weights_file), "see features.weights_file"
            )
            yield checks.bad("weights", "", error)
    elif chosen.weights == "random":
        yield checks.warning("weights", "", "random, as the settings say: features mean little")
    elif _weights_to_fetch(settings):
        says = f"{alexnet.FILE.name} is not in {weight_files.folder()}"
        if chosen.allow_random:
            hint = (
                "they are fetched if they can be had; otherwise features are random, and everything says so"
            )
            yield checks.warning("weights", "", says, hint)
        else:
            yield checks.ok("weights", "", f"{says}, and will be fetched")
    elif chosen.backbone == "alexnet":
        yield checks.ok("weights", "", str(weight_files.cached(alexnet.FILE)))


def _tokens(settings: Settings) -> Iterator[Finding]:
    if settings.source.name in ("simulator", "files"):
        return
    try:
        credentials = tokens.load(settings.source)
    except RaylikeError as error:
        yield checks.bad("tokens", "", error)
    else:
        says = f"{len(credentials)} for {settings.source.name}"
        yield checks.ok("tokens", "", f"{says}; `raylike tokens check` asks whether they are good")


def _workspace(workspace: Workspace) -> Finding:
    """Whether it can be written. A folder that is not there yet is not made."""
    try:
        if workspace.is_local:
            there = next(
                path for path in (Path(workspace.uri), *Path(workspace.uri).parents) if path.exists()
            )
            if not there.is_dir() or not os.access(there, os.W_OK):
                raise CannotWrite(
                    "is no folder that can be written", str(there), "choose another --workspace"
                )
        else:
            with workspace.lock():
                pass
    except TryAgainLater as error:
        return checks.warning("workspace", "", f"{error.where}: {error.what}", error.hint)
    except RaylikeError as error:
        return checks.bad("workspace", "", error)
    return checks.ok("workspace", "", f"{workspace.uri} can be written")


def _asks_for_token(dashboard_url: str) -> bool | None:
    """Whether Ray's dashboard turns away somebody without its token; None if it cannot be asked."""
    if not dashboard_url:
        return None
    try:
        with urllib.request.urlopen(f"{dashboard_url}/api/version", timeout=5):
            return False
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)
    except OSError:
        return None
