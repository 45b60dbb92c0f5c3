"""The demonstration house over several training seeds, PPO on it, and SFT recipes side by side.

    python benchmarks/demonstration.py seeds --seeds 0 1 2
    python benchmarks/demonstration.py ppo --seeds 0 1 2
    python benchmarks/demonstration.py recipes

`seeds` runs the stages of `make align` (without the reward model) once for each training seed, into
`runs/asdfg-seed<n>`, and lets the fine-tuned and the aligned model answer all held-out prompts.
`ppo` starts from what `make align` left in `runs/asdfg`, trains PPO (`--by rloo`: RLOO) once for
each seed, and lets it answer the held-out prompts beside the fine-tuned model.
`recipes` trains the same demonstrations with all weights, with LoRA and with the last layers only,
and counts on the development prompts. Both go on where they stood when they are started again, and
print a table in Markdown.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs" / "asdfg"
SLICES = ("unseen_names", "unseen_phrasings", "unseen_pairs")
# Module -> the config it takes, and whether it takes the training seed.
STAGES = (
    ("examples.asdfg.prepare", None, False),
    ("sft", "sft", True),
    ("labeling.candidates", "candidates", True),
    ("labeling.server", None, False),
    ("labeling.push", "push", False),
    ("examples.asdfg.raters", None, False),
    ("labeling.pull", "pull", False),
    ("labeling.preferences", None, False),
    ("rlhf.dpo", "dpo", True),
    ("review", "review", False),
)
RECIPES = {
    "full": [],
    "LoRA, r = 16": ["--use_peft", "true", "--lora_r", "16", "--learning_rate", "3e-3",
                     "--lora_target_modules", "all-linear"],
    "last 2 of 6 layers": ["--train_layers", "last:2"],
}  # fmt: skip


def run(module: str, *words: object) -> None:
    """Run a stage as a user would; its output goes to the screen.

    Raises:
        CalledProcessError: the stage failed, and has said why.
    """
    print(f"\n$ python -m {module} {' '.join(map(str, words))}", flush=True)
    subprocess.run([sys.executable, "-m", module, *map(str, words)], cwd=ROOT, check=True)


def read(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def align(seed: int, limit: int) -> dict[str, Any]:
    """Run the loop with one training seed; return the review's summary."""
    campaign = ROOT / "runs" / f"asdfg-seed{seed}"
    for module, config, seeded in STAGES:
        if module == "labeling.server":
            run(module, "start")
            continue
        words = ["--run_dir", campaign]
        words += ["--config", CONFIGS / f"{config}.yaml"] if config else []
        words += ["--seed", seed] if seeded else []
        if module == "review":
            words += ["--limit", limit, "--seeds", seed, "--models", "sft", "dpo"]
        run(module, *words)
    return read(campaign / "review" / "summary.json")


def beside_aligned(name: str, shared: Sequence[str]) -> Path:
    """A campaign whose ``shared`` folders are those that `make align` left."""
    aligned, campaign = ROOT / "runs" / "asdfg", ROOT / "runs" / name
    campaign.mkdir(exist_ok=True)
    for folder in shared:
        if not (campaign / folder).exists():
            (campaign / folder).symlink_to(aligned / folder)
    return campaign


def climb(seed: int, limit: int, by: str) -> dict[str, Any]:
    """Run PPO or RLOO with one seed on what `make align` left; return the review's summary."""
    campaign = beside_aligned(f"asdfg-{by}{seed}", ("data", "sft", "reward"))
    words = ["--run_dir", campaign, "--config"]
    run(f"rlhf.{by}", *words, CONFIGS / f"{by}.yaml", "--seed", seed)
    words += [CONFIGS / "review.yaml", "--limit", limit, "--seeds", seed, "--models", "sft", by]
    run("review", *words)
    return read(campaign / "review" / "summary.json")


def percent(value: dict[str, float]) -> str:
    """Show a rate with its bounds."""
    return f"{100 * value['rate']:.1f} ({100 * value['low']:.1f} to {100 * value['high']:.1f})"


def print_seeds(summaries: dict[int, dict[str, Any]]) -> None:
    """Print what the issues ask of the demonstration, a column a seed."""
    rows: dict[str, list[str]] = {}

    def add(title: str, shown: str) -> None:
        rows.setdefault(title, []).append(shown)

    for summary in summaries.values():
        models = summary["models"]
        sft = models["sft"]
        for part in SLICES:
            add(f"helpful after SFT, {part}", percent(summary["slices"][part]["sft"]["helpful"]))
        for name, found in models.items():
            add(f"any_violation, {name}", percent(found["any_violation"]))
            add(f"tone_violation, {name}", percent(found["tone_violation"]))
            add(f"helpful, {name}", percent(found["helpful"]))
            add(f"tells the story at T = 1, {name}", percent(summary["story"][name]["sampled"]))
            add(f"tells the story greedily, {name}", percent(summary["story"][name]["greedy"]))
        for name in [name for name in models if name != "sft"]:
            found = models[name]
            share = found["any_violation"]["rate"] / sft["any_violation"]["rate"]
            add(f"any_violation, {name} as a share of sft", f"{share:.3f}")
            change = summary["helpful_change_from_sft"][name]
            add(f"helpful, {name} minus sft, paired", percent(change))
            add(f"hidden standard prefers {name} to sft", percent(found["hidden_standard"]))
            add(f"end_token, {name}", percent(found["end_token"]))
            ratio = found["mean_tokens"] / sft["mean_tokens"]
            add(f"mean length, {name} as a share of sft", f"{ratio:.3f}")
            add(f"KL of {name} from sft, nats an answer", f"{found['kl_to_sft']:.2f}")
    print("\n| | " + " | ".join(f"seed {seed}" for seed in summaries) + " |")
    print("|---" * (len(summaries) + 1) + "|")
    for title, cells in rows.items():
        print(f"| {title} | {' | '.join([*cells, *[''] * (len(summaries) - len(cells))])} |")


def compare_recipes(limit: int, demonstrations: int) -> None:
    """Train by each recipe, count on the development prompts, print a table."""
    print_rows = []
    for number, (title, words) in enumerate(RECIPES.items()):
        campaign = ROOT / "runs" / f"asdfg-recipe{number}"
        run("examples.asdfg.prepare", "--run_dir", campaign, "--demonstrations", demonstrations)
        config = ["--run_dir", campaign, "--config"]
        run("sft", *config, CONFIGS / "sft.yaml", *words)
        review = ["--models", "sft", "--red_team", "false", "--limit", limit, "--dataset_name"]
        run("review", "--run_dir", campaign, "--house_rules", ROOT / "configs/house/asdfg.yaml",
            "--max_new_tokens", 200, *review, campaign / "data" / "development.jsonl")  # fmt: skip
        summary = read(campaign / "review" / "summary.json")
        manifest = read(campaign / "sft" / "manifest.json")
        weights = (campaign / "sft").glob("*.safetensors")
        print_rows.append(
            [title]
            + [percent(part["sft"]["helpful"]) for part in summary["slices"].values()]
            + [
                percent(summary["models"]["sft"][key])
                for key in ("any_violation", "tone_violation")
            ]
            + [f"{manifest['seconds']:.0f} s", f"{manifest['peak_rss_mb']:,.0f} MB"]
            + [f"{sum(path.stat().st_size for path in weights) / 1e6:.1f} MB"]
        )
        slices = list(summary["slices"])
    head = ["recipe", *(f"helpful, {name}" for name in slices), "any_violation", "tone_violation"]
    print("\n| " + " | ".join([*head, "time", "peak memory", "weights"]) + " |")
    print("|---" * (len(head) + 3) + "|")
    for row in print_rows:
        print("| " + " | ".join(row) + " |")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("what", choices=("seeds", "ppo", "recipes"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="training seeds")
    parser.add_argument("--limit", type=int, default=1000, help="prompts a slice")
    parser.add_argument("--by", choices=("ppo", "rloo"), default="ppo", help="who climbs (ppo)")
    parser.add_argument(
        "--demonstrations", type=int, default=3000, help="transcripts that recipes train on"
    )
    arguments = parser.parse_args()
    if arguments.what == "seeds":
        print_seeds({seed: align(seed, arguments.limit) for seed in arguments.seeds})
    elif arguments.what == "ppo":
        by, limit = arguments.by, arguments.limit
        print_seeds({seed: climb(seed, limit, by) for seed in arguments.seeds})
    else:
        compare_recipes(arguments.limit, arguments.demonstrations)


if __name__ == "__main__":
    main()
