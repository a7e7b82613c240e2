"""Weights below other keys and prefixes, and under other libraries' names: read where that is certain, else named."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_weight_files import DINO, SMALL, VIT, built, refused, tensors_of

from usae_train.backbones.backbone import BackboneSpec
from usae_train.backbones.timm_models import create_model
from usae_train.backbones.weight_names import state_of

Weights = dict[str, torch.Tensor]
SIGLIP = BackboneSpec(model="vit_base_patch16_siglip_224", weights="random", input_size=64, options=SMALL)
CLIP = BackboneSpec(model="vit_base_patch16_clip_quickgelu_224", weights="random", input_size=64, options=SMALL)
REGISTERS = DINO.model_copy(update={"model": "vit_small_patch14_reg4_dinov2"})
DINOV3 = VIT.model_copy(update={"model": "vit_small_patch16_dinov3_qkvb"})
# As transformers 5.24 saves them: timm's name (of Meta's form for DINOv3), and what a file has instead
ONE_BLOCK = r"blocks\.(\d+)\."
VIT_NAMES = (
    (r"cls_token|mask_token|register_tokens", r"embeddings.\g<0>"), (r"pos_embed", "embeddings.position_embeddings"),
    (r"patch_embed\.proj\.", "embeddings.patch_embeddings.projection."), (r"^norm\.", "layernorm."),
    (ONE_BLOCK + r"attn\.(q|k|v)\.", lambda m: f"encoder.layer.{m[1]}.attention.attention.{WORDS[m[2]]}."),
    (ONE_BLOCK + r"attn\.proj\.", r"encoder.layer.\1.attention.output.dense."),
    (ONE_BLOCK + r"ls(\d)\.gamma", r"encoder.layer.\1.layer_scale\2.lambda1"),
)  # fmt: skip
WORDS = {"q": "query", "k": "key", "v": "value"}
OLD_BLOCK = (
    (ONE_BLOCK + "norm1", r"encoder.layer.\1.layernorm_before"),
    (ONE_BLOCK + "norm2", r"encoder.layer.\1.layernorm_after"),
    (ONE_BLOCK + r"mlp\.fc1", r"encoder.layer.\1.intermediate.dense"),
    (ONE_BLOCK + r"mlp\.fc2", r"encoder.layer.\1.output.dense"),
)  # fmt: skip
NEW_BLOCK = ((ONE_BLOCK + r"(norm\d|mlp)", r"encoder.layer.\1.\2"),)
CLIP_NAMES = (
    (r"cls_token", "embeddings.class_embedding"), (r"pos_embed", "embeddings.position_embedding.weight"),
    (r"patch_embed\.proj\.", "embeddings.patch_embedding."), (r"norm_pre\.", "pre_layrnorm."),
    (r"^norm\.", "post_layernorm."), (ONE_BLOCK + r"norm(\d)", r"encoder.layers.\1.layer_norm\2"),
    (ONE_BLOCK + r"attn\.(q|k|v)\.", r"encoder.layers.\1.self_attn.\2_proj."),
    (ONE_BLOCK + r"attn\.proj", r"encoder.layers.\1.self_attn.out_proj"), (ONE_BLOCK + "mlp", r"encoder.layers.\1.mlp"),
    (r"attn_pool\.latent", "head.probe"), (r"attn_pool\.in_", "head.attention.in_proj_"),
    (r"attn_pool\.proj", "head.attention.out_proj"), (r"attn_pool\.norm", "head.layernorm"),
    (r"attn_pool\.mlp", "head.mlp"),
)  # fmt: skip
DINOV3_NAMES = (
    (r"reg_token", "embeddings.register_tokens"), (r"cls_token", "embeddings.cls_token"),
    (r"patch_embed\.proj", "embeddings.patch_embeddings"),
    (ONE_BLOCK + r"attn\.(q|k|v)\.", r"layer.\1.attention.\2_proj."),
    (ONE_BLOCK + r"attn\.proj", r"layer.\1.attention.o_proj"),
    (ONE_BLOCK + r"gamma_(\d)", r"layer.\1.layer_scale\2.lambda1"),
    (ONE_BLOCK + r"mlp\.fc1", r"layer.\1.mlp.up_proj"), (ONE_BLOCK + r"mlp\.fc2", r"layer.\1.mlp.down_proj"),
    (ONE_BLOCK + r"norm", r"layer.\1.norm"),
)  # fmt: skip


def named(weights: Weights, names: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]) -> Weights:
    """Tensors under other names: those of the first pattern that a name has."""
    found = {}
    for key, tensor in weights.items():
        pattern, other = next(((p, o) for p, o in names if re.search(p, key)), ("^$", ""))
        found[re.sub(pattern, other, key)] = tensor
    return found


def apart(weights: Weights) -> Weights:
    """Query, key and value as three tensors, as other libraries keep them."""
    found = {}
    for key, tensor in weights.items():
        parts = tensor.chunk(3) if ".qkv." in key else (tensor,)
        found.update({key.replace("qkv", "qkv"[i] if len(parts) == 3 else "qkv"): part for i, part in enumerate(parts)})
    return found


def shaken(spec: BackboneSpec, **changes: object) -> Weights:
    """Weights of which none is constant, so that none is right by chance."""
    generator = torch.Generator().manual_seed(5)
    weights = tensors_of(spec, **changes)
    return {key: torch.randn(own.shape, generator=generator) * 0.1 for key, own in weights.items()}


def test_a_vit_of_transformers_is_read(tmp_path: Path) -> None:
    own = shaken(VIT, classes=5)
    head = {"classifier.weight": own.pop("head.weight"), "classifier.bias": own.pop("head.bias")}
    theirs = {f"vit.{key}": value for key, value in named(apart(own), OLD_BLOCK + VIT_NAMES).items()} | head
    assert "vit.encoder.layer.1.attention.attention.query.weight" in theirs
    found = built(VIT.model_copy(update={"classes": 5}), tmp_path / "w.pth", theirs).model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in own.items())
    assert torch.equal(found["head.weight"], head["classifier.weight"])
    built(VIT, tmp_path / "w.pth")


@pytest.mark.parametrize("spec", [DINO, REGISTERS])
def test_a_dinov2_of_transformers_is_read(tmp_path: Path, spec: BackboneSpec) -> None:
    own = shaken(spec)
    metas = dict(own)
    if (registers := metas.pop("reg_token", None)) is not None:  # Meta's class token has a position, timm's has not
        position = torch.randn(1, 1, 32)
        metas |= {"register_tokens": registers, "cls_token": own["cls_token"] - position,
                  "pos_embed": torch.cat([position, own["pos_embed"]], 1)}  # fmt: skip
    theirs = named(apart(metas | {"mask_token": torch.ones(1, 32)}), VIT_NAMES + NEW_BLOCK)
    found = built(spec, tmp_path / "w.pth", theirs).model.state_dict()
    for key, value in own.items():
        torch.testing.assert_close(found[key], value, msg=key)


@pytest.mark.parametrize("spec", [SIGLIP, CLIP])
def test_siglip_and_clip_of_transformers_are_read(tmp_path: Path, spec: BackboneSpec) -> None:
    own = shaken(spec)
    parts = apart(own)
    if spec is SIGLIP:
        for kind in ("weight", "bias"):
            both = (parts.pop(f"attn_pool.q.{kind}"), parts.pop(f"attn_pool.kv.{kind}"))
            parts[f"attn_pool.in_{kind}"] = torch.cat(both)
    theirs = {f"vision_model.{key}": value for key, value in named(parts, CLIP_NAMES).items()}
    theirs = {key: value.squeeze(0) if "position_embedding" in key else value for key, value in theirs.items()}
    if spec is CLIP:
        theirs["vision_model.embeddings.class_embedding"] = own["cls_token"].flatten()
    text = {"text_model.encoder.layers.0.self_attn.q_proj.weight": torch.zeros(2, 2)}
    found = built(spec, tmp_path / "w.pth", theirs | text).model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in own.items())


def test_a_dinov3_of_transformers_is_read_also_where_a_bias_is_zero(tmp_path: Path) -> None:
    own = shaken(DINOV3)
    own["blocks.0.attn.q_bias"].zero_()  # as it is initially: it is there all the same
    parts = apart({key: value for key, value in own.items() if not key.endswith(("q_bias", "v_bias"))})
    parts |= {re.sub("(.)_bias", r"\1.bias", key): value for key, value in own.items() if key.endswith("_bias")}
    theirs = named(parts, DINOV3_NAMES)
    assert "layer.0.attention.q_proj.bias" in theirs
    assert "layer.0.attention.k_proj.bias" not in theirs
    found = built(DINOV3, tmp_path / "w.pth", theirs).model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in own.items())
    del theirs["layer.1.mlp.up_proj.bias"]
    refused(DINOV3, tmp_path / "w.pth", r"Hugging Face transformers.*name timm's id of these weights", theirs)


@pytest.mark.parametrize("prefix", ["visual.", "", "model.visual."])
def test_an_open_clip_tower_is_read_with_and_without_its_prefix(tmp_path: Path, prefix: str) -> None:
    own = shaken(CLIP)
    names = (
        (r"cls_token", "class_embedding"), (r"pos_embed", "positional_embedding"), (r"patch_embed\.proj", "conv1"),
        (r"norm_pre", "ln_pre"), (r"^norm\.", "ln_post."), (ONE_BLOCK + r"norm(\d)", r"transformer.resblocks.\1.ln_\2"),
        (ONE_BLOCK + r"attn\.qkv\.", r"transformer.resblocks.\1.attn.in_proj_"),
        (ONE_BLOCK + r"attn\.proj", r"transformer.resblocks.\1.attn.out_proj"),
        (ONE_BLOCK + r"mlp\.fc1", r"transformer.resblocks.\1.mlp.c_fc"),
        (ONE_BLOCK + r"mlp\.fc2", r"transformer.resblocks.\1.mlp.c_proj"),
    )  # fmt: skip
    theirs = {prefix + key: value for key, value in named(own, names).items()}
    theirs[prefix + "class_embedding"] = own["cls_token"].flatten()
    theirs[prefix + "positional_embedding"] = own["pos_embed"][0]
    found = built(CLIP, tmp_path / "w.pth", theirs).model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in own.items())


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("encoder.layers.encoder_layer_0.self_attention.in_proj_weight", "torchvision"),
        ("features.1.0.attn.qkv.weight", "torchvision"),
        ("transformer.resblocks.0.ln_1.weight", "open_clip"),
        ("swin.encoder.layers.0.blocks.0.attention.self.query.weight", "Hugging Face transformers"),
    ],
)
def test_a_form_that_is_not_read_is_named(tmp_path: Path, name: str, library: str) -> None:
    words = rf"does not fit 'vit_tiny_patch16_224': its names are those of {library} \('{re.escape(name)}'\)"
    refused(VIT, tmp_path / "w.pth", words, {name: torch.zeros(3, 3)})


@pytest.mark.parametrize(
    "prefix", ["model.", "backbone.", "encoder.", "timm_model.", "visual.", "module.model.", "teacher.backbone."]
)
def test_a_prefix_is_taken_off(tmp_path: Path, prefix: str) -> None:
    own = tensors_of(VIT)
    theirs = {prefix + key: value for key, value in own.items()} | {"loss.weight": torch.zeros(2)}
    found = built(VIT, tmp_path / "w.pth", theirs).model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in own.items())
    wider = {prefix + key: value for key, value in tensors_of(VIT, options={**SMALL, "embed_dim": 48}).items()}
    refused(VIT, tmp_path / "w.pth", r"cls_token has the shape \(1, 1, 48\), and the model's \(1, 1, 32\)", wider)


def test_two_prefixes_are_read_where_they_say_the_same(tmp_path: Path) -> None:
    own, other = tensors_of(VIT), tensors_of(VIT, seed=4)
    robust = {
        prefix + key: value for prefix in ("module.model.", "module.attacker.model.") for key, value in own.items()
    }
    found = built(VIT, tmp_path / "w.pth", robust).model.state_dict()
    assert torch.equal(found["cls_token"], own["cls_token"])
    both = {f"student.{key}": value for key, value in own.items()} | {f"teacher.{k}": v for k, v in other.items()}
    refused(VIT, tmp_path / "w.pth", "it has the network several times, below student., teacher.; save the one", both)


@pytest.mark.parametrize("keys", ["teacher", "student", "module", "model_state_dict", "net", "ema", "model.net"])
def test_what_lies_below_one_key_beside_an_optimizer_is_read(keys: str) -> None:
    content: object = {"norm.weight": torch.ones(2)}
    for key in reversed(keys.split(".")):
        content = {key: content, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}, "epoch": 3}
    assert list(state_of(content)) == ["norm.weight"]


def test_of_several_keys_those_that_timm_prefers_are_read_and_others_are_named() -> None:
    one, two = {"norm.weight": torch.ones(2)}, {"norm.weight": torch.zeros(2)}
    assert state_of({"model": one, "model_ema": two}) == two
    assert state_of({"state_dict": one, "ema": two}) == one
    with pytest.raises(ValueError, match="holds net, ema; save the one that you mean"):
        state_of({"net": one, "ema": two})
    with pytest.raises(ValueError, match="has no tensors in it"):
        state_of({"state_dict": {"epoch": 3}})


def test_a_bias_that_is_lacking_is_said_though_it_would_be_zero(tmp_path: Path) -> None:
    own = tensors_of(VIT)
    del own["blocks.1.mlp.fc1.bias"]
    refused(VIT, tmp_path / "w.pth", r"it lacks 1 tensor, 'blocks\.1\.mlp\.fc1\.bias' first", own)


def test_a_model_keeps_no_second_copy_of_its_weights(tmp_path: Path) -> None:
    torch.save(tensors_of(VIT), tmp_path / "w.pth")
    model = create_model("a", VIT.model_copy(update={"weights": str(tmp_path / "w.pth"), "input_size": 32}))
    assert not any(isinstance(value, dict) and value for value in model.pretrained_cfg.values())
