"""Run a backbone with its concepts edited, or with another backbone's codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from usae_train.backbones.backbone import Backbone
from usae_train.images.arrays import canvases_of
from usae_train.interventions.edit_site import EditSite, edit_site_of
from usae_train.interventions.edits import EditValue, check_not_others, edit_shift, parse_edits
from usae_train.model.sparse import Codes
from usae_train.model.usae import USAE, check_usae
from usae_train.runtime.arrays import Array
from usae_train.runtime.errors import UsageError
from usae_train.runtime.torch_defaults import use_torch_defaults

CodeChange = Callable[[Tensor, Codes], Tensor]  # tokens (batch, token, width), their codes -> what to add to them


@contextmanager
def intervene(usae: USAE, backbone: str, edits: Mapping[int, EditValue], prefix: bool = False) -> Iterator[Backbone]:
    """A context in which a backbone's own forward pass runs with some concepts edited.

    Every patch token t at the read layer, on the backbone's own grid, becomes t + D(z') - D(z), where z are its codes
    and z' the edited ones: what the concept space does not explain is kept. Tokens that are not changed stay
    equal to the bit. All of the backbone's outputs follow from the edited tokens: its tokens, logits and embedding.
    Where a normed copy of the tokens is read, the edit reaches the stream as described in `held_norm`. Afterwards the
    backbone is always as before.

    Backbones that are one network read at several places (`layers: [5, 8]`) run through it together: an edit at one,
    `dino@5`, also changes what is read after it, `dino@8`, and nothing that is read before.

    Args:
        usae: a USAE with backbones.
        backbone: which one.
        edits: {concept: its new code at every patch, or ("scale", factor), or ("add", code)}. 0.0 removes it.
        prefix: edit class and register tokens too, which are not edited by default: no USAE is trained on them.

    Yields:
        The backbone.

    Raises:
        ValueError: for unknown concepts or impossible numbers, a USAE without backbones, or a layer that cannot be
            edited.

    Example:
        >>> import torch, usae_train as ut
        >>> usae = ut.load("demo")
        >>> with ut.intervene(usae, "dino", {12: 0.0, 7: ("scale", 2.0)}) as dino:
        ...     dino.embedding(torch.ones(1, 3, 64, 64)).shape
        torch.Size([1, 128])
    """
    check_usae(usae)
    parsed = parse_edits(usae, edits)
    check_not_others(usae, usae.check_backbone(backbone), parsed)
    network, site = find_site(usae, backbone)
    if not parsed:
        yield network
        return

    def change(_: Tensor, codes: Codes) -> Tensor:
        return edit_shift(usae, backbone, codes, parsed)

    with _change_tokens(usae, backbone, site, change, prefix):
        yield network


@contextmanager
def transplant(usae: USAE, backbone: str, donor: str, canvases: Array, keep_rest: bool = True) -> Iterator[Backbone]:
    """A context in which a backbone's patch tokens have another backbone's codes of the same pictures.

    The donor's tokens are resampled to the backbone's own grid and encoded there by the donor's encoder.

    Args:
        usae: a USAE with backbones.
        backbone: the one whose forward pass is changed.
        donor: the one whose codes it gets.
        canvases: (batch, 3, H, W), 0..1, what the donor sees; the backbone must then be shown as many. A NumPy array
            as `Backbone` takes it.
        keep_rest: t + D(z_donor) - D(z), which keeps what the space does not explain; otherwise D(z_donor) alone.

    Yields:
        The backbone.

    Raises:
        ValueError: for a USAE without backbones, a layer that cannot be edited, or another number of pictures.
    """
    check_usae(usae)
    network, site = find_site(usae, backbone)
    with use_torch_defaults(), torch.no_grad():
        giving = usae.backbones[usae.check_backbone(donor)]
        shown = canvases_of(canvases, "canvases").to(giving.mean.device)
        donor_codes = usae.encode(donor, giving(shown, network.grid).contiguous())
        donated = usae.decode(backbone, donor_codes)

    def change(tokens: Tensor, codes: Codes) -> Tensor:
        if len(tokens) != len(donated):
            raise UsageError(f"the donor saw {len(donated)} pictures, and {backbone} is shown {len(tokens)}")
        return donated - (usae.decode(backbone, codes) if keep_rest else tokens)

    with _change_tokens(usae, backbone, site, change, prefix=False):
        yield network


def find_site(usae: USAE, backbone: str) -> tuple[Backbone, EditSite]:
    """A backbone, and where in its pass its read tokens can be edited.

    Raises:
        ValueError: for an unknown backbone, a USAE without backbones, or a layer that cannot be edited.
    """
    network = usae.backbones[usae.check_backbone(backbone)]
    return network, edit_site_of(network)


@contextmanager
def _change_tokens(usae: USAE, backbone: str, site: EditSite, change: CodeChange, prefix: bool) -> Iterator[None]:
    """A context in which the output of the site's module is changed."""

    def edited(output: Tensor) -> Tensor:
        with torch.autocast(output.device.type, enabled=False):
            tokens = site.read(output, prefix)
            return site.move(output, change(tokens, usae.encode(backbone, tokens)))

    with site.hook(edited):
        yield
