"""`usae-viz`: the command line. Everything heavy is imported inside the commands, so that --help stays quick."""

from __future__ import annotations

from usae_train.command_app import command_app
from usae_viz.commands import concepts_command, drawing_commands, explain_commands, page_commands, render_commands

app = command_app(
    "usae-viz", "Draw universal concepts as each vision backbone sees them: coordinated activation maximization."
)
app.command()(drawing_commands.maximize)
app.command()(drawing_commands.invert)
app.command()(concepts_command.concepts)
app.command()(explain_commands.explain)
app.command()(explain_commands.intervene)
app.command()(render_commands.render)
app.command()(render_commands.show)
app.command()(render_commands.recipes)
app.command()(page_commands.explore)
app.command()(page_commands.rate)
app.command("rate-score")(page_commands.rate_score)


def main() -> None:
    """Entry point."""
    app()
