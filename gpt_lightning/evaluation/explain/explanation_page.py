"""HTML page of explanations, with the numbers of their JSON."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from gpt_lightning.evaluation.explain.explanation import ExplainedDecision, Explanation
from gpt_lightning.evaluation.explain.internals import Internals
from gpt_lightning.evaluation.explain.model_input import LAYOUT
from gpt_lightning.evaluation.explain.sentences import completeness, cut, erasure_sentence, headline, top_words
from gpt_lightning.evaluation.explain.token_losses import TokenLoss
from gpt_lightning.pages.blocks import fold, side_by_side
from gpt_lightning.pages.charts import heat_map
from gpt_lightning.pages.colored_text import colored_text
from gpt_lightning.pages.page import Section
from gpt_lightning.pages.tables import table

_METHOD = (
    "Contributions are integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365): they sum to the score of the "
    "prediction minus its score for a baseline, which has the end-of-text token in place of every token of the text. "
    "The completeness gap is the error of that sum. Tokens that the model adds to every text are the same in the "
    "baseline and contribute nothing.",
    "Erasure deletes the word whose removal lowers the score the most, again and again, until the prediction changes. "
    "It shows one way to change the prediction, not the only one.",
    "Attention shows where a head reads from. It does not show what the prediction depends on.",
)


def sections(explanations: Sequence[Explanation]) -> list[Section]:
    """Return the sections of a page: one for each row, and one about the method."""
    return [*map(_row_section, explanations), Section("Method", _METHOD)]


def _row_section(explanation: Explanation) -> Section:
    body: list[Markup | str] = []
    if not explanation.decisions:
        body.append("The row has no words, so there is nothing to explain.")
    for decision in explanation.decisions:
        body += _decision_parts(decision)
    if explanation.task == "Seq2SeqLM" and len(explanation.decisions) > 1:
        body.append(_alignment(explanation.decisions))
    if (hidden := explanation.num_decisions - len(explanation.decisions)) > 0:
        body.append(f"{hidden} more decisions about this row are not explained.")
    if explanation.internals is not None:
        body += _internal_parts(explanation, explanation.internals)
    return Section(f"Row {explanation.id}", body, summary=explanation.task)


def _decision_parts(decision: ExplainedDecision) -> Iterator[Markup | str]:
    yield Markup("<h3>{}</h3>").format(_sentence(headline(decision)))
    yield colored_text(
        [token.text if token.part != LAYOUT else f"[{token.text}]" for token in decision.tokens],
        decision.attributions.tokens,
        notes=[token.part if token.part != LAYOUT else "added token" for token in decision.tokens],
    )
    for text in (completeness(decision), erasure_sentence(decision), cut(decision)):
        if text:
            yield f"{_sentence(text)}."
    columns = ["Word", f"Contribution ({decision.unit})"]
    yield fold("Words with the largest contributions", table(columns, top_words(decision)))
    if decision.erasure is not None and decision.erasure.removals:
        rows = [(each.text, each.score, each.outcome) for each in decision.erasure.removals]
        yield fold("Removed words", table(["Removed", f"Score ({decision.unit})", "Prediction without it"], rows))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _alignment(decisions: Sequence[ExplainedDecision]) -> Markup:
    return heat_map(
        [decision.attributions.words for decision in decisions],
        title="Contribution of each source word to each target token",
        row_labels=[decision.target for decision in decisions],
        column_labels=[word.text for word in decisions[0].words],
    )


def _internal_parts(explanation: Explanation, internals: Internals) -> Iterator[Markup]:
    if internals.losses:
        yield Markup("<h3>Loss of every token</h3>")
        notes = list(map(_expectation, internals.losses))
        losses = internals.losses
        yield colored_text([each.text for each in losses], [each.loss for each in losses], notes=notes, diverging=False)
    if internals.lens:
        yield fold("Logit lens: the next token that each layer would predict", _lens_table(internals))
    if internals.head_lens:
        decision = explanation.decisions[0]
        columns = ["Layer", f"Score ({decision.unit})", "Probability"]
        rows = [(each.layer, each.score, each.probability) for each in internals.head_lens]
        yield fold(f"Layers: the score that each layer would give {decision.target!r}", table(columns, rows))
    yield from _attention_parts(explanation, internals)


def _expectation(loss: TokenLoss) -> str:
    tokens = ", ".join(f"{each.text!r} {each.probability:.2f}" for each in loss.alternatives)
    return f"rank {loss.rank}; expected {tokens}"


def _lens_table(internals: Internals) -> Markup:
    rows = [
        [
            lens.layer,
            *(f"{token.candidates[0].text!r} {token.candidates[0].probability:.2f}" for token in lens.tokens),
        ]
        for lens in internals.lens
    ]
    return table(["Layer", *map(repr, internals.lens_tokens)], rows)


def _attention_parts(explanation: Explanation, internals: Internals) -> Iterator[Markup]:
    tokens = [token.text for token in explanation.decisions[0].tokens]
    target = internals.target_tokens
    count, shown = internals.num_attention_layers, len(internals.attention)
    yield Markup("<h3>{}</h3>").format(f"Attention: {shown} of {count} layers")
    if shown < count:
        yield Markup('<p class="note">{}</p>').format("Choose layers with --layers, such as blocks.0.attention.")
    for each in internals.attention:
        is_encoder, is_cross = each.layer.startswith("encoder."), each.layer.endswith("cross_attention")
        rows = target if target and not is_encoder else tokens
        columns = tokens if is_cross or is_encoder or not target else target
        maps = [
            heat_map(head, title=f"Head {number}", row_labels=rows, column_labels=columns)
            for number, head in enumerate(each.heads)
        ]
        yield fold(each.layer, side_by_side(maps))
