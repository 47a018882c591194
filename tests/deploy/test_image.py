"""The Dockerfile without an engine: its own shell lines run into an empty prefix, and what they make runs as the image would:
as a user who is nobody, on a file system that takes no write.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.dockerfile import Stage, stages
from tests.deploy.processes import PATIENCE, Proxy, emulated, outside, serving

ROOT = Path(__file__).parents[2]
INDEX_IS_OUT_OF_REACH = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|Read timed out"
    r"|Temporary failure in name resolution|Network is unreachable"
)
IDLE_MEGABYTES = 60  # the project's bar

ARGUMENTS, STAGES = stages(ROOT / "Dockerfile")
BUILD, FINAL = STAGES
VERSION = ARGUMENTS["BASE"].removeprefix("python:").removesuffix("-slim")


def locked(name: str) -> dict[str, tuple[Requirement, set[str]]]:
    """By name: the requirement with its marker, and its hashes."""
    found: dict[str, tuple[Requirement, set[str]]] = {}
    for line in (ROOT / name).read_text().replace("\\\n", " ").splitlines():
        said, *hashes = line.split(" --hash=")
        requirement = Requirement(said)
        found[canonicalize_name(requirement.name)] = (requirement, {one.strip() for one in hashes})
    return found


# -- what it says ---------------------------------------------------------------------


def test_has_two_stages_of_one_base() -> None:
    assert [stage.base for stage in STAGES] == ["${BASE} AS build", "${BASE}"]
    assert re.fullmatch(r"python:3\.\d+-slim", ARGUMENTS["BASE"])


def test_runs_as_a_number_and_asks_no_shell() -> None:
    (user,) = FINAL.all("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    assert FINAL.argv("ENTRYPOINT") == ["idtoken-proxy"]
    assert FINAL.argv("CMD") == ["serve"]
    (check,) = FINAL.all("HEALTHCHECK")
    options, _, command = check.partition("CMD ")
    assert json.loads(command) == ["idtoken-proxy", "probe", "readiness"]
    assert "--timeout=" in options


@pytest.mark.parametrize("told", [True, False])
def test_an_image_that_begins_with_run_is_healthy_where_it_says_what_the_comment_does(
    tmp_path: Path, *, told: bool
) -> None:
    """The app asks as the health check would."""
    assert "`ENV IDTOKEN_PROXY_ADMIN=localhost:9090`" in (ROOT / "Dockerfile").read_text()
    config = tmp_path / "proxy.yaml"
    config.write_text("routes: [{name: it, upstream: 'http://localhost:1', identity: none}]\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        admin = f"127.0.0.1:{free.getsockname()[1]}"
    environ = {**outside(), "PYTHONPATH": str(ROOT), "IDTOKEN_PROXY_CONFIG": str(config)}
    if told:
        environ["IDTOKEN_PROXY_ADMIN"] = admin
    else:
        config.write_text(f"{config.read_text()}admin: off\n")
    program = [sys.executable, "-m", "idtoken_proxy"]
    answer = subprocess.run(
        [*program, "run", "--", *program, "probe", "readiness"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=environ,
        timeout=PATIENCE,
    )
    assert (answer.returncode == 0) is told, answer.stderr


@pytest.mark.index
def test_its_hot_modules_are_compiled(runnable: Path) -> None:
    answer = subprocess.run(
        as_the_image_would(str(runnable / "bin" / "idtoken-proxy"), "--version"),
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert answer.stdout.endswith("(compiled)\n")


def test_only_the_environment_leaves_the_first_stage() -> None:
    assert FINAL.all("COPY") == ["--from=build /opt/idtoken-proxy /opt/idtoken-proxy"]


def test_what_the_build_may_see_is_what_it_copies() -> None:
    *_, ignored = (ROOT / ".dockerignore").read_text().partition("\n*\n")
    let_in = {line.removeprefix("!") for line in ignored.splitlines() if line.startswith("!")}
    copied = {Path(name).name for line in BUILD.all("COPY") for name in line.split()[:-1]}
    assert let_in == copied


# -- the locks ------------------------------------------------------------------------


def test_every_requirement_is_locked_within_its_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    compiling = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["requires"]
    for name, wanted in (
        ("requirements.lock", project["project"]["dependencies"]),
        ("requirements-build.lock", [*project["build-system"]["requires"], *compiling]),
    ):
        known = locked(name)
        for requirement in map(Requirement, wanted):
            entry, hashes = known[canonicalize_name(requirement.name)]
            (pinned,) = entry.specifier
            assert pinned.operator == "=="
            assert requirement.specifier.contains(pinned.version), requirement
            assert hashes


def test_no_tool_of_development_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {canonicalize_name(Requirement(one).name) for one in project["project"]["dependencies"]}
    for group in project["dependency-groups"].values():
        tools = {canonicalize_name(Requirement(one).name) for one in group} - needed
        assert tools.isdisjoint(locked("requirements.lock"))


def test_what_is_tested_is_what_the_image_holds() -> None:
    tested = locked("requirements-dev.lock")
    for name in ("requirements.lock", "requirements-build.lock"):
        for package, (entry, hashes) in locked(name).items():
            beside, its_hashes = tested[package]
            assert (beside.specifier, its_hashes) == (entry.specifier, hashes)
            assert beside.marker in (None, entry.marker)  # the tests need it wherever the image does
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for requirement in map(Requirement, project["dependency-groups"]["dev"]):
        entry, hashes = tested[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(next(iter(entry.specifier)).version), requirement
        assert hashes


def test_is_built_by_the_classic_builder_too() -> None:
    """What it would refuse, as Cloud Build's docker step and kaniko do: https://docs.docker.com/build/buildkit/."""
    for stage in (BUILD, FINAL):
        for instruction, what in stage.steps:
            assert "--mount=" not in what
            assert "--start-interval" not in what
            assert "<<" not in what
            if instruction in ("COPY", "ADD"):
                assert all(word.startswith("--from=") for word in what.split() if word.startswith("--"))


def test_locks_tell_no_address() -> None:
    for name in ("requirements.lock", "requirements-build.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert "--index" not in text


def pip(*arguments: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    return said(answer)


def said(answer: subprocess.CompletedProcess[str]) -> str:
    if answer.returncode and INDEX_IS_OUT_OF_REACH.search(answer.stderr):
        pytest.skip("the package index cannot be reached from here")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.mark.index
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_image_s_python_has_a_locked_wheel_for_everything(machine: str, tmp_path: Path) -> None:
    """Nothing but the index's lists is fetched: pip tells which files it would take, and those must be in the lock."""
    known = locked("requirements.lock")
    # All markers are kept: what they leave out on this Python is a wheel too.
    names = tmp_path / "names"
    names.write_text("".join(f"{name}{entry.specifier}\n" for name, (entry, _) in known.items()))
    glibc = [f"--platform=manylinux_2_{minor}_{machine}" for minor in range(17, 42)]
    report = pip(
        "install", "--quiet", "--dry-run", "--no-deps", "--only-binary=:all:", "--report=-", f"--target={tmp_path / 'none'}",
        f"--python-version={VERSION}", f"--platform=manylinux2014_{machine}", *glibc, f"--requirement={names}",
    )  # fmt: skip
    chosen = json.loads(report)["install"]
    assert len(chosen) == len(known)
    for one in chosen:
        _, hashes = known[canonicalize_name(one["metadata"]["name"])]
        sha = one["download_info"]["archive_info"]["hashes"]["sha256"]
        assert f"sha256:{sha}" in hashes, one["download_info"]["url"]


# -- what it makes --------------------------------------------------------------------


def python_of_the_image() -> str:
    """The image's own version where this machine has it, else the one that runs the tests."""
    found = shutil.which(f"python{VERSION}")
    if found:
        answer = subprocess.run(
            [found, "-c", "import ensurepip, pip, venv"], capture_output=True, check=False
        )
        if answer.returncode == 0:
            return found
    return sys.executable


def run_steps(stage: Stage, root: Path) -> None:
    """COPY from the working tree and RUN, in their order, with `root` for the image's own file system."""
    source = root / "src"
    source.mkdir(parents=True)
    programs = root / "bin"
    programs.mkdir()
    # No symlink: it would not find its own environment's pip.
    (programs / "python").write_text(f'#!/bin/sh\nexec {python_of_the_image()} "$@"\n')
    (programs / "python").chmod(0o755)
    lines = iter(stage.shell_lines)
    for instruction, what in stage.steps:
        if instruction == "COPY":
            for name in what.split()[:-1]:
                copy(ROOT / name, source / Path(name).name)
        elif instruction == "RUN":
            answer = subprocess.run(
                ["/bin/sh", "-ec", next(lines).replace("/opt/", f"{root}/opt/")],
                cwd=source,
                env={**outside(), "PATH": f"{programs}:{os.environ['PATH']}"},
                capture_output=True,
                text=True,
                check=False,
                timeout=900,  # it compiles
            )
            said(answer)


def copy(what: Path, to: Path) -> None:
    if what.is_dir():
        shutil.copytree(what, to, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(what, to)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The first stage's file system, made once for all of xdist's workers; the last of them takes it away."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    users = shared / "image-users"
    with locked_file(shared / "image.lock"):
        users.mkdir(exist_ok=True)
        place = shared / "image"
        if not place.exists():
            # Not in pytest's own directory, which is closed to others: nobody shall get through.
            root = Path(mkdtemp(prefix="image-"))
            root.chmod(0o755)
            try:
                run_steps(BUILD, root)
            except BaseException:
                shutil.rmtree(root)
                raise
            place.symlink_to(root)
        root = place.readlink()
        (users / str(os.getpid())).touch()
    yield root / "opt" / "idtoken-proxy"
    with locked_file(shared / "image.lock"):
        (users / str(os.getpid())).unlink()
        if not list(users.iterdir()):
            place.unlink()
            shutil.rmtree(root)


@contextlib.contextmanager
def locked_file(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def packages_of(environment: Path) -> Path:
    (found,) = environment.glob("lib/python3.*/site-packages")
    return found


@pytest.mark.index
def test_holds_what_is_locked_and_itself_and_nothing_else(built: Path) -> None:
    installed = {
        canonicalize_name(found.name.split("-")[0]) for found in packages_of(built).glob("*.dist-info")
    }
    assert installed == {*locked("requirements.lock"), "idtoken-proxy"}
    other_files = {
        str(path.relative_to(ROOT / "proxy" / "idtoken_proxy"))
        for path in (ROOT / "proxy" / "idtoken_proxy").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert all((packages_of(built) / "idtoken_proxy" / name).is_file() for name in other_files)
    assert not (built / "bin" / "pip").exists()
    assert not (packages_of(built) / "tests").exists()


@pytest.mark.index
def test_bytecode_is_there_for_every_module_and_asks_for_no_source(built: Path) -> None:
    sources = [path for path in packages_of(built).rglob("*.py") if path.parts[-2] != "bin"]
    assert len(sources) > 500
    for source in sources:
        (compiled,) = source.parent.glob(f"__pycache__/{source.stem}.cpython-3*.pyc")
        flags = compiled.read_bytes()[4:8]
        assert flags == b"\x01\0\0\0", source  # PEP 552: by hash, not to be checked


# -- how it runs ----------------------------------------------------------------------


@functools.cache
def may_mount() -> bool:
    return (
        os.geteuid() == 0
        and shutil.which("unshare") is not None
        and subprocess.run(
            ["unshare", "--mount", "mount", "-o", "bind,remount,ro", "/"], capture_output=True, check=False
        ).returncode
        == 0
    )


def as_the_image_would(*command: str) -> list[str]:
    """As the image's user, with every file system read-only but /proc and /dev. Where one may not, as whoever runs this."""
    user, group = FINAL.all("USER")[0].split(":")
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return list(command)
    nobody = [
        "setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs",
        "--bounding-set=-all", "--inh-caps=-all", *command,
    ]  # fmt: skip
    if not may_mount():
        return nobody
    read_only = """
        set -e
        while read -r _ point type _; do
          case $type in proc|sysfs|devtmpfs|devpts|cgroup*) ;; *) mount -o bind,remount,ro "$point" 2>/dev/null || true ;; esac
        done < /proc/self/mounts
        mount -o bind,remount,ro /
        exec "$@"
    """
    return ["unshare", "--mount", "--propagation=private", "/bin/sh", "-c", read_only, "sh", *nobody]


@pytest.fixture
def runnable(built: Path) -> Path:
    """`built`, where the image's user may reach it, and the Python that it stands on."""
    answer = subprocess.run(
        as_the_image_would(str(built / "bin" / "python"), "-c", ""),
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    if answer.returncode:
        pytest.skip(f"another user cannot run this Python: {answer.stderr}")
    return built


def snapshot(tree: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        status = path.lstat()
        digest.update(f"{path} {status.st_mode} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def image_environment(built: Path) -> dict[str, str]:
    environ = {
        name: value.replace("/opt/idtoken-proxy", str(built)).replace("$PATH", "/usr/bin:/bin")
        for name, value in FINAL.environment.items()
    }
    # Docker sets HOME for a user without a home so.
    return {**environ, "HOME": "/", "IDTOKEN_PROXY_LISTEN": "127.0.0.1:0", "IDTOKEN_PROXY_LOG_FORMAT": "json"}


@pytest.fixture
def served(runnable: Path) -> Iterator[Proxy]:
    """The image's entry point and command with --upstream."""
    # An engine looks the entry point up in the image's PATH.
    program, *arguments = [*FINAL.argv("ENTRYPOINT"), *FINAL.argv("CMD")]
    with emulated() as printed:
        command = [str(runnable / "bin" / program), *arguments, "--upstream", printed["USER_PROFILES_URL"]]
        environ = {
            **image_environment(runnable),
            "GCE_METADATA_HOST": printed["GCE_METADATA_HOST"],
            "IDTOKEN_PROXY_ADMIN": "127.0.0.1:0",
        }
        with serving(as_the_image_would(*command), environ) as proxy:
            yield proxy


@pytest.mark.index
def test_serves_as_nobody_and_writes_nothing(
    built: Path,
    served: Proxy,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    process = served.process
    before = snapshot(built)
    for _ in range(20):
        with urllib.request.urlopen(f"{served.url}/42", timeout=PATIENCE) as answer:
            assert answer.status == 200
            assert json.load(answer)["service"] == "user-profiles"

    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    if os.geteuid() == 0:
        assert set(status["Uid"].split()) == {"65532"}
        assert status["CapEff"] == status["CapBnd"] == "0000000000000000"
    megabytes = int(status["VmRSS"].split()[0]) / 1024
    record_testsuite_property("image_rss_megabytes", round(megabytes, 1))
    print(f"resident memory of `serve` from the image's environment: {megabytes:.1f} MB")  # noqa: T201 -- what it is for
    assert megabytes < IDLE_MEGABYTES

    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert snapshot(built) == before


@pytest.mark.index
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_could_not_write_if_it_wanted(runnable: Path) -> None:
    """The test above says something only if this holds."""
    python = str(runnable / "bin" / "python")
    places = [str(packages_of(runnable)), "/", *(["/tmp"] if may_mount() else [])]
    tried = "import sys, tempfile\nfor place in sys.argv[1:]:\n try: tempfile.TemporaryFile(dir=place)\n except OSError as e: print(e.errno)"
    answer = subprocess.run(
        as_the_image_would(python, "-c", tried, *places), capture_output=True, text=True, check=False, cwd="/"
    )
    assert len(answer.stdout.split()) == len(places), answer.stdout + answer.stderr


@pytest.mark.index
def test_the_health_check_says_what_is_so(runnable: Path, tmp_path: Path) -> None:
    """With the configuration of the container, whose admin listener it looks up there; and it loads little: it is a process
    every few seconds.
    """
    _, _, check = FINAL.all("HEALTHCHECK")[0].partition("CMD ")
    program, *arguments = json.loads(check)
    health = [str(runnable / "bin" / program), *arguments]
    config = Path(mkdtemp()) / "proxy.yaml"  # where nobody gets to
    config.parent.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        admin = f"127.0.0.1:{free.getsockname()[1]}"
    with emulated() as printed:
        config.write_text(f"""
admin: {admin}
identity: metadata
google: {{metadata_host: "{printed["GCE_METADATA_HOST"]}"}}
routes: [{{name: it, upstream: "{printed["USER_PROFILES_URL"]}"}}]
""")
        environ = {**image_environment(runnable), "IDTOKEN_PROXY_CONFIG": str(config)}
        ask = functools.partial(
            subprocess.run,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=environ,
            timeout=PATIENCE,
        )
        assert ask(as_the_image_would(*health)).returncode == 1  # there is none yet
        serve = [str(runnable / "bin" / program), *FINAL.argv("CMD")]
        with serving(as_the_image_would(*serve), environ):
            healthy = ask(as_the_image_would(*health))
            assert healthy.returncode == 0, healthy.stderr
            loaded = ask([str(runnable / "bin" / "python"), "-X", "importtime", *health]).stderr
            assert "idtoken_proxy.cli" in loaded
            assert not re.search(r"\b(aiohttp|google\.auth|uvloop)$", loaded, re.MULTILINE)
    shutil.rmtree(config.parent)


def test_the_final_stage_compiles_what_the_base_left_out(tmp_path: Path) -> None:
    """The base image's standard library comes without bytecode; the line is tried on a small one."""
    (line,) = FINAL.shell_lines
    library = tmp_path / "lib" / "python3.13"
    for name in ("json/decoder.py", "idlelib/run.py", "site-packages/other.py"):
        (library / name).parent.mkdir(parents=True)
        (library / name).write_text("x = 1\n")
    compile_line = line.split(" && ")[0].replace("/usr/local/lib", str(tmp_path / "lib"))
    assert compile_line.startswith("python -m compileall ")
    subprocess.run(
        ["/bin/sh", "-ec", compile_line.replace("python ", f"{sys.executable} ", 1)], check=True, timeout=30
    )
    compiled = {path.relative_to(library).parts[0] for path in library.rglob("*.pyc")}
    assert compiled == {"json"}
