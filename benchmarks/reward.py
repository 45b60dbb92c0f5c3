"""The reward model of the demonstration house over several training seeds.

    python benchmarks/demonstration.py seeds --seeds 0 1 2    # makes what is learned from
    python benchmarks/reward.py --seeds 0 1 2
    python benchmarks/reward.py --same_ratings                # after `make align`

Trains `python -m reward` with seed n on `runs/asdfg-seed<n>`, which holds that seed's own
fine-tuned model, candidates and ratings, and prints a table in Markdown. With `--same_ratings`
every seed learns from what `make align` left in `runs/asdfg`, split its own way. A seed that is
trained already is only read. What is judged is the mean over the seeds, because one seed's held-out
rater has some fifty votes on held-out prompts, which tell an accuracy to within 0.1 only. The
scorer's accuracy on them is compared with that on the other raters' votes, twice: on all held-out
prompts, and, which is judged, on the very pairs that the held-out rater saw. Exit 2 where an aim is
missed.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.demonstration import beside_aligned, read, run  # noqa: E402

CONFIG = ROOT / "configs" / "asdfg" / "reward.yaml"
Found = dict[str, Any]  # evaluation.json, and the manifest under "manifest"


def shown(rate: dict[str, float]) -> str:
    """A rate with its bounds."""
    return f"{rate['rate']:.3f} ({rate['low']:.3f} to {rate['high']:.3f})"


def of_ceiling(found: Found) -> float:
    """Accuracy on held-out prompts as a share of how far raters agree."""
    return found["accuracy"]["held_out_prompts"]["rate"] / found["agreement_ceiling"]["rate"]


def rater_apart(found: Found, others: str) -> float:
    """Accuracy on the held-out rater's votes minus that on others'."""
    accuracy = found["accuracy"]
    return accuracy["held_out_raters"]["rate"] - accuracy[others]["rate"]


# What a row shows of a seed.
SHOWN: dict[str, Callable[[Found], str]] = {
    "pairs trained · measured": lambda f: f"{f['split']['train']} · {f['split']['held_out']}",
    "accuracy, held-out prompts": lambda f: shown(f["accuracy"]["held_out_prompts"]),
    "agreement ceiling": lambda f: shown(f["agreement_ceiling"]),
    "accuracy, held-out rater": lambda f: shown(f["accuracy"]["held_out_raters"]),
    "accuracy, others on the same pairs": lambda f: shown(f["accuracy"]["other_raters_there"]),
    "shuffled control": lambda f: shown(f["shuffled_control"]),
    "ECE": lambda f: "{value:.3f} ({low:.3f} to {high:.3f})".format(**f["ece"]),
    "fit for PPO": lambda f: "yes" if f["fit_for_ppo"] else f["reason"],
    "seconds": lambda f: f"{f['manifest']['seconds']:.0f}",
}
# What is aimed at: in words, the figure of a seed, and whether the mean over the seeds will do.
AIMS: dict[str, tuple[str, Callable[[Found], float], Callable[[float], bool]]] = {
    "accuracy as a share of the ceiling": ("≥ 0.9", of_ceiling, lambda mean: mean >= 0.9),
    "held-out rater minus the others, same pairs": (
        "within 0.05",
        lambda found: rater_apart(found, "other_raters_there"),
        lambda mean: abs(mean) <= 0.05,
    ),
    "held-out rater minus the others, all pairs": (
        "shown",
        lambda found: rater_apart(found, "held_out_prompts"),
        lambda mean: True,
    ),
    "shuffled control": (
        "0.5 ± 0.05",
        lambda found: found["shuffled_control"]["rate"],
        lambda mean: abs(mean - 0.5) <= 0.05,
    ),
}


def measure(seed: int, campaign: Path) -> Found:
    """Train one seed, if it is not trained, and read what is known of it.

    Raises:
        CalledProcessError: the stage failed, and has said why.
    """
    run("reward", "--run_dir", campaign, "--config", CONFIG, "--seed", seed)
    folder = campaign / "reward"
    return {**read(folder / "evaluation.json"), "manifest": read(folder / "manifest.json")}


def report(seeds: dict[int, Found]) -> bool:
    """Print the table; return whether every aim is reached."""
    print("\n| | aim | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean |")
    print("|---" * (len(seeds) + 3) + "|")
    for title, cell in SHOWN.items():
        print(f"| {title} | | {' | '.join(cell(found) for found in seeds.values())} | |")
    reached = True
    for title, (aim, figure, good) in AIMS.items():
        figures = [figure(found) for found in seeds.values()]
        mean = fmean(figures)
        reached &= good(mean)
        cells = " | ".join(f"{value:.3f}" for value in figures)
        print(f"| {title} | {aim} | {cells} | {mean:.3f}{'' if good(mean) else ', missed'} |")
    return reached


def main() -> int:
    """Train every seed, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="training seeds")
    parser.add_argument("--same_ratings", action="store_true", help="of make align, for every seed")
    words = parser.parse_args()
    campaigns = {
        seed: beside_aligned(f"asdfg-reward{seed}", ("sft", "ratings", "preferences"))
        if words.same_ratings
        else ROOT / "runs" / f"asdfg-seed{seed}"
        for seed in words.seeds
    }
    return 0 if report({seed: measure(seed, folder) for seed, folder in campaigns.items()}) else 2


if __name__ == "__main__":
    sys.exit(main())
