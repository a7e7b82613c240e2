"""Settings of importing and exporting autoencoders of other libraries."""

from __future__ import annotations

from pydantic import Field

from usae_train.files.validation import Settings


class ImportSettings(Settings):
    """What an autoencoder's files do not say themselves."""

    backbone: str | None = Field(
        None,
        description="What it was trained on: a timm id, or a YAML of one spec with a name, which says the layer. "
        "Without one the USAE serves bare activations.",
    )
    format: str | None = Field(
        None,
        description="`saelens`, `sparsify`, `saev`, `overcomplete`, `dictionary_learning` or `prisma`; recognized "
        "from the files by default",
    )
    name: str | None = Field(
        None, description="what to call the backbone; the YAML's name, or the id without its tag, by default"
    )
    k: int | None = Field(
        None,
        ge=1,
        json_schema_extra={"short": "-k"},
        description="concepts active per token, where the file does not say",
    )
    threshold: float | None = Field(None, description="what a pre-code must exceed, where the file does not say")


class ExportSettings(Settings):
    """Which autoencoder is written, and for which library."""

    format: str = Field("saelens", description="`saelens` or `sparsify`")
    backbone: str | None = Field(
        None, description="the backbone whose encoder and dictionary are written; needed where there are several"
    )
