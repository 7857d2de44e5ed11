"""What to look for, out of what people write to an assistant.

The model takes noun phrases. Text that is a list already stays as it is: ``red car, dent`` or one phrase a line. A
sentence that asks for something is read by this rule, and by no more than that:

1. Of several sentences, those count that begin as a request does: find, detect, segment, show, locate, count, where
   are, are there, how many ... Where none does, the text is a list.
2. Its beginning goes, with what is polite around it (``please``, ``can you``, ``for me``) and where it says to look
   (``in this image``).
3. What is left is divided at commas, ``and``, ``or`` and ``&``; articles and ``all``, ``every``, ``any`` go.
4. The plural becomes the singular: phrases that a bundle was exported for are in the singular.

``Find all scratches and dents in the image, please.`` is read as ``scratch`` and ``dent``.
"""

from __future__ import annotations

import re

from sam3edge.core.phrases import single_spaced, split_phrases

MAX_SENTENCES = 2000
"""Characters of a text that is read as sentences; what is longer is a list, or none."""

_SENTENCES = re.compile(r"(?<=[.?!])\s+|[\n\r]+")
_POLITE = (
    r"(?:(?:please|kindly|hey|hi|hello|ok|okay|now)[,!]?\s+"
    r"|(?:can|could|would|will)\s+you\s+(?:please\s+)?"
    r"|(?:i\s+(?:want|need|would\s+like)(?:\s+you)?|i'd\s+like(?:\s+you)?)\s+to\s+"
    r"|(?:your\s+task\s+is\s+to|help\s+me(?:\s+to)?|let's|try\s+to)\s+)*"
)
_VERBS = "find|detect|segment|locate|identify|recogni[sz]e|annotate|look\\s+for|search\\s+for|point\\s+(?:out|to)"
_NOUNS_TOO = "show|mark|outline|highlight|count|list|spot|get|extract|label|draw|see"
"""Verbs that are nouns, too (``label printer``): they ask for something when a determiner follows."""
_QUESTIONS = (
    r"where(?:\s+is|\s+are|'s)|(?:is|are)\s+there|do\s+you\s+see|can\s+you\s+see|"
    r"what(?:\s+are|'s|\s+is)\s+the\s+(?:locations?|positions?|boxes|bounding\s+boxes|outlines?|masks?)\s+(?:of|for)|"
    r"how\s+many"
)
_SHAPES = r"(?:outlines?|masks?|polygons?|boxes|bounding\s+boxes|instances?|locations?|positions?)"
_MEANS = rf"(?:(?:the\s+)?{_SHAPES}\s+(?:of|for|around)\s+)?"
_AFTER_NOUN = rf"(?=:|\s+(?:me|us|all|every|each|any|some|the|an?|of|these|those|where|{_SHAPES})\b)"
_REQUEST = re.compile(
    rf"^{_POLITE}(?:(?:(?:{_VERBS})(?:\s+(?:me|us))?|{_QUESTIONS})\b|(?:{_NOUNS_TOO})\b{_AFTER_NOUN}(?:\s+(?:me|us))?)"
    rf"[\s:]*(?:where\s+)?(?:and\s+(?:{_VERBS}|{_NOUNS_TOO})\s+)?{_MEANS}(?=.*\w)",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\s*\b(?:(?:that\s+you\s+(?:can\s+)?(?:see|find)|(?:which|that)\s+(?:is|are)|are\s+there|is\s+there|visible|present|"
    r"shown|there|here)\s*)*(?:\b(?:in|on|within|of|from|at)\s+(?:(?:the|this|that|my|our|these|attached|following|"
    r"above|given|provided)\s+)*(?:images?|photos?|photographs?|pictures?|frames?|scenes?|screenshots?))?"
    r"(?:[\s,]*(?:for\s+(?:me|us)|please|thanks|thank\s+you))*[\s,.?!;:]*$",
    re.IGNORECASE,
)
_BETWEEN_WORDS = re.compile(r"\s*(?:,|;|\s&\s|\b(?:and/or|and|or|such\s+as|including)\b)\s*", re.IGNORECASE)
_COLOR = r"(?:black|white|gr[ae]y|red|green|blue|yellow|orange|brown|purple|pink|silver|gold)"
_TWO_COLORS = re.compile(rf"\b({_COLOR})\s+and\s+(?={_COLOR}\b)", re.IGNORECASE)
_ONE_THING = "\x1f"
"""In place of the ``and`` of ``black and white``, which divides nothing."""
_DETERMINER = re.compile(
    r"^(?:(?:all|every|each|any|some|the|an?|this|that|these|those|both|of|single|visible|other|also|as\s+well\s+as)\s+)+",
    re.IGNORECASE,
)
_AFTER_HEAD = re.compile(
    r"\s(?:of|on|in|at|with|without|near|by|from|under|over|behind|beside|along|between|for|to)\s", re.I
)

_IRREGULAR = {
    "people": "person", "persons": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot",
    "teeth": "tooth", "geese": "goose", "mice": "mouse", "oxen": "ox", "leaves": "leaf", "knives": "knife",
    "shelves": "shelf", "wolves": "wolf", "loaves": "loaf", "halves": "half", "thieves": "thief", "calves": "calf",
    "buses": "bus", "busses": "bus", "gases": "gas", "lenses": "lens", "axes": "axe", "shoes": "shoe",
    "horseshoes": "horseshoe", "canoes": "canoe", "toes": "toe", "movies": "movie", "cookies": "cookie",
    "zombies": "zombie", "ties": "tie", "pies": "pie", "caches": "cache", "houses": "house", "vases": "vase",
    "cases": "case", "bases": "base", "roses": "rose", "hoses": "hose", "noses": "nose", "horses": "horse",
    "nurses": "nurse", "purses": "purse", "phases": "phase", "fuses": "fuse", "mazes": "maze", "buzzes": "buzz",
}  # fmt: skip
_ENDINGS = (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("zzes", "zz"), ("oes", "o"))
_SAME = frozenset(
    ("glasses", "sunglasses", "scissors", "pants", "trousers", "jeans", "shorts", "stairs", "series", "species", "lens",
     "bus", "gas", "news", "pliers", "tweezers", "binoculars", "headphones", "goggles", "tongs", "clothes", "debris",
     "canvas", "cactus", "campus", "virus", "octopus", "chassis", "axis", "tennis", "christmas", "atlas", "iris")
)  # fmt: skip


def phrases_in(text: str) -> tuple[str, ...]:
    """The phrases that a text asks for, in their order; may be empty or repeat themselves."""
    sentences = _SENTENCES.split(text.strip()) if len(text) <= MAX_SENTENCES else []
    asked = [sentence for sentence in sentences if _REQUEST.match(sentence)]
    if not asked:
        return split_phrases(text)
    phrases: list[str] = []
    for sentence in asked:
        wanted = _PLACE.sub("", _REQUEST.sub("", sentence, count=1), count=1)
        for part in _BETWEEN_WORDS.split(_TWO_COLORS.sub(rf"\1{_ONE_THING}", wanted)):
            part = part.replace(_ONE_THING, " and ")
            phrase = single_spaced(_DETERMINER.sub("", part.strip(" .?!:;\"'`")))
            if phrase:
                phrases.append(singular(phrase))
    return tuple(phrases)


def singular(phrase: str) -> str:
    """The phrase with its head in the singular: ``scratches on the door`` -> ``scratch on the door``."""
    match = _AFTER_HEAD.search(phrase)
    head, rest = (phrase[: match.start()], phrase[match.start() :]) if match else (phrase, "")
    before, space, noun = head.rpartition(" ")
    return f"{before}{space}{_singular_noun(noun)}{rest}"


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
