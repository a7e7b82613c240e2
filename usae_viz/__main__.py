"""`python -m usae_viz`, which torchrun needs."""

from usae_viz.cli import main

if __name__ == "__main__":
    main()
