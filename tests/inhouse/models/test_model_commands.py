"""Merging an adapter into its base, and looking into a model without loading it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from math import prod
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, LoraModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from inhouse import run as runs
from inhouse.errors import InputError
from inhouse.models import inspect as inspection
from inhouse.models import merge as merging
from inhouse.models.folder import check_folder
from inhouse.models.load import load_causal_lm, new_reward_model, save_model
from inhouse.training import memory

ROOT = Path(__file__).parents[3]
COMMANDS = "inhouse.models.__main__"
MERGED = {
    *("README.md", "chat_template.jinja", "config.json", "generation_config.json"),
    *("manifest.json", "metrics.json", "model.safetensors"),
    *("tokenizer.json", "tokenizer_config.json"),
}


def adapter_on(base: Path, folder: Path, tokenizer, std: float = 0.1, **settings) -> Path:
    """A saved LoRA adapter of alpha / r = 8 / 4, its B drawn from ``std``."""
    torch.manual_seed(0)
    settings = {"target_modules": "all-linear", **settings}
    lora = LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **settings)
    model = get_peft_model(load_causal_lm(str(base)), lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=std)
    save_model(model, tokenizer, folder)
    return folder


def in_dtype(base: Path, dtype: torch.dtype) -> Path:
    """Store a model's weights in another data type."""
    load_causal_lm(str(base), dtype=dtype).save_pretrained(base)
    return base


@pytest.fixture
def adapter(copy_of_tiny, tokenizer, tmp_path) -> Path:
    """An adapter on a base in bfloat16 that a test may damage."""
    return adapter_on(in_dtype(copy_of_tiny, torch.bfloat16), tmp_path / "run" / "sft", tokenizer)


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "run" / "merged"


@pytest.fixture
def merge(run_stage, adapter, out):
    """Merge as the command does."""

    def run(*more: str, adapter: Path = adapter, out: Path = out):
        return run_stage(COMMANDS, "merge", adapter, "--output_dir", out, *more)

    return run


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def contents(folder: Path) -> dict[str, str]:
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files(folder)
    }


def greedy(model, tokenizer) -> list[int]:
    ids = torch.tensor([merging.token_rows(tokenizer)[0]])
    written = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12
    )
    return written[0].tolist()


# --- merge: what it makes -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_each_merged_weight_is_the_sum_rounded_once(
    merge, copy_of_tiny, tokenizer, tmp_path, out, dtype
):
    folder = adapter_on(in_dtype(copy_of_tiny, dtype), tmp_path / "a", tokenizer)
    ended = merge(adapter=folder)
    assert ended.code == 0, ended.err
    base, learned = (
        load_file(copy_of_tiny / "model.safetensors"),
        load_file(folder / "adapter_model.safetensors"),
    )
    found = load_file(out / "model.safetensors")
    assert found.keys() == base.keys()
    adapted = 0
    for name, weight in found.items():
        key = f"base_model.model.{name.removesuffix('.weight')}.lora_A.weight"
        expected = base[name].float()
        if key in learned:
            # W + (alpha / r) B A with alpha / r = 8 / 4, in float32 and then rounded, once.
            expected += learned[key.replace("lora_A", "lora_B")] @ learned[key] * 2
            adapted += 1
        assert weight.dtype == dtype
        assert torch.equal(weight, expected.to(dtype)), name
    assert adapted == 2 * 7  # two layers of q, k, v, o, gate, up, down


def test_a_merge_writes_a_whole_model_that_says_the_same_and_reads_only(
    merge, adapter, copy_of_tiny, out, tokenizer
):
    before = contents(adapter), contents(copy_of_tiny)
    ended = merge()
    assert ended.code == 0, ended.err
    assert (contents(adapter), contents(copy_of_tiny)) == before
    assert files(out) == MERGED
    figures = json.loads((out / "metrics.json").read_text())
    assert figures["dtype"] == "bfloat16"
    assert figures["merged"] <= merging.SAME
    assert 0 < figures["rounded"] <= merging.ROUNDED["bfloat16"]
    assert figures["rounded"] < figures["adapter_effect"] / 10
    manifest = json.loads((out / "manifest.json").read_text())
    assert {entry["path"] for entry in manifest["outputs"]} == MERGED - {"manifest.json"}
    assert [entry["path"] for entry in manifest["inputs"]] == [str(adapter), str(copy_of_tiny)]
    # A plain transformers user gets what the suite's adapter says, with the same template.
    plain = AutoModelForCausalLM.from_pretrained(out, dtype="float32")
    ours = load_causal_lm(str(adapter))
    assert greedy(plain, tokenizer) == greedy(ours, tokenizer)
    again = AutoTokenizer.from_pretrained(out)
    assert again.chat_template == tokenizer.chat_template
    assert (again.pad_token, again.eos_token) == (tokenizer.pad_token, tokenizer.eos_token)


def test_the_figures_are_shares_of_the_logits_own_size():
    # Root mean squares by hand: expected (3, -3, 3, -3) has 3; the others lie off by 0.3, 0.03
    # and 6 everywhere.
    expected = torch.tensor([[3.0, -3.0], [3.0, -3.0]])
    figures = merging.compare(
        expected, exact=expected + 0.3, written=expected - 0.03, untouched=-expected
    )
    assert figures == pytest.approx(
        {"merged": 0.1, "rounded": 0.01, "adapter_effect": 2.0, "largest_difference": 0.03},
        rel=1e-5,
    )


def test_a_merge_that_is_done_is_up_to_date_and_one_of_another_adapter_is_not(
    merge, adapter, copy_of_tiny, tokenizer, tmp_path
):
    assert merge().code == 0
    again = merge()
    assert again.code == 0 and "up to date" in again.out
    other = adapter_on(copy_of_tiny, tmp_path / "other", tokenizer, std=0.2)
    refused = merge(adapter=other)
    assert refused.code == 3 and "has other content now" in refused.err
    assert merge("--overwrite", adapter=other).code == 0


@pytest.mark.parametrize(
    "settings", [{"use_dora": True}, {"use_rslora": True}, {"modules_to_save": ["embed_tokens"]}]
)
def test_other_kinds_of_adapters_are_merged_as_they_compute(
    merge, copy_of_tiny, tokenizer, tmp_path, settings
):
    if "modules_to_save" in settings:  # not tied: peft warns, rightly, that a merge would untie
        model = load_causal_lm(str(copy_of_tiny))
        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
        model.save_pretrained(copy_of_tiny)
    folder = adapter_on(copy_of_tiny, tmp_path / "a", tokenizer, **settings)
    ended = merge(adapter=folder)
    assert ended.code == 0, ended.err


def test_gpt2_is_merged_and_looked_into_though_its_matrices_lie_the_other_way(
    merge, tokenizer, tmp_path, out
):
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, **sizes)
    base = tmp_path / "gpt2"
    GPT2LMHeadModel(config).save_pretrained(base)
    tokenizer.save_pretrained(base)
    settings = {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}
    folder = adapter_on(base, tmp_path / "a", tokenizer, **settings)
    ended = merge(adapter=folder)
    assert ended.code == 0, ended.err
    assert inspection.inspect(str(out))["context"] == 256
    name = "transformer.h.0.mlp.c_fc"  # stored as (in, out), so B A is added transposed
    learned = load_file(folder / "adapter_model.safetensors")
    a, b = (learned[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    expected = load_file(base / "model.safetensors")[f"{name}.weight"] + 2 * (b @ a).T
    found = load_file(out / "model.safetensors")[f"{name}.weight"]
    torch.testing.assert_close(found, expected)


# --- merge: what it refuses ---------------------------------------------------------------------


def half_merged(out: Path) -> None:
    """What a killed or refused merge leaves must not pass for a model, here or elsewhere."""
    assert "config.json" not in files(out) and "manifest.json" not in files(out)
    with pytest.raises(InputError):
        runs.require(out, "")
    with pytest.raises(InputError, match=r"no model folder|holds no model"):
        check_folder(str(out))
    with pytest.raises((OSError, ValueError)):
        AutoModelForCausalLM.from_pretrained(out)


@pytest.mark.parametrize("step", ["compare", "judge", "publish"])
def test_a_merge_that_is_stopped_looks_unfinished_and_goes_on(merge, out, monkeypatch, step):
    held = []

    def stop(*_, **__):
        raise KeyboardInterrupt

    def open_run(*words, **settings):
        held.append(runs.open_run(*words, **settings))
        return held[-1]

    with monkeypatch.context() as patch:
        patch.setattr(merging, step, stop)
        patch.setattr(merging, "open_run", open_run)
        assert merge().code == 130
    os.close(held[0].lock)  # as the end of its process does
    half_merged(out)
    ended = merge()
    assert ended.code == 0, ended.err
    assert "going on" in ended.out and files(out) == MERGED


@pytest.mark.slow
def test_a_killed_merge_looks_unfinished(adapter, out):
    command = [sys.executable, "-m", "inhouse.models", "merge", str(adapter)]
    process = subprocess.Popen(
        [*command, "--output_dir", str(out)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("checkpoints/merged/*.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.wait()
    half_merged(out)


def test_a_merge_that_leaves_the_adapter_out_is_refused(merge, out, monkeypatch):
    monkeypatch.setattr(LoraModel, "merge_and_unload", lambda self, safe_merge: self.unload())
    ended = merge()
    assert ended.code == 2 and "thrown away" in ended.err and "Traceback" not in ended.err
    half_merged(out)
    assert not out.exists()  # nothing was made: the claim is given up


def test_a_file_that_is_written_wrong_is_refused(merge, out, monkeypatch):
    save = save_model

    def save_badly(model, tokenizer, folder):
        save(model, tokenizer, folder)
        weights = load_file(folder / "model.safetensors")
        weights["model.layers.1.mlp.down_proj.weight"].zero_()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(merging, "save_model", save_badly)
    ended = merge()
    assert ended.code == 2 and "on disk" in ended.err
    half_merged(out)


def test_an_adapter_that_rounding_would_swallow_is_not_merged(
    merge, copy_of_tiny, tokenizer, tmp_path, out
):
    # bfloat16 keeps eight bits: a change of one part in 10,000 falls below most weights' last.
    folder = adapter_on(in_dtype(copy_of_tiny, torch.bfloat16), tmp_path / "a", tokenizer, std=1e-6)
    ended = merge(adapter=folder)
    assert ended.code == 2 and "would lose it" in ended.err and "bfloat16" in ended.err
    half_merged(out)


@pytest.mark.parametrize("figure", ["merged", "rounded"])
def test_logits_that_are_no_numbers_are_refused(figure):
    figures = {"merged": 0.0, "rounded": 0.0, "adapter_effect": 1.0, figure: float("nan")}
    with pytest.raises(ValueError, match="differs"):
        merging.judge(figures, "float32", "a")


def test_an_adapter_whose_weights_are_no_numbers_is_refused(merge, adapter, out):
    path = adapter / "adapter_model.safetensors"
    weights = load_file(path)
    next(iter(weights.values()))[0] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    ended = merge()
    assert ended.code == 3 and str(adapter) in ended.err
    half_merged(out)


def test_what_is_no_adapter_is_refused(merge, copy_of_tiny, tmp_path, out):
    for folder, said in (
        (copy_of_tiny, "no adapter but a whole model"),
        (tmp_path / "nowhere", f"no {tmp_path / 'nowhere'}"),
        (tmp_path, "holds no model"),
    ):
        ended = merge(adapter=folder)
        assert ended.code == 3 and said in ended.err
    assert not out.exists()


def test_a_reward_adapter_is_not_merged_into_a_model_that_writes(
    merge, adapter, tokenizer, tmp_path, out
):
    model = new_reward_model(str(adapter), dtype="float32", seed=0)
    model.config.pad_token_id = tokenizer.pad_token_id
    save_model(model, tokenizer, tmp_path / "reward")
    ended = merge(adapter=tmp_path / "reward")
    assert ended.code == 3 and "reward model" in ended.err and not out.exists()


def test_a_stage_that_has_not_finished_is_not_merged(merge, adapter, out):
    (adapter / "begun.json").write_text("{}")
    ended = merge()
    assert ended.code == 3 and "not finished" in ended.err and not out.exists()


def test_an_output_that_exists_is_left_alone(merge, out):
    out.mkdir(parents=True)
    (out / "mine.txt").write_text("mine")
    for more in ((), ("--overwrite",)):
        ended = merge(*more)
        assert ended.code == 3 and str(out) in ended.err and "name another place" in ended.err
    assert files(out) == {"mine.txt"}
    shutil.rmtree(out)
    out.write_text("a file")
    assert merge().code == 3 and out.read_text() == "a file"


def test_the_output_may_not_lie_in_what_is_merged(merge, adapter, copy_of_tiny):
    for folder in (adapter, adapter / "merged", copy_of_tiny / "merged"):
        ended = merge(out=folder)
        assert ended.code == 3 and "lies in" in ended.err


def test_a_base_that_is_gone_is_named(merge, copy_of_tiny, out):
    shutil.rmtree(copy_of_tiny)
    ended = merge()
    assert ended.code == 3 and str(copy_of_tiny) in ended.err and not out.exists()


def test_a_base_that_has_changed_is_named_with_the_adapter(merge, adapter, copy_of_tiny, out):
    in_dtype(copy_of_tiny, torch.float16)
    ended = merge()
    assert ended.code == 3 and not out.exists()
    for said in (str(adapter), str(copy_of_tiny), "another model now"):
        assert said in ended.err


def rebased(adapter: Path) -> None:
    """Let the adapter stand on its base as it is now."""
    (adapter / "base.json").unlink()


def test_a_quantised_base_is_refused(merge, adapter, copy_of_tiny, out):
    path = copy_of_tiny / "config.json"
    quantised = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    path.write_text(json.dumps(json.loads(path.read_text()) | quantised))
    rebased(adapter)
    ended = merge()
    assert ended.code == 3 and "quantised" in ended.err and "16-bit" in ended.err
    assert not out.exists()


def test_a_base_in_an_odd_data_type_is_refused(merge, adapter, copy_of_tiny, out):
    in_dtype(copy_of_tiny, torch.float64)
    rebased(adapter)
    ended = merge()
    assert ended.code == 3 and "float64" in ended.err and not out.exists()


# --- inspect ------------------------------------------------------------------------------------


def test_inspect_reads_what_the_folder_says(run_stage, tiny_model, tokenizer):
    ended = run_stage(COMMANDS, "inspect", tiny_model, "--json")
    assert ended.code == 0, ended.err
    facts = json.loads(ended.out)
    loaded = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert facts["architecture"] == "Qwen3ForCausalLM"
    assert facts["parameters"] == sum(p.numel() for p in loaded.parameters())
    assert facts["bytes"] == (tiny_model / "model.safetensors").stat().st_size
    assert (facts["dtype"], facts["context"]) == ("float32", 512)
    assert (facts["licence"], facts["licence_from"]) == ("unknown", "unknown")
    assert facts["chat_template"] and facts["template_marks_replies"]
    assert not facts["template_thinks"]
    assert (facts["bos_token"], facts["end_token"]) == (None, "<|im_end|>")
    assert (facts["pad_token"], facts["vocabulary"]) == ("<|pad|>", len(tokenizer))
    assert (facts["stops_at"], facts["notes"], facts["refused"]) == (["<|im_end|>"], [], None)


def test_inspect_says_where_replies_end_and_what_training_pads_with(copy_of_tiny):
    for name in ("config.json", "generation_config.json"):
        stored = json.loads((copy_of_tiny / name).read_text())
        (copy_of_tiny / name).write_text(json.dumps(stored | {"eos_token_id": 0}))
    tokenizer = AutoTokenizer.from_pretrained(copy_of_tiny)
    other = tokenizer.convert_ids_to_tokens(0)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(copy_of_tiny)
    page = inspection.page(inspection.inspect(str(copy_of_tiny)))
    assert f"replies end   at <|im_end|> or {other}\n" in page
    assert "at which the base does not stop" in page
    assert "pad <|im_end|> (training pads with <|pad|>)" in page


def test_the_estimates_are_the_formulas(tiny_model, tokenizer, monkeypatch):
    # Worked by hand for the tiny model: d = 32, 2 layers, V words, 1,024 tokens, r = 16.
    words = len(tokenizer)
    # Each layer: q 32x32, k and v 16x32, o 32x32, gate and up 64x32, down 32x64.
    sides = (32 + 32) + 2 * (16 + 32) + (32 + 32) + 2 * (64 + 32) + (32 + 64)
    low_rank = 2 * 16 * sides
    matrices = 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32)
    norms = 2 * (2 * 32 + 2 * 8) + 32
    every = words * 32 + matrices + norms
    # inhouse.training.memory: 14 hidden and 3.5 inner widths, 4 bytes each, a token and layer.
    acts = 4 * 1024 * 2 * (14 * 32 + 7 * 64 // 2)
    # 16 bytes for each trained parameter, 4 for each frozen one.
    expected = {
        "sft, full": 16 * every + acts,
        "sft, LoRA": 4 * every + 16 * low_rank + acts,
        "dpo, full": (16 + 4) * every + 2 * acts,
        "dpo, LoRA": 4 * every + (16 + 4) * low_rank + 2 * acts,
        "ppo": 4 * every + 2 * (16 + 4) * low_rank + 2 * acts,
    }
    limit = sorted(expected.values())[2]
    monkeypatch.setattr(memory, "free_bytes", lambda: limit)
    facts = inspection.inspect(str(tiny_model))
    assert {name: need["bytes"] for name, need in facts["methods"].items()} == expected
    assert [need["fits"] for need in facts["methods"].values()].count(True) == 3
    assert {name for name, need in facts["methods"].items() if need["fits"]} == {
        name for name, size in expected.items() if size <= limit
    }
    page = inspection.page(facts)
    assert "does not fit" in page and "by formula, not measured" in page


def test_the_adapters_size_is_counted_as_peft_counts_it(copy_of_tiny, tokenizer, tmp_path):
    lora = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(load_causal_lm(str(copy_of_tiny)), lora)
    save_model(model, tokenizer, tmp_path / "a")
    weights = inspection.stored(copy_of_tiny)
    expected = inspection.stored(tmp_path / "a").parameters
    assert inspection._adapter_parameters(weights, model.config) == expected


def test_qlora_is_estimated_where_there_is_a_gpu(tiny_model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(memory, "free_bytes", lambda: 2**30)
    facts = inspection.inspect(str(tiny_model))
    # 4 bytes a number become half a byte and a 64th of 4, in each layer's matrices (as above).
    matrices = 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32)
    saved = int((4 - 0.5625) * matrices)
    need = facts["methods"]["sft, QLoRA"]["bytes"]
    assert need == facts["methods"]["sft, LoRA"]["bytes"] - saved


def test_an_adapter_is_shown_with_its_base(run_stage, adapter, copy_of_tiny):
    (copy_of_tiny / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    facts = json.loads(run_stage(COMMANDS, "inspect", adapter, "--json").out)
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
        names = file.keys()
        own = sum(prod(file.get_slice(name).get_shape()) for name in names)
    assert facts["adapter_parameters"] == own and facts["adapter_on"] == str(copy_of_tiny)
    assert facts["base_checked"] is True and facts["licence"] == "apache-2.0"
    assert "its weights as they were" in run_stage(COMMANDS, "inspect", adapter).out
    rebased(adapter)
    assert "nobody can tell" in run_stage(COMMANDS, "inspect", adapter).out


@pytest.mark.parametrize(
    ("header", "licence", "said"),
    [
        ("license: apache-2.0", "apache-2.0", "none on use"),
        ("license: llama3.2", "llama3.2", "700 million"),
        ("license: gemma", "gemma", "prohibited use"),
        ("license: cc-by-nc-4.0", "cc-by-nc-4.0", "no commercial use"),
        ("license: cc-by-4.0", "cc-by-4.0", "name the author"),
        ("license: other\nlicense_name: qwen\nlicense_link: LICENSE", "qwen", "read LICENSE"),
        ("license: wtfpl", "wtfpl", "unknown: read the licence"),
        ("license: other", "unknown", "ask whoever made it"),
        ("tags: [x]", "unknown", "ask whoever made it"),
        ("license: [a, b", "unknown", "ask whoever made it"),
    ],
)
def test_a_licence_is_what_the_models_page_says(tmp_path, header, licence, said):
    (tmp_path / "README.md").write_text(f"---\n{header}\n---\n# A model\n")
    found = inspection.licence(str(tmp_path))
    assert found["licence"] == licence and said in found["restrictions"]


def test_a_licence_that_is_only_a_file_is_pointed_at(tmp_path):
    (tmp_path / "LICENSE.txt").write_text("Terms")
    found = inspection.licence(str(tmp_path))
    assert found["licence"] == "unknown" and "read LICENSE.txt" in found["restrictions"]


def test_the_tokens_and_the_template_are_told_as_they_are(copy_of_tiny, tmp_path):
    template = "{% for m in messages %}{{ m.content }}{% if enable_thinking %}<think>{% endif %}"
    tokenizer = AutoTokenizer.from_pretrained(copy_of_tiny)
    tokenizer.chat_template = template + "{% endfor %}"
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(copy_of_tiny)
    facts = inspection.inspect(str(copy_of_tiny))
    assert facts["template_thinks"] and not facts["template_marks_replies"]
    page = inspection.page(facts)
    assert "does not mark replies" in page and "a part for thoughts" in page
    assert facts["stops_at"] == [] and "writes no end token behind a reply" in facts["refused"]
    assert f"training      refused: the chat template in {copy_of_tiny}" in page
    (copy_of_tiny / "chat_template.jinja").unlink()
    facts = inspection.inspect(str(copy_of_tiny))
    assert not facts["chat_template"] and "add chat_template.jinja" in inspection.page(facts)


def damage_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x00" * 100)


def add_auto_map(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": {"AutoModel": "m.M"}}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "pytorch_model.bin").write_bytes(b"\x80\x04."), "pickled"),
        (add_auto_map, "auto_map"),
        (damage_weights, "is damaged"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "holds no model"),
        (lambda folder: (folder / "begun.json").write_text("{}"), "not finished"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "no tokenizer in"),
    ],
)
def test_inspect_refuses_what_cannot_be_trusted(run_stage, copy_of_tiny, damage, said):
    damage(copy_of_tiny)
    ended = run_stage(COMMANDS, "inspect", copy_of_tiny)
    assert ended.code == 3 and said in ended.err and "Traceback" not in ended.err


def test_a_name_that_is_not_cached_says_how_to_get_it(run_stage):
    ended = run_stage(COMMANDS, "inspect", "nobody/nothing")
    assert ended.code == 3
    assert "inspect nobody/nothing --allow_network" in ended.err


@pytest.mark.slow
def test_the_command_itself(run_command, tiny_model):
    ended = run_command("inhouse.models", "inspect", str(tiny_model))
    assert ended.returncode == 0, ended.stderr
    assert "Qwen3ForCausalLM" in ended.stdout and "sft, full" in ended.stdout


@pytest.mark.parametrize(
    "words", [(), ("merge",), ("merge", "x"), ("inspect", "x", "--jso"), ("fuse",)]
)
def test_a_wrong_command_line_is_the_users_to_mend(run_stage, words):
    assert run_stage(COMMANDS, *words).code == 3


def test_help_answers_in_a_second():
    seconds = []
    for _ in range(5):  # the best of five: other processes may have the cores
        before = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-m", "inhouse.models", "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        seconds.append(time.monotonic() - before)
        assert ended.returncode == 0 and "inspect" in ended.stdout
        if seconds[-1] <= 1:
            break
    assert min(seconds) <= 1, seconds
