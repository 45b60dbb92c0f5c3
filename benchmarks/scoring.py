"""How fast conversations are scored, beside what one would use instead.

    python benchmarks/scoring.py
    python benchmarks/scoring.py --model runs/asdfg/reward --texts 400

The other side is ``transformers.pipeline("text-classification")`` with each batch size of 1 to 32,
on the same texts of mixed length (log-normal, 20 to 400 tokens). It is given texts that are
rendered already; ours renders them, too. Both run in turn, each ``--rounds`` times; the best round
counts. Without ``--model`` the demonstration's model with a fresh head is scored with: speed does
not depend on what the weights say. Exit 2 where ours is not 1.3 times as fast as the pipeline's
best batch size and 2.5 times as fast as its batch of 32, or where the scores differ.
"""

import argparse
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from transformers import pipeline  # noqa: E402

from inhouse.generation.score import Scorer  # noqa: E402
from inhouse.models.load import load_tokenizer, new_reward_model, save_model  # noqa: E402
from inhouse.records import Message, plain  # noqa: E402

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
BEST, OF_32 = 1.3, 2.5  # how many times faster we mean to be
SENTENCE = (
    "the fund pays a distribution each quarter and the fee is taken from the balance please allow "
    "two working days thank you for your question value may fall as well as rise"
)
Conversation = tuple[list[Message], str]


def conversations(count: int, seed: int = 0) -> list[Conversation]:
    """Conversations of log-normal length, from 20 to 400 tokens: two thirds of it the prompt."""
    rng, known = random.Random(seed), SENTENCE.split()
    made = []
    for _ in range(count):
        tokens = min(400, max(20, round(math.exp(rng.gauss(math.log(110), 0.7)))))
        words = [rng.choice(known) for _ in range(max(4, round(tokens / 1.25) - 8))]
        cut = 2 * len(words) // 3
        made.append(([Message(role="user", content=" ".join(words[:cut]))], " ".join(words[cut:])))
    return made


def rendered(scorer: Scorer, texts: Sequence[Conversation]) -> list[str]:
    """The same conversations as the text that the pipeline is given."""
    return [
        scorer.tokenizer.apply_chat_template(
            [*plain(prompt), {"role": "assistant", "content": reply}], tokenize=False
        ).rstrip("\n")  # ours ends at the end token: what follows it is never sampled
        for prompt, reply in texts
    ]


def timed(work: Callable[[], list[float]]) -> tuple[float, list[float]]:
    began = time.perf_counter()
    scores = work()
    return time.perf_counter() - began, scores


def piped(classify, texts: Sequence[str], batch_size: int) -> list[float]:
    """The pipeline's raw outputs."""
    found = classify(
        list(texts), batch_size=batch_size, function_to_apply="none", add_special_tokens=False
    )
    return [entry["score"] for entry in found]


def main() -> int:
    """Both in turn, the best round of each, and whether that is what was meant."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="A reward model with one head.")
    parser.add_argument("--texts", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    with tempfile.TemporaryDirectory() as folder:
        model = str(words.model or fresh(Path(folder)))
        scorer = Scorer(model)
        # The pipeline finds a row's end by its padding, so the model must know it.
        scorer.model.config.pad_token_id = scorer.tokenizer.pad_token_id
        classify = pipeline(
            "text-classification", model=scorer.model, tokenizer=scorer.tokenizer, device="cpu"
        )
        texts = conversations(words.texts)
        given = rendered(scorer, texts)
        lengths = [
            len(scorer.tokenizer(text, add_special_tokens=False).input_ids) for text in given
        ]
        print(
            f"{len(texts)} texts of {min(lengths)} to {max(lengths)} tokens, {sum(lengths)} in "
            f"all, {words.threads} threads, best of {words.rounds}"
        )
        seconds: dict[str, list[float]] = {}
        scores: dict[str, list[float]] = {}
        for _ in range(words.rounds):
            for name, work in contestants(scorer, classify, texts, given).items():
                took, scores[name] = timed(work)
                seconds.setdefault(name, []).append(took)
    return report(seconds, scores, len(texts))


def contestants(
    scorer: Scorer, classify, texts: Sequence[Conversation], given: Sequence[str]
) -> dict[str, Callable[[], list[float]]]:
    """Ours, and the pipeline with each batch size."""

    def ours() -> list[float]:
        return [scored.heads[0] for scored in scorer.assess(texts)]

    pipes = {
        f"pipeline, batch {size}": lambda size=size: piped(classify, given, size)
        for size in BATCH_SIZES
    }
    return {"ours": ours, **pipes}


def report(seconds: dict[str, list[float]], scores: dict[str, list[float]], count: int) -> int:
    """Print texts a second, and say whether ours is as much faster as it is meant to be."""
    best = {name: min(took) for name, took in seconds.items()}
    for name, took in best.items():
        print(f"{name:20} {count / took:8.1f} texts/s {best[name] / best['ours']:6.2f} x ours")
    fastest = min(took for name, took in best.items() if name != "ours") / best["ours"]
    of_32 = best["pipeline, batch 32"] / best["ours"]
    apart = max(
        abs(a - b) for a, b in zip(scores["ours"], scores["pipeline, batch 1"], strict=True)
    )
    print(f"against its best batch size {fastest:.2f} (meant: {BEST})")
    print(f"against its batch of 32     {of_32:.2f} (meant: {OF_32})")
    print(f"scores differ by at most    {apart:.1e}")
    return 0 if fastest >= BEST and of_32 >= OF_32 and apart < 1e-4 else 2


def fresh(folder: Path) -> Path:
    """The demonstration's model with a head that has learned nothing."""
    source = str(ROOT / "examples" / "asdfg" / "model")
    model = new_reward_model(source, dtype="float32", seed=0)
    save_model(model, load_tokenizer(source), folder)
    return folder


if __name__ == "__main__":
    sys.exit(main())
