"""Load a reward model and score conversations: a number each, and how far to trust it.

    scorer = Scorer("runs/asdfg/reward")
    scorer.score([(prompt, reply)])      # [0.73], in standard deviations of the training answers
    scorer.assess([(prompt, reply)])     # [Scored(score=0.73, heads=…, spread=…, confidence=…, …)]

A reward model is transformers' own sequence-classification model with one output a head; several
heads on the same layers are an ensemble in one forward pass. What its raw outputs mean stands in
its ``config.json`` under ``reward`` (:class:`Calibration`), and is applied here, wherever the model
is used. A score is read at the reply's true last token and does not depend on the batch.

What makes it fast: texts are rendered and tokenised together, rows of like length stand in a batch
without a mask, and on a CPU each core takes batches of its own, which wastes less than sharing one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from tqdm import tqdm

from inhouse.chat import replies_ids
from inhouse.errors import InputError
from inhouse.models.folder import context_length
from inhouse.models.load import Model, load_reward_model, load_tokenizer
from inhouse.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T")
R = TypeVar("R")

# A batch holds rows of like length, at most this many tokens with their padding: what stays in a
# CPU's cache, and what fills a GPU.
BATCH_TOKENS = {"cpu": 1024, "cuda": 32768}
UNKNOWN = 0.5  # the confidence of a coin


@dataclass(frozen=True)
class Calibration:
    """What a reward model's raw outputs mean. ``mean`` and ``std`` have one entry a head.

    ``temperature`` divides differences of normalised scores before they become probabilities;
    ``lowest`` and ``highest`` bound the normalised scores of the answers it was trained and
    measured on; an answer scored with less than ``min_confidence`` counts as not known.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    temperature: float
    lowest: float
    highest: float
    min_confidence: float
    chat_template: str  # sha256
    fit_for_ppo: bool
    reason: str

    @classmethod
    def none(cls, heads: int, template: str) -> Calibration:
        """Of a model that `python -m reward` did not make: raw scores, and no claim."""
        reason = "it carries no evaluation of `python -m reward`"
        unbounded = (-math.inf, math.inf)
        return cls((0.0,) * heads, (1.0,) * heads, 1.0, *unbounded, 0.0, template, False, reason)

    @classmethod
    def of(cls, model: Any, template: str, source: str) -> Calibration:
        """What stands in a model's config.

        Raises:
            InputError: it is damaged, or was made with another chat template than ``template``.
        """
        stored = model.config.to_dict().get("reward")
        if stored is None:
            return cls.none(model.config.num_labels, template)
        try:
            found = cls(**{**stored, "mean": tuple(stored["mean"]), "std": tuple(stored["std"])})
        except (TypeError, KeyError) as error:
            raise InputError(
                f"the key reward in {source}/config.json is damaged ({error}): train the model "
                "again with `python -m reward --overwrite`"
            ) from None
        if found.chat_template != template:
            raise InputError(
                f"the chat template in {source} is not the one that its reward model was trained "
                "with, so its scores would mean nothing: put the old one back, or train again with "
                "`python -m reward --overwrite`"
            )
        return found

    def stored(self) -> dict[str, Any]:
        """As ``config.json`` keeps it."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    def normalise(self, raw: Sequence[float]) -> tuple[float, ...]:
        """One answer's raw outputs in standard deviations. Shape: (heads,)."""
        return tuple(
            (value - mean) / std for value, mean, std in zip(raw, self.mean, self.std, strict=True)
        )


@dataclass(frozen=True)
class Scored:
    """One answer's score, in standard deviations of the answers that the model was trained on.

    ``score`` is the mean over ``heads``, ``spread`` their standard deviation (0 for one head).
    ``confidence`` is the probability that this answer is really better than one scored a standard
    deviation lower, as far as the heads' disagreement tells: Φ(1 / (√2 · spread)). It is that of a
    coin where the score lies outside anything seen in training. ``abstained`` is True below the
    model's ``min_confidence``.
    """

    score: float
    heads: tuple[float, ...]
    spread: float
    confidence: float
    abstained: bool


class Scorer:
    """A reward model with its tokenizer and what its outputs mean."""

    def __init__(self, name_or_path: str):
        self.tokenizer = load_tokenizer(name_or_path)
        self.model = load_reward_model(name_or_path).eval()
        if torch.cuda.is_available():
            self.model.to("cuda")
        template = template_hash(self.tokenizer)
        self.calibration = Calibration.of(self.model, template, name_or_path)

    @classmethod
    def around(
        cls, model: Model | None, tokenizer: PreTrainedTokenizerBase, calibration: Calibration
    ) -> Scorer:
        """A scorer of a model that is in memory already."""
        scorer = cls.__new__(cls)
        scorer.model, scorer.tokenizer, scorer.calibration = model, tokenizer, calibration
        return scorer

    def score(
        self, conversations: Sequence[tuple[Sequence[Message], str]], title: str | None = None
    ) -> list[float]:
        """The normalised score of each (prompt, reply), read at the reply's last token."""
        return [scored.score for scored in self.assess(conversations, title)]

    def assess(
        self, conversations: Sequence[tuple[Sequence[Message], str]], title: str | None = None
    ) -> list[Scored]:
        """Each (prompt, reply) scored, with how far to trust it; ``title`` shows a progress bar.

        Raises:
            InputError: a conversation that cannot be rendered, or a score that is not a number.
        """
        asked = [
            (prompt, Message(role="assistant", content=reply)) for prompt, reply in conversations
        ]
        rows = [before + after for before, after in replies_ids(self.tokenizer, asked)]
        return self.assess_rows(rows, title)

    def assess_rows(self, rows: Sequence[list[int]], title: str | None = None) -> list[Scored]:
        """The same for conversations that are token ids already. Shape: (tokens,) each.

        Raises:
            InputError: a row longer than the model's context, or a score that is not a number.
        """
        _check_context(self.model, rows)
        raw = head_scores(self.model, rows, self.tokenizer.pad_token_id, title=title)
        return [self.read(row) for row in raw.tolist()]

    def read(self, raw: Sequence[float]) -> Scored:
        """What one answer's raw outputs say. Shape of ``raw``: (heads,)."""
        heads = self.calibration.normalise(raw)
        score = fmean(heads)
        spread = stdev(heads) if len(heads) > 1 else 0.0
        confidence = NormalDist().cdf(1 / (math.sqrt(2) * spread)) if spread else 1.0
        if not self.calibration.lowest <= score <= self.calibration.highest:
            confidence = UNKNOWN
        return Scored(
            score, heads, spread, confidence, confidence < self.calibration.min_confidence
        )

    def probability(self, better: Scored, worse: Scored) -> float:
        """The calibrated probability that one answer is preferred to another.

        The mean over the heads of σ(Δ / T) (Guo et al. 2017, https://arxiv.org/abs/1706.04599,
        equation 9), so that heads which disagree are less sure together.
        """
        return probability(better.heads, worse.heads, self.calibration.temperature)


def probability(better: Sequence[float], worse: Sequence[float], temperature: float) -> float:
    """The mean over heads of σ((better - worse) / temperature). Shapes: (heads,)."""
    return fmean(
        0.5 * (1 + math.tanh((b - w) / (2 * temperature)))  # σ, safe for any difference
        for b, w in zip(better, worse, strict=True)
    )


def template_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """The SHA-256 of a tokenizer's chat template, by which two stages know that theirs agree."""
    return hashlib.sha256(tokenizer.chat_template.encode()).hexdigest()


def check_same_template(
    tokenizer: PreTrainedTokenizerBase, source: str, other: PreTrainedTokenizerBase, of: str
) -> None:
    """Refuse two models that would be asked in different chat templates.

    Raises:
        InputError: names both.
    """
    if template_hash(tokenizer) != template_hash(other):
        raise InputError(
            f"the chat template in {source} is not that in {of}: a score would be of a "
            f"conversation that nobody has. Start from {of}, or copy its chat_template.jinja and "
            "train again"
        )


def score_ids(
    model: Model, rows: Sequence[list[int]], pad_token_id: int, batch_tokens: int | None = None
) -> list[float]:
    """The raw score of token rows of Shape: (tokens,), the mean over the model's heads."""
    return head_scores(model, rows, pad_token_id, batch_tokens).mean(1).tolist()


def head_scores(
    model: Any,
    rows: Sequence[list[int]],
    pad_token_id: int,
    batch_tokens: int | None = None,
    title: str | None = None,
) -> torch.Tensor:
    """Every head's raw output at the last token of each row. Shape: (rows, heads), float64.

    Rows are right-padded in batches of like length. The last token is found by the row's length,
    not by looking for padding: a row may end in that token itself.

    Raises:
        InputError: an output that is not a finite number.
    """
    model.eval()
    inner = model.get_base_model() if hasattr(model, "peft_config") else model

    @torch.inference_mode()
    def score(batch: list[int]) -> torch.Tensor:
        lengths = torch.tensor([len(rows[index]) for index in batch])
        width = int(lengths.max())
        ids = torch.tensor([rows[i] + [pad_token_id] * (width - len(rows[i])) for i in batch])
        # No mask: a causal model's token sees nothing behind it, so padding on the right cannot
        # reach a row's last token, and attention without a mask is the fast one.
        hidden = inner.base_model(input_ids=ids.to(model.device), use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(batch)), lengths - 1]  # the head sees these only
        return inner.score(last).to("cpu", torch.float64)

    planned = batches([len(row) for row in rows], batch_tokens or BATCH_TOKENS[model.device.type])
    on_cpu = model.device.type == "cpu"
    found_in_turn = _each_on_a_core(score, planned) if on_cpu else map(score, planned)
    scores = torch.zeros(len(rows), inner.config.num_labels, dtype=torch.float64)
    with tqdm(total=len(rows), desc=title, unit="answer", disable=title is None) as bar:
        for batch, found in zip(planned, found_in_turn, strict=True):
            scores[batch] = found
            bar.update(len(batch))
    broken = (~torch.isfinite(scores).all(1)).nonzero().flatten().tolist()
    if broken:
        raise InputError(
            f"{len(broken)} of {len(rows)} scores are not numbers (the first is that of answer "
            f"{broken[0] + 1}): the reward model's weights are damaged, or its training diverged; "
            "train it again with a lower --learning_rate and --overwrite"
        )
    return scores


def _each_on_a_core(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """``work`` of each item, in order, as many at a time as torch has threads.

    torch lets go of Python's lock while it computes, and two cores on a batch each are faster than
    two cores on one: nothing waits for the slower half of a matrix.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(items))
    if workers < 2:
        yield from map(work, items)
        return
    share = (threads // workers,)
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=share) as pool:
            yield from pool.map(work, items)
    finally:  # a worker's setting is also what threads to come begin with
        torch.set_num_threads(threads)


def _check_context(model: Model, rows: Sequence[list[int]]) -> None:
    """Refuse rows longer than the model was made for: it would score them all the same.

    Raises:
        InputError: names the longest, and what the model takes.
    """
    most = context_length(model.config)
    over = [number for number, row in enumerate(rows, start=1) if len(row) > (most or math.inf)]
    if over:
        raise InputError(
            f"{len(over)} of {len(rows)} conversations are longer than the {most} tokens that the "
            f"reward model takes (the first is answer {over[0]}, with {len(rows[over[0] - 1])} "
            "tokens): shorten their prompts"
        )


def batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Indices of rows of like length together, each batch within ``batch_tokens`` with padding."""
    made: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        # Sorted by length: the newest row is the batch's longest, and so its width.
        if made and (len(made[-1]) + 1) * lengths[index] <= batch_tokens:
            made[-1].append(index)
        else:
            made.append([index])
    return made
