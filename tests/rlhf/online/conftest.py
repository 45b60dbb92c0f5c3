"""A model that writes short answers and ends them, and trainers of it with adapters or in full."""

import copy
from pathlib import Path

import pytest
import torch

SETTINGS = {
    "use_cpu": True,
    "bf16": False,
    "activation_checkpointing": False,
    "per_device_train_batch_size": 4,
    "steps_per_generation": 4,
    "num_iterations": 2,
    "max_steps": 16,  # two rollouts of 2 epochs x 4 mini-batches
    "save_steps": 8,
    "logging_steps": 1,
    "max_completion_length": 24,
    "learning_rate": 1e-3,
    "report_to": [],
    "disable_tqdm": True,
}


@pytest.fixture(scope="session")
def writer(tiny_model, tokenizer, tmp_path_factory) -> Path:
    """The tiny model with a longer embedding for its end token: most answers end within 24 tokens.

    Logits are hidden state times embedding: five times the length makes the end token likely in
    some states and unlikely in others.
    """
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    model.model.embed_tokens.weight.data[tokenizer.eos_token_id] *= 5
    folder = tmp_path_factory.mktemp("models") / "writer"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def questions() -> list[dict]:
    """Thirty-two prompts of different length, in TRL's shape."""
    return [
        {"prompt": [{"role": "user", "content": "What is fee " + "number " * (n % 5) + f"{n}?"}]}
        for n in range(32)
    ]


@pytest.fixture(scope="session")
def composed():
    """A reward made of one plain function from text to number."""
    from inhouse.generation.score import Scored
    from rlhf.online.reward_function import RewardFunction
    from rlhf.online.rewards import Composition, Rewards

    def make(score):
        def learned(texts):
            return [Scored(float(score(text)), (0.0,), 0.0, 1.0, False) for _, text in texts]

        costs = {"blocker": 3.0, "major": 1.0, "minor": 0.5, "advisory": 0.2}
        weights = {"learned": 1.0}
        return RewardFunction(
            Rewards(Composition(weights=weights, costs=costs, limit=3.0), None, learned, {})
        )

    return make


def share_of_early_letters(text: str) -> float:
    """A reward with some spread: of the letters, how many stand in the alphabet's first half."""
    letters = [letter for letter in text.lower() if letter.isalpha()]
    return sum(letter < "n" for letter in letters) / len(letters) if letters else 0.0


@pytest.fixture(scope="session")
def make_roles(writer):
    """Roles on a fresh copy of the writer, ``lora`` or ``full``, every LoRA B off zero."""
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM

    from rlhf.online import roles

    loaded = AutoModelForCausalLM.from_pretrained(writer, dtype=torch.float32)

    def make(mode: str):
        model = copy.deepcopy(loaded)
        if mode == "full":
            players = roles.full(model)
            head = model.critic.v_head.weight
        else:
            lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
            players = roles.adapters(model, lora, seed=0)
            generator = torch.Generator().manual_seed(1)
            for name, weight in players.model.named_parameters():
                if "lora_B" in name:  # at zero an adapter equals its base, and faults are invisible
                    weight.data.copy_(0.1 * torch.randn(weight.shape, generator=generator))
            head = players.model.get_base_model().v_head.modules_to_save["critic"].weight
        head.data.copy_(0.1 * torch.randn(head.shape, generator=torch.Generator().manual_seed(2)))
        return players

    return make


def padding_with(tokenizer, token: str):
    """The tokenizer with that padding."""
    other = copy.deepcopy(tokenizer)
    other.pad_token = token
    return other


@pytest.fixture
def make_trainer(make_roles, composed, questions, tokenizer, tmp_path):
    """A PPOTrainer; keywords of TRL's config and of PPOSettings change it."""
    import dataclasses

    import datasets
    from trl import RLOOConfig

    from rlhf.online.trainer import PPOTrainer
    from rlhf.ppo import PPOSettings

    def make(
        mode="lora", score=share_of_early_letters, folder=None, pads_with="<|pad|>", **changes
    ):
        own = {field.name for field in dataclasses.fields(PPOSettings)} & changes.keys()
        settings = {"value_warmup": 0, "max_kl": 1e3, "value_learning_rate": 1e-3}
        settings |= {key: changes.pop(key) for key in own}
        output = str(folder or tmp_path / "out")
        args = RLOOConfig(output_dir=output, **(SETTINGS | changes))
        args.num_generations = 1
        return PPOTrainer(
            make_roles(mode),
            composed(score),
            PPOSettings(**settings),
            args,
            datasets.Dataset.from_list(questions),
            padding_with(tokenizer, pads_with),
        )

    return make


@pytest.fixture
def make_rloo(writer, composed, questions, tokenizer, tmp_path):
    """A WatchedRLOOTrainer of all the writer's weights; keywords of TRL's config change it."""
    import datasets
    from transformers import AutoModelForCausalLM
    from trl import RLOOConfig

    from rlhf.online.watched import WatchedRLOOTrainer

    def make(folder=None, max_kl: float = 1e3, rows=questions, pads_with="<|pad|>", **changes):
        output = str(folder or tmp_path / "out")
        # A rollout is 4 answers to each of 4 prompts, learned from in 4 steps.
        group = {"num_generations": 4, "num_iterations": 1, "save_steps": 4}
        args = RLOOConfig(output_dir=output, **(SETTINGS | group | changes))
        return WatchedRLOOTrainer(
            AutoModelForCausalLM.from_pretrained(writer, dtype=torch.float32),
            composed(share_of_early_letters),
            max_kl,
            args,
            datasets.Dataset.from_list(rows),
            padding_with(tokenizer, pads_with),
            None,
        )

    return make
