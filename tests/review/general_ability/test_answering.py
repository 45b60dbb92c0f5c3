"""What a model replies to the items: the likeliest choice, the greedy reply, and a killed run."""

import math

import pytest
import torch

from inhouse.chat import replies_ids
from inhouse.errors import InputError
from inhouse.generation import sample
from inhouse.models.load import load_causal_lm
from inhouse.records import Journal, Message
from review.general_ability.answering import Answered, answer, likelihoods
from review.general_ability.items import Item

KNOWN = {"name": "base", "hash": "0123456789ab"}


def choosing(name: str, question: str, *choices: str, answer: int = 0) -> Item:
    prompt = [Message(role="user", content=question)]
    return Item(id=name, kind="sense", prompt=prompt, choices=list(choices), answer=answer)


def writing(name: str, question: str, **check) -> Item:
    prompt = [Message(role="user", content=question)]
    accept = [{"check": "number", "value": 5, **check}]
    return Item(id=name, kind="arithmetic", prompt=prompt, accept=accept, right="5", wrong="6")


ITEMS = [
    choosing("s1", "What melts?", "Ice melts.", "A stone melts.", "A brick."),
    writing("a1", "What is 2 + 3?"),
    choosing("s2", "Which one flies?", "A cow.", "A sparrow.", answer=1),
    writing("a2", "How many fingers has a hand?"),
    choosing("s3", "What is wet?", "Water", "Sand"),
]


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_causal_lm(str(tiny_model))


def test_a_choice_is_as_likely_as_its_tokens_one_after_another(model, tokenizer):
    # Worked out token by token without batches or padding: the sum of log p(token | what stands
    # before it), over the choice's tokens without the end token, divided by its bytes.
    found = likelihoods(model, tokenizer, [ITEMS[0]])
    for choice, value in zip(ITEMS[0].choices, found[0], strict=True):
        reply = Message(role="assistant", content=choice)
        ((before, after),) = replies_ids(tokenizer, [(ITEMS[0].prompt, reply)])
        assert after[-1] == tokenizer.eos_token_id
        total, ids = 0.0, list(before)
        for token in after[:-1]:
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
            total += float(torch.log_softmax(logits, -1)[token])
            ids.append(token)
        assert value == pytest.approx(total / len(choice.encode()), abs=1e-4)


def test_length_is_counted_in_bytes(model, tokenizer):
    # "Ü" is two bytes: a sum S over one letter is S / 2 nats a byte.
    item = choosing("u", "Which letter?", "Ü", "U")
    values = likelihoods(model, tokenizer, [item])[0]
    reply = Message(role="assistant", content="Ü")
    ((before, after),) = replies_ids(tokenizer, [(item.prompt, reply)])
    (total,) = sample.log_probabilities(
        model, [(before, after[:-1])], pad_token_id=tokenizer.pad_token_id
    )
    assert values[0] == pytest.approx(total / 2, abs=1e-5)


def test_batches_change_nothing(model, tokenizer):
    chosen = [item for item in ITEMS if item.choices]
    one, many = (likelihoods(model, tokenizer, chosen, batch_size=n) for n in (1, 8))
    for left, right in zip(one, many, strict=True):
        assert left == pytest.approx(right, abs=1e-4)


def answers(model, tokenizer, **options) -> list[Answered]:
    batches = answer(model, tokenizer, ITEMS, KNOWN, batch_size=2, max_new_tokens=8, **options)
    return [one for batch in batches for one in batch]


def test_every_item_is_answered_once_and_scored(model, tokenizer):
    found = {one.item: one for one in answers(model, tokenizer)}
    assert set(found) == {item.id for item in ITEMS}
    for item in ITEMS:
        one = found[item.id]
        assert one.model == KNOWN and one.kind == item.kind
        if item.choices:
            values = likelihoods(model, tokenizer, [item])[0]
            assert one.said == item.choices[values.index(max(values))]
            assert one.correct == (one.said == item.choices[item.answer])


def test_a_written_reply_is_read_by_its_checks(model, tokenizer, monkeypatch):
    def replies(model, tokenizer, prompts, **options):
        assert options["temperature"] == 0.0
        said = ["2 + 3 = 5.", "Four."]
        yield {at: [sample.Reply(text, [], True)] for at, text in enumerate(said)}

    monkeypatch.setattr(sample, "replies", replies)
    found = {one.item: (one.said, one.correct) for one in answers(model, tokenizer)}
    assert found["a1"] == ("2 + 3 = 5.", True) and found["a2"] == ("Four.", False)


def test_a_killed_run_goes_on_with_the_same_answers(model, tokenizer, tmp_path):
    whole = [(one.item, one.said, one.correct) for one in answers(model, tokenizer)]
    assert [item for item, _, _ in whole] == ["s1", "s2", "s3", "a1", "a2"]
    for kept in range(len(whole)):
        journal = Journal(tmp_path / f"{kept}.jsonl", Answered)
        journal.append(answers(model, tokenizer)[:kept])
        done = {one.item for one in journal.records}
        journal.append(answers(model, tokenizer, done=done))
        again = [(one.item, one.said, one.correct) for one in journal.finish()]
        assert again == whole


def test_nothing_is_asked_when_all_is_done(model, tokenizer):
    assert answers(model, tokenizer, done={item.id for item in ITEMS}) == []


def test_an_adapter_answers_as_what_it_is(model, tokenizer, tiny_model, tmp_path):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    lora = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    adapted = get_peft_model(load_causal_lm(str(tiny_model)), lora)
    chosen = [item for item in ITEMS if item.choices]
    with_adapter = likelihoods(adapted, tokenizer, chosen)
    with adapted.disable_adapter():
        without = likelihoods(adapted, tokenizer, chosen)
    plain = likelihoods(model, tokenizer, chosen)
    assert without[0] == pytest.approx(plain[0], abs=1e-5)
    assert with_adapter[0] != pytest.approx(plain[0], abs=1e-4)


def test_an_item_beyond_the_context_is_refused(model, tokenizer):
    long = choosing("long", "word " * 600, "Yes", "No")
    with pytest.raises(InputError, match=r"long has \d+ tokens .* takes 512: shorten the item"):
        likelihoods(model, tokenizer, [long])


def test_damaged_weights_are_no_answer(tiny_model, tokenizer):
    broken = load_causal_lm(str(tiny_model))
    with torch.no_grad():
        broken.model.norm.weight.fill_(math.nan)
    with pytest.raises(InputError, match="s1 log-probabilities that are no numbers"):
        likelihoods(broken, tokenizer, ITEMS[:1])
