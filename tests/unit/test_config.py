"""Settings: five layers, their order, and what a mistake says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from raylike import config
from raylike.config import Layer, Settings, fingerprint, parse_assignments, resolve
from raylike.errors import ConfigError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `raylike.toml` but the test's own."""
    monkeypatch.chdir(tmp_path)


def toml(text: str) -> None:
    Path(config.CONFIG_FILE).write_text(text, encoding="utf-8")


def test_without_anything_the_laptop_preset_holds() -> None:
    resolved = resolve(environ={})
    assert resolved.settings.preset == "laptop"
    assert resolved.origins["seed"] == "default"
    assert resolved.origins["finetune.trainable"] == "preset laptop"


def test_each_layer_is_stronger_than_the_one_before() -> None:
    def users(flags: Layer | None = None, environ: dict[str, str] | None = None) -> tuple[int, str]:
        resolved = resolve(flags, environ=environ or {})
        return resolved.settings.simulator.users, resolved.origins["simulator.users"]

    environ = {"RAYLIKE_SIMULATOR__USERS": "20"}
    assert users() == (2000, "default")
    assert users({"preset": "study"}) == (100_000, "preset study")
    toml("[simulator]\nusers = 10\n")
    assert users({"preset": "study"}) == (10, "raylike.toml")
    assert users({"preset": "study"}, environ) == (20, "environment")
    assert users({"preset": "study", "simulator": {"users": 30}}, environ) == (30, "flag")


@pytest.mark.parametrize("layer", ["flag", "environment", "file"])
def test_a_preset_can_be_chosen_in_every_layer(layer: str) -> None:
    if layer == "file":
        toml('preset = "study"\n')
    environ = {"RAYLIKE_PRESET": "study"} if layer == "environment" else {}
    flags: Layer = {"preset": "study"} if layer == "flag" else {}
    assert resolve(flags, environ=environ).settings.finetune.iterations == 35_000


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read"):
        resolve(config_file=tmp_path / "absent.toml", environ={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = ", "is not valid TOML"),
        ("[faces]\nsise_px = 3", "did you mean faces.size_px"),
        ("sead = 3", "did you mean seed"),
        ("[face]\nsize_px = 3", "'face"),
        ("[faces]\nsize_px = 0", "faces.size_px = 0 is not allowed"),
        ('[faces]\nsize_px = "large"', "faces.size_px = 'large' is not allowed"),
        ("faces = 3", "'faces' is no setting"),
        ('preset = "desktop"', "unknown preset 'desktop'"),
    ],
)
def test_a_wrong_line_of_the_file_is_named(text: str, message: str) -> None:
    toml(text)
    with pytest.raises(ConfigError) as caught:
        resolve(environ={})
    assert message in str(caught.value)


def test_a_misspelt_variable_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"RAYLIKE_FACES__SISE_PX(.|\n)*did you mean faces\.size_px"):
        resolve(environ={"RAYLIKE_FACES__SISE_PX": "3"})


def test_variables_that_are_no_settings_are_left_alone() -> None:
    assert resolve(environ={"RAYLIKE_TOKENS": "secret", "HOME": "/"}).settings == resolve(environ={}).settings


def test_tokens_do_not_show_when_settings_are_printed_or_stored() -> None:
    settings = resolve({"source": {"tokens": ["very-secret"]}}, environ={}).settings
    assert "very-secret" not in repr(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("faces.size_px=400", "faces.size_px", 400),
        ("source.tag=me", "source.tag", "me"),
        ("classify.c_values=[0.1, 1.0]", "classify.c_values", (0.1, 1.0)),
        ("simulator.faults={reset = 0.5}", "simulator.faults", {"reset": 0.5}),
        ("collect.wait=false", "collect.wait", False),
        ("seed=7", "seed", 7),
    ],
)
def test_assignments_are_read_as_toml_or_as_text(text: str, path: str, value: Any) -> None:
    settings = resolve(parse_assignments([text]), environ={}).settings
    assert config.value_of(settings, path) == value


def test_an_assignment_without_equals_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"section\.field=value"):
        parse_assignments(["faces.size_px"])


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().faces.size_px = 3  # type: ignore[misc]


def test_every_setting_has_a_meaning_and_an_origin() -> None:
    origins = resolve(environ={}).origins
    assert list(origins) == config.known_paths()
    assert all(config.describe(path) for path in config.known_paths())


class TestFingerprint:
    """What makes a stage stale, and what does not."""

    def test_a_setting_that_matters_changes_it(self) -> None:
        before, after = Settings(), resolve({"faces": {"size_px": 400}}, environ={}).settings
        assert fingerprint(before, "faces", ["faces"]) != fingerprint(after, "faces", ["faces"])

    def test_a_setting_of_how_to_run_does_not(self) -> None:
        before, after = Settings(), resolve({"faces": {"processes": 7}}, environ={}).settings
        assert fingerprint(before, "faces", ["faces"]) == fingerprint(after, "faces", ["faces"])

    def test_the_cut_belongs_to_labels_alone(self) -> None:
        before, after = Settings(), resolve({"faces": {"min_confidence": 3.0}}, environ={}).settings
        assert fingerprint(before, "faces", ["faces"]) == fingerprint(after, "faces", ["faces"])
        assert fingerprint(before, "labels", ["faces"]) != fingerprint(after, "labels", ["faces"])

    @given(st.integers(0, 10**9), st.integers(0, 10**9))
    def test_it_is_a_function_of_the_values(self, one: int, other: int) -> None:
        prints = [fingerprint(Settings(seed=seed), "labels", ["seed"]) for seed in (one, other)]
        assert (prints[0] == prints[1]) == (one == other)
