"""KTO: single verdicts from a file to a saved model, and what is refused on the way."""

import inspect
import json
import math
from types import SimpleNamespace

import pytest
import trl
from datasets import Dataset
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from inhouse.errors import InputError
from inhouse.records import Preference
from inhouse.training.data import is_held_out
from rlhf.kto import balance, check_training, count_verdicts
from rlhf.offline.data import read_verdicts
from rlhf.offline.rows import Verdict, verdict_row, with_mismatched


@pytest.fixture
def verdicts(preferences) -> list[dict]:
    """TRL's unpaired preferences: sixteen prompts, every other answer liked."""
    rows = []
    for number, row in enumerate(preferences):
        side = "rejected" if number % 2 else "chosen"
        rows.append({"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"})
    return rows


@pytest.fixture
def verdict_file(verdicts, write_lines, tmp_path):
    return write_lines(tmp_path / "verdicts.jsonl", verdicts)


# --- records and rows -------------------------------------------------------------------------


def test_kto_is_a_stable_part_of_trl():
    assert trl.KTOTrainer.__module__ == "trl.trainer.kto_trainer"


def test_trls_unpaired_shape_is_read_as_text_and_as_messages(write_lines, tmp_path, verdicts):
    text = {"prompt": "The sky is", "completion": "blue.", "label": True}
    path = write_lines(tmp_path / "v.jsonl", [text, verdicts[1]])
    found = read_verdicts(str(path))
    first, second = (each.record for each in found)
    assert [message.content for message in first.prompt + first.completion] == [
        "The sky is",
        "blue.",
    ]
    assert (first.label, second.label) == (True, False)
    assert [each.place for each in found] == ["line 1", "line 2"]


def test_a_pair_is_read_as_two_verdicts(prefs, preferences):
    placed = read_verdicts(str(prefs))
    found = [each.record for each in placed]
    assert len(found) == 32
    assert [each.place for each in placed[2:4]] == ["line 2 (chosen)", "line 2 (rejected)"]
    pair = Preference(**preferences[1])
    assert found[2] == Verdict(prompt=pair.prompt, completion=pair.chosen, label=True)
    assert found[3] == Verdict(prompt=pair.prompt, completion=pair.rejected, label=False)


def test_a_row_is_the_prompt_the_answer_with_its_end_token_and_the_label(tokenizer, verdicts):
    row = verdict_row(tokenizer, Verdict(**verdicts[0]))
    assert tokenizer.decode(row["completion_ids"]) == (
        verdicts[0]["completion"][0]["content"] + "<|im_end|>"
    )
    assert tokenizer.decode(row["prompt_ids"]).endswith("<|im_start|>assistant\n")
    assert row["label"] is True
    batch = DataCollatorForUnpairedPreference(pad_token_id=0)([row])
    assert batch["input_ids"][0].tolist() == row["prompt_ids"] + row["completion_ids"]
    assert batch["completion_mask"].sum() == len(row["completion_ids"])


def test_each_prompt_gets_the_answer_of_its_neighbour_as_trl_pairs_them(tokenizer):
    rows = [{"prompt_ids": [n], "completion_ids": [100 + n], "label": n % 2 == 0} for n in range(7)]
    made = with_mismatched(rows, batch_size=3, seed=0)
    assert sorted(row["prompt_ids"] for row in made) == [[n] for n in range(7)]
    answers = [row["completion_ids"] for row in made]
    # Batches of three: the last answer comes first, the others move on by one.
    expected = [answers[i] for i in (2, 0, 1, 5, 3, 4, 6)]
    assert [row["KL_completion_ids"] for row in made] == expected
    # And that is what TRL makes of the same rows, given as text in the same order.
    texts = [{"prompt": f"{n} ", "completion": f"{n}", "label": n % 2 == 0} for n in range(7)]
    trainer = SimpleNamespace(
        calculate_KL=True, _tokenizer=tokenizer, desirable_weight=1.0, undesirable_weight=1.0
    )
    args = SimpleNamespace(dataset_num_proc=None, max_length=64, per_device_train_batch_size=3)
    theirs = trl.KTOTrainer._prepare_dataset(
        trainer, Dataset.from_list(texts), tokenizer, args, "train"
    )
    answers = theirs["completion_ids"]
    assert list(theirs["KL_completion_ids"]) == [answers[i] for i in (2, 0, 1, 5, 3, 4, 6)]


def test_rows_are_shuffled_once_by_the_seed():
    # A file sorted by verdict would make batches of one kind, and TRL takes rows in their order.
    rows = [{"prompt_ids": [n], "completion_ids": [n], "label": n < 32} for n in range(64)]
    made = with_mismatched(rows, batch_size=8, seed=0)
    assert made == with_mismatched(rows, batch_size=8, seed=0)
    assert made != with_mismatched(rows, batch_size=8, seed=1)
    batches = [made[at : at + 8] for at in range(0, 64, 8)]
    assert all(0 < sum(row["label"] for row in batch) < 8 for batch in batches)
    assert trl.KTOConfig.__dataclass_fields__["train_sampling_strategy"].default == "sequential"


def test_the_columns_are_those_that_trl_keeps():
    source = inspect.getsource(trl.KTOTrainer._set_signature_columns_if_needed)
    for column in ("KL_completion_ids", "completion_ids", "label", "ref_logps", "ref_KL_logps"):
        assert f'"{column}"' in source


# --- weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("liked", "disliked", "weights", "says"),
    [
        (10, 10, (1.0, 1.0), ["10 answers liked (desirable_weight 1)", "weighted 1.00 to 1"]),
        # 4/3 is the most that the paper's equation 8 allows.
        (40, 30, (1.0, 1.0), ["weighted 1.33 to 1"]),
        (40, 10, (1.0, 1.0), ["4.00 to 1", "--undesirable_weight 4.00 would give 1.00"]),
        (40, 10, (1.0, 2.0), ["2.00 to 1", "--undesirable_weight 4.00 would give 1.00"]),
        (10, 40, (1.0, 1.0), ["0.25 to 1", "--desirable_weight 4.00 would give 1.00"]),
    ],
)
def test_weights_are_said_and_what_would_balance_them(liked, disliked, weights, says):
    said = balance({"liked": liked, "disliked": disliked}, *weights)
    for part in says:
        assert part in said
    assert ("would give" in said) == (len(says) == 2 and "--" in says[1])


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(("label", "missing"), [(True, "disliked"), (False, "liked")])
def test_verdicts_of_one_kind_are_refused(label, missing):
    with pytest.raises(InputError, match=f"v.jsonl has no {missing} answer"):
        count_verdicts([{"label": label}] * 3, "v.jsonl")


def test_verdicts_of_one_kind_stop_the_command(
    refused, tiny_model, verdicts, write_lines, tmp_path
):
    data = write_lines(tmp_path / "v.jsonl", [row for row in verdicts if row["label"]])
    words = ("--model_name_or_path", tiny_model, "--dataset_name", data)
    refused(
        "rlhf.kto", *words, says=["no disliked answer", "python -m sft"], run_dir=tmp_path / "x"
    )


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "Q", "completion": "A"}, ["line 2", "'label'"]),
        ({"prompt": "Q", "completion": "A", "label": "yes"}, ["line 2", "'label'"]),
        ({"prompt": "Q", "completion": " ", "label": True}, ["line 2", "is empty"]),
        (
            {"prompt": "Q", "completion": [{"role": "user", "content": "A"}], "label": True},
            ["line 2", "one assistant turn"],
        ),
    ],
)
def test_a_broken_verdict_is_named_by_its_line(
    refused, tiny_model, verdicts, write_lines, tmp_path, row, says
):
    data = write_lines(tmp_path / "v.jsonl", [verdicts[0], row])
    words = ("--model_name_or_path", tiny_model, "--dataset_name", data)
    refused("rlhf.kto", *words, says=says, run_dir=tmp_path / "x")


@pytest.mark.parametrize(
    ("changed", "says", "apo"),
    [
        ({"per_device_train_batch_size": 1}, "give 2 or more", True),
        ({"train_sampling_strategy": "random"}, "leave it at sequential", True),
        ({"desirable_weight": 0.0}, "desirable_weight is 0.0", False),
        ({"undesirable_weight": -1.0}, "undesirable_weight is -1.0", False),
    ],
)
def test_settings_that_kto_cannot_learn_with_are_refused(changed, says, apo):
    plain = {
        "loss_type": "kto",
        "per_device_train_batch_size": 2,
        "train_sampling_strategy": "sequential",
        "desirable_weight": 1.0,
        "undesirable_weight": 1.0,
    }
    check_training(SimpleNamespace(**plain))
    with pytest.raises(InputError, match=says):
        check_training(SimpleNamespace(**(plain | changed)))
    if apo:  # it has no KL term to pair answers for
        check_training(SimpleNamespace(**(plain | changed | {"loss_type": "apo_zero_unpaired"})))


def test_an_unknown_loss_is_refused(refused, tiny_model, verdict_file, tmp_path):
    words = ("--model_name_or_path", tiny_model, "--dataset_name", verdict_file)
    says = ["--loss_type", "kto", "apo_zero_unpaired"]
    refused("rlhf.kto", *words, "--loss_type", "dpo", says=says, run_dir=tmp_path / "x")


# --- end to end -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--precompute_ref_log_probs", "false"),
        ("--use_peft", "--lora_r", "4", "--lora_target_modules", "all-linear"),
        ("--loss_type", "apo_zero_unpaired"),
    ],
    ids=["full", "live reference", "adapter", "apo"],
)
def test_kto_learns_from_verdicts_alone(run_stage, tiny_model, verdict_file, tmp_path, words):
    given = (
        *("--model_name_or_path", tiny_model, "--dataset_name", verdict_file, *words),
        *("--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "1"),
        *("--max_steps", "8", "--learning_rate", "1e-2", "--logging_steps", "1"),
        *("--held_out_share", "0.2", "--answer_prompts", "2", "--run_dir", tmp_path / "x"),
    )
    ended = run_stage("rlhf.kto", *given)
    assert ended.code == 0, ended.err
    assert "liked (desirable_weight 1)" in ended.out and "reference: " in ended.out
    metrics = json.loads((tmp_path / "x" / "kto" / "metrics.json").read_text())
    assert metrics["reference/start_gap"] < 1e-3
    assert metrics["rewards/margins"] > 0.5, "eight steps at 1e-2 must tell them apart"
    assert metrics["answers"]["after"]["kl"] > 0
    assert math.isfinite(metrics["eval_loss"])
    held_out = sum(
        is_held_out(Verdict(**json.loads(line)).prompt, 0.2)
        for line in verdict_file.read_text().splitlines()
    )
    assert sum(metrics["verdicts"].values()) == 16 - held_out
    assert run_stage("rlhf.kto", *given).out.endswith(f"up to date: {tmp_path / 'x' / 'kto'}\n")


@pytest.mark.slow
def test_the_campaigns_preferences_serve_without_a_file(aligned, prefs, tmp_path):
    ended = aligned("kto", "--max_steps", "1", "--held_out_share", "0", data=prefs)
    assert ended.metrics["verdicts"] == {"liked": 16, "disliked": 16}
    # Equation 7 at z = 0 and a log-ratio of 0: 1 - sigmoid(0), for either verdict.
    assert ended.metrics["loss"] == pytest.approx(0.5, abs=1e-4)


@pytest.mark.slow
def test_another_beta_asks_the_reference_nothing(aligned, monkeypatch, verdict_file, tmp_path):
    words = ("--ref_cache_dir", str(tmp_path / "cache"), "--max_steps", "1")
    first = aligned("kto", *words, data=verdict_file, run_dir=tmp_path / "one")
    assert "records computed" in first.out

    def unusable(*_):
        raise AssertionError("the reference was asked again")

    monkeypatch.setattr(trl.KTOTrainer, "compute_ref_log_probs", unusable)
    second = aligned("kto", *words, "--beta", "0.5", data=verdict_file, run_dir=tmp_path / "two")
    assert "records read from" in second.out
    assert second.metrics["reference/start_gap"] < 1e-3
