"""Direct preference optimisation on TRL's trainer, full or LoRA.

    python -m rlhf.dpo
    python -m rlhf.dpo --run_dir runs/mine --dataset_name preferences.jsonl

Starts from ``runs/<name>/sft``, which is also the reference: what the policy may not stray from is
what it started from (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, equation 7).

Records in: preference. Out: ``runs/<name>/dpo/``: the model or adapter, its tokenizer with the
chat template, ``training.svg``, ``metrics.json``, ``manifest.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inhouse import run as runs
from inhouse.config import (
    DataOptions,
    HoldOutOptions,
    PrivacyOptions,
    RetainOptions,
    Stage,
    parse,
    setting,
)
from inhouse.errors import InputError
from rlhf.offline.options import OfflineOptions

if TYPE_CHECKING:
    from trl import DPOConfig

STAGE = Stage(
    "dpo",
    "python -m rlhf.dpo",
    "the model learns to prefer what raters preferred",
    reads="preferences/preferences.jsonl",
    mend="run `python -m labeling.preferences` first, or give your own with --dataset_name",
)

# TRL's losses, and where each comes from; one or several, with --loss_weights.
LOSSES = {
    "sigmoid": "DPO, https://arxiv.org/abs/2305.18290",
    "sigmoid_norm": "DPO by the token, for length: https://arxiv.org/abs/2411.15124",
    "hinge": "SLiC's, https://arxiv.org/abs/2305.10425",
    "ipo": "no over-fitting to sure raters, https://arxiv.org/abs/2310.12036",
    "exo_pair": "https://arxiv.org/abs/2402.00856; needs label_smoothing",
    "nca_pair": "https://arxiv.org/abs/2402.05369",
    "robust": "for noisy raters, https://arxiv.org/abs/2403.00409; label_smoothing is their noise",
    "bco_pair": "https://arxiv.org/abs/2404.04656",
    "sppo_hard": "https://arxiv.org/abs/2405.00675",
    "aot": "https://arxiv.org/abs/2406.05882",
    "aot_unpaired": "https://arxiv.org/abs/2406.05882",
    "apo_zero": "chosen is better than the model, https://arxiv.org/abs/2408.06266",
    "apo_down": "the model is better than chosen, https://arxiv.org/abs/2408.06266",
    "discopop": "https://arxiv.org/abs/2406.08414",
    "sft": "the chosen answer's own likelihood: keeps answers whole beside another loss",
}
# The other divergences leave a term that cancels in these only.
ANY_DIVERGENCE = {
    *("sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft")
}


@dataclass
class DPOOptions:
    """What this stage adds to TRL's keys."""

    share_prompts: bool = setting(
        True, "Run a pair's prompt once for both answers, where the model allows it."
    )


def main() -> None:
    """Config, losses, and how preferences are learned from: the rest is as in KTO."""
    kinds = (DataOptions, HoldOutOptions, PrivacyOptions, RetainOptions, OfflineOptions, DPOOptions)
    parsed = parse(STAGE, *kinds, trl=("DPOConfig", "ModelConfig"))
    *_, own, training, _ = parsed

    from trl import DPOTrainer  # these take seconds, and --help must not

    from rlhf.offline import data, rows, shared_prompts, stage

    check_losses(training)
    method = stage.Method(
        read=data.read_pairs,
        make_columns=rows.pair_row,
        wanted=lambda pair: pair.chosen[0].content,
        reference_columns=("ref_chosen_logps", "ref_rejected_logps"),
        trainer_for=shared_prompts.trainer_for if own.share_prompts else lambda *_: DPOTrainer,
        rows_of=shared_prompts.rows_of,
        may_shard=True,
    )
    stage.align(STAGE, parsed, method)


def check_losses(training: DPOConfig) -> None:
    """Refuse an unknown loss and what TRL would refuse only once the run has begun.

    Raises:
        InputError: names the value, what was expected, and the key to change.
    """
    unknown = [name for name in training.loss_type if name not in LOSSES]
    if unknown:
        known = "\n".join(f"  {name}: {about}" for name, about in LOSSES.items())
        raise InputError(f"no loss {unknown[0]!r}: loss_type is one or several of\n{known}")
    losses, smoothing = set(training.loss_type), training.label_smoothing
    if "exo_pair" in losses and not smoothing:
        raise InputError("loss_type exo_pair divides by label_smoothing: set it, to 1e-3 say")
    if "robust" in losses and not 0 <= smoothing < 0.5:
        raise InputError(
            f"label_smoothing is {smoothing}: for loss_type robust it is the share of pairs that "
            "raters got the wrong way round, from 0 to below 0.5"
        )
    divergence = training.f_divergence_type
    if divergence != "reverse_kl" and losses - ANY_DIVERGENCE:
        raise InputError(
            f"f_divergence_type {divergence} does not go with loss_type "
            f"{sorted(losses - ANY_DIVERGENCE)[0]}: leave one of them out"
        )
    if training.use_weighting and losses & {"aot", "aot_unpaired"}:
        raise InputError("use_weighting does not go with loss_type aot: leave one of them out")


if __name__ == "__main__":
    runs.command(main)
