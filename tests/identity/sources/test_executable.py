from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources.credential_file import CredentialFile
from idtoken_proxy.identity.sources.executable import DEADLINE, Executable
from tests.cases import for_each
from tests.identity.sources.emulated import fails, write

NOW = 1_800_000_000.0
POOL = "//iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/p/providers/q"
JWT = "urn:ietf:params:oauth:token-type:jwt"
GOOD: dict[str, Any] = {
    "version": 1,
    "success": True,
    "token_type": JWT,
    "id_token": "SENTINEL",
    "expiration_time": int(NOW) + 60,
}
VARIABLES = (
    f"GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE={POOL} GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE={JWT} "
    "GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE=0 GOOGLE_EXTERNAL_ACCOUNT_REVOKE=0"
)


class Scene:
    """A credential file of an executable, which is a script."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.program = directory / "print token"
        self.config = directory / "f"

    def does(self, script: str) -> Scene:
        self.program.write_text(f"#!{sys.executable} -I\nimport json, os, sys, time\n{script}\n")
        self.program.chmod(0o700)
        return self

    def prints(self, answer: object, code: int = 0) -> Scene:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return self.does(f"print({text!r}); print('SENTINEL', file=sys.stderr); sys.exit({code})")

    def executable(
        self, *, account: str | None = None, deadline: float = DEADLINE, environ: Any = None, **said: Any
    ) -> Executable:
        said = {"command": f"'{self.program}' --with=SENTINEL 'two words'"} | said
        info = {
            "audience": POOL,
            "subject_token_type": JWT,
            "credential_source": {"executable": said},
        }
        document = CredentialFile(str(write(self.config, info)))
        return Executable(
            document, info, environ or {}, account=account, deadline=deadline, clock=lambda: NOW
        )

    def fails(self, cause: str, detail: str, remedy: str, **said: Any) -> TokenError:
        error = fails(self.executable(**said).subject_token, cause=cause, fault=Fault.OPERATOR)
        assert error.detail == f"the executable {self.program} {detail}"
        assert remedy in (error.remedy or "")
        assert error.log_detail is None
        assert "two words" not in f"{error}{error.remedy}"
        return error


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_token(scene: Scene) -> None:
    assert scene.prints(GOOD).executable().subject_token() == "SENTINEL"


def test_what_it_is_told(scene: Scene) -> None:
    said = scene.directory / "said"
    scene.does(
        f"json.dump([sys.argv[1:], dict(os.environ), sys.stdin.read()], open({str(said)!r}, 'w')); print({json.dumps(GOOD)!r})"
    )
    kept = str(scene.directory / "kept")
    scene.executable(account="a@b.c", environ={"A": "b"}, output_file=kept).subject_token()
    argv, environ, stdin = json.loads(said.read_text())
    environ.pop("LC_CTYPE", None)  # Python's own doing
    assert (argv, stdin) == (["--with=SENTINEL", "two words"], "")
    assert environ == {
        "A": "b",
        "GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE": POOL,
        "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE": JWT,
        "GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE": "0",
        "GOOGLE_EXTERNAL_ACCOUNT_REVOKE": "0",
        "GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL": "a@b.c",
        "GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE": kept,
    }


@pytest.mark.parametrize("code", [1, 3, 127])
def test_its_exit_code(scene: Scene, code: int) -> None:
    scene.prints("SENTINEL", code).fails(
        "executable_failed",
        f"failed (exit code {code})",
        f"See what it says: {VARIABLES} {scene.program} ...",
    )


def test_a_token_beside_an_exit_code_is_none(scene: Scene) -> None:
    scene.prints(GOOD, 2).fails("executable_failed", "failed (exit code 2)", "See what it says")


def test_its_signal(scene: Scene) -> None:
    scene.does("os.kill(os.getpid(), 15)").fails(
        "executable_failed", "failed (signal 15)", "See what it says"
    )


@pytest.mark.parametrize(("code", "how"), [(0, ""), (1, ", exit code 1")])
def test_its_own_refusal(scene: Scene, code: int, how: str) -> None:
    answer = {"version": 1, "success": False, "code": "401", "message": "Caller not authorized."}
    scene.prints(answer, code).fails(
        "executable_refused",
        f"says that it has no token (401: Caller not authorized.{how})",
        "It is the executable that refuses, not Google",
    )


@for_each(
    ("printed", "what"),
    [
        ("SENTINEL", "is not JSON"),
        ("", "is empty"),
        ("\x85\xff", "is not JSON"),
        (GOOD | {"version": 3}, "is of version 3, of which nothing is known here (only 1)"),
        (GOOD | {"token_type": None}, "has no token_type"),
        (GOOD | {"expiration_time": NOW - 5}, "holds a token that expired 5 s ago"),
    ],
    ids=range(6),
)
def test_an_answer_that_is_none(scene: Scene, printed: object, what: str) -> None:
    scene.prints(printed).fails(
        "executable_output", f"gave an answer that {what}", "https://google.aip.dev/auth/4117"
    )


def test_too_much_of_one(scene: Scene) -> None:
    scene.prints("SENTINEL" * 10_000).fails(
        "executable_output", "was stopped: it prints more than 64 KiB", "see what it prints"
    )


def test_one_that_hangs(scene: Scene) -> None:
    scene.does("time.sleep(60)").fails(
        "executable_timeout",
        "did not end within 0.5 s, and was stopped",
        f"Raise credential_source.executable.timeout_millis in {scene.config}",
        deadline=0.5,
    )


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({}, 8.0),
        ({"timeout_millis": 5000}, 5.0),
        ({"timeout_millis": 120_000}, 8.0),
        ({"timeout_millis": 0}, 8.0),
    ],
)
def test_its_time(scene: Scene, said: dict[str, Any], seconds: float) -> None:
    assert scene.executable(**said).deadline == seconds


def test_one_that_is_not_there(scene: Scene) -> None:
    scene.fails(
        "executable_not_started",
        "cannot be started (No such file or directory)",
        f"Correct credential_source.executable.command in {scene.config}",
    )


def test_one_that_may_not_be_run(scene: Scene) -> None:
    scene.prints(GOOD).program.chmod(0o600)
    scene.fails("executable_not_started", "cannot be started (Permission denied)", "this user may run")


def test_a_nul_in_its_command(scene: Scene) -> None:
    error = fails(
        scene.executable(command="/bin/x a\0SENTINEL").subject_token, cause="executable_not_started"
    )
    assert error.detail == "the executable /bin/x cannot be started (a NUL in its command)"


# -- its output file -----------------------------------------------------------


@pytest.fixture
def kept(scene: Scene) -> Path:
    scene.prints(GOOD | {"id_token": "new"})
    return scene.directory / "kept"


def test_what_is_kept_is_used(scene: Scene, kept: Path) -> None:
    kept.write_text(json.dumps(GOOD | {"id_token": "kept"}))
    assert scene.executable(output_file=str(kept)).subject_token() == "kept"


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        '{"half',
        json.dumps(GOOD | {"expiration_time": NOW - 1}),
        json.dumps(GOOD | {"expiration_time": None}),
        json.dumps({"version": 1, "success": False, "code": "1", "message": "not now"}),
    ],
    ids=range(6),
)
def test_what_is_kept_and_no_good_is_fetched_anew(scene: Scene, kept: Path, content: str | None) -> None:
    if content is not None:
        kept.write_text(content)
    assert scene.executable(output_file=str(kept)).subject_token() == "new"


def test_one_that_writes_its_file_alone(scene: Scene, kept: Path) -> None:
    scene.does(f"open({str(kept)!r}, 'w').write({json.dumps(GOOD)!r})")
    assert scene.executable(output_file=str(kept)).subject_token() == "SENTINEL"


def test_what_is_to_be_kept_must_say_when_it_expires(scene: Scene, kept: Path) -> None:
    scene.prints(GOOD | {"expiration_time": None}).fails(
        "executable_output",
        "gave an answer that has no expiration_time, which output_file asks for",
        "see what it prints",
        output_file=str(kept),
    )


# -- what the credential file says -----------------------------------------------


@for_each(
    ("said", "what"),
    [
        ({"command": None}, "without a command"),
        ({"command": " "}, "without a command"),
        ({"command": 7}, "without a command"),
        ({"command": "'/bin/x SENTINEL"}, "whose command has a quote that is not closed"),
        ({"output_file": 7}, "whose output_file is no path"),
        ({"timeout_millis": 4999}, "whose timeout_millis is not from 5000 to 120000"),
        ({"timeout_millis": 120_001}, "whose timeout_millis is not from 5000 to 120000"),
        ({"timeout_millis": "SENTINEL"}, "whose timeout_millis is not from 5000 to 120000"),
        ({"timeout_millis": True}, "whose timeout_millis is not from 5000 to 120000"),
    ],
    ids=range(9),
)
def test_a_file_that_describes_none(scene: Scene, said: dict[str, Any], what: str) -> None:
    error = fails(lambda: scene.executable(**said), cause="credential_file_invalid", fault=Fault.OPERATOR)
    assert error.detail == f"the credential file {scene.config} has an executable {what}"


def test_an_executable_that_is_no_object(tmp_path: Path) -> None:
    info = {"audience": "a", "subject_token_type": "b", "credential_source": {"executable": "SENTINEL"}}
    document = CredentialFile(str(write(tmp_path / "f", info)))
    fails(lambda: Executable(document, info, {}), cause="credential_file_invalid")
