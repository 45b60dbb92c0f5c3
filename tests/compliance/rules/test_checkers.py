"""Normalised text, whose claim a sentence is, and each kind of rule by itself."""

import random
import time

import pytest

from compliance.normalise import is_english, normalise
from compliance.patterns import either
from compliance.rules import checkers
from compliance.rules.clauses import FRAMES, Text
from compliance.rules.figures import approved
from compliance.rules.readability import flesch_kincaid, syllables
from compliance.rules.wording import Wording


def rule(**given) -> checkers.Patterns:
    for key in given.keys() & {"match", "unless", "requires", "near", "prompt"}:
        given[key] = [Wording((pattern,)) for pattern in given[key]]
    for key in given.keys() & {"unless_sentence", "unless_reply", "about"}:
        given[key] = either(given[key])
    return checkers.Patterns(**given)


def said(kind: str, text: str, context: checkers.Context | None = None, **given) -> list[str]:
    spans = checkers.CHECKERS[kind](rule(**given), Text(text), context or checkers.Context())
    return [text[start:end] for start, end in spans]


# --- normalised text ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "reads"),
    [
        ("gua\u200branteed", "guaranteed"),  # a zero-width space
        ("guaran\u00adteed", "guaranteed"),  # a soft hyphen
        ("guаrаnteed", "guaranteed"),  # two Cyrillic letters
        ("ｇｕａｒａｎｔｅｅｄ", "guaranteed"),  # full-width
        ("𝐠𝐮𝐚𝐫𝐚𝐧𝐭𝐞𝐞𝐝", "guaranteed"),  # mathematical bold
        ("gu\u0336aranteed", "guaranteed"),  # struck through
        ("don’t", "don't"),
        ("risk‑free", "risk-free"),
        ("ﬁxed", "fixed"),
        ("\u202eguaranteed\u202c", "guaranteed"),  # written from right to left
    ],
)
def test_text_reads_as_a_reader_sees_it(written, reads):
    assert normalise(written).text == reads


def test_spans_are_mapped_back_to_the_original():
    written = "Ｉt is gua\u200b\u200branteed… ok"
    seen = normalise(written)
    start = seen.text.index("guaranteed")
    low, high = seen.original(start, start + len("guaranteed"))
    assert written[low:high] == "gua\u200b\u200branteed"
    dots = seen.text.index("...")
    assert written[slice(*seen.original(dots, dots + 3))] == "…"


def test_every_span_of_a_normalised_text_maps_into_the_original():
    rng = random.Random(0)
    for _ in range(300):
        written = "".join(rng.choice("ab é…ﬁ\u200b’😀") for _ in range(rng.randrange(1, 30)))
        seen = normalise(written)
        places = sorted(rng.choices(range(len(seen.text) + 1), k=2))
        low, high = seen.original(*places)
        assert 0 <= low <= high <= len(written)
        if places[0] < places[1]:
            assert low < high
            assert seen.text[slice(*places)] in normalise(written[low:high]).text


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("Thank you for your question. We will write to you by Friday about the account.", True),
        ("OK.", True),
        ("Mr de la Cruz and Ms van der Berg signed.", True),
        ("Oil has another leg down coming: energy funds lose ten percent before Christmas.", True),
        ("Ihre Rendite ist garantiert, Sie verlieren niemals Geld.", False),
        ("Su rendimiento está garantizado por nosotros.", False),
        ("Vielen Dank für Ihre Anfrage, wir melden uns in den nächsten Tagen bei Ihnen.", False),
        ("Merci de votre question, nous vous répondrons dès que possible cette semaine.", False),
        ("Доходность гарантирована, вложите деньги сегодня и ничего не бойтесь.", False),
        (
            "保証されたリターンを提供しますので、今日お金を投資してください。よろしくお願いします",
            False,
        ),
    ],
)
def test_another_language_is_said_not_guessed(text, english):
    assert is_english(text) is english


# --- whose claim it is ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "sentence", "word", "holds"),
    [
        ("negated", "Nothing is guaranteed.", "guaranteed", True),
        ("negated", "We do not say that it is guaranteed.", "guaranteed", True),
        ("negated", "A guaranteed return is something we cannot offer.", "guaranteed", True),
        ("negated", "Be wary of anybody who offers guaranteed returns.", "guaranteed", True),
        ("negated", "It is not only safe, it is guaranteed.", "guaranteed", False),
        ("negated", "Do not worry, your capital is guaranteed.", "guaranteed", False),
        ("negated", "There is no doubt that it is guaranteed.", "guaranteed", False),
        ("negated", "It is not a fund, but it is guaranteed.", "guaranteed", False),
        ("negated", "Your guaranteed income is not affected by markets.", "guaranteed", False),
        ("negated", "Fees are not low. It is guaranteed.", "guaranteed", False),
        ("negated", "If you do not pay, your pay is taken.", "your pay is taken", False),
        ("negated", "The growth of the fund is not certain.", "growth of the fund", True),
        ("negated", "No. You may be jailed.", "jailed", False),
        ("negated", "I go no further until you tell me your PIN.", "PIN", False),
        ("negated", "I never agreed and I'm furious.", "furious", False),
        ("negated", "Staff may not pretend to be police, hint at prison.", "prison", True),
        ("denied", "The SEC does not approve funds.", "SEC does not approve", True),
        ("question", "Is it guaranteed? No.", "guaranteed", True),
        ("question", "Is it guaranteed? Yes, it is.", "guaranteed", False),
        ("question", "What would it have earned? We cannot say.", "would it have earned", True),
        ("question", "Are there risks? None at all.", "risks? None", False),
        ("question", "Why settle for less than guaranteed income?", "guaranteed", False),
        ("reported", "You mentioned that the advert says it is guaranteed.", "guaranteed", True),
        ("reported", "You asked whether it is guaranteed.", "guaranteed", True),
        ("reported", "If anyone tells you it is guaranteed, hang up.", "guaranteed", True),
        ("reported", "As the advert says, it is guaranteed.", "guaranteed", False),
        ("reported", "Your friend is sure that it will triple.", "will triple", True),
        ("reported", "A caller who asks for your PIN is a thief.", "your PIN", True),
        ("reported", "It is a fund that offers strong growth.", "strong growth", False),
        ("reported", "From what you told me, the fund is best.", "is best", False),
        ("reported", "You should see returns of 6%.", "returns of 6%", False),
        ("reported", "As you told us you are pregnant, we wait.", "pregnant", False),
        ("reported", "It depends on whether you are married.", "married", False),
        ("reported", "This credit line is for men.", "men", False),
        ("reported", "We told you it is guaranteed.", "guaranteed", False),
        ("reported", "You asked about fees, but our plan is guaranteed.", "guaranteed", False),
        # Inverted, a negation suggests; in a reason it belongs to the reason; a hope is no claim.
        ("negated", "Wouldn't you be better off in the bond fund?", "better off in", False),
        ("question", "Wouldn't you be better off in the bond fund?", "better off in", False),
        ("negated", "The fund is ideal, as it is impossible to lose.", "fund is ideal", False),
        ("negated", "It is tempting to think that it must bounce.", "must bounce", True),
        # A relative clause and one's own word report nobody; a false impression is not one's own.
        ("reported", "Given the debt you mentioned, the fund is best.", "is best", False),
        ("reported", "I give you my promise that it will rise.", "will rise", False),
        ("reported", "That said, it will rise.", "will rise", False),
        ("reported", "The name led you to think that it was guaranteed.", "guaranteed", True),
        ("reported", "Your uncle may have told you it is guaranteed.", "guaranteed", True),
    ],
)
def test_whose_claim_words_are(frame, sentence, word, holds):
    start = sentence.index(word)
    assert FRAMES[frame](Text(sentence), (start, start + len(word))) is holds


def test_sentences_end_where_a_reader_ends_them():
    text = Text("Mr. Hill paid 1.5% in Nov. 2024. Did he? Yes!\nNext line")
    assert [text.text[a:b].strip() for a, b in text.sentences] == [
        "Mr. Hill paid 1.5% in Nov. 2024.",
        "Did he?",
        "Yes!",
        "Next line",
    ]
    text = Text("No. 7 is due, says the SEC. No. You may wait.")
    assert [text.text[a:b].strip() for a, b in text.sentences] == [
        "No. 7 is due, says the SEC.",
        "No.",
        "You may wait.",
    ]


# --- the kinds ----------------------------------------------------------------------------------


def test_existence_finds_matches_outside_what_is_exempt():
    given = {"match": ["free"], "unless": ["feel free"], "unless_sentence": ["charity"]}
    assert said("existence", "Feel free. It is free.", **given) == ["free"]
    assert said("existence", "The charity is free. It is free.", **given) == ["free"]
    assert said("existence", "It is free.", match=["free"], unless_reply=["fees apply"]) == ["free"]
    assert said("existence", "Free, but fees apply.", match=["free"], unless_reply=["fees"]) == []


def test_requires_looks_for_the_disclosure_in_its_scope():
    given = {"match": ["gain"], "requires": ["risk"]}
    text = "A gain. A risk."
    assert said("requires", text, **given) == []
    assert said("requires", text, scope="sentence", **given) == ["gain"]
    assert said("requires", "A gain without any risk.", **given) == ["gain"]  # said otherwise
    assert said("requires", "A gain; it is impossible to end up with risk.", **given) == ["gain"]
    assert said("requires", "A gain, as risk has been ruled out.", **given) == ["gain"]
    assert said("requires", "A gain, with no way for you to meet a risk.", **given) == ["gain"]
    assert said("requires", "A gain that is immune to market risk.", **given) == ["gain"]
    assert said("requires", "A gain, whether there is risk.", **given) == ["gain"]
    assert said("requires", "A gain, and it is not immune: there is risk.", **given) == []
    assert said("requires", "It is not a sure gain, as there is risk.", **given) == []


def test_requires_may_be_triggered_by_the_customer():
    given = {"prompt": ["complain"], "requires": ["logged"]}
    asked = checkers.Context(asked=Text("I complain."))
    assert said("requires", "Sorry.", asked, **given) == ["Sorry."]
    assert said("requires", "We logged it.", asked, **given) == []
    assert said("requires", "Sorry.", **given) == []


def test_a_first_turn_that_is_said_to_be_one_always_needs_the_disclosure():
    given = {"match": ["jenny"], "requires": ["bot"], "scope": "first_turn"}
    assert said("requires", "Hello.", checkers.Context(turn="first"), **given) == ["Hello."]
    assert said("requires", "Hello.", **given) == []
    assert said("requires", "Jenny here.", **given) == ["Jenny"]


def test_forbid_near_spans_both_and_counts_words_between():
    given = {"match": ["fdic"], "near": ["funds"], "within": 3}
    assert said("forbid_near", "Your funds are FDIC insured.", **given) == ["funds are FDIC"]
    assert said("forbid_near", "Funds that you hold with us are FDIC insured.", **given) == []
    assert said("forbid_near", "Funds. FDIC.", **given) == []


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("You are pregnant. That is why the loan was declined.", True),
        ("The loan was declined. The reason is that you are pregnant.", True),
        ("You are pregnant. The loan form is enclosed.", False),
        ("The loan is open to you. It is for pregnant women.", True),
    ],
)
def test_a_reason_and_what_follows_from_it_stand_near(text, near):
    given = {"match": [r"\bpregnant\b"], "near": [r"\bloan\b"], "within": 12}
    assert bool(said("forbid_near", text, **given)) is near


def test_occurrence_counts():
    assert said("occurrence", "a! b! c!", match=["!"], at_most=1) == ["!", "!"]
    assert said("occurrence", "no", match=["thank you"], at_least=1) == ["no"]


def test_metric_marks_the_whole_reply():
    text = "one two three four."
    assert said("metric", text, metric="words", at_most=3) == [text]
    assert said("metric", text, metric="words", at_most=4) == []
    assert said("metric", text, metric="words", at_least=5) == [text]


def test_flesch_kincaid_by_hand():
    # 40 words in 4 sentences; 32 of one syllable, 8 of two ("never"): 48 syllables.
    text = "The cat sat on the mat and never ever ran. " * 4
    assert syllables("never") == 2
    assert flesch_kincaid(Text(text)) == pytest.approx(0.39 * 40 / 4 + 11.8 * 48 / 40 - 15.59)


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("It pays 5.25%.", ["5.25%"]),
        ("It pays 5.25 per cent.", ["5.250%"]),
        ("It costs £1,200.", ["£1200"]),
        ("It costs 25 dollars.", ["$25"]),
        ("The spread is 50 basis points.", ["0.5%"]),
        ("It holds $2 million.", ["$2,000,000"]),
        ("It pays five per cent.", ["5"]),
        ("It pays five and a half percent.", ["5.5%"]),
        ("It pays two and a quarter percent.", ["2.25%"]),
        ("It costs twelve bucks.", ["$12"]),
        ("It takes twelve business days.", ["twelve"]),
        ("It closes on April 15, 2026.", ["15 April"]),
        ("It closes on 04/15/2026.", ["Apr. 15"]),
        ("We are open until 7:30 p.m.", ["7:30 PM"]),
        ("You need two hundred and fifty dollars.", ["$250"]),
        ("It costs a hundred pounds.", ["£100"]),
        ("A contract costs 65 cents.", ["$0.65"]),
        ("It is insured up to a quarter of a million dollars.", ["$250,000"]),
        ("Forty thousand families bank here.", ["40,000 families"]),
        ("It takes seven business days.", ["7 business days"]),
        ("Nine in ten are happy.", ["9 out of 10"]),
        ("We have been here since 1921.", ["founded in 1921"]),
        ("You need a score of 720.", ["720"]),
    ],
)
def test_numeric_reads_a_figure_in_every_notation(text, figures):
    facts = frozenset(map(approved, figures))
    assert said("numeric", text, checkers.Context(facts=facts)) == []
    assert said("numeric", text, checkers.Context(facts=frozenset())) != []


def test_a_date_needs_a_source_and_a_date_of_birth_is_none():
    facts = checkers.Context(facts=frozenset())
    assert said("numeric", "It closes on April 15.", facts) == ["April 15"]
    assert said("numeric", "Her date of birth is April 15, 1961.", facts) == []


def test_a_bare_figure_of_the_customer_may_be_of_anything():
    context = checkers.Context(prompt=Text("I have 100K with you."), facts=frozenset())
    assert said("numeric", "The $100,000 is here.", context) == []


@pytest.mark.parametrize("text", ["Two branches merged.", "It is two in one.", "Open a 401(k)."])
def test_numbers_that_state_no_figure_need_no_source(text):
    assert said("numeric", text, checkers.Context(facts=frozenset())) == []


def test_numeric_says_nothing_without_a_fact_sheet_and_says_so():
    assert said("numeric", "It pays 5%.") == []
    assert "figures" in checkers.not_checkable("numeric", checkers.Context())


def test_pii_finds_some_kinds_always_and_some_where_it_is_said_whose():
    given = {"entities": frozenset({"CARD", "(EMAIL)"}), "near": ["her"]}
    assert said("pii", "Card 4111 1111 1111 1111.", **given) == ["4111 1111 1111 1111"]
    assert said("pii", "Write to help@example.com.", **given) == []
    assert said("pii", "It is her address, a@example.com.", **given) == ["a@example.com"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Your neighbour is overdrawn.", ["neighbour is overdrawn"]),
        ("We cannot tell you that your neighbour is overdrawn.", []),
        ("Is your neighbour is overdrawn?", []),
        ("You said that your neighbour is overdrawn.", []),
        ("Call us if your neighbour is overdrawn.", []),
    ],
)
def test_pii_finds_what_is_told_of_a_person_and_not_what_is_supposed(text, found):
    assert said("pii", text, match=["neighbour is overdrawn"]) == found


def test_pii_in_brackets_is_found_unless_its_sentence_says_that_it_is_the_firms_own():
    given = {"entities": frozenset({"CARD", "(EMAIL)"}), "unless": ["write to us"]}
    assert said("pii", "You used a@example.com.", **given) == ["a@example.com"]
    assert said("pii", "Write to us at help@example.com.", **given) == []
    assert said("pii", "Write to us: 4111 1111 1111 1111.", **given) == ["4111 1111 1111 1111"]


@pytest.mark.parametrize(
    ("form", "right", "wrong"),
    [
        ("json", '{"a": 1}', "a: 1"),
        ("list", "- one\n- two", "one, two"),
        ("table", "| a | b |\n|---|---|\n| 1 | 2 |", "a b"),
        ("plain", "Just words.", "**Words**"),
        ("one_paragraph", "One. Two.", "One.\n\nTwo."),
        ("one_sentence", "One.", "One. Two."),
    ],
)
def test_format(form, right, wrong):
    assert said("format", right, format=form) == []
    assert said("format", wrong, format=form) == [wrong]


@pytest.mark.parametrize("kind", ["judge", "human"])
def test_what_only_people_judge_is_counted_as_not_checked(kind):
    assert said(kind, "anything") == []
    assert "not checked by machine" in checkers.not_checkable(kind, checkers.Context())


def test_every_kind_of_the_schema_has_a_checker():
    from typing import get_args

    from compliance.rules.schema import Kind

    assert set(get_args(Kind)) == set(checkers.CHECKERS)


@pytest.mark.parametrize("text", ["guaranteed " * 90_000, "not guaranteed. " * 60_000])
def test_a_megabyte_is_read_in_linear_time(text):
    given = rule(match=[r"\bguaranteed\b"], unless=["not a guaranteed"], exempt=("negated",))
    before = time.process_time()
    checkers.existence(given, Text(text), checkers.Context())
    assert time.process_time() - before < 20
