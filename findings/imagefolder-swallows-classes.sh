#!/usr/bin/env bash
# datasets 5.2.0: one class whose name holds the word train, test, dev, ... makes `imagefolder` drop all other classes.
# Why it matters here: a folder of one folder a class is the usual form of labelled pictures, and COCO, CIFAR-100 and
# Open Images have a class "train". That folders named train and test are splits is documented; one would guess that
# this holds for a folder train/ that has classes in it, and that "freight train" beside "bus" and "car" is a class.
# Seen, with three pictures a class, and without a warning:
#   bus, car, freight car:   9 rows in `train`, labels bus, car, freight car
#   bus, car, train:         3 rows in `train`, no label column: bus and car are gone
#   bus, car, freight train: 3 rows in `train`, no label column
#   bus, car, test bench:    3 rows in `test`, no label column, no split `train`
#   bus, car, dev-board:     3 rows in `validation`, no label column, no split `train`
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q datasets==5.2.0 pillow==13.0.0 2>/dev/null
cat > "$room/classes.py" <<'PYTHON'
import sys
from pathlib import Path

from datasets import disable_progress_bars, load_dataset
from PIL import Image

disable_progress_bars()
room = Path(sys.argv[1])


def loaded(third):
    """{split: (rows, names of the labels or None)} of bus, car and a third class."""
    root = room / third
    for name in ("bus", "car", third):
        (root / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (8, 8)).save(root / name / f"{number}.png")
    splits = load_dataset("imagefolder", data_dir=str(root))
    return {split: (len(rows), getattr(rows.features.get("label"), "names", None)) for split, rows in splits.items()}


seen = {third: loaded(third) for third in ("freight car", "train", "freight train", "test bench", "dev-board")}
for third, splits in seen.items():
    print(f"bus, car, {third}:", splits)
assert seen == {
    "freight car": {"train": (9, ["bus", "car", "freight car"])},
    "train": {"train": (3, None)},
    "freight train": {"train": (3, None)},
    "test bench": {"test": (3, None)},
    "dev-board": {"validation": (3, None)},
}
PYTHON
HF_HOME="$room/hf" HF_HUB_OFFLINE=1 "$room/venv/bin/python" "$room/classes.py" "$room/folders"
