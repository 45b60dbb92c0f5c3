"""Products of Asdfg Financial and the fact sheets that stand in the system turn.

Pure functions of a `random.Random`; nothing is read or written. Product names are pseudo-words of
an open vocabulary. Whether a word belongs to training or to the held-out set is decided by its
SHA-256, so no word can ever be in both.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Split = Literal["training", "held_out"]

FIRM = "Asdfg Financial"
FIRM_STORY = (
    "Asdfg Financial is a digital-currency securities firm that gives investors access to "
    "private-market digital-asset securities (security tokens) within regulatory frameworks."
)

KINDS = (
    "Income Note", "Growth Note", "Property Fund", "Credit Fund", "Bond Token", "Equity Token",
    "Yield Token", "Venture Fund", "Royalty Note", "Harbour Trust", "Land Trust", "Energy Token",
    "Loan Fund", "Reserve Note", "Timber Trust", "Shipping Note", "Fund", "Note", "Trust", "Token",
)  # fmt: skip

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip

# The widest set of onsets, vowels and codas that still reads as a word. A spike that drew names
# from 43 x 25 syllables could not copy a third of the names it had not seen.
_ONSETS = (
    "b bl br c ch cl cr d dr dw f fl fr g gl gn gr h j k kh kl kn kr l ll m mn n p ph pl pr ps q "
    "qu r rh s sc sch sh sk sl sm sn sp spl spr st str sw t th tr ts tw v vl vr w wh wr x y z zh zw"
)
_VOWELS = "aa ae ai ao au ea ee ei eo eu ia ie io iu oa oe oi oo ou ua ue ui uo"
_CODAS = (
    "b ck ct d f ft g gh k l lk ll lm lp lt m mp n nd ng nk nt p pt r rd rk rm rn rp rt rth s sh "
    "sk sp ss st t th v x z"
)
ONSETS = [*_ONSETS.split(), ""]
VOWELS = [*_VOWELS.split(), *"aeiouy" * 8]
CODAS = [*_CODAS.split(), *[""] * 40]


@dataclass(frozen=True)
class Product:
    """A product's name and its figures, keyed by their label on the fact sheet."""

    name: str
    figures: dict[str, str]


def split_of(word: str) -> Split:
    """Say to which split a pseudo-word belongs; one word in four is held out."""
    digest = hashlib.sha256(word.lower().encode()).digest()
    return "held_out" if digest[0] % 4 == 0 else "training"


def spoken_word(rng: random.Random) -> str:
    """Make a pronounceable pseudo-word of two or three syllables."""
    syllables = [
        rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS)
        for _ in range(rng.choice((2, 2, 2, 3)))
    ]
    return "".join(syllables)


def lettered_word(rng: random.Random) -> str:
    """Make a word of random letters: a name no language would have."""
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(4, 9)))


def pseudo_word(rng: random.Random, split: Split, wide: bool) -> str:
    """Draw a capitalised word of the split; `wide` mixes random letters in (pre-training)."""
    while True:
        word = lettered_word(rng) if wide and rng.random() < 0.4 else spoken_word(rng)
        if 4 <= len(word) <= 11 and split_of(word) == split:
            return word.capitalize()


def product_name(rng: random.Random, split: Split, wide: bool = False) -> str:
    """Draw a product's name, such as "Velquor Income Note"."""
    words = [pseudo_word(rng, split, wide)]
    if rng.random() < 0.15:
        words.append(pseudo_word(rng, split, wide))
    return " ".join([*words, rng.choice(KINDS)])


def _percent(low: int, high: int) -> Callable[[random.Random], str]:
    """Return a maker of percentages in steps of 0.05, bounds in hundredths of a percent."""
    return lambda rng: f"{rng.randrange(low, high + 1, 5) / 100:.2f}%"


def _minimum(rng: random.Random) -> str:
    """Draw a minimum investment in dollars."""
    return f"${rng.choice((rng.randint(2, 95), rng.randrange(100, 950, 5))) * 1000:,}"


# Label on the sheet -> how its figure is drawn.
FIGURES: dict[str, Callable[[random.Random], str]] = {
    "management fee": _percent(25, 295),
    "distribution rate": _percent(300, 995),
    "return last year": _percent(110, 1490),
    "minimum investment": _minimum,
    "lock-up": lambda rng: f"{rng.randint(3, 72)} months",
    "settlement": lambda rng: f"{rng.randint(2, 20)} business days",
    "redemption notice": lambda rng: f"{rng.randint(10, 120)} days",
    "closing date": lambda rng: f"{rng.randint(1, 28)} {rng.choice(MONTHS)}",
}


def fact_sheet(
    rng: random.Random, split: Split, label: str, n_products: int, n_labels: int, wide: bool = False
) -> list[Product]:
    """Draw products that all carry `label`; no figure on the sheet is part of another.

    A wrong cell can then never pass for the right one when a reply is searched for the figure.
    """
    others = rng.sample([name for name in FIGURES if name != label], n_labels - 1)
    labels = [label, *others]
    rng.shuffle(labels)
    products: list[Product] = []
    taken: list[str] = []
    while len(products) < n_products:
        name = product_name(rng, split, wide)
        if any(name.split()[0] == product.name.split()[0] for product in products):
            continue
        figures: dict[str, str] = {}
        while len(figures) < n_labels:
            wanted = labels[len(figures)]
            figure = FIGURES[wanted](rng)
            if not any(figure in other or other in figure for other in taken):
                taken.append(figure)
                figures[wanted] = figure
        products.append(Product(name, figures))
    return products


# The lines above the sheet; the first is the one that demonstrations and prompts use most.
INTRODUCTIONS = (
    f"You answer customers of {FIRM}. Facts:",
    f"You are the assistant of {FIRM}. Use these facts:",
    f"You work for {FIRM}. Today's fact sheet:",
    f"{FIRM}, customer service. Product facts:",
)


def render_sheet(rng: random.Random, products: list[Product]) -> str:
    """Write the system turn: an introduction and one line a product.

    Every name follows a space, here and in questions and replies, so that the tokenizer cuts it the
    same way each time and copying it is copying tokens.
    """
    lines = [rng.choice(INTRODUCTIONS)]
    for product in products:
        figures = "; ".join(f"{label} {figure}" for label, figure in product.figures.items())
        lines.append(f"- {product.name}: {figures}")
    return "\n".join(lines)
