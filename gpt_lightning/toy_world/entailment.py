"""Statements of the opinion that a passage states, and of the opposite opinion."""

from collections.abc import Iterator
from typing import Final

from gpt_lightning.toy_world.story import Passage

_OPPOSITES: Final = {"likes": "dislikes", "dislikes": "likes"}
_WORDINGS: Final = {
    "likes": ("{} likes the {}.", "{} is fond of the {}.", "{} enjoys the {}."),
    "dislikes": ("{} dislikes the {}.", "{} is not fond of the {}.", "{} does not enjoy the {}."),
}


def statements(number: int, passage: Passage) -> Iterator[tuple[str, bool]]:
    """Yield two statements about a passage: one that follows from it, with True, and one that does not, with False.

    Both are about the same person and thing, and differ only in the opinion. So the label cannot be told from the
    passage alone, from the statement alone, or from the words that they share.

    Args:
        number: number of the passage, which chooses the wording.
        passage: passage that states an opinion.
    """
    relation, person, thing = next(fact for fact in passage.facts if fact[0] in _OPPOSITES)
    for stated, is_true in ((relation, True), (_OPPOSITES[relation], False)):
        yield _WORDINGS[stated][number % 3].format(person, thing), is_true
