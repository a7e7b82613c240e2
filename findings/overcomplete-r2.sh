#!/usr/bin/env bash
# overcomplete 0.3.0: the R2 that training prints is far above 0 for a model that gives every token the mean token.
# Why it matters here: R2 is the figure by which concept spaces are compared. r2_score's documentation says that 0 is
# "as good as the mean"; one would guess the mean token. It is the mean over all features and tokens, one number: what
# features differ by among each other counts as explained, and in tokens of a transformer that is most of it.
# Seen with tokens of standard deviation 1 in each feature, whose features' means have standard deviation 3:
#   every token predicted as the mean token: 0.90; scikit-learn's r2_score: 0.00
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q --no-deps overcomplete==0.3.0 2>/dev/null
"$room/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31 matplotlib==3.8.4 numpy==2.4.6 \
    einops==0.8.2 scikit-learn==1.9.1 scikit-image scipy opencv-python-headless 2>/dev/null
cat > "$room/r2.py" <<'PYTHON'
import sklearn.metrics
import torch
from overcomplete.metrics import r2_score

generator = torch.Generator().manual_seed(0)
tokens = torch.randn(4096, 384, generator=generator) + 3 * torch.randn(384, generator=generator)
mean_token = tokens.mean(dim=0).expand_as(tokens)
theirs = r2_score(tokens, mean_token).item()
usual = sklearn.metrics.r2_score(tokens, mean_token)
print(f"the mean token for every token: overcomplete {theirs:.2f}, scikit-learn {usual:.2f}")
assert theirs > 0.85 and abs(usual) < 0.001
PYTHON
"$room/venv/bin/python" "$room/r2.py"
