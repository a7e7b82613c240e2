"""Where in its own forward pass a backbone's read tokens stand, so that an edit of them reaches what follows.

No model's name or code is asked: a trial pass shows which module gives the tokens that are read, and another, with
those moved, that the backbone reads what was put there.
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
    """A module whose output holds the patch tokens that a backbone is read by, or that its norm makes them of."""

    module: nn.Module
    layout: Layout
    norm: HeldNorm | None = None  # the read tokens are what it makes of the output's; None: they are the output's own
    reaches: bool = True  # whether what follows, up to the classifier, depends on the patch tokens
    grows: bool = True  # whether what follows takes more pictures than came in: then many edits share what came before
    earlier: EarlierParts | None = None  # what a pass to the logits runs before it, where that can be left out

    def read(self, output: Tensor, prefix: bool = False) -> Tensor:
        """The read tokens of an output, float32: (batch, token, width); with `prefix` those of class and registers too.

        The latter stand first.
        """
        normed = output if self.norm is None else self.norm.module(output.float())
        tokens = self.layout.tokens(normed)
        requested = tokens if prefix else tokens[:, self.layout.prefix :]
        return requested.float().contiguous()  # a product of other strides rounds otherwise

    def move(self, output: Tensor, by: Tensor) -> Tensor:
        """The output with read tokens moved; equal to the bit at each token that is moved by zeros.

        Args:
            output: the module's.
            by: (batch, token, width), what is added to the read tokens; for all tokens or those of patches alone.
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
        """Of a slope by the output, laid out as it, the one by its read patch tokens: (batch, token, width)."""
        slopes, stream = (self.layout.tokens(each)[:, self.layout.prefix :] for each in (slope, output))
        return slopes if self.norm is None else slopes / self.norm.gain(stream)

    def resume_from(self, output: Tensor | None) -> AbstractContextManager[None]:
        """Within it passes begin here with what the module gave, (1, ...); where that is None, as usual."""
        return nullcontext() if output is None or self.earlier is None else self.earlier.skip(output)

    @contextmanager
    def hook(self, change: TokenChange) -> Iterator[None]:
        """Let a function see, and if it gives something replace, what the module gives; it is gone afterwards."""
        handle = self.module.register_forward_hook(lambda module, inputs, output: change(output))
        try:
            yield
        finally:
            handle.remove()


@contextmanager
def _hook_all(model: nn.Module, hook: ForwardHook) -> Iterator[None]:
    """Let a function see what each module takes and gives."""
    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(module.register_forward_hook(hook).remove)
        yield


_KNOWN: WeakKeyDictionary[Backbone, EditSite] = WeakKeyDictionary()


def edit_site_of(backbone: Backbone) -> EditSite:
    """Where a backbone's read tokens can be edited; found by a few passes at the first call.

    Raises:
        ValueError: where they cannot be: no module gives them, or what is put in their place is not what is read.
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
            backbone, "no part of the network gives just the tokens that are read; use a USAE that reads another layer"
        )
    finally:
        backbone.compute_dtype = before


def _cannot(backbone: Backbone, why: str) -> UsageError:
    return UsageError(f"{backbone.name}: {backbone.spec.place} of {backbone.spec.model!r} cannot be edited: {why}")


def _sites_giving(backbone: Backbone, canvas: Tensor, tokens: Tensor) -> list[EditSite]:
    """The modules that give these tokens (1, token, width) in a whole pass, once in it, the likeliest first.

    Those that give just these bits go before those that come near: the block of an untrained network changes little.
    Among them the first: all that takes the tokens later takes them edited.
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
    """Where what is read is a copy that a norm has gone over: the modules that give what the norm takes."""
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
    """Whether the backbone reads what is put in the place of its tokens."""
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
    """The site with what a pass of two pictures made of one shows: whether that can be, and what the tokens decide."""

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
    """What tokens are moved by in a trial: as large as they are, another for each feature."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(read.shape, generator=generator).to(read) * read.std()
