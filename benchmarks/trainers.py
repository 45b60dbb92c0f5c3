"""How fast SFT and DPO train, beside TRL's own commands.

    python benchmarks/trainers.py
    python benchmarks/trainers.py --only dpo --updates 12 --rounds 3
    python benchmarks/trainers.py --only sft --shape 135M --updates 2 --rounds 1

The others are ``trl sft`` and ``trl dpo`` as they come (with ``--use_cpu``, without which they stop
on a machine without a GPU), and tuned by someone who knows them: a thread for each core, fp32, no
checkpointing, batches of like length. All train one random-weight model on the same records once
through: of Qwen3's shape, 3.4M parameters and a vocabulary of 4,096, or of SmolLM2-135M's, with its
vocabulary of 49,152 (``--shape``). The records are conversations of log-normal length, 20 to 400
tokens, of which the prompt is ``--prompt_share``. They run in turn, ``--rounds`` times.

It is the same training: every one takes the records in the order of its file, so that ours and TRL
tuned see the same batches, those of like length, and TRL's defaults the same records as they come.
The loss is worked out here for all alike, on held-out records; ours must be TRL tuned's but for
rounding, and TRL's defaults differ by their bf16 and, in SFT, by which records share a batch.

Speed is over the trainer's own ``train_runtime``. TRL asks the reference in it; ours does so before
and says how long it took, which is added. Start-up is the rest of the command, saving included.
Memory is the most that a process of the command had resident at once.
Exit 2 where ours is not 2.5 times as fast as TRL's defaults, is slower than TRL tuned, or ends at
another loss than that.
"""

import argparse
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from inhouse.chat import reply_ids  # noqa: E402
from inhouse.records import Message  # noqa: E402

DEFAULTS, TUNED = 2.5, 1.0  # how many times as fast we must be
HELD_OUT, BETA = 64, 0.1
# By transformers' name of the architecture, and its sizes.
SHAPES: dict[str, tuple[str, dict[str, int]]] = {
    "3M": (
        "qwen3",
        {
            **{"hidden_size": 192, "intermediate_size": 576, "num_hidden_layers": 6},
            **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 48},
            "vocab_size": 4096,
        },
    ),
    "135M": (
        "llama",
        {
            **{"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30},
            **{"num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64},
            "vocab_size": 49152,
        },
    ),
}
SENTENCE = (
    "the fund pays a distribution each quarter and the fee is taken from the balance please allow "
    "two working days thank you for your question value may fall as well as rise"
)
# The demonstration's, but that nothing stands behind the last end token: TRL's DPO would train that
# newline too, which is never sampled and which ours leaves out, and losses would differ.
TEMPLATE = """{%- for message in messages %}
    {{- ('' if loop.first else '\\n') + '<|im_start|>' + message['role'] + '\\n' }}
    {%- if message['role'] == 'assistant' %}
        {%- generation %}{{- message['content'] + '<|im_end|>' }}{%- endgeneration %}
    {%- else %}
        {{- message['content'] + '<|im_end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '\\n<|im_start|>assistant\\n' }}
{%- endif %}"""
RUNTIME = re.compile(r"'train_runtime': '?([\d.]+)")
REFERENCE = re.compile(r"reference log-probabilities of \d+ records computed in ([\d.]+) s")
SAME_LOSS = 1e-3  # nats: what rounding of two dozen updates may come to
SHARED = (
    *("--learning_rate", "1e-3", "--lr_scheduler_type", "constant", "--warmup_steps", "0"),
    *("--num_train_epochs", "1", "--report_to", "none", "--gradient_accumulation_steps", "1"),
    *("--train_sampling_strategy", "sequential"),
)


@dataclass(frozen=True)
class Run:
    """One command's end: seconds of training and of the rest, held-out loss, bytes of memory."""

    training: float
    startup: float
    loss: float
    peak: int


def main() -> int:
    """Both stages, each with all three contestants in turn, and whether that is what was meant."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("sft", "dpo"))
    parser.add_argument("--shape", choices=SHAPES, default="3M", help="Of the model.")
    parser.add_argument("--updates", type=int, default=24)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--prompt_share", type=float, default=0.5)
    parser.add_argument("--attention", default="sdpa", help="Of ours and of TRL tuned.")
    words = parser.parse_args()
    met = True
    for stage in [words.only] if words.only else ["sft", "dpo"]:
        with tempfile.TemporaryDirectory() as folder:
            model, count = fresh_model(Path(folder), words.shape), words.updates * words.batch
            records = make_records(stage, count + HELD_OUT, words.prompt_share)
            tokens = count_tokens(model, records[:count])
            data = write(Path(folder) / "as_they_come" / "train.jsonl", records[:count])
            batches = by_length(records[:count], tokens, words.batch)
            grouped = write(Path(folder) / "by_length" / "train.jsonl", batches)
            amount, unit = (sum(tokens), "tokens") if stage == "sft" else (count, "pairs")
            print(
                f"{stage.upper()}, {words.shape} parameters: {words.updates} updates of "
                f"{words.batch} records of {min(tokens)} to {max(tokens)} tokens, "
                f"{os.cpu_count()} cores, {words.rounds} rounds\n",
                flush=True,
            )
            found: dict[str, list[Run]] = {}
            for number in range(words.rounds):
                place = Path(folder) / str(number)
                for name, command in contestants(stage, model, data, grouped, place, words).items():
                    run = timed(name, command, place / name, stage, model, records[count:])
                    found.setdefault(name, []).append(run)
        print("\n".join(table(found, amount, unit)), end="\n\n", flush=True)
        ours = found.pop("ours")
        for (name, theirs), meant in zip(found.items(), (DEFAULTS, TUNED), strict=True):
            faster = statistics.median(ratios(ours, theirs))
            met &= faster >= meant
            apart = abs(ours[0].loss - theirs[0].loss)
            print(
                f"against {name}: {faster:.2f} times as fast (must: {meant}), loss differs by "
                f"{apart:.5f}"
            )
        met &= apart <= SAME_LOSS  # TRL tuned is the last
    return 0 if met else 2


def contestants(
    stage: str, model: Path, data: Path, grouped: Path, place: Path, words: argparse.Namespace
) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Command and environment of each.

    Args:
        data: the records as they come, for TRL's defaults.
        grouped: the same in batches of like length, for the two others.
    """
    given = ["--model_name_or_path", str(model), *SHARED]
    given += ["--per_device_train_batch_size", str(words.batch)]
    ours = [sys.executable, "-m", "sft" if stage == "sft" else "rlhf.dpo", *given]
    ours += ["--dataset_name", str(grouped), "--run_dir", str(place / "ours")]
    ours += ["--held_out_share", "0", "--attn_implementation", words.attention]
    trl = [str(Path(sys.executable).parent / "trl"), stage, *given, "--use_cpu"]
    plain = [*trl, "--dataset_name", str(data.parent), "--output_dir", str(place / "trl defaults")]
    tuned = [*trl, "--dataset_name", str(grouped.parent), "--output_dir", str(place / "trl tuned")]
    tuned += ["--bf16", "false"]
    tuned += ["--activation_checkpointing", "false", "--attn_implementation", words.attention]
    if stage == "sft":
        plain += ["--assistant_only_loss", "true"]  # what ours always does, or losses would differ
        tuned += ["--assistant_only_loss", "true"]
    threads = {"OMP_NUM_THREADS": str(os.cpu_count())}
    return {"ours": (ours, {}), "trl defaults": (plain, {}), "trl tuned": (tuned, threads)}


def timed(
    name: str,
    command: tuple[list[str], dict[str, str]],
    folder: Path,
    stage: str,
    start: Path,
    held_out: Sequence[dict[str, Any]],
) -> Run:
    """Run a command to its end."""
    words, threads = command
    bare = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            words,
            cwd=ROOT,
            env={**bare, **threads, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder.parent / "cache")},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
        whole = time.perf_counter() - began
        output.seek(0)
        told = output.read()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}\n{told[-4000:]}")
    if name == "ours":
        folder /= stage
        seconds = json.loads((folder / "metrics.json").read_text())["train_runtime"]
        seconds += sum(map(float, REFERENCE.findall(told)))
    else:
        seconds = float(RUNTIME.findall(told)[-1])
    loss = held_out_loss(stage, folder, start, held_out)
    run = Run(seconds, whole - seconds, loss, 1024 * used.ru_maxrss)
    print(
        f"  {name:15} {run.training:6.1f} s + {run.startup:.1f} s, loss {run.loss:.4f}, "
        f"{run.peak / 2**30:.2f} GiB",
        flush=True,
    )
    return run


def held_out_loss(
    stage: str, folder: Path, start: Path, records: Sequence[dict[str, Any]]
) -> float:
    """SFT: nats a token of the answer. DPO: equation 7 of arXiv 2305.18290."""
    from transformers import AutoModelForCausalLM

    from inhouse.generation.sample import log_probabilities
    from inhouse.models.load import load_tokenizer

    tokenizer = load_tokenizer(str(start))

    def asked(path: Path, side: str) -> tuple[list[float], int]:
        rows = [token_ids(tokenizer, record, side) for record in records]
        # Not models.load_causal_lm: it refuses the pickle that TRL leaves beside its weights.
        model = AutoModelForCausalLM.from_pretrained(path, dtype="float32").eval()
        # Few at once: it holds a batch's logits whole.
        found = log_probabilities(model, rows, pad_token_id=tokenizer.pad_token_id, batch_size=4)
        return found, sum(len(reply) for _, reply in rows)

    if stage == "sft":
        found, tokens = asked(folder, "messages")
        return -sum(found) / tokens
    asked_for = ((folder, "chosen"), (start, "chosen"), (folder, "rejected"), (start, "rejected"))
    sides = zip(*(asked(*one)[0] for one in asked_for), strict=True)
    margins = [BETA * ((c - ref_c) - (r - ref_r)) for c, ref_c, r, ref_r in sides]
    return statistics.fmean(math.log1p(math.exp(-margin)) for margin in margins)


# --- what is trained --------------------------------------------------------------------------


def fresh_model(folder: Path, shape: str) -> Path:
    """A model that has learned nothing, with the demonstration's tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from inhouse.models.load import load_tokenizer, save_model

    tokenizer = load_tokenizer(str(ROOT / "examples" / "asdfg" / "model"))
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    architecture, sizes = SHAPES[shape]
    config = AutoConfig.for_model(
        architecture,
        **sizes,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    save_model(AutoModelForCausalLM.from_config(config), tokenizer, folder / "model")
    return folder / "model"


def make_records(stage: str, count: int, prompt_share: float) -> list[dict[str, Any]]:
    """Conversations or pairs; a rejected answer has words of its own and a length of its own."""
    rng, known = random.Random(0), SENTENCE.split()

    def said(tokens: float) -> str:
        return " ".join(rng.choice(known) for _ in range(max(2, round(tokens / 1.25))))

    made: list[dict[str, Any]] = []
    for _ in range(count):
        tokens = min(400, max(20, math.exp(rng.gauss(math.log(110), 0.7)))) - 8
        prompt = [{"role": "user", "content": said(prompt_share * tokens)}]
        answer = (1 - prompt_share) * tokens
        replies = [
            [{"role": "assistant", "content": said(answer * rng.uniform(0.7, 1.3))}]
            for _ in range(2)
        ]
        made.append(
            {"messages": prompt + replies[0]}
            if stage == "sft"
            else {"prompt": prompt, "chosen": replies[0], "rejected": replies[1]}
        )
    return made


def by_length(
    records: Sequence[dict[str, Any]], tokens: Sequence[int], batch: int
) -> list[dict[str, Any]]:
    """The records in batches of like length, the batches in an order drawn at random."""
    order = sorted(range(len(records)), key=lambda number: tokens[number])
    batches = [order[at : at + batch] for at in range(0, len(order), batch)]
    random.Random(0).shuffle(batches)
    return [records[number] for numbers in batches for number in numbers]


def token_ids(tokenizer: Any, record: dict[str, Any], side: str) -> tuple[list[int], list[int]]:
    """A record's prompt and one of its answers."""
    turns = record["messages"] if side == "messages" else record["prompt"] + record[side]
    messages = [Message(**turn) for turn in turns]
    return reply_ids(tokenizer, messages[:-1], messages[-1])


def count_tokens(model: Path, records: Sequence[dict[str, Any]]) -> list[int]:
    """Tokens of each record; of a pair, of its prompt with the chosen answer."""
    from inhouse.models.load import load_tokenizer

    tokenizer = load_tokenizer(str(model))
    side = "messages" if "messages" in records[0] else "chosen"
    return [sum(map(len, token_ids(tokenizer, record, side))) for record in records]


def write(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


# --- what is told -----------------------------------------------------------------------------


def ratios(ours: Sequence[Run], theirs: Sequence[Run]) -> list[float]:
    """How many times as fast ours was in each round."""
    return [other.training / run.training for run, other in zip(ours, theirs, strict=True)]


def table(found: dict[str, list[Run]], amount: int, unit: str) -> list[str]:
    """Markdown: each contestant's median, and the least and the most of the ratio to ours."""
    lines = [
        f"| | {unit}/s | ours is faster by | start-up | peak memory | held-out loss |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, runs in found.items():
        speed = amount / statistics.median(run.training for run in runs)
        faster = ratios(found["ours"], runs)
        by = f"{statistics.median(faster):.2f} ({min(faster):.2f}–{max(faster):.2f})"
        startup = statistics.median(run.startup for run in runs)
        loss = statistics.median(run.loss for run in runs)
        peak = max(run.peak for run in runs) / 2**30
        shown = "" if name == "ours" else by
        told = f"{speed:,.1f} | {shown} | {startup:.1f} s | {peak:.2f} GiB | {loss:.4f}"
        lines.append(f"| {name} | {told} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
