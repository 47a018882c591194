"""Keys over a real connection, and what an issuer may answer amiss."""

from __future__ import annotations

import asyncio
import gzip
import json
import shlex
import ssl
from pathlib import Path

import pytest
import trustme

from idtoken_proxy.errors import TokenError
from idtoken_proxy.receive.issuers import Issuer, issuer_of
from idtoken_proxy.receive.key_fetch import LONGEST, SHORTEST, fetch_keys, fresh_for
from idtoken_proxy.receive.key_set import Fetched
from tests.cases import for_each
from tests.engine.wire import Receiver, Wire, ok
from tests.receive.signing import ec_signer, jwks, rsa_signer


async def fetched(issuer: Issuer) -> Fetched:
    return await asyncio.to_thread(fetch_keys, issuer)


async def serve(wire: Wire, answers: dict[str, bytes]) -> None:
    while True:
        request = await wire.request()
        wire.send(answers.get(request.target, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))


async def test_a_jwk_set_and_how_long_it_is_fresh() -> None:
    answer = ok(
        jwks(rsa_signer(), ec_signer()), "Cache-Control: public, max-age=19800, must-revalidate", "Age: 800"
    )
    async with Receiver(lambda wire: serve(wire, {"/certs": answer})) as issuer:
        found = await fetched(issuer_of("google", f"http://127.0.0.1:{issuer.port}/certs"))
        assert (list(found.keys), found.max_age) == (["key-1"], 19000.0)  # Google signs by RS256
        found = await fetched(issuer_of("iap", None, f"http://127.0.0.1:{issuer.port}/certs"))
        assert list(found.keys) == ["ec-1"]


@for_each(
    ("headers", "seconds"),
    [
        ({}, SHORTEST),
        ({"Cache-Control": "no-store"}, SHORTEST),
        ({"Cache-Control": "max-age=0"}, SHORTEST),
        ({"Cache-Control": "max-age=3600"}, 3600.0),
        ({"Cache-Control": 'private, Max-Age="7200"'}, 7200.0),
        ({"Cache-Control": "s-maxage=9000"}, SHORTEST),
        ({"Cache-Control": "max-age=3600", "Age": "3599"}, SHORTEST),
        ({"Cache-Control": "max-age=3600", "Age": "x"}, 3600.0),
        ({"Cache-Control": "max-age=999999999"}, LONGEST),
        ({"Cache-Control": "max-age=99999999999999"}, SHORTEST),
    ],
)
def test_bounds_of_freshness(headers: dict[str, str], seconds: float) -> None:
    assert fresh_for(headers) == seconds


def discovery(issuer: object, keys: object) -> bytes:
    return ok(json.dumps({"issuer": issuer, "jwks_uri": keys}).encode())


async def test_an_issuer_s_document_leads_to_its_keys() -> None:
    answers: dict[str, bytes] = {"/keys": ok(jwks(rsa_signer(), ec_signer()))}
    async with Receiver(lambda wire: serve(wire, answers)) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/pool/"
        answers["/pool/.well-known/openid-configuration"] = discovery(
            url, f"http://127.0.0.1:{receiver.port}/keys"
        )
        assert sorted((await fetched(issuer_of(url))).keys) == ["ec-1", "key-1"]


async def test_what_is_amiss_is_said_with_a_remedy() -> None:
    answers: dict[str, bytes] = {"/keys": ok(jwks(rsa_signer()))}
    async with Receiver(lambda wire: serve(wire, answers)) as receiver:
        here = f"http://127.0.0.1:{receiver.port}"
        for document, told in (
            (
                discovery("https://other.example.com", f"{here}/keys"),
                "the discovery document of another issuer",
            ),
            (discovery(here, "http://keys.example.com/keys"), "no https URL"),
            (discovery(here, "http://169.254.169.254/keys"), "no https URL"),
            (discovery(here, "file:///etc/passwd"), "no https URL"),
            (discovery(here, 7), "no https URL"),
            (ok(b"[]"), "no discovery document"),
            (ok(b"{" * 5), "no discovery document"),
            (ok(b"[" * 100_000), "no discovery document"),
            (discovery(here, f"{here}/nothing"), "404"),
            (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "302"),
        ):
            answers["/.well-known/openid-configuration"] = document
            with pytest.raises(TokenError, match=told) as error:
                await fetched(issuer_of(here))
            assert error.value.remedy, told
        for keys, told in ((ok(b"no json"), "no JWK set"), (ok(jwks(ec_signer())), "no key for RS256")):
            answers["/keys"] = keys
            with pytest.raises(TokenError, match=told):
                await fetched(issuer_of("google", f"{here}/keys"))


async def test_what_an_issuer_s_document_names_is_one_word_of_the_command_that_is_shown() -> None:
    answers: dict[str, bytes] = {}
    async with Receiver(lambda wire: serve(wire, answers)) as receiver:
        here = f"http://127.0.0.1:{receiver.port}"
        for place in ("/$(id)", "/keys?a=$(id);b", "/keys?'|sh"):
            answers["/.well-known/openid-configuration"] = discovery(here, here + place)
            with pytest.raises(TokenError) as error:
                await fetched(issuer_of(here))
            command = (error.value.remedy or "").partition(": ")[2]
            assert shlex.split(command)[-1] == here + place
            assert len(shlex.split(command, posix=True)) == 3
        answers["/.well-known/openid-configuration"] = discovery(here, f"{here}/keys?\x1b[31m")
        with pytest.raises(TokenError, match="no URL"):
            await fetched(issuer_of(here))


async def test_an_issuer_elsewhere_leads_to_nothing_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its document comes by https, and so must its keys."""
    ca, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(tls)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    answers: dict[str, bytes] = {"/keys": ok(jwks(rsa_signer()))}
    async with (
        Receiver(lambda wire: serve(wire, answers)) as near,
        Receiver(lambda wire: serve(wire, answers), tls=tls) as issuer,
    ):
        here = f"https://127.0.0.1:{issuer.port}"
        answers["/.well-known/openid-configuration"] = discovery(here, f"http://127.0.0.1:{near.port}/keys")
        with pytest.raises(TokenError, match="no https URL"):
            await fetched(issuer_of(here))
        assert near.connections == []
        answers["/.well-known/openid-configuration"] = discovery(here, f"{here}/keys")
        assert list((await fetched(issuer_of(here))).keys) == ["key-1"]


@pytest.mark.thorough
@for_each("uri", [
    "https://[::1", "https://exa mple/", "https://127.0.0.1:99999/", "https://\ud800/", "https://user:pass@127.0.0.1:1/k",
    "https://" + "a" * 300 + "/", "https://127.0.0.1:1/?q=\r\nX: y", "https://127.0.0.1:1/k#f", "https://127.0.0.1:1/\xe9",
    "https://0x7f.1:1/", "https://2130706433:1/", "https://metadata.google.internal./", "https://[::ffff:169.254.169.254]/",
    "https://[fd20:ce::254]/", "https:///x", "//x/y", "", "https://127.0.0.1:1/\0", "https://127.0.0.1:1\\@evil/", "https://xn--\xe9/",
    "https://a..b/", "https://*/", "https://127.0.0.1:1/%zz", "https://\uff45vil.example/", "https://127.0.0.1:1/" + "a" * 100_000,
    ["https://127.0.0.1:1/"], {"a": 1}, None, True,
])  # fmt: skip
async def test_no_jwks_uri_is_more_than_a_failed_fetch(uri: object) -> None:
    answers: dict[str, bytes] = {}
    async with Receiver(lambda wire: serve(wire, answers)) as receiver:
        here = f"http://127.0.0.1:{receiver.port}"
        answers["/.well-known/openid-configuration"] = discovery(here, uri)
        with pytest.raises(TokenError) as error:
            await fetched(issuer_of(here))
        assert error.value.detail.isprintable()


def _zipped(content: bytes) -> bytes:
    return ok(gzip.compress(content, 1), "Content-Encoding: gzip")


# What is not read to its end within a second is closed by the issuer.
ANSWERS = {
    "a bomb": _zipped(b" " * 20_000_000),
    "no gzip": ok(b"abcd", "Content-Encoding: gzip"),
    "cut short": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}",
    "over a mebibyte": ok(b" " * 1_100_000),
    "no HTTP": b"hello\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a part": b"HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\n{}",
    "a head of 5000 fields": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    "a field of 100 kB": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    "a broken chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "another place": b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "a number of 5000 digits": ok(b'{"keys": [' + b"9" * 5000 + b"]}"),
}


@pytest.mark.thorough
@for_each("what", list(ANSWERS))
async def test_no_answer_is_more_than_a_failed_fetch(what: str) -> None:
    async def answer(wire: Wire) -> None:
        await wire.request()
        wire.send(ANSWERS[what])
        wire.close()

    async with Receiver(answer) as receiver:
        with pytest.raises(TokenError):
            await fetched(issuer_of("google", f"http://127.0.0.1:{receiver.port}/certs"))
