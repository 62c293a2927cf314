"""Interventions in a forward pass: recording, patching and ablation of activations.

B batch, T tokens, C channels, H heads, D channels of a head.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gpt_lightning.errors import InputError, unknown_name
from gpt_lightning.models.encoder_decoder import EncoderDecoder
from gpt_lightning.models.gpt import GPT, Intervention

Value = Tensor | float | Callable[[Tensor], Tensor | float]
"""Replacement of an activation: a tensor, a number, or a function of the activation."""

_HEADS: Final = "heads"
_ENCODER: Final = "encoder."


def layer_names(backbone: GPT) -> list[str]:
    """Return the names of all activations of a backbone, in the order of their computation.

    - ``embedding``: input of the first block, (B, T, C).
    - ``blocks.0.attention.heads``: outputs of the attention heads before the output projection, (B, T, H, D).
    - ``blocks.0.attention`` and ``blocks.0.mlp``: outputs of attention and MLP, (B, T, C).
    - ``blocks.0``: residual stream after the block, (B, T, C).
    - ``norm``: hidden states after the final norm, (B, T, C).

    An encoder-decoder also has ``cross_attention`` in the blocks of its decoder. The activations of its encoder have
    the same names with ``encoder.`` in front, and T counts source tokens there.
    """
    names: list[str] = []
    if isinstance(backbone, EncoderDecoder):
        names += [_ENCODER + name for name in layer_names(backbone.encoder)]
    names.append("embedding")
    for number, block in enumerate(backbone.blocks):
        has_cross_attention = getattr(block, "cross_attention", None) is not None
        for part in ("attention", "cross_attention") if has_cross_attention else ("attention",):
            names += [f"blocks.{number}.{part}.{_HEADS}", f"blocks.{number}.{part}"]
        names += [f"blocks.{number}.mlp", f"blocks.{number}"]
    return [*names, "norm"]


@contextmanager
def patch(
    backbone: GPT,
    layer: str,
    value: Value,
    *,
    heads: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
) -> Iterator[None]:
    """Replace an activation in all forward passes inside the ``with`` block (activation patching).

    Patches may be nested. Of two patches of the same activation, the inner one is applied last.

    Args:
        backbone: backbone of the model.
        layer: name of the activation, one of ``layer_names``.
        value: tensor with the shape of the activation, such as that of another run; number that replaces every element
            (0 ablates the layer); or function that receives the activation and returns one of the two.
        heads: indices of the heads to patch, for a layer such as ``blocks.0.attention.heads``; None patches all heads.
        positions: indices of the tokens to patch in each row, negative ones from the end of the longest row; None
            patches all tokens.

    Raises:
        InputError: the activation, a head or a token does not exist; the value has another shape; the backbone is
            compiled or checkpoints activations; or a tensor or positions are given and text is generated.
    """
    _check_value(layer, value)
    _check_indices("heads", heads)
    _check_indices("positions", positions)
    point = _find(backbone, layer)
    if heads is not None:
        if point.num_heads is None:
            raise InputError(f"heads={list(heads)} needs the outputs of heads, such as blocks.0.attention.{_HEADS}")
        _check_range(f"head of {layer}", heads, range(point.num_heads))

    def replace(activation: Tensor) -> Tensor:
        found = value(activation.clone()) if callable(value) else value
        _check_value(layer, found)
        if isinstance(found, Tensor):
            if found.shape != activation.shape:
                raise InputError(
                    f"the patch of {layer} has shape {list(found.shape)}, but the activation has shape "
                    f"{list(activation.shape)}. Take the value from a run with as many rows and tokens"
                )
            new = found.to(activation)
        else:
            new = torch.full_like(activation, found)
        if heads is None and positions is None:
            return new
        if positions is not None:
            size = activation.size(1)
            _check_range(f"token of {layer}", positions, range(-size, size))
        return torch.where(_selection(activation, positions, heads), new, activation)

    is_of_whole_texts = positions is not None or isinstance(value, Tensor)
    with _hook(backbone, point, replace, Intervention(layer, is_of_whole_texts and not layer.startswith(_ENCODER))):
        yield


@contextmanager
def record(backbone: GPT, layers: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
    """Record activations inside the ``with`` block.

    The recorded activations are those after the patches that are already in place. They keep their gradients, if
    gradients are enabled.

    Args:
        backbone: backbone of the model.
        layers: names of the activations, some of ``layer_names``.

    Yields:
        Name -> activations of all forward passes so far, in order.

    Raises:
        InputError: an activation does not exist, or the backbone is compiled or checkpoints activations.
    """
    if isinstance(layers, str):
        raise InputError(f"give a list of layers, not a string: [{layers!r}]")
    recorded: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    with ExitStack() as stack:
        for layer, activations in recorded.items():

            def keep(activation: Tensor, activations: list[Tensor] = activations) -> None:
                # A tensor made in inference mode could not be used in training later.
                with torch.inference_mode(False) if activation.is_inference() else nullcontext():
                    activations.append(activation.clone())

            stack.enter_context(_hook(backbone, _find(backbone, layer), keep, Intervention(layer, False)))
        yield recorded


def check_incremental(backbone: GPT) -> None:
    """Check that no patch is in place that needs whole texts, each in its own row.

    Raises:
        InputError: there is such a patch.
    """
    for intervention in backbone.interventions:
        if intervention.is_of_whole_texts:
            raise InputError(
                f"the patch of {intervention.layer} has a tensor or positions, which need a whole text per row. For "
                "generation, give a number or a function. Score one text at a time"
            )


def check_layer(backbone: GPT, layer: str, names: Sequence[str]) -> None:
    """Check that ``layer`` is one of ``names``.

    Raises:
        InputError: it is not.
    """
    if layer in names:
        return
    numbers = f"Blocks are numbered from 0 to {len(backbone.blocks) - 1}"
    if isinstance(backbone, EncoderDecoder):
        numbers += f", those of the encoder from 0 to {len(backbone.encoder.blocks) - 1}"
    raise InputError(f"{unknown_name('layer', str(layer), names)} {numbers}")


class _Point(NamedTuple):
    """Place in a backbone at which an activation can be read and replaced."""

    module: nn.Module
    is_input: bool
    """True if the activation is the first input of the module, False if it is the output."""
    num_heads: int | None = None
    """Number of heads, for outputs of heads."""


def _find(backbone: GPT, layer: str) -> _Point:
    """Return the place of an activation.

    Raises:
        InputError: it does not exist, or hooks would have no effect.
    """
    check_layer(backbone, layer, layer_names(backbone))
    _check_hooks_work(backbone)
    if layer.endswith("embedding"):
        return _Point(backbone.get_submodule(f"{layer.removesuffix('embedding')}blocks.0"), is_input=True)
    name, _, last = layer.rpartition(".")
    if last == _HEADS:
        return _Point(backbone.get_submodule(f"{name}.proj"), is_input=True, num_heads=backbone.config.n_head)
    return _Point(backbone.get_submodule(layer), is_input=False)


def _check_hooks_work(backbone: GPT) -> None:
    """Check that hooks are called in each forward pass, and only there.

    Raises:
        InputError: the backbone is compiled, or the backward pass would compute activations again.
    """
    for part in backbone.modules():
        if getattr(part, "_compiled_call_impl", None) is not None:
            raise InputError("activations of a compiled backbone cannot be read or patched. Do not compile it")
        if getattr(part, "is_checkpointed", False):
            raise InputError(
                "activations cannot be read or patched with activation checkpointing, because the backward pass "
                "computes them again. Call backbone.checkpoint_activations(False)"
            )


@contextmanager
def _hook(
    backbone: GPT, point: _Point, function: Callable[[Tensor], Tensor | None], intervention: Intervention
) -> Iterator[None]:
    """Call ``function`` with an activation in each forward pass; its result replaces the activation, unless None."""
    handle = _register(point, function)
    backbone.interventions = (*backbone.interventions, intervention)
    try:
        yield
    finally:
        handle.remove()
        backbone.interventions = tuple(each for each in backbone.interventions if each is not intervention)


def _register(point: _Point, function: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    def before(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        activation = inputs[0]
        if point.num_heads is not None:
            activation = activation.view(*activation.shape[:2], point.num_heads, -1)
        new = function(activation)
        return None if new is None else (new.reshape(inputs[0].shape), *inputs[1:])

    def after(_: nn.Module, __: Any, output: Tensor) -> Tensor | None:
        return function(output)

    if point.is_input:
        return point.module.register_forward_pre_hook(before)
    return point.module.register_forward_hook(after)


def _selection(activation: Tensor, positions: Sequence[int] | None, heads: Sequence[int] | None) -> Tensor:
    """Return which elements of an activation are replaced, as a bool tensor that broadcasts to it."""
    selected = torch.zeros(activation.shape[1:], dtype=torch.bool, device=activation.device)
    tokens = slice(None) if positions is None else torch.tensor(positions).unsqueeze(1)
    if heads is None:
        selected[tokens] = True
    else:
        selected[tokens, torch.tensor(heads)] = True
    return selected


def _check_value(layer: str, value: object) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number or isinstance(value, Tensor) or callable(value)):
        raise InputError(f"the patch of {layer} is a {type(value).__name__}. Give a tensor, a number or a function")


def _check_indices(name: str, indices: Sequence[int] | None) -> None:
    if indices is None:
        return
    is_list = isinstance(indices, Sequence) and not isinstance(indices, str)
    if not is_list or not indices or not all(type(each) is int for each in indices):
        raise InputError(f"{name}={indices!r} must be a list of indices, such as [0]")


def _check_range(what: str, indices: Sequence[int], valid: range) -> None:
    for index in indices:
        if index not in valid:
            raise InputError(f"there is no {what} with index {index}. Valid indices are {valid[0]} to {valid[-1]}")
