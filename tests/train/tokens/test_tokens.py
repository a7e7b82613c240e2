from pathlib import Path

import pytest
import torch

from usae_train.backbones.backbone import BackboneSpec, build_backbones
from usae_train.images.sources import FolderImages, open_images
from usae_train.tokens.paired import PairedTokens, TokenSource, collect_tokens


def test_row_n_is_the_same_picture_in_every_backbone(tiny_specs: dict[str, BackboneSpec], picture_folder: Path) -> None:
    (picture_folder / "1.png").write_text("broken")
    built, source = build_backbones(tiny_specs), FolderImages(picture_folder)
    done: list[tuple[int, int]] = []
    paired = collect_tokens(
        TokenSource(built, source, (2, 2)),
        batch=2,
        storage_dtype=torch.float32,
        progress=lambda n, of: done.append((n, of)),
    )
    assert paired.numbers.tolist() == [0, 2, 3, 4, 5]
    assert len(paired.failures) == 1
    assert paired.failures[0].startswith("1.png cannot be read")
    assert done[-1] == (6, 6)
    for name, backbone in built.items():
        for row, number in enumerate(paired.numbers.tolist()):
            alone = backbone(source.read(number, 64)[None], (2, 2))[0]
            torch.testing.assert_close(paired.tokens[name][row], alone, atol=1e-4, rtol=1e-4)


def test_tokens_are_kept_in_bfloat16(tiny_specs: dict[str, BackboneSpec], picture_folder: Path) -> None:
    built, source = build_backbones(tiny_specs), FolderImages(picture_folder)
    short, long = (
        collect_tokens(TokenSource(built, source, (2, 2)), **kept) for kept in ({}, {"storage_dtype": torch.float32})
    )  # type: ignore[arg-type]
    assert short.tokens["vit"].dtype == torch.bfloat16
    assert torch.equal(short.tokens["vit"], long.tokens["vit"].bfloat16())


def test_flat_keeps_a_pictures_tokens_together() -> None:
    tokens = torch.arange(12.0).view(2, 3, 2)
    assert torch.equal(PairedTokens({"a": tokens}, torch.tensor([0, 1])).flat()["a"], tokens.reshape(6, 2))


def test_pictures_are_read_at_the_largest_input_size(
    tiny_specs: dict[str, BackboneSpec], picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    read = FolderImages.read
    monkeypatch.setattr(
        FolderImages, "read", lambda self, index, size: (sizes.append(size), read(self, index, size))[1]
    )
    specs = {**tiny_specs, "conv": tiny_specs["conv"].model_copy(update={"input_size": 96})}
    collect_tokens(TokenSource(build_backbones(specs), FolderImages(picture_folder), (2, 2)))
    assert set(sizes) == {96}


def test_no_readable_picture_is_refused_with_the_first_reason(
    tiny_specs: dict[str, BackboneSpec], tmp_path: Path
) -> None:
    for number in range(2):
        (tmp_path / f"{number}.png").write_text("broken")
    with pytest.raises(ValueError, match=r"none of the 2 pictures of .* can be read; the first: 0\.png cannot be read"):
        collect_tokens(TokenSource(build_backbones(tiny_specs), FolderImages(tmp_path), (2, 2)))


def test_tokens_that_do_not_fit_into_memory_are_refused_before_the_work(
    tiny_specs: dict[str, BackboneSpec], picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build_backbones(tiny_specs)
    # 6 pictures x 4 tokens x (32 + 24) x 2 bytes = 2688; 60% of 2250 is 1350: half of the pictures
    monkeypatch.setattr("usae_train.runtime.memory.os.sysconf", lambda name: 1 if name == "SC_PAGE_SIZE" else 2250)
    with pytest.raises(ValueError, match=r"the tokens of 6 pictures need .*; take at most 3 pictures with --limit"):
        collect_tokens(TokenSource(built, FolderImages(picture_folder), (2, 2)))
    assert len(collect_tokens(TokenSource(built, open_images(picture_folder, 3), (2, 2))).numbers) == 3
