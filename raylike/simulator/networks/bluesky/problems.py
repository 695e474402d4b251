"""How the network says that a request cannot be fulfilled."""

from __future__ import annotations


class Problem(Exception):
    """A request that cannot be fulfilled, with the error's name, its words, and the status."""

    def __init__(self, name: str, message: str, status: int = 400) -> None:
        super().__init__(name, message, status)
        self.name = name
        self.status = status
        self.body = {"error": name, "message": message}


NO_TOKEN = Problem("AuthMissing", "Authentication Required", 401)
WRONG_PASSWORD = Problem("AuthenticationRequired", "Invalid identifier or password", 401)
BAD_TOKEN = Problem("InvalidToken", "Token could not be verified")
BAD_SCOPE = Problem("InvalidToken", "Bad token scope")
EXPIRED = Problem("ExpiredToken", "Token has expired")
USED = Problem("ExpiredToken", "Token has been revoked")
LIMITED = Problem("RateLimitExceeded", "Rate Limit Exceeded", 429)
NO_PROFILE = Problem("InvalidRequest", "Profile not found")
NO_METHOD = Problem("XRPCNotSupported", "XRPCNotSupported", 404)
