"""`python -m polystill`, the same as the `polystill` command; what `torchrun -m` and `accelerate launch -m` need."""

from polystill.cli import main

if __name__ == "__main__":
    main()
