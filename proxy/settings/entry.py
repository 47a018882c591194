"""What every mapping of the configuration has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Entry(BaseModel):
    """Unknown keys are mistakes, and nothing is converted that a validator does not convert."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
