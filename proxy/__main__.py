"""`idtoken-proxy`, and python -m proxy."""

from __future__ import annotations

import sys
from typing import NoReturn

from proxy import startup


def main() -> NoReturn:
    startup.prepare(sys.argv[1:])
    from proxy import cli  # noqa: PLC0415 -- it takes a while

    cli.main()


if __name__ == "__main__":
    main()
