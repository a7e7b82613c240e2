"""Where a backbone's read tokens are in its own forward pass, so that an edit of them reaches what follows.

It depends on no model's name or code: a trial pass finds the module that outputs the tokens that are read, and another,
with these moved, confirms that the backbone reads the edit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from usae_train.backbones.backbone import Backbone
from usae_train.backbones.identity import trial_picture
from usae_train.interventions.held_norm import HeldNorm
from usae_train.interventions.layout import Layout, layout_of, nearly_equal
from usae_train.interventions.partial_pass import EarlierParts, earlier_parts
from usae_train.runtime.errors import UsageError
from usae_train.runtime.shortage import shortage
from usae_train.runtime.torch_defaults import with_torch_defaults

ForwardHook = Callable[[nn.Module, tuple[Any, ...], Any], None]
TokenChange = Callable[[Tensor], Tensor | None]


@dataclass(frozen=True)
class EditSite:
    """A module whose output holds a backbone's read patch tokens, or what a norm makes them from."""

    module: nn.Module
    layout: Layout
    norm: HeldNorm | None = None  # the norm between the output and the read tokens; None: they are the output's
    reaches: bool = True  # whether what follows, up to the classifier, depends on the patch tokens
    grows: bool = True  # whether what follows accepts a larger batch: then many edits share what comes before
    earlier: EarlierParts | None = None  # what a pass to the logits runs before it, where that can be skipped

    def read(self, output: Tensor, prefix: bool = False) -> Tensor:
        """The read tokens of an output, float32: (batch, token, width); with `prefix` also class and register
        tokens, which come first.
        """
        normed = output if self.norm is None else self.norm.module(output.float())
        tokens = self.layout.tokens(normed)
        requested = tokens if prefix else tokens[:, self.layout.prefix :]
        return requested.float().contiguous()  # a product with other strides rounds differently

    def move(self, output: Tensor, by: Tensor) -> Tensor:
        """The output with read tokens moved; tokens that are moved by zeros stay the same to the bit.

        Args:
            output: the module's.
            by: (batch, token, width), what is added to the read tokens; for all tokens or for patches only.
        """
        stream = self.layout.tokens(output)
        before = stream.shape[1] - by.shape[1]
        touched = (by != 0).any(-1, keepdim=True)
        if not touched.any():
            return output
        if self.norm is not None:
            by = by / self.norm.gain(stream[:, before:])
        by, touched = (
            torch.cat([each.new_zeros(*each.shape[:1], before, each.shape[2]), each], 1) for each in (by, touched)
        )
        laid, is_moved = self.layout.like(by, output), self.layout.like(touched, output)
        return torch.where(is_moved, output + laid.to(output.dtype), output)

    def slope_of_read(self, output: Tensor, slope: Tensor) -> Tensor:
        """Convert a gradient by the output, in its layout, to one by the read patch tokens: (batch, token, width)."""
        slopes, stream = (self.layout.tokens(each)[:, self.layout.prefix :] for each in (slope, output))
        return slopes if self.norm is None else slopes / self.norm.gain(stream)

    def resume_from(self, output: Tensor | None) -> AbstractContextManager[None]:
        """A context in which passes begin here with an earlier output (1, ...); with None, as usual."""
        return nullcontext() if output is None or self.earlier is None else self.earlier.skip(output)

    @contextmanager
    def hook(self, change: TokenChange) -> Iterator[None]:
        """A context in which a function sees the module's output, and replaces it if it returns something."""
        handle = self.module.register_forward_hook(lambda module, inputs, output: change(output))
        try:
            yield
        finally:
            handle.remove()


@contextmanager
def _hook_all(model: nn.Module, hook: ForwardHook) -> Iterator[None]:
    """A context in which a function sees each module's inputs and output."""
    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(module.register_forward_hook(hook).remove)
        yield


_KNOWN: WeakKeyDictionary[Backbone, EditSite] = WeakKeyDictionary()


def edit_site_of(backbone: Backbone) -> EditSite:
    """Where a backbone's read tokens can be edited; found by a few passes on the first call.

    Raises:
        ValueError: where they cannot be: no module outputs them, or the backbone does not read the edit.
    """
    if backbone not in _KNOWN:
        _KNOWN[backbone] = _find_edit_site(backbone)
    return _KNOWN[backbone]


@with_torch_defaults
@torch.no_grad()
def _find_edit_site(backbone: Backbone) -> EditSite:
    canvas = trial_picture(backbone.input_size).to(backbone.mean.device)
    before, backbone.compute_dtype = backbone.compute_dtype, torch.float32
    try:
        read = backbone(canvas)
        for candidates in (_sites_giving, _sites_before_norm):
            for site in candidates(backbone, canvas, read):
                if _holds(backbone, site, canvas, read):
                    return _try_out(backbone, site, canvas, read)
        raise _cannot(
            backbone,
            "no part of the network outputs exactly the tokens that are read; use a USAE that reads another layer",
        )
    finally:
        backbone.compute_dtype = before


def _cannot(backbone: Backbone, why: str) -> UsageError:
    return UsageError(f"{backbone.name}: {backbone.spec.place} of {backbone.spec.model!r} cannot be edited: {why}")


def _sites_giving(backbone: Backbone, canvas: Tensor, tokens: Tensor) -> list[EditSite]:
    """The modules that output these tokens (1, token, width) exactly once in a whole pass, the likeliest first.

    Exact outputs come before near ones, for the blocks of an untrained network change little; among them the first, so
    that everything after it sees the edit.
    """
    layouts: dict[nn.Module, tuple[bool, Layout]] = {}
    passes: Counter[nn.Module] = Counter()

    def note(module: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        passes[module] += 1
        layout = layout_of(output, tokens)
        if layout is not None:
            layouts[module] = torch.equal(layout.tokens(output)[:, layout.prefix :], tokens), layout

    with _hook_all(backbone.model, note):
        backbone.whole_pass(canvas)
    once = [(exact, EditSite(module, layout)) for module, (exact, layout) in layouts.items() if passes[module] == 1]
    return [site for _, site in sorted(once, key=lambda each: not each[0])]


def _sites_before_norm(backbone: Backbone, canvas: Tensor, read: Tensor) -> list[EditSite]:
    """Where a normed copy is read: the modules that output the norm's input."""
    candidates: list[tuple[nn.Module, Tensor, Layout]] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        layout = layout_of(output, read)
        if layout is not None and inputs and isinstance(inputs[0], Tensor) and inputs[0].shape == output.shape:
            candidates.append((module, inputs[0].clone(), layout))

    with _hook_all(backbone.model, note):
        backbone(canvas)
    for norm, stream, layout in candidates:
        tokens = layout.tokens(stream)[:, layout.prefix :]
        giving = _sites_giving(backbone, canvas, tokens)
        if giving:
            try:
                held_norm = HeldNorm(norm, tokens, read)
            except UsageError as error:
                raise _cannot(backbone, f"{error}; use a USAE that reads it with `norm: false`") from error
            return [replace(site, norm=held_norm) for site in giving]
    return []


def _holds(backbone: Backbone, site: EditSite, canvas: Tensor, read: Tensor) -> bool:
    """Whether the backbone reads what replaces its tokens."""
    moved_tokens: list[Tensor] = []

    def move(output: Tensor) -> Tensor:
        other = site.move(output, _noise(read))
        moved_tokens.append(site.read(other))
        return other

    try:
        with site.hook(move):
            read_again = backbone(canvas)
    except RuntimeError as error:  # torch's own, where the norm or the reading pass takes another layout (SAM, VOLO)
        if shortage(error) is not None:
            raise
        return False
    return len(moved_tokens) == 1 and nearly_equal(read_again, moved_tokens[0]) and not nearly_equal(read_again, read)


def _try_out(backbone: Backbone, site: EditSite, canvas: Tensor, read: Tensor) -> EditSite:
    """The site, completed by a pass that grows one picture to two: does that work, do tokens reach the end?"""

    def with_noise(output: Tensor) -> Tensor:
        first = output[:1]
        return torch.cat([first, site.move(first, _noise(read))])

    plain = backbone.whole_pass(canvas)
    with site.hook(with_noise):
        try:
            outcome = backbone.whole_pass(canvas)
            grows = len(outcome) == 2 and nearly_equal(outcome[:1], plain)
        except RuntimeError as error:  # torch's own, where a later part joins what was before the site
            if shortage(error) is not None:
                raise
            grows = False
        if not grows:
            outcome = backbone.whole_pass(canvas.expand(2, -1, -1, -1))
    tried = replace(site, grows=grows, reaches=not nearly_equal(outcome[1:], plain))
    if not (grows and tried.reaches and backbone.spec.classes):
        return tried
    return replace(tried, earlier=earlier_parts(backbone.model, site.module, lambda: backbone.logits(canvas)))


def _noise(read: Tensor) -> Tensor:
    """Noise for a trial move, of the tokens' size and different for each feature."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(read.shape, generator=generator).to(read) * read.std()
