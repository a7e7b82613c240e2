"""What to type to have an extra: it is of the place that the program runs from."""

from pathlib import Path

from usae_train.files import provenance
from usae_train.files.provenance import CHECKOUT, install_command


def test_a_clone_is_installed_again_from_wherever_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(CHECKOUT)
    assert install_command("hf") == 'pip install -e ".[hf]"'
    monkeypatch.chdir(tmp_path)
    assert install_command("hf") == f'pip install -e "{CHECKOUT}[hf]"'
    assert (CHECKOUT / "pyproject.toml").samefile(Path(__file__).parents[3] / "pyproject.toml")


def test_an_installed_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "CHECKOUT", tmp_path)
    assert install_command("hf") == 'pip install "usae[hf]"'
