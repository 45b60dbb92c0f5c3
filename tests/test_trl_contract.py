"""What we lean on in TRL beyond its documented keys, by name: a new TRL fails here first."""

import ast
import dataclasses
import inspect
import re
import textwrap
from importlib.metadata import version

import pytest
import torch
import transformers
import trl
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.reward_trainer import DataCollatorForPreference as DataCollatorForReward
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling
from trl.trainer.utils import FusedCausalLMOutput, RepeatSampler, add_fused_lm_head, pad

from inhouse.training.head import PER_TOKEN
from rlhf.offline.reference import prepared
from rlhf.offline.shared_prompts import SharedPromptsTrainer
from rlhf.online.trainer import PPOTrainer
from rlhf.online.watched import WatchedRLOOTrainer, WatchedTrainer
from sft.unpadded_trainer import FIGURES, UnpaddedSFTTrainer


def test_the_installed_trl_is_one_we_know():
    assert Version(version("trl")) in SpecifierSet(">=1.16,<1.17")


def test_dpo_prepares_its_rows_in_the_one_method_that_we_replace():
    method = inspect.signature(trl.DPOTrainer._prepare_dataset)
    assert list(method.parameters) == [
        "self",
        "dataset",
        "processing_class",
        "args",
        "dataset_name",
    ]
    assert prepared(trl.DPOTrainer, (), None).__mro__[1] is trl.DPOTrainer
    assert inspect.getsource(trl.DPOTrainer).count("def _prepare_dataset") == 1


def test_dpos_collator_reads_our_three_columns():
    row = {"prompt_ids": [1, 2], "chosen_ids": [3, 4], "rejected_ids": [5]}
    batch = DataCollatorForPreference(pad_token_id=0, max_length=8)([row])
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4], [1, 2, 5, 0]]
    assert batch["completion_mask"].tolist() == [[0, 0, 1, 1], [0, 0, 1, 0]]


def test_sfts_collator_keeps_our_labels():
    batch = DataCollatorForLanguageModeling(pad_token_id=0)(
        [{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}, {"input_ids": [4], "labels": [4]}]
    )
    assert torch.equal(batch["labels"], torch.tensor([[-100, 2, 3], [4, -100, -100]]))


def test_rewards_collator_reads_our_two_columns():
    batch = DataCollatorForReward(pad_token_id=0)([{"chosen_ids": [1, 2], "rejected_ids": [3]}])
    assert batch["input_ids"].tolist() == [[1, 2], [3, 0]]


# --- batches without padding ------------------------------------------------------------------


def test_the_fused_head_takes_labels_that_are_shifted_and_scores_the_same_by_them():
    torch.manual_seed(0)
    shape = {"vocab_size": 16, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**shape, **heads))
    add_fused_lm_head(model, outputs=tuple(PER_TOKEN))
    ids = torch.tensor([[1, 2, 3, 4]])
    labels = torch.tensor([[-100, -100, 3, 4]])
    shifted = torch.tensor([[-100, 3, 4, -100]])
    one = model(input_ids=ids, labels=labels, fused_lm_head=True)
    other = model(input_ids=ids, shift_labels=shifted, fused_lm_head=True)
    for name in PER_TOKEN:
        assert torch.allclose(one[name] * 1.0, other[name][:, :-1] * 1.0, atol=1e-6), name
    assert (one.log_probs != 0).tolist() == [[False, True, True]]
    assert one.loss.item() == pytest.approx(other.loss.item())


def test_the_fused_heads_output_is_known_whole():
    known = PER_TOKEN | {"loss", "label_mask", "aux_loss"}
    assert {field.name for field in dataclasses.fields(FusedCausalLMOutput)} == known


@pytest.mark.parametrize(
    ("ours", "asking"),
    [
        (SharedPromptsTrainer, ("compute_ref_log_probs", "_compute_loss")),
        (UnpaddedSFTTrainer, ("compute_loss",)),
    ],
)
def test_the_fused_head_is_asked_only_where_we_stand_before_it(ours, asking):
    theirs = ours.__mro__[1]
    whole = inspect.getsource(theirs)
    parts = [inspect.getsource(getattr(theirs, name)) for name in asking]
    assert whole.count("fused_lm_head=True") > 0
    assert whole.count("fused_lm_head=True") == sum(s.count("fused_lm_head=True") for s in parts)
    below = "self.model.get_base_model() if is_peft_model(self.model) else self.model"
    assert re.search(r"add_fused_lm_head\(\s*" + re.escape(below), whole)
    inherited = {name for name in vars(ours) if name in dir(theirs) and name[:2] != "__"}
    assert inherited <= {"compute_ref_log_probs", "compute_loss", "training_step"}


def test_sft_files_a_figure_for_each_loss_under_the_names_that_we_join():
    source = inspect.getsource(trl.SFTTrainer.compute_loss)
    filed = set(re.findall(r'_metrics\[mode\]\["(\w+)"\]\.append', source))
    assert filed == {*FIGURES, "aux_loss"}  # the last with experts only, which run as TRL has them
    method = inspect.signature(trl.SFTTrainer.compute_loss)
    assert list(method.parameters)[-1] == "num_items_in_batch"


def test_dpos_loss_is_all_that_compute_loss_computes():
    source = inspect.getsource(trl.DPOTrainer.compute_loss)
    assert "return self._compute_loss(model, inputs, return_outputs)" in source


# --- PPO and RLOO on RLOOTrainer --------------------------------------------------------------

# What we replace or wrap, with its parameters after self.
REPLACED = {
    "_generate_and_score_completions": ["inputs"],
    "_generate_single_turn": ["prompt_ids", "images", "multimodal_fields"],
    "_compute_loss": ["model", "inputs"],
    "_get_train_sampler": ["dataset"],
    "create_optimizer": ["model"],
    "_save_checkpoint": ["model", "trial"],
    "_load_optimizer_and_scheduler": ["checkpoint"],
}
# What we call: its first parameters after self, and how many values it returns.
CALLED = {
    "_generate": (["prompts"], 3),
    "_calculate_rewards": (["inputs", "prompts", "completions", "completion_ids_list"], 1),
    "_get_per_token_logps_and_entropies": (
        ["model", "input_ids", "attention_mask", "logits_to_keep"],
        3,
    ),
}
# What we read or set of a trainer that TRL and transformers have built.
READ = {
    *("accelerator", "args", "model", "optimizer", "ref_model", "state", "control", "beta"),
    *("eos_token_ids", "_tokenizer", "pad_to_multiple_of", "max_completion_length"),
    *("epsilon_low", "epsilon_high", "num_iterations", "num_generations", "reward_clip_range"),
    *("model_wrapped", "temperature"),
    *("train_dataset", "shuffle_dataset", "_metrics", "_step", "_get_output_dir", "add_callback"),
}


def returned(function) -> set[int]:
    """How many values a function returns, over all of its return statements."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    inner = {
        id(node)
        for nested in ast.walk(tree)
        if isinstance(nested, ast.FunctionDef | ast.AsyncFunctionDef) and nested is not tree
        for node in ast.walk(nested)
    }
    values = [n.value for n in ast.walk(tree) if isinstance(n, ast.Return) and id(n) not in inner]
    return {len(value.elts) if isinstance(value, ast.Tuple) else 1 for value in values}


@pytest.mark.parametrize("name", REPLACED)
def test_rloo_has_what_we_replace(name):
    parameters = list(inspect.signature(getattr(trl.RLOOTrainer, name)).parameters)
    assert parameters == ["self", *REPLACED[name]]
    for ours in (WatchedTrainer, PPOTrainer, WatchedRLOOTrainer):
        if name in vars(ours):
            assert list(inspect.signature(getattr(ours, name)).parameters) == parameters


@pytest.mark.parametrize("name", CALLED)
def test_rloo_has_what_we_call(name):
    first, values = CALLED[name]
    method = inspect.unwrap(getattr(trl.RLOOTrainer, name))
    assert list(inspect.signature(method).parameters)[1 : len(first) + 1] == first
    assert returned(method) == {values}


def test_ppo_overrides_nothing_that_is_not_named_and_asks_trl_for_no_arithmetic():
    inherited = set(dir(trl.RLOOTrainer))
    for ours in (WatchedTrainer, PPOTrainer, WatchedRLOOTrainer):
        methods = {n for n, value in vars(ours).items() if inspect.isfunction(value)}
        assert methods & inherited <= {*REPLACED, "__init__"}
        assert ours.__mro__[1] is (trl.RLOOTrainer if ours is WatchedTrainer else WatchedTrainer)
    for ours, name in (
        (WatchedTrainer, "_generate_and_score_completions"),
        (PPOTrainer, "_compute_loss"),
    ):
        assert "super()" not in inspect.getsource(vars(ours)[name])


@pytest.mark.parametrize("ours", [PPOTrainer, WatchedRLOOTrainer, WatchedTrainer])
def test_every_attribute_of_trls_that_we_touch_is_named_here(ours):
    tree = ast.parse(textwrap.dedent(inspect.getsource(ours)))
    touched = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    own = {"roles", "reward", "settings", "guard", "held", "padded"}
    own |= set(vars(ours)) | set(vars(WatchedTrainer))
    assert touched - own - set(CALLED) <= READ


def test_every_attribute_that_is_named_is_there_once_a_trainer_is_built():
    source = inspect.getsource(trl.RLOOTrainer) + inspect.getsource(
        trl.RLOOTrainer.__mro__[2]  # transformers' Trainer, behind TRL's own base
    )
    for name in READ:
        assert f"self.{name}" in source or hasattr(trl.RLOOTrainer, name), name


def test_the_reference_adapter_is_trls_copy_of_the_policys():
    source = inspect.getsource(trl.RLOOTrainer.__init__)
    assert 'model.add_adapter("ref", default_config)' in source


def test_rollouts_come_every_epoch_times_mini_batch_and_are_shuffled_whole():
    source = inspect.getsource(inspect.unwrap(trl.RLOOTrainer._prepare_inputs))
    assert "generate_every = self.args.steps_per_generation * self.num_iterations" in source
    assert "shuffle_sequence_dict" in source and "split_tensor_dict" in source
    assert trl.RLOOTrainer.loss_is_scaled_for_ga is False  # the Trainer divides by accumulation


def test_the_sampler_and_the_padding_that_we_build_with():
    assert list(inspect.signature(RepeatSampler.__init__).parameters)[1:] == [
        *("data_source", "mini_repeat_count", "batch_size", "repeat_count", "shuffle", "seed")
    ]
    rows = [torch.tensor([1]), torch.tensor([2, 3])]
    left = pad(rows, padding_value=0, padding_side="left", pad_to_multiple_of=None)
    assert left.tolist() == [[0, 1], [2, 3]]
