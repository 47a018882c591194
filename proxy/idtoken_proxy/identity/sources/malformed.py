"""What a credential file holds in place of its JSON object, or in place of a credential, and how to get that out of it: no new
key is needed for it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import shlex
from collections.abc import Mapping
from typing import Any, Final

from idtoken_proxy.settings.plausible import credential_in

_ASSIGNED: Final = re.compile(r"(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*\s*=\s*")
_PEM_KIND: Final = re.compile(r"-----BEGIN ((?:[A-Z]+ ){0,2}(?:KEY|CERTIFICATE))-----")


def malformed(content: bytes, value: object, path: str) -> tuple[str, str] | None:
    """(what it is, the remedy) of what is no JSON object; None where nothing better is known. `value`: what the JSON
    says, None where it is none.
    """
    where = shlex.quote(path)
    text = content.decode("utf-8", "replace").strip().strip("\ufeff\0")
    if not text:
        return (
            "is empty, and so is not JSON",
            "Write the credential into it again, or see what was to fill it: a mount, a secret, a redirect",
        )
    if isinstance(value, str):
        if _is_object(value):
            return (
                "holds its JSON as a JSON string (encoded twice)",
                f"Take it out of the string: jq -r . {where} > FILE",
            )
        if _is_object(_decoded(value)):
            return _in_base64(f"jq -r . {where} | base64 -d > FILE")
    if _is_object(_decoded(text)):
        return _in_base64(f"base64 -d {where} > FILE")
    if text[0] in "'\"`\u201c\u2018" and _is_object(text[1:-1].strip()):
        return "has quotes around its JSON", "Remove the first and the last character of it"
    if _ASSIGNED.match(text) and _is_object(_ASSIGNED.sub("", text).strip("'\"")):
        return "has an assignment (NAME=) before its JSON", "Remove what stands before its first {"
    if isinstance(value, list):
        within = [one for one in value if isinstance(one, dict) and "type" in one]
        return (
            ("is a list with the credential in it", f"Take it out: jq '.[0]' {where} > FILE")
            if within
            else None
        )
    if text.startswith("{") and _is_object(text.replace('\\"', '"')):
        return "has backslashes before its quotes", f"Take them out: sed 's/\\\\\"/\"/g' {where} > FILE"
    found = credential_in(text) if not text.startswith("{") else None
    if found is not None and "document" not in found:
        return (
            f"is not JSON: it holds {found}",
            "Name the whole JSON file that Google gave; a file that holds an ID token: identity: {type: file, path: FILE}",
        )
    return None


def another_document(info: Mapping[str, Any], path: str) -> tuple[str, str] | None:
    """As `malformed`, of a JSON object that says no type, as every credential does."""
    where = shlex.quote(path)
    if "installed" in info or "web" in info:  # https://developers.google.com/identity/protocols/oauth2
        return (
            "is an OAuth client's, which tells an app and nobody who uses it",
            f"To log in by it: identity: {{type: oauth, client_file: {path}}}; else name a service account's key, or a login's file",
        )
    if (
        "privateKeyData" in info
    ):  # https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts.keys
        return (
            "is what the IAM API answered, with the key in its privateKeyData",
            f"Take it out: jq -r .privateKeyData {where} | base64 -d > FILE",
        )
    if "sops" in info:
        return "is encrypted by SOPS", f"Decrypt it: sops --decrypt {where} > FILE"
    if info.get("kind") in ("Secret", "ConfigMap"):
        return (
            "is a manifest of Kubernetes",
            "Apply it, mount it as a volume, and name the file that stands there",
        )
    parts = [one for one in info.values() if isinstance(one, dict) and "type" in one]
    if len(parts) == 1:
        command = "jq 'map(objects | select(.type))[0]'"
        return "holds the credential within another object", f"Take it out: {command} {where} > FILE"
    return None


def _in_base64(command: str) -> tuple[str, str]:
    return "holds base64 of the JSON, as Kubernetes secrets and CI variables do", f"Decode it: {command}"


def _decoded(text: str) -> str:
    try:
        joined = "".join(text.split()).translate(str.maketrans("-_", "+/"))
        return base64.b64decode(joined + "=" * (-len(joined) % 4), validate=True).decode("utf-8-sig").strip()
    except (binascii.Error, ValueError):
        return ""


def _is_object(text: str) -> bool:
    if not text.startswith("{"):
        return False
    try:
        return isinstance(json.loads(text, strict=False), dict)
    except (ValueError, RecursionError):
        return False


def spoilt_key(info: Mapping[str, Any], path: str) -> tuple[str, str] | None:
    """As `malformed`, of a private_key that no longer is the PEM text that Google wrote."""
    key, where = str(info["private_key"]), shlex.quote(path)
    if "\\n" in key or "\\r" in key:
        return (
            r"holds a private key whose line breaks are escaped twice (\\n)",
            rf"""Unescape them once: jq '.private_key |= gsub("\\\\n"; "\n")' {where} > FILE""",
        )
    if key.strip()[:1] in "\"'":
        return (
            "holds a private key in quotes of its own",
            rf"""Take them out: jq '.private_key |= gsub("^\\s*[\"\u0027]+|[\"\u0027]+\\s*$"; "")' {where} > FILE""",
        )
    kind = _PEM_KIND.search(key)
    if kind is not None and not kind[1].endswith("PRIVATE KEY"):
        return (
            f"holds a {kind[1].lower()} where its private key belongs",
            "Put the file in place as Google gave it, unchanged",
        )
    if kind is not None and (kind[1].startswith("ENCRYPTED") or "Proc-Type: 4,ENCRYPTED" in key):
        return (
            "holds a private key that is under a passphrase",
            "Put the file in place as Google gave it, without one",
        )
    if "-----BEGIN" not in key:
        if "-----BEGIN" in _decoded(key):
            return "holds a private key in base64 once more", (
                f"Decode it: jq '.private_key |= @base64d' {where} > FILE"
            )
        return (
            "holds a private key that cannot be used: its first line, which begins with five dashes, is missing",
            "Put the file in place as Google gave it, unchanged",
        )
    if "\n" not in key.strip():
        return (
            "holds a private key on one line: its line breaks were lost",
            "Put the file in place as Google gave it, unchanged; an editor, a form or echo took them",
        )
    if "-----END" not in key:
        return "holds a private key that was cut off", "Put the file in place as Google gave it, whole"
    return None
