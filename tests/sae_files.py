"""Small autoencoders in each format, written by hand as the libraries write them, and what they compute by hand."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

WIDTH, CONCEPTS, K = 4, 9, 3
Step = Callable[[Tensor], Tensor]


@dataclass
class Written:
    """A file or folder, and its codes and decoded tokens worked out from the numbers that were written."""

    place: Path
    encode: Step
    decode: Step
    options: dict[str, Any] = field(default_factory=dict)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Multiples of 1/64: sums of their products are exact, and the same on every processor in any order."""
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 64).round() / 64


E, B = numbers(WIDTH, CONCEPTS), numbers(CONCEPTS, seed=1)  # of the encoder
D, SHIFT = numbers(CONCEPTS, WIDTH, seed=2), numbers(WIDTH, seed=3)  # of the decoder
T = numbers(CONCEPTS, seed=4).abs()  # thresholds
TOKENS = numbers(50, WIDTH, seed=5) * 2


def pre(tokens: Tensor, subtracted: Tensor | float = SHIFT) -> Tensor:
    return (tokens - subtracted) @ E + B


def decode(codes: Tensor) -> Tensor:
    return codes @ D + SHIFT


def top(pre_codes: Tensor, k: int = K) -> Tensor:
    values, places = pre_codes.topk(k, dim=-1)
    return torch.zeros_like(pre_codes).scatter(-1, places, values)


def above(pre_codes: Tensor, threshold: Tensor | float) -> Tensor:
    return pre_codes.relu() * (pre_codes > threshold)


METADATA = {"sae_lens_version": "6.54.12", "sae_lens_training_version": "6.54.12", "hook_name": "blocks.1"}
SAELENS = {
    "d_in": WIDTH,
    "d_sae": CONCEPTS,
    "dtype": "float32",
    "device": "cpu",
    "apply_b_dec_to_input": True,
    "normalize_activations": "none",
    "reshape_activations": "none",
    "metadata": METADATA,
}


def saelens(room: Path, encode: Step, config: dict[str, Any], tensors: dict[str, Tensor] | None = None) -> Written:
    """`SAE.save_model` of 6.54.12: cfg.json and sae_weights.safetensors."""
    (room / "cfg.json").write_text(json.dumps({**SAELENS, **config}))
    weights = {"W_enc": E, "b_enc": B, "W_dec": D, "b_dec": SHIFT, **(tensors or {})}
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, room / "sae_weights.safetensors")
    return Written(room, encode, decode)


def saelens_standard(room: Path) -> Written:
    return saelens(room, lambda t: pre(t).relu(), {"architecture": "standard"})


def saelens_unshifted(room: Path) -> Written:
    config = {"architecture": "standard", "apply_b_dec_to_input": False}
    return saelens(room, lambda t: pre(t, 0).relu(), config)


def saelens_topk(room: Path) -> Written:
    config = {"architecture": "topk", "k": K, "rescale_acts_by_decoder_norm": False}
    return saelens(room, lambda t: top(pre(t)).relu(), config)


def saelens_rescaled(room: Path) -> Written:
    config = {"architecture": "topk", "k": K, "rescale_acts_by_decoder_norm": True}
    made = saelens(room, lambda t: top(pre(t) * D.norm(dim=1)).relu(), config)
    made.decode = lambda codes: codes @ (D / D.norm(dim=1, keepdim=True)) + SHIFT
    return made


def saelens_jumprelu(room: Path) -> Written:
    return saelens(room, lambda t: above(pre(t), T), {"architecture": "jumprelu"}, {"threshold": T})


def saelens_batchtopk(room: Path) -> Written:
    """What `save_inference_model` of BatchTopK and Matryoshka writes: JumpReLU of one threshold."""
    metadata = {**METADATA, "training_architecture": "batchtopk", "training_architecture_details": {"k": 3}}
    config = {"architecture": "jumprelu", "metadata": metadata}
    return saelens(room, lambda t: above(pre(t), 0.7), config, {"threshold": torch.full((CONCEPTS,), 0.7)})


SPARSIFY = {
    "activation": "topk",
    "expansion_factor": 32,
    "normalize_decoder": True,
    "num_latents": CONCEPTS,
    "k": K,
    "multi_topk": False,
    "skip_connection": False,
    "transcode": False,
    "d_in": WIDTH,
}


def sparsify(room: Path, **config: Any) -> Written:
    """`SparseCoder.save_to_disk` of eai-sparsify 1.3.3: cfg.json and sae.safetensors."""
    (room / "cfg.json").write_text(json.dumps({**SPARSIFY, **config}))
    weights = {"encoder.weight": E.T.contiguous(), "encoder.bias": B, "W_dec": D, "b_dec": SHIFT}
    save_file(weights, room / "sae.safetensors")
    return Written(room, lambda t: top(pre(t)).relu(), decode)


def saev(room: Path, header: dict[str, Any], encode: Step, **tensors: Tensor) -> Written:
    """`saev.nn.dump`: a line of JSON, then `torch.save` of the state dict, in one file."""
    file = room / "sae.pt"
    with file.open("wb") as opened:
        opened.write((json.dumps(header) + "\n").encode())
        torch.save({"W_enc": E, "b_enc": B, "W_dec": D, "b_dec": SHIFT, **tensors}, opened)
    return Written(file, encode, decode)


def saev_schema(activation: str, number: int = 5, **params: Any) -> dict[str, Any]:
    activation_config = {"cls": activation, "params": params}
    return {
        "schema": number,
        "cfg": {"d_model": WIDTH, "d_sae": CONCEPTS, "activation": activation_config},
        "commit": "0",
        "lib": "0",
    }


def saev_first(room: Path) -> Written:
    """saev 0.1.0: the decoder's bias is subtracted."""
    return saev(room, {"d_vit": WIDTH, "exp_factor": 2, "seed": 0}, lambda t: pre(t).relu())


def saev_topk(room: Path) -> Written:
    """Since schema 2 nothing is subtracted, and TopK has no ReLU."""
    return saev(room, saev_schema("TopK", top_k=K), lambda t: top(pre(t, 0)))


def saev_batchtopk(room: Path) -> Written:
    made = saev_schema("BatchTopK", top_k=K)
    return saev(room, made, lambda t: above(pre(t, 0), 0.7), **{"activation.threshold": torch.tensor(0.7)})


UNIT = D / D.norm(dim=1, keepdim=True)
LINEAR = {"encoder.final_block.0.weight": E.T.contiguous(), "encoder.final_block.0.bias": B}
FREE = {"dictionary._weights": UNIT, "dictionary.multiplier": torch.tensor(0.5)}


def overcomplete(room: Path, encode: Step, rows: Tensor, tensors: dict[str, Tensor], **options: Any) -> Written:
    """`torch.save(sae.state_dict())` of overcomplete 0.3.0: nothing is subtracted or added."""
    file = room / "sae.pt"
    torch.save(tensors, file)
    return Written(file, encode, lambda codes: codes @ rows, options)


def overcomplete_topk(room: Path) -> Written:
    rows = UNIT * torch.tensor(0.5).exp()
    return overcomplete(room, lambda t: top(pre(t, 0).relu()), rows, {**LINEAR, **FREE}, k=K)


def overcomplete_norm(room: Path) -> Written:
    gain, shift, mean, variance = (numbers(CONCEPTS, seed=seed) for seed in range(6, 10))
    parts = {"weight": gain, "bias": shift, "running_mean": mean, "running_var": variance.abs()}
    normed = {f"encoder.final_block.1.{key}": value for key, value in parts.items()}
    normed["encoder.final_block.1.num_batches_tracked"] = torch.tensor(3)
    rows = UNIT * torch.tensor(0.5).exp()

    def encode(tokens: Tensor) -> Tensor:
        return top(((pre(tokens, 0) - mean) / (variance.abs() + 1e-5).sqrt() * gain + shift).relu())

    return overcomplete(room, encode, rows, {**LINEAR, **normed, **FREE}, k=K)


def overcomplete_tied(room: Path) -> Written:
    rows = UNIT * torch.tensor(0.5).exp()
    tied = {"encoder.bias": B, **{f"encoder.tied_to.{key.partition('.')[2]}": value for key, value in FREE.items()}}
    return overcomplete(room, lambda t: top((t @ rows.T + B).relu()), rows, {**tied, **FREE}, k=K)


def overcomplete_batchtopk(room: Path) -> Written:
    """Its threshold, which is in no file, is reached and not exceeded: here by one pre-code to the bit."""
    threshold = float(pre(TOKENS, 0).max())
    rows = UNIT * torch.tensor(0.5).exp()

    def encode(tokens: Tensor) -> Tensor:
        return pre(tokens, 0).relu() * (pre(tokens, 0) >= threshold)

    return overcomplete(room, encode, rows, {**LINEAR, **FREE}, threshold=threshold)


def overcomplete_jump(room: Path) -> Written:
    rows = UNIT * torch.tensor(0.5).exp()
    return overcomplete(room, lambda t: above(pre(t, 0), T), rows, {**LINEAR, **FREE, "thresholds": T.log()})


def overcomplete_archetypal_jump(room: Path) -> Written:
    points, mixture = numbers(6, WIDTH, seed=11), numbers(CONCEPTS, 6, seed=12).softmax(dim=1)
    rest = numbers(CONCEPTS, WIDTH, seed=13) * 0.1
    tensors = {
        "dictionary.C": points,
        "dictionary.W": mixture,
        "dictionary.Relax": rest,
        "dictionary.multiplier": torch.tensor(0.5),
        "thresholds": T.log(),
        **LINEAR,
    }
    rows = (mixture @ points + rest) * torch.tensor(0.5).exp()
    return overcomplete(room, lambda t: above(pre(t, 0), T), rows, tensors)


def dictionary_learning(room: Path, kind: str, encode: Step, tensors: dict[str, Tensor]) -> Written:
    """`training.trainSAE` of dictionary_learning 0.1.0: ae.pt, a state dict, and config.json."""
    torch.save(tensors, room / "ae.pt")
    (room / "config.json").write_text(json.dumps({"trainer": {"dict_class": kind}, "buffer": {}}))
    return Written(room, encode, decode)


LAYERS = {"encoder.weight": E.T.contiguous(), "encoder.bias": B, "decoder.weight": D.T.contiguous()}
MATRICES = {"W_enc": E, "b_enc": B, "W_dec": D, "b_dec": SHIFT}
COUNT, THRESHOLD = torch.tensor(K, dtype=torch.int), torch.tensor(0.7)


def dictionary_relu(room: Path) -> Written:
    return dictionary_learning(room, "AutoEncoder", lambda t: pre(t).relu(), {"bias": SHIFT, **LAYERS})


def dictionary_relu_new(room: Path) -> Written:
    return dictionary_learning(room, "AutoEncoderNew", lambda t: pre(t, 0).relu(), {**LAYERS, "decoder.bias": SHIFT})


def dictionary_topk(room: Path) -> Written:
    tensors = {"b_dec": SHIFT, "k": COUNT, "threshold": torch.tensor(-1.0), **LAYERS}
    return dictionary_learning(room, "AutoEncoderTopK", lambda t: top(pre(t).relu()), tensors)


def dictionary_batchtopk(room: Path) -> Written:
    tensors = {"b_dec": SHIFT, "k": COUNT, "threshold": THRESHOLD, **LAYERS}
    return dictionary_learning(room, "BatchTopKSAE", lambda t: above(pre(t), 0.7), tensors)


def dictionary_matryoshka(room: Path) -> Written:
    tensors = {**MATRICES, "k": COUNT, "threshold": THRESHOLD, "group_sizes": torch.tensor([2, 7])}
    return dictionary_learning(room, "MatryoshkaBatchTopKSAE", lambda t: above(pre(t), 0.7), tensors)


def dictionary_jumprelu(room: Path) -> Written:
    return dictionary_learning(room, "JumpReluAutoEncoder", lambda t: above(pre(t, 0), T), {**MATRICES, "threshold": T})


def prisma(room: Path, **config: Any) -> Written:
    """Prisma's weights as it takes them beside config.json."""
    torch.save(MATRICES, room / "weights.pt")
    usual = {"architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}, "d_in": WIDTH}
    (room / "config.json").write_text(json.dumps({**usual, "normalize_activations": "none", **config}))
    return Written(room, lambda t: top(pre(t)).relu(), decode)


def prisma_object(room: Path) -> Written:
    """`save_model` of Prisma: the config is pickled, an object of a class that is not there when it is read."""
    home = "vit_prisma.sae.config"
    modules = {name: types.ModuleType(name) for name in ("vit_prisma", "vit_prisma.sae", home)}
    config = type("VisionModelSAERunnerConfig", (), {"__module__": home})
    modules[home].VisionModelSAERunnerConfig = config  # type: ignore[attr-defined]
    made = config()
    vars(made).update(architecture="standard", activation_fn_str="relu", normalize_activations="none", d_in=WIDTH)
    vars(made).update(_device="cpu", lr=0.1, model_name="vit", dtype=torch.float32)
    before = {name: sys.modules.pop(name) for name in modules if name in sys.modules}
    sys.modules.update(modules)
    try:
        torch.save({"cfg": made, "state_dict": MATRICES}, room / "weights.pt")
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules.update(before)
    return Written(room, lambda t: pre(t).relu(), decode)


Maker = Callable[[Path], Written]
FILES: dict[str, list[Maker]] = {
    "saelens": [
        saelens_standard,
        saelens_unshifted,
        saelens_topk,
        saelens_rescaled,
        saelens_jumprelu,
        saelens_batchtopk,
    ],
    "sparsify": [sparsify],
    "saev": [saev_first, saev_topk, saev_batchtopk],
    "overcomplete": [
        overcomplete_topk,
        overcomplete_norm,
        overcomplete_tied,
        overcomplete_batchtopk,
        overcomplete_jump,
        overcomplete_archetypal_jump,
    ],
    "dictionary_learning": [
        dictionary_relu,
        dictionary_relu_new,
        dictionary_topk,
        dictionary_batchtopk,
        dictionary_matryoshka,
        dictionary_jumprelu,
    ],
    "prisma": [prisma, prisma_object],
}
