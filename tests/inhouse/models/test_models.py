"""Loading and saving: what is refused, and that what comes back is what went in."""

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from inhouse.errors import InputError
from inhouse.models.adapters import base_of, is_adapter
from inhouse.models.folder import PICKLES, check_arguments, find_base, load_config, locate
from inhouse.models.load import (
    load_causal_lm,
    load_reward_model,
    load_tokenizer,
    new_reward_model,
    save_model,
)

IDS = torch.tensor([[5, 6, 7, 8, 9]])


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS).logits


def adapter_on(base: Path, folder: Path, tokenizer, seed: int = 0) -> Path:
    """A saved LoRA adapter whose weights are not zero."""
    torch.manual_seed(seed)
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(load_causal_lm(str(base)), lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    save_model(model, tokenizer, folder)
    return folder


# --- what comes back --------------------------------------------------------------------------


def test_a_model_is_float32_unless_asked_otherwise(tiny_model):
    assert {p.dtype for p in load_causal_lm(str(tiny_model)).parameters()} == {torch.float32}
    half = load_causal_lm(str(tiny_model), dtype="bfloat16")
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}


def test_a_saved_model_is_the_model(tiny_model, tokenizer, tmp_path):
    model = load_causal_lm(str(tiny_model))
    save_model(model, tokenizer, tmp_path / "m")
    assert torch.equal(logits(load_causal_lm(str(tmp_path / "m"))), logits(model))
    assert not [p for p in (tmp_path / "m").iterdir() if p.suffix in PICKLES]


def test_an_adapter_is_loaded_on_its_base_and_changes_it(tiny_model, tokenizer, tmp_path):
    folder = adapter_on(tiny_model, tmp_path / "a", tokenizer)
    assert is_adapter(folder) and not is_adapter(tiny_model)
    assert base_of(str(folder)) == str(tiny_model)
    assert base_of(str(tiny_model)) == str(tiny_model)
    loaded = load_causal_lm(str(folder))
    assert not torch.allclose(logits(loaded), logits(load_causal_lm(str(tiny_model))))
    # By hand: each adapted weight is W + (alpha / r) B A.
    merged = load_causal_lm(str(tiny_model))
    config = json.loads((folder / "adapter_config.json").read_text())
    weights = load_file(folder / "adapter_model.safetensors")
    modules = dict(merged.named_modules())
    for name, a in weights.items():
        if "lora_A" in name:
            b = weights[name.replace("lora_A", "lora_B")]
            target = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            modules[target].weight.data += config["lora_alpha"] / config["r"] * b @ a
    assert torch.allclose(logits(loaded), logits(merged), atol=1e-5)


def test_an_adapter_is_trained_only_where_it_is_asked_to_be(tiny_model, tokenizer, tmp_path):
    folder = str(adapter_on(tiny_model, tmp_path / "a", tokenizer))
    frozen = load_causal_lm(folder)
    assert not any(p.requires_grad for p in frozen.parameters())
    trained = load_causal_lm(folder, trainable=True)
    names = [name for name, p in trained.named_parameters() if p.requires_grad]
    assert names and all("lora_" in name for name in names)


def test_saving_leaves_a_second_adapter_out(tiny_model, tokenizer, tmp_path):
    # DPO keeps its frozen reference so; shipping it would double what is served.
    model = load_causal_lm(str(adapter_on(tiny_model, tmp_path / "a", tokenizer)), trainable=True)
    model.load_adapter(str(tmp_path / "a"), adapter_name="ref")
    save_model(model, tokenizer, tmp_path / "b")
    assert {p.name for p in (tmp_path / "b").iterdir()} == {
        p.name for p in (tmp_path / "a").iterdir()
    }


def test_an_adapters_missing_base_is_named(copy_of_tiny, tokenizer, tmp_path):
    folder = adapter_on(copy_of_tiny, tmp_path / "a", tokenizer)
    shutil.rmtree(copy_of_tiny)
    with pytest.raises(InputError, match=r"no model folder .*model.*base_model_name_or_path"):
        load_causal_lm(str(folder))


def test_a_base_that_has_moved_is_found_where_the_config_then_names_it(
    copy_of_tiny, tokenizer, tmp_path
):
    folder = adapter_on(copy_of_tiny, tmp_path / "a", tokenizer)
    before = logits(load_causal_lm(str(folder)))
    moved = copy_of_tiny.rename(tmp_path / "moved")
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text()) | {"base_model_name_or_path": str(moved)}
    path.write_text(json.dumps(config))
    assert torch.equal(logits(load_causal_lm(str(folder))), before)


# --- the chain of hashes ----------------------------------------------------------------------


def test_a_saved_adapter_records_the_hash_of_each_file_it_stands_on(
    copy_of_tiny, tokenizer, tmp_path
):
    folder = adapter_on(copy_of_tiny, tmp_path / "a", tokenizer)
    known = json.loads((folder / "base.json").read_text())
    hashes = {
        name: hashlib.sha256((copy_of_tiny / name).read_bytes()).hexdigest()
        for name in ("model.safetensors", "config.json")
    }
    listing = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
    assert known == {
        "base": str(copy_of_tiny),
        "sha256": hashlib.sha256(listing.encode()).hexdigest(),
        "files": hashes,
    }


def change_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["model.norm.weight"][0] += 1e-6
    save_file(weights, path, metadata={"format": "pt"})


def change_config(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))


@pytest.mark.parametrize(
    ("change", "named"), [(change_weight, "model.safetensors"), (change_config, "config.json")]
)
@pytest.mark.parametrize("load", [load_causal_lm, new_reward_model])
def test_an_adapter_on_a_base_that_has_changed_is_refused(
    copy_of_tiny, tokenizer, tmp_path, change, named, load
):
    folder = adapter_on(copy_of_tiny, tmp_path / "a", tokenizer)
    load_causal_lm(str(folder))  # hashes are remembered, but not beyond a change
    change(copy_of_tiny)
    settings = {"dtype": "float32", "seed": 0} if load is new_reward_model else {}
    with pytest.raises(InputError) as refusal:
        load(str(folder), **settings)
    for said in (str(folder), str(copy_of_tiny), f"{named} differs", "train the adapter again"):
        assert said in str(refusal.value)


def test_a_reward_adapter_on_a_base_that_has_changed_is_refused(copy_of_tiny, tokenizer, tmp_path):
    model = new_reward_model(
        str(adapter_on(copy_of_tiny, tmp_path / "a", tokenizer)), dtype="float32", seed=0
    )
    model.config.pad_token_id = tokenizer.pad_token_id
    save_model(model, tokenizer, tmp_path / "r")
    load_reward_model(str(tmp_path / "r"))
    change_weight(copy_of_tiny)
    with pytest.raises(InputError, match=r"model\.safetensors differs"):
        load_reward_model(str(tmp_path / "r"))


def test_files_beside_the_weights_may_change(copy_of_tiny, tokenizer, tmp_path):
    folder = adapter_on(copy_of_tiny, tmp_path / "a", tokenizer)
    (copy_of_tiny / "README.md").write_text("a page")
    assert find_base(str(folder)) == str(copy_of_tiny)


def test_an_adapter_from_elsewhere_loads_and_the_missing_record_is_said(
    tiny_model, tokenizer, tmp_path, capsys
):
    folder = adapter_on(tiny_model, tmp_path / "a", tokenizer)
    load_causal_lm(str(folder))
    assert "base.json" not in capsys.readouterr().err
    (folder / "base.json").unlink()
    load_causal_lm(str(folder))
    said = capsys.readouterr().err
    assert str(folder) in said and str(tiny_model) in said and "base.json" in said


@pytest.mark.parametrize("text", ["{", "[]", '{"base": "x"}'])
def test_a_damaged_record_is_refused(tiny_model, tokenizer, tmp_path, text):
    folder = adapter_on(tiny_model, tmp_path / "a", tokenizer)
    (folder / "base.json").write_text(text)
    with pytest.raises(InputError, match=r"base\.json is damaged"):
        load_causal_lm(str(folder))


def test_a_base_without_weights_is_refused(copy_of_tiny, tokenizer, tmp_path):
    folder = adapter_on(copy_of_tiny, tmp_path / "a", tokenizer)
    (copy_of_tiny / "model.safetensors").unlink()
    with pytest.raises(InputError, match="holds no safetensors"):
        load_causal_lm(str(folder))


def test_an_adapter_on_an_adapter_is_refused(tiny_model, tokenizer, tmp_path):
    below = adapter_on(tiny_model, tmp_path / "a", tokenizer)
    folder = adapter_on(tiny_model, tmp_path / "b", tokenizer)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text()) | {"base_model_name_or_path": str(below)}
    path.write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"another adapter.*inhouse\.models merge"):
        load_causal_lm(str(folder))


def test_an_adapters_base_is_checked_like_a_model(copy_of_tiny, tokenizer, tmp_path):
    folder = adapter_on(copy_of_tiny, tmp_path / "a", tokenizer)
    (copy_of_tiny / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match="pickled weights"):
        load_causal_lm(str(folder))


# --- reward models ----------------------------------------------------------------------------


def test_a_reward_model_survives_saving_with_its_head(tiny_model, tokenizer, tmp_path):
    model = new_reward_model(str(tiny_model), dtype="float32", seed=3)
    model.config.pad_token_id = tokenizer.pad_token_id
    save_model(model, tokenizer, tmp_path / "r")
    assert torch.equal(logits(load_reward_model(str(tmp_path / "r"))), logits(model))


def test_a_causal_adapter_is_no_reward_model(tiny_model, tokenizer, tmp_path):
    # Its head would be drawn anew at each load: scores that mean nothing, and no error.
    folder = adapter_on(tiny_model, tmp_path / "a", tokenizer)
    with pytest.raises(InputError, match="no reward model"):
        load_reward_model(str(folder))


def test_a_new_reward_model_takes_its_layers_from_the_adapter(tiny_model, tokenizer, tmp_path):
    folder = adapter_on(tiny_model, tmp_path / "a", tokenizer)
    reward = new_reward_model(str(folder), dtype="float32", seed=0).eval()
    causal = load_causal_lm(str(folder)).eval()
    with torch.no_grad():
        ours = reward.base_model.model.model(IDS).last_hidden_state
        theirs = causal.base_model.model.model(IDS).last_hidden_state
    assert torch.allclose(ours, theirs, atol=1e-6)


# --- what is refused --------------------------------------------------------------------------


def arguments(**changes) -> SimpleNamespace:
    return SimpleNamespace(
        **{
            "model_name_or_path": None,
            "load_in_8bit": False,
            "load_in_4bit": False,
            "model_revision": "main",
            **changes,
        }
    )


TRAINING = SimpleNamespace(trust_remote_code=False, resume_from_checkpoint=None)


def test_arguments_that_hold_find_the_model(tiny_model):
    asked = arguments(model_name_or_path=str(tiny_model))
    check_arguments(asked, TRAINING)
    assert asked.model_name_or_path == str(tiny_model)


@pytest.mark.parametrize("change", [{"load_in_8bit": True}, {"model_revision": "v2"}])
def test_arguments_that_are_not_carried_out_are_refused(tiny_model, change):
    with pytest.raises(InputError, match="not supported yet"):
        check_arguments(arguments(model_name_or_path=str(tiny_model), **change), TRAINING)


@pytest.mark.parametrize("name", ["/no/where", "./here", "a/b/c", "~/models/x"])
def test_a_path_that_is_none_is_not_looked_for_on_the_hub(name):
    with pytest.raises(InputError, match="no model folder"):
        locate(name)


@pytest.mark.parametrize("name", ["nobody/nothing", "nothing"])
def test_a_name_that_is_not_cached_is_refused_without_asking(name):
    # The network guard would end the session with an error if it were asked.
    with pytest.raises(InputError, match="--allow_network"):
        locate(name)


@pytest.mark.parametrize("name", ["a b/c", "x" * 200, "a/b?c"])
def test_a_name_that_no_hub_can_have_is_refused(name):
    with pytest.raises(InputError, match="no model"):
        locate(name)


def test_a_folder_is_checked_before_its_tokenizer_is_read(copy_of_tiny):
    (copy_of_tiny / "x.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match="pickled"):
        load_tokenizer(str(copy_of_tiny))


def test_weights_that_do_not_fit_the_config_are_refused(copy_of_tiny):
    path = copy_of_tiny / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "intermediate_size": 96}))
    with pytest.raises(InputError, match=str(copy_of_tiny)):
        load_causal_lm(str(copy_of_tiny))


def test_an_architecture_that_transformers_has_not_is_refused(copy_of_tiny):
    path = copy_of_tiny / "config.json"
    path.write_text(path.read_text().replace('"qwen3"', '"nothing-of-ours"'))
    with pytest.raises(InputError, match="cannot read the config"):
        load_config(str(copy_of_tiny))
