"""Postal addresses: words as letters, orders of countries, and what only looks like one."""

import random

import pytest

from compliance.privacy.detectors import countries, postal
from compliance.privacy.detectors.postal_words import spelt
from compliance.privacy.scan import scan


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("Mail 14 Birch Lane, Leeds LS1 4AP.", "W2WScWz."),
        ("mail 14 birch lane", "W2WS"),  # a text without capitals may name anything
        ("Please mail 14 birch lane", "mw2ws"),
        ("12 rue de Montclar\n12345 AUBRAC", "2QjWl5W"),
        ("38.4% of 1,200 and $172 in 2019 at 5", "7j7+7jyw1"),
        ("> 12b Colverde\n- 3/14 Umari", "hWlhW"),
        ("P.O. Box 12, New South Wales", "B2cX"),
        ("PSC 12, APO AE 09123", "T2cAR5"),
        ("12-345 Umari, Norvale 12345-6789", "ZWcWY"),
        ("Table 4 in May or 555-0199", "m1jm+p"),
    ],
)
def test_each_word_is_a_letter(text, letters):
    assert spelt(text)[0] == letters


def test_letters_stand_where_their_words_do():
    text = "I: Unit 3, New South Wales LS1 4AP"
    letters, places = spelt(text)
    told = [text[start:end] for start, end in places]
    assert told == ["I", ":", "Unit", "3", ",", "New South Wales", "LS1 4AP"]
    assert len(letters) == len(places)


PIECES = (
    "the of fee write to 12 14 1200 5 1.2% $5 1,250 2019 Birch Lane, Leeds LS1 4AP SW1A 1AA."
    " New York, new york Main street st. Calle de la Mayor 10 28001 Madrid Straße Apt B APO AE 9012"
    " P.O. Box post office box - > ( Ciudad 100-0001 Japan. no. Fall 5"
)


def test_prose_without_a_number_near_holds_no_address(monkeypatch):
    def drawn(seed: int) -> str:
        draw = random.Random(seed)
        text = "".join(
            piece + draw.choice([" ", " ", " ", "  ", ", ", "\n"])
            for piece in draw.choices(PIECES.split(), k=draw.randint(4, 30))
        )
        return text.lower() if seed % 5 == 0 else text

    texts = [drawn(seed) for seed in range(4000)]
    near = [postal.postal_addresses(text) for text in texts]
    monkeypatch.setattr(postal, "spelt_near_numbers", spelt)
    assert near == [postal.postal_addresses(text) for text in texts]
    assert sum(map(bool, near)) > 300


def test_whether_codes_stand_before_their_towns_is_what_the_country_says():
    before, behind = countries.codes_before_towns(), countries.codes_behind_towns()
    for code in ("12-345", "1234-567", "1234 AB", "CH-8000"):
        assert before.fullmatch(code) and not behind.fullmatch(code)
    for code in ("LS1 4AP", "M5B 1B2", "12345-6789", "12345-678"):
        assert behind.fullmatch(code) and not before.fullmatch(code)
    assert {"germany", "south africa"} <= countries.names()
    assert {"ohio", "new south wales"} <= countries.regions()
    assert {"NSW", "TX"} <= countries.region_codes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # The street has no word for one: its order, the words before it or its line tell.
        ("Kirrova 68, 12345 Zellbach", "Kirrova 68, 12345 Zellbach"),
        ("Kirrova 641/9, Zellbach", "Kirrova 641/9, Zellbach"),
        ("She lives at 172 Kirra 75, Umari.", "172 Kirra 75, Umari"),
        ("It is on the corner of Kirra 99 and the park", "Kirra 99"),
        # Orders of countries.
        ("Serranoplein 12, 1234 AB Hemsdorp", "Serranoplein 12, 1234 AB Hemsdorp"),
        ("Villa Strasse 80, Umari", "Villa Strasse 80, Umari"),
        ("Serranogatan 80, 123 45 Umari, Sweden", "Serranogatan 80, 123 45 Umari, Sweden"),
        ("Rua Serrano, 65, Umari", "Rua Serrano, 65, Umari"),
        ("24 Kirra Drive\nUmari NSW 2019", "24 Kirra Drive\nUmari NSW 2019"),
        ("to USS Otway\nFPO AP 96123", "USS Otway\nFPO AP 96123"),
        ("PO Box 12, Umari", "PO Box 12, Umari"),
        # Without capitals.
        ("12 birkner st apt 4, umari tx 12345", "12 birkner st apt 4, umari tx 12345"),
    ],
)
def test_an_address_is_found_whole(text, words):
    found = [text[e.start : e.end] for e in scan(text) if e.type == "ADDRESS"]
    assert found == [words]


@pytest.mark.parametrize(
    "text",
    [
        "Ireland 19-13 England",
        "Table 4, Berlin",
        "The Platz 2 Account costs 46 a month",
        "38.4% reside in Argentina, 15.6% in Italy",
        "It could rise in 2006. The island state asks why.",
        "As you see on Slide 14, we rolled it forward.",
        "Their outage was at Unit 3.",
        "They came back: sent to Japan Airlines in 2004.",
        "The machine has 6 USB ports and 2 of 10. The rest is at 5.",
        "She puts 4 in her box 5 days a week.",
        "See RFC 3986, sampled at 1000 Hz, and gh-12963.",
        "Windows 95, 98, ME, NT, 2000 and XP",
        "From 6>>6th place they fell to 4.",
        "The Watergate 600 deal, signed May 3, Paris.",
        "Germany, Austria and the United Kingdom in 2019",
    ],
)
def test_what_only_looks_like_one_stays(text):
    assert [e for e in scan(text) if e.type == "ADDRESS"] == []
