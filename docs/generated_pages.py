"""Pages of the site that are made from what they are about: every command, every key of a recipe, the notebooks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
# Of what is not a page in a clone, the page that is made from it: a link to it works in both places.
MADE_FROM = {
    "usae_train/cli.py": "commands.md#usae-train",
    "usae_viz/cli.py": "commands.md#usae-viz",
    "usae_viz/runs/recipe.py": "recipe-keys.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """mkdocs asks which files there are; the made ones are added."""
    from usae_train.cli import app as train
    from usae_viz.cli import app as viz
    from usae_viz.runs.recipe import RenderRecipe

    pages = {
        "commands.md": "\n".join(["# Commands", *commands("usae-train", train), *commands("usae-viz", viz)]),
        "recipe-keys.md": "\n".join(recipe_keys(RenderRecipe.model_json_schema())),
    }
    for file in sorted(NOTEBOOKS.glob("*.ipynb")):
        pages[f"notebooks/{file.stem}.md"] = notebook_page(json.loads(file.read_text(encoding="utf-8")))
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs asks for each page's text; `NAMES OF package` becomes all that is public in it, with its docstrings."""

    def directives(found: re.Match[str]) -> str:
        return "\n\n".join(directive(import_module(found[1]), name) for name in import_module(found[1]).__all__)

    return re.sub(r"^NAMES OF (\w+)$", directives, links_of_the_site(markdown), flags=re.MULTILINE)


def directive(package: ModuleType, name: str) -> str:
    """What shows a public name, with all that a class has from another of the package that is not public itself."""
    bases = [base for base in getattr(getattr(package, name), "__bases__", ()) if not issubclass(base, BaseModel)]
    private = [base for base in bases if base.__module__.startswith(package.__name__) and base.__name__[0] != "_"]
    inherits = any(base.__name__ not in package.__all__ for base in private)
    return f"::: {package.__name__}.{name}" + ("\n    options:\n      inherited_members: true" if inherits else "")


def links_of_the_site(markdown: str) -> str:
    """A page's text; its links out of `docs` to notebooks and code lead to the pages that are made from these."""
    markdown = re.sub(r"\]\(\.\./((?:\.\./)*notebooks/[\w-]+)\.ipynb", r"](\1.md", markdown)
    for source, page in MADE_FROM.items():
        markdown = re.sub(rf"\]\(\.\./((?:\.\./)*){re.escape(source)}\)", rf"](\1{page})", markdown)
    return markdown


def commands(name: str, app: typer.Typer) -> Iterator[str]:
    """A command line's commands, each with its arguments and options."""
    group: Any = typer.main.get_command(app)
    yield from ("", f"## {name}", "", group.help or "", "")
    for command_name, command in group.commands.items():
        shown = [param for param in command.params if not getattr(param, "hidden", False)]
        arguments = [param for param in shown if param.param_type_name == "argument"]
        words = " ".join(_word(param) for param in arguments)
        yield from (
            f"### {name} {command_name}",
            "",
            f"`{name} {command_name} {words} [OPTIONS]`",
            "",
            command.help,
            "",
        )
        yield from ("| | default | |", "| --- | --- | --- |")
        for param in shown:
            given = ", ".join(f"`{word}`" for word in [*param.opts, *param.secondary_opts])
            spelled = f"`{_word(param)}`" if param in arguments else given
            yield f"| {spelled} | {_default(param)} | {_cell(getattr(param, 'help', None) or '')} |"
        yield ""


def recipe_keys(schema: dict[str, Any]) -> Iterator[str]:
    """What a recipe may say, and what stands under `settings`."""
    yield from (
        "# Keys of a recipe",
        "",
        "A recipe is a YAML file for `usae-viz render`; `usae-viz recipes` lists those",
    )
    yield from ("that come with the package. A variant takes the settings below, and an `objective` of its own.", "")
    parts = {"At the top": schema, "Under `settings`": schema["$defs"]["MaximizeSettings"]}
    for title, part in parts.items():
        yield from (f"## {title}", "", "| key | default | |", "| --- | --- | --- |")
        for key, field in part["properties"].items():
            default = field.get("default")
            shown = "" if default is None or isinstance(default, dict) else f"`{_cell(json.dumps(default))}`"
            yield f"| `{key}` | {shown} | {_cell(field.get('description', ''))} |"
        yield ""


def notebook_page(notebook: dict[str, Any]) -> str:
    """A notebook as it was run: its text, its code, what the code printed and showed."""
    parts: list[str] = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(re.sub(r"\.ipynb\)", ".md)", source))
            continue
        parts.append(f"```python\n{source}\n```")
        for is_text, found in groupby(cell["outputs"], lambda output: output["output_type"] == "stream"):
            outputs = list(found)
            parts.extend([_text("".join(map(_joined, outputs)))] if is_text else map(_shown, outputs))
    return "\n\n".join(parts)


def _shown(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    for kind in ("image/jpeg", "image/png"):
        if kind in data:
            return f"![What the cell above shows](data:{kind};base64,{''.join(data[kind]).strip()})"
    return _text("".join(data.get("text/plain", "")))


def _joined(stream: dict[str, Any]) -> str:
    return "".join(stream["text"])


def _text(printed: str) -> str:
    return f"```text\n{printed.rstrip()}\n```"


def _word(argument: Any) -> str:
    word = argument.metavar or argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def _default(param: Any) -> str:
    if param.required:
        return "required"
    return "" if param.default is None or param.default is False or callable(param.default) else f"`{param.default}`"


def _cell(text: str) -> str:
    """As a cell of a table takes it."""
    return " ".join(text.split()).replace("|", "\\|")
