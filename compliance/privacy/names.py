"""Names of a firm's own customers, found in text: whole, in part, inflected, without accents.

    Names(["Grace Whitfield"]).find("Ms Whitfield's form")     # [(3, 13)]

The list decides who is a customer; nothing is guessed from a word's looks. Words that are also
ordinary ones (Will, Grace, Mark) count alone only where they are written and used as a name.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from compliance.normalise import Span, normalise
from inhouse.errors import InputError
from inhouse.files import read_utf8

# First names and surnames that are also words, months, places or things of finance.
_ORDINARY_WORDS = """
will grace mark may hope rose frank bill art summer faith joy dawn penny rich drew pat chase
grant sterling cash price banks young king bond april june august autumn ivy lily olive daisy
violet amber ruby pearl crystal jade sandy rusty victor major earl duke prince dean guy jack bob
nick rob sue don gene ray ken wade lance miles max ace chip buck rod chuck gail mercy patience
charity constance prudence honor honour justice destiny trinity angel christian dale glen brook
brooke heath cliff forest reed rock stone wood woods field fields hill hills lake rivers brooks
bridge church house hall park street lane temple castle garden gardens baker butcher carpenter
cook cooper farmer fisher gardener hunter judge mason miller porter potter shepherd singer smith
taylor turner walker weaver carter archer bishop abbot pope monk knight page squire marshall
chamberlain steward stewart noble savage wise strong swift sharp moody short long small little
large best good better gold silver brown black white green gray grey blue day week spring winter
snow frost rain storm winds moon star sun north south east west england ireland france holland
london york washington lincoln jordan israel paris sydney florence austin dallas houston chelsea
madison savannah carolina georgia virginia asia china india kenya wall bell ball case love
loving power powers rush fox wolf bird drake crane swan hawk lamb bull bullock colt buckle
cotton carr ford parks post poole pond pool root roots sage self sellers sells speaks spark
sparks steel tower towers trust usher vale vance ward ware wells wild wilder winner worth wright
law laws lay lease leach mill mills moss nail nation newman oakes outlaw pace paine parent peace
pepper perry person pike pitts plant pound pratt prior profit quick read rice ring rings robins
rolls rowe rule rules salmon salt sale sales saver savings share shares shore skipper snell
spencer stock stocks story summers tack teller tempest term tiller toll tuck tyre union vane
vest vine wage wages waters watts way wealth welsh wing yard call close cross dollar early fair
fee fees fine flood fortune free freeman friend fund gain gains gates gift gill goods grand
grove hand hands hardy harm head high holiday holder hood hook hooper horn howe hull hunt in
ives key keys land lender loan loans lord loss lot low bonds born bowl boyle branch brand bread
broker bright buyer candy cannon car card cards change charge check claim clay clear coin coins
cost costs crook curry dame date debt deeds draft equity estate exchange an to he she you we us
no so do ma li le la de da di van von der den ten bin al el
"""
_ORDINARY = frozenset(_ORDINARY_WORDS.split())
_TITLES = (
    r"mr|mrs|ms|miss|mx|dr|prof|sir|dame|lady|lord|dear|herrn?|frau|familie|mme|mlle|madame|monsieur"
    r"|senora?|senorita|sra?|srta|don|dona|signora?|signor|sig|dott|mevrouw|meneer|mevr|dhr|pani?"
)
_LEAD = (
    rf"(?:{_TITLES}|hi|hello|hey|customer|client|named|called|"
    r"mister|madam|attn|attention|fao|regards|sincerely|thanks|cheers|signed|with|from|by|to|for"
    r"|and|"
    r"tell|ask|asked|told|told|met|saw|call|contact|email|phone|about|that|if|when|because|while|"
    r"as|says|said|wrote|of|between|let|give|gave|send|sent|remind|invite|meet|see|thank|is|was|am|"
    r"i'm|or|but|then|where|why|how|has|have|did|does|can|could|should|would|,)"
)
_VERB = (
    r"(?:has|had|is|was|called|rang|asked|wrote|said|says|wants|wanted|opened|closed|moved|lives|"
    r"lived|phoned|emailed|signed|complained|paid|pays|owes|owed|told|tells|would|will|can|could|"
    r"needs|needed|prefers|joined|left|sent|sends|received|gets|got|agreed|confirmed|thinks|thou"
    r"ght|"
    r"applied|holds|keeps|works|worked|married|died|requested|requests|mentioned|explained|and i|"
    r"visited|came|went|bought|sold|transferred|lost|found|made|spoke|speaks|does|did|hasn't|"
    r"isn't|wasn't|doesn't|didn't|won't|can't)"
)
_TAIL = r"(?:'s|s'|')?"
# Endings that languages put on a name: genitive, dative, instrumental …
_ENDINGS = r"(?:s|es|a|u|em|om|ie|owi|ego|emu|ej|ą|in|n|en|na|lle|lla|sta|in|ova|ová|e|y|i|ya|yi)?"


class Names:
    """A customer list, ready to look for."""

    def __init__(self, names: Iterable[str]):
        self._full: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        self._firsts: set[str] = set()
        self._lasts: set[str] = set()
        for name in (spelt for given in names for spelt in _spellings(given)):
            parts = tuple(_parts(normalise(name).text))
            if not parts:
                continue
            self._full[parts[0]].add(parts)
            if len(parts) > 1:
                self._full[parts[-1]].add(parts)
                self._firsts.add(parts[0])
                self._lasts.add(parts[-1])
            elif len(parts[0]) > 2:
                self._lasts.add(parts[0])
        self._known = self._firsts | self._lasts | set(self._full)

    @classmethod
    def read(cls, path: Path) -> Names:
        """One name a line; empty lines and ``#`` comments are passed over.

        Raises:
            InputError: no such file, not UTF-8, or no name in it.
        """
        names = [line.strip() for line in read_utf8(path).splitlines()]
        names = [name for name in names if name and not name.startswith("#")]
        if not names:
            raise InputError(f"{path} holds no name: expected one a line")
        return cls(names)

    def find(self, text: str) -> list[Span]:
        """Where customers are named, in order. Linear in the text."""
        words = [(m.start(), m.end(), m.group()) for m in _WORD.finditer(text)]
        stems = [_stem(word, self._known) for _, _, word in words]
        spans: list[Span] = []
        at = 0
        while at < len(words):
            taken = self._full_at(text, words, stems, at) or self._part_at(text, words, stems, at)
            if taken:
                last = at + taken - 1
                spans.append((words[at][0], words[last][0] + _bare(words, last)))
                at += taken
            else:
                at += 1
        return spans

    def _full_at(self, text: str, words: list, stems: list[str], at: int) -> int:
        """How many words from here are a customer's whole name, in either order, or 0."""
        for parts in self._full.get(stems[at], ()):
            if len(parts) < 2:
                continue
            for order in (parts, (parts[-1], *parts[:-1]), (parts[0], parts[-1])):
                here = tuple(stems[at : at + len(order)])
                if here == order and _joined(text, words, at, len(order)):
                    ordinary = all(part in _ORDINARY for part in order)
                    if not ordinary or all(w[2][0].isupper() for w in words[at : at + len(order)]):
                        return len(order)
            # a middle name or initial between the two
            here = tuple(stems[at : at + 3])
            if len(here) == 3 and (here[0], here[2]) == (parts[0], parts[-1]):
                middle = words[at + 1][2]
                if middle[0].isupper() and _joined(text, words, at, 3):
                    return 3
        return 0

    def _part_at(self, text: str, words: list, stems: list[str], at: int) -> int:
        """How many words from here name a customer in part: a surname, "G. Whitfield"."""
        start, _, word = words[at]
        stem = stems[at]
        if at + 1 < len(words) and len(word) == 1 and word.isupper():
            following = stems[at + 1]
            known = any(p[0][0] == word.lower() for p in self._full.get(following, ()))
            capital = words[at + 1][2][0].isupper()
            if known and following in self._lasts and capital and _joined(text, words, at, 2):
                return 2
        if stem not in self._firsts and stem not in self._lasts:
            return 0
        if not word[0].isupper() or len(stem) < 2:
            return 0
        titled = bool(_TITLE.search(text[max(0, start - 12) : start]))
        if self._is_other(text, words, stems, at) and not titled:
            return 0
        if titled:
            return 1
        if stem in _ORDINARY or len(stem) <= 3:
            return int(self._used_as_name(text, words, at))
        return 1

    def _is_other(self, text: str, words: list, stems: list[str], at: int) -> bool:
        """Whether a name goes on with a word that no customer of that name has."""
        if at + 1 < len(words) and _joined(text, words, at, 2):
            following = words[at + 1][2]
            named = following[0].isupper() and following.isalpha() and len(following) > 1
            if named and (not following.isupper() or words[at][2].isupper()):
                return stems[at + 1] not in self._known or stems[at] in _ORDINARY
        if at > 0 and _joined(text, words, at - 1, 2) and stems[at] in self._lasts:
            before = words[at - 1][2]
            if before[0].isupper() and len(before) > 2 and not _starts(text, words[at - 1][0]):
                return not _TITLE_WORD.fullmatch(before) and stems[at - 1] not in self._known
        return False

    def _used_as_name(self, text: str, words: list, at: int) -> bool:
        start, end, word = words[at]
        if word.isupper() and len(word) > 1 and text[max(0, start - 20) : end + 20].isupper():
            return False
        after = text[end : end + 24]
        if word.lower() in _MONTHS and (
            _starts(text, start) or _MONTH_BEFORE.search(text[max(0, start - 14) : start])
        ):
            return bool(_PERSON_VERB.match(after))
        if _starts(text, start):
            return bool(_VERB_NEXT.match(after)) and not _NOT_NAME.match(word + after)
        before = text[max(0, start - 14) : start]
        return bool(_LEADS.search(before)) and not _THING_NEXT.match(after)


_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*(?:'[^\W\d_]{2,})?")
_TITLE = re.compile(rf"\b(?:{_TITLES})\.?\s+$", re.IGNORECASE)
_TITLE_WORD = re.compile(
    rf"{_TITLES}|hi|hello|hey|thanks|customer|client|and|"
    r"for|to|"
    r"from|please|madam|mister|good|morning|afternoon|evening|[a-z]+ly",
    re.IGNORECASE,
)
_LEADS = re.compile(rf"(?:\b{_LEAD[3:-1].join(('(?:', ')'))}|,|\(|\"|:|-)\s*$", re.IGNORECASE)
_VERB_NEXT = re.compile(rf"(?:'s [a-z]| and [A-Z]| {_VERB}\b)")
_MONTHS = frozenset(("april", "may", "june", "july", "august", "january"))
_MONTH_BEFORE = re.compile(
    r"(?:\b(?:for|in|from|by|of|since|until|till|to|and|or|during|before|after|early|late|mid|th"
    r"rough|"
    r"between|on|at|last|next|this|every|each|as|with|about|\d(?:st|nd|rd|th)?)|,|-|\()\s*$",
    re.IGNORECASE,
)
_PERSON_VERB = re.compile(
    r" (?:called|rang|asked|wrote|said|says|wants|wanted|phoned|emailed|signed|lives|told|compla"
    r"ined)\b"
)
_NOT_NAME = re.compile(
    r"(?:Will|May|Can|Mark|Bill|Grant|Chase|Price|Cash|Bond|Rose) (?:i|you|we|it|this|that|they|"
    r"the|my|"
    r"is|was|would|will|can|could|made|found|has|had)\b|(?:Grace|Hope|Faith|Joy|Cash|Price|Dawn|"
    r"Summer|"
    r"May|April|June|August|Bond|Art|Bill|Mark) (?:is|was|would|will|can|could|has|had)\b",
    re.IGNORECASE,
)
_THING_NEXT = re.compile(
    r" (?:\d|period|days?|scheme|& (?:Partners|Co|Sons|Associates)|fund|"
    r"street|road|account|rate|price|bank|card|twain|up|down|of)"
    r"\b|-|\d",
    re.IGNORECASE,
)
_SPELT_OUT = str.maketrans(
    {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "å": "aa",
        "ø": "oe",
        "Ä": "Ae",
        "Ö": "Oe",
        "Ü": "Ue",
        "Å": "Aa",
    }
)


def _spellings(name: str) -> set[str]:
    """A name as it stands and with its umlauts spelt out."""
    return {name, unicodedata.normalize("NFC", name).translate(_SPELT_OUT)}


def _parts(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _stem(word: str, known: set[str]) -> str:
    """The listed word that this one is a form of, or the word itself, in lower case."""
    low = word.lower()
    if low in known:
        return low
    bare = re.sub(r"(?:'[^\W\d_]*)$", "", low)
    if bare in known:
        return bare
    if len(bare) > 4 and word[0].isupper():
        for cut in range(1, 4):
            base = bare[:-cut]
            if len(base) >= 4 and base in known and re.fullmatch(_ENDINGS, bare[-cut:]):
                return base
    return low


def _bare(words: list, at: int) -> int:
    """Length of a word without its possessive ending."""
    word = words[at][2]
    cut = word.lower().find("'s")
    return cut if cut > 0 and cut == len(word) - 2 else len(word)


def _joined(text: str, words: list, at: int, count: int) -> bool:
    """Whether words stand side by side: blanks, a comma after a surname, a dot after an initial."""
    for one, two in zip(words[at : at + count - 1], words[at + 1 : at + count], strict=False):
        between = text[one[1] : two[0]]
        if between.strip(" \t\n") not in ("", ",", ".") or len(between) > 3:
            return False
        if "." in between and len(one[2]) > 1:
            return False
    return True


def _starts(text: str, start: int) -> bool:
    """Whether a word opens a sentence, where any word has a capital."""
    before = text[max(0, start - 40) : start].rstrip(" \t\"'(*-")
    return not before or before[-1] in ".!?:\n;"
