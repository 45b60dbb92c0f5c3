"""What PPO and RLOO refuse, each with its reason and the way out, and nothing written."""

import copy
import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from inhouse.errors import InputError
from rlhf.online import checks
from rlhf.online.watch import Health

STAGES = ["rlhf.ppo", "rlhf.rloo"]


@pytest.fixture
def rewards_file(tmp_path):
    """A reward made of tone rules alone: no reward model is needed."""
    path = tmp_path / "rewards.yaml"
    path.write_text(
        "weights: {tone: 1.0}\ncosts: {blocker: 3.0, major: 1.0, minor: 0.5, advisory: 0.2}\n"
        "limit: 3.0\n"
    )
    return path


@pytest.fixture
def words(writer, questions, write_lines, rewards_file, tmp_path):
    """The flags of a run that would be accepted."""
    return [
        *("--model_name_or_path", str(writer)),
        *("--dataset_name", str(write_lines(tmp_path / "prompts.jsonl", questions))),
        *("--rewards", str(rewards_file), "--house_rules", "configs/house/asdfg.yaml"),
        *("--max_completion_length", "24", "--per_device_train_batch_size", "4"),
        *("--steps_per_generation", "4", "--gradient_accumulation_steps", "1"),
        *("--max_steps", "16", "--save_steps", "16"),
    ]


@pytest.fixture
def learned(tmp_path, rewards_file):
    """The flag of a composition that weighs a reward model."""
    path = tmp_path / "learned.yaml"
    path.write_text(rewards_file.read_text().replace("tone: 1.0", "learned: 1.0"))
    return ("--rewards", str(path))


@pytest.fixture
def scorer(writer, tokenizer, tmp_path):
    """A reward model's folder, marked fit unless told otherwise."""
    from inhouse.generation.score import Calibration, template_hash
    from inhouse.models.load import new_reward_model

    def make(template=None, **changes):
        model = new_reward_model(str(writer), dtype="float32", seed=0)
        own = copy.deepcopy(tokenizer)
        own.chat_template = template or own.chat_template
        known = {"temperature": 1.0, "lowest": -9.0, "highest": 9.0, "min_confidence": 0.0}
        fit = {"fit_for_ppo": True, "reason": "", "chat_template": template_hash(own)}
        calibration = Calibration((0.0,), (1.0,), **(known | fit | changes))
        model.config.reward = calibration.stored()
        folder = tmp_path / "scorer"
        model.save_pretrained(folder)
        own.save_pretrained(folder)
        return folder

    return make


# --- parents ----------------------------------------------------------------------------------


@pytest.mark.parametrize("module", STAGES)
def test_without_a_fine_tuned_model(refused, words, tmp_path, module):
    says = ["sft", "python -m sft"]
    refused(module, *words[2:], says=says, run_dir=tmp_path / "x")


@pytest.mark.parametrize("module", STAGES)
def test_without_a_reward_stage(refused, words, learned, tmp_path, module):
    says = [str(tmp_path / "x" / "reward"), "python -m reward", "--reward_model"]
    refused(module, *words, *learned, says=says, run_dir=tmp_path / "x")


@pytest.mark.parametrize("module", STAGES)
def test_a_reward_model_that_is_marked_unfit(run_stage, words, learned, scorer, tmp_path, module):
    folder = scorer(fit_for_ppo=False, reason="accuracy 0.58 on held-out prompts, floor 0.65")
    run_dir = tmp_path / "x"
    ended = run_stage(module, *words, *learned, "--reward_model", folder, "--run_dir", run_dir)
    assert ended.code == 2 and not run_dir.exists()
    for said in ("not fit", "accuracy 0.58", "python -m reward"):
        assert said in ended.err


def test_a_reward_model_that_nobody_evaluated(run_stage, words, learned, scorer, tmp_path):
    folder = scorer()
    config = json.loads((folder / "config.json").read_text())
    del config["reward"]
    (folder / "config.json").write_text(json.dumps(config))
    run_dir = tmp_path / "x"
    ended = run_stage("rlhf.ppo", *words, *learned, "--reward_model", folder, "--run_dir", run_dir)
    assert ended.code == 2 and "no evaluation" in ended.err


def test_a_reward_model_with_another_template(refused, words, learned, scorer, tokenizer, tmp_path):
    folder = scorer(template=tokenizer.chat_template.replace("<|im_start|>", "<|im_start|> "))
    says = ["another chat template", "python -m reward"]
    flags = (*learned, "--reward_model", folder)
    refused("rlhf.ppo", *words, *flags, says=says, run_dir=tmp_path / "x")


@pytest.mark.parametrize("flags", [(), ("--use_peft", "true", "--lora_r", "4")])
def test_a_critic_that_is_to_start_as_a_reward_model_which_is_none(refused, words, tmp_path, flags):
    says = ["critic", "leave critic out"]
    refused("rlhf.ppo", *words, "--critic", "reward", *flags, says=says, run_dir=tmp_path / "x")


# --- prompts and model ------------------------------------------------------------------------


@pytest.mark.parametrize("module", STAGES)
def test_a_prompt_that_leaves_no_room_to_answer(
    refused, words, questions, write_lines, tmp_path, module
):
    rows = copy.deepcopy(questions)
    rows[6]["prompt"][0]["content"] = "word " * 240
    data = write_lines(tmp_path / "long.jsonl", rows)
    says = ["long.jsonl", "line 7", "no room", "512", "--max_completion_length"]
    refused(module, *words, "--dataset_name", data, says=says, run_dir=tmp_path / "x")


def test_too_few_prompts_for_one_rollout(refused, words, questions, write_lines, tmp_path):
    data = write_lines(tmp_path / "few.jsonl", questions[:15])
    says = ["15 prompts", "16"]
    refused("rlhf.ppo", *words, "--dataset_name", data, says=says, run_dir=tmp_path / "x")


def test_a_model_without_an_end_token(refused, words, writer, tmp_path):
    model = shutil.copytree(writer, tmp_path / "endless")
    template = model / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|im_end|>", ""))
    words = ["--model_name_or_path", str(model), *words[2:]]
    refused("rlhf.ppo", *words, says=["no end token"], run_dir=tmp_path / "x")


@pytest.mark.parametrize("module", STAGES)
def test_position_embeddings_that_padding_breaks(refused, words, tokenizer, tmp_path, module):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=512,
        initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.eos_token_id,
    )
    folder = tmp_path / "gpt2"
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    words = ["--model_name_or_path", str(folder), *words[2:]]
    refused(module, *words, says=["padding changes", "rotary"], run_dir=tmp_path / "x")


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("module", STAGES)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("top_k", "50"),
        ("top_p", "0.9"),
        ("min_p", "0.1"),
        ("repetition_penalty", "1.1"),
        ("generation_kwargs", '{"min_new_tokens": 5}'),
        ("temperature", "0"),
        ("use_transformers_continuous_batching", "true"),
        ("use_vllm", "true"),
        ("mask_truncated_completions", "true"),
        ("sync_ref_model", "true"),
        ("disable_dropout", "false"),
        ("beta", "0"),
        ("max_kl", "0"),
    ],
)
def test_a_setting_that_parts_the_sampler_from_what_is_scored(
    refused, words, tmp_path, module, key, value
):
    refused(module, *words, f"--{key}", value, says=[key], run_dir=tmp_path / "x")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("save_steps", "10", ["save_steps 10", "16 optimiser steps", "--save_steps 16"]),
        ("max_steps", "40", ["max_steps 40", "--max_steps 48"]),
        ("gradient_accumulation_steps", "3", ["--steps_per_generation 6"]),
        ("steps_per_generation", "1", ["4 answers", "8 or more"]),
        ("num_generations", "4", ["num_generations", "rlhf.rloo"]),
        ("lam", "1.5", ["lam is 1.5"]),
        ("target_kl", "30", ["target_kl 30.0", "max_kl 20.0"]),
    ],
)
def test_a_setting_that_would_cut_a_rollout_or_mean_nothing(
    refused, words, tmp_path, key, value, says
):
    flags = ("--num_iterations", "4", f"--{key}", value)
    refused("rlhf.ppo", *words, *flags, says=says, run_dir=tmp_path / "x")


def test_zero_3_with_adapters_and_checkpointing():
    def training(stage, checkpointing, reentrant=False):
        return SimpleNamespace(
            gradient_checkpointing=checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": True} if reentrant else None,
            deepspeed_plugin=SimpleNamespace(zero_stage=stage) if stage else None,
        )

    with pytest.raises(InputError, match=r"ZeRO-3.*--activation_checkpointing false"):
        checks.check_checkpointing(training(3, True), adapted=True)
    with pytest.raises(InputError, match="use_reentrant"):
        checks.check_checkpointing(training(None, True, reentrant=True), adapted=True)
    for fine, adapted in ((training(3, True), False), (training(3, False), True)):
        checks.check_checkpointing(fine, adapted)
    checks.check_checkpointing(training(2, True), adapted=True)


# --- what only the first rollout shows --------------------------------------------------------


def first(ends: float, score_std: float) -> Health:
    return Health(0, 0.5, score_std, None, 0.0, 0.0, 0.0, 20.0, ends, 2.0)


def test_a_first_rollout_in_which_every_answer_is_truncated():
    with pytest.raises(InputError, match=r"no answer of the first rollout ended within.* 24"):
        checks.check_first(first(ends=0.0, score_std=1.0), 24)


def test_a_reward_that_is_the_same_for_every_answer():
    with pytest.raises(InputError, match=r"the reward is 0\.5 for every answer"):
        checks.check_first(first(ends=1.0, score_std=0.0), 24)


def test_a_first_rollout_from_which_something_can_be_learned():
    checks.check_first(first(ends=0.1, score_std=0.1), 24)


def test_a_reward_that_is_no_number(make_trainer):
    trainer = make_trainer(score=lambda text: float("nan"))
    with pytest.raises(InputError, match="'learned' is nan"):
        trainer.train()


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"score": lambda text: 1.0}, "the reward is 1"), ({"max_completion_length": 1}, "no answer")],
)
def test_the_trainer_looks_at_its_first_rollout(make_trainer, changes, said):
    trainer = make_trainer(**changes)
    if "max_completion_length" in changes:
        trainer.eos_token_ids = [0]  # no answer of one token ends
    with pytest.raises(InputError, match=said):
        trainer.train()
