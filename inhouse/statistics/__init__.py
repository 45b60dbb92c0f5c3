"""Exact statistics for rates: small samples are the rule here, and a gate must not flatter.

scipy and numpy are imported where they are used: they take long, and a stage's ``--help`` must not.
"""

from inhouse.statistics.errors_of_checkers import corrected_rate
from inhouse.statistics.paired import (
    Pairs,
    difference,
    mcnemar,
    more_pairs_for_improvement,
    more_pairs_for_margin,
    sign_test,
)
from inhouse.statistics.rates import (
    bootstrap_mean,
    lower_bound,
    more_prompts,
    p_above,
    prompts_needed,
    rate,
    upper_bound,
)
from inhouse.statistics.several import holm

__all__ = [
    "Pairs",
    "bootstrap_mean",
    "corrected_rate",
    "difference",
    "holm",
    "lower_bound",
    "mcnemar",
    "more_pairs_for_improvement",
    "more_pairs_for_margin",
    "more_prompts",
    "p_above",
    "prompts_needed",
    "rate",
    "sign_test",
    "upper_bound",
]
