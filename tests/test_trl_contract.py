"""What we lean on in TRL beyond its documented keys, by name: a new TRL fails here first."""

import inspect
from importlib.metadata import version

import torch
import trl
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.reward_trainer import DataCollatorForPreference as DataCollatorForReward
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from rlhf.dpo import trainer_class


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
    assert trainer_class().__mro__[1] is trl.DPOTrainer
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
