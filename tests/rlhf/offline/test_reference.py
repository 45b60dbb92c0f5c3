"""The reference: what it is known by, its log-probabilities on disk, the check before step 1."""

import collections
import inspect
import json
from types import SimpleNamespace

import pytest
import torch
import trl

from inhouse.errors import InputError
from inhouse.generation.sample import log_probabilities
from inhouse.models.load import load_causal_lm
from inhouse.records import Preference
from rlhf.offline.reference import Cache, check_settings, check_start, describe, with_reference
from rlhf.offline.rows import pair_row

ROWS = [{"prompt_ids": [1, 2], "chosen_ids": [3], "rejected_ids": [4, 5]}]


# --- what TRL must go on doing ----------------------------------------------------------------


@pytest.mark.parametrize("kind", [trl.DPOTrainer, trl.KTOTrainer])
def test_trl_asks_the_reference_in_the_methods_that_we_replace_and_call(kind):
    def names(method: str) -> list[str]:
        return list(inspect.signature(getattr(kind, method)).parameters)

    assert names("_precompute_ref_logps") == ["self", "dataset", "name", "batch_size"]
    assert names("compute_ref_log_probs") == ["self", "model", "inputs"]
    assert names("_prepare_dataset")[:2] == ["self", "dataset"]
    source = inspect.getsource(kind._compute_loss)
    for side in ("chosen", "rejected"):
        assert f'self._metrics[mode]["rewards/{side}"].append(' in source
        assert f"{side}_rewards = self.beta * {side}_logratios.detach()" in source


# --- what it is known by ----------------------------------------------------------------------


def test_a_reference_is_known_by_its_weights_not_by_its_place(tiny_model, copy_of_tiny):
    here, there = describe(str(tiny_model)), describe(str(copy_of_tiny))
    assert here.kind == "full model" and here.base is None
    assert here.sha256 == there.sha256 and here.path != there.path
    assert f"{tiny_model} (full model, weights {here.sha256[:12]})" == str(here)
    (copy_of_tiny / "chat_template.jinja").write_text("other")  # shows in the rows' token ids
    assert describe(str(copy_of_tiny)).sha256 == here.sha256
    content = bytearray((copy_of_tiny / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy_of_tiny / "model.safetensors").write_bytes(content)
    assert describe(str(copy_of_tiny)).sha256 != here.sha256


def test_an_adapters_reference_names_its_base_and_changes_with_it(copy_of_tiny, tmp_path):
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear")
    get_peft_model(load_causal_lm(str(copy_of_tiny)), lora).save_pretrained(tmp_path / "adapter")
    first = describe(str(tmp_path / "adapter"))
    assert (first.kind, first.base) == ("adapter", str(copy_of_tiny))
    assert f"adapter on {copy_of_tiny}" in str(first)
    config = json.loads((copy_of_tiny / "config.json").read_text())
    (copy_of_tiny / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.1}))
    assert describe(str(tmp_path / "adapter")).sha256 != first.sha256


# --- the cache --------------------------------------------------------------------------------


def make_cache(folder, **changed) -> Cache:
    plain = {
        "sha256": "w",
        "dtype": "float32",
        "attn_implementation": None,
        "bf16": False,
        "fp16": False,
        "max_length": 64,
        "ld_alpha": None,
        "device": torch.device("cpu"),
        "beta": 0.1,
    }
    given = SimpleNamespace(**(plain | changed))
    return Cache(folder, given, given, given)


@pytest.mark.parametrize(
    "changed",
    [
        {"sha256": "v"},
        {"dtype": "bfloat16"},
        {"attn_implementation": "eager"},
        {"bf16": True},
        {"fp16": True},
        {"max_length": 32},
        {"ld_alpha": 0.5},
        {"device": torch.device("cuda")},
    ],
    ids=str,
)
def test_what_changes_a_log_probability_changes_the_files_name(tmp_path, changed):
    assert make_cache(tmp_path).path(ROWS) != make_cache(tmp_path, **changed).path(ROWS)


def test_what_changes_none_does_not(tmp_path):
    assert make_cache(tmp_path).path(ROWS) == make_cache(tmp_path, beta=0.5).path(ROWS)


def test_other_rows_have_another_file(tmp_path):
    other = [ROWS[0] | {"chosen_ids": [6]}]
    cache = make_cache(tmp_path)
    assert len({cache.path(rows) for rows in (ROWS, other, ROWS * 2)}) == 3


def test_what_is_kept_comes_back_bit_for_bit(tmp_path):
    cache, path = make_cache(tmp_path), tmp_path / "deep" / "r.json"
    values = torch.tensor([-41.1234567, -1e-30, 3.0]).tolist()
    cache.write(path, {"ref_chosen_logps": values})
    assert cache.read(path) == {"ref_chosen_logps": values}
    assert [entry.name for entry in path.parent.iterdir()] == ["r.json"]  # no half file
    assert json.loads(path.read_text())["made_from"]["max_length"] == 64


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("-41.5", "-14.5"),
        lambda text: "{}",
        lambda text: "[1]",
    ],
    ids=["cut", "one digit", "other keys", "other kind"],
)
def test_a_damaged_file_is_said_and_not_used(tmp_path, capsys, damage):
    cache, path = make_cache(tmp_path), tmp_path / "r.json"
    cache.write(path, {"ref_chosen_logps": [-41.5]})
    path.write_text(damage(path.read_text()))
    assert cache.read(path) is None
    assert f"{path} is damaged" in capsys.readouterr().out


def test_no_file_is_no_damage(tmp_path, capsys):
    assert make_cache(tmp_path).read(tmp_path / "none.json") is None
    assert capsys.readouterr().out == ""


def test_deepspeed_is_refused_before_anything_is_asked(tmp_path):
    trainer = SimpleNamespace(is_deepspeed_enabled=True)
    with pytest.raises(InputError, match="precompute_ref_log_probs does not go with DeepSpeed"):
        with_reference(trainer, None, make_cache(tmp_path), (), 1)


# --- settings, and the check before the first step --------------------------------------------


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"beta": 0.0}, "beta is 0.0"),
        ({"beta": float("nan")}, "beta is nan"),
        ({"sync_ref_model": True}, "sync_ref_model moves the reference"),
    ],
)
def test_settings_without_a_fixed_reference_are_refused(changed, says):
    plain = {"beta": 0.1, "sync_ref_model": False, "precompute_ref_log_probs": True}
    with pytest.raises(InputError, match=says):
        check_settings(SimpleNamespace(**(plain | changed)))
    check_settings(SimpleNamespace(**plain))


def trainer_at_start(tiny_model, **changed) -> SimpleNamespace:
    plain = {"bf16": False, "fp16": False, "tf32": None, "disable_dropout": True}
    model = load_causal_lm(str(tiny_model))
    return SimpleNamespace(model=model, beta=0.1, args=SimpleNamespace(**(plain | changed)))


@pytest.mark.parametrize(
    ("gap", "setting", "held"),
    [
        (0.0009, {}, True),
        (0.0011, {}, False),
        (0.09, {"bf16": True}, True),
        (0.11, {"bf16": True}, False),
        (0.09, {"fp16": True}, True),
        (0.09, {"tf32": True}, True),
        (float("nan"), {}, False),
    ],
)
def test_the_gap_is_held_to_what_rounding_explains(tiny_model, gap, setting, held):
    # TRL logs beta times the gap; 0.1 here.
    trainer = trainer_at_start(tiny_model, **setting)
    logged = {"rewards/chosen": [5.0, 0.0], "rewards/rejected": [-0.1 * gap]}
    if held:
        assert check_start(trainer, logged) == pytest.approx(gap)
        return
    with pytest.raises(InputError, match="disagree before the first step") as refusal:
        check_start(trainer, logged)
    for said in ("chosen +0.000", "dropout", "template", "base", "--overwrite"):
        assert said in str(refusal.value)


def test_kto_may_have_one_kind_of_verdict_in_a_batch(tiny_model):
    logged = {"rewards/chosen": [0.00001], "rewards/rejected": []}
    assert check_start(trainer_at_start(tiny_model), logged) == pytest.approx(0.0001)


def test_looking_at_the_start_adds_no_list_to_what_trl_averages(tiny_model):
    logged = collections.defaultdict(list, {"rewards/chosen": [0.0]})  # as TRL's own is
    assert check_start(trainer_at_start(tiny_model), logged) == 0
    assert set(logged) == {"rewards/chosen"}


# --- whole runs -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--precompute_ref_log_probs", "false")])
def test_a_wrong_reference_stops_the_run_before_a_weight_changes(
    run_stage, copy_of_tiny, prefs, tmp_path, words
):
    # attention_dropout is no nn.Dropout, so TRL's disable_dropout does not reach it: the policy
    # is trained with it, the reference is asked without.
    config = json.loads((copy_of_tiny / "config.json").read_text())
    (copy_of_tiny / "config.json").write_text(json.dumps(config | {"attention_dropout": 0.3}))
    given = ("--model_name_or_path", copy_of_tiny, "--dataset_name", prefs, *words)
    ended = run_stage("rlhf.dpo", *given, "--max_steps", "2", "--run_dir", tmp_path / "x")
    assert ended.code == 3, ended.out
    for said in ("disagree before the first step", "'attention_dropout': 0.3", "--overwrite"):
        assert said in ended.err
    assert not (tmp_path / "x" / "dpo" / "model.safetensors").exists()


@pytest.mark.slow
def test_another_models_log_probabilities_stop_the_run(
    run_stage, monkeypatch, tiny_model, prefs, tmp_path
):
    from rlhf.offline import reference

    monkeypatch.setattr(  # as if a cache had been filled with another model
        reference,
        "score",
        lambda trainer, dataset, names, size: {name: [-50.0] * len(dataset) for name in names},
    )
    given = ("--model_name_or_path", tiny_model, "--dataset_name", prefs, "--max_steps", "2")
    ended = run_stage("rlhf.dpo", *given, "--run_dir", tmp_path / "x")
    assert ended.code == 3
    assert "disagree before the first step" in ended.err and "--ref_cache_dir" in ended.err


@pytest.mark.slow
def test_another_beta_asks_the_reference_nothing(
    aligned, monkeypatch, tiny_model, preferences, tokenizer, tmp_path
):
    cache = tmp_path / "cache"
    words = ("--ref_cache_dir", str(cache), "--held_out_share", "0")
    first = aligned("dpo", *words, run_dir=tmp_path / "one")
    [path] = cache.iterdir()
    assert "16 records computed" in first.out and str(path) in first.out
    assert first.metrics["reference"] == {
        "path": str(tiny_model),
        "kind": "full model",
        "sha256": describe(str(tiny_model)).sha256,
        "base": None,
    }
    manifest = json.loads((first.folder / "manifest.json").read_text())
    assert manifest["metrics"]["reference"] == first.metrics["reference"]
    assert first.metrics["reference/start_gap"] < 1e-3

    # What was kept is the reference's, worked out here another way: unpadded by TRL, row by row.
    kept = json.loads(path.read_text())["columns"]
    model = load_causal_lm(str(tiny_model))
    rows = [pair_row(tokenizer, Preference(**row)) for row in preferences]
    for side in ("chosen", "rejected"):
        pairs = [(row["prompt_ids"], row[f"{side}_ids"]) for row in rows]
        own = log_probabilities(model, pairs, pad_token_id=tokenizer.pad_token_id, batch_size=1)
        assert kept[f"ref_{side}_logps"] == pytest.approx(own, abs=1e-3)

    def unusable(*_):
        raise AssertionError("the reference was asked again")

    with monkeypatch.context() as patched:
        patched.setattr(trl.DPOTrainer, "compute_ref_log_probs", unusable)
        second = aligned("dpo", *words, "--beta", "0.5", run_dir=tmp_path / "two")
    assert f"16 records read from {path}" in second.out
    assert second.metrics["reference/start_gap"] < 1e-3
    assert second.metrics["loss"] != first.metrics["loss"]

    # A damaged file is computed again, and is whole afterwards.
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    third = aligned("dpo", *words, "--beta", "0.3", run_dir=tmp_path / "three")
    assert "is damaged" in third.out and "16 records computed" in third.out
    assert path.read_bytes() == whole


@pytest.mark.slow
def test_reading_the_cache_changes_no_weight(aligned, tmp_path):
    # Asking the reference draws random numbers; whoever reads instead must train the same.
    words = ("--ref_cache_dir", str(tmp_path / "cache"))
    first = aligned("dpo", *words, run_dir=tmp_path / "one")
    second = aligned("dpo", *words, run_dir=tmp_path / "two")
    weights = [(f / "model.safetensors").read_bytes() for f in (first.folder, second.folder)]
    assert weights[0] == weights[1]
