"""How much of its training data a run gives away: members, secrets, and canaries where it has some.

    python -m review.memorisation --run_dir runs/x
    python -m review.memorisation --run_dir runs/x --canaries runs/x-audit/data/canaries.jsonl

The demonstrations that SFT trained on and those that it held out are one random split, so that a
model which tells them apart remembers. A twin, which was trained on canaries as well
(`review/memorisation/canaries.py`), is also measured by its exposure and by what it proves of ε.
With ``--canaries`` a run that was trained without them is asked for a twin's: it must know none.

Records in: those that SFT read, by its manifest. Out, in ``runs/<name>/memorisation/``:
``summary.json``, whose ``measures`` have ``value``, ``low``, ``high``, ``n`` and ``band`` each, and
whose ``band`` is the run's; ``extracted.jsonl``, the secrets that came out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inhouse import run as runs
from inhouse.config import Stage, parse, setting
from inhouse.errors import InputError
from inhouse.files import read_utf8, write_atomically, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from inhouse.models.load import Model
    from review.memorisation.extraction import Asked, Said
    from review.memorisation.members import Member, Trained
    from review.memorisation.secrets import Canary

STAGE = Stage(
    "memorisation",
    "python -m review.memorisation",
    "how much of its training data a model gives away",
    held_out=True,
)
CANARIES = "canaries.jsonl"


@dataclass
class MemorisationOptions:
    """Which model is audited, by which canaries, and how much it is asked."""

    model: str = setting("sft", "The stage whose model is audited: sft, dpo, kto, ppo or rloo.")
    canaries: str | None = setting(
        None, "The canaries of a twin; else canaries.jsonl beside the data that SFT read."
    )
    members: int = setting(2000, "Records a side that are scored, at most, drawn at random.")
    records: int = setting(300, "Records that are asked for a sentence of theirs, at most.")
    samples: int = setting(10, "Times each is asked at temperature 1, beside once greedily.")
    seed: int = setting(0, "Seed of what is drawn and sampled.")
    batch_size: int = setting(32, "Passages sampled together.")

    def __post_init__(self) -> None:
        for name in ("members", "records", "samples", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give 1 or more")


def main() -> None:
    """Config, run, members, canaries, models, measures, bands, finish."""
    parsed = parse(STAGE, MemorisationOptions)
    options, own = parsed

    from review.memorisation import members as split
    from review.memorisation import table

    campaign = Path(options.run_dir)
    trained = split.of_run(campaign)
    audited = runs.require(
        campaign / own.model / runs.MANIFEST, f"name a stage of {campaign} that is done"
    ).parent
    beside = trained.source.parent / CANARIES
    named = Path(own.canaries) if own.canaries else beside if beside.is_file() else None
    inputs: dict[str, str | Path] = {
        "model": audited,
        "base": trained.base,
        "dataset_name": trained.source,
        **({"canaries": named} if named else {}),
    }
    try:
        run = runs.open_run(STAGE, options, parsed.settings, inputs)
    except runs.UpToDate:
        folder = campaign / STAGE.name
        table.show(json.loads(read_utf8(folder / "summary.json")))
        raise

    from inhouse.models.load import load_tokenizer
    from review.memorisation import measure

    tokenizer = load_tokenizer(str(audited))
    whole = split.split(trained, tokenizer)
    canaries, inserted = find_canaries(named, trained, whole) if named else ([], False)
    known = {canary.key for canary in canaries}
    sides = without(whole[0], known), without(whole[1], known)
    members, held_out = (split.some(side, own.members, own.seed) for side in sides)
    asked = passages(tokenizer, audited, sides, own)
    secrets = code_words(tokenizer, canaries)
    print(table.plan(sides, members, held_out, asked, canaries, inserted))
    if options.dry_run:
        return

    run.start()
    models = measure.Models(load(audited), load(trained.base), tokenizer)
    measures = measure.membership(models, members, held_out)
    if canaries:
        measures |= measure.canaries_found(models, canaries, secrets)
    # Of canaries that were trained on those that were; of others all: it knows none of them.
    used = [s for s, c in zip(secrets, canaries, strict=True) if c.inserted or not inserted]
    said = measure.beyond_base(models, [*used, *asked], own.samples, own.seed, own.batch_size)
    measures["verbatim_extraction"] = measure.share_said(said)
    if canaries:
        repeated = {canary.id: canary.repetitions for canary in canaries}
        measures |= measure.by_repetitions(used, said[: len(used)], repeated, inserted)
    own_words = sum(each.passage.own for each in asked)
    summary = table.summarise(measures, own.model, sides, own_words, canaries, inserted)
    write_json(run.path("summary.json"), summary)
    write_atomically(run.path("extracted.jsonl"), extracted([*used, *asked], said))
    table.show(summary)
    run.finish(
        config=(options, own),
        seed=own.seed,
        metrics={"band": summary["band"]},
        next_command=f"read {run.path('summary.json')}",
    )


def passages(
    tokenizer: PreTrainedTokenizerBase,
    audited: Path,
    sides: tuple[list[Member], list[Member]],
    own: MemorisationOptions,
) -> list[Asked]:
    """What records that were trained on are asked for, where the model has room for it."""
    from inhouse.models.folder import context_length, find_base, load_config
    from review.memorisation import extraction
    from review.memorisation.members import some

    records = [member.record for side in sides for member in side]
    chosen = some(sides[0], own.records, own.seed)
    placed = [extraction.place(tokenizer, p) for p in extraction.of_records(chosen, records)]
    context = context_length(load_config(find_base(str(audited))))
    return [each for each in placed if each and extraction.fits(each, context)]


def load(folder: str | Path) -> Model:
    """A model to ask, on the GPU where there is one."""
    import torch

    from inhouse.models.load import load_causal_lm

    model = load_causal_lm(str(folder))
    return model.to("cuda") if torch.cuda.is_available() else model


def find_canaries(
    path: Path, trained: Trained, sides: tuple[list[Member], list[Member]]
) -> tuple[list[Canary], bool]:
    """A twin's canaries, and whether this run was trained on them.

    Raises:
        InputError: they belong to other data, or some of them were not trained on.
    """
    from inhouse.records import Demonstration, read
    from review.memorisation.secrets import Canary, key_of, trained_on

    canaries = read(path, Canary)
    data = [key_of(record.messages) for record in read(trained.source, Demonstration)]
    if trained_on(canaries, data):
        learned = [key_of(member.record.messages) for member in sides[0]]
        if not trained_on(canaries, learned):
            raise InputError(
                f"none of the canaries in {path} was trained on: they were all left out or held "
                "out; train the twin with the audited run's settings"
            )
        return canaries, True
    twins = path.with_name("demonstrations.jsonl")
    known = {canary.key for canary in canaries}
    others = [key_of(record.messages) for record in read(twins, Demonstration)]
    if sorted(key for key in others if key not in known) != sorted(data):
        raise InputError(
            f"the canaries in {path} do not belong to this run: it was trained on "
            f"{trained.source}, which has none of them and is not the data that they were put "
            "among; name its own twin's with --canaries"
        )
    return canaries, False


def without(side: list[Member], known: set[str]) -> list[Member]:
    """The records that are no canaries."""
    from review.memorisation.secrets import key_of

    return [member for member in side if key_of(member.record.messages) not in known]


def code_words(tokenizer: PreTrainedTokenizerBase, canaries: list[Canary]) -> list[Asked]:
    """Every canary's code word among its tokens.

    Raises:
        InputError: the template does not write it as it stands.
    """
    from review.memorisation import extraction

    placed = [extraction.place(tokenizer, extraction.of_canary(canary)) for canary in canaries]
    lost = [c.id for each, c in zip(placed, canaries, strict=True) if each is None]
    if lost:
        raise InputError(
            f"the chat template does not write the code words of {len(lost)} canaries as they "
            f"stand ({', '.join(lost[:3])} …), so that nobody could look for them"
        )
    return [each for each in placed if each is not None]


def extracted(asked: list[Asked], said: list[Said]) -> str:
    """The secrets that came out, one JSON object a line: where it stands, and what was said."""
    lines = [
        json.dumps({"place": each.passage.name, "text": each.text}, ensure_ascii=False)
        for each, found in zip(asked, said, strict=True)
        if found.verbatim
    ]
    return "".join(f"{line}\n" for line in lines)
