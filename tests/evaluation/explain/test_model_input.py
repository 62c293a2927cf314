"""Tokens and words of inputs, compared with the texts and with the inputs of the data modules."""

import random
from typing import Any

import numpy as np
import pytest

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.explain.explanation import ExplainedDecision
from gpt_lightning.evaluation.explain.model_input import LAYOUT, decoded_input, encode, truncated_input
from gpt_lightning.tokenizers.build import bytes_tokenizer, load_tokenizer
from gpt_lightning.tokenizers.config import TokenizerConfig
from gpt_lightning.tokenizers.layout import InputLayout
from tests.evaluation.explain.models import make_model
from tests.tokenizers.published import FAMILIES, write_tokenizer

HOSTILE = "<script>alert(1)</script>  caf\u00e9 \u65e5\u672c\u8a9e \U0001f469\u200d\U0001f680 don't\n\tend \x1b[0m "


def joined(decision: ExplainedDecision, part: str) -> str:
    return "".join(token.text for token in decision.tokens if token.part == part)


@pytest.mark.parametrize("kind", ["label", "value", "tag", "token", "target"])
def test_pieces_are_the_text(kind: str) -> None:
    explanation = make_model(kind).explain({"text": HOSTILE, "prompt": HOSTILE})[0]
    name = "source" if kind == "target" else "text"
    for decision in explanation.decisions:
        # Blanks after the last word are in no window of a tagged text.
        assert joined(decision, name).rstrip() == HOSTILE.rstrip()
        assert kind == "tag" or joined(decision, name) == HOSTILE == explanation.texts[name]
        for word in decision.words:
            assert HOSTILE[word.start : word.end] == word.text
            assert word.text in "".join(decision.tokens[place].text for place in word.tokens)
            assert {decision.tokens[place].part for place in word.tokens} == {name}


@pytest.mark.parametrize("family", FAMILIES)
def test_pieces_of_published_tokenizers_are_the_text(family: str, tmp_path: Any) -> None:
    tokenizer = load_tokenizer(str(write_tokenizer(tmp_path, family)))
    layout = InputLayout().complete(tokenizer, ends_with_token=False)
    text = "Hello, don't (stop) caf\u00e9 \U0001f600 now"
    found = truncated_input(tokenizer, layout, [encode(tokenizer, "text", text)], 200)
    prefix, _, suffix = layout.parts
    assert found.ids == [*prefix, *tokenizer.encode(text), *suffix]
    assert "".join(token.text for token in found.tokens if token.part == "text") == text
    assert "".join(word.text for word in found.words) == text.replace(" ", "")


@pytest.mark.parametrize("side", ["left", "right"])
def test_truncated_pairs_show_what_is_left(side: Any) -> None:
    """Compare the places in the texts with a search in the ids of the input."""
    tokenizer, draw = bytes_tokenizer(), random.Random(0)
    layout = InputLayout(prefix=[256], separator=[10], suffix=[256], truncation_side=side)
    for _ in range(50):
        texts = ["".join(draw.choices("ab c", k=draw.randint(0, 20))) for _ in range(2)]
        encoded = [encode(tokenizer, name, text) for name, text in zip(("first", "second"), texts, strict=True)]
        size = draw.randint(3, 40)
        found = truncated_input(tokenizer, layout, encoded, size)
        assert found.ids == layout.input_ids([np.array(tokenizer.encode(text)) for text in texts], size).tolist()
        for name, text in zip(("first", "second"), texts, strict=True):
            left = "".join(token.text for token in found.tokens if token.part == name)
            assert text.endswith(left) if side == "left" else text.startswith(left)
        assert found.num_cut == sum(map(len, texts)) - len(found.text_positions)
        assert [token.id for token in found.tokens if token.part == LAYOUT] == [256, 10, 256]


def test_windows_of_long_texts_are_found() -> None:
    """A tag and an answer are explained in the window that decides them."""
    text = " ".join(f"word{number}" for number in range(60))
    model = make_model("tag")
    for target in ("word3", "word30", "word59"):
        (decision,) = model.explain([{"text": text}], target=target)[0].decisions
        assert decision.subject == target
        assert joined(decision, "text").strip() in text
        assert decision.num_cut == len(text) - len(joined(decision, "text")) > 0
        tagged = [word for word in decision.words if word.text == target]
        assert [text[word.start : word.end] for word in tagged] == [target]
        assert decision.predicted == model.predict([{"text": text}])[0]["tags"][int(target[4:])]
    model = make_model("answer")
    row = {"question": "Which?", "context": text}
    (decision,) = model.explain(row, stride=8)[0].decisions
    assert decision.target == model.predict([row], stride=8)[0]["answer"]
    assert joined(decision, "question") == "Which?"
    assert decision.target in joined(decision, "context")
    (given,) = model.explain(row, stride=8, target="word33 word34")[0].decisions
    assert given.target == "word33 word34"
    assert "word33 word34" in joined(given, "context")


def test_ids_without_a_text_are_decoded() -> None:
    tokenizer = bytes_tokenizer()
    ids = [256, *tokenizer.encode("a caf\u00e9"), 256, 256, 195, *tokenizer.encode(" b")]
    found = decoded_input(tokenizer, ids, "text")
    assert found.ids == ids
    assert [token.text for token in found.tokens if token.part == LAYOUT] == ["<|endoftext|>"] * 3
    assert "".join(token.text for token in found.tokens if token.part == "text") == "a caf\u00e9\ufffd b"
    assert [word.text for word in found.words] == ["a", "caf\u00e9", "\ufffd", "b"]


def test_both_texts_of_a_pair_are_explained() -> None:
    model = make_model("label")
    model.data_settings = {"text_columns": ["premise", "hypothesis"]}
    row = {"premise": "Ada sings", "hypothesis": "she sings " * 20}
    (decision,) = model.explain(row)[0].decisions
    assert joined(decision, "premise") == row["premise"]
    assert row["hypothesis"].startswith(joined(decision, "hypothesis"))
    assert [token.text for token in decision.tokens if token.part == LAYOUT] == ["<|endoftext|>", "\n"]
    assert {word.part for word in decision.words} == {"premise", "hypothesis"}
    assert decision.num_cut == 200 - len(joined(decision, "hypothesis")) > 0
    with pytest.raises(InputError, match=r"two texts\. Give a row with the columns premise and hypothesis"):
        model.explain("Ada sings")


def test_special_tokens_of_a_chat_belong_to_no_text() -> None:
    model = make_model("token")
    template = "{% for each in messages %}<|endoftext|>{{ each.role }}: {{ each.content }}\n{% endfor %}"
    model.tokenizer = bytes_tokenizer().with_special_tokens([], TokenizerConfig(chat_template=template), {})
    (explanation,) = model.explain({"messages": [{"role": "user", "content": "Hello Ada"}]})
    (decision,) = explanation.decisions
    assert joined(decision, "text") == "user: Hello Ada\n"
    assert [token.text for token in decision.tokens if token.part == LAYOUT] == ["<|endoftext|>"]
    assert decision.attributions.tokens[0] == 0.0
    assert [word.text for word in decision.words] == ["user", ":", "Hello", "Ada"]


def test_long_texts_are_explained_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("value")
    expected = model.explain(HOSTILE)[0].decisions[0]
    for module in ("attributions", "erasure"):
        monkeypatch.setattr(f"gpt_lightning.evaluation.explain.{module}._BATCH_TOKENS", 60)
    found = model.explain(HOSTILE)[0].decisions[0]
    assert found.attributions.tokens == pytest.approx(expected.attributions.tokens, abs=1e-5)
    assert found.erasure is not None
    assert expected.erasure is not None
    assert [each.text for each in found.erasure.removals] == [each.text for each in expected.erasure.removals]
