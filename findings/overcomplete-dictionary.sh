#!/usr/bin/env bash
# overcomplete 0.3.0: a state dict that is loaded in evaluation mode gives the encoder, and leaves the dictionary behind.
# Why it matters here: its files are read by `import-sae`, and compared with what the library itself computes. One would
# guess that after `load_state_dict` codes and decoded tokens are those of the model that was saved, in whichever mode.
# Seen with two TopKSAE(8, 16, top_k=4), both in evaluation mode, the state of the one loaded into the other:
#   codes are equal, decoded tokens are not: they come from the dictionary of before, until .train().eval()
#   BatchTopKSAE's running threshold is not in its state dict: loaded, it does not encode in evaluation mode at all
#   and its top_k is of a batch, not of a token: of 64 tokens 4 codes are active together
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q --no-deps overcomplete==0.3.0 2>/dev/null
"$room/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31 matplotlib==3.8.4 numpy==2.4.6 einops==0.8.2 \
  scikit-learn scikit-image scipy opencv-python-headless 2>/dev/null
cat > "$room/dictionary.py" <<'PYTHON'
import torch
from overcomplete.sae import BatchTopKSAE, TopKSAE

torch.manual_seed(0)
tokens = torch.randn(64, 8)
saved, loaded = TopKSAE(8, 16, top_k=4).eval(), TopKSAE(8, 16, top_k=4).eval()
loaded.load_state_dict(saved.state_dict())
codes = saved.encode(tokens)[1]
alike = torch.equal(loaded.encode(tokens)[1], codes), torch.allclose(loaded.decode(codes), saved.decode(codes), atol=1e-5)
print("codes alike", alike[0], "- decoded alike", alike[1])
assert alike == (True, False)
loaded.train().eval()
print("decoded alike after .train().eval()", torch.allclose(loaded.decode(codes), saved.decode(codes), atol=1e-5))
assert torch.allclose(loaded.decode(codes), saved.decode(codes), atol=1e-5)

batched, again = BatchTopKSAE(8, 16, top_k=4), BatchTopKSAE(8, 16, top_k=4)
active = int((batched.encode(tokens)[1] > 0).sum())
print("BatchTopK, top_k 4: active in 64 tokens", active)
assert active == 4
again.load_state_dict(batched.state_dict())
again.eval()
try:
    again.encode(tokens)
    raise SystemExit("it encoded")
except AssertionError as error:
    print("BatchTopK, loaded:", error)
PYTHON
"$room/venv/bin/python" -W ignore "$room/dictionary.py"
