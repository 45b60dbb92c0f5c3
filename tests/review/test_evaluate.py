"""The review: what counts as stated, how answers are counted, and the stage end to end."""

import json
from pathlib import Path

import pytest

from inhouse.house_rules import load
from inhouse.records import Finding, Output, read
from review.evaluate import helpful, model_folders, score, states_facts, summarise

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


def summary_of(rules, *outputs: Output, names=("sft", "dpo"), seeds=(0,)) -> dict:
    count = len({o.prompt[0].content for o in outputs})
    return summarise(list(outputs), list(names), rules, list(seeds), count)


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
    assert found["n_prompts"] == 1 and found["temperature"] == 1.0 and found["seeds"] == [0]
    for measures in found["models"].values():
        assert set(measures) == {
            *("any_violation", "tone_violation", "helpful", "end_token", "mean_tokens"),
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


def test_an_empty_answer_has_no_learned_reward():
    class Lengths:
        def score(self, texts):
            return [float(len(text)) for _, text in texts]

    assert score(Lengths(), [(None, "abc"), (None, ""), (None, "a")]) == [
        {"learned": 3.0},
        {},
        {"learned": 1.0},
    ]
    assert score(None, [(None, "abc")]) == [{}]


# --- the stage --------------------------------------------------------------------------------


@pytest.fixture
def campaign(tiny_model, tokenizer, write_lines, prompts, tmp_path):
    """A campaign in which sft and dpo have run, as far as review looks."""
    import torch

    from inhouse import models

    folder = tmp_path / "x"
    for seed, name in enumerate(("sft", "dpo"), start=1):
        model = models.load_causal_lm(str(tiny_model))
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
        models.save(model, tokenizer, folder / name)
        manifest = {"stage": name, "config": {"model_name_or_path": str(tiny_model)}}
        (folder / name / "manifest.json").write_text(json.dumps(manifest))
    write_lines(folder / "data" / "held_out.jsonl", prompts)
    return folder


WORDS = ("--house_rules", RULES, "--max_new_tokens", "6", "--batch_size", "2")


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
    assert list(summary["models"]) == ["base", "sft", "dpo"]
    assert summary["models"]["sft"]["kl_to_sft"] == pytest.approx(0, abs=1e-4)
    assert summary["models"]["sft"]["any_violation"]["n"] == 2 * len(prompts)
    report = (folder / "report.html").read_text()
    assert "Simulated raters." in report
    assert "any_violation" in ended.out and str(folder) in ended.out
    again = run_stage("review.evaluate", *words)
    assert again.code == 0 and "up to date" in again.out and "any_violation" in again.out


def test_killed_and_started_again_equals_uninterrupted(run_stage, campaign, monkeypatch, tmp_path):
    import os
    import shutil

    from inhouse import generate, run

    other = tmp_path / "y"
    shutil.copytree(campaign, other)
    words = (*WORDS, "--models", "sft", "dpo")
    assert run_stage("review.evaluate", *words, "--run_dir", campaign).code == 0
    sample = generate.sample
    calls = []

    def killed(*args, **settings):
        calls.append(1)
        for number, batch in enumerate(sample(*args, **settings)):
            if len(calls) == 2 and number == 1:  # in the second model's second batch
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(generate, "sample", killed)
    assert run_stage("review.evaluate", *words, "--run_dir", other).code == 130
    assert not (other / "review" / "summary.json").exists()
    monkeypatch.setattr(generate, "sample", sample)
    monkeypatch.setattr(run, "_lock", lambda folder: os.open(folder, os.O_RDONLY))
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
    ],
)
def test_what_cannot_be_reviewed_is_refused(refused, campaign, flags, says):
    refused("review.evaluate", *WORDS, *flags, says=[says], run_dir=campaign)


def test_a_model_that_was_not_trained_names_its_command(refused, campaign):
    (campaign / "dpo" / "manifest.json").unlink()
    refused("review.evaluate", *WORDS, says=["python -m rlhf.dpo"], run_dir=campaign)


def test_a_prompt_that_stands_there_twice_is_refused(refused, campaign, prompts, write_lines):
    write_lines(campaign / "data" / "held_out.jsonl", [*prompts, prompts[2]])
    says = ["held_out.jsonl, record 7", "record 3"]
    refused("review.evaluate", *WORDS, says=says, run_dir=campaign)


def test_the_base_is_what_sft_started_from(campaign, tiny_model):
    folders = model_folders(campaign, ["base", "sft"])
    assert str(folders["base"]) == str(tiny_model)
    assert folders["sft"] == campaign / "sft"
