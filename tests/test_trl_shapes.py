"""Each of TRL's published data shapes, at each command: read, or refused with the way to go.

https://huggingface.co/docs/trl/v1.16.0/dataset_formats
"""

import pytest

from inhouse.errors import InputError
from inhouse.records import Demonstration, read
from rlhf.offline.data import read_pairs, read_verdicts

ASKED = {"role": "user", "content": "What color is the sky?"}
BLUE = {"role": "assistant", "content": "It is blue."}
GREEN = {"role": "assistant", "content": "It is green."}
SHAPES = {
    "language modeling": {"text": "The sky is blue."},
    "language modeling, messages": {"messages": [ASKED, BLUE]},
    "prompt only": {"prompt": "The sky is"},
    "prompt only, messages": {"prompt": [ASKED]},
    "completion": {"prompt": "The sky is", "completion": " blue."},
    "completion, messages": {"prompt": [ASKED], "completion": [BLUE]},
    "preference": {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
    "preference, messages": {"prompt": [ASKED], "chosen": [BLUE], "rejected": [GREEN]},
    "implicit": {"chosen": "The sky is blue.", "rejected": "The sky is green."},
    "implicit, messages": {"chosen": [ASKED, BLUE], "rejected": [ASKED, GREEN]},
    "unpaired": {"prompt": "The sky is", "completion": " blue.", "label": True},
    "unpaired, messages": {"prompt": [ASKED], "completion": [BLUE], "label": True},
    "stepwise": {"prompt": "9.11 > 9.9?", "completions": ["0.11 < 0.9."], "labels": [True]},
}
DEMONSTRATION, PREFERENCE = "`python -m sft` reads", "`python -m rlhf.dpo` reads"
VERDICT, NO_ANSWER = "`python -m rlhf.kto` reads", "a prompt without an answer"
NO_TURNS, NO_STAGE = "write it as messages, or prompt and completion", "no stage reads"
NO_PROMPT = "add prompt, or write chosen and rejected as messages"

# By shape: what SFT, DPO and KTO do with it. None: it is read.
EXPECTED = {
    "language modeling": (NO_TURNS, NO_TURNS, NO_TURNS),
    "language modeling, messages": (None, DEMONSTRATION, DEMONSTRATION),
    "prompt only": (NO_ANSWER, NO_ANSWER, NO_ANSWER),
    "prompt only, messages": (NO_ANSWER, NO_ANSWER, NO_ANSWER),
    "completion": (None, DEMONSTRATION, DEMONSTRATION),
    "completion, messages": (None, DEMONSTRATION, DEMONSTRATION),
    "preference": (PREFERENCE, None, None),
    "preference, messages": (PREFERENCE, None, None),
    "implicit": (PREFERENCE, NO_PROMPT, NO_PROMPT),
    "implicit, messages": (PREFERENCE, None, None),
    "unpaired": (None, VERDICT, None),  # a liked answer is one to learn from
    "unpaired, messages": (None, VERDICT, None),
    "stepwise": (NO_STAGE, NO_STAGE, NO_STAGE),
}
READERS = {
    "sft": lambda source: read(source, Demonstration),
    "dpo": read_pairs,
    "kto": read_verdicts,
}
CASES = [
    (shape, command, says)
    for shape, expected in EXPECTED.items()
    for command, says in zip(READERS, expected, strict=True)
]


@pytest.mark.parametrize(("shape", "command", "says"), CASES)
def test_a_shape_is_read_or_refused_with_the_way_to_go(write_lines, tmp_path, shape, command, says):
    path = write_lines(tmp_path / "d.jsonl", [SHAPES[shape]])
    if says is None:
        assert READERS[command](str(path))
        return
    with pytest.raises(InputError) as refused:
        READERS[command](str(path))
    assert f"{path}, line 1: " in str(refused.value) and says in str(refused.value)


def test_every_shape_has_an_expectation():
    assert SHAPES.keys() == EXPECTED.keys()


@pytest.mark.parametrize("key", ["tools", "images", "chat_template_kwargs"])
@pytest.mark.parametrize("command", READERS)
def test_what_would_not_be_rendered_is_not_ignored(write_lines, tmp_path, command, key):
    row = SHAPES["preference, messages" if command != "sft" else "language modeling, messages"]
    path = write_lines(tmp_path / "d.jsonl", [row | {key: []}, row | {key: [{"name": "x"}]}])
    with pytest.raises(InputError, match=f"line 2: holds '{key}', which is not rendered"):
        READERS[command](str(path))
