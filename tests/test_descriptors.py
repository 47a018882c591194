from __future__ import annotations

import resource
import subprocess
import sys

from idtoken_proxy.descriptors import needed, raise_limit, room_for
from tests.cases import for_each

CODE = """
import resource, sys
from idtoken_proxy.descriptors import raise_limit
soft, hard = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@for_each(("soft", "hard"), [(64, 256), (256, 256)])
def test_the_soft_limit_becomes_the_hard_one(soft: int, hard: int) -> None:
    told = subprocess.run(
        [sys.executable, "-c", CODE, str(soft), str(hard)], capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == [str(hard)] * 3


def test_what_is_returned_is_what_is_in_force() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert raise_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@for_each("connections", [1, 64, 1024])
def test_as_many_connections_as_there_are_descriptors_for(connections: int) -> None:
    assert room_for(needed(connections)) == connections
    assert room_for(needed(connections) - 1) == max(connections - 1, 1)
