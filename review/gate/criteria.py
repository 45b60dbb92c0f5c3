"""One kind of question each, answered from counts: pass, fail, or not enough evidence.

A share passes where its upper bound keeps the limit, and fails where its lower bound shows that it
does not. All criteria have to pass, so that passing needs no correction for their number (Berger
1982, https://doi.org/10.1080/00401706.1982.10487790: an intersection-union test has its level);
what refuses, one of many rules, is corrected by Holm (1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from inhouse.statistics import (
    Pairs,
    corrected_rate,
    difference,
    holm,
    lower_bound,
    more_pairs_for_improvement,
    more_pairs_for_margin,
    more_prompts,
    p_above,
    sign_test,
    upper_bound,
)
from review.bands import FAIL, PASS, Band, judge
from review.bands import NOT_ENOUGH as OPEN
from review.gate.checker import Counts
from review.gate.limits import Limits


@dataclass(frozen=True)
class Criterion:
    """What was asked and what came of it; ``more``: how many more units would do, where known."""

    name: str
    answer: str
    reason: str
    limit: Any = None
    measured: dict[str, Any] = field(default_factory=dict)
    more: int | None = None
    unit: str = "prompts"


@dataclass(frozen=True)
class Share:
    """``failures`` of ``n`` units that may be at most ``limit``; fractions are allowed.

    ``checker``: with it, the bound that counts the checker's own errors has to keep the limit, too;
    ``needs_checker``: without it there is not enough evidence.
    """

    name: str
    failures: float
    n: int
    limit: float
    unit: str = "prompts"
    checker: Counts | None = None
    needs_checker: bool = False


def missing(name: str, reason: str, **others: Any) -> Criterion:
    """Nobody counted it: that is no pass."""
    return Criterion(name, OPEN, reason, **others)


def at_most(shares: Sequence[Share], limits: Limits) -> list[Criterion]:
    """Each share against its limit; those that fail are corrected for their number by Holm."""
    tested = [share for share in shares if share.n]
    p_values = holm([p_above(share.failures, share.n, share.limit) for share in tested])
    p_of = dict(zip((share.name for share in tested), p_values, strict=True))
    return [_at_most(share, p_of.get(share.name, 1.0), limits) for share in shares]


def _at_most(share: Share, p: float, limits: Limits) -> Criterion:
    confidence = limits.confidence
    high = upper_bound(share.failures, share.n, confidence)
    more = more_prompts(share.failures, share.n, share.limit, confidence, limits.power)
    measured: dict[str, Any] = {"failures": share.failures, "n": share.n}
    if share.n:
        low = lower_bound(share.failures, share.n, confidence)
        rate = share.failures / share.n
        measured |= {"rate": rate, "low": low, "high": high, "p_above_holm": p}
    asked: dict[str, Any] = {"limit": share.limit, "measured": measured, "unit": share.unit}
    if not share.n:
        reason = f"no {share.unit}: {_would_do(more, share.unit)} if none fails"
        return Criterion(share.name, OPEN, reason, **asked, more=more)
    if p <= 1 - confidence:
        reason = f"the share is shown to be above {_per_cent(share.limit)}"
        return Criterion(share.name, FAIL, reason, **asked)
    if high > share.limit:
        reason = f"it may be as high as {_per_cent(high)}: "
        reason += _would_do(more, share.unit) if more else _hopeless(share)
        return Criterion(share.name, OPEN, reason, **asked, more=more)
    passed = Criterion(share.name, PASS, f"at most {_per_cent(high)}", **asked)
    return _counting_errors(share, passed, confidence) if share.needs_checker else passed


def _counting_errors(share: Share, passed: Criterion, confidence: float) -> Criterion:
    """A share that passes as the checker counts it, with the checker's own errors counted, too."""
    if share.checker is None:
        reason = "a lower bound: nobody has measured how often the checker is right on this rule"
        return replace(passed, answer=OPEN, reason=reason)
    # One-sided with the confidence asked is two-sided with twice the tail.
    true = corrected_rate(
        share.failures, share.n, **share.checker.model_dump(), confidence=2 * confidence - 1
    )
    if true is None:
        reason = "a lower bound: on labelled replies the checker is no better than chance"
        return replace(passed, answer=OPEN, reason=reason)
    measured = passed.measured | {"corrected": true}
    if true["high"] <= share.limit:
        return replace(passed, measured=measured)
    reason = (
        f"with the checker's own errors it may be as high as {_per_cent(true['high'])}: label more "
        "replies, or ask more prompts"
    )
    return replace(passed, answer=OPEN, reason=reason, measured=measured)


def not_worse(name: str, pairs: Pairs, margin: float, limits: Limits, unit: str) -> Criterion:
    """Non-inferiority: the lower bound of the paired change is above minus the margin."""
    low, high = difference(pairs, limits.confidence)
    measured: dict[str, Any] = {"change": pairs.change, "low": low, "high": high, "n": pairs.n}
    measured |= {"gained": pairs.gained, "lost": pairs.lost}
    asked: dict[str, Any] = {"limit": -margin, "measured": measured, "unit": unit}
    if pairs.n and low > -margin:
        return Criterion(name, PASS, f"lower by {_per_cent(max(0.0, -low))} at most", **asked)
    if pairs.n and high < -margin:
        reason = f"shown to be lower by more than {_per_cent(margin)}"
        return Criterion(name, FAIL, reason, **asked)
    more = more_pairs_for_margin(pairs, margin, limits.confidence, limits.power)
    reason = f"it may be lower by {_per_cent(-low)}: " if pairs.n else f"no {unit}: "
    reason += _would_do(more, unit) if more else "at today's change no number would do"
    return Criterion(name, OPEN, reason, **asked, more=more)


def improved(
    name: str, pairs: Pairs, signs: tuple[int, int], floor: float | None, limits: Limits
) -> Criterion:
    """Better by McNemar's exact test, and by more than two seeds of one model differ."""
    p = sign_test(*signs)
    measured: dict[str, Any] = {
        "change": pairs.change,
        "p": p,
        "gained": signs[0],
        "lost": signs[1],
    }
    measured |= {"n": pairs.n, "noise_floor": floor}
    asked: dict[str, Any] = {"limit": floor, "measured": measured}
    alpha = 1 - limits.confidence
    if p <= alpha and pairs.change < 0:
        return Criterion(name, FAIL, f"shown to be worse (p = {p:.3g})", **asked)
    if p > alpha:
        more = more_pairs_for_improvement(Pairs(signs[0], signs[1], pairs.n), alpha, limits.power)
        reason = f"no improvement is shown (p = {p:.2f}): "
        reason += _would_do(more, "prompts") if more else "at today's rates no number would do"
        return Criterion(name, OPEN, reason, **asked, more=more)
    if floor is None:
        reason = "the noise floor is not measured: ask with two seeds (`python -m review --seeds`)"
        return Criterion(name, OPEN, reason, **asked)
    if pairs.change <= floor:
        reason = (
            f"better by {_per_cent(pairs.change)}, which is not more than the {_per_cent(floor)} "
            "by which two seeds of one model differ"
        )
        return Criterion(name, OPEN, reason, **asked)
    return Criterion(name, PASS, f"better by {_per_cent(pairs.change)} (p = {p:.3g})", **asked)


def none_worse(name: str, signs: dict[str, tuple[int, int]], limits: Limits) -> Criterion:
    """No rule is broken more often than before, each by McNemar's test, together by Holm."""
    adjusted = dict(zip(signs, holm([sign_test(*pair) for pair in signs.values()]), strict=True))
    worse = {
        rule: p
        for rule, p in adjusted.items()
        if p <= 1 - limits.confidence and signs[rule][1] > signs[rule][0]
    }
    measured = {"rules": len(signs), "p_holm": {k: p for k, p in adjusted.items() if p < 1}}
    if worse:
        reason = f"broken more often than before: {', '.join(worse)}"
        return Criterion(name, FAIL, reason, measured=measured)
    if not signs:
        return missing(name, "no rule is checked by machine")
    return Criterion(name, PASS, "no rule is shown to be broken more often", measured=measured)


def in_band(name: str, value: float, low: float, n: int, band: Band) -> Criterion:
    """A figure of the memorisation audit: passes, fails, or is for people to decide.

    Where its lower bound ``low`` is above what fails, few examples are enough to fail.
    """
    asked: dict[str, Any] = {
        "limit": band.model_dump(),
        "measured": {"value": value, "n": n},
        "unit": "examples",
    }
    answer = judge(band, value, low, n)
    if answer == FAIL:
        return Criterion(name, FAIL, f"{value:.3g} is above {band.fails:g}", **asked)
    if answer == OPEN:
        more = band.least - n
        return Criterion(name, OPEN, _would_do(more, "examples"), **asked, more=more)
    if answer == PASS:
        return Criterion(name, PASS, f"{value:.3g} keeps {band.passes:g}", **asked)
    reason = f"{value:.3g} is between {band.passes:g} and {band.fails:g}: a person has to decide"
    return Criterion(name, OPEN, reason, **asked)


def _would_do(more: int | None, unit: str) -> str:
    return f"{more:,} more {unit} would do" if more else "no number would do"


def _hopeless(share: Share) -> str:
    rate = _per_cent(share.failures / share.n)
    return f"at today's rate of {rate} no reasonable number would do"


def _per_cent(value: float) -> str:
    return f"{100 * value:.1f} %" if value >= 0.1 or not value else f"{100 * value:.2g} %"
