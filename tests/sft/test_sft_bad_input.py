"""What a user may get wrong: exit 3, file, line, field, the way out; nothing written or lost."""

import importlib.util
import json
import os
from pathlib import Path

import pytest

from inhouse.errors import InputError
from inhouse.training.options import check_settings

STAGES = ("sft.train", "reward.train", "rlhf.dpo")


@pytest.fixture
def sft(refused, tiny_model, demonstrations, write_lines, tmp_path):
    """Run sft with something wrong; ``rows`` or ``data`` instead of good demonstrations."""

    def check(*words, says, rows=None, data: Path | None = None, model=None, run_dir=None):
        data = data or write_lines(tmp_path / "mine.jsonl", rows or demonstrations)
        return refused(
            "sft.train",
            "--model_name_or_path",
            model or tiny_model,
            "--dataset_name",
            data,
            *words,
            says=says,
            run_dir=run_dir or tmp_path / "runs" / "x",
        )

    return check


def bytes_file(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def good(number: int = 0) -> bytes:
    turns = [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": "a"}]
    return json.dumps({"messages": turns}).encode()


# --- the data ---------------------------------------------------------------------------------


def test_broken_jsonl(sft, tmp_path):
    data = bytes_file(tmp_path / "d.jsonl", good(), b'{"messages": [', good(1))
    sft(data=data, says=[f"{data}, line 2: not JSON", "Mend the lines", "nothing was written"])


def test_a_wrong_encoding(sft, tmp_path):
    data = bytes_file(tmp_path / "d.jsonl", good(), '{"messages": "é"}'.encode("latin-1"))
    sft(data=data, says=[f"{data}, line 2: not UTF-8", "save the file as UTF-8"])


def test_missing_fields(sft, tmp_path):
    data = bytes_file(tmp_path / "d.jsonl", good(), b'{"text": "x"}')
    sft(data=data, says=[f"{data}, line 2: field 'messages'", "a demonstration needs: messages"])


def test_roles_out_of_order(sft, demonstrations):
    turns = demonstrations[1]["messages"]
    rows = [demonstrations[0], {"messages": [turns[2], turns[1]]}]
    sft(rows=rows, says=["line 2: field 'messages'", "expected 'user', found 'assistant'"])


def test_an_empty_reply(sft, demonstrations):
    turns = [*demonstrations[1]["messages"][:2], {"role": "assistant", "content": " \n"}]
    rows = [demonstrations[0], {"messages": turns}]
    sft(rows=rows, says=["line 2: field 'messages.2.content': is empty"])


def test_duplicate_ids(sft, demonstrations):
    rows = [{**row, "id": name} for row, name in zip(demonstrations, "aba", strict=False)]
    sft(rows=rows, says=["line 3: id 'a' stands already in line 1"])


def test_an_empty_file(sft, tmp_path):
    (tmp_path / "d.jsonl").touch()
    sft(data=tmp_path / "d.jsonl", says=["d.jsonl holds no record"])


def test_a_file_that_is_not_there(sft, tmp_path):
    sft(data=tmp_path / "none.jsonl", says=["none.jsonl", "dataset_name"])


def test_a_text_file_with_another_name(sft, tmp_path):
    (tmp_path / "d.txt").write_text("hello\n")
    sft(data=tmp_path / "d.txt", says=["d.txt", ".jsonl"])


def test_zero_supervised_tokens(sft, copy_of_tiny):
    template = (copy_of_tiny / "chat_template.jinja").read_text()
    start = template.index("{%- generation %}")
    end = template.index("{%- endgeneration %}")
    (copy_of_tiny / "chat_template.jinja").write_text(template[:start] + template[end + 20 :])
    sft(model=copy_of_tiny, says=[str(copy_of_tiny), "template", "no end token behind a reply"])


@pytest.mark.parametrize("share", ["0.05", "0.5"])
def test_a_record_over_max_length_is_named_by_its_own_number(sft, demonstrations, share):
    # Held-out records stand elsewhere in the stage's lists than in the user's file.
    rows = [*demonstrations]
    turns = rows[10]["messages"]
    rows[10] = {"messages": [*turns[:2], {"role": "assistant", "content": "word " * 100}]}
    words = ("--max_length", "64", "--held_out_share", share)
    sft(*words, rows=rows, says=["mine.jsonl", "line 11;", "max_length 64", "--leave_out_long"])


def test_a_conversation_that_the_template_refuses_is_named_by_its_own_number(sft, demonstrations):
    rows = [*demonstrations]
    turns = rows[12]["messages"]
    said = {"role": "assistant", "content": "It ends <|im_end|> here."}
    rows[12] = {"messages": [*turns[:2], said]}
    sft("--held_out_share", "0.5", rows=rows, says=["mine.jsonl, line 13:", "<|im_end|>"])


def test_nothing_left_to_train_on(sft, demonstrations):
    sft("--held_out_share", "1.0", says=["held_out_share"])
    sft("--held_out_share", "-1", says=["held_out_share"])
    sft("--held_out_share", "nan", says=["held_out_share"])
    sft("--held_out_share", "0.9999999", rows=demonstrations[:1], says=["held_out_share"])


# --- the settings -----------------------------------------------------------------------------


def test_an_unknown_key(sft):
    sft("--learning_rat", "1", says=["unknown key --learning_rat", "--learning_rate"])


def test_an_abbreviated_key(sft):
    sft("--learning", "1", says=["unknown key --learning"])


def test_a_wrong_type_in_a_flag(sft):
    sft("--max_steps", "2.5", says=["--max_steps", "2.5"])


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        ("seed: 1\nmax_steps: many\n", ["line 2", "max_steps", "many"]),
        ("seed: 1\nlearning_rate: null\n", ["line 2", "learning_rate"]),
        ("seed: 1\nseed: 2\n", ["line 2", "seed"]),
        ("seed: 1\nenv:\n  WANDB_API_KEY: x\n", ["line 2", "env: is not allowed"]),
        ("seed: 1\nlearning_rat: 2\n", ["line 2", "did you mean learning_rate?"]),
        ("seed: 1\nlearning: 2\n", ["line 2", "unknown key learning"]),
    ],
)
def test_a_wrong_yaml_file(sft, tmp_path, yaml, says):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml)
    sft("--config", path, says=[str(path), *says])


def test_run_dir_and_output_dir_both_given(sft, tmp_path):
    sft("--output_dir", tmp_path / "out", says=["output_dir", "run_dir", "give one of them"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["assistant_only_loss", "completion_only_loss"])
def test_a_key_that_would_be_ignored(sft, key):
    sft(f"--{key}", "false", says=[key, "cannot be set"])


def test_remote_code(sft):
    sft("--trust_remote_code", says=["trust_remote_code is never allowed"])


def test_what_is_not_done_yet_is_not_ignored(sft):
    sft("--load_in_8bit", says=["load_in_8bit", "not supported yet"])


# --- the model folder -------------------------------------------------------------------------


def test_a_model_folder_that_is_not_there(sft, tmp_path):
    sft(model=tmp_path / "none", says=["no model folder", "none"])


def test_a_model_name_that_is_not_in_the_cache(sft):
    sft(model="nobody/nothing-7b", says=["nobody/nothing-7b", "--allow_network"])


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "x.pth", "a.pkl", "b.pickle", "c.ckpt", "D.BIN"]
)
def test_a_model_folder_with_pickles(sft, copy_of_tiny, name):
    (copy_of_tiny / name).write_bytes(b"\x80\x04.")
    sft(model=copy_of_tiny, says=["pickled weights", name, "safetensors"])


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_model_folder_with_auto_map(sft, copy_of_tiny, name):
    path = copy_of_tiny / name
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": {"A": "m.A"}}))
    sft(model=copy_of_tiny, says=[str(path), "auto_map"])


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"model_type": "nonesuch"}', b"{}"])
def test_a_model_folder_with_a_broken_config(sft, copy_of_tiny, content):
    (copy_of_tiny / "config.json").write_bytes(content)
    sft(model=copy_of_tiny, says=[str(copy_of_tiny)])


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["half", "gone"])
def test_a_model_folder_with_a_broken_file(sft, copy_of_tiny, name, damage):
    path = copy_of_tiny / name
    if damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.unlink()
    sft(model=copy_of_tiny, says=[str(copy_of_tiny)])


def test_an_empty_folder_is_no_model(sft, tmp_path):
    (tmp_path / "empty").mkdir()
    sft(model=tmp_path / "empty", says=["holds no model"])


def test_a_padding_that_has_no_embedding(sft, copy_of_tiny):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(copy_of_tiny)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(copy_of_tiny)
    sft(model=copy_of_tiny, says=["pad_token '[PAD]'", "has embeddings for", "resize_token_emb"])


@pytest.mark.parametrize("left", [["config.json", "generation_config.json"], ["config.json"]])
def test_an_end_that_the_tokenizer_lacks(sft, copy_of_tiny, left):
    for name in ("config.json", "generation_config.json"):
        path = copy_of_tiny / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": [3, 9999]}))
        if name not in left:
            path.unlink()
    sft(model=copy_of_tiny, says=[str(copy_of_tiny), "names 9999 as eos_token_id"])


def test_no_chat_template(sft, copy_of_tiny):
    (copy_of_tiny / "chat_template.jinja").unlink()
    sft(model=copy_of_tiny, says=["no chat template", "--chat_template FILE", "_template.jinja"])


def test_a_prompt_without_the_replys_header(sft, copy_of_tiny):
    path = copy_of_tiny / "chat_template.jinja"
    path.write_text(path.read_text().partition("{%- if add_generation_prompt %}")[0])
    sft(model=copy_of_tiny, says=[str(copy_of_tiny), "without the header of the reply"])


def test_a_record_over_what_the_model_takes(sft, tmp_path):
    long = {"prompt": "Tell me all. " * 400, "completion": "Of course."}
    says = ["longer than the 512 tokens that the model takes", "line 1"]
    sft("--max_length", "2048", rows=[long], says=says)


def test_a_reward_model_is_no_model_to_fine_tune(sft, copy_of_tiny, tmp_path):
    # transformers would fill the missing head with noise and only warn.
    from inhouse.models.load import load_tokenizer, new_reward_model, save_model

    tokenizer = load_tokenizer(str(copy_of_tiny))
    reward = new_reward_model(str(copy_of_tiny), dtype="float32", seed=0)
    save_model(reward, tokenizer, tmp_path / "reward")
    sft(model=tmp_path / "reward", says=[str(tmp_path / "reward")])


def test_weights_that_are_missing_are_not_made_up(sft, copy_of_tiny):
    from safetensors.torch import load_file, save_file

    path = copy_of_tiny / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    sft(model=copy_of_tiny, says=[str(copy_of_tiny), "up_proj"])


# --- what a library says no to -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--attn_implementation", "flash_attention_7"], ["flash_attention_7"]),
        (["--report_to", "wandb"], ["pip install wandb"]),
        (["--use_peft", "--lora_target_modules", "c_attn"], ["c_attn"]),
        (["--per_device_train_batch_size", "0"], ["per_device_train_batch_size is 0"]),
        (["--gradient_accumulation_steps", "0"], ["gradient_accumulation_steps is 0"]),
        (["--num_train_epochs", "0"], ["num_train_epochs is 0"]),
        (["--optim", "adamw_bnb_8bit"], ["optimiser", "bitsandbytes"]),  # said at the first step
        (["--eval_strategy", "epoch", "--held_out_share", "1e-9"], ["--held_out_share"]),
    ],
    ids=lambda value: value[-2] if len(value) > 1 and value[-1][0].isdigit() else value[-1],
)
def test_what_cannot_be_built_is_said_in_a_line_and_leaves_no_folder(sft, words, says):
    for name in ("wandb", "bitsandbytes"):
        if name in says[-1] and importlib.util.find_spec(name):
            pytest.skip(f"{name} is installed here, so nothing is refused")
    sft(*words, says=says)


# --- the folder to write to -------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["--overwrite"]])
def test_an_output_folder_that_holds_something_else(sft, tmp_path, words):
    folder = tmp_path / "runs" / "x" / "sft"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("mine")
    sft(*words, says=[str(folder), "--run_dir"])
    assert (folder / "thesis.txt").read_text() == "mine"


def test_a_damaged_manifest(sft, tmp_path):
    folder = tmp_path / "runs" / "x" / "sft"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"schema": 1, "sta')
    sft(says=[str(folder / "manifest.json"), "damaged", "--overwrite"])


def test_the_clone_itself_is_no_run_folder(
    refused, tiny_model, write_lines, demonstrations, tmp_path
):
    # `--run_dir .` would make `sft/`, the package, the stage's folder.
    root = Path(__file__).parents[2]
    data = tmp_path / "demonstrations.jsonl"
    write_lines(data, demonstrations)
    for words in ([], ["--overwrite"]):
        refused(
            "sft.train",
            *("--model_name_or_path", tiny_model, "--dataset_name", data, *words),
            *("--output_dir", root / "sft"),
            says=["run_dir"],
            run_dir=root / "configs",
        )
    assert (root / "sft" / "train.py").is_file()


# --- parents ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("sft.train", ["no model to start from", "--model_name_or_path"]),
        ("reward.train", ["/sft", "python -m sft"]),
        ("rlhf.dpo", ["/sft", "python -m sft"]),
        ("labeling.candidates", ["/sft", "python -m sft"]),
        ("labeling.push", ["candidates.jsonl", "python -m labeling.candidates"]),
        ("labeling.pull", ["candidates.jsonl", "python -m labeling.candidates"]),
        ("labeling.preferences", ["ratings", "python -m labeling.pull"]),
        ("review.evaluate", ["/sft", "python -m sft"]),
    ],
)
def test_a_missing_parent_stage_names_its_command(refused, tmp_path, module, says):
    rules = Path(__file__).parents[2] / "configs" / "house" / "asdfg.yaml"
    needs = module.startswith(("labeling.c", "labeling.pu", "review"))
    words = ["--house_rules", rules] if needs else []
    refused(module, *words, says=says, run_dir=tmp_path / "runs" / "x")


@pytest.mark.parametrize("module", ["reward.train", "rlhf.dpo"])
def test_missing_preferences_name_their_command(refused, tiny_model, tmp_path, module):
    words = ("--model_name_or_path", tiny_model)
    says = ["preferences.jsonl", "python -m labeling.preferences", "--dataset_name"]
    refused(module, *words, says=says, run_dir=tmp_path / "runs" / "x")


def test_missing_demonstrations_name_the_way_out(refused, tiny_model, tmp_path):
    words = ("--model_name_or_path", tiny_model)
    says = ["demonstrations.jsonl", "--dataset_name"]
    refused("sft.train", *words, says=says, run_dir=tmp_path / "runs" / "x")


@pytest.mark.parametrize("module", STAGES)
def test_a_checkpoint_to_go_on_from_that_is_none(
    refused, tiny_model, tmp_path, write_lines, demonstrations, preferences, module
):
    rows = demonstrations if module == "sft.train" else preferences
    refused(
        module,
        *("--model_name_or_path", tiny_model),
        *("--dataset_name", write_lines(tmp_path / "d.jsonl", rows)),
        *("--resume_from_checkpoint", tmp_path / "none"),
        says=["resume_from_checkpoint", "none"],
        run_dir=tmp_path / "runs" / "x",
    )


# --- as a user would, in a process of its own -------------------------------------------------


def test_broken_data_ends_the_command_with_3_and_no_traceback(run_command, tiny_model, tmp_path):
    data = bytes_file(tmp_path / "d.jsonl", good(), b"{")
    words = ("--model_name_or_path", str(tiny_model), "--dataset_name", str(data))
    ended = run_command("sft", *words, "--run_dir", str(tmp_path / "runs" / "x"))
    assert ended.returncode == 3
    assert ended.stderr.strip().splitlines()[0].startswith(f"error: {data}, line 2: not JSON")
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "runs").exists()


def test_crlf_and_a_byte_order_mark_are_read(run_stage, tiny_model, demonstrations, tmp_path):
    text = "\r\n".join(json.dumps(row) for row in demonstrations)
    (tmp_path / "d.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    words = ("--model_name_or_path", tiny_model, "--dataset_name", tmp_path / "d.jsonl")
    ended = run_stage("sft.train", *words, "--run_dir", tmp_path / "x", "--dry_run")
    assert ended.code == 0, ended.err
    assert not (tmp_path / "x").exists()


def test_a_folder_that_may_not_be_written_is_refused(sft, tmp_path):
    if os.geteuid() == 0:
        # Root may write anywhere but under a file; that stands for it here.
        (tmp_path / "runs").write_text("mine")
        sft(says=["runs", "--run_dir"], run_dir=tmp_path / "runs")
        return
    (tmp_path / "runs").mkdir(mode=0o500)
    sft(says=["runs"])


def test_a_lora_key_without_use_peft_is_refused_not_ignored():
    with pytest.raises(InputError, match="lora_r is set, but use_peft is not"):
        check_settings({"lora_r": 8, "run_dir": "runs/x"})
    check_settings({"lora_r": 8, "use_peft": True})
