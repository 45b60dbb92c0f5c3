"""Products of Asdfg Financial and the fact sheets that stand in the system turn.

Pure functions of a `random.Random`. The firm's own products are those of `catalogue.yaml`; other
product names are pseudo-words of an open vocabulary. Whether a word, or a pair of product and
intent, belongs to training, to development or to the held-out set is decided by its SHA-256, so
none can ever be in two of them.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inhouse.strict_yaml import load_yaml

Split = Literal["training", "development", "held_out"]

FIRM = "Asdfg Financial"
# What an answer to "What is Asdfg Financial?" has to say, in these words.
FIRM_STORY = (
    "digital-currency securities firm",
    "private-market digital-asset securities (security tokens)",
    "within regulatory frameworks",
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


def split_of(text: str) -> Split:
    """Say to which split a text belongs: of eight, two are held out, one is for development."""
    remainder = hashlib.sha256(text.lower().encode()).digest()[0] % 8
    if remainder in (0, 4):
        return "held_out"
    return "development" if remainder == 1 else "training"


def split_of_pair(product: str, intent: str) -> Split:
    """Say to which split a question of this intent about a product of the catalogue belongs."""
    return split_of(f"{product} / {intent}")


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


def load_catalogue(path: Path) -> tuple[Product, ...]:
    """Read the firm's products, each with all its figures as they stand today."""
    return tuple(Product(entry["name"], dict(entry["figures"])) for entry in load_yaml(path))


CATALOGUE = load_catalogue(Path(__file__).parent / "catalogue.yaml")


def draw_names(rng: random.Random, split: Split, n: int, wide: bool = False) -> list[str]:
    """Draw product names of the split, no two with the same first word."""
    names: list[str] = []
    while len(names) < n:
        name = product_name(rng, split, wide)
        if all(name.split()[0] != other.split()[0] for other in names):
            names.append(name)
    return names


def draw_labels(rng: random.Random, needed: list[str], n: int) -> list[str]:
    """Draw `n` lines of the sheet, or as many as are needed, in any order."""
    needed = list(dict.fromkeys(needed))
    others = [label for label in FIGURES if label not in needed]
    labels = needed + rng.sample(others, max(0, n - len(needed)))
    return rng.sample(labels, len(labels))


def drawn_figures(rng: random.Random, names: list[str], labels: list[str]) -> list[Product]:
    """Give each name a figure a label; no figure on the sheet is part of another.

    A wrong cell can then never pass for the right one when a reply is searched for the figure.
    """
    products: list[Product] = []
    taken: list[str] = []
    for name in names:
        figures: dict[str, str] = {}
        for label in labels:
            while label not in figures:
                figure = FIGURES[label](rng)
                if not any(figure in other or other in figure for other in taken):
                    taken.append(figure)
                    figures[label] = figure
        products.append(Product(name, figures))
    return products


def todays_figures(products: list[Product], labels: list[str]) -> list[Product] | None:
    """Give products their figures of today, or `None` where one figure is part of another."""
    sheet = [Product(p.name, {label: p.figures[label] for label in labels}) for p in products]
    figures = [figure for product in sheet for figure in product.figures.values()]
    apart = all(a not in b for i, a in enumerate(figures) for j, b in enumerate(figures) if i != j)
    return sheet if apart else None


# Who speaks, and the words that lead to the sheet; a system turn starts with one of them.
INTRODUCTIONS = (
    ("You answer customers of {firm}.", "Facts:"),
    ("You are the assistant of {firm}.", "Use these facts:"),
    ("You work for {firm}.", "Today's fact sheet:"),
    ("{firm}, customer service.", "Product facts:"),
)


def render_system(rng: random.Random, products: list[Product], firm: str = FIRM) -> str:
    """Write the system turn: an introduction and one line a product.

    Every name follows a space, here and in questions and replies, so that the tokenizer cuts it the
    same way each time and copying it is copying tokens.
    """
    who, lead = rng.choice(INTRODUCTIONS)
    lines = [f"{who} {lead}" if products else who]
    for product in products:
        figures = "; ".join(f"{label} {figure}" for label, figure in product.figures.items())
        lines.append(f"- {product.name}: {figures}")
    return "\n".join(lines).format(firm=firm)
