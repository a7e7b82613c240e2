"""What to type to have an extra: it is of the place that the program runs from."""

import subprocess
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


def test_the_commit_is_that_of_what_began_to_run(tmp_path, monkeypatch):
    """A commit made while a run is drawn changed the files of the pictures after it."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    monkeypatch.setattr(provenance, "CHECKOUT", tmp_path)
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run([*git, *words], check=True)
    first = provenance.commit()
    assert first is not None
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "two"], check=True)
    assert provenance.commit() == first
