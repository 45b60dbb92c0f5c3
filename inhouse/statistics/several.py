"""Several tests at once."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value adjusted for the number of tests, in their order.

    Holm (1979), https://www.jstor.org/stable/4615733, section 3: from the smallest on, the k-th of
    m p-values is held against alpha / (m - k + 1), until one is above. Adjusted, that is the
    largest (m - j + 1) p_(j) of j <= k, at most 1: what is at most alpha is significant.
    Shape: (tests,).
    """
    adjusted = [1.0] * len(p_values)
    so_far = 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        so_far = max(so_far, (len(p_values) - rank) * p_values[at])
        adjusted[at] = min(1.0, so_far)
    return adjusted
