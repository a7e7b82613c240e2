"""Any `nn.Module` as a backbone, from Python: read at a layer of it by name."""

from __future__ import annotations

import difflib
import math
from typing import Literal

import torch
from torch import Tensor, nn

from usae_train.backbones.backbone import Backbone
from usae_train.backbones.identity import weights_hash
from usae_train.backbones.spec import MODULE, BackboneSpec
from usae_train.files.json_files import validate
from usae_train.runtime.errors import UsageError
from usae_train.runtime.torch_defaults import with_torch_defaults


class ModuleBackbone(Backbone):
    """A custom network as a backbone: what one of its layers gives, as patch tokens.

    It is put into evaluation mode, moved to where it is used, and its parameters need no gradients any more; nothing
    else of it is changed. A USAE folder does not hold it, only its name and a hash of its weights: give it again, as in
    `load(folder, modules={"mine": ModuleBackbone(...)})`.

    Args:
        module: takes (batch, 3, input_size, input_size), normalized.
        layer: name of the layer to read, as `module.named_modules()` has it; `""` is the module's own output.
        input_size: pixels per side.
        mean: of the three channels, taken off pictures of 0..1.
        std: what they are then divided by.
        prefix: tokens before the patches, of a layer that gives (batch, tokens, width); they are dropped.
        layout: of a layer that gives four dimensions: channels first or last.
        classes: how many classes the module's own output has, where it is a classifier's.

    Raises:
        ValueError: for a layer that is not there, or that gives no patches.
    """

    @with_torch_defaults
    def __init__(
        self,
        module: nn.Module,
        layer: str,
        *,
        input_size: int,
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
        std: tuple[float, float, float] = (1.0, 1.0, 1.0),
        prefix: int = 0,
        layout: Literal["NCHW", "NHWC"] = "NCHW",
        classes: int = 0,
    ) -> None:
        nn.Module.__init__(self)
        if layout not in ("NCHW", "NHWC"):
            raise UsageError(f"layout is {layout!r}; expected NCHW or NHWC")
        kind = type(module).__name__
        self.name = layer or kind
        facts = {"input_size": input_size, "mean": mean, "std": std, "classes": classes}
        self.spec = validate(BackboneSpec.model_validate, {"model": f"{MODULE}{kind}.{layer}", **facts})
        weights = next(module.parameters(), torch.zeros(1))
        if weights.dtype != torch.float32:
            raise UsageError(f"{kind} has weights of {weights.dtype}; expected float32: give `module.float()`")
        self.compute_dtype, self.input_size = torch.float32, input_size
        self.model = module.eval().requires_grad_(False)
        self._layer, self._prefix, self._channels_last = layer, prefix, layout == "NHWC"
        self._read = (named_layer(module, layer),)  # within a tuple it is not registered again: it is a part of `model`
        self._weights_hash = weights_hash(module)
        self._attentions, self._in_one_pass, self._layout = [], True, torch.contiguous_format
        place = weights.device
        self.register_buffer("mean", torch.tensor(mean, device=place).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, device=place).view(3, 1, 1), persistent=False)
        with torch.no_grad():
            features = self._features(torch.zeros(1, 3, input_size, input_size, device=place))
        self.width = features.shape[1]
        self.grid = (features.shape[2], features.shape[3])

    def notes(self) -> list[str]:
        """Nothing: it is read as its spec says."""
        return []

    def shares_pass(self, other: Backbone) -> bool:  # noqa: ARG002
        """Never: it reads one layer per pass."""
        return False

    def embedding(self, canvas: Tensor) -> Tensor:  # noqa: ARG002
        """Not known: a custom module does not say what comes before its classifier."""
        raise UsageError(f"{self.name} is a module of yours, which does not say what it gives before its classifier")

    def whole_pass(self, canvas: Tensor) -> Tensor:
        """The module's own output.

        Raises:
            ValueError: for one that is not a tensor.
        """
        output = self.model(self._normalized(canvas))
        if not isinstance(output, Tensor) or output.ndim == 0:
            kind = "one number" if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise UsageError(
                f"{self.name}: {type(self.model).__name__} gives {kind}; to have its concepts edited it must give a "
                "tensor with a row for each picture"
            )
        return output

    def _features(self, normalized: Tensor) -> Tensor:
        return self._features_and_logits(normalized)[0]

    def _features_and_logits(self, normalized: Tensor) -> tuple[Tensor, Tensor]:
        outputs: list[object] = []
        hook = self._read[0].register_forward_hook(lambda module, inputs, output: outputs.append(output))
        try:
            output: Tensor = self.model(normalized)
        finally:
            hook.remove()
        if not outputs:
            raise UsageError(f"{self.name}: layer {self._layer!r} did not run when a picture went through the network")
        return self._as_features(outputs[-1]), output

    def _as_features(self, output: object) -> Tensor:
        """(batch, width, rows, cols) of what the layer gave."""
        if not isinstance(output, Tensor) or output.ndim not in (3, 4):
            shape = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise UsageError(
                f"{self.name}: layer {self._layer!r} gives {shape}; expected (batch, tokens, width), or four dimensions"
            )
        if output.ndim == 4:
            return output.movedim(3, 1) if self._channels_last else output
        patches = output[:, self._prefix :]
        side = math.isqrt(patches.shape[1])
        if side < 1 or side * side != patches.shape[1]:
            raise UsageError(
                f"{self.name}: layer {self._layer!r} gives {output.shape[1]} tokens, of which {self._prefix} are a "
                "prefix; the others are not a square of patches: say how many come before them with `prefix`"
            )
        features: Tensor = patches.mT.unflatten(2, (side, side))
        return features


def named_layer(module: nn.Module, layer: str) -> nn.Module:
    """A layer by its name.

    Raises:
        ValueError: when there is none; names the nearest.
    """
    layers = dict(module.named_modules())
    if layer not in layers:
        near = difflib.get_close_matches(layer, layers, n=3) or list(layers)[1:6]
        raise UsageError(f"no layer {layer!r} in {type(module).__name__}; there are {', '.join(near)}")
    module_read: nn.Module = layers[layer]
    return module_read
