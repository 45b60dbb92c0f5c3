"""PPO beside the last TRL that had it: memory, time, and the score that a nat of KL buys.

    python benchmarks/ppo.py
    python benchmarks/ppo.py --only lora --seeds 0
    python benchmarks/ppo.py --smoke

The other is TRL 1.12's ``PPOTrainer`` (``trl.experimental.ppo``), the last one, in an environment
of its own: ``.venv-trl112``, made from ``ppo_trl112.txt``, with our own releases of all but TRL.
Both train a model of Qwen3's shape on the same prompts for the same reward, with as many answers,
mini-batches, epochs and optimiser steps; each run is a process of its own, and the sides take
turns.

- The writer is made from random weights and fine-tuned for seconds to say 8 to 31 of 64 words,
  and to end. The reward model is set by hand: it scores the share of words that pay less that of
  words that do not. Both sides load the same folders. A word is a token, so that our reward,
  which reads text, and TRL's, which reads token ids, score the same.
- Alike: a thread for each core, fp32, no checkpointing, temperature 1, the KL's price, GAE, the
  surrogate's range, unclipped values, a critic that starts as the policy with a head of zeros,
  one rate for both, no clipping of gradients, no charge for an answer that does not end, no
  watch.
- TRL's batch is the whole rollout, cut into mini-batches: with ``gradient_accumulation_steps``
  above 1 it skips optimiser steps. Ours accumulates two batches of 8 into one of 16.
- Not alike: an answer that does not end is scored by ours with an end token behind it and by TRL
  at its last word (its score differs by one part in some thirty); TRL puts the score one token
  later; ours averages over the tokens of a rollout and TRL over those of a mini-batch; ours keeps
  the last good weights and moments to go back to. With LoRA our critic is an adapter, and TRL's a
  whole model that is trained in full, as in TRL's own script. Each keeps its own way with freed
  memory.

Memory is what the process takes at most above what its imports take; held is what all tensors
take that are alive after training. Score at the same KL: each run's rollouts give a line of score
over KL, its mean over the seeds is compared at four KLs that all runs have reached.

TRL's cost is the logits of a whole rollout, which 4,096 words hardly show: memory is judged on a
wide shape with Qwen3's 151,936, and printed for both. Ours holds more than TRL's beside them, as
the last good weights and moments are copies. The wide shape learns nothing in its two rollouts.

Exit 2 where memory is not 3 times less (full) or 2 times (LoRA), time is more than TRL's, or the
score is lower by more than 0.05 at any KL.
"""

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3Config

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

ENVIRONMENT, LOCK = ROOT / ".venv-trl112", Path(__file__).with_name("ppo_trl112.txt")
PLAYERS = Path(__file__).with_name("ppo_players.py")
LESS_MEMORY = {"full": 3.0, "lora": 2.0}  # times
SLOWEST, WORST = 1.0, -0.05  # of TRL's time; in score, at the same KL
KL_LEVELS, MIB = 4, 2**20

SHAPES = {
    "3M": {"hidden_size": 192, "intermediate_size": 576, "num_hidden_layers": 6, "head_dim": 48},
    "wide": {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "head_dim": 32},
}
SHAPES = {
    name: {**shape, "num_attention_heads": 4, "num_key_value_heads": 2}
    for name, shape in SHAPES.items()
}
SIZES = {"answers": 64, "mini_batch": 16, "micro": 8, "forward": 64, "epochs": 2, "longest": 48}
SMOKE = SIZES | {"answers": 16, "mini_batch": 8, "micro": 4, "epochs": 1, "rollouts": 2}
ROLLOUTS = {"3M": 12, "wide": 2}
VOCABULARY = {"3M": 4_096, "wide": 151_936}  # words that there are; the second is Qwen3's
STEPS, RANK, BETA, RATES = 60, 8, 0.03, {"full": 1e-4, "lora": 1e-3}
PROMPTS, SPOKEN = 256, 64  # words that the writer says
WORDS = (8, 32)  # of the writer's answers, at least and below
CONSTANT = 10.0  # beside which a word's worth does not change the size of its embedding
SPECIAL = ("<pad>", "<end>", "<ask>", "<say>", "<unk>")
OPENING = len(SPECIAL) + SPOKEN


@dataclass(frozen=True)
class Run:
    """What one process measured: seconds, bytes, and (KL, score) of each rollout."""

    seconds: float
    peak: int
    static: int
    points: list[tuple[float, float]]


def main() -> int:
    """Every shape and mode, both sides in turn, and whether that is what was meant."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=RATES)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rollouts", type=int, default=ROLLOUTS["3M"], help="Of the small shape.")
    parser.add_argument("--smoke", action="store_true", help="Two small rollouts, to try it out.")
    words = parser.parse_args()
    python = environment()
    met = True
    for shape in words.shapes:
        small = shape == "3M"
        sizes = {**SIZES, "rollouts": words.rollouts if small else ROLLOUTS[shape]}
        with tempfile.TemporaryDirectory() as folder:
            task = make_task(Path(folder), shape) | {"sizes": SMOKE if words.smoke else sizes}
            for mode in [words.only] if words.only else RATES:
                task |= {"lora": RANK if mode == "lora" else 0, "rate": RATES[mode]}
                found: dict[str, list[Run]] = {"ours": [], "TRL 1.12": []}
                for seed in words.seeds if small else words.seeds[:1]:
                    for name in found:
                        place = Path(folder) / f"{mode} {seed} {name}"
                        run = play(name, python[name], task | {"seed": seed}, place)
                        found[name].append(run)
                        print(told(f"{shape} {mode}, seed {seed}, {name}", run), flush=True)
                print("\n" + "\n".join(table(f"{shape} {mode}", found)))
                learns = small and not words.smoke  # two rollouts teach nothing
                held = verdict(
                    mode, found["ours"], found["TRL 1.12"], wide=shape == "wide", learns=learns
                )
                print("\n" + "\n".join(held) + "\n", flush=True)
                met &= not any("MISSED" in line for line in held)
    return 0 if met else 2


def environment() -> dict[str, Path]:
    """Each side's interpreter; TRL's environment is made where it is missing or out of date."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / LOCK.name
    if not stamp.exists() or stamp.read_text() != LOCK.read_text():
        print(f"making {ENVIRONMENT.name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", LOCK], check=True)
        stamp.write_text(LOCK.read_text())
    return {"ours": Path(sys.executable), "TRL 1.12": python}


def play(name: str, python: Path, task: dict[str, Any], place: Path) -> Run:
    """One run in a process of its own."""
    place.mkdir()
    source, target = place / "task.json", place / "told.json"
    source.write_text(json.dumps({**task, "folder": str(place)}))
    own = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(place / "cache"),
        "TOKENIZERS_PARALLELISM": "false",
    }
    ended = subprocess.run(
        [str(python), str(PLAYERS), name, str(source), str(target)],
        env={**os.environ, **own, "OMP_NUM_THREADS": str(os.cpu_count())},
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        raise SystemExit(f"{name}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}")
    return Run(**json.loads(target.read_text()))


# --- what is told -----------------------------------------------------------------------------


def told(what: str, run: Run) -> str:
    """A run in a line."""
    path = " ".join(f"{kl:.1f}:{score:.2f}" for kl, score in run.points)
    return (
        f"  {what}: {run.seconds:.1f} s, {run.peak / MIB:.0f} MiB ({run.static / MIB:.0f} held), "
        f"KL:score {path}"
    )


def table(title: str, found: dict[str, list[Run]]) -> list[str]:
    """Markdown: each side's medians."""
    lines = [f"| {title} | peak | held | training |", "|---|---:|---:|---:|"]
    for name, runs in found.items():
        lines.append(
            f"| {name} | {median(runs, 'peak') / MIB:,.0f} MiB "
            f"| {median(runs, 'static') / MIB:,.0f} MiB | {median(runs, 'seconds'):.1f} s |"
        )
    return lines


def verdict(
    mode: str, ours: Sequence[Run], theirs: Sequence[Run], *, wide: bool, learns: bool
) -> list[str]:
    """Each aim with what was found; a line says MISSED where it was not met."""
    times = median(theirs, "peak") / median(ours, "peak")
    slower = median(ours, "seconds") / median(theirs, "seconds")
    lines = [
        judged("memory, times less", times, times >= LESS_MEMORY[mode], f"≥ {LESS_MEMORY[mode]}")
        if wide
        else f"memory, times less: {times:.2f} (with few words; judged with a real vocabulary)",
        judged("time, of TRL's", slower, slower <= SLOWEST, f"≤ {SLOWEST}"),
    ]
    if learns:
        for kl, gain in gains(ours, theirs):
            found = judged(f"score gained at a KL of {kl:.2f}", gain, gain >= WORST, f"≥ {WORST}")
            lines.append(found)
    return lines


def judged(what: str, value: float, met: bool, must: str) -> str:
    return f"{what}: {value:.2f} (must: {must}){'' if met else ' MISSED'}"


def median(runs: Sequence[Run], field: str) -> float:
    return statistics.median(getattr(run, field) for run in runs)


def gains(ours: Sequence[Run], theirs: Sequence[Run]) -> list[tuple[float, float]]:
    """(KL, our score less theirs), both the mean over seeds, at KLs that every run has reached.

    The highest is the least of the runs' greatest; where all start, at 0, nothing is to compare.
    """
    reached = min(max(kl for kl, _ in run.points) for run in [*ours, *theirs])
    levels = [reached * step / KL_LEVELS for step in range(1, KL_LEVELS + 1)]

    def mean(runs: Sequence[Run], level: float) -> float:
        return statistics.fmean(score_at(run.points, level) for run in runs)

    return [(level, mean(ours, level) - mean(theirs, level)) for level in levels]


def score_at(points: Sequence[tuple[float, float]], level: float) -> float:
    """The score at a KL, on straight lines between a run's rollouts in the order of their KL."""
    ordered = sorted(map(tuple, points))
    for (low, start), (high, end) in itertools.pairwise(ordered):
        if low <= level <= high:
            return end if high == low else start + (end - start) * (level - low) / (high - low)
    raise ValueError(f"a KL of {level} lies outside {ordered[0][0]} to {ordered[-1][0]}")


# --- the task ---------------------------------------------------------------------------------


def make_task(folder: Path, shape: str) -> dict[str, Any]:
    """A fine-tuned writer, a reward model, and prompts, on disk for both sides."""
    from transformers import Qwen3Config

    vocabulary = VOCABULARY[shape]
    tokenizer = make_tokenizer(vocabulary)
    config = Qwen3Config(
        **SHAPES[shape],
        vocab_size=vocabulary,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        num_labels=1,
    )
    draw = random.Random(0)
    texts = [
        " ".join(
            f"w{draw.randrange(vocabulary // 2, vocabulary - 5)}"
            for _ in range(draw.randrange(6, 25))
        )
        for _ in range(PROMPTS)
    ]
    rows = [{"prompt": [{"role": "user", "content": text}]} for text in texts]
    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rewards = folder / "rewards.yaml"
    rewards.write_text(
        "weights: {learned: 1.0}\n"
        "costs: {blocker: 3.0, major: 1.0, minor: 0.5, advisory: 0.2}\nlimit: 1.0\n"
    )
    write_policy(config, tokenizer, rows, folder / "policy", draw)
    write_reward(config, tokenizer, folder / "reward")
    return {
        "policy": str(folder / "policy"),
        "reward": str(folder / "reward"),
        "prompts": str(prompts),
        "rewards": str(rewards),
        "beta": BETA,
    }


def make_tokenizer(vocabulary: int) -> "PreTrainedTokenizerFast":
    """A word is a token, so that both sides score the same tokens: TRL's ids, ours the text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = [*SPECIAL, *(f"w{number}" for number in range(vocabulary - len(SPECIAL)))]
    raw = Tokenizer(models.WordLevel({name: at for at, name in enumerate(names)}, "<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        eos_token="<end>",
        unk_token="<unk>",
        chat_template=(
            "{% for message in messages %}{% if message.role == 'assistant' %}"
            "<say> {{ message.content }} <end> {% else %}<ask> {{ message.content }} {% endif %}"
            "{% endfor %}{% if add_generation_prompt %}<say> {% endif %}"
        ),
    )


def write_policy(
    config: "Qwen3Config",
    tokenizer: "PreTrainedTokenizerFast",
    rows: Sequence[dict[str, Any]],
    folder: Path,
    draw: random.Random,
) -> None:
    """Random weights, fine-tuned for some seconds to answer with spoken words and to end.

    Every answer opens with the same word, which neither pays nor costs: none is empty, which ours
    would punish and TRL would not.
    """
    import torch
    from transformers import Qwen3ForCausalLM

    torch.manual_seed(0)
    model = Qwen3ForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, STEPS)
    for _ in range(STEPS):
        asked = [
            tokenizer.apply_chat_template(
                row["prompt"], add_generation_prompt=True, return_dict=False
            )
            for row in draw.choices(rows, k=16)
        ]
        said = [
            [
                OPENING,
                *(len(SPECIAL) + draw.randrange(SPOKEN) for _ in range(draw.randrange(*WORDS))),
                config.eos_token_id,
            ]
            for _ in asked
        ]
        pairs = list(zip(asked, said, strict=True))
        width = max(len(before) + len(answer) for before, answer in pairs)
        ids = torch.tensor([b + a + [0] * (width - len(b) - len(a)) for b, a in pairs])
        labels = torch.tensor(
            [[-100] * len(b) + a + [-100] * (width - len(b) - len(a)) for b, a in pairs]
        )
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    print(f"fine-tuned to {loss.item():.2f} nats a token", flush=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_reward(config: "Qwen3Config", tokenizer: "PreTrainedTokenizerFast", folder: Path) -> None:
    """A reward model by hand: of the words that the writer says, half pay and half cost.

    Its first layer attends to all tokens alike and writes the mean of what they are worth, 1, -1 or
    0; the other layers add nothing. An answer's score is the share of words that pay less that of
    words that cost, of all tokens, the prompt's included.
    """
    import torch
    from transformers import Qwen3ForSequenceClassification

    from inhouse.generation.score import Calibration, template_hash
    from reward.save import save

    torch.manual_seed(1)
    model = Qwen3ForSequenceClassification(config)
    size = config.hidden_size**0.5 / CONSTANT  # what normalising multiplies by
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        words, attention = model.model.embed_tokens.weight, model.model.layers[0].self_attn
        words.zero_()
        words[:, 2] = CONSTANT
        words[len(SPECIAL) : len(SPECIAL) + SPOKEN, 0] = -1
        words[len(SPECIAL) : len(SPECIAL) + SPOKEN // 2, 0] = 1
        attention.q_proj.weight.zero_()
        attention.v_proj.weight[0].zero_()
        attention.v_proj.weight[0, 0] = 1 / size
        attention.o_proj.weight[1, 0] = 1
        model.score.weight.zero_()
        model.score.weight[0, 1] = 1 / size
    calibration = replace(
        Calibration.none(1, template_hash(tokenizer)), fit_for_ppo=True, reason=""
    )
    save(model, tokenizer, calibration, folder, [[len(SPECIAL), config.eos_token_id]])


if __name__ == "__main__":
    sys.exit(main())
