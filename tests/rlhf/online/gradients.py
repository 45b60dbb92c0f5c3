"""One step's gradients on one process, or the same on several under DDP or FSDP2; started by
``test_ppo_processes.py``.

    python tests/rlhf/online/gradients.py one|ddp|fsdp2 lora|full MODEL OUT
"""

import sys

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import RLOOConfig

from inhouse.generation.score import Scored
from inhouse.run import leave_group
from rlhf.online import roles
from rlhf.online.reward_function import RewardFunction
from rlhf.online.rewards import Composition, Rewards
from rlhf.online.trainer import PPOTrainer
from rlhf.ppo import PPOSettings

ROWS, PROMPT, ANSWER = 8, 6, 5


def trainer_of(mode: str, folder: str, out: str) -> PPOTrainer:
    """A trainer whose adapters, critic included, are off zero."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if mode == "full":
        players = roles.full(model)
    else:
        lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
        players = roles.adapters(model, lora, seed=0)
    generator = torch.Generator().manual_seed(1)
    for name, weight in players.model.named_parameters():
        if "lora_B" in name or "v_head" in name:
            weight.data.copy_(0.1 * torch.randn(weight.shape, generator=generator))
    costs = {"blocker": 3.0, "major": 1.0, "minor": 0.5, "advisory": 0.2}
    rewards = Rewards(
        Composition(weights={"learned": 1.0}, costs=costs, limit=3.0),
        None,
        lambda texts: [Scored(0.0, (0.0,), 0.0, 1.0, False) for _ in texts],
        {},
    )
    args = RLOOConfig(
        output_dir=f"{out}.trainer",
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        per_device_train_batch_size=ROWS,
        report_to=[],
        disable_tqdm=True,
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = Dataset.from_list([{"prompt": [{"role": "user", "content": "?"}]}])
    return PPOTrainer(players, RewardFunction(rewards), PPOSettings(), args, rows, tokenizer)


def batch_of(rank: int, ranks: int) -> dict[str, torch.Tensor]:
    """This rank's rows of one rollout, uneven in length; the same eight rows whoever has them."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(10, 500, (ROWS, PROMPT + ANSWER), generator=generator)
    lengths = torch.tensor([5, 1, 3, 2, 4, 5, 1, 2])
    mask = (torch.arange(ANSWER) < lengths[:, None]).long()
    numbers = 0.3 * torch.randn(4, ROWS, ANSWER, generator=generator)
    whole = {
        "prompt_ids": ids[:, :PROMPT],
        "prompt_mask": torch.ones(ROWS, PROMPT, dtype=torch.long),
        "completion_ids": ids[:, PROMPT:],
        "completion_mask": mask,
        "old_logps": numbers[0] - 6.0,
        "old_values": numbers[1],
        "advantages": numbers[2],
        "returns": numbers[3],
        "tokens": (mask.sum() / ranks).expand(ROWS),
    }
    share = ROWS // ranks
    return {key: value[rank * share : (rank + 1) * share] for key, value in whole.items()}


def main(kind: str, mode: str, folder: str, out: str) -> None:
    trainer = trainer_of(mode, folder, out)
    rank, ranks = trainer.accelerator.process_index, trainer.accelerator.num_processes
    model = trainer.model
    if kind == "ddp":
        wrapped = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=False)
    elif kind == "fsdp2":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (ranks,))
        for module in list(model.modules()):
            if type(module).__name__ == "Qwen3DecoderLayer":
                fully_shard(module, mesh=mesh)
        wrapped = fully_shard(model, mesh=mesh)
    else:
        wrapped = model
    trainer._compute_loss(wrapped, batch_of(rank, ranks)).backward()
    gradients = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            assert weight.grad is not None, f"{name} has no gradient"
            whole = weight.grad
            gradients[name] = whole.full_tensor() if isinstance(whole, DTensor) else whole
    if rank == 0:
        torch.save(gradients, out)
    leave_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
