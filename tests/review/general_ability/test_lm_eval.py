"""Tasks by name: refused where lm-eval is missing, and run on local data where it is there."""

import importlib.util
import json

import pytest

from inhouse.errors import InputError
from inhouse.models.load import load_causal_lm
from review.general_ability import lm_eval as tasks
from review.general_ability.comparing import compare

KNOWN = {"name": "base", "hash": "0123456789ab"}
needs_lm_eval = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="the extra lm-eval is not installed"
)


def test_without_the_package_its_pip_line_is_said(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "lm_eval" else found(name)
    )
    with pytest.raises(InputError, match=r"not installed: pip install -e '\.\[lm-eval\]'"):
        tasks.answer_tasks(None, None, ["arc_easy"], KNOWN)


def test_an_unknown_task_is_refused():
    with pytest.raises(InputError, match="no task 'arc_esay': did you mean 'arc_easy'"):
        tasks._check_tasks(["arc_esay"], ["arc_easy", "hellaswag"])


def sample(**parts):
    return {
        "doc_id": 0,
        "metrics": ["acc"],
        "acc": 1.0,
        "filtered_resps": [["-1.2", "True"]],
    } | parts


def test_a_document_is_right_by_its_tasks_first_measure():
    assert tasks._answered("arc", sample(), KNOWN).correct
    both = sample(metrics=["acc", "acc_norm"], acc_norm=0.0)
    assert not tasks._answered("arc", both, KNOWN).correct
    written = sample(metrics=["exact_match"], exact_match=0.0, filtered_resps=["12"])
    assert tasks._answered("sums", written, KNOWN).said == "12"


@pytest.mark.parametrize("parts", [{"metrics": ["bleu"], "bleu": 0.4}, {"acc": 0.5}])
def test_a_task_that_says_neither_right_nor_wrong_is_refused(parts):
    with pytest.raises(InputError, match=r"the task poems measures .* expected one of acc_norm"):
        tasks._answered("poems", sample(**parts), KNOWN)


def test_a_document_read_in_two_ways_counts_once():
    first, second = sample(filter="strict"), sample(filter="loose", acc=0.0)
    assert tasks._once([first, second, sample(doc_id=1)]) == [first, sample(doc_id=1)]


TASK = """
task: colours
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list:
  - metric: acc
metadata: {{version: 1}}
"""


@needs_lm_eval
@pytest.mark.slow
def test_a_task_of_the_firms_own_runs_on_local_data(tiny_model, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    rows = [
        {"question": "Which colour is snow?", "choices": ["white", "green"], "answer": 0},
        {"question": "Which colour is grass?", "choices": ["white", "green"], "answer": 1},
        {"question": "Which colour is coal?", "choices": ["black", "red"], "answer": 0},
    ]
    data = tmp_path / "colours.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "colours.yaml").write_text(TASK.format(data=data))
    model = load_causal_lm(str(tiny_model))
    found = tasks.answer_tasks(model, tokenizer, ["colours"], KNOWN, task_folder=folder)
    assert [one.item for one in found] == ["colours/0", "colours/1", "colours/2"]
    assert {one.kind for one in found} == {"colours"}
    assert (
        tasks.answer_tasks(model, tokenizer, ["colours"], KNOWN, task_folder=folder, limit=2)[
            1
        ].correct
        == found[1].correct
    )
    assert compare(found, found)["colours"].difference == 0.0
    data.unlink()
    with pytest.raises(InputError, match=r"lm-eval cannot run colours here: .* Nothing is fetched"):
        tasks.answer_tasks(model, tokenizer, ["colours"], KNOWN, task_folder=folder)
