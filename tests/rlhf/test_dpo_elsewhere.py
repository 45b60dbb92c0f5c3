"""DPO where it is not at home: other architectures with their own templates, several processes."""

import copy
import json
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

# The shapes of Meta's, Google's and a plain template: headers with a BOS before them, another name
# for the assistant and no system turn, and words instead of control tokens.
LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PLAIN = (
    "{% for m in messages %}{{ m.role }}:\n{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
)
SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
LONG = {"max_position_embeddings": 256, "initializer_range": 0.2}
KINDS = {
    "llama": (
        lambda **ids: LlamaForCausalLM(LlamaConfig(**SIZE, **HEADS, **LONG, **ids)),
        LLAMA,
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|pad|>"},
        ["<|start_header_id|>", "<|end_header_id|>"],
    ),
    "gemma": (
        lambda **ids: GemmaForCausalLM(GemmaConfig(**SIZE, **HEADS, **LONG, **ids)),
        GEMMA,
        {"bos_token": "<bos>", "eos_token": "<end_of_turn>", "pad_token": "<pad>"},
        ["<start_of_turn>"],
    ),
    "gpt2": (
        lambda **ids: GPT2LMHeadModel(
            GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=256, **ids)
        ),
        PLAIN,
        {"eos_token": "<|endoftext|>", "pad_token": "<|pad|>"},
        [],
    ),
}


@pytest.fixture
def foreign_model(tokenizer, tmp_path):
    """A tiny random model of another architecture with that family's template and tokens."""

    def make(kind: str):
        build, template, named, more = KINDS[kind]
        theirs = copy.deepcopy(tokenizer)
        theirs.add_special_tokens({**named, "additional_special_tokens": more})
        theirs.chat_template = template
        torch.manual_seed(0)
        model = build(
            vocab_size=len(theirs),
            eos_token_id=theirs.eos_token_id,
            pad_token_id=theirs.pad_token_id,
            bos_token_id=theirs.bos_token_id,
        )
        folder = tmp_path / kind
        model.save_pretrained(folder)
        theirs.save_pretrained(folder)
        return folder

    return make


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [(), ("--use_peft", "--lora_target_modules", "all-linear")])
def test_dpo_starts_at_nil_and_learns(
    aligned, foreign_model, preferences, write_lines, tmp_path, kind, words
):
    rows = copy.deepcopy(preferences)
    for row in rows:
        row["prompt"] = row["prompt"][1:]  # Gemma's template knows no system turn
    data = write_lines(tmp_path / "own.jsonl", rows)
    given = ("--model_name_or_path", str(foreign_model(kind)), "--answer_prompts", "2")
    ended = aligned("dpo", *words, *given, "--held_out_share", "0.2", data=data)
    assert ended.metrics["reference/start_gap"] < 1e-3
    assert ended.metrics["rewards/margins"] > 0.05
    assert ended.metrics["answers"]["before"]["kl"] == pytest.approx(0, abs=1e-5)


@pytest.mark.skipif(
    torch.cuda.device_count() == 1, reason="two processes need two GPUs, or a machine without one"
)
def test_two_processes_reach_the_weights_and_the_loss_of_one(
    aligned, run_command, tiny_model, prefs, tmp_path
):
    # Every step sees all sixteen pairs, so that the order does not matter: 16, or twice 8.
    shared = [
        *("--optim", "sgd", "--learning_rate", "0.1", "--max_steps", "3", "--logging_steps", "1"),
        *("--held_out_share", "0", "--per_device_train_batch_size"),
    ]
    one = aligned("dpo", *shared, "16", run_dir=tmp_path / "one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    config = ROOT / "configs" / "accelerate" / "ddp.yaml"
    launched = run_command(
        *("accelerate.commands.accelerate_cli", "launch", "--config_file", str(config)),
        *("--main_process_port", port, "-m", "rlhf.dpo", "--run_dir", str(tmp_path / "two")),
        *("--model_name_or_path", str(tiny_model), "--dataset_name", str(prefs), *shared, "8"),
        *("--gradient_accumulation_steps", "1", "--answer_prompts", "0"),
        OMP_NUM_THREADS="1",
    )
    assert launched.returncode == 0, launched.stderr[-4000:]
    for said in ("reference: ", "16 records computed", "dpo: wrote"):
        assert launched.stdout.count(said) == 1, f"{said!r} in\n{launched.stdout}"
    two = json.loads((tmp_path / "two" / "dpo" / "metrics.json").read_text())
    assert two["reference/start_gap"] < 1e-3
    for key in ("loss", "rewards/margins", "logps/chosen"):
        assert two[key] == pytest.approx(one.metrics[key], rel=1e-4), key
    folders = (one.folder, tmp_path / "two" / "dpo")
    before, after = (load_file(folder / "model.safetensors") for folder in folders)
    for name, tensor in before.items():
        assert torch.allclose(tensor, after[name], atol=1e-5), name
