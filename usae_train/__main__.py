"""`usae-train` and `python -m usae_train`, which torchrun needs."""

from usae_train.starting import start


def main() -> None:
    """Entry point."""
    start("usae_train")


if __name__ == "__main__":
    main()
