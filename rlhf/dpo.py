"""Direct preference optimisation on TRL's trainer, full or LoRA.

    python -m rlhf.dpo
    python -m rlhf.dpo --run_dir runs/mine --dataset_name preferences.jsonl

Starts from ``runs/<name>/sft``, which is also the reference: what the policy may not stray from is
what it started from (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, equation 7).

Records in: preference. Out: ``runs/<name>/dpo/``: the model or adapter, its tokenizer with the
chat template, ``training.svg``, ``metrics.json``, ``manifest.json``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from inhouse import run as runs
from inhouse.config import Stage, parse
from inhouse.errors import InputError

STAGE = Stage("dpo", "python -m rlhf.dpo", "the model learns to prefer what raters preferred")

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

    dataset_name: str | None = field(
        default=None,
        metadata={"help": "Preferences; else RUN_DIR/preferences/preferences.jsonl."},
    )
    house_rules: str | None = field(
        default=None,
        metadata={"help": "House rules: pairs whose chosen answer breaks a blocker are left out."},
    )
    held_out_share: float = field(
        default=0.05,
        metadata={"help": "Share of prompts kept out of training, to measure on."},
    )
    answer_prompts: int = field(
        default=16,
        metadata={"help": "Held-out prompts that are answered before and after; 0 for none."},
    )
    leave_out_long: bool = field(
        default=False,
        metadata={"help": "Leave out pairs over max_length, counted, instead of stopping."},
    )
    ref_cache_dir: str | None = field(
        default=None,
        metadata={"help": "Reference log-probabilities of all runs; else RUN_DIR/cache."},
    )
    allow_unscrubbed: bool = field(
        default=False,
        metadata={"help": "Train on personal data that the scan finds; the manifest says so."},
    )
    personal_data_allow: str | None = field(
        default=None,
        metadata={"help": "The firm's own public contacts, one a line: nobody's personal data."},
    )
    personal_data_ner: str | None = field(
        default=None,
        metadata={"help": "A folder with a model that labels names, for the scan of the data."},
    )
    share_prompts: bool = field(
        default=True,
        metadata={"help": "Run a pair's prompt once for both answers, where the model allows it."},
    )

    def __post_init__(self) -> None:
        check_shares(self.held_out_share, self.answer_prompts)


def main() -> None:
    """Config, records, model and reference, trainer, train, save, finish."""
    parsed = parse(STAGE, DPOOptions, trl=("DPOConfig", "ModelConfig"))
    options, own, training, model_args = parsed

    from trl import DPOTrainer  # these take seconds, and --help must not

    from compliance.privacy.supplied import Supplied
    from inhouse.models import sharding
    from inhouse.models.load import load_tokenizer
    from inhouse.training import memory
    from inhouse.training.options import check_settings, stage_folder
    from inhouse.training.plan import count_parameters
    from rlhf.offline import data as data_of
    from rlhf.offline import reference, rows, shared_prompts
    from rlhf.offline import stage as offline

    check_settings(parsed.settings, may_shard=True)
    check_losses(training)
    reference.check_settings(training)
    campaign = Path(options.run_dir)
    inputs = data_of.find_inputs(campaign, model_args, training, own)
    folder = stage_folder(parsed, options, STAGE.name)
    run = runs.open_run(STAGE, options, parsed.settings, inputs, folder=folder)

    tokenizer = load_tokenizer(model_args.model_name_or_path)
    source = str(inputs["dataset_name"])
    pairs, places = data_of.read_pairs(source)
    data = data_of.make_data(
        tokenizer,
        pairs,
        places,
        source,
        rows.pair_row,
        lambda pair: pair.chosen[0].content,
        house_rules=own.house_rules,
        max_length=training.max_length,
        leave_out_long=own.leave_out_long,
        held_out_share=own.held_out_share,
        allow_unscrubbed=own.allow_unscrubbed,
        search=Supplied.read(ner_model=own.personal_data_ner, allow=own.personal_data_allow),
    )
    free = memory.free_bytes()
    model, lora = offline.load(model_args, training, tokenizer, data)
    sharding.begin(training)
    share, names = own.share_prompts, ("ref_chosen_logps", "ref_rejected_logps")
    kind = shared_prompts.trainer_for(model, training, data.rows) if share else DPOTrainer
    run_as = shared_prompts.rows_of(kind, data.rows)
    need = offline.check_memory(model, lora, model_args, training, run_as, free)
    size = count_parameters(model, lora)
    parts = (model, model_args, lora, tokenizer, data)
    if options.dry_run:
        trainer = offline.trial_trainer(kind, names, training, *parts)
        offline.print_plan(trainer, size, run_as, need, tokenizer, data, folder)
        return

    run.start()
    training.output_dir = str(run.path(runs.CHECKPOINTS))
    start = reference.describe(model_args.model_name_or_path)
    data_of.say(f"loss: {' + '.join(training.loss_type)}, beta {training.beta}\nreference: {start}")
    kept = Path(own.ref_cache_dir or folder.parent / "cache")
    cache = reference.Cache(kept, start, model_args, training)
    trainer = offline.make_trainer(reference.prepared(kind, names, cache), training, *parts)
    offline.print_plan(trainer, size, run_as, need, tokenizer, data, folder)
    metrics = offline.train(trainer, run, tokenizer, data, own.answer_prompts)
    run.finish(
        config=tuple(parsed),
        seed=training.seed,
        metrics=metrics | data.told | {"reference": asdict(start)},
        next_command="python -m review",
    )


def check_shares(held_out_share: float, answer_prompts: int) -> None:
    """Refuse shares and counts that mean nothing.

    Raises:
        ValueError: names the value and what it may be.
    """
    if not 0 <= held_out_share < 1:
        raise ValueError(f"held_out_share is {held_out_share}: give 0 or more, below 1")
    if answer_prompts < 0:
        raise ValueError(f"answer_prompts is {answer_prompts}: give 0 or more")


def check_losses(training: Any) -> None:
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
