"""Splits by prompt and by rater, votes, ceilings, the control's winners, and what is refused."""

import copy
import json

import pytest

from inhouse.chat import reply_ids
from inhouse.errors import InputError
from inhouse.files import sha256
from inhouse.records import Message, Preference, Rating
from reward.split import Pair, leaks, shuffled, split, tokenise
from reward.votes import (
    agreement,
    check_ratings,
    clustered_rate,
    few_votes,
    find_rater,
    snapshot_of,
    votes_on,
)


def preference(prompt: str, number: int = 0, pair_id: str | None = None) -> Preference:
    return Preference(
        prompt=[Message(role="user", content=prompt)],
        chosen=[Message(role="assistant", content=f"good {number}")],
        rejected=[Message(role="assistant", content=f"bad {number}")],
        pair_id=pair_id,
    )


def pair(prompt: str, number: int = 0, votes: dict[str, int] | None = None) -> Pair:
    row = {"chosen_ids": [*prompt.encode(), number], "rejected_ids": [*prompt.encode(), number, 9]}
    return Pair(preference(prompt, number), row, votes or {})


def rating(pair_id: str, rater: str, choice: str, at: str = "2026-01-01") -> Rating:
    return Rating(pair_id=pair_id, rater=rater, choice=choice, submitted_at=at, guidelines="g")


# --- by prompt --------------------------------------------------------------------------------


def test_all_pairs_of_a_prompt_stay_on_one_side():
    pairs = [pair(f"prompt {n}", k) for n in range(60) for k in range(3)]
    parts = split(pairs, 0.3)
    sides = [{p.record.prompt[0].content for p in side} for side in (parts.train, parts.held_out)]
    assert not sides[0] & sides[1]
    assert len(parts.train) + len(parts.held_out) == 180
    # 60 draws at 0.3: mean 18, standard deviation 3.5; five of them.
    assert abs(len(sides[1]) - 18) < 18
    assert leaks(parts)["prompts_on_both_sides"] == 0


def test_case_and_white_space_do_not_make_another_prompt():
    spelt = ("What  is it?", "what is it?", " WHAT IS IT?\n")
    pairs = [pair(spelt[n % 3], n) for n in range(30)] + [pair(f"other {n}") for n in range(30)]
    parts = split(pairs, 0.5)
    sides = [sum("is it" in p.record.prompt[0].content.lower() for p in side)
             for side in (parts.train, parts.held_out)]  # fmt: skip
    assert sorted(sides) == [0, 30]


def test_a_side_without_pairs_is_refused():
    pairs = [pair("one prompt", k) for k in range(5)]
    for share in (0.0001, 0.9999):
        with pytest.raises(InputError, match="--held_out_share"):
            split(pairs, share)


def test_a_leak_is_refused():
    parts = split([pair(f"prompt {n}") for n in range(20)], 0.5)
    parts.train.append(parts.held_out[0])
    with pytest.raises(InputError, match="1 prompts and 2 conversations stand both"):
        leaks(parts)


# --- rows -------------------------------------------------------------------------------------


def test_rows_hold_prompt_and_answer_to_the_end_token(tokenizer, preferences):
    records = [Preference(**row) for row in preferences[:3]]
    rows, cut = tokenise(tokenizer, records, "p")
    assert cut == 0
    for record, row in zip(records, rows, strict=True):
        prompt, chosen = reply_ids(tokenizer, record.prompt, record.chosen[0])
        assert row["chosen_ids"] == prompt + chosen
        assert row["rejected_ids"][: len(prompt)] == prompt
        assert row["chosen_ids"][-1] == row["rejected_ids"][-1] == tokenizer.eos_token_id


def test_cutting_takes_the_oldest_tokens_of_a_prompt(tokenizer, preferences):
    records = [Preference(**row) for row in preferences[:2]]
    whole, _ = tokenise(tokenizer, records, "p")
    longest = max(len(ids) for row in whole for ids in row.values())
    rows, cut = tokenise(tokenizer, records, "p", longest - 2)
    assert cut >= 1
    for before, after in zip(whole, rows, strict=True):
        for side in before:
            assert after[side] == before[side][-(longest - 2) :]
    assert tokenise(tokenizer, records, "p", longest) == (whole, 0)


def test_an_answer_that_does_not_fit_alone_is_never_cut(tokenizer, preferences):
    with pytest.raises(InputError, match=r"p, record 1: the chosen answer alone has \d+ tokens"):
        tokenise(tokenizer, [Preference(**preferences[0])], "p", 3)


def test_answers_that_are_the_same_tokens_are_refused(tokenizer):
    stripping = copy.deepcopy(tokenizer)  # as many a template does
    content = "message['content']"
    stripping.chat_template = tokenizer.chat_template.replace(content, f"{content} | trim")
    record = Preference(
        prompt=[Message(role="user", content="q")],
        chosen=[Message(role="assistant", content="Yes.")],
        rejected=[Message(role="assistant", content="Yes. ")],
    )
    with pytest.raises(InputError, match="p, record 1: chosen and rejected are the same tokens"):
        tokenise(stripping, [record], "p")


# --- votes ------------------------------------------------------------------------------------


def test_votes_are_for_or_against_the_chosen_answer_and_the_last_one_counts():
    records = [preference("x", pair_id="p1"), preference("y", pair_id="p2")]
    ratings = [
        rating("p1", "anna", "b"),
        rating("p1", "ben", "tie"),
        rating("p2", "anna", "b", at="2026-01-01"),
        rating("p2", "anna", "a", at="2026-01-02"),
        rating("p2", "ben", "a"),
        rating("p2", "carl", "b"),
        rating("p3", "carl", "b"),
    ]
    found = votes_on(records, ratings, "r")
    assert found == [{"anna": 1, "ben": 0}, {"anna": 1, "ben": 1, "carl": -1}]


def test_ratings_of_another_snapshot_are_refused():
    with pytest.raises(InputError, match=r"no majority for the pair p1.*another snapshot"):
        votes_on([preference("x", pair_id="p1")], [rating("p9", "anna", "a")], "r")


def test_ratings_that_are_all_ties_are_refused():
    ratings = [rating(f"p{n}", "anna", "tie") for n in range(3)]
    with pytest.raises(InputError, match="all 3 ratings of r are ties"):
        check_ratings(ratings, "r")


def test_ratings_of_one_class_only_are_refused():
    ratings = [rating(f"p{n}", "anna", "a") for n in range(12)] + [rating("q", "ben", "tie")]
    with pytest.raises(InputError, match="all 12 ratings of r that are no tie chose answer a"):
        check_ratings(ratings, "r")
    check_ratings([*ratings, rating("z", "ben", "b")], "r")


def test_a_rater_with_one_rating_is_told_about_and_cannot_be_held_out():
    votes = [{"anna": 1, "ben": 1} for _ in range(12)] + [{"carl": 1}]
    assert few_votes(votes) == ["carl"]
    assert find_rater(votes, None) in ("anna", "ben")
    with pytest.raises(InputError, match=r"held_out_rater carl has 1 ratings.*at least 10"):
        find_rater(votes, "carl")
    with pytest.raises(InputError, match=r"nobody has 0 ratings.*anna \(12\)"):
        find_rater(votes, "nobody")


def test_the_rater_held_out_is_the_one_of_median_agreement():
    # Over ten pairs: anna and ben always alike; carl differs from both in 2, dora in all 10.
    votes = [{"anna": 1, "ben": 1, "carl": -1 if n < 2 else 1, "dora": -1} for n in range(10)]
    # Shares of other raters' votes agreed with: anna and ben 18/30, carl (2·1 + 8·2)/30 = 18/30,
    # dora 2/30. In order dora, anna, ben, carl: the second of four is the (lower) median.
    assert find_rater(votes, None) == "anna"
    assert find_rater([{"anna": 1}] * 20, None) is None


def test_a_training_pair_stays_if_the_others_decide_it_the_same_way():
    first = {"anna": 1, "ben": 1, "carl": -1}  # without anna 1 against 1
    second = {"anna": 1, "ben": 1, "carl": 0}
    third = {"ben": 1, "carl": 1}
    votes = [first, second, third]
    pairs = [pair(f"prompt {n}", n, votes[n % 3]) for n in range(90)]
    parts = split(pairs, 0.5, "anna")
    assert parts.rater == "anna"
    assert all(p.votes == first for p in parts.left_out) and parts.left_out
    assert all(p.votes != first for p in parts.train)
    assert any(p.votes == first for p in parts.held_out), "held-out pairs are all kept"
    assert len(parts.train) + len(parts.left_out) + len(parts.held_out) == 90


def test_held_out_pairs_that_nobody_else_voted_on_are_refused():
    pairs = [pair(f"prompt {n}", n, {"anna": 1}) for n in range(30)]
    with pytest.raises(InputError, match=r"split into 0 to train on"):
        split(pairs, 0.5, "anna")
    mixed = [
        pair(p.record.prompt[0].content, n, p.votes if side else {"ben": 1})
        for side, kept in enumerate((split(pairs, 0.5).train, split(pairs, 0.5).held_out))
        for n, p in enumerate(kept)
    ]
    with pytest.raises(InputError, match="nobody but the held-out rater anna"):
        split(mixed, 0.5, "anna")


def test_the_ratings_are_those_that_the_preferences_stage_names(tmp_path):
    preferences, ratings = tmp_path / "preferences.jsonl", tmp_path / "ratings.jsonl"
    assert snapshot_of(preferences) is None
    ratings.write_text("{}\n")
    entry = {"name": "ratings", "path": str(ratings), "sha256": sha256(ratings)}
    (tmp_path / "manifest.json").write_text(json.dumps({"inputs": [entry]}))
    assert snapshot_of(preferences) == str(ratings)
    ratings.write_text("{} \n")
    with pytest.raises(InputError, match=r"ratings\.jsonl.* are gone or have changed"):
        snapshot_of(preferences)


# --- arithmetic -------------------------------------------------------------------------------


def test_agreement_is_over_every_two_raters_who_both_chose():
    votes = [{"a": 1, "b": 1, "c": -1}, {"a": 1, "b": 0}, {}]
    # a-b alike, a-c and b-c not; a tie is no choice.
    assert agreement(votes) == [[1.0, 0.0, 0.0], [], []]


def test_a_clustered_rate_counts_values_and_resamples_clusters():
    found = clustered_rate([[1.0, 1.0, 0.0], [1.0], []])
    assert found["rate"] == 0.75 and found["n"] == 4
    # Two clusters, means 2/3 and 1: every resample lies between.
    assert found["low"] == pytest.approx(2 / 3) and found["high"] == 1.0
    assert clustered_rate([[], []]) is None
    # All right on four pairs: the exact bound is 0.025 ** (1/4).
    sure = clustered_rate([[1.0]] * 4)
    assert (sure["low"], sure["high"]) == (pytest.approx(0.025**0.25), 1.0)


def test_the_controls_winner_depends_on_the_two_answers_only():
    pairs = [pair(f"prompt {n}", n % 7) for n in range(400)]
    turned = [
        Pair(
            p.record, {"chosen_ids": p.row["rejected_ids"], "rejected_ids": p.row["chosen_ids"]}, {}
        )
        for p in pairs
    ]
    assert shuffled(pairs, 0) == shuffled(turned, 0) != shuffled(pairs, 1)
    kept = sum(row == p.row for row, p in zip(shuffled(pairs, 0), pairs, strict=True))
    assert abs(kept - 200) < 50  # five standard deviations of 400 fair coins
