"""What a situation is, of which others' users complained, and the words that situations are told in."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image
from small_world import SMALL, World
from typer.testing import CliRunner

from usae_train.cli import app as train_app
from usae_viz.cli import app as viz_app

Situation = Callable[[World, Path], None]
SITUATIONS: list[Situation] = []


def situation(function: Situation) -> Situation:
    """Add one to the list."""
    SITUATIONS.append(function)
    return function


def done(app: object, *words: object, status: int = 0, text: str = "") -> str:
    """Run a command in this process; its status, one line where it fails, and a text in what it says."""
    result = CliRunner().invoke(app, [str(word) for word in words])  # type: ignore[arg-type]
    said = result.stdout + result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == status, said
    if status == 1:
        assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 1, said
    assert text in " ".join(said.split()), said
    return said


def extract(world: World, pictures: Path, out: Path, *words: object, **expected: object) -> str:
    """`usae-train extract` through the world's two backbones."""
    return done(train_app, "extract", pictures, "--backbones", world.room / "specs.yaml", "-o", out, *words, **expected)  # type: ignore[arg-type]


def fit(world: World, out: Path, *words: object, **expected: object) -> str:
    """`usae-train fit` on the world's store."""
    store = world.room / "base" / "store"
    return done(train_app, "fit", store, "-o", out, *SMALL, "--steps", 4, *words, **expected)  # type: ignore[arg-type]


def maximize(world: World, out: Path, *words: object, **expected: object) -> str:
    """`usae-viz maximize` with the world's USAE."""
    small = ["--steps", 1, "--size", 16, "--crops", 1]
    return done(viz_app, "maximize", "--usae", world.room / "base" / "usae", *small, "-o", out, *words, **expected)  # type: ignore[arg-type]


def pictures_of(room: Path, *pictures: Image.Image, ending: str = "png") -> Path:
    """A folder of some pictures."""
    (room / "pictures").mkdir(parents=True)
    for number, picture in enumerate(pictures):
        picture.save(room / "pictures" / f"{number}.{ending}")
    return room / "pictures"
