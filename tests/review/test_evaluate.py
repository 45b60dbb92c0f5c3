"""The review: what counts as stated, how answers are counted, and the stage end to end."""

import json
import shutil
from pathlib import Path

import pytest

from compliance.rules.house_rules import load
from inhouse.errors import InputError
from inhouse.files import describe_input
from inhouse.judge import find_judge, states_facts
from inhouse.records import Finding, Message, Output, read
from review.asking.answer import score
from review.asking.panel import instructed
from review.evaluate import model_folders
from review.summary import helpful, summarise
from review.table import print_table

ROOT = Path(__file__).parents[2]
RULES = ROOT / "configs" / "house" / "asdfg.yaml"


# --- facts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "facts"),
    [
        ("It is 5.25%.", ["5.25%"]),
        ("It is 5.25% a year.", ["5.25%"]),
        ("5.25%", ["5.25%"]),
        ("(5.25%)", ["5.25%"]),
        ("5.25%, paid monthly", ["5.25%"]),
        ("VELQUOR income\nnote", ["Velquor Income Note"]),
        ("velquor  income\u00a0note.", ["Velquor Income Note"]),
        ("The Velquor Income Note pays 5.25%.", ["Velquor Income Note", "5.25%"]),
        ("It costs $1,000.", ["$1,000"]),
        ("It closes on 2 April.", ["2 April"]),
        ("It is 6.5% and then 5.25%.", ["5.25%"]),
        ("Anything.", []),
        (
            "A Velquor Income\tNote",
            ["Velquor  Income Note"],
        ),  # spaces in the fact count as one, too
        ("It is 3.", ["3"]),
        ("3, or so", ["3"]),
    ],
)
def test_a_fact_is_stated(response, facts):
    assert states_facts(response, facts)


@pytest.mark.parametrize(
    ("response", "facts"),
    [
        ("It is 15.25%.", ["5.25%"]),
        ("It is 5.255%.", ["5.25%"]),
        ("It is 5.25.", ["5.25%"]),
        ("It is 0.5.25%", ["5.25%"]),
        ("It costs $1,000,000.", ["$1,000"]),
        ("It costs $1,000.50.", ["$1,000"]),
        ("It costs $21,000.", ["1,000"]),
        ("It closes on 12 April.", ["2 April"]),
        ("It closes on 2 Aprils.", ["2 April"]),
        ("The Velquor Income Notebook", ["Velquor Income Note"]),
        ("The Velquor Income Note", ["Velquor Income Note", "5.25%"]),
        ("5x25%", ["5.25%"]),  # the dot is a dot
        ("", ["5.25%"]),
        ("It is 30.", ["3"]),
        ("It is 3.5.", ["3"]),
    ],
)
def test_a_fact_is_not_stated(response, facts):
    assert not states_facts(response, facts)


# --- counting ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rules():
    return load(RULES)


def output(
    model: str, number: int, broken: str = "", right: bool = True, ended: bool = True, **changes
) -> Output:
    findings = [
        Finding(rule=rule, severity="x", start=0, end=1, text="A") for rule in broken.split()
    ]
    return Output(
        **{
            "id": f"{model}-{number}-{changes.get('seed', 0)}",
            "prompt": [{"role": "user", "content": f"question {number}"}],
            "model": {"name": model, "hash": "h"},
            "seed": 0,
            "response": "Answer.",
            "tokens": 4,
            "end_token": ended,
            "findings": findings,
            "reward": {},
            "facts_ok": right,
            "kl_to_sft": 0.5,
            "metadata": {"facts": ["1%"]},
            **changes,
        }
    )


def summary_of(rules, *outputs: Output, names=("sft", "dpo"), judge=None) -> dict:
    return summarise(list(outputs), list(names), rules, judge)


def test_compliance_and_tone_are_counted_apart_and_an_answer_once(rules):
    found = summary_of(
        rules,
        output("sft", 1, "PROM-01 PROM-01 PROJ-01 TONE-02"),
        output("sft", 2, "TONE-01"),
        output("sft", 3),
        output("sft", 4, "REC-01"),
        names=["sft"],
    )["models"]["sft"]
    assert (found["any_violation"]["rate"], found["any_violation"]["n"]) == (0.5, 4)
    assert found["tone_violation"]["rate"] == 0.5
    assert found["rules"]["PROM-01"]["rate"] == 0.25
    assert found["rules"]["PRES-01"]["rate"] == 0.0
    assert set(found["rules"]) == {rule.id for rule in rules.rules}
    # Clopper and Pearson for none of four: 1 - 0.025^(1/4).
    assert found["rules"]["PRES-01"]["high"] == pytest.approx(1 - 0.025**0.25)


def test_the_summary_has_the_shape_that_the_issue_asks_for(rules):
    found = summary_of(rules, output("sft", 1), output("dpo", 1))
    assert found["n_prompts"] == 1 and found["seeds"] == [0]
    for measures in found["models"].values():
        assert set(measures) == {
            *("any_violation", "tone_violation", "helpful", "end_token", "mean_tokens"),
            "empty_answers",
            *("kl_to_sft", "rules"),
        }
        assert set(measures["helpful"]) == {"rate", "low", "high", "n"}


def test_helpful_needs_the_end_and_the_facts(rules):
    assert helpful(output("sft", 1))
    assert not helpful(output("sft", 1, right=False))
    assert not helpful(output("sft", 1, ended=False))


def test_helpful_is_a_rate_of_the_prompts_that_have_facts(rules):
    plain = {"metadata": {}}
    found = summary_of(
        rules,
        output("sft", 1),
        output("sft", 2, right=False),
        output("sft", 3, **plain),
        output("sft", 4, **plain),
        names=["sft"],
    )["models"]["sft"]
    assert (found["helpful"]["rate"], found["helpful"]["n"]) == (0.5, 2)
    none = summary_of(rules, output("sft", 1, **plain), names=["sft"])["models"]["sft"]
    assert none["helpful"] is None


def test_pairs_are_the_same_prompt_and_seed_whatever_the_order(rules):
    # sft breaks a rule at prompts 0 to 8, dpo at prompt 9 only: 9 lost, 1 gained, 22 / 1024.
    sft = [output("sft", n, "PROM-01" if n < 9 else "") for n in range(20)]
    dpo = [output("dpo", n, "PROM-01" if n == 9 else "") for n in range(20)]
    found = summary_of(rules, *sft, *dpo[::-1])
    assert found["mcnemar_p_against_sft"]["dpo"]["any_violation"] == pytest.approx(22 / 1024)
    assert "sft" not in found["mcnemar_p_against_sft"]


def test_helpful_is_compared_over_the_prompts_whose_rate_it_is(rules):
    # Without facts there is nothing to state: these prompts are in no rate of helpfulness.
    plain = {"metadata": {}}
    sft = [output("sft", n, ended=False, **plain) for n in range(6)] + [output("sft", 9)]
    dpo = [output("dpo", n, **plain) for n in range(6)] + [output("dpo", 9)]
    found = summary_of(rules, *sft, *dpo)
    assert found["models"]["dpo"]["helpful"]["n"] == 1
    assert found["mcnemar_p_against_sft"]["dpo"]["helpful"] == 1.0


def test_means_are_means_over_answers(rules):
    found = summary_of(
        rules, output("sft", 1, tokens=2, kl_to_sft=0.0), output("sft", 2), names=["sft"]
    )["models"]["sft"]
    assert found["mean_tokens"] == 3.0 and found["kl_to_sft"] == 0.25


def test_slices_are_counted_apart(rules):
    slices = [{"metadata": {"facts": ["1%"], "slice": name}} for name in ("names", "pairs")]
    found = summary_of(
        rules,
        output("sft", 1, **slices[0]),
        output("sft", 2, right=False, **slices[0]),
        output("sft", 3, "PROM-01", **slices[1]),
        output("sft", 4),
        names=["sft"],
    )
    assert set(found["slices"]) == {"names", "pairs"}
    assert found["slices"]["names"]["sft"]["helpful"]["rate"] == 0.5
    assert found["slices"]["pairs"]["sft"]["any_violation"]["rate"] == 1.0
    assert found["models"]["sft"]["helpful"]["n"] == 4


def test_the_change_in_helpfulness_is_paired(rules):
    # Of four prompts one is gained, one lost, one kept, one missed by both: no change in all.
    sft = [output("sft", n, right=right) for n, right in enumerate((True, False, True, False))]
    dpo = [output("dpo", n, right=right) for n, right in enumerate((False, True, True, False))]
    found = summary_of(rules, *sft, *dpo)["helpful_change_from_sft"]["dpo"]
    assert found["rate"] == 0.0 and found["n"] == 4 and found["low"] < 0 < found["high"]


def test_the_hidden_standard_counts_ties_half(rules):
    def judge(prompt, answer, other):
        return {"good": 1.0, "same": 0.5, "bad": 0.0}[answer]

    sft = [output("sft", n, response="x") for n in range(4)]
    said = ("good", "good", "same", "bad")
    dpo = [output("dpo", n, response=text) for n, text in enumerate(said)]
    found = summary_of(rules, *sft, *dpo, judge=judge)["models"]
    assert found["dpo"]["hidden_standard"]["rate"] == 2.5 / 4
    assert found["dpo"]["hidden_standard"]["n"] == 4
    assert "hidden_standard" not in found["sft"]


def test_the_story_is_counted_apart_from_the_held_out_prompts(rules):
    told = [output("sft", n, split="story", right=n < 3) for n in range(4)]
    greedy = [output("sft", n, "PROM-01", split="story_greedy") for n in range(2)]
    found = summary_of(rules, output("sft", 9), *told, *greedy, names=["sft"])
    assert found["story"]["sft"]["sampled"]["rate"] == 0.75
    assert found["story"]["sft"]["greedy"]["rate"] == 1.0
    assert found["n_prompts"] == 1 and found["models"]["sft"]["any_violation"]["rate"] == 0.0


def test_what_the_prompted_base_is_told_stands_above_its_system_turn():
    system, user = (Message(role=role, content=role) for role in ("system", "user"))
    assert instructed([system, user], "Be kind.")[0].content == "Be kind.\n\nsystem"
    assert [m.role for m in instructed([user], "Be kind.")] == ["system", "user"]


@pytest.mark.parametrize("name", ["nowhere:standard", "review.summary:nothing", "review", ":"])
def test_a_judge_that_cannot_be_found_is_refused(name):
    with pytest.raises(InputError, match="module:function"):
        find_judge(name)


def test_empty_answers_are_counted_and_told(rules, capsys):
    said = [output("sft", 1, response=""), output("sft", 2, response="\u200b"), output("sft", 3)]
    summary = summary_of(rules, *said, names=["sft"])
    assert summary["models"]["sft"]["empty_answers"] == 2
    print_table(summary | {"temperature": 1.0})
    assert "2 of 3 answers of sft are empty" in capsys.readouterr().out
    attacks = {"sft": {"any": None, "rules": {}, "silent": 4}}
    print_table(summary | {"temperature": 1.0, "red_team": attacks})
    assert "4 attacks were answered by sft with nothing" in capsys.readouterr().out


def test_an_empty_answer_has_no_learned_reward():
    class Lengths:
        def score(self, texts):
            return [float(len(text)) for _, text in texts]

    assert score(Lengths(), [(None, "abc"), (None, "\u200b"), (None, "a")]) == [
        {"learned": 3.0},
        {},
        {"learned": 1.0},
    ]
    assert score(None, [(None, "abc")]) == [{}]


# --- the stage --------------------------------------------------------------------------------


WORDS = ("--house_rules", RULES, "--max_new_tokens", "6", "--batch_size", "2")
WORDS += ("--red_team", "false", "--ability", "0")


def test_a_run_answers_every_prompt_with_every_model_and_seed(run_stage, campaign, prompts):
    words = (*WORDS, "--seeds", "0", "1", "--note", "Simulated raters.", "--run_dir", campaign)
    ended = run_stage("review.evaluate", *words)
    assert ended.code == 0, ended.err
    folder = campaign / "review"
    assert {p.name for p in folder.iterdir()} == {
        *("outputs.jsonl", "summary.json", "report.html", "manifest.json", "metrics.json")
    }
    outputs = read(folder / "outputs.jsonl", Output)
    asked = {(o.model["name"], o.seed, o.prompt[1].content) for o in outputs}
    assert len(asked) == len(outputs) == 3 * 2 * len(prompts)
    assert {o.model["name"] for o in outputs} == {"base", "sft", "dpo"}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["n_prompts"] == len(prompts) and summary["seeds"] == [0, 1]
    assert summary["temperature"] == 1.0
    assert list(summary["models"]) == ["base", "sft", "dpo"]
    assert summary["models"]["sft"]["kl_to_sft"] == pytest.approx(0, abs=1e-4)
    assert summary["models"]["sft"]["any_violation"]["n"] == 2 * len(prompts)
    report = (folder / "report.html").read_text()
    assert "Simulated raters." in report
    assert "any_violation" in ended.out and str(folder) in ended.out
    again = run_stage("review.evaluate", *words)
    assert again.code == 0 and "up to date" in again.out and "any_violation" in again.out


def test_a_kill_before_the_report_was_drawn_is_mended_by_the_same_command(run_stage, campaign):
    words = (*WORDS, "--run_dir", campaign)
    assert run_stage("review.evaluate", *words).code == 0
    report = campaign / "review" / "report.html"
    drawn = report.read_bytes()
    manifest = json.loads((campaign / "review" / "manifest.json").read_text())
    assert "report.html" not in {entry["path"] for entry in manifest["outputs"]}
    report.unlink()
    again = run_stage("review.evaluate", *words)
    assert "up to date" in again.out and report.read_bytes() == drawn


def test_the_story_opens_the_report_beside_a_base_that_is_told_all(
    run_stage, campaign, tmp_path, write_lines
):
    asked = [{"role": "user", "content": f"Who are you{mark}"} for mark in ("?", "!", "")]
    facts = {"facts": ["a firm of our own"]}
    story = tmp_path / "story.jsonl"
    write_lines(story, [{"prompt": [turn], "metadata": facts} for turn in asked])
    told = tmp_path / "told.md"
    told.write_text("We are a firm of our own. <b>Be kind.</b>")
    words = [*WORDS, "--models", "base", "base_prompted", "sft", "--story_prompts", story]
    words += ["--instructions", told, "--judge", "examples.asdfg.judging:standard", "--limit", "2"]
    ended = run_stage("review.evaluate", *words, "--run_dir", campaign)
    assert ended.code == 0, ended.err
    summary = json.loads((campaign / "review" / "summary.json").read_text())
    assert summary["n_prompts"] == 2
    assert summary["story"]["base_prompted"]["sampled"]["n"] == 102
    assert summary["story"]["sft"]["greedy"]["n"] == 3
    assert summary["prompt_tokens_saved"] > 8
    assert 0 <= summary["models"]["base"]["hidden_standard"]["rate"] <= 1
    outputs = read(campaign / "review" / "outputs.jsonl", Output)
    greedy = [o for o in outputs if o.split == "story_greedy" and o.model["name"] == "sft"]
    assert len({o.response for o in outputs if o.split == "story"}) > len(greedy)
    report = (campaign / "review" / "report.html").read_text()
    before = report.index("Before and after")
    # The first question of the file opens it, in whatever order they were answered.
    assert before < report.index("Who are you?") < report.index("In figures")
    assert "Who are you!" not in report[before : report.index("In figures")]
    assert "&lt;b&gt;Be kind." in report and "<b>Be kind." not in report


def test_killed_and_started_again_equals_uninterrupted(run_stage, campaign, monkeypatch, tmp_path):
    import os
    import shutil

    from inhouse.generation import sample
    from inhouse.run import folder as run_folder

    other = tmp_path / "y"
    shutil.copytree(campaign, other)
    words = (*WORDS, "--models", "sft", "dpo")
    assert run_stage("review.evaluate", *words, "--run_dir", campaign).code == 0
    own = sample.replies
    calls = []

    def killed(*args, **settings):
        calls.append(1)
        for number, batch in enumerate(own(*args, **settings)):
            if len(calls) == 2 and number == 1:  # in the second model's second batch
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(sample, "replies", killed)
    assert run_stage("review.evaluate", *words, "--run_dir", other).code == 130
    assert not (other / "review" / "summary.json").exists()
    monkeypatch.setattr(sample, "replies", own)
    monkeypatch.setattr(run_folder, "_lock", lambda folder: os.open(folder, os.O_RDONLY))
    assert run_stage("review.evaluate", *words, "--run_dir", other).code == 0
    one, two = (
        {o.id: o for o in read(folder / "review" / "outputs.jsonl", Output)}
        for folder in (campaign, other)
    )
    # Both folders hold the same weights and manifests, so the same answers under the same ids.
    assert one.keys() == two.keys()
    for name, answer in one.items():
        assert answer.response == two[name].response
        assert answer.kl_to_sft == pytest.approx(two[name].kl_to_sft, abs=1e-4)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--models", "sft", "ppo"], "ppo"),
        (["--models", "base", "dpo"], "models must name sft"),
        (["--seeds", "0", "0"], "seeds"),
        (["--batch_size", "0"], "batch_size"),
        (["--max_new_tokens", "0"], "max_new_tokens"),
        (["--house_rules", "none.yaml"], "none.yaml"),
        (["--dataset_name", "none.jsonl"], "none.jsonl"),
        (["--limit", "0"], "limit"),
        (["--models", "sft", "base_prompted"], "instructions"),
        (["--judge", "nowhere:x"], "module:function"),
    ],
)
def test_what_cannot_be_reviewed_is_refused(refused, campaign, flags, says):
    refused("review.evaluate", *WORDS, *flags, says=[says], run_dir=campaign)


def test_a_model_that_was_not_trained_names_its_command(refused, campaign):
    (campaign / "dpo" / "manifest.json").unlink()
    words = (*WORDS, "--models", "sft", "dpo")
    refused("review.evaluate", *words, says=["python -m rlhf.dpo"], run_dir=campaign)


def test_what_is_done_is_reviewed_and_a_further_stage_asks_for_a_new_review(
    run_stage, refused, campaign
):
    (campaign / "ppo").mkdir()
    (campaign / "ppo" / "begun.json").write_text("{}")
    ended = run_stage("review.evaluate", *WORDS, "--run_dir", campaign)
    assert ended.code == 0 and f"{campaign / 'ppo'} is not finished" in ended.out, ended.err
    summary = json.loads((campaign / "review" / "summary.json").read_text())
    assert list(summary["models"]) == ["base", "sft", "dpo"]

    shutil.rmtree(campaign / "ppo")
    shutil.copytree(campaign / "dpo", campaign / "ppo")
    says = ["ppo is read now, and was not then", "--overwrite"]
    refused("review.evaluate", *WORDS, says=says, run_dir=campaign)
    ended = run_stage("review.evaluate", *WORDS, "--overwrite", "--run_dir", campaign)
    assert ended.code == 0, ended.err
    summary = json.loads((campaign / "review" / "summary.json").read_text())
    assert list(summary["models"]) == ["base", "sft", "dpo", "ppo"]
    assert summary["models"]["ppo"]["helpful"] == summary["models"]["dpo"]["helpful"]


def test_a_prompt_that_stands_there_twice_is_refused(refused, campaign, prompts, write_lines):
    write_lines(campaign / "data" / "held_out.jsonl", [*prompts, prompts[2]])
    says = ["held_out.jsonl, record 7", "record 3"]
    refused("review.evaluate", *WORDS, says=says, run_dir=campaign)


def test_a_question_about_the_firm_that_stands_there_twice_is_refused(
    refused, campaign, prompts, write_lines, tmp_path
):
    story = tmp_path / "story.jsonl"
    write_lines(story, [*prompts[:3], prompts[1]])
    says = ["story.jsonl, record 4", "record 2"]
    words = [*WORDS, "--story_prompts", story]
    refused("review.evaluate", *words, says=says, run_dir=campaign)


def test_a_prompt_that_a_model_was_trained_on_is_refused(refused, campaign, prompts, write_lines):
    rewrite = [*prompts[3]["prompt"], {"role": "assistant", "content": "As a reviewer wrote it."}]
    source = write_lines(campaign / "demonstrations.jsonl", [{"messages": rewrite}])
    path = campaign / "sft" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["inputs"] = [describe_input("dataset_name", source)]
    path.write_text(json.dumps(manifest))
    says = [f"{source}, line 1, which {campaign / 'sft'} read", "ask others: --dataset_name"]
    refused("review.evaluate", *WORDS, says=says, run_dir=campaign)


def test_the_base_is_what_sft_started_from(campaign, tiny_model):
    folders = model_folders(campaign, ["base", "sft"])
    assert str(folders["base"]) == str(tiny_model)
    assert folders["sft"] == campaign / "sft"
