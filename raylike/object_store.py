"""What an object store refused, in a user's words: no credentials, no bucket, no permission, no answer.

Two libraries speak to it, Delta Lake's and Arrow's, and neither has a class for each kind of refusal: the
kind is read from their texts. Both try 500s, 503s and broken connections again before they give up; where
there are no credentials, each asks an instance's metadata for them again and again, 26 s in all. So it is
looked beforehand whether there can be any.

Knows the texts of deltalake 1.6 and pyarrow 26, S3's error codes, and where AWS's programs look for
credentials. Knows nothing of tables.
"""

from __future__ import annotations

import os
import re
import socket
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from raylike.errors import CannotWrite, CredentialsError, RaylikeError, ServiceUnavailable

SETTING_UP = "docs/cluster.md, Storage, says which variables and permissions are needed"

_NAMED = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
"""Variables that give credentials, say where they are, or do without."""
_FILES = {
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
    "AWS_CONFIG_FILE": "~/.aws/config",
}
_METADATA = ("AWS_METADATA_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT")
"""Variables for another address of an instance's metadata: Delta Lake's and AWS's own."""
_METADATA_URL = "http://169.254.169.254"
METADATA_TIMEOUT_S = 1.0
"""As AWS's command line has it. An instance's metadata is on the same machine and answers in milliseconds."""

_NO_CREDENTIALS = re.compile(
    r"/latest/(api/token|meta-data)|169\.254\.170\.2|CredentialsNotLoaded|no (valid )?credential"
    r"|while loading credentials",
    re.IGNORECASE,
)
_REFUSED_CREDENTIALS = re.compile(
    r"InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|RequestTimeTooSkewed"
    r"|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|EXPIRED_TOKEN|REQUEST_TIME_TOO_SKEWED"
)
_NO_BUCKET = re.compile(
    r"NoSuchBucket|NO_SUCH_BUCKET|bucket does not exist|Bucket '\S+' not found", re.IGNORECASE
)
_DENIED = re.compile(r"AccessDenied|ACCESS_DENIED|403 Forbidden|lacked the necessary privileges")
_NO_ANSWER = re.compile(
    r"after \d+ retries|error sending request|timed out|NETWORK_CONNECTION|SLOW_DOWN|SERVICE_UNAVAILABLE"
    r"|INTERNAL_FAILURE|curlCode|HTTP status 5\d\d"
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def require_credentials(uri: str) -> None:
    """Refuse a workspace in S3 at once where no credentials can be found, without a try.

    Raises
    ------
    CredentialsError : if no variable and no file names any, and no instance's metadata is there to be asked
    """
    if not uri.startswith("s3://") or any(os.environ.get(name) for name in _NAMED):
        return
    if any(Path(os.environ.get(name) or file).expanduser().is_file() for name, file in _FILES.items()):
        return
    disabled = os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
    address = next(filter(None, map(os.environ.get, _METADATA)), _METADATA_URL)
    if disabled or not _answers(address):
        raise CredentialsError("no credentials were found for it", uri, SETTING_UP)


@cache
def _answers(address: str) -> bool:
    """Whether a server is there; looked at once in a process."""
    server = urlsplit(address)
    try:
        with socket.create_connection((server.hostname, server.port or 80), METADATA_TIMEOUT_S):
            return True
    except OSError:
        return False


def explained(error: BaseException, uri: str, *, writing: bool) -> RaylikeError | None:
    """The error to show for one of Delta's or Arrow's; None if it is none of the object store's doing.

    Parameters
    ----------
    uri : the workspace
    writing : whether something was to be written, where the store only says that it was forbidden
    """
    text = _ANSI.sub("", str(error))
    if _NO_CREDENTIALS.search(text):
        return CredentialsError("no credentials were found for it", uri, SETTING_UP)
    if found := _REFUSED_CREDENTIALS.search(text):
        return CredentialsError(
            f"the credentials are refused: {found[0]}", uri, "renew them; and is this machine's clock right?"
        )
    if _NO_BUCKET.search(text):
        return CannotWrite("there is no such bucket", uri, "make it, or name another --workspace")
    if _DENIED.search(text):
        kind, what = (CannotWrite, "write") if writing else (CredentialsError, "read")
        return kind(f"these credentials may not {what} there", uri, SETTING_UP)
    if _NO_ANSWER.search(text):
        return ServiceUnavailable(f"does not answer: {_deepest(text)}", uri, "try again; nothing is lost")
    return None


def _deepest(text: str) -> str:
    """The last cause in a chain of them, or the HTTP status if there is one."""
    if status := re.search(r"\b5\d\d [A-Z][A-Za-z ]+", text):
        return status[0].strip()
    return text.strip().splitlines()[-1].strip(" ↳")
