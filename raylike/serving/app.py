"""The page and the HTTP API, as one ASGI application. Nothing that is sent to it is kept.

Its pages fetch nothing from elsewhere, and their policy forbids browsers to. Requests for another host name
are refused, as are those that another site's page makes: a browser would carry either to this machine.

Knows HTTP and results. Knows neither Ray nor models: whoever scores is handed in.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.exceptions import HTTPException
from yarl import URL

from raylike.scoring.results import OK, PhotoScore, Wanted
from raylike.serving.problems import STATUS_OF_CAUSE, Problem, answer
from raylike.serving.uploads import Held, UploadLimits, photos_of

Score = Callable[[Sequence[tuple[str, bytes]], Wanted], Awaitable[list[PhotoScore]]]
"""Photos with their names, and what is wanted of each -> results in their order.

Raises `Problem` where it cannot be done now."""
Ready = Callable[[], Awaitable[bool]]

TEMPLATES = Path(__file__).parent / "templates"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
SAFE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PROBLEM = {
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                },
            }
        }
    }
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "no photo, or no form that can be read", **PROBLEM},
    408: {"description": "the body took too long to come", **PROBLEM},
    413: {"description": "more bytes than are allowed", **PROBLEM},
    415: {"description": "not JPEG, PNG or WebP", **PROBLEM},
    422: {"description": "truncated, corrupt, too small or too many pixels", **PROBLEM},
    503: {"description": "too much to do; try again", **PROBLEM},
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            **{
                f"image/{kind}": {"schema": {"type": "string", "format": "binary"}}
                for kind in ("jpeg", "png", "webp")
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "photo": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            },
        },
    }
}


@dataclass(frozen=True)
class About:
    """What the page says of the model, and which host names are ours.

    Attributes
    ----------
    hosts : names that requests may be for; empty: any
    """

    model: str
    measured_against: str
    notes: tuple[str, ...] = ()
    hosts: frozenset[str] = LOOPBACK


class Meters:
    """What `/metrics` tells, in Prometheus's words."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.photos = Counter(
            "raylike_photos_scored", "Photos by what became of them.", ["status"], registry=self.registry
        )
        self.seconds = Histogram(
            "raylike_score_seconds", "From request to answer.", registry=self.registry,
            buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
        )  # fmt: skip


def create_app(score: Score, ready: Ready, about: About, limits: UploadLimits) -> FastAPI:
    """The application.

    Parameters
    ----------
    ready : whether photos would be scored now
    """
    app = FastAPI(title="raylike", docs_url=None, redoc_url=None, version="1",
                  description="How well would a photo do?")  # fmt: skip
    meters, held = Meters(), Held(limits.max_held_bytes)

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        problem = _foreign(request, about.hosts)
        response = await go_on(request) if problem is None else answer(problem)
        response.headers.update(SAFE_HEADERS)
        return response

    @app.exception_handler(Problem)
    async def refused(request: Request, problem: Problem) -> JSONResponse:
        return answer(problem)

    @app.exception_handler(HTTPException)
    async def not_served(request: Request, error: HTTPException) -> JSONResponse:
        return answer(Problem(error.status_code, "not_served", str(error.detail)))

    @app.exception_handler(RequestValidationError)
    async def not_understood(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return answer(Problem(400, "bad_parameter", f"{first['loc'][-1]}: {first['msg']}"))

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return answer(Problem(500, "internal", "something broke here; the server's log has more"))

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(rendered("page.html.j2", about=about, limits=limits))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(rendered("docs.html.j2", api=app.openapi(), limits=limits))

    @app.get("/page.js", include_in_schema=False)
    async def script() -> Response:
        return Response((TEMPLATES / "page.js").read_bytes(), media_type="text/javascript")

    @app.get("/page.css", include_in_schema=False)
    async def style() -> Response:
        return Response((TEMPLATES / "page.css").read_bytes(), media_type="text/css")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return Response(status_code=204)  # browsers ask for one, and complain of a 404

    @app.get("/healthz", summary="Whether the server is up.")
    async def healthz() -> dict[str, str]:
        return {"status": "up"}

    @app.get("/readyz", summary="Whether photos would be scored now.", responses={503: REFUSALS[503]})
    async def readyz() -> dict[str, str]:
        if not await ready():
            raise Problem(503, "not_ready", "no model process is ready")
        return {"status": "ready"}

    @app.get("/metrics", summary="Counters and times, for Prometheus.")
    async def metrics() -> Response:
        return Response(generate_latest(meters.registry), media_type="text/plain; version=0.0.4")

    @app.post("/v1/score", summary="Score photos.", responses=REFUSALS, openapi_extra=BODY)
    async def score_photos(
        request: Request,
        explain: Annotated[bool, Query(description="also what raised and lowered the score")] = False,
        crops: Annotated[bool, Query(description="also the best crop")] = False,
        neighbours: Annotated[bool, Query(description="also labelled photos that are alike")] = False,
    ) -> dict[str, Any]:
        started = time.perf_counter()
        with held.counting() as count:
            photos = await photos_of(request, limits, count)
            results = await score(photos, Wanted(explain, crops, neighbours))
        meters.seconds.observe(time.perf_counter() - started)
        for result in results:
            meters.photos.labels(result.status).inc()
        first = results[0]
        if all(result.status != OK for result in results):
            raise Problem(STATUS_OF_CAUSE.get(first.status, 422), first.status, first.error or first.status)
        return {
            "model": about.model,
            "measured_against": about.measured_against,
            "notes": list(about.notes),
            "photos": _ranked(results),
        }

    return app


@cache
def _templates() -> Environment:
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)


def rendered(template: str, **values: Any) -> str:
    """A page."""
    return (
        _templates().get_template(template).render(pretty=lambda told: json.dumps(told, indent=2), **values)
    )


def _ranked(results: Sequence[PhotoScore]) -> list[dict[str, Any]]:
    """The results in their order, those that were scored with a rank, 1 the best."""
    scored = [result.score for result in results if result.score is not None]
    told = []
    for result in results:
        rank = None if result.score is None else 1 + sum(other > result.score for other in scored)
        told.append(result.as_json() | ({} if rank is None else {"rank": rank}))
    return told


def _foreign(request: Request, hosts: frozenset[str]) -> Problem | None:
    """Why a request does not come from our own page or a program here; None if it may."""
    try:
        here = URL(f"http://{request.headers.get('host', '')}")
        origin = request.headers.get("origin")
        foreign = origin is not None and URL(origin).authority != here.authority
    except ValueError:
        return Problem(400, "bad_host", "no host can be read")
    if hosts and here.host not in hosts:
        return Problem(421, "other_host", "this server goes by another name")
    return Problem(403, "other_origin", "another site's page asks") if foreign else None
