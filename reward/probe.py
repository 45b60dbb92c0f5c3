"""What should not move a score: padding, neighbours, other words for the same thing, length."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from inhouse.chat import reply_ids
from inhouse.generation.score import Scored, Scorer, head_scores
from inhouse.records import Message
from inhouse.statistics import rate
from reward.split import Pair

PROBED = 32  # pairs that are paraphrased
ALONE = 16  # answers that are scored alone, which is slow

# The same thing said otherwise. Each is applied wherever it fits.
SAME_MEANING = (
    (r"\bdo not\b", "don't"),
    (r"\bcannot\b", "can't"),
    (r"\bis not\b", "isn't"),
    (r"\bwe will\b", "we'll"),
    (r"\bWe will\b", "We'll"),
    (r"\bwe are\b", "we're"),
    (r"\bWe are\b", "We're"),
    (r"\bThank you for\b", "Many thanks for"),
    (r"\bPlease get in touch\b", "Please contact us"),
    (r"\bhelp\b", "assist"),
    (r"\bper year\b", "a year"),
    (r"\bquestion\b", "query"),
    (r"(?<=\w)'(?=\w)", "’"),
    (r"\. (?=[A-Z])", ".\n"),
)


def paraphrase(answer: str) -> str:
    """An answer with the same meaning in other words, marks or lines; itself if none fits."""
    for pattern, other in SAME_MEANING:
        answer = re.sub(pattern, other, answer)
    return answer


def invariance(scorer: Scorer, pairs: Sequence[Pair], scores: Sequence[float]) -> dict[str, Any]:
    """How far scores move, in standard deviations, where nothing that matters has changed.

    ``padding``: alone against beside a far longer row. ``batch``: alone against with neighbours.
    ``paraphrase``: the mean move of an answer's score, and how often a pair keeps its order.

    Args:
        scores: of the pairs' answers, scored all together, each chosen before its rejected.
    """
    pairs = list(pairs[:PROBED])
    together = np.array(scores[: 2 * len(pairs)])
    rows = [ids for pair in pairs for ids in pair.row.values()][:ALONE]
    alone = _normalised(scorer, rows, 1)
    longest = max(rows, key=len)
    padded = np.array([_normalised(scorer, [row, longest + longest], 10**9)[0] for row in rows[:8]])
    return {
        "padding": float(np.abs(padded - alone[:8]).max()),
        "batch": float(np.abs(together[: len(rows)] - alone).max()),
        "paraphrase": _paraphrased(scorer, pairs, together),
        "pairs": len(pairs),
    }


def _normalised(scorer: Scorer, rows: Sequence[list[int]], batch_tokens: int | None) -> np.ndarray:
    pad = scorer.tokenizer.pad_token_id
    raw = head_scores(scorer.model, rows, pad, batch_tokens)
    return np.array([scorer.read(row).score for row in raw.tolist()])


def _paraphrased(scorer: Scorer, pairs: Sequence[Pair], before: np.ndarray) -> dict[str, Any]:
    rows = []
    for pair in pairs:
        for answer in (*pair.record.chosen, *pair.record.rejected):
            other = Message(role="assistant", content=paraphrase(answer.content))
            prompt, reply = reply_ids(scorer.tokenizer, pair.record.prompt, other)
            rows.append(prompt + reply)
    after = _normalised(scorer, rows, None)
    same = sum(
        (b[0] > b[1]) == (a[0] > a[1]) for b, a in zip(_twos(before), _twos(after), strict=True)
    )
    return {
        "moved": float(np.abs(after - before).mean()),
        "order_kept": rate(int(same), len(pairs)),
    }


def _twos(values: np.ndarray) -> np.ndarray:
    """Shape: (pairs, 2), chosen before rejected."""
    return values.reshape(-1, 2)


def length_bias(
    pairs: Sequence[Pair], chosen: Sequence[Scored], rejected: Sequence[Scored]
) -> dict[str, Any]:
    """Whether length itself is rewarded.

    ``partial_correlation`` is that of score and length in tokens with being preferred held fixed:
    r(s, l | c) = (r_sl - r_sc r_lc) / √((1 - r_sc²)(1 - r_lc²)), over answers taken around their
    pair's mean, so that long prompts and hard questions do not count. None where nothing varies.
    """
    score = np.array([c.score - r.score for c, r in zip(chosen, rejected, strict=True)])
    length = np.array(
        [len(pair.row["chosen_ids"]) - len(pair.row["rejected_ids"]) for pair in pairs], float
    )
    right = score > 0
    return {
        "partial_correlation": _partial(score, length),
        "shorter_won": _rate(right[length < 0]),
        "longer_won": _rate(right[length > 0]),
    }


def _partial(score: np.ndarray, length: np.ndarray) -> float | None:
    """Both answers of a pair, around its mean: ± half its difference, with the label ± 1."""
    s, length2 = np.concatenate([score, -score]), np.concatenate([length, -length])
    label = np.concatenate([np.ones(len(score)), -np.ones(len(score))])
    if not score.any() or not length.any():
        return None
    r = np.corrcoef([s, length2, label])
    below = (1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2)
    return float((r[0, 1] - r[0, 2] * r[1, 2]) / below**0.5) if below > 1e-12 else None


def _rate(right: np.ndarray) -> dict[str, float] | None:
    return rate(int(right.sum()), len(right)) if len(right) else None
