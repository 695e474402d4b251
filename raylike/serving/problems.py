"""Refusals as RFC 9457 has them: a status, a kind, and what is wrong, as `application/problem+json`.

Knows HTTP's status codes and the causes of `raylike.causes`. Knows nothing of routes.
"""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import JSONResponse

STATUS_OF_CAUSE = {
    "too_large": 413,
    "not_an_image": 415,
    "too_many_pixels": 422,
    "too_small": 422,
    "truncated": 422,
    "corrupt": 422,
}
"""Why a photo cannot be scored -> the status of a request for it alone."""


class Problem(Exception):
    """A request that is refused.

    Parameters
    ----------
    status : of the answer
    kind : a word for programs, such as a cause of `raylike.causes`
    detail : what is wrong, for people
    """

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(status, kind, detail)
        self.status = status
        self.kind = kind
        self.detail = detail


def answer(problem: Problem) -> JSONResponse:
    """The problem as an answer; 503 asks to come back in a moment."""
    told = {
        "type": f"urn:raylike:{problem.kind}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    headers = {"Retry-After": "1"} if problem.status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return JSONResponse(told, problem.status, headers, media_type="application/problem+json")
