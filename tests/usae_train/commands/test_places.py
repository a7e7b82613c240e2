"""Every command looks at its place before it works, and writes through a link, also to where nothing is yet."""

from pathlib import Path

import pytest
from command_line import SMALL, assert_one_error, run
from sae_files import saelens_topk
from stores import YAML, make_pictures

RELEASE = Path(__file__).parents[1] / "fixtures" / "published_checkpoint" / "config.yaml"
COMMANDS = {
    "extract": ("{pictures}", "--backbones", "{specs}", "--max-broken", 0.2, "-q"),
    "fit": ("{pictures}", "--backbones", "{specs}", "--max-broken", 0.2, *SMALL),
    "fit --independent": ("{pictures}", "--backbones", "{specs}", "--max-broken", 0.2, *SMALL),
    "evaluate": ("demo", "demo:test", "--limit", 2),
    "add-backbone": ("demo", "demo", "--backbone", "{one}", "--limit", 4, "--steps", 2, "--batch", 16),
    "import-published": (RELEASE,),
    "import-sae": ("{autoencoder}",),
    "export-sae": ("demo", "--backbone", "vit"),
    "spectrum": ("{pictures}",),
}
NEVER_RUN = {"demo": (), "photos": ("{pictures}", "{pictures}")}  # they take minutes to hours


@pytest.fixture
def told(tmp_path: Path):
    """The words of a command that is to write to a place."""
    make_pictures(tmp_path / "pictures")
    (tmp_path / "specs.yaml").write_text(YAML)
    (tmp_path / "one.yaml").write_text(YAML.splitlines()[0] + "\n")
    (tmp_path / "autoencoder").mkdir()
    saelens_topk(tmp_path / "autoencoder")
    places = {"autoencoder": tmp_path / "autoencoder"}
    places |= {"pictures": tmp_path / "pictures", "specs": tmp_path / "specs.yaml", "one": tmp_path / "one.yaml"}

    def words(command: str, out: Path) -> list[str]:
        rest = {**COMMANDS, **NEVER_RUN}[command]
        return [*command.split(), *(str(word).format(**places) for word in rest), "-o", str(out)]

    return words


@pytest.mark.parametrize("command", [*COMMANDS, *NEVER_RUN])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def work(*given: object) -> None:
        pytest.fail("it worked first")

    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    for reader in ("images.FolderImages.read", "images.DemoImages.read"):
        monkeypatch.setattr(f"usae_train.pictures.{reader}", work)
    assert_one_error(run(*told(command, tmp_path / "file" / "out")), "cannot be written: ")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_a_link_to_where_nothing_is_yet_is_written_through(told, tmp_path: Path, command: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "out")
    code, _, err = run(*told(command, tmp_path / "link"))
    assert code == 0, err
    assert (tmp_path / "link").is_symlink()
    assert [place.name for place in (tmp_path / "disk").iterdir()] == ["out"]
    assert not list(tmp_path.glob(".*"))
    written = tmp_path / "disk" / "out"
    assert written.is_file() if command == "spectrum" else any(written.iterdir())


def test_a_spectrum_is_not_measured_for_a_folder(told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usae_train.pictures.spectrum.mean_magnitude", None)
    assert_one_error(run(*told("spectrum", tmp_path)), "is a folder, and a file is to be written there")
