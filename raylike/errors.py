"""Every error a user can meet, with what to do about it and the exit code it ends with.

    RaylikeError                 1   something went wrong that no other class describes
    ├── ConfigError              2   a flag, a variable or a line of raylike.toml is not right
    ├── InputDataError          65   what was given to work on cannot be used
    ├── ServiceUnavailable      69   a network, a cluster or a download is not to be reached
    ├── CannotWrite             73   the workspace or an output file cannot be written
    ├── TryAgainLater           75   nothing is wrong, but not now: limits are used up, a lock is held
    ├── CredentialsError        77   no token, a refused one, a token file others can read, no key for s3://
    └── StageError               1   a stage broke; carries the stage's name

Each is built from positional strings alone, so that it survives pickling on its way from a Ray
worker to the driver. A bad photo, a deleted account or a revoked token is not an error but data:
it gets a row with a status. Knows nothing else of raylike.
"""

from __future__ import annotations

INTERRUPTED_EXIT_CODE = 130
"""What a shell expects of a program ended by Ctrl-C (128 + SIGINT)."""


class RaylikeError(Exception):
    """What happened, where, and how to mend it.

    Parameters
    ----------
    what : one sentence, without a full stop: what is wrong
    where : the file, line, address or setting concerned; empty when `what` already says it
    hint : the next thing to try; empty when there is nothing to advise
    """

    exit_code = 1

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(what, where, hint)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class ConfigError(RaylikeError):
    """A setting is unknown, out of range or contradicts another."""

    exit_code = 2


class InputDataError(RaylikeError):
    """The input holds nothing that can be used, or not what it claims to hold."""

    exit_code = 65


class ServiceUnavailable(RaylikeError):
    """Something on the other end of a connection does not answer as it should."""

    exit_code = 69


class CannotWrite(RaylikeError):
    """A file or a folder cannot be created or written."""

    exit_code = 73


class TryAgainLater(RaylikeError):
    """Nothing is broken: limits are used up or somebody else is at work here."""

    exit_code = 75


class CredentialsError(RaylikeError):
    """No token, no valid token, or a token store that others can read; no credentials for the workspace."""

    exit_code = 77


class StageError(RaylikeError):
    """A stage could not do its work with the tables it found."""
