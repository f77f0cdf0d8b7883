"""The entry of `ratchetmq`: Ctrl-C ends it with 1 and without a traceback, also while it loads."""

import sys
from typing import Final

FAILED: Final = 1
INTERRUPTED: Final = 130
"""How typer ends a command that was interrupted; the program's codes are 0 to 3."""


def main() -> None:
    """Run the program."""
    try:
        from broker.program import app

        app()
    except KeyboardInterrupt:
        sys.exit(FAILED)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            sys.exit(FAILED)
        raise


if __name__ == "__main__":
    main()
