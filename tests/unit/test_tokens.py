from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from raylike import tokens
from raylike.config import SourceSettings
from raylike.errors import CredentialsError

ANNA = "101.1fb234f.0f0f0f0f0f0f0f0f0f0f0f0f0f0fanna"
BERT = "102.1fb234f.0f0f0f0f0f0f0f0f0f0f0f0f0f0fbert"


def store(path: Path, text: str, mode: int = 0o600) -> Path:
    file = path / "tokens"
    file.write_text(text)
    file.chmod(mode)
    return file


def shown(found: list[tokens.Credential]) -> list[tuple[str, str]]:
    return [(credential.alias, credential.secret.get_secret_value()) for credential in found]


def test_a_file_holds_one_token_a_line(tmp_path: Path) -> None:
    file = store(tmp_path, f"# friends\nanna={ANNA}\n\n{BERT}\n")
    assert shown(tokens.read_store(file)) == [("anna", ANNA), ("token-4", BERT)]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(CredentialsError, match="chmod 600") as caught:
        tokens.read_store(store(tmp_path, ANNA, mode))
    assert caught.value.exit_code == 77
    assert ANNA not in str(caught.value)


@pytest.mark.parametrize("text", ["", "# nothing\n", f"{ANNA} {BERT}", f"a={ANNA}\na={BERT}"])
def test_a_file_without_clear_tokens_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        tokens.read_store(store(tmp_path, text))
    assert ANNA not in str(caught.value)
    assert BERT not in str(caught.value)


def test_no_file_is_an_error_of_credentials(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="cannot be read"):
        tokens.read_store(tmp_path / "none")


def test_memory_goes_before_file_and_file_before_environment(tmp_path: Path) -> None:
    file = store(tmp_path, ANNA)
    environ = {"RAYLIKE_TOKENS": f"b={BERT},{ANNA}\n"}
    in_memory = SourceSettings(tokens=(SecretStr(BERT),), token_store=file)
    assert shown(tokens.load(in_memory, environ)) == [("token-1", BERT)]
    assert shown(tokens.load(SourceSettings(token_store=file), environ)) == [("token-1", ANNA)]
    assert shown(tokens.load(SourceSettings(), environ)) == [("b", BERT), ("token-2", ANNA)]
    with pytest.raises(CredentialsError, match="RAYLIKE_TOKENS"):
        tokens.load(SourceSettings(), {})


def test_a_token_that_comes_twice_counts_once() -> None:
    assert shown(tokens.parse([f"a={ANNA}", f"b={ANNA}", BERT], "x")) == [("a", ANNA), ("token-3", BERT)]
