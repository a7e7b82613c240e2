#!/usr/bin/env bash
# safetensors 0.8.0 with torch 2.14.1 (CPU): a tensor that lies beside others in a file gives other results.
# Why it matters here: one adds a bias or a counter to a file of weights, changes nothing else, loads it with load_file and
# assign=True (or uses the tensors as they are), and what a layer makes of one picture has other last bits: a hash of the
# results no longer fits. One would guess that the same numbers, shape and strides give the same results, or that each
# tensor begins where torch would put it, at a multiple of 64 bytes.
# load_file leaves a tensor where the file has it: three floats before it move it by 12 bytes. torch.mv, and with it a
# Linear of one input, adds in another order from there; torch.mm of several inputs does not. A clone is right again, as is
# load_state_dict without assign, which copies.
# Seen with a weight of 512 x 384 (an AMD EPYC, one thread), alone in its file and beside one tensor of three floats:
#   alone:  16 bytes off, mv as of the weight that was saved True
#   beside: 20 bytes off, mv as of the weight that was saved False, of its clone True, mm of 8 inputs True
#   Linear, assign=True False, copied True
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q safetensors==0.8.0 torch==2.14.1 numpy==2.4.6 2>/dev/null
cat > "$room/beside.py" <<'PYTHON'
import sys

import torch
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)
torch.manual_seed(0)
weight, one, several = torch.randn(512, 384), torch.randn(384), torch.randn(384, 8)
save_file({"weight": weight}, sys.argv[1])
save_file({"bias": torch.zeros(3), "weight": weight}, sys.argv[2])
alone, beside = load_file(sys.argv[1])["weight"], load_file(sys.argv[2])["weight"]


def same(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(tensor @ other, weight @ other)


def linear(assign: bool) -> bool:
    layer = torch.nn.Linear(384, 512, bias=False)
    layer.load_state_dict({"weight": beside}, assign=assign)
    return torch.equal(layer(one), torch.nn.functional.linear(one, weight))


assert torch.equal(alone, weight) and torch.equal(beside, weight) and beside.is_contiguous()
print(f"alone:  {alone.data_ptr() % 64} bytes off, mv as of the weight that was saved {same(alone, one)}")
print(
    f"beside: {beside.data_ptr() % 64} bytes off, mv as of the weight that was saved {same(beside, one)}, "
    f"of its clone {same(beside.clone(), one)}, mm of 8 inputs {same(beside, several)}"
)
print(f"Linear, assign=True {linear(True)}, copied {linear(False)}")
assert same(alone, one) and same(beside.clone(), one) and same(beside, several) and linear(False)
assert beside.data_ptr() % 16 and not same(beside, one) and not linear(True)
PYTHON
"$room/venv/bin/python" "$room/beside.py" "$room/alone.safetensors" "$room/beside.safetensors"
