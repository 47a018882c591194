"""Each way in which a credential file gets spoilt on its way, told as that; no new key is asked for."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity.sources.application_default import gcloud_file, named_file
from idtoken_proxy.identity.sources.credential_file import CredentialFile, read_as
from idtoken_proxy.identity.sources.malformed import spoilt_key
from tests.cases import for_each
from tests.settings.test_plausible import ONLY_PERHAPS, SECRETS

PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvSENTINEL\n-----END PRIVATE KEY-----\n"
INFO = {"type": "service_account", "private_key": PEM}
TEXT = json.dumps(INFO)


def told(file: CredentialFile) -> TokenError:
    with pytest.raises(TokenError) as error:
        read_as(file, "service_account", "a key", ())
    whole = f"{error.value.detail} {error.value.remedy} {error.value.log_detail} {error.value!r} {file.label} {file.path}"
    assert "SENTINEL" not in whole
    assert "keys create" not in whole
    return error.value


@for_each(
    ("content", "says"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("\0\0\0", "is empty"),
        (json.dumps(TEXT), "encoded twice"),
        (base64.b64encode(TEXT.encode()).decode(), "holds base64 of the JSON"),
        (base64.encodebytes(TEXT.encode()).decode(), "holds base64 of the JSON"),
        (base64.urlsafe_b64encode(TEXT.encode()).decode().rstrip("="), "holds base64 of the JSON"),
        (json.dumps(base64.b64encode(TEXT.encode()).decode()), "holds base64 of the JSON"),
        (f"'{TEXT}'", "has quotes around its JSON"),
        (TEXT.replace('"', '\\"'), "has backslashes before its quotes"),
        (PEM, "holds a PEM key"),
        (f"GOOGLE_CREDENTIALS='{TEXT}'", "has an assignment"),
        (f"export KEY={TEXT}", "has an assignment"),
        (json.dumps([INFO]), "is a list with the credential in it"),
        (json.dumps({"installed": {"client_secret": "SENTINEL"}}), "is an OAuth client's"),
        (json.dumps({"web": {"client_secret": "SENTINEL"}}), "is an OAuth client's"),
        (
            json.dumps({"privateKeyData": base64.b64encode(TEXT.encode()).decode()}),
            "what the IAM API answered",
        ),
        (json.dumps({"data": "SENTINEL", "sops": {}}), "is encrypted by SOPS"),
        (json.dumps({"kind": "Secret", "data": {"key.json": "SENTINEL"}}), "is a manifest of Kubernetes"),
        (json.dumps({"key": INFO}), "within another object"),
        ("ya29.SENTINELabcdef", "holds an access token"),
        ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.SENTINEL", "holds a JWT"),
    ],
)
def test_what_is_in_place_of_the_json_is_named(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(content)
    error = told(CredentialFile(str(path)))
    assert says in error.detail
    assert error.cause == "credential_file_invalid"
    assert error.remedy


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(TEXT, encoding="utf-8-sig")
    assert CredentialFile(str(path)).read() == INFO


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
@pytest.mark.parametrize(
    "content",
    [[INFO], {"key": INFO, "n": 1}, {"privateKeyData": base64.b64encode(TEXT.encode()).decode()}],
    ids=["a list", "an object", "the API's"],
)
def test_what_it_is_in_is_taken_off_by_the_command_that_is_told(tmp_path: Path, content: object) -> None:
    path = tmp_path / "my key.json"
    path.write_text(json.dumps(content))
    command = (told(CredentialFile(str(path))).remedy or "").partition(": ")[2].replace("FILE", "mended.json")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert CredentialFile(str(tmp_path / "mended.json")).read() == INFO


def test_base64_is_decoded_by_the_command_that_is_told(tmp_path: Path) -> None:
    path = tmp_path / "my key.json"
    path.write_text(base64.b64encode(TEXT.encode()).decode())
    command = (told(CredentialFile(str(path))).remedy or "").partition(": ")[2].replace("FILE", "mended.json")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert CredentialFile(str(tmp_path / "mended.json")).read() == INFO


@for_each(
    ("key", "says"),
    [
        (PEM.replace("\n", "\\n"), "escaped twice"),
        (f'"{PEM}"', "in quotes of its own"),
        (base64.b64encode(PEM.encode()).decode(), "in base64 once more"),
        (PEM.replace("\n", " "), "its line breaks were lost"),
        (PEM.partition("\n")[2], "its first line"),
        (PEM[:35], "cut off"),
        (PEM.replace("PRIVATE", "PUBLIC"), "holds a public key"),
        (PEM.replace("PRIVATE KEY", "CERTIFICATE"), "holds a certificate"),
        (PEM.replace("PRIVATE", "ENCRYPTED PRIVATE"), "under a passphrase"),
    ],
)
def test_a_key_that_was_spoilt_on_its_way_is_told_as_that(key: str, says: str) -> None:
    found = spoilt_key({"private_key": key}, "/k.json")
    assert found is not None
    assert says in found[0]
    assert "SENTINEL" not in " ".join(found)
    assert spoilt_key({"private_key": PEM}, "/k.json") is None


@for_each("secret", SECRETS.values(), ids=SECRETS)
@for_each("variable", ["GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG"])
def test_a_variable_that_holds_the_credential_is_named_and_never_shown(variable: str, secret: str) -> None:
    file = named_file({variable: secret}) or gcloud_file({variable: secret})
    error = told(file)
    what = "text of several lines" if secret == SECRETS["YAML"] else "the credential itself"
    assert error.detail.startswith(f"{variable} holds {what}")
    assert error.cause == "credential_path"
    assert f"Set {variable} to the path" in (error.remedy or "")


@for_each("secret", ONLY_PERHAPS.values(), ids=ONLY_PERHAPS)
def test_a_variable_that_may_hold_a_secret_is_not_shown(secret: str) -> None:
    file = named_file({"GOOGLE_APPLICATION_CREDENTIALS": secret})
    assert file is not None
    with pytest.raises(TokenError) as error:
        file.read()
    assert secret not in f"{error.value.detail} {error.value.remedy}"


@for_each(
    ("around", "says"),
    [
        ('"{}"', "has quotes"), ("'{}'", "has quotes"), ("{}\r", "CR"), ("{}\n", "LF"), (" {}", "blanks"),
        ("~{}", "begins with ~"), ("file://{}", "file: URL"), ("$HOME{}", "nothing expands"), ("{},", 'ends in ","'),
        ("\ufeff{}", "byte order mark"), ("\u201c{}\u201d", "has quotes"), ("export X={}", "assignment"),
    ],
)  # fmt: skip
def test_what_stands_around_the_path_in_the_variable_is_named(tmp_path: Path, around: str, says: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(TEXT)
    file = named_file({"GOOGLE_APPLICATION_CREDENTIALS": around.format(path)})
    assert file is not None
    error = told(file)
    assert error.detail.startswith("GOOGLE_APPLICATION_CREDENTIALS ")
    assert says in error.detail


def test_a_file_of_an_odd_name_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "'odd'"
    path.write_text(TEXT)
    file = named_file({"GOOGLE_APPLICATION_CREDENTIALS": str(path)})
    assert file is not None
    assert file.read() == INFO
