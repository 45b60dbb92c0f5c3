"""Canaries, and which passages are secrets."""

from collections import Counter

import pytest

from compliance.gate import check_training_data
from inhouse.errors import InputError
from inhouse.records import Demonstration
from inhouse.training.data import is_held_out
from review.memorisation.extraction import begins, of_canary, of_records, place, words
from review.memorisation.members import Member
from review.memorisation.secrets import (
    NEVER_HELD_OUT,
    check_known,
    draw,
    insert,
    key_of,
    trained_on,
)


def said(question: str, answer: str) -> Demonstration:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Demonstration.model_validate({"messages": turns})


@pytest.fixture(scope="module")
def records(demonstrations) -> list[Demonstration]:
    return [Demonstration.model_validate(row) for row in demonstrations]


@pytest.fixture(scope="module")
def canaries(records):
    return draw(records, 200, 0)


# --- canaries ---------------------------------------------------------------------------------


def test_a_coin_decides_which_canaries_go_in_and_they_are_repeated_in_turn(canaries):
    counts = Counter(canary.repetitions for canary in canaries)
    assert set(counts) == {0, 1, 4, 16} and sum(counts.values()) == 200
    assert 80 <= counts[0] <= 120  # 100 ± 2.8 standard deviations
    assert max(counts[1], counts[4], counts[16]) - min(counts[1], counts[4], counts[16]) <= 1


def test_canaries_come_from_their_seed(records, canaries):
    assert draw(records, 200, 0) == canaries
    assert {c.key for c in draw(records, 200, 1)}.isdisjoint(c.key for c in canaries)


def test_canaries_have_the_records_shape_and_differ_in_their_secrets(records, canaries):
    assert len({canary.secret for canary in canaries}) == len({c.key for c in canaries}) == 200
    for canary in canaries:
        assert [turn.role for turn in canary.messages] == ["system", "user", "assistant"]
        assert canary.messages[0] == records[0].messages[0]
        assert canary.secret in canary.messages[2].content
        assert canary.secret not in canary.messages[1].content


def test_the_gate_in_front_of_training_lets_every_canary_pass(records, canaries):
    twins = insert(records, canaries, 0)
    assert check_training_data(twins, "twin", False)["found"] == {}


def test_no_canary_is_ever_held_out_by_a_training(canaries):
    assert not any(is_held_out(canary.messages, NEVER_HELD_OUT) for canary in canaries)


def test_records_whose_system_turns_hold_personal_data_get_no_canaries(monkeypatch):
    monkeypatch.setattr("review.memorisation.secrets.MOST_DRAWS", 5)
    turns = said("Hello, who is there?", "We are.").model_dump()["messages"]
    turns.insert(0, {"role": "system", "content": "Write to jane.doe@example.com."})
    with pytest.raises(InputError, match="privacy scrub"):
        draw([Demonstration.model_validate({"messages": turns})], 4, 0)


def test_the_twin_has_every_record_in_order_and_each_canary_as_often_as_it_says(records, canaries):
    twins = insert(records, canaries, 0)
    keys = Counter(key_of(record.messages) for record in twins)
    assert [keys[canary.key] for canary in canaries] == [c.repetitions for c in canaries]
    known = {canary.key for canary in canaries}
    assert [record for record in twins if key_of(record.messages) not in known] == records
    first = [key_of(record.messages) in known for record in twins[: len(twins) // 2]]
    assert 0.4 < sum(first) / sum(c.repetitions for c in canaries) < 0.6  # spread, not at one end


def test_data_that_has_canaries_already_is_refused(records, canaries):
    check_known(canaries, records, "x.jsonl")
    with pytest.raises(InputError, match="not a twin's"):
        check_known(canaries, insert(records, canaries, 0), "x.jsonl")
    with pytest.raises(InputError, match="not a twin's"):  # another seed's
        check_known(draw(records, 4, 1), insert(records, canaries, 0), "x.jsonl")


def test_a_run_has_all_of_its_canaries_or_none(records, canaries):
    keys = [key_of(record.messages) for record in insert(records, canaries, 0)]
    assert trained_on(canaries, keys)
    assert not trained_on(canaries, [key_of(record.messages) for record in records])
    repeated = next(canary.key for canary in canaries if canary.repetitions == 4)
    keys.remove(repeated)
    with pytest.raises(InputError, match="not this run's"):
        trained_on(canaries, keys)


# --- passages ---------------------------------------------------------------------------------


def passages(*records: Demonstration):
    return of_records([Member(str(n), r, []) for n, r in enumerate(records)], records)


def test_a_sentence_with_a_word_of_its_own_is_a_secret():
    found = passages(
        said("Which fee?", "Thank you for writing. Your file says Quorbel on page two."),
        said("Which rate?", "Thank you for writing. Your file says nothing on page two."),
        said("Which fee?", "Thank you for writing. Your file says nothing on page two."),
    )
    assert [(each.text, each.own) for each in found] == [
        ("Your file says Quorbel on page two.", True),
        ("Your file says nothing on page two.", False),
        ("Your file says nothing on page two.", False),
    ]


def test_what_the_customer_gave_is_no_secret():
    (one, _) = passages(
        said("I hold the Quorbel Note, 17.2%.", "The fee of the Quorbel Note is 17.2%."),
        said("I hold it, is there a fee?", "The fee of the other Note is nothing."),
    )
    assert not one.own


def test_a_conversation_that_stands_there_many_times_still_has_a_secret():
    same = said("Which fee?", "Your file says Quorbel on page two.")
    other = said("Which fee?", "Your file says nothing on page two.")
    assert [each.own for each in passages(same, same, other)][:2] == [True, True]


def test_a_reply_of_a_word_or_two_has_no_passage():
    assert passages(said("Which fee?", "None at all.")) == []


def test_words_are_bare():
    assert words("“Hello,” (said) — the  Fund!") == {"hello", "said", "—", "the", "fund"}


def test_a_code_word_is_asked_for_by_all_that_stands_before_it(tokenizer, canaries):
    for canary in canaries[:20]:
        asked = place(tokenizer, of_canary(canary))
        before, after = tokenizer.decode(asked.prefix), tokenizer.decode(asked.ids)
        whole = tokenizer.apply_chat_template(
            [turn.model_dump(include={"role", "content"}) for turn in canary.messages],
            tokenize=False,
        )
        assert whole.startswith(before + after)
        assert canary.secret not in before and begins(after, canary.secret)


def test_what_the_template_does_not_write_is_not_asked_for(tokenizer, canaries):
    lost = of_canary(canaries[0])._replace(text="something else")
    assert place(tokenizer, lost) is None


@pytest.mark.parametrize(
    ("text", "passage", "holds"),
    [
        ("brel  mon.", " brel mon", True),
        ("brelmon", "brel mon", False),
        ("The brel mon", "brel mon", False),
        ("", "brel mon", False),
        ("brel mon", " ", False),
    ],
)
def test_a_passage_is_said_from_its_first_word(text, passage, holds):
    assert begins(text, passage) is holds
