"""The application on Ray Serve: processes that hold a model and score in batches, and one that speaks HTTP.

A single model process speaks HTTP itself: a process less, and no photo handed from one to the other.

Knows Ray Serve. Knows nothing of routes (`app.py`) or of what scoring is (`raylike/scoring`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raylike import cluster
from raylike.errors import ServiceUnavailable
from raylike.scoring.results import PLAIN, PhotoScore, Wanted
from raylike.scoring.scorer import Scorer
from raylike.serving.app import About, Score, create_app
from raylike.serving.problems import Problem
from raylike.serving.together import Together
from raylike.serving.uploads import UploadLimits

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application

APP, MODELS = "raylike", "Models"
BATCH = 16
"""Photos scored together at most."""
WAITING = 128
"""Photos that may wait for a model process; more are told to come back."""
REQUESTS = 512
"""Under way at once in the process that speaks HTTP."""
TIMEOUT_S = 60.0
"""For scoring one request's photos."""
READY_S = 5.0


@dataclass(frozen=True)
class Service:
    """What is served, and how.

    Attributes
    ----------
    make_scorer : called in each model process
    host, port : to listen at
    processes : that hold a model
    threads : of each
    """

    make_scorer: Callable[[], Scorer]
    about: About
    limits: UploadLimits
    host: str
    port: int
    processes: int
    threads: int


class ModelProcess:
    """A scorer in a process of its own; plain scores of several requests are computed together."""

    def __init__(self, service: Service) -> None:
        import torch

        from raylike.vision import decode

        decode.use_threads(service.threads)
        torch.set_num_threads(service.threads)
        self._scorer = service.make_scorer()
        # One thread: torch keeps a team of threads for each that calls it, and batches take turns anyway.
        self._worker = ThreadPoolExecutor(1)
        self._together = Together(self._batch, BATCH)

    async def plain(self, photo: tuple[str, bytes]) -> PhotoScore:
        """The score of one photo."""
        return await self._together(photo)

    async def detailed(self, photo: tuple[str, bytes], wanted: Wanted) -> PhotoScore:
        """The same with what else is wanted."""
        (result,) = await self._scored([photo], wanted)
        return result

    async def ready(self) -> bool:
        """True, once the model is there."""
        return True

    async def _batch(self, photos: Sequence[tuple[str, bytes]]) -> list[PhotoScore]:
        return await self._scored(photos, PLAIN)

    async def _scored(self, photos: Sequence[tuple[str, bytes]], wanted: Wanted) -> list[PhotoScore]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, self._scorer.score, photos, wanted)


def plan(processes: int | None) -> tuple[int, int]:
    """Model processes, and threads of each: one for every two CPUs, so that HTTP has room beside them."""
    cpus = cluster.cpus()
    n = processes or max(1, cpus // 2)
    return n, max(1, cpus // n)


def start(service: Service) -> None:
    """Serve until `stop`; Ray must be up.

    Raises
    ------
    ServiceUnavailable : if it cannot listen there, or the model processes do not start
    """
    from ray import serve

    cluster.quieten()
    quiet = {"log_level": "ERROR", "enable_access_log": False}
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": service.host, "port": service.port, "request_timeout_s": 2 * TIMEOUT_S},
            logging_config=quiet,
        )
        cluster.quieten()
        serve.run(application(service), name=APP, route_prefix="/", logging_config=quiet)
    except (RuntimeError, OSError) as error:
        raise ServiceUnavailable(
            f"cannot serve: {first(error)}", f"{service.host}:{service.port}", "is another --port free?"
        ) from error


def stop() -> None:
    """End what `start` began."""
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.CRITICAL)
    serve.shutdown()


def application(service: Service) -> Application:
    """Model processes behind one that speaks HTTP, or one that is both."""
    from ray import serve

    if service.processes == 1:
        return serve.deployment(
            serve.ingress(_alone(service))(_Named),
            name=MODELS,
            max_ongoing_requests=REQUESTS,
            ray_actor_options={"num_cpus": 0},
        ).bind()
    models = serve.deployment(
        ModelProcess,
        name=MODELS,
        num_replicas=service.processes,
        max_ongoing_requests=2 * BATCH,
        ray_actor_options={"num_cpus": 0},
    ).bind(service)
    front = serve.deployment(
        serve.ingress(_front(service))(_Named),
        name="Front",
        max_ongoing_requests=REQUESTS,
        ray_actor_options={"num_cpus": 0},
    )
    return front.bind(models)


class _Named:
    """Ray Serve wants a class beside an application; its arguments make the model processes its own."""

    def __init__(self, *models: Any) -> None:
        pass


def _alone(service: Service) -> Callable[[], FastAPI]:
    """What builds the HTTP application beside the model, in the process that is both; Ray Serve tells it by
    its being a function."""

    def build() -> FastAPI:
        model = ModelProcess(service)
        score = scoring_by(model.plain, model.detailed, WAITING)
        return create_app(score, model.ready, service.about, service.limits)

    return build


def _front(service: Service) -> Callable[[], FastAPI]:
    """The same in a process that has the photos scored by others."""

    def build() -> FastAPI:
        from ray import serve

        handle = serve.get_deployment_handle(MODELS, app_name=APP)
        score = scoring_by(handle.plain.remote, handle.detailed.remote, WAITING * service.processes)
        return create_app(score, readiness_of(handle), service.about, service.limits)

    return build


def scoring_by(plain: Callable[..., Any], detailed: Callable[..., Any], most: int) -> Score:
    """Ask a model; too many photos, or one that takes too long, become a `Problem`.

    Parameters
    ----------
    plain, detailed : of a `ModelProcess`, here or in another process
    most : photos that may wait
    """
    waiting = 0

    async def score(photos: Sequence[tuple[str, bytes]], wanted: Wanted) -> list[PhotoScore]:
        nonlocal waiting
        if waiting + len(photos) > most:
            raise Problem(503, "busy", "too many photos wait already")
        waiting += len(photos)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                asked = [detailed(photo, wanted) if wanted else plain(photo) for photo in photos]
                return list(await asyncio.gather(*asked))
        except TimeoutError:
            raise Problem(503, "busy", f"not done after {TIMEOUT_S:g} s") from None
        finally:
            waiting -= len(photos)

    return score


def readiness_of(handle: Any) -> Callable[[], Awaitable[bool]]:
    """Whether a model process answers."""

    async def ready() -> bool:
        try:
            async with asyncio.timeout(READY_S):
                return bool(await handle.ready.remote())
        except Exception:  # whatever Ray says of a process that is not there
            return False

    return ready


def first(error: BaseException) -> str:
    """The first line of an error's text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
