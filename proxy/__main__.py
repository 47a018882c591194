"""`idtoken-proxy`, and python -m proxy."""

from __future__ import annotations

from typing import NoReturn

from proxy import startup


def main() -> NoReturn:
    startup.prepare()
    from proxy import cli  # noqa: PLC0415 -- it takes a while

    cli.main()


main()
