"""Weights under other libraries' names: Hugging Face transformers' vision transformers are renamed, others are named.

The tables give the names that timm's own converters take (Meta's for DINOv2 and DINOv3), so that position embeddings
and registers go the way that they go for Meta's files. Tokens of small random networks of transformers 5.24, saved
there and read here, agree to 6e-7 (ViT, DINOv2, DINOv3, CLIP) and 3e-4 (SigLIP, whose GELU timm computes exactly).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from usae_train.backbones.weight_names import tensors_below

Names = tuple[tuple[str, str], ...]  # regular expressions of whole names, and what they become


class Form(NamedTuple):
    """How a library names one family's tensors."""

    markers: tuple[str, str]  # names that every file of the form has, below one prefix
    names: Names
    part: str  # the name of a block's query, key or value: {block}, {part} and {kind} (weight or bias) stand in it
    parts: tuple[str, str, str] = ("q_proj", "k_proj", "v_proj")


_BLOCK = r"encoder\.layer\.(\d+)\."
_BLOCKS = r"encoder\.layers\.(\d+)\."
_LAYER = r"layer\.(\d+)\."
_VIT: Names = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.mask_token", "mask_token"),
    (r"embeddings\.register_tokens", "register_tokens"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.(.*)", r"patch_embed.proj.\1"),
    (_BLOCK + r"(?:layernorm_before|norm1)\.(.*)", r"blocks.\1.norm1.\2"),
    (_BLOCK + r"(?:layernorm_after|norm2)\.(.*)", r"blocks.\1.norm2.\2"),
    (_BLOCK + r"attention\.output\.dense\.(.*)", r"blocks.\1.attn.proj.\2"),
    (_BLOCK + r"(?:intermediate\.dense|mlp\.fc1)\.(.*)", r"blocks.\1.mlp.fc1.\2"),
    (_BLOCK + r"(?:output\.dense|mlp\.fc2)\.(.*)", r"blocks.\1.mlp.fc2.\2"),
    (_BLOCK + r"mlp\.weights_in\.(.*)", r"blocks.\1.mlp.w12.\2"),
    (_BLOCK + r"mlp\.weights_out\.(.*)", r"blocks.\1.mlp.w3.\2"),
    (_BLOCK + r"layer_scale(\d)\.lambda1", r"blocks.\1.ls\2.gamma"),
    (r"layernorm\.(.*)", r"norm.\1"),
)
_CLIP: Names = (
    (r"embeddings\.class_embedding", "cls_token"),
    (r"embeddings\.position_embedding\.weight", "pos_embed"),
    (r"embeddings\.patch_embedding\.(.*)", r"patch_embed.proj.\1"),
    (r"pre_layrnorm\.(.*)", r"norm_pre.\1"),  # so written
    (r"post_layernorm\.(.*)", r"norm.\1"),
    (_BLOCKS + r"layer_norm(\d)\.(.*)", r"blocks.\1.norm\2.\3"),
    (_BLOCKS + r"self_attn\.out_proj\.(.*)", r"blocks.\1.attn.proj.\2"),
    (_BLOCKS + r"mlp\.(fc\d)\.(.*)", r"blocks.\1.mlp.\2.\3"),
    (r"head\.probe", "attn_pool.latent"),
    (r"head\.attention\.out_proj\.(.*)", r"attn_pool.proj.\1"),
    (r"head\.layernorm\.(.*)", r"attn_pool.norm.\1"),
    (r"head\.mlp\.(.*)", r"attn_pool.mlp.\1"),
)
_DINOV3: Names = (
    (r"embeddings\.(cls_token|mask_token)", r"\1"),
    (r"embeddings\.register_tokens", "storage_tokens"),
    (r"embeddings\.patch_embeddings\.(.*)", r"patch_embed.proj.\1"),
    (_LAYER + r"(norm\d)\.(.*)", r"blocks.\1.\2.\3"),
    (_LAYER + r"attention\.o_proj\.(.*)", r"blocks.\1.attn.proj.\2"),
    (_LAYER + r"layer_scale(\d)\.lambda1", r"blocks.\1.ls\2.gamma"),
    (_LAYER + r"mlp\.up_proj\.(.*)", r"blocks.\1.mlp.fc1.\2"),
    (_LAYER + r"mlp\.down_proj\.(.*)", r"blocks.\1.mlp.fc2.\2"),
    (r"norm\.(.*)", r"norm.\1"),
)
FORMS = (
    Form(
        ("embeddings.patch_embeddings.projection.weight", "encoder.layer.0.attention.attention.query.weight"),
        _VIT,
        "encoder.layer.{block}.attention.attention.{part}.{kind}",
        ("query", "key", "value"),
    ),
    Form(
        ("embeddings.patch_embedding.weight", "encoder.layers.0.self_attn.q_proj.weight"),
        _CLIP,
        "encoder.layers.{block}.self_attn.{part}.{kind}",
    ),
    Form(
        ("embeddings.patch_embeddings.weight", "layer.0.attention.q_proj.weight"),
        _DINOV3,
        "layer.{block}.attention.{part}.{kind}",
    ),
)
CLIP_TOWER = ("class_embedding", "transformer.resblocks.0.attn.in_proj_weight")  # open_clip's, which timm converts
# What else is common and not renamed: a name that its files have, and what to say
HINTS = (
    (
        r"(^|\.)encoder\.layers?\.\d+\.|(^|\.)embeddings\.|^(model\.)?layer\.\d+\.attention\.",
        "Hugging Face transformers",
    ),
    (r"(^|\.)encoder\.layers\.encoder_layer_\d+\.|^features\.\d+\.", "torchvision"),
    (r"(^|\.)transformer\.resblocks\.\d+\.", "open_clip"),
)


def foreign_form(weights: Mapping[str, Any], initial: Mapping[str, Any]) -> str | None:
    """Whose names a file's are, and what to do, where they are another library's; None where that does not show."""
    for pattern, library in HINTS:
        if any(re.search(pattern, key) for key in initial):  # timm's VGG has such names too
            continue
        if (foreign := next((key for key in weights if re.search(pattern, str(key))), None)) is not None:
            return (
                f"its names are those of {library} ({foreign!r}), and not read here in this form; name timm's id of "
                "these weights, or save them under timm's names"
            )
    return None


def as_timm_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Tensors of a form that is known under names that timm's converters take; None for any other."""
    if (tower := _marked(weights, CLIP_TOWER)) is not None:
        return {f"visual.{key}": tensor for key, tensor in tower.items()}
    for form in FORMS:
        if (tensors := _marked(weights, form.markers)) is not None:
            kinds = ("weight", "bias")  # of the classifier, which lies above the prefix
            head = {f"head.{kind}": weights[f"classifier.{kind}"] for kind in kinds if f"classifier.{kind}" in weights}
            return {**head, **_joined(form, tensors), **_pooling(tensors), **_renamed_by_form(form, tensors)}
    return None


def _marked(weights: Mapping[str, Tensor], markers: tuple[str, str]) -> dict[str, Tensor] | None:
    """The tensors below the one prefix that stands before two names; None where none or several do."""
    first, second = markers
    prefixes = [key.removesuffix(first) for key in weights if key.endswith(first)]
    prefixes = [prefix for prefix in prefixes if prefix + second in weights]
    if len(prefixes) != 1:
        return None
    return tensors_below(weights, prefixes[0])


def _renamed_by_form(form: Form, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed_tensors = {}
    for key, tensor in weights.items():
        matches = ((re.fullmatch(pattern, key), name) for pattern, name in form.names)
        if (renamed := next((match.expand(name) for match, name in matches if match), None)) is not None:
            token = renamed in ("cls_token", "pos_embed")  # CLIP has a vector and a table
            renamed_tensors[renamed] = tensor.reshape(1, -1, tensor.shape[-1]) if token else tensor
    return renamed_tensors


def _joined(form: Form, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`qkv` of each block: query, key and value below each other, with zeros for a bias that only some have."""
    joined = {}
    for block in range(len(weights)):
        for kind in ("weight", "bias"):
            three = [weights.get(form.part.format(block=block, part=part, kind=kind)) for part in form.parts]
            if three[0] is not None:
                zeros = torch.zeros_like(three[0])
                joined[f"blocks.{block}.attn.qkv.{kind}"] = torch.cat(
                    [zeros if each is None else each for each in three]
                )
    return joined


def _pooling(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """SigLIP's attention pooling: torch keeps query, key and value as one, timm the query apart."""
    pooling: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        if (in_proj := weights.get(f"head.attention.in_proj_{kind}")) is not None:
            query, key, value = in_proj.chunk(3)
            pooling |= {f"attn_pool.q.{kind}": query, f"attn_pool.kv.{kind}": torch.cat([key, value])}
    return pooling
