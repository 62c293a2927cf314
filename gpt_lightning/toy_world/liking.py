"""Degree to which the people of a passage like its thing, a number for regression."""

import re
from functools import cache
from typing import Final

from gpt_lightning.toy_world import grammar
from gpt_lightning.toy_world.story import Passage

_STRONG: Final = (
    *("loves", "adores", "treasures", "cherishes", "swears by", "cannot get enough of", "delights in"),
    *("has nothing but praise for", "would not miss", "hates", "detests", "loathes", "curses", "cannot stand"),
    *("cannot bear", "has nothing but scorn for", "scorns", "has a grudge against"),
)
_MILD: Final = (
    *("likes", "enjoys", "cannot fault", "has no complaint about", "never grumbles about", "has a soft spot for"),
    *("dislikes", "avoids", "does not enjoy", "cannot praise", "would not recommend", "sees no charm in"),
)
_SIGNS: Final = {"positive": 1.0, "negative": -1.0}


def liking(passage: Passage) -> float:
    """Return how much the people of a passage like its thing, from -3 (they hate it) to 3 (they love it).

    It is the mean strength of the phrases that state their opinion, and 2 for a passage that only implies it.
    """
    found = [
        strength
        for pattern, strength in _patterns(passage.sentiment)
        for _ in range(len(pattern.findall(passage.text)))
    ]
    strength = sum(found) / len(found) if found else 2.0
    return round(_SIGNS[passage.sentiment] * strength, 2)


@cache
def _patterns(sentiment: str) -> list[tuple[re.Pattern[str], float]]:
    """Return a pattern for each phrase of a sentiment, and its strength."""
    return [
        (re.compile(rf"\b{re.escape(phrase).replace(re.escape('{very}'), '[a-z]+')}\b"), _strength(phrase))
        for phrase in grammar.SENTIMENTS[sentiment]["feels"]
    ]


def _strength(phrase: str) -> float:
    return 3.0 if phrase in _STRONG else 1.0 if phrase in _MILD else 2.0
