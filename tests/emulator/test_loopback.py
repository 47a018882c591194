from __future__ import annotations

import shutil
import subprocess
import sys

import aiohttp
import pytest

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.loopback import loopback
from tests.cases import for_each
from tests.emulator.conftest import WORLD
from tests.emulator.test_receivers import bearer, token_for

NOT_HERE = ("192.0.2.1", "2001:db8::1")  # of documents, and no machine's


def _has_ipv6() -> bool:
    return loopback(("::1", "127.0.0.1")) == "::1"


def test_the_first_that_is_here_is_taken() -> None:
    assert loopback() == "127.0.0.1"
    assert loopback((NOT_HERE[0], "127.0.0.1")) == "127.0.0.1"
    assert loopback(NOT_HERE) == NOT_HERE[0]  # whose failure to be bound is the one to tell


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no ::1")
async def test_it_is_whole_on_ipv6_alone(keys: Keys, client: aiohttp.ClientSession) -> None:
    assert loopback((NOT_HERE[0], "::1")) == "::1"
    async with Emulator(WORLD, keys=keys, host="::1") as running:
        url = running.urls["profiles"]
        assert url.startswith("http://[::1]:")
        assert (await client.get(url, headers=bearer(token_for(running, "profiles")))).status == 200
        identity = "/computeMetadata/v1/instance/service-accounts/default/identity?audience=a"
        found = await client.get(running.url + identity, headers={"Metadata-Flavor": "Google"})
        assert found.status == 200


# Runs in a network namespace: starts the demo, and asks what its first two lines ask.
INSIDE = """
import shlex, signal, subprocess, sys, urllib.error, urllib.request
ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
def status(url):
    try:
        return ask(url, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
with subprocess.Popen([sys.executable, "-W", "error", "-u", "-m", "idtoken_proxy", "demo"], stdout=subprocess.PIPE, text=True) as demo:
    try:
        said = ""
        while "Ctrl-C" not in said:
            said += (line := demo.stdout.readline())
            assert line, said
        direct, through = [shlex.split(line)[-1] for line in said.splitlines() if line.startswith("curl ")][:2]
        assert direct.startswith(f"http://{sys.argv[1]}:"), direct
        through = through.replace("localhost", sys.argv[1])  # which this machine's /etc/hosts may lead elsewhere
        assert (status(direct), status(through)) == (403, 200)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 0
    finally:
        demo.kill()
"""
ONLY = {
    "[::1]": "ip link set lo up && ip addr del 127.0.0.1/8 dev lo",
    "127.0.0.1": "ip link set lo up && ip addr del ::1/128 dev lo",
}


def _in_namespace(commands: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", 'exec unshare --net /bin/sh -c "$0" sh "$@"', commands, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.thorough
@for_each("host", ONLY)
def test_the_demo_on_a_machine_with_one_family(host: str) -> None:
    if not shutil.which("ip") or not shutil.which("unshare") or _in_namespace(ONLY[host]).returncode:
        pytest.skip("only root may make a network namespace, with ip and both families")
    done = _in_namespace(f'{ONLY[host]} && exec "$@"', sys.executable, "-c", INSIDE, host)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_any_loopback_it_says_so() -> None:
    neither = "ip link set lo up && ip addr flush dev lo"
    if not shutil.which("ip") or not shutil.which("unshare") or _in_namespace(neither).returncode:
        pytest.skip("only root may make a network namespace, with ip")
    done = _in_namespace(f'{neither} && exec "$@"', sys.executable, "-m", "idtoken_proxy", "demo")
    assert done.returncode == 1
    assert done.stderr.startswith("cannot listen: ")
