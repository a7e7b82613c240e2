import pytest
import torch

from usae_train.backbones.backbone import Backbone, BackboneSpec
from usae_train.runtime import matrix_speed
from usae_viz.views import precision
from usae_viz.views.precision import dtype_for

SPECS = {
    "transformer": BackboneSpec(model="vit_tiny_patch16_224", weights="random", input_size=32, options={"depth": 1}),
    "grouped": BackboneSpec(model="tf_efficientnet_lite0", weights="random", input_size=32, layer=0),
    "dense": BackboneSpec(model="resnet10t", weights="random", input_size=32, layer=0),
}


@pytest.mark.parametrize(("name", "faster"), [("transformer", True), ("grouped", False), ("dense", True)])
def test_auto_is_bfloat16_where_the_processor_gains_by_it(name, faster, monkeypatch):
    backbone = Backbone(name, SPECS[name])
    monkeypatch.setattr(precision, "multiplies_faster_in_bfloat16", lambda: True)
    assert dtype_for("auto", backbone) == (torch.bfloat16 if faster else torch.float32)
    assert dtype_for("bfloat16", backbone) == torch.bfloat16
    monkeypatch.setattr(precision, "multiplies_faster_in_bfloat16", lambda: False)
    assert dtype_for("auto", backbone) == torch.float32


def test_bfloat16_must_be_faster_by_more_than_chance(monkeypatch):
    taken = {torch.float32: 1.0, torch.bfloat16: 1.0}
    monkeypatch.setattr(matrix_speed, "_seconds", lambda left, right: taken[left.dtype])
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    for exact, expected in ((0.6, False), (1.0, False), (1.1, False), (2.0, True)):
        monkeypatch.setattr(matrix_speed, "_measured", [])
        taken[torch.float32] = exact
        assert precision.multiplies_faster_in_bfloat16() == expected
