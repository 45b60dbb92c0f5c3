"""Personal data that a supplied model finds: a detector behind the same function as the patterns.

    python -m compliance.privacy scan demonstrations.jsonl --ner_model models/names

The model is the firm's: a local folder with a token-classification model that transformers ships
(safetensors, a fast tokenizer). :data:`TYPE_OF` says which of its labels count and as what; the
others are named and not used. A text longer than the model takes is read in windows that overlap.

    find = Recogniser("models/names")
    scan(text, extra=[find])
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForTokenClassification, AutoTokenizer

from compliance.normalise import Span
from compliance.privacy.entities import TYPES, Entity
from inhouse.errors import InputError
from inhouse.models.folder import check_folder, context_length, first_line, load_config

# A place is an address where it has a number: "14 Birch Lane", and not "London".
PLACE = "ADDRESS where it has a number"
# A model's label, in capitals and without "B-", blanks and underscores, and what it counts as.
TYPE_OF = {
    **{kind.replace("_", ""): kind for kind in TYPES},
    **dict.fromkeys(("PER", "NAME", "FULLNAME", "FIRSTNAME", "GIVENNAME"), "PERSON"),
    **dict.fromkeys(("MIDDLENAME", "LASTNAME", "SURNAME", "FAMILYNAME"), "PERSON"),
    **dict.fromkeys(("STREET", "STREETADDRESS", "POSTCODE", "ZIPCODE"), "ADDRESS"),
    **dict.fromkeys(("LOC", "LOCATION", "GPE"), PLACE),
    **dict.fromkeys(("EMAILADDRESS",), "EMAIL"),
    **dict.fromkeys(("PHONENUMBER", "PHONENUM", "TELEPHONE", "TELEPHONENUM"), "PHONE"),
    **dict.fromkeys(("DATEOFBIRTH", "BIRTHDATE"), "DOB"),
    **dict.fromkeys(("CREDITCARD", "CREDITCARDNUMBER"), "CARD"),
    **dict.fromkeys(("ACCOUNTNUMBER", "ACCOUNTNUM", "BANKACCOUNT"), "ACCOUNT"),
    **dict.fromkeys(("SOCIALSECURITYNUMBER", "SOCIALNUM"), "SSN"),
    **dict.fromkeys(("PASSPORTNUMBER", "PASSPORTNUM"), "PASSPORT"),
    **dict.fromkeys(("DRIVERLICENSE", "DRIVERLICENSENUM"), "LICENCE"),
    "IPADDRESS": "IP",
    "PASSWORD": "SECRET",
}
WINDOW = 512  # tokens at most, however many the model takes: attention's cost is their square

_POSITION = re.compile(r"^[BIESLU]-")  # where in an entity a token stands: IOB and its kin
# What may stand between two words of one entity: blanks, or a single sign without any.
_GAP = re.compile(r"[ \t\u00a0]{0,2}|[^\w\s]")


class Recogniser:
    """A token-classification model, ready to look. Called with a text, it says what stands where.

    ``types`` maps each label that is used to what it counts as; ``unused`` are the others.
    """

    def __init__(self, folder: str):
        """Load a model from a local folder.

        Raises:
            InputError: no such folder, pickles, another kind of model, no fast tokenizer or
                another model's, or labels that name no personal data.
        """
        check_folder(folder)
        config = load_config(folder)
        _check_kind(config, folder)
        labels = [config.id2label[number] for number in range(config.num_labels)]
        self.types = types_of(labels, folder)
        self.unused = sorted({bare(label) for label in labels} - self.types.keys() - {"O"})
        self._kinds = ("", *dict.fromkeys(self.types.values()))  # "" is none of them
        # One 1 a row: label i counts as kind j. Shape: (labels, kinds).
        numbers = [self._kinds.index(self.types.get(bare(label), "")) for label in labels]
        self._counts_as = torch.eye(len(self._kinds))[numbers]
        self._tokenizer = _tokenizer(folder, config)
        self._model = _model(folder)
        limits = (WINDOW, self._tokenizer.model_max_length, context_length(config))
        self._window = min(limit for limit in limits if limit)
        self._overlap = (self._window - self._tokenizer.num_special_tokens_to_add()) // 4

    def __call__(self, text: str) -> list[Entity]:
        """What the model finds, as spans of the text as it was given."""
        places = words(text)
        starts = [start for start, _ in places]
        # A word's kind is that of the highest mean over its tokens; a sum has the same highest.
        sums = torch.zeros(len(places), len(self._kinds))
        for start, end, probabilities in self._tokens(text):
            at = max(0, bisect_right(starts, start) - 1)
            while at < len(places) and places[at][0] < end:
                if start < places[at][1]:
                    sums[at] += probabilities
                at += 1
        kinds = [self._kinds[number] for number in sums.argmax(dim=1).tolist()]
        return _as_addresses(text, joined(text, places, kinds))

    def _tokens(self, text: str) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Every token once: its span, and the probability of each kind. Shape: (kinds,)."""
        windows = self._tokenizer(
            text,
            truncation=True,
            max_length=self._window,
            stride=self._overlap,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        last = len(windows["input_ids"]) - 1
        for number, ids in enumerate(windows["input_ids"]):
            special = windows["special_tokens_mask"][number]
            inner = [at for at, outer in enumerate(special) if not outer]
            if not inner:  # nothing but blanks, or an empty text
                continue
            probabilities = self._probabilities(ids)
            for at in inner[judged(len(inner), self._overlap, number == 0, number == last)]:
                yield (*windows["offset_mapping"][number][at], probabilities[at])

    def _probabilities(self, ids: list[int]) -> torch.Tensor:
        """Of one window's tokens. Shape: (tokens, kinds)."""
        row = torch.tensor([ids], device=self._model.device)
        with torch.inference_mode():
            logits = self._model(input_ids=row, attention_mask=torch.ones_like(row)).logits[0]
        return logits.float().softmax(dim=-1).cpu() @ self._counts_as


def bare(label: str) -> str:
    """A label without where in an entity its token stands: ``B-PER`` is ``PER``."""
    return _POSITION.sub("", label)


def types_of(labels: Iterable[str], folder: str) -> dict[str, str]:
    """What a model's labels count as, by :data:`TYPE_OF`; those that it does not know are left out.

    Raises:
        InputError: that leaves none; names them.
    """
    names = dict.fromkeys(bare(label) for label in labels)
    squeezed = {name: re.sub(r"[\s_-]", "", name).upper() for name in names}
    found = {name: TYPE_OF[key] for name, key in squeezed.items() if key in TYPE_OF}
    if not found:
        raise InputError(
            f"no label of {folder} names personal data: {', '.join(names)}; expected some like "
            "PER, PERSON or ADDRESS: write what they stand for into config.json as id2label"
        )
    return found


def judged(count: int, overlap: int, first: bool, last: bool) -> slice:
    """Which of a window's tokens are judged in it: those that no other window shows more around.

    Of the tokens that two windows share, the former judges the first half, the latter the rest.
    """
    before = 0 if first else overlap // 2
    after = 0 if last else overlap - overlap // 2
    return slice(before, count - after)


def words(text: str) -> list[Span]:
    """Runs of letters, digits, their accents and what shows nothing; wide characters singly."""
    found: list[Span] = []
    anew = True
    for at, character in enumerate(text):
        if character.isspace() or unicodedata.category(character)[0] not in "LMNC":
            anew = True
            continue
        wide = unicodedata.east_asian_width(character) == "W"  # no blanks between such words
        if wide or anew:
            found.append((at, at + 1))
        else:
            found[-1] = (found[-1][0], at + 1)
        anew = wide
    return found


def joined(text: str, places: Sequence[Span], kinds: Sequence[str]) -> list[Entity]:
    """One entity for neighbouring words of one kind; words of kind "" are none."""
    found: list[Entity] = []
    for (start, end), kind in zip(places, kinds, strict=True):
        if not kind:
            continue
        before = found[-1] if found else None
        if before and before.type == kind and _GAP.fullmatch(text[before.end : start]):
            found[-1] = Entity(before.start, end, kind)
        else:
            found.append(Entity(start, end, kind))
    return found


def _as_addresses(text: str, found: Iterable[Entity]) -> list[Entity]:
    """Places that have a number are addresses; others are nobody's personal data."""
    kept = []
    for entity in found:
        if entity.type != PLACE:
            kept.append(entity)
        elif any(character.isdigit() for character in text[entity.start : entity.end]):
            kept.append(Entity(entity.start, entity.end, "ADDRESS"))
    return kept


# --- loading --------------------------------------------------------------------------------------


def _check_kind(config: Any, folder: str) -> None:
    names = config.architectures or ["nothing"]
    if not any(name.endswith("ForTokenClassification") for name in names):
        raise InputError(
            f"{folder} holds no model that labels words: its config.json says {', '.join(names)}, "
            "expected an architecture …ForTokenClassification"
        )


def _tokenizer(folder: str, config: Any) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, truncation_side="right")
    except (OSError, ValueError) as error:
        raise InputError(f"no tokenizer in {folder}: {first_line(error)}") from None
    if not tokenizer.is_fast:
        raise InputError(
            f"the tokenizer in {folder} does not say where its tokens stand: add a tokenizer.json"
        )
    files = ("tokenizer.json", *tokenizer.vocab_files_names.values())
    if not any((Path(folder) / name).is_file() for name in files):
        # transformers makes one that knows no word, and says nothing
        raise InputError(f"no tokenizer in {folder}: expected tokenizer.json")
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens and the model "
            f"{config.vocab_size}: they are not of one model, save both again"
        )
    return tokenizer


def _model(folder: str) -> Any:
    try:
        model, found = AutoModelForTokenClassification.from_pretrained(
            folder, dtype="float32", use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"cannot load a model from {folder}: {first_line(error)}") from None
    if found["missing_keys"]:  # transformers fills them with noise, and only warns
        missing = ", ".join(sorted(found["missing_keys"])[:3])
        raise InputError(f"the weights in {folder} lack {missing}: save it again")
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
