from __future__ import annotations

from bench.machine import build_options, cpu_model
from tests.cases import for_each


def test_the_model_is_the_first_processor_s() -> None:
    assert (
        cpu_model("processor\t: 0\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel name\t: other\n")
        == "AMD EPYC"
    )


@for_each(
    ("arguments", "flags", "said"),
    [
        ("'--enable-optimizations' '--with-lto'", "", "with PGO, with LTO"),
        ("", "-O3 -fprofile-use -flto=auto", "with PGO, with LTO"),
        ("'--enable-optimizations'", "-O3", "with PGO, without LTO"),
        ("", "-O3", "without PGO, without LTO"),
    ],
)
def test_how_an_interpreter_was_built(arguments: str, flags: str, said: str) -> None:
    assert build_options(arguments, flags) == said
