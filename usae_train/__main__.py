"""`python -m usae_train`: the command line, for torchrun -m."""

from usae_train.cli import main

main()
