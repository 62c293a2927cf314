"""House style of the English: words that the project does not use, and how a docstring may begin.

``python -m tests.test_language PATH...`` lists the findings below some files or folders.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = (
    "gpt_lightning",
    "tests",
    "benchmarks",
    "examples",
    "configs",
    "docs",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Makefile",
    "pyproject.toml",
)
"""The log of experiments is history and keeps its words."""

INSTEAD_OF = {
    r"guess\w*": "speculative decoding, prompt lookup, draft tokens; infer, detect",
    r"eight[ -]bits?|bits each|weights of eight": "int8",
    r"beside": "compared with, next to, alongside, with",
    r"anew": "again, re-measured, recomputed",
    r"theirs|models? of others": "pretrained models, Hugging Face models",
    r"judg(e|es|ed|ing)": "evaluate, score",
    r"mend(s|ed|ing)?": "fix, correct",
    r"data sets?": "dataset",
    r"(?<!post)(?<!post[- ])(?<!tokenizers\.)(?<!logits )processors?": "CPU",
    r"reckon\w*": "estimate, compute",
    r"(go|goes|going|went|gone) on": "resume, continue",
    r"tak(e|es|en|ing) up again": "resume, continue",
    r"worst errors?": "hardest examples, misclassified examples",
    r"windows? at a time": "sliding window, overlapping windows",
    r"a token's time|reading the prompt": "decode step, prefill",
    r"how fast( it goes)?": "throughput, tokens per second",
    r"no such(?! file)": "missing, unknown, unsupported",
    r"what cannot be": "invalid, unsupported",
    r"whatsoever|hitherto|hence|thereof|therein|withal": "a plain word",
    r"(token|normal|optim|quant|initial|serial|recogn|util|organ|summar|general|minim|maxim|penal|orthogonal)"
    r"is(e|es|ed|er|ers|ing|ation|ations)": "the American spelling",
    r"labell(ed|ing)|(col|behavi|neighb|fav)our\w*|licence|modelled|cancelled|centre[sd]?": "the American spelling",
}
"""Regular expression (whole words, any case, underscores are spaces) -> what to write."""

CORPUS = {
    "gpt_lightning/toy_world/grammar.py": {"neighbour", "neighbours"},
    "gpt_lightning/toy_world/write.py": {"labelled"},
}
"""File -> words of the generated corpus or of its seeds, which may not change."""

OPENINGS = {*"What Of Whether How Who Which So As In From For With By At To Where While".split()}  # noqa: SIM905
"""First words that make a docstring's first line a fragment or an inverted sentence."""


def banned_words(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, found, what to write instead) for each banned word of ``text``."""
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, instead in INSTEAD_OF.items():
            for found in re.finditer(rf"\b({pattern})\b", line.replace("_", " "), re.IGNORECASE):
                yield number, found[0], instead


def docstring_openings(source: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, first line, advice) for each docstring of ``source`` that opens with a word of ``OPENINGS``."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
            continue
        text = node.value.value
        if isinstance(text, str) and text.split() and text.split()[0].strip(",:") in OPENINGS:
            yield node.lineno, text.strip().splitlines()[0], "a verb (functions) or a noun phrase (all else) first"


def findings(path: Path) -> list[str]:
    """Return one line for each finding of a file."""
    text = path.read_text()
    corpus = next((words for name, words in CORPUS.items() if path.resolve() == (ROOT / name).resolve()), set())
    found = [finding for finding in banned_words(text) if finding[1] not in corpus]
    if path.suffix == ".py":
        found += docstring_openings(text)
    return [f"{path}:{line}: {what!r}; write: {instead}" for line, what, instead in sorted(found)]


def files(places: list[Path]) -> list[Path]:
    """Return the files with prose below ``places``, without this one."""
    found = [path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*")))]
    prose = {".py", ".md", ".yaml", ".yml", ".toml"}
    found = [path for path in found if path.suffix in prose or path.name == "Makefile"]
    return [path for path in found if path.resolve() != Path(__file__).resolve()]


PROSE = files([ROOT / place for place in PLACES if (ROOT / place).exists()])


@pytest.mark.parametrize("path", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_words_are_the_fields(path: Path) -> None:
    assert findings(path) == []


def test_what_is_banned_is_found() -> None:
    assert [found for _, found, _ in banned_words("a model beside_another, tokenised anew")] == [
        "beside",
        "anew",
        "tokenised",
    ]
    assert [line for line, _, _ in docstring_openings('def f():\n    """What it does."""\n')] == [2]
    assert list(docstring_openings('def f():\n    """Return what it does."""\n')) == []


if __name__ == "__main__":
    print("\n".join(line for path in files([Path(place) for place in sys.argv[1:]]) for line in findings(path)))
