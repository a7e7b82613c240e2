"""Commands of `usae-viz` that are run to be looked at, by tests of commands."""

from typer.testing import CliRunner

from usae_viz.cli import app

QUICK = ["--steps", "3", "--views", "1", "--size", "32"]


def run(*words):
    """Run usae-viz with some words."""
    return CliRunner().invoke(app, list(words))
