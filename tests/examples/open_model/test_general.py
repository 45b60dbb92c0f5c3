"""What the open model writes about: what is measured on is not what is trained with."""

import random
from collections import Counter

from examples.open_model.general import MEASURED, RETAINED, SUBJECTS, draw

SAY_NOTHING = {"about", "from", "good", "make", "paragraph", "what", "work", "write"}


def meaning(texts: list[str]) -> set[str]:
    """The words of four letters and more, without their endings, that say what a text is about."""
    words = {word.strip(".,'").removesuffix("s") for text in texts for word in text.lower().split()}
    return {word for word in words if len(word) > 3} - SAY_NOTHING


def test_nothing_is_measured_on_that_training_has_read():
    assert len(set(MEASURED)) == len(MEASURED) > 30 and len(set(RETAINED)) == len(RETAINED) > 90
    assert meaning(MEASURED) & meaning([*RETAINED, *SUBJECTS["asked"]]) == set()


def test_subjects_are_drawn_evenly_and_by_the_seed():
    drawn = draw(random.Random(1), 2 * len(RETAINED))
    assert drawn == draw(random.Random(1), 2 * len(RETAINED)) != draw(random.Random(2), 200)
    asked = [ask.split("{}")[0] for ask in SUBJECTS["asked"]]
    assert all(any(each.startswith(ask) for ask in asked) for each in drawn)
    counts = Counter(ask for each in drawn for ask in asked if each.startswith(ask))
    assert min(counts.values()) > 10
