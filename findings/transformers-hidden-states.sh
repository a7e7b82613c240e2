#!/usr/bin/env bash
# transformers 5.24.0: whether hidden_states hold what a hook did to a block depends on whether the network ran before.
# Why it matters here: a block is ablated or steered by a forward hook, and what that did to the tokens is read from
# output_hidden_states. One would guess that hidden_states[k + 1] is what block k hands to block k + 1, or at least that
# it is one of the two at any time. They are kept by hooks that the network puts on itself in its first such call: one
# that was there before is counted, a later one is not, though the rest of the network gets what it returned.
# Seen with block 1 of 3 ablated (its output times 0), random weights; hidden_states[2] is its output:
#   hook, then the first call:       all zeros, in each of ViT, DINOv2, CLIP, SigLIP, BEiT
#   a call, then the hook, a call:   bit for bit as without the hook; the next hidden state is changed by it
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q transformers==5.24.0 torch==2.14.1 numpy==2.4.6 2>/dev/null
cat > "$room/states.py" <<'PYTHON'
import torch
import transformers

transformers.logging.set_verbosity_error()
BLOCKS = {"ViT": "layers", "Dinov2": "encoder.layer", "CLIPVision": "encoder.layers", "SiglipVision": "encoder.layers",
          "Beit": "layers"}
SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64,
         "image_size": 32, "patch_size": 8}
picture = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def states(family, called_before):
    """hidden_states without a hook, and with one that ablates block 1, put on before the first call or after one."""
    torch.manual_seed(0)
    settings = getattr(transformers, f"{family}Config")(**SMALL)
    plain, hooked = (getattr(transformers, f"{family}Model")(settings).eval() for _ in range(2))
    hooked.load_state_dict(plain.state_dict())
    if called_before:
        hooked(picture, output_hidden_states=True)
    block = hooked.get_submodule(BLOCKS[family])[1]
    block.register_forward_hook(lambda _module, _inputs, output: output * 0)
    return [network(picture, output_hidden_states=True).hidden_states for network in (plain, hooked)]


with torch.no_grad():
    for family in BLOCKS:
        _, early = states(family, called_before=False)
        plain, late = states(family, called_before=True)
        zeros, same = not early[2].any().item(), torch.equal(late[2], plain[2])
        acts = not torch.equal(late[3], plain[3]) and torch.equal(late[3], early[3])
        print(f"{family}: hook first, zeros: {zeros}; hook later, as without it: {same}, yet it acts: {acts}")
        assert zeros and same and acts
PYTHON
HF_HUB_OFFLINE=1 "$room/venv/bin/python" "$room/states.py"
