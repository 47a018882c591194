"""A secret in a variable where a path, a name or a URL belongs, while a server runs: in no answer, on no page, in no log.

That no key of the configuration gives one away is in settings/test_plausible.py: none takes it, so no server runs with it.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from idtoken_proxy import logs
from idtoken_proxy.admin.client import ask
from idtoken_proxy.admin.doctor import examine
from idtoken_proxy.admin.one_token import one_token
from idtoken_proxy.admin.report import as_json, as_text
from idtoken_proxy.errors import ProxyError
from idtoken_proxy.identity.sources.federation import AWS
from idtoken_proxy.server import Server
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import LogSettings, Settings
from idtoken_proxy.settings.variables import BY_LIBRARIES, READ
from tests.engine.wire import connect, get
from tests.settings.test_plausible import BASE64, KEY

SECRETS = [
    KEY,
    BASE64,
    "http://somebody:SENTINEL@127.0.0.1:9",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJTRU5USU5FTCJ9.SENTINEL",
]
# What starts no server is tried in settings/test_variables.py.
STARTS = sorted(
    {*READ, *BY_LIBRARIES} - {"PATH", "HOME"} - {name for name in READ if name.startswith("IDTOKEN_PROXY")}
)
CLOSED = "https://127.0.0.1:9"  # nobody listens at the discard port


def credential(directory: Path, kind: str) -> Path:
    """Of a workload whose subject token comes from AWS, or from a file; its token would come through https."""
    subject = directory / "subject"
    subject.write_text("subject-token")
    sources: dict[str, dict[str, Any]] = {
        "aws": {
            "environment_id": "aws1",
            "regional_cred_verification_url": f"{CLOSED}?Action=GetCallerIdentity&Version=2011-06-15",
        },
        "file": {"file": str(subject)},
    }
    path = directory / f"{kind}.json"
    content = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": AWS if kind == "aws" else "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{CLOSED}/v1/token",
        "service_account_impersonation_url": f"{CLOSED}/v1/projects/-/serviceAccounts/a@b.iam.gserviceaccount.com:generateAccessToken",
        "credential_source": sources[kind],
    }
    path.write_text(json.dumps(content))
    return path


def identity_for(variable: str, directory: Path) -> str:
    if variable.startswith("AWS_"):
        return json.dumps({"type": "external_account", "config_file": str(credential(directory, "aws"))})
    if variable in BY_LIBRARIES or "PROXY" in variable.upper():
        return json.dumps({"type": "external_account", "config_file": str(credential(directory, "file"))})
    return "auto"


def settings_of(variable: str, directory: Path) -> Settings:
    return settings_from_text(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"
        f"google: {{sts_endpoint: '{CLOSED}', iam_endpoint: '{CLOSED}'}}\n"
        "routes:\n- name: a\n  upstream: http://127.0.0.1:9\n  audience: https://a.run.app\n"
        f"  identity: {identity_for(variable, directory)}\n",
        "proxy.yaml",
        {},
    )


async def said_while_it_runs(settings: Settings, environ: dict[str, str]) -> Iterator[str]:
    """The answer to a request, the status page's figures, the metrics; a reload, which is refused or not."""
    said = []
    server = Server(settings, environ)
    try:
        await server.start()
        app = await connect(server.addresses[0].port)
        app.send(get("/"))
        said.append(str(await app.response()))
        app.transport.abort()
        pages = [
            await asyncio.to_thread(ask, server.admin[0], path)
            for path in ("/api/status", "/metrics", "/readiness", "/")
        ]
        said += [text for _, text in pages]
        await server.reload(settings)
    except ProxyError as error:
        said.append(
            f"{error.title} {error.detail} {error.remedy}\n{''.join(traceback.format_exception(error))}"
        )
    finally:
        await server.stop(drain=0)
    return iter(said)


async def said_by_commands(settings: Settings, environ: dict[str, str]) -> Iterator[str]:
    found = await examine(settings, environ)
    said = [as_json(found), *as_text(found, colors=False)]
    try:
        await one_token(settings.routes[0].identity, "https://a.run.app", settings.google, environ)
    except ProxyError as error:
        said.append(
            f"{error.title} {error.detail} {error.remedy}\n{''.join(traceback.format_exception(error))}"
        )
    return iter(said)


@pytest.mark.parametrize("variable", STARTS)
async def test_a_secret_in_a_variable_is_nowhere(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(variable, tmp_path)
    near = {"HOME": str(tmp_path), "GCE_METADATA_HOST": "127.0.0.1:9", "AWS_REGION": "eu-west-1"}
    for number, secret in enumerate(SECRETS):
        if variable == "AWS_WEB_IDENTITY_TOKEN_FILE":
            near |= {"AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/web"}
        if variable.startswith("AWS_ENDPOINT"):
            near |= {
                "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "subject"),
                "AWS_ROLE_ARN": "arn:aws:iam::1:role/web",
            }
        monkeypatch.setenv(variable, secret)  # for the libraries, and the log's project
        environ = {**os.environ, **near, variable: secret}
        if variable != "GOOGLE_APPLICATION_CREDENTIALS":
            environ.pop("GOOGLE_APPLICATION_CREDENTIALS", None)
        out = io.StringIO()
        logs.configure(LogSettings("text" if number % 2 else "json", "debug"), out)
        said = [*await said_while_it_runs(settings, environ), *await said_by_commands(settings, environ)]
        for text in (*said, out.getvalue()):
            assert "SENTINEL" not in text, text
            assert secret not in text, text
            assert json.dumps(secret)[1:-1] not in text, text
        assert len(said) > 3
