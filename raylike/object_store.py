"""What an object store refused, in a user's words: no credentials, no bucket, no permission, no answer.

Two libraries speak to it, Delta Lake's and Arrow's, and neither has a class for each kind of refusal: the
kind is read from their texts. Both try 500s, 503s and broken connections again before they give up.

Knows the texts of deltalake 1.6 and pyarrow 26, and S3's error codes. Knows nothing of tables.
"""

from __future__ import annotations

import re

from raylike.errors import CannotWrite, CredentialsError, RaylikeError, ServiceUnavailable

SETTING_UP = "docs/cluster.md, Storage, says which variables and permissions are needed"

_NO_CREDENTIALS = re.compile(
    r"/latest/(api/token|meta-data)|169\.254\.170\.2|CredentialsNotLoaded|no (valid )?credential",
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
