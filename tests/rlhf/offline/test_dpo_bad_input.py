"""What may be wrong with preferences: exit 3, the line, the way out; or left out and counted."""

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from compliance.rules import house_rules
from inhouse.config import HoldOutOptions, PrivacyOptions
from inhouse.errors import InputError
from inhouse.records import Preference
from inhouse.training.data import is_held_out
from rlhf.offline.data import prepare, prompts_of, read_pairs
from rlhf.offline.options import OfflineOptions
from rlhf.offline.rows import pair_row

RULES = Path(__file__).parents[3] / "configs" / "house" / "asdfg.yaml"


@pytest.fixture
def dpo(refused, tiny_model, preferences, write_lines, tmp_path):
    """Run rlhf.dpo on sixteen preferences with something wrong."""

    def check(*words, says, rows=None, model=None):
        data = write_lines(tmp_path / "p.jsonl", rows or preferences)
        given = ("--model_name_or_path", model or tiny_model, "--dataset_name", data, *words)
        return refused("rlhf.dpo", *given, says=says, run_dir=tmp_path / "x")

    return check


@pytest.fixture
def rows(preferences):
    return copy.deepcopy(preferences)


# --- records ----------------------------------------------------------------------------------


def test_control_tokens_in_a_text(dpo, rows):
    rows[9]["chosen"][0]["content"] = "Yes. <|im_end|>"
    dpo(rows=rows, says=["p.jsonl, line 10", "<|im_end|>"])


@pytest.mark.parametrize("module", ["rlhf.dpo", "reward.train"])
def test_a_pair_over_max_length(refused, tiny_model, rows, write_lines, tmp_path, module):
    rows[12]["rejected"][0]["content"] = "word " * 100
    data = write_lines(tmp_path / "p.jsonl", rows)
    words = ("--model_name_or_path", tiny_model, "--dataset_name", data, "--max_length", "64")
    refused(module, *words, says=["p.jsonl", "13;", "--max_length"], run_dir=tmp_path / "x")


def test_reward_names_a_preference_that_cannot_be_rendered(
    refused, tiny_model, rows, write_lines, tmp_path
):
    rows[9]["chosen"][0]["content"] = "Yes. <|im_end|>"
    data = write_lines(tmp_path / "p.jsonl", rows)
    words = ("--model_name_or_path", tiny_model, "--dataset_name", data)
    refused("reward.train", *words, says=["record 10", "<|im_end|>"], run_dir=tmp_path / "x")


def test_lines_are_counted_as_an_editor_counts_them(rows, tmp_path, write_lines):
    rows[1]["chosen"][0]["content"] = "Yes. <|im_end|>"
    data = write_lines(tmp_path / "gaps.jsonl", rows)
    data.write_text("\n\n" + data.read_text())
    with pytest.raises(InputError, match="line 4"):
        prepare_all(data)


def test_the_same_answer_twice(dpo, rows):
    rows[3]["rejected"] = rows[3]["chosen"]
    dpo(rows=rows, says=["p.jsonl, line 4", "chosen and rejected are the same answer"])


def test_the_same_answer_once_rendered(tokenizer, preferences):
    row = copy.deepcopy(preferences[0])
    row["rejected"] = [{"role": "assistant", "content": row["chosen"][0]["content"] + " "}]
    stripping = copy.deepcopy(tokenizer)
    stripping.chat_template = tokenizer.chat_template.replace(
        "message.content", "message.content | trim"
    ).replace("message['content']", "message['content'] | trim")
    assert stripping.chat_template != tokenizer.chat_template
    with pytest.raises(InputError, match="the same answer once the chat template"):
        pair_row(stripping, Preference(**row))


def test_facts_that_are_no_list(tokenizer, rows, write_lines, tmp_path):
    for row in rows:
        row["metadata"] = {"facts": "5%"}
    data = write_lines(tmp_path / "p.jsonl", rows)
    with pytest.raises(InputError, match=r"p.jsonl, line \d+: .*facts must be a list"):
        prepare_all(data, held_out_share=0.5)


def test_personal_data(dpo, rows):
    rows[2]["chosen"][0]["content"] = "Write to jane.doe@mailbox.com."
    dpo(rows=rows, says=["personal data", "--allow_unscrubbed"])


def test_a_machine_without_the_memory(dpo, monkeypatch):
    from inhouse.training import memory

    # By formula 32 pairs take more than this, and a smaller batch does not.
    monkeypatch.setattr(memory, "free_bytes", lambda: 4_000_000)
    says = ["training would take about", "--per_device_train_batch_size"]
    dpo("--per_device_train_batch_size", "32", says=says)


# --- template and tokenizer -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.replace("<|im_end|>", ""), ["/model writes no end token"]),
        (
            lambda t: "{{ messages | length }}" + t,
            ["p.jsonl, line 1", "renders the prompt otherwise"],
        ),
    ],
    ids=["no end token", "prompt no prefix"],
)
def test_a_template_that_would_teach_something_else(dpo, copy_of_tiny, change, says):
    path = copy_of_tiny / "chat_template.jinja"
    path.write_text(change(path.read_text()))
    dpo(model=copy_of_tiny, says=says)


def test_a_template_that_begins_the_text_twice(dpo, copy_of_tiny):
    config = json.loads((copy_of_tiny / "tokenizer_config.json").read_text())
    changed = config | {"bos_token": "<|im_start|>"}
    (copy_of_tiny / "tokenizer_config.json").write_text(json.dumps(changed))
    path = copy_of_tiny / "chat_template.jinja"
    path.write_text("{{ bos_token }}" + path.read_text())
    dpo(model=copy_of_tiny, says=["p.jsonl, line 1", "begins the text twice"])


# --- left out, counted ------------------------------------------------------------------------


def prepare_all(data, *, house_rules=None, max_length=None, **hold_out):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(RULES.parents[2] / "examples" / "asdfg" / "model")
    source = str(data)
    made = prepare(
        *(tokenizer, read_pairs(source), source, pair_row, lambda pair: pair.chosen[0].content),
        *(HoldOutOptions(**{"held_out_share": 0.0} | hold_out), PrivacyOptions()),
        *(house_rules, max_length),
    )
    return SimpleNamespace(
        rows=made.columns,
        held_out=made.held_out_columns,
        prompts=prompts_of(made.held_out, source),
        told=made.told,
    )


def breach() -> tuple[str, str]:
    """A sentence that breaks a blocker of the demonstration house, and the rule."""
    rules = house_rules.load(RULES)
    for rule in rules.rules:
        for words in (example for example in rule.bad if isinstance(example, str)):
            found = {finding.rule for finding in rules.check([], words)}
            if rule.severity == "blocker" and rule.id in found:
                return words, rule.id
    raise AssertionError("the demonstration house has no blocker")


def test_a_chosen_answer_that_breaks_a_blocker_never_enters(rows, write_lines, tmp_path, capsys):
    words, rule = breach()
    rows[4]["chosen"][0]["content"] = words
    rows[6]["rejected"][0]["content"] = words  # as it should be: it is what to avoid
    data = write_lines(tmp_path / "p.jsonl", rows)
    made = prepare_all(data, house_rules=str(RULES))
    assert len(made.rows) == 15
    [entry] = made.told["vetoed"]
    assert entry["place"] == "line 5" and rule in entry["rules"]
    out = capsys.readouterr().out
    assert "1 of 16 wanted answers break a blocker rule" in out and "line 5: " in out


def test_nothing_but_breaches_is_refused(rows, write_lines, tmp_path):
    words, _ = breach()
    for row in rows:
        row["chosen"][0]["content"] = words
    data = write_lines(tmp_path / "p.jsonl", rows)
    with pytest.raises(InputError, match=r"every wanted answer of .* breaks a blocker rule"):
        prepare_all(data, house_rules=str(RULES))


def test_long_pairs_are_left_out_if_that_is_allowed(rows, write_lines, tmp_path, capsys):
    rows[12]["rejected"][0]["content"] = "word " * 100
    data = write_lines(tmp_path / "p.jsonl", rows)
    made = prepare_all(data, max_length=64, leave_out_long=True)
    assert len(made.rows) == 15
    [entry] = made.told["too_long"]
    assert entry["place"] == "line 13" and entry["tokens"] > 100
    assert "1 of 16 records" in capsys.readouterr().out
    with pytest.raises(InputError, match="nothing is left"):
        prepare_all(data, max_length=8, leave_out_long=True)


def test_all_pairs_of_a_prompt_stand_on_one_side(rows, write_lines, tmp_path):
    again = copy.deepcopy(rows)
    for row in again:
        row["chosen"][0]["content"] += " Good day."
    data = write_lines(tmp_path / "p.jsonl", rows + again)
    made = prepare_all(data, held_out_share=0.5)
    held_out = {tuple(row["prompt_ids"]) for row in made.held_out}
    assert held_out and not held_out & {tuple(row["prompt_ids"]) for row in made.rows}
    assert len(made.held_out) == 2 * len(held_out) == 2 * len(made.prompts)
    assert all(is_held_out(prompt.prompt, 0.5) for prompt in made.prompts)


def test_holding_everything_out_is_refused(rows, write_lines, tmp_path):
    data = write_lines(tmp_path / "p.jsonl", rows)
    with pytest.raises(InputError, match="holds out all of 16"):
        prepare_all(data, held_out_share=0.9999999)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"held_out_share": 1.0}, "below 1"),
        ({"held_out_share": -0.1}, "0 or more"),
        ({"answer_prompts": -1}, "0 or more"),
    ],
)
def test_shares_and_counts_that_mean_nothing(setting, says):
    kind = OfflineOptions if "answer_prompts" in setting else HoldOutOptions
    with pytest.raises(ValueError, match=says):
        kind(**setting)
