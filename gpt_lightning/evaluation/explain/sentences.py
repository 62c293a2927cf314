"""Sentences about explanations, for the terminal and for pages."""

from gpt_lightning.evaluation.explain.attributions import MAX_GAP
from gpt_lightning.evaluation.explain.erasure import Erasure
from gpt_lightning.evaluation.explain.explanation import ExplainedDecision, Explanation

NUM_WORDS = 8
"""Number of words with the largest contributions that are named."""


def summary(explanation: Explanation) -> str:
    """Return a few lines about an explanation."""
    lines = [f"row {explanation.id}"]
    if not explanation.decisions:
        lines.append("  the row has no words, so there is nothing to explain")
    for decision in explanation.decisions:
        lines.append(f"  {headline(decision)}")
        lines.append(f"    contributions: {', '.join(f'{text} {value:+.3g}' for text, value in top_words(decision))}")
        sentences = completeness(decision), erasure_sentence(decision), cut(decision)
        lines += [f"    {sentence}" for sentence in sentences if sentence]
    if (hidden := explanation.num_decisions - len(explanation.decisions)) > 0:
        lines.append(f"  {hidden} more decisions about this row are not explained")
    return "\n".join(lines)


def headline(decision: ExplainedDecision) -> str:
    """Return the decision and its probability."""
    subject = f" of {decision.subject!r}" if decision.subject and decision.kind == "tag" else ""
    subject = f" after {decision.subject!r}" if decision.subject and decision.kind == "token" else subject
    probability = "" if decision.probability is None else f", probability {decision.probability:.3g}"
    other = "" if decision.predicted == decision.target else f" (the model predicts {decision.predicted!r})"
    return f"{decision.kind}{subject}: {decision.target!r}{probability}{other}"


def top_words(decision: ExplainedDecision) -> list[tuple[str, float]]:
    """Return the words with the largest contributions, and these. Punctuation and line ends are quoted."""
    pairs = zip(decision.words, decision.attributions.words, strict=True)
    ranked = sorted(((word.text, value) for word, value in pairs), key=lambda pair: -abs(pair[1]))
    return [(text if any(map(str.isalnum, text)) else repr(text), value) for text, value in ranked[:NUM_WORDS]]


def completeness(decision: ExplainedDecision) -> str:
    """Return the scores of the decision and of the baseline, and the completeness gap."""
    found = decision.attributions
    scores = f"score {found.score:.4g} ({decision.unit}), {found.baseline_score:.4g} for the baseline"
    sentence = f"{scores}, completeness gap {found.gap:.2%} of the difference, {found.num_steps} steps"
    if found.is_complete:
        return sentence
    return f"{sentence}: more than {MAX_GAP:.0%}, so do not trust these contributions"


def erasure_sentence(decision: ExplainedDecision) -> str:
    """Return which words must be removed for another decision."""
    erasure = decision.erasure
    if erasure is None:
        return "the model does not predict this, so no removal changes it"
    removed = ", ".join(repr(each.text) for each in erasure.removals)
    if erasure.is_changed:
        return f"without {removed}, the model predicts {erasure.removals[-1].outcome!r}"
    if not erasure.removals:
        return "there is no word to remove"
    return f"the prediction stays the same without {removed}{_bound(erasure)}"


def _bound(erasure: Erasure) -> str:
    left = erasure.num_candidates - len(erasure.removals)
    return "" if left == 0 else f", where the search ends ({left} words are left)"


def cut(decision: ExplainedDecision) -> str:
    """Return how many tokens are not in the input; empty if there are none."""
    if not decision.num_cut:
        return ""
    size = len(decision.tokens)
    return f"{decision.num_cut} tokens of the text are not in this input of {size} tokens, the model's context"
