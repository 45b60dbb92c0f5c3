"""Where a measure lies: it passes, it fails, people decide between, or there are too few."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PASS, REVIEW, FAIL = "pass", "review", "fail"
NOT_ENOUGH = "not enough evidence"


class Band(BaseModel):
    """Up to ``passes`` it passes, above ``fails`` it fails, from ``least`` examples on."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    passes: Annotated[float, Field(ge=0)]
    fails: Annotated[float, Field(ge=0)]
    least: Annotated[int, Field(ge=1)]


def judge(band: Band, value: float | None, low: float | None, n: int) -> str:
    """Where a measure of ``n`` examples lies.

    Of too few it never passes; it fails all the same where its lower bound alone is above what
    fails.
    """
    if value is None:
        return NOT_ENOUGH
    if n < band.least:
        return FAIL if (low or 0.0) > band.fails else NOT_ENOUGH
    if value <= band.passes:
        return PASS
    return REVIEW if value <= band.fails else FAIL
