"""Completion as shells do it: each sources what the command prints, and completes lines of ours."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(sys.executable).parent
PATIENCE = 60
HEAVY = {"aiohttp", "asyncio", "google.auth", "idtoken_proxy.server", "ssl", "uvloop"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "proxy.yaml").write_text(
        "routes: [{name: user-profiles, upstream: 'https://a'}, {name: billing}]\n"
    )
    (tmp_path / "other.yaml").write_text("routes: [{name: search}]\n")
    return tmp_path


def run(command: list[str], directory: Path, **more: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("IDTOKEN_PROXY")}
    done = subprocess.run(
        command,
        cwd=directory,
        env={**environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "HOME": str(directory), **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr + done.stdout
    return done.stdout


# The line is split as readline splits it; COMPREPLY is what it would offer.
BASH = r"""
eval "$(idtoken-proxy completion bash)"
complete -p idtoken-proxy >/dev/null
compopt() { echo "files"; }   # there is no completion going on
offered() {
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
  _idtoken_proxy_completion idtoken-proxy
  echo "${COMPREPLY[*]}"
}
"""
ZSH = r"""
autoload -U compinit && compinit -u -D
eval "$(idtoken-proxy completion zsh)"
[[ ${_comps[idtoken-proxy]} = _idtoken_proxy_completion ]] || exit 1
compadd() { [[ $@[-2] = -a ]] && print -r -- ${(P)@[-1]} }
_describe() { print -r -- ${${(P)3}%%:*} }
_path_files() { print files }
offered() { words=("$@"); CURRENT=$#; _idtoken_proxy_completion }
"""
FISH = r"""
idtoken-proxy completion fish | source
function offered
  set -l words (string escape -- $argv)
  test -n "$argv[-1]"; or set words[-1] ''
  complete --do-complete (string join ' ' -- $words) | string replace -r '\t.*' '' | string join ' '
  true   # nothing to join is no failure
end
"""


def offers(shell: str, words: list[str], directory: Path) -> list[str]:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed; .ci/run installs it")
    script = {"bash": BASH, "zsh": ZSH, "fish": FISH}[shell]
    line = " ".join(map(shlex.quote, ["idtoken-proxy", *words]))
    bare = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    return run([shell, *bare, "-c", f"{script}\noffered {line}"], directory).split()


def test_a_shell_completes_the_name_of_a_route(directory: Path) -> None:
    assert offers("bash", ["token", "--route", "u"], directory) == ["user-profiles"]


@pytest.mark.thorough
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_options_routes_and_files(shell: str, directory: Path) -> None:
    assert offers(shell, ["do"], directory) == ["doctor"]
    assert offers(shell, ["serve", "--ups"], directory) == ["--upstream"]
    assert sorted(offers(shell, ["completion", ""], directory)) == ["bash", "fish", "zsh"]
    assert set(offers(shell, ["token", "--route", ""], directory)) == {"user-profiles", "billing"}
    assert offers(shell, ["token", "-c", "other.yaml", "--route", ""], directory) == ["search"]
    files = offers(shell, ["check", "-c", "pro"], directory)
    assert files == (["proxy.yaml"] if shell == "fish" else ["files"])


def test_a_press_of_the_key_imports_nothing_heavy(directory: Path) -> None:
    code = "import sys; from idtoken_proxy.__main__ import main\ntry: main()\nfinally: print(*sys.modules)"
    told = run(
        [sys.executable, "-c", code],
        directory,
        COMP_WORDS="idtoken-proxy token --route b",
        COMP_CWORD="3",
        _IDTOKEN_PROXY_COMPLETE="bash_complete",
    )
    offered, loaded = told.splitlines()
    assert offered == "plain,billing"
    assert not HEAVY.intersection(loaded.split())
