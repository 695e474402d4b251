"""What all sections of the settings are made of.

Knows how a field is marked. Knows nothing of any setting.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

Layer = dict[str, Any]
"""Settings by section and field, as far as one source names them."""


PositiveInt = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]

RUNTIME_ONLY: JsonDict = {"fingerprint": False}
"""Marks a field that changes how a stage runs but not what it writes."""


class Section(BaseModel):
    """A group of settings: frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
