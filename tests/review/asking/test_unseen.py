"""What a model was trained on is not asked in its review."""

import json

import pytest

from inhouse.errors import InputError
from inhouse.files import describe_input
from inhouse.records import Prompt
from review.asking.plan import Round
from review.asking.unseen import check

ASKED = "What is the fee?"


def user(said: str) -> dict:
    return {"role": "user", "content": said}


def assistant(said: str, **more) -> dict:
    return {"role": "assistant", "content": said, **more}


def rounds(*prompts: list[dict], split: str = "held_out") -> list[Round]:
    return [Round(split, [Prompt(prompt=prompt) for prompt in prompts], 0)]


@pytest.fixture
def trained(tmp_path, write_lines):
    """A stage that was trained on these rows; returns its folder."""

    def make(stage: str, rows: list[dict], *parents, share: float = 0.0):
        source = write_lines(tmp_path / f"{stage}.jsonl", rows)
        folder = tmp_path / "runs" / stage
        folder.mkdir(parents=True)
        manifest = {
            "stage": stage,
            "config": {"held_out_share": share},
            "inputs": [describe_input("dataset_name", source)],
            "parents": [{"path": str(parent)} for parent in parents],
        }
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return make


OTHER = {"messages": [user("Hello?"), assistant("Good day.")]}
SHOWN = {"messages": [user(ASKED), assistant("1%.")]}
PAIR = {"prompt": [user(ASKED)], "chosen": [assistant("1%.")], "rejected": [assistant("2%.")]}
VERDICT = {"prompt": [user(ASKED)], "completion": [assistant("1%.")], "label": False}
LATER = {"messages": [user("Hi."), assistant("Yes?"), user(ASKED), assistant("1%.")]}


@pytest.mark.parametrize(
    ("stage", "row"),
    [
        ("sft", SHOWN),
        *((stage, PAIR) for stage in ("dpo", "kto", "reward")),
        ("kto", VERDICT),
        *((stage, {"prompt": [user(ASKED)]}) for stage in ("ppo", "rloo")),
    ],
)
def test_what_any_stage_learned_is_refused_and_named(trained, tmp_path, stage, row):
    folder = trained(stage, [row])
    with pytest.raises(InputError) as refused:
        check(rounds([user("  what is the FEE?")], [user("And else?")]), [folder])
    said = str(refused.value)
    assert said.startswith("1 prompts that would be asked (1 held out)")
    assert f"{tmp_path / stage}.jsonl, line 1, which {folder} read" in said
    assert "metadata.held_out" in said and "--dataset_name" in said


def test_every_kind_of_prompt_is_counted(trained):
    folder = trained("sft", [OTHER, SHOWN])
    asked = rounds([user(ASKED)], split="red_team") + rounds([user("Hello?")], split="story")
    with pytest.raises(InputError, match=r"^2 prompts that would be asked \(1 .*, 1 .*sft\.jsonl"):
        check(asked, [folder])


def test_a_model_before_it_counts_too(trained):
    first = trained("sft", [SHOWN])
    later = trained("dpo", [{**PAIR, "prompt": [user("Hello?")]}], first)
    with pytest.raises(InputError, match=r"sft\.jsonl, line 1"):
        check(rounds([user(ASKED)]), [later])


def test_an_answer_in_an_earlier_turn_is_learned_as_well(trained):
    folder = trained("sft", [LATER])
    with pytest.raises(InputError):
        check(rounds([user("Hi.")]), [folder])
    check(rounds([user(ASKED)]), [folder])  # without the turns before it is another prompt


def test_a_turn_that_is_context_alone_is_not(trained):
    first, _, *others = LATER["messages"]
    folder = trained("sft", [{"messages": [first, assistant("Yes?", train=False), *others]}])
    check(rounds([first]), [folder])
    with pytest.raises(InputError):
        check(rounds(LATER["messages"][:3]), [folder])


def test_what_a_stage_held_out_may_be_asked(trained):
    check(rounds([user(ASKED)]), [trained("sft", [SHOWN], share=1.0)])


def test_data_that_is_gone_or_changed_is_told(trained, tmp_path, capsys):
    folder = trained("sft", [OTHER])
    source = tmp_path / "sft.jsonl"
    source.write_text(json.dumps(LATER) + "\n")
    check(rounds([user(ASKED)]), [folder])
    assert f"{source} has changed since {folder} was trained on it" in capsys.readouterr().out
    source.unlink()
    check(rounds([user(ASKED)]), [folder])
    assert f"{source}, which {folder} was trained on, is gone" in capsys.readouterr().out


def test_a_model_that_no_stage_wrote_was_trained_on_nothing_known(tmp_path):
    check(rounds([user(ASKED)]), [tmp_path, tmp_path / "none"])
