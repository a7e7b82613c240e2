import builtins
import os

import pytest
import torch

from usae_viz.objectives import (
    L2,
    OBJECTIVES,
    Activations,
    Channel,
    Class,
    Closeness,
    Concept,
    Direction,
    Diversity,
    Logit,
    LogProbability,
    SameCodes,
    TotalVariation,
    parse_objective,
)


@pytest.fixture
def acts(usae):
    """Two pictures beside a given one; the classifier is played by a lambda."""
    generator = torch.Generator().manual_seed(3)
    tokens, there = (torch.randn(2, 3, 16, 24, generator=generator) for _ in range(2))
    canvas, views = torch.rand(2, 3, 8, 8, generator=generator), torch.zeros(2, 3, 3, 8, 8)

    class WithLogits(Activations):
        logits = torch.randn(2, 3, 10, generator=generator)

    return WithLogits(usae, "left", canvas, views, tokens, Activations(usae, "left", canvas, views, there))


THREE = Concept(3)
WRITTEN = [
    THREE,
    Concept(3, pool="top"),
    Concept(3, "max", of="code", backbone="left"),
    Channel("left", 7, pool="centre"),
    Direction("left", torch.linspace(-1, 1, 24)),
    Direction("left", 1e-9 * torch.linspace(-1, 1, 24), pool="max"),
    Logit("left", 2) - 0.1 * Logit("left", 3),
    Class("left", 2),
    LogProbability("left", 2) + Logit("left", 2),
    TotalVariation(),
    L2(),
    Diversity(),
    Closeness(),
    SameCodes(),
    SameCodes(["left"]),
    -THREE,
    -(THREE - L2()),
    2 - THREE,
    THREE - 2,
    THREE - -2,
    THREE * 3 + 1,
    THREE - (L2() - TotalVariation()),
    THREE - (L2() + TotalVariation()) * 2,
    (THREE + 1) * (Concept(4) - 1),
    THREE * (Concept(4) * Concept(5)),
    -2 * (THREE * (L2() - 0.5 * (Concept(5) + -Concept(6)))),
    THREE * -Concept(4),
    (1 / 3) * THREE,
    123456789 * L2(),
    1e-12 * THREE + 1e20 * L2(),
    THREE / 3,
    THREE / -0.7,
    (THREE - L2()) / 3,
    THREE - L2() / 3,
    THREE / 3 / 7,
    THREE / 3 * 7,
    3 * (THREE / 7),
    THREE * (Concept(4) / 3),
    THREE / 3 * (Concept(4) / 7) - -(L2() / 3),
]


@pytest.mark.parametrize("wanted", WRITTEN, ids=lambda each: str(each)[:40])
def test_the_text_of_an_objective_reads_back_as_the_same(acts, wanted):
    read = parse_objective(str(wanted))
    assert str(read) == str(wanted)
    digits = 1e-4 if "Direction" in str(wanted) else 0  # a vector is written with six
    assert torch.allclose(read(acts), wanted(acts), rtol=digits, atol=0)
    assert (read.concepts, read.backbones) == (wanted.concepts, wanted.backbones)
    assert (read.whole_batch, read.needs_reference) == (wanted.whole_batch, wanted.needs_reference)


def test_every_objective_there_is_has_been_read_back():
    for name in OBJECTIVES:
        assert any(str(wanted).startswith(name) for wanted in WRITTEN), name


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 * L2() + 2 * (3 - (1 - L2()))", lambda x: x + 2 * (3 - (1 - x))),
        ("(((L2())))", lambda x: x),
        ("--L2() - -1", lambda x: x + 1),
        ("2 - L2() - 1 - L2()", lambda x: 1 - 2 * x),
        ("  2*L2()*L2()\t", lambda x: 2 * x * x),
        ("(1 + 2 * 3) * L2()", lambda x: 7 * x),
        ("-(L2() - 1) * 2", lambda x: -2 * (x - 1)),
        ("2 * L2() / 4 / 8 - 1/8", lambda x: x / 16 - 1 / 8),
        ("L2() / (4 / 8)", lambda x: 2 * x),
    ],
)
def test_arithmetic_is_pythons(acts, text, value):
    assert torch.allclose(parse_objective(text)(acts), value(L2()(acts)), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Concpt(3)", "unknown name 'Concpt'; did you mean Concept?"),
        ("channel('left', 3)", "unknown name 'channel'; did you mean Channel?"),
        ("Concept(3) - Totalvariation()", "did you mean TotalVariation?"),
        ("Channel('left', 3, pool='avg')", "pool 'avg': expected one of auto, mean, max, top, centre"),
        ("Direction('left', [1, 2], pool='avg')", "pool 'avg': expected one of"),
        ("Beauty()", "unknown name 'Beauty'; known are Concept, Direction, Channel"),
        ("Concept", "Concept has to be called, such as Concept(12) or L2()"),
        ("x * Concept(3)", "'x' is neither a number nor an objective"),
        ("Concept(3).name", "'Concept(3).name' is not allowed; expected numbers, + - * / and Concept"),
        ("().__class__", "'().__class__' is not allowed"),
        ("Concept.__init__(3)", "is not allowed"),
        ("Concept(3)(4)", "is not allowed"),
        ("lambda: Concept(3)", "is not allowed"),
        ("[Concept(k) for k in [3]]", "is not allowed"),
        ("__import__('os').system('true')", "is not allowed"),
        ("__import__('os')", "unknown name '__import__'"),
        ("import os", "cannot be read; expected e.g. Concept(12) - L2()"),
        ("mine:smooth", "is code of your own, which a recipe draws: name it there under `objectives`"),
        ("Concept(3); Concept(4)", "cannot be read"),
        ("Concept(3)\nConcept(4)", "cannot be read"),
        ("Concept(3) ** 2", "'Concept(3) ** 2' is not allowed"),
        ("9 ** 9 ** 9 ** 9", "is not allowed"),
        ("Concept(3) // 2", "'Concept(3) // 2' is not allowed"),
        ("Concept(3) / 0", "cannot divide by 0; expected a number, not 0"),
        ("Concept(3) * (1 / 0.0)", "cannot divide by 0.0; expected a number, not 0"),
        ("Concept(3) / -1e999", "objective Concept(3) / -inf: expected a finite number that is not 0 to divide by"),
        ("2 / Concept(3)", "cannot divide by Concept(3); expected a number, not 0"),
        ("Concept(3) / 'a'", "'a' cannot be added or scaled"),
        ("Concept(3) if 1 else 2", "is not allowed"),
        ("Concept(k := 3)", "is not allowed"),
        ("True * Concept(3)", "'True' is not allowed"),
        ("3j * Concept(3)", "is not allowed"),
        ("Concept(*[3])", "is not allowed"),
        ("Concept(**[3])", "Concept cannot be made of these arguments: keywords must be strings"),
        ("f'{Concept(3)}'", "is not allowed"),
        ("", "cannot be read"),
        ("\0", "cannot be read"),
        ("3", "is 3; expected e.g. Concept(12) - 0.5 * Concept(7)"),
        ("'a' * 3", "'a' cannot be added or scaled"),
        ("Concept(3) + [1]", "[1] cannot be added or scaled"),
        ("L2() + L2", "L2 has to be called, such as Concept(12) or L2()"),
        ("L2() + L3", "'L3' is neither a number nor an objective; known are Concept"),
        ("Direction('left', ['a'])", "Direction: expected numbers for 'left'"),
        ("Direction('left', [[1, 2], [3]])", "Direction: expected numbers for 'left'"),
        ("9" * 5000 + " * L2()", "cannot be read"),
        ("9" * 400 + " * L2()", "cannot be read"),
        ("L2()" + " " * 100_000, "an objective of 100004 characters; expected at most 100000"),
        ("(" * 500 + "L2()" + ")" * 500, "cannot be read"),
        ("-" * 20_000 + "L2()", "cannot be read"),
        (" + ".join(["L2()"] * 5000), "cannot be read"),
        ("Concept()", "Concept cannot be made of these arguments: missing a required argument: 'k'"),
        ("Class('left')", "Class cannot be made of these arguments: missing a required argument: 'index'"),
        ("L2(3)", "L2 cannot be made of these arguments"),
        ("Concept(3, colour=1)", "unexpected keyword argument 'colour'"),
        ("Concept(1.5)", "concept 1.5: expected a whole number >= 0"),
        ("Concept(-3)", "concept -3: expected a whole number >= 0"),
        ("Concept(3, pool='sum')", "pool 'sum': expected one of auto, mean, max, top, centre"),
        ("Direction('left', [L2()])", "Direction: expected numbers for 'left'"),
        ("Concept(3, backbone=[1])", "backbone [1]: expected its name, such as 'dino'"),
        ("Channel([2], 0)", "backbone [2]: expected its name, such as 'dino'"),
        ("Direction('left', 'abc')", "Direction: expected numbers for 'left'"),
        ("Direction('left', [0, 0])", "expected a vector (width,) that is finite and not zero"),
        ("SameCodes(3)", "SameCodes of backbones 3: expected their names, such as ['dino']"),
        ("SameCodes(['left', 3])", "SameCodes of backbones ['left', 3]: expected their names"),
    ],
    ids=lambda text: text[:30],
)
def test_what_is_no_objective_is_one_line(text, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_objective(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_nothing_is_evaluated(monkeypatch):
    def never(*_, **__):
        raise AssertionError("evaluated")

    monkeypatch.setattr(builtins, "eval", never)
    monkeypatch.setattr(os, "system", never)
    for text in ("__import__('os').system('x')", "os.system('x')", "eval('1')", "(lambda: os.system('x'))()"):
        with pytest.raises(ValueError, match="objective"):
            parse_objective(text)
    assert str(parse_objective("Concept(3) - 2 * L2()")) == "Concept(3) - 2 * L2()"
