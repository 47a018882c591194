from __future__ import annotations

from pathlib import Path

import pytest

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources.credential_file import CredentialFile, CredentialPart, kind_of, read_as
from tests.cases import for_each
from tests.identity.sources.emulated import fails, write


def test_it_is_read_once_and_again_when_it_changes(tmp_path: Path) -> None:
    path = write(tmp_path / "f", {"a": "1"})
    file = CredentialFile(str(path))
    first = file.read()
    assert first == {"a": "1"}
    assert file.read() is first
    write(path, {"a": "22"})
    assert file.read() == {"a": "22"}


KEYS = "gcloud iam service-accounts keys create {} --iam-account=EMAIL"
POOLS = (
    "gcloud iam workload-identity-pools create-cred-config "
    "projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER "
    "--service-account=EMAIL --output-file={} and where the subject token comes from"
)
LOGIN = "gcloud auth application-default login"


@pytest.mark.parametrize(("name", "make"), [("f", KEYS), ("application_default_credentials.json", LOGIN)])
def test_missing(tmp_path: Path, name: str, make: str) -> None:
    path = tmp_path / name
    fails(
        CredentialFile(str(path), noun="the key file", named_by="WHO").read,
        cause="credential_file_missing",
        fault=Fault.OPERATOR,
        detail=f"the key file {path} (WHO) does not exist",
        remedy=f"Correct the path, or make it: {make.format(path)}",
    )


def test_a_path_in_a_command_is_one_word(tmp_path: Path) -> None:
    with pytest.raises(TokenError) as error:
        CredentialFile(f"{tmp_path}/my keys/$(id);k").read()
    assert f" keys create '{tmp_path}/my keys/$(id);k' --iam" in (error.value.remedy or "")


def test_unreadable(tmp_path: Path) -> None:
    fails(
        CredentialFile(str(tmp_path)).read,
        cause="credential_file_unreadable",
        fault=Fault.OPERATOR,
        detail=f"the credential file {tmp_path} cannot be read (Is a directory)",
        remedy="Name the file in it. Where a container runtime made the directory: the file to mount was not there; put it "
        "there, remove the directory, start again",
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("SENTINEL", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no JSON object"),
    ],
    ids=range(3),
)
def test_no_json(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "f"
    path.write_text(text)
    fails(
        CredentialFile(str(path)).read,
        cause="credential_file_invalid",
        fault=Fault.OPERATOR,
        detail=f"the credential file {path} {says}",
        remedy=f"Put it in place as it was made, whole and unchanged; where that is gone: {KEYS.format(path)}",
    )


@pytest.mark.parametrize(
    ("kind", "make"),
    [("service_account", KEYS), ("authorized_user", LOGIN), ("external_account", POOLS), (7, KEYS)],
)
def test_how_to_make_one_of_its_type(tmp_path: Path, kind: object, make: str) -> None:
    path = write(tmp_path / "f", {"type": kind})
    file = CredentialFile(str(path))
    file.read()
    anew = f"Put it in place as it was made, whole and unchanged; where that is gone: {make.format(path)}"
    assert file.invalid("lacks x").remedy == anew
    assert file.invalid("lacks x", remedy="Do").remedy == "Do"


def test_a_part_of_it(tmp_path: Path) -> None:
    path = write(tmp_path / "f", {"inner": {"type": "t", "a": "1"}, "other": 7})
    file = CredentialFile(str(path))
    part = CredentialPart(file, "inner")
    assert part.read() == {"type": "t", "a": "1"}
    assert part.read() is part.read()
    assert (part.path, part.label) == (str(path), f"the credential file {path}, in its inner,")
    assert part.invalid("is bad").detail == f"the credential file {path} in its inner is bad"
    for key in ("other", "missing"):
        fails(CredentialPart(file, key).read, detail=f"the credential file {path} lacks {key}")


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ({"type": "u"}, "holds a credential of type 'u', not a thing"),
        ({}, "holds a credential without a type, not a thing"),
        ({"type": "t", "a": ""}, "lacks a, b"),
        ({"type": "t", "a": "1", "b": 2}, "lacks b"),
    ],
)
def test_what_it_must_hold(tmp_path: Path, content: dict[str, object], detail: str) -> None:
    path = write(tmp_path / "f", content)
    fails(
        read_as,
        CredentialFile(str(path)),
        "t",
        "a thing",
        ("a", "b"),
        cause="credential_file_invalid",
        detail=f"the credential file {path} {detail}",
    )


@for_each(
    ("kind", "known"),
    [("a_b", "a_b"), (None, None), (7, None), ("", None), ("SENTINEL x", None), ("a" * 99, "a" * 64)],
)
def test_a_type_is_a_word(kind: object, known: str | None) -> None:
    assert kind_of({"type": kind}) == known
