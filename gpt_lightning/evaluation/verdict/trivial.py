"""Baselines that read no text, or next to none: the most frequent label, the most frequent tag of each word."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def most_frequent(labels: Sequence[T]) -> T:
    """Return the most frequent label, the first of equally frequent ones."""
    return Counter(labels).most_common(1)[0][0]


def dictionary_tags(
    train_words: Sequence[Sequence[str]], train_tags: Sequence[Sequence[str]], words: Sequence[Sequence[str]]
) -> list[list[str]]:
    """Give each word its most frequent training tag, and ``O`` to unknown words.

    Args:
        train_words: words of each training text; case is ignored.
        train_tags: their tags.
        words: words of each text to tag.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for text, tags in zip(train_words, train_tags, strict=True):
        for word, tag in zip(text, tags, strict=True):
            counts[word.lower()][tag] += 1
    found = {word: most_common.most_common(1)[0][0] for word, most_common in counts.items()}
    return [[found.get(word.lower(), "O") for word in text] for text in words]


def similar_sentence(question: str, context: str) -> str:
    """Return the sentence of a context that shares the most words with a question."""
    asked = set(question.lower().split())
    return max(context.split(". "), key=lambda sentence: len(asked & set(sentence.lower().split())))
