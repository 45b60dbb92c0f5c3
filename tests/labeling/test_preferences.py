"""Preferences: the majority, how sure it is, and how far raters agree, by hand."""

import json
import math
from pathlib import Path

import pytest

from inhouse.errors import InputError
from inhouse.records import CandidatePair, Preference, Rating, read
from labeling.preferences import decide, last_pull, measure_agreement, one_each


def pair(name: str, **changes) -> CandidatePair:
    return CandidatePair(
        **{
            "id": name,
            "prompt": [{"role": "user", "content": f"question {name}"}],
            "response_a": f"A of {name}",
            "response_b": f"B of {name}",
            "source_a": {},
            "source_b": {},
            "findings_a": [],
            "findings_b": [],
            "metadata": {"topic": "fee"},
            **changes,
        }
    )


def rating(name: str, rater: str, choice: str) -> Rating:
    return Rating(
        pair_id=name, rater=rater, choice=choice, submitted_at="2026-01-01", guidelines="g"
    )


def ratings(**choices: str) -> list[Rating]:
    """``p1="ab."``: rater 1 chose a, rater 2 b, rater 3 gave no answer; t is a tie."""
    return [
        rating(name, f"rater-{number}", {"a": "a", "b": "b", "t": "tie"}[letter])
        for name, letters in choices.items()
        for number, letter in enumerate(letters, start=1)
        if letter != "."
    ]


def decided(**choices: str) -> dict[str, Preference]:
    pairs = {name: pair(name) for name in choices}
    return {p.pair_id: p for p in decide(pairs, ratings(**choices))}


# --- the majority -----------------------------------------------------------------------------


def test_the_majority_is_chosen_and_the_other_rejected():
    found = decided(p1="aab", p2="bbb")
    assert found["p1"].chosen[0].content == "A of p1"
    assert found["p1"].rejected[0].content == "B of p1"
    assert found["p2"].chosen[0].content == "B of p2"
    assert found["p2"].prompt[0].content == "question p2"
    assert found["p1"].raters == ["rater-1", "rater-2", "rater-3"]


def test_only_more_than_half_the_raters_make_a_preference():
    found = decided(p1="ab", p2="t", p3="tt", p4="abt", p5="a", p6="att", p7="aabt", p8="aaabt")
    assert found.keys() == {"p5", "p8"}


@pytest.mark.parametrize(
    ("letters", "margin", "agreement"),
    [
        ("aaa", math.log(3.5 / 0.5), 1.0),  # log 7
        ("bbb", math.log(7), 1.0),  # the margin is the chosen one's, whichever side it stood on
        ("aab", math.log(2.5 / 1.5), 2 / 3),
        ("a", math.log(3), 1.0),
        ("aat", math.log(2.5 / 0.5), 2 / 3),  # a tie is a vote for neither
        ("abbbb", math.log(4.5 / 1.5), 4 / 5),
    ],
)
def test_margin_and_agreement(letters, margin, agreement):
    found = decided(p=letters)["p"]
    assert found.margin == pytest.approx(margin, abs=1e-12) and found.margin > 0
    assert found.agreement == pytest.approx(agreement, abs=1e-12)


def test_more_votes_the_same_way_are_surer():
    found = decided(p1="a", p2="aa", p3="aaaaa")
    assert found["p1"].margin < found["p2"].margin < found["p3"].margin


def test_a_rating_of_an_unknown_pair_is_refused():
    with pytest.raises(InputError, match="pair p2, which no candidate has"):
        decide({"p1": pair("p1")}, ratings(p2="a"))


# --- agreement --------------------------------------------------------------------------------


def test_alpha_of_krippendorffs_own_example():
    # Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section A: two observers,
    # ten units, binary. Meg 0100000000 with a 1 in the ninth, Ben 1110010000: alpha = 0.095.
    # Coincidences: o00 = 10, o01 = o10 = 4, o11 = 2, n0 = 14, n1 = 6, n = 20;
    # alpha = 1 - (20 - 1) * 4 / (14 * 6) = 1 - 76 / 84 = 0.0952. With two values the ordinal
    # difference is one constant and cancels.
    meg, ben = "0100000010", "1110010000"
    letter = {"0": "a", "1": "b"}
    choices = {
        f"p{n}": letter[m] + letter[b] for n, (m, b) in enumerate(zip(meg, ben, strict=True))
    }
    found = measure_agreement(ratings(**choices), [])
    assert found["krippendorff_alpha"] == pytest.approx(1 - 76 / 84, abs=1e-9)


def test_alpha_knows_that_a_tie_stands_between():
    # Two raters, three pairs: (a, tie), (b, b), (a, a). Coincidences: o_at = o_ta = 1, o_bb = 2,
    # o_aa = 2; n_a = 3, n_t = 1, n_b = 2, n = 6. Ordinal differences (Krippendorff 2011), in the
    # order a, tie, b: d(a,t) = (n_a/2 + n_t/2)^2 = 4; d(t,b) = (1/2 + 2/2)^2 = 2.25;
    # d(a,b) = (3/2 + 1 + 2/2)^2 = 12.25.
    # Observed: 2 * 1 * 4 = 8 over n = 6. Expected: 2 * (n_a n_t 4 + n_t n_b 2.25 + n_a n_b 12.25)
    # = 2 * (12 + 4.5 + 73.5) = 180 over n (n - 1) = 30. alpha = 1 - (8 / 6) / (180 / 30) = 7 / 9.
    found = measure_agreement(ratings(p1="at", p2="bb", p3="aa"), [])
    assert found["krippendorff_alpha"] == pytest.approx(7 / 9, abs=1e-9)
    # The same with b and a the other way round, and worse where a meets b.
    turned = measure_agreement(ratings(p1="bt", p2="aa", p3="bb"), [])
    assert turned["krippendorff_alpha"] == pytest.approx(7 / 9, abs=1e-9)
    worse = measure_agreement(ratings(p1="ab", p2="bb", p3="aa"), [])
    assert worse["krippendorff_alpha"] < 7 / 9


def test_alpha_is_one_when_all_agree_and_has_no_value_when_nothing_varies():
    assert measure_agreement(ratings(p1="aa", p2="bb"), [])["krippendorff_alpha"] == 1.0
    assert measure_agreement(ratings(p1="aa", p2="aa"), [])["krippendorff_alpha"] is None
    assert measure_agreement(ratings(p1="a", p2="b"), [])["krippendorff_alpha"] is None
    # Rater 2's only other answer stands alone: what overlaps does not vary.
    found = measure_agreement(ratings(p1="aa", p2=".b"), [])
    assert found["krippendorff_alpha"] is None


def test_a_pair_that_one_rater_saw_does_not_move_alpha():
    with_it = measure_agreement(ratings(p1="at", p2="bb", p3="aa", p4="b."), [])
    assert with_it["krippendorff_alpha"] == pytest.approx(7 / 9, abs=1e-9)


def test_each_raters_share_with_the_majority():
    cast = ratings(p1="aab", p2="bba", p3="aaa", p4="ab.")
    preferences = decide({name: pair(name) for name in ("p1", "p2", "p3", "p4")}, cast)
    found = measure_agreement(cast, preferences)
    shares = {name: (r["rate"], r["n"]) for name, r in found["with_majority"].items()}
    assert shares == {"rater-1": (1.0, 3), "rater-2": (1.0, 3), "rater-3": (1 / 3, 3)}
    assert found["preferences"] == 3 and found["pairs_without_majority"] == 1
    assert found["ratings"] == 11 and found["raters"] == 3 and found["pairs"] == 4


# --- the stage --------------------------------------------------------------------------------


@pytest.fixture
def campaign(tmp_path, write_lines):
    folder = tmp_path / "x"
    pairs = [pair(name).model_dump() for name in ("p1", "p2", "p3")]
    write_lines(folder / "candidates" / "candidates.jsonl", pairs)

    def pull(number: int, **choices: str) -> Path:
        path = folder / "ratings" / f"pull-{number:04d}"
        write_lines(path / "ratings.jsonl", [r.model_dump() for r in ratings(**choices)])
        (path / "manifest.json").write_text("{}")
        return path

    return folder, pull


def test_the_newest_finished_pull_is_taken(campaign, run_stage):
    folder, pull = campaign
    pull(1, p1="bbb")
    pull(2, p1="aaa", p2="ab", p3="aab")
    (pull(3, p1="bbb") / "manifest.json").unlink()  # cut off
    assert last_pull(folder / "ratings").name == "pull-0002"
    ended = run_stage("labeling.preferences", "--run_dir", folder)
    assert ended.code == 0, ended.err
    out = folder / "preferences"
    assert {p.name for p in out.iterdir()} == {
        *("preferences.jsonl", "agreement.json", "metrics.json", "manifest.json")
    }
    found = {p.pair_id: p for p in read(out / "preferences.jsonl", Preference)}
    assert found.keys() == {"p1", "p3"} and found["p1"].chosen[0].content == "A of p1"
    agreement = json.loads((out / "agreement.json").read_text())
    assert agreement["pairs_without_majority"] == 1
    assert set(agreement) >= {"krippendorff_alpha", "with_majority"}


def test_a_pair_rated_twice_by_one_person_counts_once_and_is_named(
    campaign, run_stage, write_lines
):
    folder, pull = campaign
    path = pull(1, p1="ab", p2="aa", p3="a") / "ratings.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    # rater-1 of p1 changed to b, and that line stands first; one of p2 said the same again.
    rows = [{**rows[0], "choice": "b", "submitted_at": "2026-01-02"}, *rows, rows[2], rows[2]]
    write_lines(path, rows)
    ended = run_stage("labeling.preferences", "--run_dir", folder)
    assert ended.code == 0, ended.err
    assert "2 pairs were rated more than once by one person (p1, p2): the last" in ended.out
    assert "3 of 8 ratings are left out" in ended.out
    found = {p.pair_id: p for p in read(folder / "preferences/preferences.jsonl", Preference)}
    assert found["p1"].chosen[0].content == "B of p1" and found["p1"].agreement == 1
    assert found["p2"].raters == ["rater-1", "rater-2"]
    metrics = json.loads((folder / "preferences" / "manifest.json").read_text())["metrics"]
    assert metrics["ratings_given_again"] == 3 and metrics["ratings"] == 5


def test_only_the_first_five_such_pairs_are_named(capsys):
    votes = ratings(**{f"p{number}": "a" for number in range(7)})
    kept, again = one_each([*votes, *votes])
    assert (len(kept), again) == (7, 7)
    assert "7 pairs were rated more than once by one person (p0, p1, p2, p3, p4 …)" in (
        capsys.readouterr().out
    )


def test_no_majority_at_all_is_refused(campaign, refused):
    folder, pull = campaign
    pull(1, p1="ab", p2="t")
    refused("labeling.preferences", says=["majority"], run_dir=folder)


def test_a_broken_rating_is_named(campaign, refused):
    folder, pull = campaign
    path = pull(1, p1="a") / "ratings.jsonl"
    path.write_text(path.read_text() + '{"pair_id": "p1"}\n')
    refused("labeling.preferences", says=["ratings.jsonl, line 2"], run_dir=folder)
