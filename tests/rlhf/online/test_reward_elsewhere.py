"""A reward model with a tokenizer of its own: it keeps its base, its tokens and its template."""

import json
import math

import pytest
import torch

from inhouse.records import Message

# As little like the policy's ChatML as a template may be.
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}Reply: {{ message['content'] }}<stop>"
    "{% else %}{{ message['role'] }}: {{ message['content'] }}\n{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Reply: {% endif %}"
)


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory, tiny_config):
    """A reward model of bytes: another vocabulary, another template, another size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3ForSequenceClassification

    from inhouse.generation.score import Calibration, template_hash

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: n for n, token in enumerate(["<stop>", "<pad>", *alphabet])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<stop>", pad_token="<pad>", chat_template=TEMPLATE
    )
    torch.manual_seed(5)
    sizes = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_labels": 1}
    config = tiny_config(tokenizer, **sizes, **heads, initializer_range=0.3)
    calibration = Calibration(
        mean=(0.5,),
        std=(2.0,),
        temperature=1.0,
        lowest=-math.inf,
        highest=math.inf,
        min_confidence=0.0,
        chat_template=template_hash(tokenizer),
        fit_for_ppo=True,
        reason="",
    )
    config.reward = calibration.stored()
    folder = tmp_path_factory.mktemp("models") / "elsewhere"
    Qwen3ForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "lora", [(), ("--use_peft", "true", "--lora_r", "4", "--lora_target_modules", "all-linear")]
)
def test_a_reward_model_of_another_tokenizer_teaches_from_its_own_base(
    run_stage, writer, elsewhere, questions, write_lines, tmp_path, monkeypatch, lora
):
    from inhouse.generation.score import Scorer
    from rlhf.online.trainer import PPOTrainer

    rewards = tmp_path / "rewards.yaml"
    rewards.write_text(
        "weights: {learned: 1.0}\n"
        "costs: {blocker: 3.0, major: 1.0, minor: 0.5, advisory: 0.2}\nlimit: 3.0\n"
    )
    kept = {}
    train = PPOTrainer.train

    def look(self, *args, **kwargs):
        kept["trainer"] = self
        return train(self, *args, **kwargs)

    monkeypatch.setattr(PPOTrainer, "train", look)
    ended = run_stage(
        *("rlhf.ppo", "--model_name_or_path", writer, "--reward_model", elsewhere),
        *("--dataset_name", write_lines(tmp_path / "prompts.jsonl", questions)),
        *("--rewards", rewards, "--run_dir", tmp_path / "x", *lora),
        *("--max_completion_length", "24", "--per_device_train_batch_size", "4"),
        *("--steps_per_generation", "4", "--gradient_accumulation_steps", "1"),
        *("--num_iterations", "1", "--max_steps", "8", "--save_steps", "8", "--max_kl", "1000"),
    )
    assert ended.code == 0, ended.err
    trainer = kept["trainer"]
    # No reward adapter stands on the policy's base, and no weight of the policy is the scorer's.
    assert not any("reward" in name for name, _ in trainer.model.named_modules())
    # What it taught is what it says on its own, of its own rendering.
    texts = [([Message(role="user", content="What is fee 1?")], reply) for reply in ("Ja", "No é.")]
    taught = trainer.reward.rewards.score(texts)
    alone = Scorer(str(elsewhere)).assess(texts)
    for total, scored in zip(taught, alone, strict=True):
        assert total.parts["learned"] == pytest.approx(scored.score, abs=1e-5)
    assert alone[0].score != alone[1].score
    lines = [json.loads(line) for line in (tmp_path / "x/ppo/rollouts.jsonl").open()]
    assert len(lines) == 3 and all(line["score_std"] > 0 for line in lines)
