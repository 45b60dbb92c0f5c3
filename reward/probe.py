"""Experiments on a scorer: what should not move a score, and what climbing it comes to.

Padding, neighbours, other words for the same thing and length should not matter.

The model that the scorer started from answers held-out prompts; the best of n by the scorer is what
a policy would become that climbs it by KL = log n - (n - 1) / n nats (Stiennon et al. 2020,
https://arxiv.org/abs/2009.01325, appendix G.3). Where the scorer's own mean goes on rising and the
judge's does not, the scorer is being fooled (Gao et al. 2023, https://arxiv.org/abs/2210.10760).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from inhouse.chat import prompt_ids, reply_ids
from inhouse.errors import InputError
from inhouse.generation import sample
from inhouse.generation.score import Scored, Scorer, head_scores
from inhouse.judge import Judge
from inhouse.models.load import load_causal_lm
from inhouse.records import Message
from inhouse.statistics import rate
from reward.split import Pair

PROBED = 32  # pairs that are paraphrased
ALONE = 16  # answers that are scored alone, which is slow
PROMPTS = 24  # held-out prompts that are answered

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
    won, wins = (values[::2] > values[1::2] for values in (before, after))
    return {"moved": float(np.abs(after - before).mean()), "order_kept": rate_of(won == wins)}


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
        "shorter_won": rate_of(right[length < 0]),
        "longer_won": rate_of(right[length > 0]),
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


def rate_of(right: np.ndarray) -> dict[str, float] | None:
    """The rate of what is True, with its exact bounds; None of nothing. Shape: (n,)."""
    return rate(int(right.sum()), len(right)) if len(right) else None


# --- climbing it ---------------------------------------------------------------------------------


def curve(
    scorer: Scorer,
    writer: str,
    prompts: Sequence[Sequence[Message]],
    judge: Judge | None,
    *,
    n: int,
    max_new_tokens: int,
    seed: int,
) -> list[dict[str, float]]:
    """For n = 1, 2, 4 …: KL in nats, the scorer's mean for the best of n, the judge's win rate.

    ``judge`` is the share of times that the judge prefers the best of n to another answer of the
    same model to the same prompt, so 0.5 at n = 1.
    """
    prompts = prompts[:PROMPTS]
    answers: dict[int, list[str]] = {}
    for batch in sample.replies(
        load_causal_lm(writer),
        scorer.tokenizer,
        [prompt_ids(scorer.tokenizer, prompt) for prompt in prompts],
        samples=n,
        max_new_tokens=max_new_tokens,
        seed=seed,
        batch_size=max(1, 128 // n),
        title="best of n",
    ):
        answers |= {index: [reply.text for reply in said] for index, said in batch.items()}
    # An answer without text cannot be scored: its prompt is left out.
    whole = [(prompts[index], texts) for index, texts in sorted(answers.items()) if all(texts)]
    if not whole:
        raise InputError(f"{writer} wrote no {n} answers to any held-out prompt: look at it first")
    flat = [(prompt, text) for prompt, texts in whole for text in texts]
    proxies = np.array(scorer.score(flat, title="scoring them")).reshape(-1, n)
    wins = [_win_rates(judge, *asked) if judge else [math.nan] * n for asked in whole]
    return table(proxies, np.array(wins), judged=judge is not None)


def _win_rates(judge: Judge, prompt: Sequence[Message], texts: Sequence[str]) -> list[float]:
    """How often the judge prefers each answer to the others."""
    rates = []
    for at, text in enumerate(texts):
        others = [other for number, other in enumerate(texts) if number != at]
        rates.append(sum(judge(prompt, text, other) for other in others) / len(others))
    return rates


def table(proxies: np.ndarray, wins: np.ndarray, *, judged: bool) -> list[dict[str, float]]:
    """The expected best of every n out of N answers, exactly. Shapes: (prompts, N).

    Of N answers in order of the proxy, the i-th from below is the best of a random n with
    probability C(i - 1, n - 1) / C(N, n).
    """
    count = proxies.shape[1]
    order = np.argsort(proxies, axis=1)
    proxies, wins = (np.take_along_axis(values, order, 1) for values in (proxies, wins))
    rows = []
    for n in [2**power for power in range(int(math.log2(count)) + 1)]:
        weights = np.array([math.comb(rank, n - 1) / math.comb(count, n) for rank in range(count)])
        row: dict[str, Any] = {"n": n, "kl": math.log(n) - (n - 1) / n}
        row["proxy"] = float((proxies * weights).sum(1).mean())
        row["judge"] = float((wins * weights).sum(1).mean()) if judged else None
        rows.append(row)
    return rows
