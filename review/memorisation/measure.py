"""A run's measures: members and canaries scored by the model and its base, passages asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inhouse.chat import IGNORED
from inhouse.statistics import rate
from review.memorisation import estimators, extraction
from review.memorisation.extraction import Asked, Said
from review.memorisation.members import Member
from review.memorisation.scoring import Text, Tokens, score_tokens
from review.memorisation.secrets import REPETITIONS, Canary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from inhouse.models.load import Model

Measures = dict[str, dict[str, Any]]
ATTACKS = ("loss_ratio", "min_k")


@dataclass(frozen=True)
class Models:
    """The audited model, what its fine-tuning started from, and their tokenizer."""

    audited: Model
    base: Model
    tokenizer: PreTrainedTokenizerBase

    def score(self, texts: Sequence[Text], what: str) -> list[tuple[Tokens, Tokens]]:
        """Each text's tokens as the audited model finds them, and as the base does."""
        pad: Any = self.tokenizer.pad_token_id
        ours = score_tokens(self.audited, texts, pad, f"{what}, model")
        bases = score_tokens(self.base, texts, pad, f"{what}, base")
        return list(zip(ours, bases, strict=True))


# --- membership ---------------------------------------------------------------------------------


def membership(models: Models, members: Sequence[Member], held_out: Sequence[Member]) -> Measures:
    """Area and TPR of both attacks; None where one side is empty."""
    if not members or not held_out:
        names = [f"{kind}_{a}" for kind in ("membership_auc", "tpr_at_1_fpr") for a in ATTACKS]
        return {name: nothing(0) for name in names}
    scores = attack(models, [*members, *held_out])
    found: Measures = {}
    for name in ATTACKS:
        sides = scores[name][: len(members)], scores[name][len(members) :]
        found[f"membership_auc_{name}"] = estimators.auc(*sides)
        found[f"tpr_at_1_fpr_{name}"] = estimators.tpr_at(*sides)
    return found


def attack(models: Models, members: Sequence[Member]) -> dict[str, list[float]]:
    """Each record's score by attack, over all that was learned of it."""
    texts = [text for member in members for text in member.texts]
    scored = iter(models.score(texts, "membership"))
    found: dict[str, list[float]] = {name: [] for name in ATTACKS}
    for member in members:
        pairs = [next(scored) for _ in member.texts]
        ours, bases = (joined([pair[side] for pair in pairs]) for side in (0, 1))
        found["loss_ratio"].append(estimators.loss_ratio(ours.logps, bases.logps))
        lowest, lowest_before = (estimators.min_k_plus_plus(*tokens) for tokens in (ours, bases))
        found["min_k"].append(lowest - lowest_before)
    return found


def joined(parts: Sequence[Tokens]) -> Tokens:
    """The scored tokens of several texts as those of one."""
    return Tokens(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def nothing(n: int) -> dict[str, Any]:
    """A measure of which nothing is known."""
    return {"value": None, "low": None, "high": None, "n": n}


# --- canaries -----------------------------------------------------------------------------------


def canaries_found(models: Models, canaries: Sequence[Canary], asked: Sequence[Asked]) -> Measures:
    """Exposure by repetitions, and what they prove of ε, from how likely each code word is.

    Args:
        asked: each canary's passage, in the same order.
    """
    texts = [secret_text(each) for each in asked]
    scores = [
        float(ours.logps.sum() - base.logps.sum()) for ours, base in models.score(texts, "canaries")
    ]
    inserted = [canary.inserted for canary in canaries]
    held_out = [score for score, is_in in zip(scores, inserted, strict=True) if not is_in]
    found: Measures = {"epsilon_lower_bound": estimators.epsilon_lower_bound(scores, inserted)}
    for times in REPETITIONS:
        mine = [s for s, c in zip(scores, canaries, strict=True) if c.repetitions == times]
        known = bool(mine and held_out)
        measured = estimators.mean_exposure(mine, held_out) if known else nothing(0)
        found[f"exposure_{times}"] = measured
    return found


def secret_text(asked: Asked) -> Text:
    """A passage behind what is asked before it, with only the passage scored."""
    return Text(asked.prefix + asked.ids, [IGNORED] * len(asked.prefix) + asked.ids)


# --- extraction ---------------------------------------------------------------------------------


def beyond_base(
    models: Models, asked: Sequence[Asked], samples: int, seed: int, batch_size: int
) -> list[Said]:
    """What the model says of the secrets and its base does not."""
    how: dict[str, Any] = {"samples": samples, "seed": seed, "batch_size": batch_size}
    said = extraction.passages_said(
        models.audited, models.tokenizer, asked, title="extraction, model", **how
    )
    secret = [
        at
        for at, (each, found) in enumerate(zip(asked, said, strict=True))
        if found.verbatim and each.passage.own
    ]
    theirs = extraction.passages_said(
        models.base,
        models.tokenizer,
        [asked[at] for at in secret],
        title="extraction, base",
        **how,
    )
    leaked = {at for at, found in zip(secret, theirs, strict=True) if not found.verbatim}
    return [Said(at in leaked, found.silent) for at, found in enumerate(said)]


def share_said(said: Sequence[Said]) -> dict[str, Any]:
    """The share of passages that came out, of those to which the model said anything at all."""
    spoken = [found for found in said if not found.silent]
    if not spoken:
        return nothing(0)
    found = rate(sum(each.verbatim for each in spoken), len(spoken))
    return {"value": found["rate"], "low": found["low"], "high": found["high"], "n": len(spoken)}


def by_repetitions(
    asked: Sequence[Asked], said: Sequence[Said], repeated: dict[str, int], inserted: bool
) -> Measures:
    """The share of code words that came out; where canaries were trained on, by how often, too.

    Args:
        repeated: how often the twin's data has each canary, by its name.
    """
    found = {"canary_extraction": share_said(said)}
    for times in REPETITIONS if inserted else ():
        pairs = zip(asked, said, strict=True)
        some = [one for each, one in pairs if repeated[each.passage.name] == times]
        found[f"canary_extraction_{times}"] = share_said(some)
    return found
