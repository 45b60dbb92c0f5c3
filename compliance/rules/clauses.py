"""Who says what in a sentence: negation, questions, and words that are somebody else's.

    text = Text("Nothing is guaranteed, whatever the advert says.")
    text.negated((11, 21))        # True

House rules look for words; these functions say whether the words are the firm's own claim. They
follow the idea of NegEx (Chapman et al. 2001, https://doi.org/10.1006/jbin.2001.1029): cues open a
scope, conjunctions end it, and pseudo-cues ("not only") open none. All patterns are re2's and run
on one sentence at a time, only where a rule has found something.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from typing import Any

from compliance.normalise import Normalised, Span, normalise
from compliance.patterns import compile_pattern

REACH = 600  # characters of a sentence that are looked at either side of a place
_END = re.compile(r"[.!?]+[\"')\]*_]*\s+|\n\s*")

# Words that a full stop abbreviates, and what looks like initials: "U.S.".
_SHORT = re.compile(
    r"(?:mr|mrs|ms|dr|prof|st|vs|inc|ltd|co|corp|approx|est|cf|al|jan|feb|"
    r"aug|sept?|oct|nov|dec|\w\.\w|[a-z])\Z",
    re.IGNORECASE,
)

# Abbreviations that are words as well ("No. You may not."): only before a figure are they short.
_SHORT_BEFORE_FIGURE = re.compile(r"(?:nos?|art|sec|fig|para|ch)\Z", re.IGNORECASE)

# What opens a negation, and what only looks like it.
_SUBJECT = compile_pattern(r"\b(?:nothing|nobody|no[- ]one|none|neither|nor|no)\b")
_NOUN_ONLY = compile_pattern(r"\b(?:no|nothing|none|nobody|without)\b")
_CUE = compile_pattern(
    r"\b(?:not|no|never|none|nobody|nothing|nor|neither|without|cannot|hardly|rarely|unlikely|"
    r"unable to|\w+n't|don?t|cant|wont|isnt|arent|wasnt|doesnt|didnt|"
    r"refus(?:e|es|ed|ing) to|declin(?:e|es|ed|ing) to|avoid(?:s|ed|ing)?|refrain(?:s|ed)? from|"
    r"(?:prohibited|prohibits?|prevents?|barred|banned|bans?|stop|stops|keeps?)(?: \w+){0,2} from|"
    r"forbid(?:s|den)?|prohibit(?:s|ed|ing)?|stops? short of|steer clear of|"
    r"rather than|instead of|as opposed to|unlike|far from|by no means|anything but|nor does|"
    r"(?:wrong|misleading|incorrect|improper|impossible|inappropriate|dishonest|false|untrue|"
    r"unlawful|illegal|irresponsible|unfair|difficult|hard|unwise|too early) (?:to|for|that)|"
    r"(?:tempting|easy|natural|common|human|naive) to (?:think|assume|believe|hope|suppose"
    r"|imagine)|"
    r"(?:a |the )?myth|misconception|no such thing as|"
    r"beware(?: of)?|(?:be |stay |remain )?(?:wary|cautious|careful|sceptical|skeptical"
    r"|suspicious) "
    r"(?:of|about|with|when)|watch out for|"
    r"against (?:the |our )?(?:rules?|polic(?:y|ies)|regulations?|law) to)(?:\W|$)"
)
_PSEUDO = compile_pattern(
    r"\b(?:not (?:only|just|merely|simply|solely)|(?:no|without(?: a| any)?) (?:doubt|question)|"
    r"no matter|not to mention|nothing (?:but|less|short of)|no (?:worries|problem|wonder|brainer|"
    r"hassle|strings|catch|fuss|sweat|fear)|not to worry|no need to (?:worry|wait|think|hesitate)|"
    r"no[- ](?:risk|lose)|(?:do not|don't|dont|never|needn't|need not|no reason to) "
    r"(?:worry|fear|fret|panic|hesitate|wait|delay|miss|forget"
    r"|need to worry)(?: about)?(?: \w+){0,3}|"
    r"never fear|without (?:fail|delay|any delay|worry|worrying|effort|hassle)|why (?:not"
    r"|don't|wait)|"
    r"(?:can't|cannot|can not|never) (?:go wrong|lose|fail|miss|beat|wait)|could(?:n't| not) be|"
    r"not everyone (?:knows|realises|realizes)|(?:nobody|no one|no other \w+|no other|none) else|"
    r"no other|no better|never been|never before|never (?:again|fails?)|not fail|"
    r"if not|not all|unlike (?:other|others|most|many|our|the|your|some|any)|"
    r"whether or not|or not|not a single|why (?:wouldn't|wouldn't you|shouldn't)|"
    r"(?:would|should|could|do|are|were|have|did)n't (?:you|we|they)|(?:is|was)n't (?:he|she))\b"
)

# A negated verb of saying, giving or allowing reaches over all that depends on it.
_GOVERNS = compile_pattern(
    r"^(?:that\b|(?:[\w'-]+ ){0,4}?(?:say|said|tell|told|promise|promised|claim|claims|predict"
    r"|forecast|know|knows|suggest|mean|means|assume|guarantee|guarantees|imply|implies|expect|state|confirm|"
    r"assure|represent|offer|offers|provide|give|gives|giving|given|make|made|making|recommend|"
    r"describe|pretend|hint|threaten|call|ask|asks|asking|asked|request|requests|require|requires|"
    r"requiring|need|share|disclose|believe|consider|considers|accept|use|uses|take|taken|allow|allowed|"
    r"permitted|permit|able|possible|position|speak|comment|discuss|act|trade|pass|reveal|see|"
    r"want|intend|intended|plan|seek|try|trying|aim|saying|telling|claiming|promising|stating|"
    r"calling|assuming|suggesting|offering|sharing|sending|send|post|read|repeat|type|enter|"
    r"write|publish|advertise|market|present|treat|factor|base|based|depend|depends|look|ever|"
    r"agree|endorse|approve|work out|calculate|compute|estimate|figure out|"
    r"one|firm|adviser|advisor|investment|product|return|returns|outcome|"
    r"reason|reasons|role|bearing|influence|part|evidence|basis|way|plans?|intention)\b)"
)
_STOPS = compile_pattern(
    r"[;:]|\s[–—-]+\s|—|\b(?:until|unless) (?:you|we|i)\b|"
    r"\b(?:but|however|although|though|whereas|because|except|nevertheless|"
    r"nonetheless|otherwise|instead,|yet)\b|,\s*(?:so|and|or|then)\s+(?:it|you|we|they|this|that|"
    r"your|our|the|i|there|he|she)\b|,\s*(?:you|your|it|we|our|they|this|the|i|there|just"
    r"|simply)\b|"
    r"\band (?:i|you|it|we|they|that)'(?:m|re|s|ve|ll|d)\b|"
    r"\band (?:you|it|we|they|your|our|this|i) (?:will|can|are|is|have|should|must|'ll)\b|"
    r"\bso (?:you|it|your) (?:will|can|are|is)\b"
)
_AFTERWARDS = compile_pattern(
    r"^[^;:.!?]{0,70}?(?:"
    r"\b(?:is|are|was|were|would be|'s|'re) (?:simply |definitely |certainly |almost "
    r"|usually |often "
    r"|always |nearly always )?(?:not|never) (?:something|anything|what|possible|available"
    r"|offered|given|"
    r"made|part|allowed|permitted|certain|sure|assured|guaranteed|"
    r"appropriate|the case|true|correct|accurate|realistic|real|ours?|"
    r"in our|promised|implied|provided|a promise|on offer|how|within|an option|taken|considered|"
    r"factors?|used|relevant|who we|language|wording|words?|a term|a phrase|we)|"
    r"\b(?:isn't|aren't|wasn't|weren't) (?:something|anything|what|possible|available|offered"
    r"|given|"
    r"allowed|permitted|appropriate|true|correct|accurate|realistic|real|how|part|relevant"
    r"|factors?|"
    r"considered|a word|a term|a phrase|language|wording|words?)|"
    r"\b(?:cannot|can't|can never|must not|may not|should not|shouldn't|will not|won't|must never|"
    r"should never|will never|never) be (?:made|given|offered|promised|predicted|assured|provided|"
    r"taken|stated|claimed|used|shared|asked|expected|relied|assumed|discussed|told|said|sent"
    r"|known)|"
    r"\b(?:do not|does not|don't|doesn't|did not|didn't) (?:exist|apply|form part|play|affect|"
    r"influence|enter|count|come into|feature|matter)|"
    r"\b(?:is|are|would be|was|were) (?:\w+ )?(?:impossible|prohibited|forbidden|unlawful|illegal|"
    r"misleading|wrong|false|untrue|incorrect|inaccurate|a myth|a misconception|a red flag"
    r"|red flags|"
    r"a warning sign|a sign of|a scam|scams?|fraud|fraudulent|banned|against|inappropriate|"
    r"unrealistic|nonsense|too good to be true|irrelevant|out of the question|off the table)|"
    r"\b(?:which|that|what|something|anything|thing|one|things) (?:we|i|the firm|our (?:firm|team|"
    r"staff|advisers?)) (?:simply |just )?(?:cannot|can't|do not|"
    r"don't|never|will not|won't|could not|would not|wouldn't|may not|must not|are not able|"
    r"are unable|refuse)\b|\b(?:nobody|no one|no-one|no (?:honest |genuine |regulated )?(?:firm|"
    r"adviser|advisor|bank|investment|fund)) (?:can|could|will|is able|should|may)\b)"
)

# A reason is a clause of its own: "… is ideal, as it is impossible to lose".
_WHY = compile_pattern(r"\b(?:since|because|as (?:it|they|there|you|we|the|this|that))\b")

# Somebody else's words: who speaks, or that words are spoken about.
_SPEAKER = compile_pattern(
    r"\b(?:you|he|she|they|someone|somebody|anyone|anybody|people|callers?|scammers?|fraudsters?|"
    r"uncles?|aunts?|dad|mum|mom|father|mother|parents?|cousins?|(?:brother|sister|son|father|mother)"
    r"-in-law|mates?|buddy|buddies|co-?workers?|boss|barber|readers?|newsletters?|agents?|bloggers?|"
    r"criminals?|impostors?|customers?|friends?|neighbou?rs?|colleagues?|brothers?|sisters?|"
    r"competitors?|firms?|compan(?:y|ies)|websites?|sites?|adverts?|ads?|advertisements?|"
    r"advertisers?|articles?|e-?mails?|texts?|messages?|letters?|leaflets?|brochures?|flyers?|"
    r"headlines?|posts?|posters?|videos?|influencers?|podcasts?|promotions?|pitch(?:es)?|"
    r"salesm[ae]n|salespeople|sellers?|promoters?|newspapers?|press|forums?|reviewers?"
    r"|commentators?|"
    r"others|some|many|whoever|document|page|screenshot|offer|adviser|broker|rival)"
    r"(?:'s|'ve|'d|'re)?(?: \w+){0,3}? (?:say|says|said|saying|tell|tells|told|telling|claim"
    r"|claims|"
    r"claimed|claiming|promis(?:e|es|ed|ing)|mention(?:s|ed|ing)?|quot(?:e|es|ed|ing)|ask(?:s"
    r"|ed|ing)?|"
    r"wr(?:ite|ites|ote)|written|writing|read|reads|heard|hear|saw|seen|see|sees|describ(?:e"
    r"|es|ed|ing)|"
    r"call(?:s|ed|ing)|advertis(?:e|es|ed|ing)|offer(?:s|ed|ing)|pitch(?:es|ed|ing)"
    r"|insist(?:s|ed|ing)?|"
    r"suggest(?:s|ed|ing)?|believ(?:e|es|ed|ing)|think|thought|wonder(?:ed|ing)?|assum(?:e|ed|ing)|"
    r"stat(?:e|es|ed|ing)|boast(?:s|ed|ing)?|tout(?:s|ed|ing)?|refer(?:s|red|ring)? to|forwarded|"
    r"pasted|sent|includes?|contains?|uses?|used|worr(?:y|ied)|hop(?:e|ed|ing)|expect(?:ed|ing)?|"
    r"want(?:ed)? to know|pressures?|pressuring|urg(?:e|es|ed|ing)|threaten(?:s|ed|ing)?"
    r"|warn(?:s|ed|ing)?|shown?|showed|demand(?:s|ed|ing)?)\b|"
    r"\b(?:friends?|brothers?|sisters?|neighbou?rs?|colleagues?|he|she|they|someone|somebody|you)"
    r"(?:'s|'re| is| are| was| were| seems?)(?: \w+)? "
    r"(?:sure|certain|convinced|confident|told|promised)\b|"
    # Of "who", "that" and "which" only with verbs of speech: "a fund that offers" is one's own.
    r"\b(?:who|that|which)(?: \w+){0,2}? "
    r"(?:say|says|said|tells?|told|claim(?:s|ed)?|promis(?:es|ed)|ask(?:s|ed)|mention(?:s|ed)|insist(?:s|ed)|boast(?:s|ed)|tout(?:s|ed)|urg(?:es|ed)|"
    r"pressur(?:es|ed)|threaten(?:s|ed)|demand(?:s|ed)|want(?:s|ed) your|request(?:s|ed))\b"
)
_ABOUT_WORDS = compile_pattern(
    r"\b(?:claims?|promises?|statements?|rumou?rs?|reports?|quotes?|slogans?|headlines?|"
    r"adverts?|ads?|advertisements?|messages?|emails?|texts?|calls?|offers?|posts?|pitch(?:es)?) "
    r"(?:of|that|about|like|such as|saying|promising|claiming|with|offering|headed|titled|asking|"
    r"containing|for|reading)\b|"
    r"\b(?:phrases?|words?|expressions?|wording)(?: (?:like|such as|as|'|\"|of|is|to))|"
    r"\b(?:terms?|language|lines?|labels?)(?: (?:like|such as|as|'|\"))|"
    r"\b(?:led|leads?) (?:you|people|them|\w+one) to (?:think|believe|expect|hope)\b|"
    r"\b(?:impression|belief|notion) that\b|"
    r"\b(?:so-called|supposed(?:ly)?|alleged(?:ly)?|purported(?:ly)?|in quotes|the (?:word|phrase|"
    r"term|expression|claim|slogan|headline|line|wording|question|label))\b|"
    r"\bwhether (?:or not )?[\w']+|\b(?:ask(?:s|ed|ing)?|know|wonder(?:s|ed|ing)?|see|say"
    r"|tell(?: you| us)?|"
    r"check|question|unsure|sure|understand|enquir\w+|inquir\w+) if\b|"
    r"\b(?:asked|asking|question(?:s|ed)?|enquir(?:y|ed|ies)|inquir(?:y|ed|ies)|wondering)"
    r"(?: \w+)? (?:about|if|whether|why|how|for)\b"
)
_OWN_AGAIN = compile_pattern(
    r"\b(?:and|but|because|so|,) (?:we|i|our) (?:(?:do|can|will|also|fully|are (?:happy"
    r"|glad) to) )*"
    r"(?:agree|confirm|promise|guarantee|offer|do|can|match|mean)\b|"
    r"\b(?:that(?: is|'s)|it(?: is|'s)|they(?: are|'re)|you(?: are|'re)) (?:\w+ )?(?:right"
    r"|true|correct|"
    r"spot on|accurate)\b|\b(?:is|are) (?:\w+ )?(?:right|correct|true)(?: that| to say)?\b"
)
_AS_THEY_SAY = compile_pattern(
    r"\bas (?:you|he|she|they|the|our|many|some|everyone|people|others|all|any)(?:[\w' -]{0,40}?)$"
)

# What a customer told is the ground of advice, and not advice reported: "from what you said".
_BACKGROUND = compile_pattern(
    r"\b(?:from|on|given|with|after|by)? ?(?:what|everything|all) you(?:'ve| have)? (?:just )?"
    r"(?:told|said|shared|mentioned|described)(?: (?:me|us))?\b|"
    r"\bdepends?(?: \w+)? on whether\b|"
    r"\b(?:because|since|as|now that|given that) you(?:'ve| have)? (?:just )?"
    r"(?:told|said|shared|mentioned|described)(?: (?:me|us))?\b|"
    r"\b(?:you|he|she|they)(?:'re|'s| are| is)(?: \w+)? (?:sure|certain) to\b|"
    r"\b(?:that|this) (?:being )?said\b|\bhaving said (?:that|this)\b|"
    r"\byou(?:'ll|'d| will| would| should| can| could| may| might)(?: \w+)? "
    r"(?:see|hear|expect|hope|think|believe|want|use|call|read|show|include|contain)\b"
)
_OWN_VOICE = compile_pattern(
    r"\b(?:i|we)(?:'ve|'d)?(?: \w+){0,2}? (?:said|told|promised|mentioned|offered|think|believe|"
    r"expect|hope|suggest|promise|guarantee|urge|insist)\b|"
    r"\b(?:my|our)(?: \w+)? (?:promise|word|pledge|claim|statement|assurance|offer|message)\b"
)
_YES = compile_pattern(
    r"^\W*(?:yes|yep|yeah|absolutely|certainly|definitely|of course|indeed|sure|correct|"
    r"(?:it|they|you|that) (?:is|are|do|does|can|will|was|were)(?: indeed)?(?:[.!,]|$)"
    r"|without a doubt|no problem|you bet|naturally)\b|"
    r"^\W*(?:about |around |roughly |nearly |over |some |at least |more than )*[£$€]?\d"
)
_SO = compile_pattern(
    r"^\W*(?:so|therefore|thus|hence|consequently|that(?:'s| is| was) (?:the reason|why)|"
    r"this (?:means|is why)|for (?:that|this) reason|as a result|which (?:means|is why)|"
    r"because of (?:that|this)|we (?:therefore|thus))\b"
)

# A sentence about what the one before names: its reason, or a pronoun for it.
_GOES_BACK = compile_pattern(
    r"^\W*(?:(?:the|our|one|its|a) (?:\w+ )?reason|because|"
    r"(?:that|it|this)(?:'s| is| was) because|"
    r"(?:it|they|these|those|both|also|all of (?:it|them)|each of them|everything in it)"
    r"(?:'s|'re)?)\b"
)
_QUESTION = compile_pattern(
    r"(?:^|[,;:–—-]\s*|\b(?:so|and|or|but|well|ok|okay),? )\W*(?:is|are|was|were|do|does|did"
    r"|can|could|"
    r"will|would|has|have|had|should|may|might|am|shall|what (?:is|are|was|were|does|do|did|"
    r"makes?|made|will|would|could|should|might|can|has|had|happens|exactly)|which|"
    r"who (?:says?|said|told|pays|else)|"
    r"(?:where|when|why) (?:is|are|was|do|does|did|will|would|has)|"
    r"how (?:is|are|was|were|do|does|did|can|could|would|will|has|much|many|far|well|long))\b"
)
_LURE = compile_pattern(
    r"^\W*(?:(?:would|should|could|do|are|have|did|is|was|does|has)n't "
    r"(?:you|we|it|that|this|your)\b|"
    r"(?:do|would|did|are|can|have|could|will) you (?:want|like|ready|know|imagine|fancy|"
    r"prefer|afford|ever|looking|tired|really)|why (?:not|wait|settle)|who (?:wouldn't|would not)|"
    r"what are you waiting|how about|isn't it time|ready|can you afford|will you let|could you "
    r"(?:please )?(?:confirm|send|share|give|tell|provide|let))"
)


class Text:
    """A text to check: how it reads, its sentences, and whose words stand where."""

    def __init__(self, written: str):
        self.written = written
        self.seen: Normalised = normalise(written)
        self.text = self.seen.text
        # The match patterns that may have a hit here, by the id of the list that they are from,
        # once one search for all has told them.
        self.live: dict[int, list[Any]] | None = None

    @cached_property
    def sentences(self) -> list[Span]:
        """Where each sentence or line stands, in order, without gaps."""
        ends = [
            found.end()
            for found in _END.finditer(self.text)
            if not self._abbreviates(found.start(), found.group())
        ]
        starts = [0, *ends]
        return [(a, b) for a, b in zip(starts, [*ends, len(self.text)], strict=True) if a < b]

    def _abbreviates(self, at: int, mark: str) -> bool:
        """Whether a full stop only ends an abbreviation."""
        if not mark.startswith(".") or not mark[1:].isspace():
            return False
        word = self.text[max(0, at - 12) : at].rpartition(" ")[2]
        if self.text[at + len(mark) :][:1].isdigit() and _SHORT_BEFORE_FIGURE.match(word):
            return True
        return bool(_SHORT.match(word))

    @cached_property
    def _starts(self) -> list[int]:
        return [start for start, _ in self.sentences]

    def sentence(self, at: int) -> Span:
        """The sentence that a place is in; of an endless one, what is within reach of the place."""
        if not self.sentences:
            return 0, len(self.text)
        start, end = self.sentences[max(0, bisect_right(self._starts, at) - 1)]
        return max(start, at - REACH), min(end, at + REACH)

    def following(self, at: int) -> str:
        """The sentence behind the one that a place is in, or nothing."""
        number = bisect_right(self._starts, at)
        return self.text[slice(*self.sentences[number])] if number < len(self.sentences) else ""

    def exchange(self, at: int) -> Span:
        """The sentence that a place is in, with the question it affirms, or its affirmation.

        What follows from it is part of it, too, and what it is the reason for: "You are over 70.
        That is why …", "We declined. The reason is …"; and what its pronoun stands for: "The fund
        is safe. It is insured …".
        """
        start, end = self.sentence(at)
        number = bisect_right(self._starts, at) - 1
        if number > 0:
            before = self.sentences[number - 1]
            if "?" in self.text[slice(*before)][-4:] and _YES.search(self.text[start:end]):
                start = before[0]
        if number > 0 and _GOES_BACK.search(self.text[start:end]):
            start = self.sentences[number - 1][0]
        following = self.following(at)
        if ("?" in self.text[start:end][-4:] and _YES.search(following)) or _SO.search(following):
            end = self.sentences[number + 1][1]
        end = min(end, at + REACH)
        return start, end

    # --- whose claim it is -------------------------------------------------------------------

    def negated(self, span: Span) -> bool:
        """Whether the words stand in the scope of a negation: "we do not promise a …"."""
        start, end = self.sentence(span[0])
        before, after = self.text[start : span[0]], self.text[span[1] : end]
        # A clause may begin with the words themselves: "if you don't pay, your wages are taken".
        stops = [
            min(found.end(), len(before))
            for found in _STOPS.finditer(self.text[start : min(span[0] + 12, end)])
            if found.start() < len(before)
        ]
        scope = before[stops[-1] :] if stops else before
        blanked = _blank(_PSEUDO, scope)
        for cue in _CUE.finditer(blanked):
            rest = blanked[cue.end() :]
            words = rest.split()
            leads = not blanked[: cue.start()].split() and bool(_SUBJECT.search(cue.group()))
            if leads and len(words) <= 9:
                return True
            if _NOUN_ONLY.search(cue.group()) and " and " in f"{rest} ":
                continue  # "no deposit and …", "pay nothing now and …"
            if len(words) <= 4 or _GOVERNS.search(rest):
                return True
        reason = _WHY.search(after)
        after = after[: reason.start()] if reason else after
        return bool(_AFTERWARDS.search(after)) and not _STOPS.search(after[:3])

    def denied(self, span: Span) -> bool:
        """Whether a negation stands among the words themselves: "the SEC does not approve"."""
        return negates(self.text[span[0] : span[1]])

    def asked(self, span: Span) -> bool:
        """Whether the words are part of a question that the next sentence does not affirm."""
        start, end = self.sentence(span[0])
        sentence = self.text[start:end]
        if "?" not in sentence[-6:] or _LURE.search(sentence) or span[1] > end:
            return False
        begin = sentence.find(
            " ", span[0] - start
        )  # the hit's first word may be the verb asked with
        asked = _QUESTION.search(sentence[: begin + 1 or None])
        return bool(asked) and not _YES.search(self.following(span[0]))

    def reported(self, span: Span) -> bool:
        """Whether the words are somebody else's, or are spoken about, and not made one's own."""
        start, end = self.sentence(span[0])
        before, after = self.text[start : span[0]], self.text[span[1] : end]
        cut = max((m.end() for m in _OWN_AGAIN.finditer(before)), default=0)
        near = _blank(_BACKGROUND, before[cut:])
        framed = _last(_SPEAKER, near), _last(_ABOUT_WORDS, near)
        at = max(framed)
        if at < 0 or _OWN_AGAIN.search(after) or _YES.search(self.following(span[0])):
            return False
        own = max((found.end() for found in _OWN_VOICE.finditer(near)), default=0)
        if _AS_THEY_SAY.search(near[:at]) or own > at:
            return False
        return '"' in near[at:] or not _ends_the_frame(near[at:])


def negates(words: str) -> bool:
    """Whether words hold a negation, and not only what looks like one ("not only")."""
    return bool(_CUE.search(_blank(_PSEUDO, words)))


def _ends_the_frame(text: str) -> bool:
    """Whether another main clause begins behind a speaker's verb."""
    return bool(_LEAVES.search(text))


_LEAVES = compile_pattern(
    # "the mortgage you mentioned, the …": the frame was a relative clause
    r"^\W*(?:[\w'-]+ ){1,3}(?:mentioned|described|listed|told (?:me|us)|shared|sent|asked|quoted"
    r"|said),\s+(?:the|that|an?|those|these|its|their|my)\b|"
    r";|\b(?:but|however|whereas)\b|,\s*(?:so|and|but)?\s*(?:we|our|i|you|your|it|this)\b|"
    r"\s[–—-]\s|:\s*(?:we|our|you|your|yes)\b"
)


def _last(pattern: Any, text: str) -> int:
    """Where the last match begins, or -1."""
    return max((found.start() for found in pattern.finditer(text)), default=-1)


def _blank(pattern: Any, text: str) -> str:
    """The text with every match replaced by as many neutral words as it had."""
    pieces, read = [], 0
    for found in pattern.finditer(text):
        pieces += [text[read : found.start()], "_" * (found.end() - found.start())]
        read = found.end()
    return "".join([*pieces, text[read:]])


FRAMES: dict[str, Callable[[Text, Span], bool]] = {
    "negated": Text.negated,
    "denied": Text.denied,
    "question": Text.asked,
    "reported": Text.reported,
}
