"""A campaign whose models are trained, as far as the review looks."""

import json

import pytest


@pytest.fixture
def campaign(tiny_model, tokenizer, write_lines, prompts, tmp_path):
    """A campaign in which sft and dpo have run, as far as review looks."""
    import torch

    from inhouse.models.load import load_causal_lm, save_model

    folder = tmp_path / "x"
    for seed, name in enumerate(("sft", "dpo"), start=1):
        model = load_causal_lm(str(tiny_model))
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
        save_model(model, tokenizer, folder / name)
        manifest = {"stage": name, "config": {"model_name_or_path": str(tiny_model)}}
        (folder / name / "manifest.json").write_text(json.dumps(manifest))
    write_lines(folder / "data" / "held_out.jsonl", prompts)
    return folder
