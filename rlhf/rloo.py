"""REINFORCE leave-one-out on TRL's own trainer, with PPO's reward, watch and manifest.

    python -m rlhf.rloo

No critic: several answers to each prompt are compared with one another (Ahmadian et al. 2024,
https://arxiv.org/abs/2402.14740). The arithmetic is TRL's; what is added is the composed reward
and the watch of ``rlhf.online.watch``, so that it can be compared with ``python -m rlhf.ppo``.

Records in: prompt. Out: ``runs/<name>/rloo/``: the model or adapter, its tokenizer with the chat
template, ``rollouts.jsonl``, ``rollouts.svg``, ``metrics.json``, ``manifest.json``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from inhouse import run as runs
from inhouse.config import Stage, parse

STAGE = Stage("rloo", "python -m rlhf.rloo", "the model learns by comparing its own answers")


@dataclass
class RLOOOptions:
    """What this stage adds to TRL's keys."""

    dataset_name: str | None = field(
        default=None, metadata={"help": "Prompts; else RUN_DIR/data/prompts.jsonl."}
    )
    reward_model: str | None = field(
        default=None, metadata={"help": "The reward model; else RUN_DIR/reward."}
    )
    rewards: str = field(
        default="configs/rewards.yaml",
        metadata={"help": "What the reward is composed of, and by which weights."},
    )
    house_rules: str | None = field(
        default=None, metadata={"help": "House rules that count in the reward, and block."}
    )
    max_kl: float = field(
        default=20.0, metadata={"help": "Nats an answer above which the policy is rolled back."}
    )

    def __post_init__(self) -> None:
        if not self.max_kl > 0:
            raise ValueError(f"max_kl is {self.max_kl}: give more than 0")


def main() -> None:
    """Config, prompts, reward, model, trainer, train, settle, save, finish."""
    parsed = parse(STAGE, RLOOOptions, trl=("RLOOConfig", "ModelConfig"))
    options, own, training, model_args = parsed

    import datasets  # these take seconds, and --help must not

    from inhouse import chat, records
    from inhouse.models.adapters import lora_config
    from inhouse.models.load import load_causal_lm, load_tokenizer
    from inhouse.training import loop
    from inhouse.training.options import check_settings, stage_folder
    from rlhf.online import checks
    from rlhf.online import stage as online
    from rlhf.online.rloo_trainer import WatchedRLOOTrainer

    check_settings(parsed.settings)
    checks.check_settings(parsed.settings, training)
    inputs = online.find_inputs(options, own, model_args, training)
    folder = stage_folder(parsed, options, STAGE.name)
    run = runs.open_run(STAGE, options, parsed.settings, inputs, folder=folder)

    start = str(inputs["model_name_or_path"])
    tokenizer = load_tokenizer(start)
    longest = training.max_completion_length
    prompts = online.read_prompts(str(inputs["dataset_name"]), tokenizer, start, longest)
    steps = checks.check_rollouts(training, len(prompts))
    online.find_judge(inputs, tokenizer)
    lora = lora_config(model_args)
    model = load_causal_lm(
        start,
        dtype=model_args.dtype,
        attn_implementation=model_args.attn_implementation,
        trainable=True,
    )
    first = chat.prompt_ids(tokenizer, records.Prompt(**prompts[0]).prompt)
    checks.check_padding(model, first, tokenizer.pad_token_id, start)
    reward = online.load_reward(inputs, None)
    if options.dry_run:
        online.print_plan(training, prompts, steps, model, folder, tokenizer.decode(first))
        return

    run.start()
    training.output_dir = str(run.path(runs.CHECKPOINTS))
    rows = datasets.Dataset.from_list(prompts)
    trainer = WatchedRLOOTrainer(model, reward, own.max_kl, training, rows, tokenizer, lora)
    metrics = online.train(trainer, trainer.guard, run, steps)
    trainer.settle(prompts)
    online.write_results(trainer.guard, run)
    loop.save(trainer, tokenizer, run)
    run.finish(
        config=tuple(parsed),
        seed=training.seed,
        metrics=metrics | trainer.guard.metrics(),
        next_command="python -m review",
    )


if __name__ == "__main__":
    runs.command(main)
