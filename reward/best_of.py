"""What happens when the scorer is climbed: best of n answers, by it and by a judge it never saw.

The model that the scorer started from answers held-out prompts; the best of n by the scorer is what
a policy would become that climbs it by KL = log n - (n - 1) / n nats (Stiennon et al. 2020,
https://arxiv.org/abs/2009.01325, appendix G.3). Where the scorer's own mean goes on rising and the
judge's does not, the scorer is being fooled (Gao et al. 2023, https://arxiv.org/abs/2210.10760).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from inhouse.chat import prompt_ids
from inhouse.errors import InputError
from inhouse.generation import sample
from inhouse.generation.score import Scorer
from inhouse.judge import Judge
from inhouse.models.load import load_causal_lm
from inhouse.records import Message

PROMPTS = 24  # held-out prompts that are answered


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
    model = load_causal_lm(writer)
    prompts = list(prompts[:PROMPTS])
    ids = [prompt_ids(scorer.tokenizer, prompt) for prompt in prompts]
    answers: dict[int, list[str]] = {}
    for batch in sample.replies(
        model,
        scorer.tokenizer,
        ids,
        samples=n,
        max_new_tokens=max_new_tokens,
        seed=seed,
        batch_size=max(1, 128 // n),
        title="best of n",
    ):
        # An answer without text cannot be scored; it is the worst there is.
        answers |= {index: [reply.text for reply in said] for index, said in batch.items()}
    flat = [(prompts[i], text) for i in sorted(answers) for text in answers[i] if text]
    scores = iter(scorer.score(flat, title="scoring them"))
    proxies, wins = [], []
    for index in sorted(answers):
        texts = [text for text in answers[index] if text]
        if len(texts) < n:
            for _ in texts:
                next(scores)
            continue
        proxies.append([next(scores) for _ in texts])
        wins.append(_win_rates(judge, prompts[index], texts) if judge else [math.nan] * n)
    if not proxies:
        raise InputError(f"{writer} wrote no {n} answers to any held-out prompt: look at it first")
    return table(np.array(proxies), np.array(wins), judged=judge is not None)


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
