"""`idtoken-proxy`, and python -m idtoken_proxy."""

from __future__ import annotations

import sys
from typing import NoReturn

from idtoken_proxy import startup


def main() -> NoReturn:
    startup.prepare(sys.argv[1:])
    from idtoken_proxy import cli  # noqa: PLC0415 -- it takes a while

    cli.main()


if __name__ == "__main__":
    main()
