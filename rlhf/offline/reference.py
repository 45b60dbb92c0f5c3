"""The reference of DPO and KTO: what it is, its log-probabilities on disk, and the check on both.

The reference is what training starts from (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290,
section 4). Then policy and reference agree before the first step, whatever the loss: where they do
not, one of them is not what it is taken for, and training stops before it has changed a weight.

The log-probabilities of the reference do not change while another ``beta`` or rate is tried. They
are kept in files named after all they depend on; a file that is damaged is computed again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list
from torch.utils.data import DataLoader
from tqdm import tqdm

from inhouse.errors import InputError
from inhouse.files import sha256, write_atomically
from inhouse.models.adapters import base_of, is_adapter
from inhouse.models.load import load_causal_lm
from inhouse.run import is_main_process
from inhouse.training.data import Columns, longest, say
from inhouse.training.head import scored_only

if TYPE_CHECKING:
    from datasets import Dataset
    from peft import LoraConfig
    from trl import ModelConfig

    from rlhf.offline.options import OfflineConfig, OfflineTrainer

WEIGHTS = ("*.safetensors", "config.json", "adapter_config.json")
LARGEST_GAP = {"float32": 1e-3, "16 bit": 0.1}  # nats, between policy and reference at step 0
LogProbabilities = dict[str, list[float]]  # of each row, by column


@dataclass(frozen=True)
class Reference:
    """What the policy may not stray from; ``sha256`` is over its weights and its base's."""

    path: str
    kind: str
    sha256: str
    base: str | None = None

    def __str__(self) -> str:
        on = f" on {self.base}" if self.base else ""
        return f"{self.path} ({self.kind}{on}, weights {self.sha256[:12]})"


def describe(name_or_path: str) -> Reference:
    """The model or adapter in a folder as a reference, known by its weights."""
    base = base_of(name_or_path)
    digest = hashlib.sha256()
    for folder in dict.fromkeys([name_or_path, base]):
        for path in sorted(path for pattern in WEIGHTS for path in Path(folder).glob(pattern)):
            digest.update(f"{sha256(path)}  {path.name}\n".encode())
    if is_adapter(name_or_path):
        return Reference(name_or_path, "adapter", digest.hexdigest(), base)
    return Reference(name_or_path, "full model", digest.hexdigest())


def load(model_args: Any, trainable: bool = False) -> Any:
    """The model that training starts from, or once more as its reference."""
    return load_causal_lm(
        model_args.model_name_or_path,
        dtype=model_args.dtype,
        attn_implementation=model_args.attn_implementation,
        trainable=trainable,
    )


def load_live(model_args: Any, training: OfflineConfig, lora: LoraConfig | None) -> Any:
    """A second model as reference, where there must be one; else None.

    An adapter's reference is a frozen copy of itself, a new adapter's the model below it: TRL
    keeps both. Full training needs the model once more, unless it is asked beforehand.
    """
    whole = lora is None and not is_adapter(model_args.model_name_or_path)
    return load(model_args) if whole and not training.precompute_ref_log_probs else None


def check_settings(training: OfflineConfig) -> None:
    """Refuse settings that leave no reference, or one that moves away from what was computed.

    Raises:
        InputError: names the value, what was expected, and the key to change.
    """
    if not training.beta > 0:
        raise InputError(f"beta is {training.beta}: give more than 0, 0.1 say")
    if training.sync_ref_model and training.precompute_ref_log_probs:
        raise InputError(
            "sync_ref_model moves the reference, and precompute_ref_log_probs asks it only once: "
            "set one of them to false"
        )


# --- the log-probabilities on disk ------------------------------------------------------------


class Cache:
    """Log-probabilities of one reference, a file for each set of rows."""

    def __init__(
        self, folder: Path, reference: Reference, model_args: ModelConfig, training: OfflineConfig
    ):
        self.folder = folder
        packages = ("torch", "transformers", "trl", "peft")
        # All that a log-probability depends on. The chat template and the tokenizer are in the
        # rows' token ids, the data too; path and kind of the reference are in its weights.
        self.made_from = {
            "weights": reference.sha256,
            "dtype": str(model_args.dtype),
            "attention": model_args.attn_implementation,
            "autocast": "bf16" if training.bf16 else "fp16" if training.fp16 else None,
            "device": training.device.type,
            "max_length": training.max_length,
            "ld_alpha": vars(training).get("ld_alpha"),  # DPO's only: KTO has no such key
            "versions": {name: version(name) for name in packages},
        }

    def path(self, rows: Sequence[Columns]) -> Path:
        """Where the log-probabilities of these rows are kept, by hash of all they depend on."""
        digest = hashlib.sha256(json.dumps(self.made_from, sort_keys=True).encode())
        for row in rows:
            digest.update(json.dumps(row, sort_keys=True).encode())
        return self.folder / f"reference-{digest.hexdigest()[:16]}.json"

    def read(self, path: Path) -> LogProbabilities | None:
        """The columns that were kept, or None if there are none or they are damaged."""
        if not path.is_file():
            return None
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            columns = kept["columns"]
            if kept["sha256"] != _digest(columns):
                raise ValueError("its checksum differs")
        except (ValueError, KeyError, TypeError) as error:
            print(f"{path} is damaged ({error}): its log-probabilities are computed again")
            return None
        return columns

    def write(self, path: Path, columns: LogProbabilities) -> None:
        """Keep the columns: the whole file or none of it."""
        kept = {"made_from": self.made_from, "sha256": _digest(columns), "columns": columns}
        write_atomically(path, json.dumps(kept) + "\n")


def _digest(columns: LogProbabilities) -> str:
    return hashlib.sha256(json.dumps(columns, sort_keys=True).encode()).hexdigest()


def score(
    trainer: Any, dataset: Dataset, names: Sequence[str], batch_size: int
) -> LogProbabilities:
    """Ask the reference for each row's log-probabilities; rows of like length share a batch."""
    lengths = [longest(row) for row in dataset]
    order = sorted(range(len(dataset)), key=lambda index: lengths[index])
    loader = trainer.accelerator.prepare(
        DataLoader(dataset.select(order), batch_size=batch_size, collate_fn=trainer.data_collator)
    )
    model = trainer.ref_model or trainer.model
    model.eval()
    gathered: dict[str, list[float]] = {name: [] for name in names}
    for batch in tqdm(loader, desc="reference", unit="batch", disable=not is_main_process()):
        found = trainer.compute_ref_log_probs(model, batch)
        for name, values in zip(names, found, strict=True):
            if values is not None:  # KTO without a KL term
                gathered[name] += trainer.accelerator.gather_for_metrics(values).tolist()
    place = {index: at for at, index in enumerate(order)}
    return {
        name: [values[place[index]] for index in range(len(dataset))]
        for name, values in gathered.items()
        if values
    }


def with_reference(
    trainer: OfflineTrainer, dataset: Dataset, cache: Cache, names: Sequence[str], batch_size: int
) -> Dataset:
    """The data set with the reference's columns, from disk if they were computed before.

    Raises:
        InputError: DeepSpeed, which has the weights in pieces before training begins.
    """
    if trainer.is_deepspeed_enabled:
        raise InputError(
            "precompute_ref_log_probs does not go with DeepSpeed: set it to false, and the "
            "reference is asked at every step"
        )
    path = cache.path(list(dataset))
    # One process looks: another could see the file that the first has just written.
    kept: list[LogProbabilities | None] = [cache.read(path) if is_main_process() else None]
    broadcast_object_list(kept, from_process=0)
    columns, began = kept[0], time.monotonic()
    if columns is None:
        # A run that reads the file must draw the same random numbers as the one that wrote it.
        with torch.random.fork_rng(devices=_devices(trainer)):
            columns = score(trainer, dataset, names, batch_size)
        if is_main_process():
            cache.write(path, columns)
        how = f"computed in {time.monotonic() - began:.1f} s\n  and kept in {path}"
    else:
        how = f"read from {path} in {time.monotonic() - began:.3f} s"
    say(f"reference log-probabilities of {len(dataset)} records {how}")
    for name, values in columns.items():
        dataset = dataset.add_column(name, values)
    return dataset


def _devices(trainer: OfflineTrainer) -> list[Any]:
    device = trainer.accelerator.device
    return [device] if device.type == "cuda" else []


# --- the trainer ------------------------------------------------------------------------------


def prepared(kind: type, names: Sequence[str], cache: Cache | None) -> type:
    """TRL's DPO or KTO trainer, with rows and reference as the suite makes them.

    - Rows are ready: TRL's own preparation would render the messages once more, its own way.
    - The reference's log-probabilities come through ``cache``. TRL's own file lies in a temporary
      folder: gone with the process, and seen by no other.
    - On a CPU, too, the head is run on the answers' tokens only (:mod:`inhouse.training.head`).
    - Every batch before the first update is checked against the reference.

    Args:
        names: the columns of the reference's log-probabilities, in the order in which the
            trainer's ``compute_ref_log_probs`` returns them.
        cache: None for a trainer that only tries a batch: zeros stand for what was not asked.
    """

    class PreparedTrainer(kind):
        def _prepare_dataset(self, dataset: Dataset, *_: object) -> Dataset:
            return dataset

        def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
            if cache is None:
                for column in names:
                    dataset = dataset.add_column(column, [0.0] * len(dataset))
                return dataset
            return with_reference(self, dataset, cache, names, batch_size)

        def compute_ref_log_probs(self, *args: Any, **kwargs: Any) -> Any:
            with scored_only(self.model, self.ref_model):
                return super().compute_ref_log_probs(*args, **kwargs)

        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            with scored_only(self.model, self.ref_model):
                loss = super().compute_loss(*args, **kwargs)
            asked = cache is not None or not self.args.precompute_ref_log_probs
            if asked and self.state.global_step == 0 and self.model.training:
                logged = self._metrics["train"]
                logged["reference/start_gap"].append(check_start(self, logged))
            return loss

    return PreparedTrainer


def check_start(trainer: Any, logged: dict[str, list[float]]) -> float:
    """How far policy and reference are apart on the batch just seen, in nats, on average.

    TRL logs the implicit rewards, beta * (log pi - log pi_ref): divided by beta they are the gap.

    Raises:
        InputError: more than rounding explains.
    """
    # get(), not []: TRL averages every list that is there, and one of no numbers ends the run.
    rewards = {side: logged.get(f"rewards/{side}", [])[-1:] for side in ("chosen", "rejected")}
    gaps = {side: value[0] / trainer.beta for side, value in rewards.items() if value}
    args = trainer.args
    exact = trainer.model.dtype == torch.float32 and not (args.bf16 or args.fp16 or args.tf32)
    allowed = LARGEST_GAP["float32" if exact else "16 bit"]
    if all(abs(gap) <= allowed for gap in gaps.values()):  # False for nan, too
        return max(map(abs, gaps.values()))
    said = ", ".join(f"{side} {gap:+.3f}" for side, gap in gaps.items())
    config = trainer.model.config.to_dict()
    dropout = {key: value for key, value in config.items() if "drop" in key and value}
    raise InputError(
        "policy and reference disagree before the first step: log-probabilities differ by "
        f"{said} nats, expected at most {allowed}. One of them is not the model that training "
        "starts from. What causes it, mostly:\n"
        f"  dropout left on: config.json says {dropout or 'nothing of it'}, disable_dropout is "
        f"{args.disable_dropout}; set it to 0 in a copy of the model\n"
        "  another chat template, dtype or max_length where the reference was computed: delete "
        "the files in --ref_cache_dir\n"
        "  another base below the adapter: compare base_model_name_or_path in adapter_config.json\n"
        "  weights that overflow (the difference is nan): try --dtype float32\n"
        "No weight was changed; run it again with --overwrite"
    )
