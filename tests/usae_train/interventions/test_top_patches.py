import pytest
import torch
from edited_networks import SILENT

import usae_train as ut
from usae_train.pictures.images import FolderImages


def test_the_strongest_patch_of_each_picture_first(edited, picture_folder):
    found = ut.top_patches(edited, 2, picture_folder, count=3)
    source = FolderImages(picture_folder)
    with torch.no_grad():
        canvases = torch.stack([source.read(number, 64) for number in range(len(source))])
        codes = edited.encode("vit", edited.backbones["vit"](canvases, edited.grid)).of(2)
    best = codes.amax(1).sort(descending=True)
    assert [each.number for each in found["vit"]] == best.indices[:3].tolist()
    first = found["vit"][0]
    rows, cols = edited.grid
    assert first.code == pytest.approx(best.values[0].item(), abs=1e-5)
    assert first.row * cols + first.col == int(codes[first.number].argmax())
    assert first.label == f"{first.number}.png"
    side = 64 // rows
    assert torch.equal(first.patch, canvases[first.number][:, side * first.row :, side * first.col :][:, :side, :side])


def test_a_concept_that_fires_nowhere_has_none_and_one_that_is_not_there_is_refused(edited, picture_folder):
    assert ut.top_patches(edited, SILENT, picture_folder) == {name: [] for name in edited.names}
    with pytest.raises(ValueError, match="no concept 16; this USAE has 16"):
        ut.top_patches(edited, 16, picture_folder)
