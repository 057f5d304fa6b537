"""The `polystill` command and `python -m polystill`, which `torchrun -m` and `accelerate launch -m` need."""

import sys

from polystill.environment.malloc import restart_with_fast_malloc
from polystill.environment.openmp import sleep_soon


def start() -> None:
    restart_with_fast_malloc(next(iter(sys.argv[1:]), None))
    sleep_soon()
    from polystill.cli import main

    main()


if __name__ == "__main__":
    start()
