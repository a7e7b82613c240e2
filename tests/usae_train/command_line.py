"""`usae-train` as the tests run it."""

from typer.testing import CliRunner

from usae_train.cli import app

SPECS = """
vit:
  model: vit_tiny_patch16_224
  weights: random
  input_size: 64
  options: {depth: 1, embed_dim: 32, num_heads: 2}
conv:
  model: convnext_atto
  norm: false
  weights: random
  input_size: 64
  options: {depths: [1, 1, 1, 1], dims: [8, 8, 16, 24]}
"""
SMALL = ["--n-concepts", "8", "-k", "2", "--steps", "3", "--batch", "16", "--device", "cpu"]


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def assert_one_error(result: tuple[int, str, str], text: str, status: int = 1) -> None:
    code, out, err = result
    assert code == status
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert text in err
