"""The `polystill` command and `python -m polystill`, which `torchrun -m` and `accelerate launch -m` need."""

import sys

from polystill.environment.process import let_threads_sleep, restart_with_fast_malloc


def start() -> None:
    restart_with_fast_malloc(next(iter(sys.argv[1:]), None))
    let_threads_sleep()
    from polystill.cli import main

    main()


if __name__ == "__main__":
    start()
