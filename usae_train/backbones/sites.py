"""What is read of a timm network: a layer's output, what its attention or MLP gives, or its prefix; many in one pass.

No model's name is asked: a trial pass shows whether a network's blocks are its layers, and hold their tokens as they
are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from usae_train.backbones.spec import BackboneSpec
from usae_train.runtime.errors import UsageError

TIMM_PARTS = {"attention": "attn", "mlp": "mlp"}  # what timm's blocks call them


def read_sites(model: nn.Module, specs: Sequence[BackboneSpec], norm: bool, normalized: Tensor) -> list[Tensor]:
    """What specs that have one `network` read of pictures, in one pass.

    Args:
        model: timm's.
        specs: their layers are all counted from the beginning, or all from the end.
        norm: whether the final norm is applied to what blocks give.
        normalized: (batch, 3, rows, cols).

    Returns:
        For each spec, (batch, width, rows, cols).
    """
    layers = sorted({spec.layer for spec in specs})
    reads_blocks = any(spec.site not in TIMM_PARTS for spec in specs)
    prefixed = {"return_prefix_tokens": True} if any(spec.site == "prefix" for spec in specs) else {}
    with _record_outputs([part_of(model, spec) for spec in specs if spec.site in TIMM_PARTS]) as outputs:
        intermediates = model.forward_intermediates(  # type: ignore[operator]  # timm's own method
            normalized, indices=layers, norm=norm and reads_blocks, stop_early=True, intermediates_only=True, **prefixed
        )
    of_layers = dict(zip(layers, intermediates, strict=True))

    def read(spec: BackboneSpec) -> Tensor:
        intermediate = of_layers[spec.layer]
        features: Tensor = intermediate[0] if prefixed else intermediate
        if spec.site == "prefix":
            prefix: Tensor = intermediate[1]
            return prefix.flatten(1)[:, :, None, None]
        return features if spec.site == "block" else _laid_out(outputs[part_of(model, spec)], features)

    return [read(spec) for spec in specs]


def part_of(model: nn.Module, spec: BackboneSpec) -> nn.Module:
    """A block's attention or MLP, which `check_site` has found there."""
    block: nn.Module = model.blocks[spec.layer]  # type: ignore[index, assignment]
    return block.get_submodule(TIMM_PARTS[spec.site])


def check_site(name: str, model: nn.Module, spec: BackboneSpec, picture: Tensor) -> None:
    """Refuse a site that a network does not have.

    Args:
        name: the backbone's, for the message.
        model: timm's.
        spec: how it is read.
        picture: (1, 3, rows, cols), normalized.

    Raises:
        ValueError: for a prefix of a network without class and register tokens, or attention and MLP of one whose
            layers are not blocks that have them.
    """
    if spec.site == "block":
        return
    where = f"{name}: {spec.model!r} cannot be read at the site `{spec.site}`"
    if spec.site == "prefix":
        if not getattr(model, "num_prefix_tokens", 0):
            raise UsageError(f"{where}: it has no class or register tokens; expected a network that has, or `block`")
        return
    blocks = getattr(model, "blocks", ())
    if blocks and not -len(blocks) <= spec.layer < len(blocks):
        raise UsageError(f"{name}: {spec.model!r} has no layer {spec.layer}; it has 0 to {len(blocks) - 1}")
    if not _layers_are_blocks(model, spec, picture):
        raise UsageError(f"{where}: its layers are not blocks whose tokens are those that are read; read its `block`")
    if not isinstance(getattr(model.blocks[spec.layer], TIMM_PARTS[spec.site], None), nn.Module):  # type: ignore[index]
        raise UsageError(f"{where}: its block {spec.layer} has no `{TIMM_PARTS[spec.site]}`; read its `block`")


def _layers_are_blocks(model: nn.Module, spec: BackboneSpec, picture: Tensor) -> bool:
    """Whether a block's own output holds the tokens of the layer of its number: not so where layers are stages."""
    blocks = getattr(model, "blocks", None)
    if not isinstance(blocks, nn.Sequential | nn.ModuleList):
        return False
    with _record_outputs([blocks[spec.layer]]) as outputs:
        (features,) = model.forward_intermediates(  # type: ignore[operator]
            picture, indices=[spec.layer], norm=False, stop_early=True, intermediates_only=True
        )
    output = outputs.get(blocks[spec.layer])
    if output is None or output.ndim != 3 or output.shape[1] < features[0, 0].numel():
        return False
    return torch.equal(_laid_out(output, features), features)


def _laid_out(tokens: Tensor, like: Tensor) -> Tensor:
    """The last tokens (batch, prefix and patches, width) as features on the same rows and columns."""
    rows, cols = like.shape[-2:]
    features: Tensor = tokens[:, -rows * cols :].mT.unflatten(2, (rows, cols))
    return features


@contextmanager
def _record_outputs(modules: Sequence[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """{module: what it gave last}, filled in a pass; hooks are gone afterwards."""
    outputs: dict[nn.Module, Tensor] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            outputs[module] = output

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(note).remove)
        yield outputs
