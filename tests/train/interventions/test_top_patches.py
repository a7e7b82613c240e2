import pytest
import torch
from edited_networks import SILENT

import usae_train as ut
from usae_train.images.sources import FolderImages


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


@pytest.mark.parametrize(
    ("concept", "count", "said"),
    [
        (1, 0, "count 0: expected a whole number >= 1"),
        (1, 2.0, r"count 2\.0: expected a whole number >= 1"),
        (True, 1, "concept True: expected a whole number, 0 to 15"),
        (1.5, 1, r"concept 1\.5: expected a whole number, 0 to 15"),
    ],
)
def test_numbers_that_cannot_be_are_one_line(edited, picture_folder, concept, count, said):
    with pytest.raises(ValueError, match=said):
        ut.top_patches(edited, concept, picture_folder, count)


@pytest.mark.parametrize("edits", [[12], 12, None])
def test_edits_that_are_no_mapping_are_one_line(edited, edits):
    with pytest.raises(ValueError, match=r"edits are .*; expected \{concept: its code"):
        ut.intervene(edited, "vit", edits).__enter__()
