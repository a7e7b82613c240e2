"""Damage to files that the project reads: to their bytes, to what JSON or YAML in them says, and to their tensors.

Each mutation is decided by a `random.Random` alone. None holds an input that outside software would crash on or be got
round by: what is built here is wrong for us, and harmless to those who parse it.
"""

import json
from random import Random

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

DEEP = 3000  # levels of nesting: past Python's recursion limit of 1000
SPELLED = {"NaN": "NaN", "inf": "Infinity", "huge": "1e999", "long": "9" * 5000, "deep": "[" * DEEP + "]" * DEEP}
VALUES = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63,
    2**64,
    -(2**63),
    10**30,
    0.5,
    -0.5,
    1e308,
    "",
    "x",
    "x" * 300,
    "a\nb",
    "é\x00",
    "\x1b[31mred",
    "~nobody/x",
    "../../x",
    "/",
    ".",
    "12",
    "nan",
    [],
    {},
    [[]],
    {"": None},
    [None] * 9,
    *(f"@@{name}@@" for name in SPELLED),
)
DTYPES = (torch.int8, torch.int64, torch.float16, torch.bfloat16, torch.float64, torch.bool, torch.complex64)


def spelled(tree, indent=1) -> str:
    """JSON, with the words of `SPELLED` that Python would not write."""
    text = json.dumps(tree, indent=indent)
    for name, word in SPELLED.items():
        text = text.replace(f'"@@{name}@@"', word)
    return text


def places(tree, inside=()):
    """The paths of everything in a tree of dicts and lists."""
    for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield (*inside, key)
        yield from places(part, (*inside, key))


def changed(tree, random: Random, another):
    """The tree with one place dropped, renamed, doubled, swapped or given another value, in a copy of what is around.

    Args:
        tree: dicts and lists of anything.
        random: decides.
        another: value, random -> what to put in its stead.
    """
    paths = list(places(tree))
    if not paths:
        return another(tree, random)
    *inside, key = random.choice(paths)
    copied = around = _copied(tree)
    for step in inside:
        around = around[step]
    way = random.choice(("drop", "rename", "double", "swap", "value", "value", "value"))
    if way == "drop":
        del around[key]
    elif way == "rename" and isinstance(around, dict):
        around[random.choice((f"{key}x", "", "schema", "__class__", str(key).upper()))] = around.pop(key)
    elif way == "double" and isinstance(around, list):
        around.insert(key, around[key])
    elif way == "swap":
        other = random.choice(list(around) if isinstance(around, dict) else range(len(around)))
        around[key], around[other] = around[other], around[key]
    else:
        around[key] = another(around[key], random)
    return copied


def _copied(tree):
    if isinstance(tree, dict):
        return {key: _copied(part) for key, part in tree.items()}
    return [_copied(part) for part in tree] if isinstance(tree, list | tuple) else tree


def other_value(value, random: Random):
    """Something else in the stead of a value of JSON: related to it, or out of the blue."""
    related: list = [str(value), [value], {"a": value}]
    if isinstance(value, int | float) and not isinstance(value, bool):
        related += [-value, value + 1, value * 1000, value / 3]
    if isinstance(value, str):
        related += [value[: len(value) // 2], value.upper(), f"{value} ", value[::-1]]
    if isinstance(value, list):
        related += [value * 3, value[:1], value[::-1], value[0] if value else 0]
    return random.choice(related if random.random() < 0.4 else VALUES)


def mutated_json(content: bytes, random: Random) -> bytes:
    """JSON that says something else, once or twice; now and then its bytes are damaged besides or instead."""
    if random.random() < 0.2:
        return mutated_bytes(content, random)
    tree = json.loads(content)
    for _ in range(random.choice((1, 1, 2))):
        tree = changed(tree, random, other_value)
    return spelled(tree).encode()


def mutated_lines(content: bytes, random: Random) -> bytes:
    """The same of a line of several."""
    lines = content.splitlines()
    place = random.randrange(len(lines))
    lines[place] = mutated_json(lines[place], random).replace(b"\n", b"")
    return b"\n".join(lines) + b"\n"


def mutated_bytes(content: bytes, random: Random) -> bytes:
    """Bytes that are cut short, emptied, flipped, doubled, moved or have others put between."""
    place, other = sorted((random.randrange(len(content) + 1), random.randrange(len(content) + 1)))
    flipped = bytearray(content)
    for _ in range(random.choice((1, 1, 8))):
        if flipped:
            flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
    return random.choice(
        (
            content[:place],
            content[place:],
            b"",
            bytes(flipped),
            content[:place] + content[other:],
            content + content,
            content[:place] + random.randbytes(9) + content[place:],
            b"\xef\xbb\xbf" + content,
            b"\xff\xfe" + content,
            content[:place] + b"\x00" * 9 + content[place + 9 :],
        )
    )


def other_tensor(value, random: Random):
    """A tensor of another kind, shape or other numbers; of what is not a tensor, something else."""
    if not isinstance(value, Tensor):
        return float("nan") if (other := other_value(value, random)) == "@@NaN@@" else other
    with_one = value.clone(memory_format=torch.contiguous_format)
    if value.numel():
        number = random.choice((-1, 0, 1, 100, float("nan"), float("inf"), -1e30))
        if not value.is_floating_point():
            number = random.choice((0, 1, 100) if value.dtype in (torch.uint8, torch.bool) else (-1, 0, 1, 100))
        with_one.view(-1)[random.randrange(value.numel())] = torch.tensor(number).to(value.dtype)  # float16: -inf
    return random.choice(
        (
            with_one,
            with_one,
            value.to(random.choice(DTYPES)),
            value[None],
            value.flatten(),
            value.new_zeros(0),
            value.new_zeros(()),
            value[:-1] if value.ndim else value[None],
            value.mT if value.ndim > 1 else value[None],
            torch.cat([value, value]) if value.ndim else value,
            torch.zeros_like(value),
            value.new_zeros(1, 1, 1, 1),
        )
    )


def mutated_safetensors(file, random: Random) -> None:
    """A .safetensors file whose tensors, or what it says of itself, are others; or whose bytes are."""
    if random.random() < 0.3:
        file.write_bytes(mutated_bytes(file.read_bytes(), random))
        return
    with safe_open(file, "pt") as opened:
        about = opened.metadata() or {}
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    if about and random.random() < 0.4:
        key = random.choice(list(about))
        try:
            about[key] = mutated_json(about[key].encode(), random).decode(errors="replace")
        except json.JSONDecodeError:
            about[key] = str(other_value(about[key], random))
        if random.random() < 0.2:
            del about[key]
    else:
        tensors = changed(tensors, random, other_tensor)
    kept = {name: tensor.clone().contiguous() for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
    save_file(kept, file, about or None)


def mutated_state(file, random: Random) -> None:
    """A file of torch's whose tree of tensors, numbers and words is another; or that is cut short."""
    if random.random() < 0.2:
        content = file.read_bytes()
        file.write_bytes(content[: random.randrange(len(content))])
        return
    tree = torch.load(file, weights_only=True)
    for _ in range(random.choice((1, 1, 2))):
        tree = changed(tree, random, other_tensor)
    torch.save(tree, file)


def on_file(mutated):
    """A mutation of bytes as one of a file."""

    def mutate(file, random: Random) -> None:
        file.write_bytes(mutated(file.read_bytes(), random))

    return mutate
