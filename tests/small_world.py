"""Pictures, specs, a store, a USAE and a run so small that a command takes little longer than its imports."""

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image
from safetensors import safe_open

OPTIONS = {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
SMALL = ["--n-concepts", "8", "-k", "2", "--batch", "16", "--device", "cpu"]
UNLIKE = {".html", ".js", ".lock"}  # whose bytes say when and where
CHANGING = {"tokens_per_second", "gb_read"}


@dataclass
class World:
    """Where all is, and what undisturbed commands came to.

    Attributes:
        commands: {name: words of a command without --out}; `again` adds what goes on.
        wanted: {name: {file: hash}}.
        seconds: {name: how long it takes}.
        largest: {name: bytes of its largest file}.
    """

    room: Path
    commands: dict[str, list[str]] = field(default_factory=dict)
    wanted: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    largest: dict[str, int] = field(default_factory=dict)

    def words(self, name: str, out: Path, again: bool = False) -> list[str]:
        """The command line, into a folder; `again` with what makes it go on."""
        resume = ["--resume"] if again and name == "fit" else []
        return [*self.commands[name], "--out", str(out), *resume]


def train(*words: object) -> list[str]:
    """The words of `usae-train`."""
    return [sys.executable, "-m", "usae_train", *map(str, words)]


def viz(*words: object) -> list[str]:
    """The words of `usae-viz`."""
    return [sys.executable, "-m", "usae_viz", *map(str, words)]


def run_cli(words: list[str], cwd: Path, **more: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, two minutes at most."""
    settings = {"capture_output": True, "text": True, "check": False, "timeout": 120, **more}
    return subprocess.run(words, cwd=cwd, **settings)


def small_world(room: Path) -> World:
    """Make it, and run each command once undisturbed."""
    world = World(room)
    make_pictures(room / "pictures", 24)
    specs = {
        name: {"model": "vit_tiny_patch16_224", "weights": "random", "input_size": 16, "seed": seed, "options": OPTIONS}
        for seed, name in enumerate(("left", "right"))
    }
    (room / "specs.yaml").write_text(json.dumps(specs))
    base = room / "base"
    base.mkdir()
    for words in (
        train("extract", room / "pictures", "--backbones", room / "specs.yaml", "-o", base / "store", "-q"),
        train("fit", base / "store", "-o", base / "usae", "--steps", 20, *SMALL, "-q"),
        viz("maximize", "-c", "0,1", "--usae", base / "usae", "--steps", 2, "--size", 16, "-o", base / "run", "-q"),
    ):
        done = run_cli(words, room)
        assert done.returncode == 0, done.stderr
    (room / "recipe.yaml").write_text(
        f"usae: {base / 'usae'}\nconcepts: [0, 1, 2]\nmodes: [per-model, shared]\nseeds: [0, 1]\n"
        "settings: {steps: 4, views: 1, size: 32}\n"
    )
    world.commands = {
        "extract": train("extract", room / "pictures", "--backbones", room / "specs.yaml", "--image-batch", 2, "-q"),
        "fit": train("fit", base / "store", "--steps", 400, "--checkpoint-minutes", 0, *SMALL, "-q"),
        "evaluate": train(
            "evaluate",
            base / "usae",
            room / "pictures",
            "--image-batch",
            1,
            "--checkpoint-minutes",
            0,
            "--no-fill",
            "--workers",
            2,
            "-q",
        ),
        "render": viz("render", room / "recipe.yaml", "--workers", 3, "-q"),
        "explore": viz("explore", base / "run", base / "usae", "-q"),
    }
    for name in world.commands:
        out = room / "undisturbed" / name / "out"
        out.parent.mkdir(parents=True)
        begun = time.monotonic()
        done = run_cli(world.words(name, out), out.parent)
        assert done.returncode == 0, (name, done.stderr)
        world.seconds[name], world.wanted[name] = time.monotonic() - begun, tree_of(out)
        world.largest[name] = max(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return world


def make_pictures(folder: Path, count: int) -> Path:
    """Noise of several strengths."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.effect_noise((24, 24), 10 + 5 * number).convert("RGB").save(folder / f"{number:02d}.png")
    return folder


def tree_of(folder: Path) -> dict[str, str]:
    """{file below a folder: hash of what is in it, less what differs from run to run}."""
    return {
        file.relative_to(folder).as_posix(): _content(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != "lock"
    }


def _content(file: Path) -> str:
    if file.suffix in UNLIKE:
        return "there"
    content = file.read_bytes()
    if file.suffix == ".safetensors":  # its words about itself come in any order
        with safe_open(file, "pt") as opened:
            names, about = sorted(opened.keys()), sorted((opened.metadata() or {}).items())
            tensors = [opened.get_tensor(name).reshape(-1).view(torch.uint8).numpy().tobytes() for name in names]
        content = repr((names, [hashlib.sha256(tensor).hexdigest() for tensor in tensors], about)).encode()
    if file.name == "metrics.jsonl":
        lines = [json.loads(line) for line in content.splitlines()]
        content = repr([{k: v for k, v in line.items() if k not in CHANGING} for line in lines]).encode()
    return hashlib.sha256(content).hexdigest()
