from __future__ import annotations

import pickle
import traceback

import pytest
from pydantic import SecretStr

from actors.outcomes import ClientError, Credential, RateLimited, Refused, TokenRevoked, Transient

SECRET = "101.1fb234f.0f0f0f0f0f0f0f0f0f0f0f0f0f0f9a7c"


@pytest.mark.parametrize(
    "error",
    [RateLimited(3.5), RateLimited(None), TokenRevoked("expired"), Transient("HTTP 502"), Refused("no")],
)
def test_errors_survive_pickling(error: ClientError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert copy.args == error.args
    assert str(copy) == str(error)


def test_a_token_is_shown_as_its_alias_and_last_four_characters() -> None:
    credential = Credential("anna", SecretStr(SECRET))
    shown = f"{credential} {credential!r} {[credential]} {credential.label}"
    assert SECRET not in shown
    assert credential.label == "anna (...9a7c)"
    assert "short" not in Credential("b", SecretStr("short")).label


def test_a_traceback_does_not_hold_the_token() -> None:
    def fails(credential: Credential) -> None:
        raise Transient(f"could not use {credential}")

    with pytest.raises(Transient) as caught:
        fails(Credential("anna", SecretStr(SECRET)))
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_pickled_credential_still_works() -> None:
    copy = pickle.loads(pickle.dumps(Credential("anna", SecretStr(SECRET))))
    assert copy.secret.get_secret_value() == SECRET
