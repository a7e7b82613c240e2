#!/usr/bin/env bash
# datasets 5.2.0: map returns the results of the function as it was before it was edited, if it is imported.
# Why it matters here: preprocessing lives in modules, and is corrected there between runs. That map caches is
# documented, and that its key is a hash of the function; one would guess that an edited function has another hash. It
# has where it stands in the script itself; of an imported one (and of all that a function of the script calls from
# modules) only the name is hashed, so a new process, with the new module, is handed the old column without a word.
# Seen, in three processes, with x = 1, 2 and a module's double(row) that is edited from x * 2 to x * 1000:
#   before the edit:                  map(double) 2 4          map(lambda row: double(row)) 2 4
#   after, in a new process:          double itself 1000 2000  map(double) 2 4  map(lambda row: double(row)) 2 4
#   with load_from_cache_file=False:  1000 2000
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q datasets==5.2.0 2>/dev/null
cat > "$room/mapped.py" <<'PYTHON'
import sys

from datasets import disable_progress_bars, load_dataset
from preprocessing import double

disable_progress_bars()
rows = load_dataset("csv", data_files=sys.argv[1], split="train")
fresh = {"load_from_cache_file": False} if sys.argv[2] == "fresh" else {}
itself = [double(row)["y"] for row in rows]
imported = rows.map(double, **fresh)["y"][:]
called = rows.map(lambda row: double(row), **fresh)["y"][:]
print(sys.argv[2], "itself", *itself, "map(double)", *imported, "map(lambda)", *called)
assert itself == ([2, 4] if sys.argv[2] == "before" else [1000, 2000])
assert imported == called == ([1000, 2000] if sys.argv[2] == "fresh" else [2, 4])
PYTHON
printf 'x\n1\n2\n' > "$room/rows.csv"
export HF_HOME="$room/hf" HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1
printf 'def double(row):\n    return {"y": row["x"] * 2}\n' > "$room/preprocessing.py"
"$room/venv/bin/python" "$room/mapped.py" "$room/rows.csv" before
printf 'def double(row):\n    return {"y": row["x"] * 1000}\n' > "$room/preprocessing.py"
"$room/venv/bin/python" "$room/mapped.py" "$room/rows.csv" after
"$room/venv/bin/python" "$room/mapped.py" "$room/rows.csv" fresh
