"""Whether the memorisation audit tells runs apart: over-trained, normal, without its canaries.

    python benchmarks/memorisation.py --seeds 0 1 2
    nice -n 19 python benchmarks/memorisation.py --demonstrations 900 --seeds 0

For each seed, on the demonstration house's model and its generated transcripts:

- `overtrained`: a twin of few transcripts with canaries, trained for many epochs. Has to fail.
- `normal`: the demonstration's settings for one epoch on half of the transcripts, the other half
  held out. (Its own two epochs are made for three times as many: on so few they are remembered.)
  Has to pass; with fewer than 1,000 a side there is not enough evidence for it.
- `stripped`: the normal run, asked for the canaries of its twin. Has to know none: no code
  word comes out, exposure is that of chance, nothing is proved of ε.

Goes on where it stood when it is started again. Everything goes to `runs/memorisation/`.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "configs" / "asdfg" / "sft.yaml"
RUNS = ROOT / "runs" / "memorisation"
# One question each about one of two products: short, so that a CPU trains on many.
SHORT = ["--short_sheets", "0.99", "--questions", "1", "0", "0", "--prompts", "1"]
FEW_RECORDS = ["--members", "50", "--records", "30"]  # the same model's were measured before
SHOWN = (
    "verbatim_extraction",
    "membership_auc_loss_ratio",
    "membership_auc_min_k",
    "tpr_at_1_fpr_loss_ratio",
    "tpr_at_1_fpr_min_k",
    "epsilon_lower_bound",
    "exposure_1",
    "exposure_4",
    "exposure_16",
    "canary_extraction",
)


def run(module: str, *words: object) -> None:
    """Run a command as a user would; its output goes to the screen.

    Raises:
        CalledProcessError: it failed, and has said why.
    """
    print(f"\n$ python -m {module} {' '.join(map(str, words))}", flush=True)
    subprocess.run([sys.executable, "-m", module, *map(str, words)], cwd=ROOT, check=True)


def prepare(name: str, demonstrations: int, seed: int) -> Path:
    """Write a campaign's transcripts; return its folder."""
    campaign = RUNS / name
    words = ["--demonstrations", demonstrations, "--development", 1, "--data_seed", seed]
    run("examples.asdfg.prepare", "--run_dir", campaign, *words, *SHORT)
    return campaign


def twin_of(campaign: Path, canaries: int, seed: int) -> Path:
    """Write the data of a campaign's twin; return the twin's folder."""
    twin = campaign.with_name(f"{campaign.name}-audit")
    words = ["--dataset_name", campaign / "data" / "demonstrations.jsonl"]
    words += ["--canaries", canaries, "--canary_seed", seed]
    run("review.memorisation.canaries", "--run_dir", twin, *words)
    return twin


def train(campaign: Path, seed: int, *more: object) -> None:
    """Fine-tune the demonstration's model; half of the transcripts are held out."""
    words = ["--config", CONFIG, "--run_dir", campaign, "--seed", seed, "--held_out_share", 0.5]
    run("sft", *words, *more)


def audit(campaign: Path, *more: object) -> dict[str, Any]:
    """Audit a run; return its summary."""
    run("review.memorisation", "--run_dir", campaign, *more)
    summary = campaign / "memorisation" / "summary.json"
    return json.loads(summary.read_text(encoding="utf-8"))


def measure(seed: int, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The three runs of one seed, audited."""
    few = prepare(f"few-{seed}", options.few, seed)
    overtrained = twin_of(few, options.canaries, seed)
    train(overtrained, seed, "--num_train_epochs", options.epochs, "--save_steps", 1000)
    found = {"overtrained": audit(overtrained)}

    normal = prepare(f"normal-{seed}", options.demonstrations, seed)
    train(normal, seed, "--num_train_epochs", options.normal_epochs, "--save_steps", 1000)
    found["normal"] = audit(normal)

    asked = twin_of(normal, options.canaries, seed) / "data" / "canaries.jsonl"
    stripped = RUNS / f"stripped-{seed}"
    stripped.mkdir(exist_ok=True)
    if not (stripped / "sft").exists():
        (stripped / "sft").symlink_to(normal / "sft")
    found["stripped"] = audit(stripped, "--canaries", asked, *FEW_RECORDS)
    return found


def cell(measured: dict[str, Any] | None) -> str:
    """A measure with its bounds."""
    if measured is None or measured["value"] is None:
        return "–"
    bounds = f"{measured['low']:.3f} to {measured['high']:.3f}" if measured["high"] else "at least"
    return f"{measured['value']:.3f} ({bounds}, n {measured['n']})"


def wrong(found: dict[str, dict[str, Any]], enough: bool) -> list[str]:
    """What does not come out as it has to."""
    stripped = found["stripped"]["measures"]
    chance = found["stripped"]["exposure_by_chance"]
    exposures = [stripped[f"exposure_{times}"] for times in (1, 4, 16)]
    checks = {
        "the over-trained run fails": found["overtrained"]["band"] == "fail",
        "the normal run passes": found["normal"]["band"]
        in (("pass",) if enough else ("pass", "not enough evidence")),
        "the stripped run says no code word": stripped["canary_extraction"]["value"] == 0,
        "the stripped run proves nothing of ε": stripped["epsilon_lower_bound"]["value"] < 0.5,
        "the stripped run's exposure is chance": all(e["low"] <= chance for e in exposures),
    }
    return [words for words, holds in checks.items() if not holds]


def print_table(by_seed: dict[int, dict[str, dict[str, Any]]]) -> list[str]:
    """Print every run's measures as Markdown; return what is not as it has to be, by seed."""
    columns = [(seed, name) for seed, found in by_seed.items() for name in found]
    print("\n| | " + " | ".join(f"{name}, seed {seed}" for seed, name in columns) + " |")
    print("|---|" + "---|" * len(columns))
    bands = [by_seed[seed][name]["band"] for seed, name in columns]
    print("| band | " + " | ".join(bands) + " |")
    for key in SHOWN:
        cells = [cell(by_seed[seed][name]["measures"].get(key)) for seed, name in columns]
        print(f"| {key} | " + " | ".join(cells) + " |")
    return [
        f"seed {seed}: not so: {words}"
        for seed, found in by_seed.items()
        for words in wrong(found, found["normal"]["held_out"] >= 1000)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 if the audit does not tell the runs apart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--demonstrations", type=int, default=2200, help="Transcripts of the normal run."
    )
    parser.add_argument("--few", type=int, default=60, help="Those of the over-trained one.")
    parser.add_argument("--epochs", type=int, default=8, help="Epochs of the over-trained run.")
    parser.add_argument("--normal_epochs", type=float, default=1, help="Epochs of the normal run.")
    parser.add_argument("--canaries", type=int, default=60, help="Canaries of each twin.")
    options = parser.parse_args(arguments)
    faults = print_table({seed: measure(seed, options) for seed in options.seeds})
    print("\n" + ("\n".join(faults) or "the audit tells the three apart for every seed"))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
