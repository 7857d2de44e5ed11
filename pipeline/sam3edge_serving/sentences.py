"""What to look for, out of what people write to an assistant.

The model takes noun phrases. Text that is a list already stays as it is: ``red car, dent`` or one phrase a line. A
sentence that asks for something is read by this rule, and by no more than that:

1. Of several sentences, those count that begin as a request does: find, detect, segment, show, give me, where are, are
   there, how many ... Where none does, the text is a list. Bullets and numbered lines go on with the sentence before.
2. Its beginning goes, with what is polite around it (``please``, ``can you``, ``for me``) and where it says to look
   (``in this image``); so does everything before a colon, what is excepted (``but not``), and how to answer (``and
   return JSON``).
3. What is left is divided at commas, ``and``, ``or`` and ``&``; articles, numbers and ``all``, ``every``, ``any`` go.
4. The plural becomes the singular: phrases that a bundle was exported for are in the singular.

``Find all scratches and dents in the image, please.`` is read as ``scratch`` and ``dent``.

The standard library only, for Lambda.
"""

from __future__ import annotations

import re

from sam3edge.core.phrases import single_spaced, split_phrases

MAX_SENTENCES = 2000
"""Characters of a text that is read as sentences; what is longer is a list, or none."""

# All patterns are matched against texts with single spaces; where one repeats, its alternatives begin differently, so
# that no text makes them try the same words in several ways.

_BULLET = re.compile(r"\s*[\r\n]+\s*(?:[-*•–]|\d{1,2}[.)])\s+")
_SENTENCES = re.compile(r"(?<=[.?!])\s+|[\n\r]+")
_POLITE = (
    r"(?:(?:please|kindly|hey|hi|hello|okay|ok|now|then)[,!]? "
    r"|(?:can|could|would|will) you |i (?:want|need|would like)(?: you)? to |i'd like(?: you)? to "
    r"|your task is to |help me (?:to )?|let's |try to )*"
)
_SHAPES = (
    r"(?:(?:bounding )?box(?:es)?|outlines?|masks?|polygons?|instances?|locations?|positions?|coordinates|number|count|"
    r"segmentations?)"
)
_MEANS = rf"(?:(?:(?:the|an?|all) )?{_SHAPES} (?:of|for|around) )?"
_VERBS = "find|detect|segment|locate|identify|recogni[sz]e|annotate|look for|search for|point (?:out|to)"
_NOUNS_TOO = "show|mark|outline|highlight|count|list|spot|get|extract|label|draw|see|return|give|tell|provide"
"""Verbs that are nouns, too (``label printer``): they ask for something when a determiner follows."""
_AFTER_NOUN = rf"(?=:| (?:me|us|all|every|each|any|some|the|an?|of|these|those|where|how many|{_SHAPES})\b)"
_QUESTIONS = (
    r"where(?: is| are|'s)|(?:is|are) there|do you see|how many|"
    rf"what(?: are|'s| is) the (?={_SHAPES} (?:of|for))|"
    r"(?:what|which)(?= .*\b(?:are there|do you see|can you see|are visible)\b)"
)
_ASKS = rf"(?:(?:{_VERBS})\b|(?:{_NOUNS_TOO})\b{_AFTER_NOUN}|(?:{_QUESTIONS})\b)"
_REQUEST = re.compile(
    rf"^{_POLITE}{_ASKS}(?: (?:me|us)\b)?:? ?(?:(?:where|how many)(?: is| are)? )?"
    rf"(?:and (?:{_VERBS}|{_NOUNS_TOO}) )?{_MEANS}(?=.*\w)",
    re.IGNORECASE,
)
_BEFORE_COLON = re.compile(r"^.*:[ ,]")
_AGAIN = re.compile(rf"^(?:how many|where (?:is|are)|(?:{_VERBS})) ", re.IGNORECASE)
_HOW_TO_ANSWER = re.compile(
    r"^(?:then )?(?:return|answer|respond|reply|output|print|format|use|give|write|provide|report|make|explain)\b",
    re.IGNORECASE,
)
_EXCEPTED = re.compile(r",? (?:but not|except(?: for)?|excluding|but no|and not) .*$", re.IGNORECASE)
_PICTURE = r"(?:images?|photos?|photographs?|pictures?|frames?|scenes?|screenshots?|footage)"
_WHERE = (
    r"(?:that you (?:can )?(?:see|find)|(?:which|that) (?:is|are)|are there|is there|there are|do you see|can you see|"
    r"are|is|visible|present|shown|located|situated|there|here|below|above|if any)"
)
_PLACE = re.compile(
    rf"(?:^|,? )(?:{_WHERE}\b ?)*"
    rf"(?:(?:in|on|within|of|from|at) (?:the |this |that |my |our |these )?(?:\w+ ){{0,2}}{_PICTURE}\b ?)?"
    rf"(?:(?:below|above|attached|provided|given|for me|for us|please|thanks|thank you),? ?)*[ .?!;:,]*$",
    re.IGNORECASE,
)
_BETWEEN_WORDS = re.compile(
    r" ?(?:,|;| & |\b(?:and/or|and|or|such as|including|as well as|along with|plus|i\.e\.|e\.g\.)(?= |$)) ?",
    re.IGNORECASE,
)
_COLOR = r"(?:black|white|gr[ae]y|red|green|blue|yellow|orange|brown|purple|pink|silver|gold)"
_TWO_COLORS = re.compile(rf"\b({_COLOR}) and (?={_COLOR}\b)", re.IGNORECASE)
_ONE_THING = "\x1f"
"""In place of the ``and`` of ``black and white``, which divides nothing."""
_DETERMINER = re.compile(
    r"^(?:(?:all|every|each|any|some|the|an?|this|that|these|those|both|of|single|visible|other|also|following|only|just|"
    r"\d{1,3}|one|two|three|four|five|six|seven|eight|nine|ten|several|many) )+",
    re.IGNORECASE,
)
_MARKS = " .?!:;-*•–\"'`“”‘’«»()[]"
_AFTER_HEAD = re.compile(
    r" (?:of|on|in|at|with|without|near|by|from|under|over|behind|beside|along|between|for|to) ", re.IGNORECASE
)


def _words(text: str) -> list[str]:
    return text.split()


_IRREGULAR: dict[str, str] = dict(
    pair.split(":")
    for pair in _words("""
        people:person persons:person men:man women:woman children:child feet:foot teeth:tooth geese:goose mice:mouse
        oxen:ox leaves:leaf knives:knife shelves:shelf wolves:wolf loaves:loaf halves:half thieves:thief calves:calf
        buses:bus busses:bus gases:gas lenses:lens axes:axe shoes:shoe horseshoes:horseshoe canoes:canoe toes:toe
        movies:movie cookies:cookie zombies:zombie ties:tie pies:pie caches:cache aches:ache headaches:headache
        houses:house greenhouses:greenhouse warehouses:warehouse vases:vase cases:case suitcases:suitcase bases:base
        roses:rose hoses:hose noses:nose horses:horse nurses:nurse purses:purse phases:phase fuses:fuse mazes:maze
        buzzes:buzz
    """)
)
_ENDINGS = (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("zzes", "zz"), ("oes", "o"))
_SAME = frozenset(
    _words("""
        glasses sunglasses scissors pants trousers jeans shorts stairs series species lens bus gas news pliers tweezers
        binoculars headphones goggles tongs clothes debris canvas cactus campus virus octopus chassis axis tennis
        christmas atlas iris mercedes
    """)
)


def phrases_in(text: str) -> tuple[str, ...]:
    """The phrases that a text asks for, in their order; may be empty or repeat themselves."""
    if len(text) > MAX_SENTENCES:
        return split_phrases(text)
    sentences = [single_spaced(sentence) for sentence in _SENTENCES.split(_BULLET.sub(", ", text.strip()))]
    asked = [sentence for sentence in sentences if _REQUEST.match(sentence)]
    return tuple(phrase for sentence in asked for phrase in _read(sentence)) if asked else split_phrases(text)


def singular(phrase: str) -> str:
    """The phrase with its head in the singular: ``scratches on the door`` -> ``scratch on the door``."""
    match = _AFTER_HEAD.search(phrase)
    head, rest = (phrase[: match.start()], phrase[match.start() :]) if match else (phrase, "")
    before, space, noun = head.rpartition(" ")
    return f"{before}{space}{_singular_noun(noun)}{rest}"


def _read(sentence: str) -> list[str]:
    """The phrases of a sentence that asks for something."""
    wanted = _REQUEST.sub("", sentence, count=1)
    wanted = _EXCEPTED.sub("", _BEFORE_COLON.sub("", wanted, count=1))
    phrases = []
    for part in _BETWEEN_WORDS.split(_TWO_COLORS.sub(rf"\1{_ONE_THING}", wanted)):
        words = single_spaced(part.replace(_ONE_THING, " and ").strip(_MARKS))
        if _HOW_TO_ANSWER.match(words):
            continue
        words = _PLACE.sub("", _AGAIN.sub("", words), count=1).strip(_MARKS)
        words = _DETERMINER.sub("", words)
        if words:
            phrases.append(singular(words))
    return phrases


def _singular_noun(noun: str) -> str:
    word = noun.lower()
    if word in _SAME or len(word) < 4 or not word.isalpha():
        return noun
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for ending, replacement in _ENDINGS:
        if word.endswith(ending):
            return noun[: -len(ending)] + replacement
    return noun[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else noun
