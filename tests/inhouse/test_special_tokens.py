"""What a chat template, special tokens and embeddings owe one another, family by family."""

import re

import pytest
from transformers import GenerationConfig, LlamaConfig

from inhouse import chat, special_tokens
from inhouse.errors import InputError
from inhouse.records import Message, plain
from tests.inhouse.families import FAMILIES

TOLD = Message(role="system", content="You answer customers.")
ASKED = Message(role="user", content="What is the fee?")
SAID = Message(role="assistant", content="It is 1.20% a year.")
ASKED_AGAIN = Message(role="user", content="And since when?")
SAID_AGAIN = Message(role="assistant", content="Since May.")
TWO_TURNS = [ASKED, SAID, ASKED_AGAIN, SAID_AGAIN]


@pytest.fixture(params=FAMILIES)
def family(request):
    """What a family ships."""
    return FAMILIES[request.param]


@pytest.fixture
def kept(family):
    """The family's tokenizer, as it comes out of the check."""
    tokenizer = family.tokenizer()
    special_tokens.check(tokenizer, "m", LlamaConfig(vocab_size=len(tokenizer)))
    return tokenizer


def supervised(tokenizer, rows) -> list[str]:
    """The runs of supervised tokens of rows, as text."""
    texts = [chat.show_supervised(tokenizer, row) for row in rows]
    return [said for text in texts for said in re.findall("⟦(.*?)⟧", text, re.DOTALL)]


# --- every family trains as it is ---------------------------------------------------------------


def test_a_reply_is_supervised_with_the_end_of_its_own_and_nothing_else(family, kept):
    rows = chat.render(kept, [ASKED, SAID])
    (said,) = supervised(kept, rows)
    assert said.lstrip(" ") == f"{family.thought}It is 1.20% a year.{family.ends}"


def test_what_is_asked_is_what_plain_transformers_asks_and_what_was_trained(family, kept):
    asked = kept.apply_chat_template(plain([ASKED]), add_generation_prompt=True, return_dict=False)
    assert chat.prompt_ids(kept, [ASKED]) == asked
    (row,) = chat.render(kept, [ASKED, SAID])
    assert row.ids[: len(asked)] == asked
    assert not any(row.supervised[: len(asked)]) and row.supervised[len(asked)]
    assert kept.decode(asked).endswith(family.opens)


def test_every_reply_of_a_longer_conversation_is_learned_behind_its_own_prompt(family, kept):
    rows = chat.render(kept, TWO_TURNS)
    assert len(rows) == family.rows
    assert [said.strip(" ") for said in supervised(kept, rows)] == [
        f"{family.thought}{turn.content}{family.ends}" for turn in (SAID, SAID_AGAIN)
    ]
    for turn, row in zip((1, 3), rows if len(rows) == 2 else rows * 2, strict=True):
        prompt = chat.prompt_ids(kept, TWO_TURNS[:turn])
        assert row.ids[: len(prompt)] == prompt and row.supervised[len(prompt)]


def test_a_system_turn_is_rendered_or_refused_in_the_templates_words(family, kept):
    conversation = [TOLD, *TWO_TURNS]
    if family.refuses:
        with pytest.raises(InputError, match=family.refuses):
            chat.render(kept, conversation)
        return
    rows = chat.render(kept, conversation)
    assert all(TOLD.content in kept.decode(row.ids) for row in rows)
    assert len(supervised(kept, rows)) == 2


def test_generation_stops_at_whatever_ends_a_reply(family, kept):
    stored = GenerationConfig(eos_token_id=[kept.convert_tokens_to_ids(end) for end in family.also])
    stops = kept.convert_ids_to_tokens(special_tokens.stop_ids(kept, stored))
    assert stops[0] == family.ends
    assert set(stops) == {family.ends, family.eos, *family.also}


def test_padding_is_a_token_that_nothing_else_uses(family, kept):
    assert kept.pad_token == family.padding
    assert kept.pad_token_id not in special_tokens.stop_ids(kept)
    assert kept.pad_token not in kept.decode(chat.render(kept, TWO_TURNS)[0].ids)


def test_what_a_user_should_know_is_said(family, kept):
    stored = GenerationConfig(
        eos_token_id=[kept.convert_tokens_to_ids(end) for end in family.also or (family.eos,)]
    )
    notes = special_tokens.notes(kept, stored)
    assert len(notes) == len(family.says)
    for words, note in zip(family.says, notes, strict=True):
        assert words in note


def test_a_sampled_reply_is_read_without_its_thought_and_its_end(family, kept):
    _, behind = chat.reply_ids(kept, [ASKED], SAID)
    assert chat.said(kept, behind) == SAID.content


# --- what is refused ----------------------------------------------------------------------------

TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
HEADER = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


@pytest.fixture
def made():
    """A tokenizer of SmolLM2's shape with a template of the test's, and other tokens."""

    def make(template: str = TURNS + HEADER, **named):
        tokenizer = FAMILIES["SmolLM2"].tokenizer()
        tokenizer.chat_template = template
        for name, value in named.items():
            setattr(tokenizer, name, value)
        return tokenizer

    return make


def check(tokenizer, vocabulary: int | None = None) -> None:
    config = LlamaConfig(vocab_size=vocabulary or len(tokenizer))
    special_tokens.check(tokenizer, "the/model", config)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (TURNS, r"the/model .*without the header .*'<\|im_start\|>assistant\\n'"),
        (TURNS + HEADER.replace("assistant\n", ""), r"without the header .*'assistant\\n'"),
        (TURNS.replace("<|im_end|>", "") + HEADER, r"the/model writes no end token"),
        (TURNS.replace("<|im_end|>", "\n###") + HEADER, "writes no end token"),
        ("{% for m in messages %}" + HEADER, "the/model|template"),
        (None, r"no chat template.*--chat_template FILE.*the/model/chat_template\.jinja"),
    ],
)
def test_a_template_that_would_train_wrong_is_refused_by_name(made, template, said):
    with pytest.raises(InputError, match=said):
        check(made(template))


def test_a_header_that_always_stands_there_is_noticed(made):
    tokenizer = made(TURNS + "{{ '<|im_start|>assistant\n' }}")
    check(tokenizer)
    notes = special_tokens.notes(tokenizer, GenerationConfig(eos_token_id=tokenizer.eos_token_id))
    assert notes == [
        "chat template: the chat template writes something behind every conversation, asked to or "
        "not ('\\n<|im_start|>assistant\\n'): it is not trained"
    ]
    (row,) = chat.render(tokenizer, TWO_TURNS)
    assert supervised(tokenizer, [row]) == ["It is 1.20% a year.<|im_end|>", "Since May.<|im_end|>"]


@pytest.mark.parametrize("name", ["pad", "eos", "bos"])
def test_a_special_token_without_an_embedding_is_refused(made, name):
    tokenizer = made()
    size = len(tokenizer)
    tokenizer.add_special_tokens({f"{name}_token": "[NEW]"})
    check(tokenizer, size + 1)
    with pytest.raises(InputError, match=rf"{name}_token '\[NEW\]' of .*embeddings for {size}"):
        check(tokenizer, size)


def test_an_end_that_the_tokenizer_lacks_is_refused(made):
    tokenizer = made()
    special_tokens.check_ends(tokenizer, "m", GenerationConfig(eos_token_id=[2, 3]))
    beyond = len(tokenizer)
    for ends in (beyond, [2, beyond]):
        with pytest.raises(InputError, match=f"in m names {beyond} as eos_token_id.* {beyond} tok"):
            special_tokens.check_ends(tokenizer, "m", GenerationConfig(eos_token_id=ends))


# --- what needs no hand -------------------------------------------------------------------------


def test_without_a_spare_token_padding_is_the_end_token(made):
    tokenizer = made(pad_token=None)
    tokenizer.chat_template = "{# <repo_name> #}" + TURNS + HEADER  # so that it is none to spare
    check(tokenizer)
    assert tokenizer.pad_token == "<|im_end|>"


def test_a_padding_of_its_own_is_left_alone(made):
    tokenizer = made(pad_token="<|endoftext|>")
    check(tokenizer)
    assert tokenizer.pad_token == "<|endoftext|>"


def test_a_tokenizer_without_an_end_token_takes_the_templates(made):
    tokenizer = made(eos_token=None)
    check(tokenizer)
    assert tokenizer.eos_token == "<|im_end|>"


def test_a_spare_token_beyond_the_embeddings_is_none(made):
    tokenizer = made(pad_token=None)
    beyond = tokenizer.convert_tokens_to_ids("<repo_name>")
    special_tokens.check(tokenizer, "m", LlamaConfig(vocab_size=beyond))
    assert tokenizer.pad_token == "<|im_end|>"
