"""`usae-viz` and `python -m usae_viz`, which torchrun needs."""

from usae_train.starting import start


def main() -> None:
    """Entry point."""
    start("usae_viz")


if __name__ == "__main__":
    main()
