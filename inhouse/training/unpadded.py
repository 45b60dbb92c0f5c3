"""Batches without their padding: rows laid end to end, the head on what is scored only.

TRL pads each row of a batch to the longest one, runs the prompt of a pair twice and, on a CPU,
projects every position onto the vocabulary, prompts and padding too. Here the same batch is laid
out anew just before the model runs:

    prompt 1 | chosen 1 | rejected 1 | prompt 3 | chosen 3 | rejected 3
    prompt 2 | chosen 2 | rejected 2 | padding

with each token's own position and a mask that shows it what it saw before and nothing else. What
the head makes of it is put back where TRL expects it, so that its losses and figures are its own,
and equal up to rounding.

The seam to TRL is in :mod:`inhouse.training.head`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from inhouse.chat import common_prefix
from inhouse.training.head import Given, arranged, below_adapters

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from inhouse.models.load import Model

# A stretch of a batch's row: its number, where it starts, and where the next one does.
Piece = tuple[int, int, int]
# What is seen together: its first piece by all of its others, these not by one another.
Item = Sequence[Piece]
# From attention mask and labels, Shape: (rows, tokens) both, to items that hold every scored token
# and the one before it exactly once.
ItemsOf = Callable[[torch.Tensor, torch.Tensor], Sequence[Item]]

# Largest difference of two logits that rounding explains, as a share of the largest logit.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
MASKED_BACK_ENDS = ("sdpa", "eager")  # take a mask of one's own, Shape: (rows, 1, tokens, tokens)


@dataclass(frozen=True)
class Layout:
    """A batch laid out anew.

    ``source``: which of the old batch's tokens stands where. Shape: (lines, width)
    ``position_ids``: how many tokens stand before it in its own row. Shape: (lines, width)
    ``sees``: True where a token (third dimension) sees another. Shape: (lines, 1, width, width)
    ``scored``: where the tokens stand whose next one is scored, in the old batch's order; old and
    new places counted along the rows, one row after the other. Shape: (scored tokens,)
    """

    source: torch.Tensor
    position_ids: torch.Tensor
    sees: torch.Tensor
    scored: torch.Tensor


def lay_out(labels: torch.Tensor, items: Sequence[Item]) -> Layout:
    """Lay a batch out in as few lines as hold its items, each as long as the longest item.

    Args:
        labels: -100 where nothing is scored. Shape: (rows, tokens)
    """
    tokens = labels.shape[1]
    lengths = [sum(stop - start for _, start, stop in item) for item in items]
    lines = fill(lengths)
    shape = len(lines), max(lengths)
    source, position_ids, piece_of = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
    item_of = torch.full(shape, -1)  # -1 is padding: it sees itself, so that no softmax is empty
    for line, held in enumerate(lines):
        at = 0
        for name in held:
            for number, (of, start, stop) in enumerate(items[name]):
                here = (line, slice(at, at + stop - start))
                source[here] = torch.arange(of * tokens + start, of * tokens + stop)
                position_ids[here] = torch.arange(start, stop) - items[name][0][1]
                item_of[here], piece_of[here] = name, number
                at += stop - start
    place = torch.zeros(labels.numel(), dtype=torch.long)
    laid = (item_of >= 0).flatten().nonzero().squeeze(1)
    place[source.flatten()[laid]] = laid
    row, token = (labels[:, 1:] != -100).nonzero(as_tuple=True)

    def pairwise(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return values[:, None, :, None], values[:, None, None, :]

    (item, other_item), (piece, other_piece) = pairwise(item_of), pairwise(piece_of)
    before = torch.ones(shape[1], shape[1]).tril().bool()
    sees = before & (item == other_item) & ((other_piece == 0) | (other_piece == piece))
    return Layout(source, position_ids, sees, place[row * tokens + token])


def each_row(attention_mask: torch.Tensor, _labels: torch.Tensor) -> list[Item]:
    """The items of a batch of rows that have nothing to do with one another."""
    starts = attention_mask.int().argmax(dim=1).tolist()
    lengths = attention_mask.sum(dim=1).tolist()
    return [
        [(row, start, start + length)]
        for row, (start, length) in enumerate(zip(starts, lengths, strict=True))
    ]


def pairs_by_labels(attention_mask: torch.Tensor, labels: torch.Tensor) -> list[Item]:
    """The items of TRL's batch of pairs: chosen answers in its first half, rejected in its second.

    What stands before the first scored token is the prompt, which both answers share. Its last
    token is asked for the first one of either answer, and a place for one next token only: each
    answer has a copy of its own.
    """
    lengths = attention_mask.sum(dim=1).tolist()
    answers = (labels != -100).int().argmax(dim=1).tolist()
    half = len(lengths) // 2
    return [
        _pair(row, row + half, max(answers[row] - 1, 0), lengths[row], lengths[row + half])
        for row in range(half)
    ]


def pairs_by_prefix(attention_mask: torch.Tensor, input_ids: torch.Tensor) -> list[Item]:
    """The same where all tokens are read and only each row's last one is scored.

    What two rows begin with is shared. A row's last token is its own, even where it stands in the
    other row too.
    """
    masked = zip(input_ids.tolist(), attention_mask.tolist(), strict=True)
    rows = [ids[: sum(mask)] for ids, mask in masked]
    half = len(rows) // 2
    items = []
    for number, (chosen, rejected) in enumerate(zip(rows[:half], rows[half:], strict=True)):
        shared = min(common_prefix(chosen, rejected), len(chosen) - 1, len(rejected) - 1)
        items.append(_pair(number, number + half, shared, len(chosen), len(rejected)))
    return items


def _pair(chosen: int, rejected: int, shared: int, chosen_end: int, rejected_end: int) -> Item:
    return [(chosen, 0, shared), (chosen, shared, chosen_end), (rejected, shared, rejected_end)]


def fill(lengths: Sequence[int], width: int = 0) -> list[list[int]]:
    """Items by line: the longest first, each into the line with the least room that holds it.

    Args:
        width: tokens a line holds; by default as many as the longest item has.
    """
    width = width or max(lengths)
    room: list[int] = []
    lines: list[list[int]] = []
    for item in sorted(range(len(lengths)), key=lambda item: -lengths[item]):
        fitting = [line for line, left in enumerate(room) if left >= lengths[item]]
        if fitting:
            line = min(fitting, key=room.__getitem__)
        else:
            line = len(lines)
            lines.append([])
            room.append(width)
        lines[line].append(item)
        room[line] -= lengths[item]
    return lines


def model_inputs(
    model: Model, input_ids: torch.Tensor, layout: Layout
) -> dict[str, torch.Tensor | bool]:
    """What the model is given for a layout of a batch."""
    device, sees = input_ids.device, layout.sees.to(input_ids.device)
    if model.config._attn_implementation == "eager":  # it adds its mask to the scores
        lowest = torch.finfo(model.dtype).min
        sees = torch.zeros(sees.shape, dtype=model.dtype, device=device).masked_fill(~sees, lowest)
    return {
        "input_ids": input_ids.flatten()[layout.source.to(device)],
        "position_ids": layout.position_ids.to(device),
        "attention_mask": sees,
        "use_cache": False,
    }


def put_back(numbers: torch.Tensor, layout: Layout, labels: torch.Tensor) -> torch.Tensor:
    """What stands where a next token is scored, in the old batch's shape; 0 elsewhere.

    Args:
        numbers: one for each token of the layout. Shape: (lines, width)
        labels: -100 where nothing is scored. Shape: (rows, tokens)

    Returns:
        Shape: (rows, tokens - 1)
    """
    mask = labels[:, 1:] != -100
    scored = numbers.flatten()[layout.scored.to(numbers.device)]
    return numbers.new_zeros(mask.shape).masked_scatter(mask, scored)


@contextmanager
def unpadded(model: Any, items_of: ItemsOf) -> Iterator[None]:
    """While it lasts, TRL's fused head of a causal model runs over batches without padding."""
    causal = below_adapters(model)

    def laid_out(given: Given, labels: torch.Tensor) -> tuple[Given, torch.Tensor]:
        input_ids, attention_mask = given["input_ids"], given["attention_mask"]
        layout = lay_out(labels.cpu(), items_of(attention_mask, labels))
        return given | model_inputs(causal, input_ids, layout), layout.scored.to(labels.device)

    with arranged(causal, laid_out):
        yield


# --- where it holds ---------------------------------------------------------------------------


def why_not(
    model: Model,
    training: TrainingArguments,
    longest: int,
    batch: dict[str, Any],
    items: Sequence[Item],
) -> str:
    """What keeps a causal model from running batches laid out anew; empty where it can.

    Args:
        longest: tokens of the longest row.
        batch: ``input_ids``, ``attention_mask`` and ``labels``. Shape: (rows, tokens) each
        items: of that batch.
    """
    causal = below_adapters(model)
    return refusal(
        causal, training, longest, "logits", lambda: largest_difference(causal, batch, items)
    )


def refusal(
    model: Model, training: TrainingArguments, longest: int, what: str, apart: Callable[[], float]
) -> str:
    """What keeps a model from running rows laid end to end, or fails when that is tried.

    Whether positions and mask are heeded is tried on the model itself, on a small batch.

    Args:
        what: results are compared: "logits".
        apart: lays a small batch out anew and tells how far the results are from those of the
            padded one, as a share of the largest.
    """
    attention, known = model.config._attn_implementation, model.config.get_text_config().to_dict()
    window = known.get("sliding_window") or known.get("attention_chunk_size")
    name = type(model).__name__
    if attention not in MASKED_BACK_ENDS:
        return f"attention {attention} takes no mask of one's own"
    if window and longest > window:
        return f"{name} attends to {window} tokens only, and the longest row has {longest}"
    if "output_router_logits" in known:
        return f"the experts of {name} are balanced over padded batches"
    if training.torch_compile:
        return "torch_compile is set"
    try:
        found = apart()
    except Exception as error:  # a foreign model that was never meant to be asked like this
        return f"{name} does not run so ({type(error).__name__}: {error})"
    if not found <= TOLERANCE[model.dtype]:
        return f"{name} answers otherwise so ({what} differ by {found:.2g} of the largest)"
    return ""


def largest_difference(model: Model, batch: dict[str, Any], items: Sequence[Item]) -> float:
    """How far scored logits are from those of the padded batch, as a share of the largest."""
    batch = {name: values.to(model.device) for name, values in batch.items()}
    labels = batch.pop("labels")
    layout = lay_out(labels.cpu(), items)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            padded = model(**batch, use_cache=False).logits[:, :-1][labels[:, 1:] != -100]
            dense = model(**model_inputs(model, batch["input_ids"], layout)).logits
    finally:
        model.train(was_training)
    dense = dense.flatten(0, 1)[layout.scored.to(dense.device)]
    return ((dense - padded).abs().max() / padded.abs().max()).item()
