"""Several builds of the project beside each other: each is a folder with the two packages in it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def in_turns(builds: Sequence[str], turns: int, script: str, words: Sequence[str]) -> dict[str, list[Any]]:
    """{build: what a script says in each of its turns}, each in a process of its own: the JSON of its last line."""
    said: dict[str, list[Any]] = {build: [] for build in builds}
    for _ in range(turns):
        for build, printed in said.items():
            ran = subprocess.run(
                [sys.executable, script, *words],
                env={**os.environ, "PYTHONPATH": str(Path(build).resolve())},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            printed.append(json.loads(ran.stdout.splitlines()[-1]))
    return said
