"""An adapter and its base become one model, and the merge is proven before it counts.

The adapter's folder and its base's are only read. Both are loaded once more, in float32, so that
each merged weight W + (alpha / r) B A (Hu et al. 2021, https://arxiv.org/abs/2106.09685, section
4.1) is rounded once, to the data type the base is stored in. What was written is loaded again and
compared with the adapter on its base, and the folder gets its ``config.json`` only after that.
Needs four bytes of memory for each parameter, twice while comparing.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from inhouse.chat import prompt_ids
from inhouse.config import RunOptions, Stage
from inhouse.errors import GateError, InputError
from inhouse.models import card
from inhouse.models.adapters import ADAPTER_CONFIG, is_adapter
from inhouse.models.folder import check_folder, find_base, first_line, load_config
from inhouse.models.inspect import stored
from inhouse.models.load import Model, load_causal_lm, load_tokenizer, save_model
from inhouse.records import Message
from inhouse.run import BEGUN, CHECKPOINTS, MANIFEST, Run, open_run, require

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

STAGE = Stage("merge", "python -m inhouse.models merge", "an adapter and its base become one model")

# How far logits may lie apart, computed in float32, as a share of their own spread (root mean
# square of each). Before rounding: the same sums in another order, while a wrong scale or a layer
# left out differs by about as much as the adapter itself does, a hundred times more and up.
SAME = 1e-4
# Once stored: each weight was rounded, by at most 2^-24, 2^-11 or 2^-8 of itself, at random. Over
# some dozen layers that grows to a few times as much; measured with six in bfloat16: 3.5e-3.
ROUNDED = {"float32": SAME, "float16": 5e-3, "bfloat16": 4e-2}
# Of what the adapter changes, rounding may take half; where it takes more, it hides the training.
LOST = 0.5

CONVERSATIONS = (
    ("What does it cost?", "Thank you for asking. The fee is 1.5% a year, and nothing else."),
    ("My card was declined twice today. What should I do?", "I am sorry to hear that. Please"),
    ("Explain in two sentences how interest is worked out.", "Interest is a share of what you owe"),
)


def merge(adapter: str, output_dir: Path, *, overwrite: bool = False) -> None:
    """Merge a stage's adapter into ``output_dir``: load, merge, save, reload, compare, finish.

    Raises:
        InputError: no adapter, its base is gone, changed or quantised, or the output is in use.
        GateError: the merged model does not say what the adapter on its base says.
    """
    adapter, base = check_arguments(adapter, output_dir)
    options = RunOptions(run_dir=str(output_dir.parent), overwrite=overwrite)
    inputs: dict[str, str | Path] = {"adapter": adapter, "base": base}
    run = open_run(STAGE, options, {}, inputs, folder=output_dir)
    tokenizer = load_tokenizer(adapter)
    rows = token_rows(tokenizer)
    model = load_causal_lm(adapter)

    run.start()
    expected = logits(model, rows)
    with model.disable_adapter():
        untouched = logits(model, rows)
    dtype = stored(base).dtype
    draft = run.path(CHECKPOINTS) / "merged"  # where no loader takes it for a finished model
    shutil.rmtree(draft, ignore_errors=True)
    try:
        model = model.merge_and_unload(safe_merge=True)
    except ValueError as error:  # weights that are no numbers, or a kind that peft cannot merge
        raise InputError(f"cannot merge {adapter}: {first_line(error)}") from None
    exact = logits(model, rows)
    save_model(model.to(dtype=getattr(torch, dtype)), tokenizer, draft)
    del model

    written = logits(load_causal_lm(str(draft)), rows)
    figures = compare(expected, untouched=untouched, exact=exact, written=written)
    try:
        judge(figures, dtype, adapter)
    except GateError:
        shutil.rmtree(draft)
        raise
    publish(draft, run, adapter)
    print(
        f"logits, adapter on its base against one model in {dtype}, {sum(map(len, rows))} tokens: "
        f"they differ by {figures['rounded']:.1e} of their spread; the adapter changes them by "
        f"{figures['adapter_effect']:.1e}"
    )
    run.finish(
        metrics={"dtype": dtype, **figures},
        next_command=f"python -m review.chat {output_dir}",
    )


def check_arguments(adapter: str, output_dir: Path) -> tuple[str, str]:
    """The adapter's folder and its base's, both fit to be merged.

    Raises:
        InputError: says which of the two is not, or why the output cannot lie where it is named.
    """
    adapter = str(require(adapter, "name the folder of a stage that trained with use_peft"))
    check_folder(adapter)
    if not is_adapter(adapter):
        raise InputError(
            f"{adapter} is no adapter but a whole model: there is nothing to merge, use it as it is"
        )
    base = find_base(adapter)
    if "quantization_config" in load_config(base).to_dict():
        raise InputError(
            f"{base} is quantised, and merging into rounded weights ruins an adapter: write the "
            f"16-bit model it was made from into {adapter}/{ADAPTER_CONFIG} as "
            "base_model_name_or_path"
        )
    if stored(base).dtype not in ROUNDED:
        raise InputError(
            f"{base} is stored as {stored(base).dtype}: expected one of {', '.join(ROUNDED)}"
        )
    for folder in (adapter, base):
        if output_dir.resolve().is_relative_to(Path(folder).resolve()):
            raise InputError(f"--output_dir {output_dir} lies in {folder}: name another place")
    ours = (output_dir / MANIFEST).is_file() or (output_dir / BEGUN).is_file()
    if output_dir.exists() and not ours and (output_dir.is_file() or any(output_dir.iterdir())):
        raise InputError(f"--output_dir {output_dir} exists and is no merge's: name another place")
    return adapter, base


def token_rows(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """A few conversations as the model would see them. Shape of each: (tokens,)."""
    return [
        prompt_ids(tokenizer, [Message(role="user", content=asked)])
        + tokenizer(reply, add_special_tokens=False).input_ids
        for asked, reply in CONVERSATIONS
    ]


@torch.inference_mode()
def logits(model: Model, rows: list[list[int]]) -> torch.Tensor:
    """Logits in float32, each token's centred on 0. Shape: (tokens of all rows, vocabulary)."""
    model.eval()
    parts = [model(input_ids=torch.tensor([row], device=model.device)).logits[0] for row in rows]
    together = torch.cat(parts).float().cpu()
    return together - together.mean(dim=-1, keepdim=True)


def compare(
    expected: torch.Tensor,
    *,
    untouched: torch.Tensor,
    exact: torch.Tensor,
    written: torch.Tensor,
) -> dict[str, float]:
    """How far logits lie from those of the adapter on its base, as a share of these.

    Args:
        expected: of the adapter on its base. All are of Shape: (tokens, vocabulary).
        untouched: of the base alone.
        exact: of the merged model before its weights were rounded.
        written: of the merged model as it was loaded from disk.
    """

    def apart(other: torch.Tensor) -> float:
        """The root mean square of the differences over that of what was expected."""
        return ((other - expected).square().mean() / expected.square().mean()).sqrt().item()

    return {
        "merged": apart(exact),
        "rounded": apart(written),
        "adapter_effect": apart(untouched),
        "largest_difference": (written - expected).abs().max().item(),
    }


def judge(figures: dict[str, float], dtype: str, adapter: str) -> None:
    """Say no to a merge that is not what it was made of.

    Raises:
        GateError: with the figures.
    """
    instead = f"the merge was thrown away; serve {adapter} as an adapter (its README.md says how)"
    merged, rounded, effect = figures["merged"], figures["rounded"], figures["adapter_effect"]
    # Written so that a figure that is not a number is refused too.
    if not (merged <= SAME and rounded <= ROUNDED[dtype]):
        raise GateError(
            "the merged model differs from the adapter on its base by "
            f"{merged:.1e} of the logits' spread, expected at most {SAME:.0e}, and as {dtype} on "
            f"disk by {rounded:.1e}, expected at most {ROUNDED[dtype]:.0e}: {instead}"
        )
    if rounded > LOST * effect:
        raise GateError(
            f"rounding to {dtype} changes the logits by {rounded:.1e} of their spread, and the "
            f"adapter itself by only {effect:.1e}, so the merge would lose it: {instead}"
        )


def publish(draft: Path, run: Run, adapter: str) -> None:
    """Move the files of a proven merge to where they belong, ``config.json`` last."""
    origin = Path(adapter) / MANIFEST
    trained_on = json.loads(origin.read_text(encoding="utf-8"))["inputs"] if origin.exists() else []
    for path in sorted(draft.iterdir(), key=lambda path: path.name == "config.json"):
        path.replace(run.path(path.name))
    card.write(run.folder, STAGE.name, [*run.inputs, *trained_on])
