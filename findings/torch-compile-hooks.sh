#!/usr/bin/env bash
# torch 2.14.1: a hook that is put on a layer of a compiled module after its first call is never called, silently;
# one that was there at the first call is, and may be taken away.
# Why it matters here: networks are compiled for speed, and concepts are read, ablated and steered by hooks on layers.
# That weights changed later count is known; one would guess that the module is compiled anew, as it is when a hook is
# removed, or says so. An ablation then has no effect at all, which reads as "this layer does not matter".
# Seen with torch.compile(network, backend="eager"), which traces as the default does and needs no compiler:
#   hook after the first call: called 0 times; an ablating one leaves the answer the same to the bit
#   hook before the first call: called; removed later: the answer is that of the plain network again
#   after torch.compiler.reset(): the late hook is called
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 2>/dev/null
cat > "$room/hooks.py" <<'PYTHON'
import torch
from torch import nn


def built():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    return network, torch.compile(network, backend="eager")


def ablate(_module, _inputs, output):
    calls.append(1)
    return output * 0


calls, tokens = [], torch.randn(3, 4)
with torch.no_grad():
    network, compiled = built()
    plain = compiled(tokens)
    network[0].register_forward_hook(ablate)
    late = compiled(tokens)
    print("late hook: called", len(calls), "- answer the same", torch.equal(late, plain))
    assert not calls and torch.equal(late, plain)
    assert not torch.equal(network(tokens), plain)  # the plain network has it
    torch.compiler.reset()
    calls.clear()
    print("after reset: answer the same", torch.equal(compiled(tokens), plain))
    assert not torch.equal(compiled(tokens), plain)

    network, compiled = built()
    handle = network[0].register_forward_hook(ablate)
    early = compiled(tokens)
    handle.remove()
    removed = compiled(tokens)
    print("early hook: acts", not torch.equal(early, plain), "- removed: as without", torch.equal(removed, plain))
    assert not torch.equal(early, plain) and torch.equal(removed, plain)
PYTHON
"$room/venv/bin/python" "$room/hooks.py"
