from __future__ import annotations

from bench.machine import cpu_model


def test_the_model_is_the_first_processor_s() -> None:
    assert (
        cpu_model("processor\t: 0\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel name\t: other\n")
        == "AMD EPYC"
    )
