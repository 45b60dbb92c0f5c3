"""One PPO run of `benchmarks/ppo.py` in a process of its own: ours, or TRL 1.12's.

    python benchmarks/ppo_players.py ours task.json told.json

Both are measured alike: what they import is loaded first, and what the process then takes at most,
above that, is its memory. ``static`` is what all tensors take that are alive when training has
ended: weights, the optimiser's moments, and whatever else the trainer keeps.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROOT = Path(__file__).resolve().parent.parent
Task = dict[str, Any]  # what `benchmarks/ppo.py` asks for
Points = list[tuple[float, float]]  # KL and score of each rollout
Measured = Callable[[Callable], Callable]  # a training, under the clock


def ours(task: Task, measured: Measured) -> Points:
    """`python -m rlhf.ppo`, as it is called, with its loop under the clock."""
    sys.path.insert(0, str(ROOT))
    import rlhf.online.trainer  # noqa: F401
    from inhouse import run as runs
    from rlhf import ppo
    from rlhf.online import stage as online

    online.train = measured(online.train)
    flags = flags_of(task, task["sizes"])
    sys.argv = ["rlhf.ppo", *(str(word) for key in flags for word in (f"--{key}", flags[key]))]
    try:
        runs.command(ppo.main)
    except SystemExit as ended:
        if ended.code:
            raise
    lines = (Path(task["folder"]) / "ppo" / "rollouts.jsonl").read_text().splitlines()
    # One more is made after training.
    rollouts = [json.loads(line) for line in lines][: task["sizes"]["rollouts"]]
    return [(each["kl"], each["score"]) for each in rollouts]


def flags_of(task: Task, sizes: dict[str, int]) -> dict[str, object]:
    """Our command's settings."""
    lora = {
        **{"use_peft": "true", "lora_target_modules": "all-linear", "lora_r": task["lora"]},
        **{"lora_alpha": 2 * task["lora"], "lora_dropout": 0},
    }
    return {
        "model_name_or_path": task["policy"],
        "reward_model": task["reward"],
        "rewards": task["rewards"],
        "dataset_name": task["prompts"],
        "run_dir": task["folder"],
        "use_cpu": "true",
        "bf16": "false",
        "activation_checkpointing": "false",
        "seed": task["seed"],
        "per_device_train_batch_size": sizes["micro"],
        "steps_per_generation": sizes["answers"] // sizes["micro"],
        "gradient_accumulation_steps": sizes["mini_batch"] // sizes["micro"],
        "num_iterations": sizes["epochs"],
        "max_steps": sizes["rollouts"] * sizes["epochs"] * sizes["answers"] // sizes["mini_batch"],
        "max_completion_length": sizes["longest"],
        "learning_rate": task["rate"],
        "value_learning_rate": task["rate"],
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "max_grad_norm": 0,
        "beta": task["beta"],
        "vf_coef": 0.1,
        "value_warmup": 0,
        "missing_eos_penalty": 0,
        "max_kl": 1e6,
        "max_step_kl": 1e6,
        "logging_steps": 1000,
        "save_strategy": "no",
        "report_to": "none",
    } | (lora if task["lora"] else {})


def trl(task: Task, measured: Measured) -> Points:
    """TRL's trainer as its own script sets it up, but that the critic starts where ours does."""
    import datasets
    import torch
    from peft import LoraConfig
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    train, sizes = measured(PPOTrainer.train), task["sizes"]
    tokenizer = AutoTokenizer.from_pretrained(task["policy"], padding_side="left")
    fp32: dict[str, Any] = {"dtype": torch.float32}

    def policy() -> Any:
        return AutoModelForCausalLM.from_pretrained(task["policy"], **fp32)

    def scored(folder: str) -> Any:
        model = AutoModelForSequenceClassification
        return model.from_pretrained(folder, num_labels=1, **fp32)

    critic = scored(task["policy"])
    torch.nn.init.zeros_(critic.score.weight)
    wide = {"lora_alpha": 2 * task["lora"], "target_modules": "all-linear"}
    lora = LoraConfig(r=task["lora"], task_type="CAUSAL_LM", **wide) if task["lora"] else None
    trainer = PPOTrainer(
        args=PPOConfig(**settings_of(task, sizes)),
        processing_class=tokenizer,
        model=policy(),
        ref_model=None if lora else policy(),
        reward_model=scored(task["reward"]),
        value_model=critic,
        train_dataset=datasets.Dataset.from_list(prompts_of(task, tokenizer)),
        peft_config=lora,
    )
    train(trainer)
    logged = [entry for entry in trainer.state.log_history if "objective/kl" in entry]
    return [(entry["objective/kl"], entry["objective/scores"]) for entry in logged]


def prompts_of(task: Task, tokenizer: "PreTrainedTokenizerBase") -> list[dict[str, list[int]]]:
    """The prompts as TRL's trainer takes them. Shape: (tokens,) each."""
    rows = [json.loads(line) for line in Path(task["prompts"]).read_text().splitlines()]
    render = {"add_generation_prompt": True, "return_dict": False}
    return [{"input_ids": tokenizer.apply_chat_template(row["prompt"], **render)} for row in rows]


def settings_of(task: Task, sizes: dict[str, int]) -> dict[str, Any]:
    """TRL's settings that make it the same training as ours."""
    return {
        "output_dir": task["folder"],
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "seed": task["seed"],
        # A batch that is accumulated is stepped too rarely: the whole rollout is one, and is cut.
        "per_device_train_batch_size": sizes["answers"],
        "gradient_accumulation_steps": 1,
        "num_mini_batches": sizes["answers"] // sizes["mini_batch"],
        "local_rollout_forward_batch_size": sizes["forward"],
        "num_ppo_epochs": sizes["epochs"],
        "total_episodes": sizes["rollouts"] * sizes["answers"],
        "response_length": sizes["longest"],
        "stop_token": "eos",
        "temperature": 1.0,
        "learning_rate": task["rate"],
        "lr_scheduler_type": "constant",
        "kl_coef": task["beta"],
        "vf_coef": 0.1,
        "cliprange_value": 1e9,
        "num_sample_generations": 0,
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": "none",
    }


def main() -> None:
    """Play, and write what was measured."""
    player, source, target = sys.argv[1:]
    told: dict[str, Any] = {}

    def measured(train: Callable) -> Callable:
        imported = of_process("VmRSS")

        def timed(*words: object) -> object:
            began = time.perf_counter()
            result = train(*words)
            told["seconds"] = time.perf_counter() - began
            told["static"] = held()
            told["peak"] = of_process("VmHWM") - imported
            return result

        return timed

    play = {"ours": ours, "TRL 1.12": trl}[player]
    told["points"] = play(json.loads(Path(source).read_text()), measured)
    Path(target).write_text(json.dumps(told))


def of_process(field: str) -> int:
    """This process's memory in bytes: ``VmRSS`` now, ``VmHWM`` at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def held() -> int:
    """Bytes of all tensors that are alive."""
    import torch

    gc.collect()
    tensors = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
    storages = [tensor.untyped_storage() for tensor in tensors if tensor.device.type == "cpu"]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


if __name__ == "__main__":
    main()
