"""The nearest training example: found by its rare words, and named by where it stands."""

import pytest

from review.report.nearest import Example, examples_of, nearest


def example(answered: str, asked: str = "") -> Example:
    return Example("demonstration", "f, line 1", asked, answered)


def test_the_same_words_are_found_and_an_equal_text_has_a_cosine_of_one():
    examples = [example("The fee is low."), example("It is risk free."), example("Call us soon.")]
    (found,) = nearest(examples, [("", "It is risk free.")])
    assert (found.example, found.cosine) == (1, 1.0)


def test_a_cosine_worked_by_hand():
    # One example "a b", one "c": each term in one of two, so idf = ln(3/2) + 1 for each, and a
    # term of no example ln(3) + 1. The answer "a x" has the terms a, x and "a x": a is known.
    # cosine = w² / (√(3 w²) · √(w² + 2 u²)), w = ln(3/2) + 1, u = ln 3 + 1: the example has three.
    from math import log, sqrt

    w, u = log(3 / 2) + 1, log(3) + 1
    (found,) = nearest([example("a b"), example("c")], [("", "a x")])
    assert found.cosine == pytest.approx(w * w / (sqrt(3) * w * sqrt(w * w + 2 * u * u)), abs=5e-4)


def test_the_question_counts_too_and_rare_words_before_common_ones():
    examples = [example("Thank you.", "About fees?"), example("Thank you.", "About the lock-up?")]
    found = nearest(examples, [("What is the lock-up?", "Thank you.")])
    assert found[0].example == 1


def test_nothing_is_near_what_shares_no_word():
    assert nearest([example("The fee is low.")], [("", "Guten Tag")]) == [None]
    assert nearest([], [("", "any")]) == [None]
    assert nearest([example("any")], []) == []
    assert nearest([example("any")], [("", "")]) == [None]


def test_what_the_stages_learned_from_is_read_by_their_manifests(write_lines, tmp_path):
    turns = [{"role": r, "content": c} for r, c in (("user", "Q1"), ("assistant", "A1"))]
    turns += [{"role": r, "content": c} for r, c in (("user", "Q2"), ("assistant", "A2"))]
    shown = write_lines(tmp_path / "demonstrations.jsonl", [{"messages": turns}] * 2)
    pair = {
        "prompt": turns[:1],
        "chosen": [{"role": "assistant", "content": "Good"}],
        "rejected": [{"role": "assistant", "content": "Bad"}],
    }
    preferred = write_lines(tmp_path / "preferences.jsonl", [pair])

    def read(path) -> dict:
        return {"inputs": [{"name": "dataset_name", "path": str(path)}]}

    found, unread = examples_of(
        {"sft": read(shown), "dpo": read(preferred), "kto": read(tmp_path / "gone.jsonl")}
    )
    # The second demonstration is the first again, and stands where it stood first.
    assert [(e.kind, e.place.rpartition("/")[2], e.asked, e.answered) for e in found] == [
        ("demonstration", "demonstrations.jsonl, line 1", "Q1", "A1"),
        ("demonstration", "demonstrations.jsonl, line 1", "Q2", "A2"),
        ("preferred by raters", "preferences.jsonl, line 1", "Q1", "Good"),
        ("rejected by raters", "preferences.jsonl, line 1", "Q1", "Bad"),
    ]
    assert unread == [str(tmp_path / "gone.jsonl")]
    write_lines(preferred, [pair | {"source": "rewrite"}])
    found, _ = examples_of({"dpo": read(preferred)})
    assert [e.kind for e in found] == ["rewritten by a reviewer", "rejected by a reviewer"]


def test_single_verdicts_are_named_and_not_compared(write_lines, tmp_path):
    liked = {"prompt": [{"role": "user", "content": "May I?"}], "label": True}
    liked["completion"] = [{"role": "assistant", "content": "You may."}]
    path = write_lines(tmp_path / "verdicts.jsonl", [liked])
    inputs = [{"name": "dataset_name", "path": str(path)}]
    assert examples_of({"kto": {"inputs": inputs}}) == ([], [str(path)])
