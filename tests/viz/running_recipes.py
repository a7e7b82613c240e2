"""Recipes that are run to be looked at, by tests of runs."""

from typer.testing import CliRunner

from usae_viz.cli import app

QUICK = "settings: {steps: 2, views: 1, size: 32}\n"


def run(*words):
    """Run usae-viz with some words."""
    return CliRunner().invoke(app, [str(word) for word in words])


def drawn(folder, room, text, *words, out="run"):
    """Render a recipe's text."""
    recipe = room / "recipe.yaml"
    recipe.write_text(f"usae: {folder}\n{text}")
    done = run("render", recipe, "--out", room / out, "-q", *words)
    assert done.exit_code == 0, done.stderr
    return room / out


def contents(out):
    """{path: bytes} of everything in a run but the lock."""
    return {str(f.relative_to(out)): f.read_bytes() for f in out.rglob("*") if f.is_file() and f.name != "lock"}
