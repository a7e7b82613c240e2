#!/usr/bin/env bash
# torchvision 0.29.1: the out_proj of its ViT's attention is never called: hooks on it do not fire, and a module put in
# its place, with whatever forward, changes nothing.
# Why it matters here: what an attention block writes is read, patched and ablated there, and adapters (LoRA) wrap it.
# One would guess that a submodule of type Linear, listed by named_modules, whose weights matter, is called in forward.
# nn.MultiheadAttention takes its weight and bias only. A wrapper whose `.weight` is the old one is as silent.
# Seen with vit_b_16, random weights, one pass: hooks on the 12 out_proj fire 0 times, those on the 24 layers of the
# MLPs 24 times; all 12 out_proj replaced by a Linear that returns zeros: the answers are bit for bit the same.
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 2>/dev/null
cat > "$room/projection.py" <<'PYTHON'
import torch
from torchvision.models import vit_b_16


class Ablated(torch.nn.Linear):
    def forward(self, tokens):
        return torch.zeros_like(super().forward(tokens))


torch.manual_seed(0)
network, picture = vit_b_16().eval(), torch.randn(1, 3, 224, 224)
torch.nn.init.normal_(network.heads.head.weight)  # the fresh head is all zeros
fired = []
for name, module in network.named_modules():
    if isinstance(module, torch.nn.Linear):
        module.register_forward_hook(lambda _module, _inputs, _output, name=name: fired.append(name))
with torch.no_grad():
    before = network(picture)
    counts = [sum("out_proj" in name for name in fired), sum(".mlp." in name for name in fired)]
    for block in network.encoder.layers:
        ablated = Ablated(768, 768)
        ablated.load_state_dict(block.self_attention.out_proj.state_dict())
        block.self_attention.out_proj = ablated
    same = torch.equal(network(picture), before)
    for block in network.encoder.layers:
        torch.nn.init.zeros_(block.self_attention.out_proj.weight)
    moved = (network(picture) - before).abs().max().item()
print("fired: out_proj", counts[0], "mlp", counts[1])
print("forward ablated: same answers", same, "; weight zeroed: moved by", moved)
assert counts == [0, 24] and same and moved > 0.01
PYTHON
"$room/venv/bin/python" "$room/projection.py"
