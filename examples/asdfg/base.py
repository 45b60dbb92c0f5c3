"""Train the demonstration house's base model from random weights, on generated text only.

    python -m examples.asdfg.base --output_dir examples/asdfg/model

Records in: none. Out: a model folder (safetensors in bf16, tokenizer, chat template, configs) and
`training.json` beside the weights, which says what made them. Killed and started again with the
same options it goes on from its checkpoint, which lies outside the model folder. Where others use
the same cores, `OMP_WAIT_POLICY=PASSIVE` in front keeps waiting threads from burning the time.
"""

import argparse
import hashlib
import json
import math
import os
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from examples.asdfg import corpus
from examples.asdfg.tokenizer import train_tokenizer
from inhouse.run import command

GENERATOR = "examples.asdfg.corpus"


@dataclass(frozen=True)
class Options:
    """What decides the weights; a checkpoint made with other values is refused."""

    seed: int = 20260401
    steps: int = 3300
    batch_size: int = 12  # documents a step
    small_steps: int = 1400  # first steps, with short fact sheets only
    dialogue_share_small: float = 0.2  # in the first steps; the rest is look-ups and repeats
    dialogue_share: float = 0.6  # afterwards
    vocabulary_size: int = 3072
    tokenizer_dialogues: int = 20000
    hidden_size: int = 192
    intermediate_size: int = 512
    layers: int = 6
    heads: int = 4
    head_dim: int = 64
    rope_theta: float = 1000.0  # low, for sharp positions: no text here is longer than 700 tokens
    max_length: int = 1024  # tokens
    muon_rate: float = 0.02  # matrices inside the layers
    adam_rate: float = 0.01  # embeddings and norms
    warmup_steps: int = 100
    cooldown_share: float = 0.4  # the rate falls to zero over this last part of the steps


def build_model(options: Options, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """Make the model with random weights."""
    torch.manual_seed(options.seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=options.hidden_size,
        intermediate_size=options.intermediate_size,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=options.heads // 2,
        head_dim=options.head_dim,
        rope_parameters={"rope_type": "default", "rope_theta": options.rope_theta},
        max_position_embeddings=options.max_length,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    model = Qwen3ForCausalLM(config)
    # Layers start as no-ops over embeddings large enough to shine through: with the usual 0.02 all
    # over, what a token is drowns in the first layers' noise, and copying starts late.
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=0.1)
    for name, parameter in model.model.layers.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            torch.nn.init.zeros_(parameter)
        elif parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    return model


def build_optimizers(model: Qwen3ForCausalLM, options: Options) -> list[torch.optim.Optimizer]:
    """Return Muon for the layers' matrices and AdamW for everything else."""
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and ".layers." in name else others).append(parameter)
    return [
        torch.optim.Muon(
            matrices, lr=options.muon_rate, weight_decay=0.01, adjust_lr_fn="original"
        ),
        torch.optim.AdamW(others, lr=options.adam_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate_factor(step: int, options: Options) -> float:
    """Scale of the learning rate: a short rise, a plain, a linear fall to zero."""
    left = (options.steps - step) / max(1.0, options.steps * options.cooldown_share)
    return min(1.0, (step + 1) / options.warmup_steps, left)


def step_documents(
    tokenizer: PreTrainedTokenizerFast, options: Options, step: int
) -> list[corpus.Document]:
    """Return the documents of a step, with short sheets in the first ones."""
    small = step < options.small_steps
    share = options.dialogue_share_small if small else options.dialogue_share
    return corpus.batch(tokenizer, options.seed, step, options.batch_size, share, small)


def backward(
    model: Qwen3ForCausalLM, documents: list[corpus.Document], pad_id: int, parts: int = 3
) -> float:
    """Add the gradient of the mean cross-entropy over a step's supervised tokens; return the mean.

    The documents come sorted by length and go through in parts, which leaves little padding. Rows
    are padded on the right, so the causal mask alone keeps padding out of every real position.
    """
    n_supervised = sum(sum(document.supervised) for document in documents)
    size = -(-len(documents) // parts)
    total = 0.0
    for start in range(0, len(documents), size):
        rows = documents[start : start + size]
        length = len(rows[-1].ids)
        ids = torch.full((len(rows), length), pad_id)
        supervised = torch.zeros((len(rows), length), dtype=torch.bool)
        for row, document in enumerate(rows):
            ids[row, : len(document.ids)] = torch.tensor(document.ids)
            supervised[row, : len(document.ids)] = torch.tensor(document.supervised)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
            # Only what is learned from meets the vocabulary. Position t predicts token t + 1.
            logits = model.lm_head(hidden[:, :-1][supervised[:, 1:]])
        targets = ids[:, 1:][supervised[:, 1:]]
        loss = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
        (loss / n_supervised).backward()
        total += loss.item()
    return total / n_supervised


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_checkpoint(
    path: Path,
    made_with: dict[str, Any],
    model: Qwen3ForCausalLM,
    optimizers: list[torch.optim.Optimizer],
) -> dict[str, Any]:
    """Put a checkpoint's weights and moments in place; return how far it was."""
    state = torch.load(path, weights_only=True)
    if any(state[key] != value for key, value in made_with.items()):
        raise ValueError(
            f"{path} was made with other options or another generator: "
            "delete it or pass --checkpoint"
        )
    model.load_state_dict(state["model"])
    for optimizer, values in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(values)
    return state["done"]


def save_checkpoint(
    path: Path,
    made_with: dict[str, Any],
    model: Qwen3ForCausalLM,
    optimizers: list[torch.optim.Optimizer],
    done: dict[str, Any],
) -> None:
    """Replace the checkpoint in one move."""
    state = made_with | {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "done": done,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def train(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    options: Options,
    checkpoint: Path,
    checkpoint_every: int,
) -> dict[str, Any]:
    """Train to the last step, from the checkpoint where there is one; return counts and seconds."""
    optimizers = build_optimizers(model, options)
    vocabulary = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
    made_with = {"options": asdict(options), "tokenizer": vocabulary}
    done: dict[str, Any] = {"step": 0, "tokens": 0, "supervised_tokens": 0, "seconds": 0.0}
    if checkpoint.exists():
        done = load_checkpoint(checkpoint, made_with, model, optimizers)
    started = time.monotonic() - done["seconds"]
    model.train()
    progress = tqdm(
        range(done["step"], options.steps),
        initial=done["step"],
        total=options.steps,
        mininterval=1.0,
    )
    for step in progress:
        documents = step_documents(tokenizer, options, step)
        factor = rate_factor(step, options)
        for optimizer, rate in zip(optimizers, (options.muon_rate, options.adam_rate), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        loss = backward(model, documents, int(tokenizer.pad_token_id))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        done["step"] = step + 1
        done["tokens"] += sum(len(document.ids) for document in documents)
        done["supervised_tokens"] += sum(sum(document.supervised) for document in documents)
        done["seconds"] = time.monotonic() - started
        done["loss"] = loss
        if not math.isfinite(done["loss"]):
            raise ValueError(f"the loss is {done['loss']} at step {step}: lower the rates")
        progress.set_postfix(loss=f"{done['loss']:.3f}", refresh=False)
        if done["step"] % checkpoint_every == 0 or done["step"] == options.steps:
            save_checkpoint(checkpoint, made_with, model, optimizers, done)
    return done


def save_model(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the model folder that plain transformers loads."""
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=160,
    )
    folder.mkdir(parents=True, exist_ok=True)
    half: Any = model.to(dtype=torch.bfloat16)  # type: ignore[call-arg]
    half.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def corpus_hash(tokenizer: PreTrainedTokenizerFast, options: Options) -> str:
    """Hash the token ids of a few steps of both phases: another generator gives another hash."""
    digest = hashlib.sha256()
    for step in (0, 1, options.small_steps, options.small_steps + 1):
        for document in step_documents(tokenizer, options, step):
            digest.update(json.dumps(document.ids).encode())
    return digest.hexdigest()


def write_training_record(
    folder: Path, options: Options, corpus_sha256: str, done: dict[str, Any]
) -> None:
    """Write `training.json`: what made these weights, and the hash of every file."""
    files = sorted(path for path in folder.iterdir() if path.name != "training.json")
    record = {
        "generator": GENERATOR,
        "corpus_sha256": corpus_sha256,
        "options": asdict(options),
        **done,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    }
    write_atomically(folder / "training.json", (json.dumps(record, indent=2) + "\n").encode())


def main() -> None:
    """Train the tokenizer, then the model, then write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/asdfg-base/checkpoint.pt"))
    parser.add_argument("--checkpoint_every", type=int, default=100, help="steps")
    parser.add_argument("--threads", type=int, default=2)
    for field in fields(Options):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    arguments = vars(parser.parse_args())
    options = Options(**{field.name: arguments[field.name] for field in fields(Options)})
    torch.set_num_threads(arguments["threads"])
    print("training the tokenizer", flush=True)
    texts = corpus.tokenizer_texts(options.seed, options.tokenizer_dialogues)
    tokenizer = train_tokenizer(texts, options.vocabulary_size, options.max_length)
    model = build_model(options, tokenizer)
    print(f"{model.num_parameters():,} parameters, {options.steps} steps", flush=True)
    corpus_sha256 = corpus_hash(tokenizer, options)
    done = train(model, tokenizer, options, arguments["checkpoint"], arguments["checkpoint_every"])
    save_model(model, tokenizer, arguments["output_dir"])
    write_training_record(arguments["output_dir"], options, corpus_sha256, done)
    print(f"wrote {arguments['output_dir']}; next: python -m examples.asdfg.measure")


if __name__ == "__main__":
    command(main)
