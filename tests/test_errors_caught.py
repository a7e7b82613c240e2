"""What is caught as a user's mistake is a `UsageError`: a ValueError caught by its broad name hides faults of ours."""

import ast
from pathlib import Path

import usae_train
import usae_viz

BROAD = "ValueError"
OUTSIDE = {  # where calls of other software are wrapped, of which ValueError is their word for what was given to them
    "usae_train/backbones/identity.py:_of_numbers": "base64 and numpy",
    "usae_train/demo/pretrain.py:_load_part": "torch",
    "usae_train/files/yaml_config.py:_composed": "ruamel",
    "usae_train/backbones/timm_models.py:_timm_model": "timm",
    "usae_train/images/hub.py:fingerprint": "the row's own path",
    "usae_train/images/hub.py:read": "datasets and pyarrow",
    "usae_train/images/hub.py:_part": "datasets",
    "usae_train/images/sources.py:__getitem__": "a source of the user's own",
    "usae_train/images/tar.py:fetch_shard": "urllib",
    "usae_train/runtime/capacity.py:cores": "int, of what the kernel says",
    "usae_train/runtime/capacity.py:free_memory": "the same",
    "usae_train/runtime/distributed.py:ranks_of_torchrun": "torch.distributed",
    "usae_train/runtime/json_text.py:json_text": "json",
    "usae_train/tokens/token_tables.py:read_npy": "numpy",
    "usae_train/tokens/pieces.py:_ranges": "int, of a file's name",
    "usae_viz/objectives/backbone.py:_direction": "torch.as_tensor",
    "usae_viz/custom_code/hashing.py:_imported": "ast",
    "usae_viz/parameterizations/custom.py:_takes": "inspect",
}


def named(node: ast.AST | None) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} if node is not None else set()


def is_broad(node: ast.AST) -> bool:
    """Whether it catches, suppresses or raises a ValueError that is no more than that."""
    if isinstance(node, ast.ExceptHandler):
        return BROAD in named(node.type)
    if isinstance(node, ast.Raise):
        return isinstance(node.exc, ast.Call) and named(node.exc.func) == {BROAD}
    return isinstance(node, ast.Call) and named(node.func) == {"suppress"} and any(BROAD in named(a) for a in node.args)


def broad_functions(text: str) -> set[str]:
    """Functions that do, by name, the innermost alone."""
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    doing = [each for each in functions if any(map(is_broad, ast.walk(each)))]
    around = {outer for outer in doing for inner in doing if inner is not outer and inner in ast.walk(outer)}
    return {each.name for each in doing if each not in around}


def test_a_value_error_is_caught_around_other_software_alone():
    root = Path(usae_train.__file__).parents[1]
    found = set()
    for package in (usae_train, usae_viz):
        for file in Path(package.__file__).parent.rglob("*.py"):
            place = file.relative_to(root).as_posix()
            for name in broad_functions(file.read_text(encoding="utf-8")):
                found.add(f"{place}:{name}")
    assert found - OUTSIDE.keys() == set()
    assert OUTSIDE.keys() - found == set()


def test_the_check_sees_what_it_is_to_see():
    caught = "def a():\n try:\n  b()\n except (OSError, ValueError):\n  pass\n"
    assert broad_functions(caught) == {"a"}
    assert broad_functions("def a():\n with suppress(ValueError):\n  b()\n") == {"a"}
    assert broad_functions("def a():\n raise ValueError('x')\n") == {"a"}
    assert not broad_functions("def a():\n try:\n  b()\n except UsageError:\n  raise UsageError from None\n")
