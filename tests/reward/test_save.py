"""Saving proves itself: full or adapter, alone or on a base that others share."""

import dataclasses
import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

from inhouse.errors import InputError
from inhouse.generation.score import Calibration, Scorer, head_scores, template_hash
from inhouse.models.load import load_causal_lm, new_reward_model, save_model
from reward.save import save

ROWS = [[5, 6, 7, 8], [9, 10, 11], [12, 13, 14, 15, 16, 17]]


def trained(tiny_model, lora: bool, heads: int = 2):
    """A reward model whose weights are not those it started from."""
    model = new_reward_model(str(tiny_model), dtype="float32", seed=0, heads=heads)
    if lora:
        config = LoraConfig(
            r=4, target_modules="all-linear", task_type="SEQ_CLS", modules_to_save=["score"]
        )
        model = get_peft_model(model, config)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.1)
    return model


@pytest.fixture
def calibration(tokenizer):
    none = Calibration.none(2, template_hash(tokenizer))
    return dataclasses.replace(none, mean=(0.5, 0.1), std=(2.0, 4.0), lowest=-9.0, highest=9.0)


@pytest.mark.parametrize("lora", [False, True])
def test_what_is_saved_scores_as_what_was_trained(
    tiny_model, tokenizer, calibration, tmp_path, lora
):
    model = trained(tiny_model, lora)
    before = head_scores(model, ROWS, tokenizer.pad_token_id)
    assert save(model, tokenizer, calibration, tmp_path / "r", ROWS) <= 1e-6
    again = Scorer(str(tmp_path / "r"))
    assert again.calibration == calibration
    after = head_scores(again.model, ROWS, tokenizer.pad_token_id)
    assert torch.allclose(before, after, atol=1e-6)
    expected = calibration.normalise(before[1].tolist())
    assert again.assess_rows(ROWS)[1].heads == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("lora", [False, True])
def test_a_file_that_is_not_what_was_trained_is_found_out(
    tiny_model, tokenizer, calibration, tmp_path, monkeypatch, lora
):
    real = save_model

    def damaged(model, tokenizer, folder):
        real(model, tokenizer, folder)
        path = next(folder.glob("*.safetensors"))
        weights = load_file(path)
        name = next(name for name in weights if "score" in name)
        save_file({**weights, name: weights[name] * 1.01}, path, metadata={"format": "pt"})

    monkeypatch.setattr("reward.save.save_model", damaged)
    with pytest.raises(InputError, match="scores otherwise than what was trained"):
        save(trained(tiny_model, lora), tokenizer, calibration, tmp_path / "r", ROWS)


def test_an_adapter_scores_the_same_on_a_base_that_others_share(
    tiny_model, tokenizer, calibration, tmp_path
):
    """As PPO uses it: one causal base with a policy's adapter, and this one beside it."""
    save(trained(tiny_model, True), tokenizer, calibration, tmp_path / "r", ROWS)
    expected = head_scores(Scorer(str(tmp_path / "r")).model, ROWS, tokenizer.pad_token_id)

    base = load_causal_lm(str(tiny_model))
    base.score = nn.Linear(32, 2, bias=False)
    policy = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    shared = get_peft_model(base, policy)
    shared.load_adapter(str(tmp_path / "r"), adapter_name="reward")
    shared.set_adapter("reward")
    inner = shared.get_base_model().eval()
    with torch.no_grad():
        found = [
            inner.score(inner.model(torch.tensor([row])).last_hidden_state[0, -1]) for row in ROWS
        ]
    assert torch.allclose(torch.stack(found).double(), expected, atol=1e-6)


def test_an_adapter_loads_in_plain_peft_and_transformers(
    tiny_model, tokenizer, calibration, tmp_path
):
    from transformers import AutoModelForSequenceClassification

    save(trained(tiny_model, True), tokenizer, calibration, tmp_path / "r", ROWS)
    expected = head_scores(Scorer(str(tmp_path / "r")).model, ROWS, tokenizer.pad_token_id)
    base = AutoModelForSequenceClassification.from_pretrained(
        str(tiny_model), num_labels=2, dtype="float32"
    )
    model = PeftModel.from_pretrained(base, str(tmp_path / "r")).eval()
    with torch.no_grad():
        found = torch.cat([model(torch.tensor([row])).logits for row in ROWS])
    assert torch.allclose(found.double(), expected, atol=1e-6)


def test_the_config_says_what_scores_mean(tiny_model, tokenizer, calibration, tmp_path):
    save(trained(tiny_model, False), tokenizer, calibration, tmp_path / "r", ROWS)
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForSequenceClassification"]
    assert config["reward"]["mean"] == [0.5, 0.1] and config["reward"]["fit_for_ppo"] is False
    assert config["pad_token_id"] == tokenizer.pad_token_id
