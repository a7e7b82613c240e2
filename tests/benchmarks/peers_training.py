"""What peers_table.py tries of autoencoders and other dictionaries: one function a cell, as in peers_drawing.py."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

WIDTH = 16  # of the tokens


def tokens(count: int = 256) -> Tensor:
    """Random tokens (count, 16)."""
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(0))


def usae_trains() -> str:
    """One space over two sets of tokens."""
    import usae_train as ut

    usae = ut.fit({"a": tokens(), "b": tokens() * 2}, n_concepts=32, k=4, steps=5)
    return "yes" if usae.n_concepts == 32 else "wrong"


def usae_kinds() -> str:
    """The kinds that `fit` offers."""
    import usae_train as ut

    kinds: tuple[dict[str, Any], ...] = (
        {"sparsity": "topk"},
        {"sparsity": "batchtopk"},
        {"sparsity": "jumprelu"},
        {"dictionary": "archetypal"},
    )
    for settings in kinds:
        ut.fit({"a": tokens()}, n_concepts=32, k=4, steps=3, **settings)
    ut.fit({"a": tokens()}, n_concepts=32, k=4, steps=3, matryoshka_fractions=(0.25, 0.5))
    return "5"


def usae_tokens() -> str:
    """Tokens of pictures, from a network of timm's."""
    from usae_train.backbones.backbone import Backbone
    from usae_train.backbones.spec import BackboneSpec

    spec = BackboneSpec(model="vit_tiny_patch16_224", weights="random", input_size=96)
    return "yes" if Backbone("vit", spec)(torch.rand(1, 3, 96, 96)).ndim == 3 else "wrong"


def usae_spreads() -> str:
    """Processes of a training: of one here, tests run two."""
    from usae_train.runtime import distributed

    return "yes" if distributed else "no"


def usae_formats() -> str:
    """How many libraries' autoencoders are read."""
    from usae_train.sae_formats.formats import formats

    return f"{len(formats())} libraries"


def lucent_factors() -> str:
    """NMF of activations."""
    from lucent.misc.channel_reducer import ChannelReducer

    ChannelReducer(4, "NMF").fit_transform(tokens().abs().reshape(1, 16, 16, WIDTH).numpy())
    return "yes"


def saelens_trains() -> str:
    """A few steps on tokens of any kind."""
    import sae_lens
    from sae_lens.config import LoggingConfig, SAETrainerConfig

    sae = sae_lens.TopKTrainingSAE(sae_lens.TopKTrainingSAEConfig(d_in=WIDTH, d_sae=32, k=4))
    names = {field.name for field in dataclasses.fields(SAETrainerConfig)}
    expected = {
        "n_checkpoints": 0, "checkpoint_path": None, "save_final_checkpoint": False, "total_training_samples": 512,
        "device": "cpu", "autocast": False, "lr": 1e-3, "lr_end": 1e-4, "lr_scheduler_name": "constant",
        "lr_warm_up_steps": 0, "lr_decay_steps": 0, "n_restart_cycles": 1, "adam_beta1": 0.9, "adam_beta2": 0.999,
        "train_batch_size_samples": 256, "dead_feature_window": 10, "feature_sampling_window": 10,
        "n_batches_for_norm_estimate": 1, "logger": LoggingConfig(log_to_wandb=False),
    }  # fmt: skip
    config = SAETrainerConfig(**{key: value for key, value in expected.items() if key in names})
    sae_lens.SAETrainer(cfg=config, sae=sae, data_provider=iter([tokens()] * 9)).fit()
    return "yes"


def saelens_kinds() -> str:
    """The kinds that it trains, transcoders apart."""
    import sae_lens

    return str(sum(name.endswith("TrainingSAE") and name != "TrainingSAE" for name in sae_lens.__all__))


def saelens_hub() -> str:
    """How many autoencoders its list names."""
    import sae_lens

    yaml = import_module("yaml")  # comes with SAELens
    listed = yaml.safe_load((Path(sae_lens.__file__).parent / "pretrained_saes.yaml").read_text())
    return f"{sum(len(release.get('saes', [])) for release in listed.values())} listed"


def saelens_formats() -> str:
    """How many loaders of others' autoencoders it has."""
    from sae_lens.loading import pretrained_sae_loaders as loaders

    names = [name for name in vars(loaders) if name.endswith("_huggingface_loader") and not name.startswith("sae_lens")]
    return f"{len(names)} forms"


def saelens_edits() -> str:
    """Networks with an autoencoder spliced in are there."""
    from sae_lens import HookedSAETransformer

    return "yes" if hasattr(HookedSAETransformer, "run_with_saes") else "wrong"


def saev_trains() -> str:
    """Shards are written, read and trained on: two batches."""
    from saev import activations, config, training

    images = Path("images/one")
    images.mkdir(parents=True)
    for number in range(8):
        (images / f"{number}.png").touch()
    written = config.Activations(
        data=config.ImageFolderDataset("images"), dump_to="shards", d_vit=WIDTH, n_patches_per_img=4,
        n_patches_per_shard=80, vit_layers=[0],
    )  # fmt: skip
    writer = activations.ShardWriter(written)
    writer[0:8] = torch.randn(8, 1, 5, WIDTH)
    writer.flush()
    data = config.DataLoad(shard_root=activations.get_acts_dir(written), layer=0, scale_mean=False, scale_norm=False)
    sae = config.SparseAutoencoder(d_vit=WIDTH, exp_factor=2, n_reinit_samples=0)
    training.train(
        [config.Train(data=data, sae=sae, n_workers=0, n_patches=32, sae_batch_size=16, track=False, device="cpu")]
    )
    return "yes"


def saev_tokens() -> str:
    """Its transformers are there; they are downloaded."""
    from saev.activations import Clip, DinoV2, RecordedVisionTransformer

    return "4 families" if all((Clip, DinoV2, RecordedVisionTransformer)) else "no"


def overcomplete_trains() -> str:
    """A pass over random tokens."""
    from overcomplete.sae import TopKSAE, train_sae
    from torch.utils.data import DataLoader, TensorDataset

    sae = TopKSAE(WIDTH, 32, top_k=4)

    def loss(batch: Tensor, decoded: Tensor, *_rest: object) -> Tensor:
        return (batch - decoded).square().mean()

    train_sae(
        sae,
        DataLoader(TensorDataset(tokens()), 64),
        loss,
        torch.optim.Adam(sae.parameters()),
        nb_epochs=1,
        device="cpu",
    )
    return "yes"


def overcomplete_kinds() -> str:
    """The kinds that it has."""
    from overcomplete import sae

    return str(sum(name.endswith("SAE") for name in vars(sae)))


def overcomplete_factors() -> str:
    """NMF of tokens, one of several methods."""
    from overcomplete import optimization

    optimization.NMF(nb_concepts=4, device="cpu").fit(tokens().abs())
    return "yes"


def overcomplete_tokens() -> str:
    """Its networks are there; they are downloaded."""
    from overcomplete import models

    names = [name for name in vars(models) if name in ("DinoV2", "SigLIP", "ViT", "ResNet", "ConvNeXt")]
    return f"{len(names)} families"
