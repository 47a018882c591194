"""What a world's YAML takes: declared once, for the reading of it (world_file.py) and for its schema."""

from __future__ import annotations

import re
from typing import Any, Final

from idtoken_proxy.emulator.federation import Aws, Oidc, Provider
from idtoken_proxy.emulator.keys import public_pem
from idtoken_proxy.emulator.world import PROJECT_NUMBER, Iap
from idtoken_proxy.settings.addresses import is_loopback, port, split_authority
from idtoken_proxy.settings.model import CLOUD_PLATFORM, TcpAddress
from idtoken_proxy.settings.plausible import shown
from idtoken_proxy.settings.schema import schema_of
from idtoken_proxy.settings.schema_dsl import Entry, Items, Scalar, Section, Table, choice_of, key
from idtoken_proxy.settings.values import boolean, printable, text

NAME_SHAPE: Final = "lower-case letters, digits and hyphens, a letter first, belong here"
EMAIL_SHAPE: Final = "an email address belongs here"
DIGITS: Final = "12 digits, in quotes, belong here"


def _matching(pattern: str, shape: str) -> Scalar[str]:
    def parse(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"{shape}, not {shown(value)}")
        return value

    return Scalar(parse, {"type": "string", "pattern": f"^(?:{pattern})$"})


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise ValueError(f"a port from 0 to 65535 belongs here, not {shown(value)}")
    return value


def _generation(value: object) -> int:
    if value != 1:
        raise ValueError(f"1 belongs here, as others are services, not {shown(value)}")
    return 1


def app_url(value: object) -> str:
    """`http://HOST:PORT`, as a container's is: the path is the request's, and TLS ends before it."""
    if not isinstance(value, bool) and re.fullmatch(r":?[0-9]{1,5}", str(value)):
        raise ValueError(f"must be a URL; write http://localhost:{str(value).removeprefix(':')}")
    url = text(value)
    match = re.fullmatch(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?([^/?#@\\\s]+)(/?)", url)
    if match is None or match[1] not in (None, "http"):
        raise ValueError(f"must be http://HOST:PORT of an app, and no more, not {shown(url)}")
    host, number = split_authority(match[2])
    if not number:
        raise ValueError(f"says no port; write http://{TcpAddress(host, 3000)}")
    address = TcpAddress(host, port(number, lowest=1))
    if match[1] is None:
        raise ValueError(f"must be a URL; write http://{address}")
    return f"http://{address}"


NAME: Final = _matching(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", NAME_SHAPE)
EMAIL: Final = _matching(r"[^@\s/:]+@[^@\s/:]+", EMAIL_SHAPE)
NUMBER: Final = _matching(r"[0-9]{12}", DIGITS)
TEXT: Final = Scalar(printable, {"type": "string", "minLength": 1})
BOOLEAN: Final = Scalar(boolean, {"type": "boolean"})
PORT: Final = Scalar(_port, {"type": "integer", "minimum": 0, "maximum": 65535})
GENERATION: Final = Scalar(_generation, {"type": "integer", "enum": [1]})
APP: Final = Scalar(app_url, {"type": "string", "pattern": r"^http://[^/?#@\\\s]+:[0-9]{1,5}/?$"})


class AccountEntry(Entry):
    name: str | None = key(NAME, "Of a service account: NAME@PROJECT.iam.gserviceaccount.com.", default=None)
    email: str | None = key(
        EMAIL, "Of any other account; a user has a refresh token in place of a key.", default=None
    )
    agent: str | None = key(
        NAME,
        "Of an agent: no account, but a SPIFFE ID; its tokens have a list of audiences and no email.",
        default=None,
    )
    default: bool = key(BOOLEAN, "Whether the metadata server gives out its tokens.", default=False)
    token_creators: list[str] = key(
        Items(TEXT), "Who may impersonate it: accounts, and principals of the pools.", default=[]
    )

    def contradiction(self) -> str | None:
        said = [self.name, self.email, self.agent].count(None)
        return "one of name, email and agent says who it is" if said != 2 else None


class IapEntry(Entry):
    """Without a client ID: Google manages the client."""

    client_id: str | None = key(TEXT, "Of its own OAuth client; tokens are for it.", default=None)


class ServiceEntry(Entry):
    name: str = key(NAME, "Unique; NAME_URL is the variable that tells where it listens.")
    invokers: list[str] = key(
        Items(TEXT), "Who may invoke it: names, emails, members, allUsers, allAuthenticatedUsers.", default=[]
    )
    region: str = key(NAME, "Where it would run.", default="us-central1")
    port: int = key(PORT, "Where it listens; 0: the next one after the issuers' that is free.", default=0)
    audiences: list[str] = key(Items(TEXT), "Custom ones, besides its own URL.", default=[])
    iap: IapEntry | None = key(Section(IapEntry, word="managed"), "IAP stands before it.", default=None)
    function: int | None = key(
        GENERATION, "It is a 1st-generation function; others are services.", default=None
    )
    backend: str | None = key(
        APP, "http://HOST:PORT of your own app, in place of one that tells what it received.", default=None
    )

    api: str | None = key(
        NAME,
        "It stands in for that API of Google's, such as storage, and takes access tokens in place of ID tokens.",
        default=None,
    )
    scopes: list[str] = key(
        Items(TEXT, least=1), "Of which an access token must have one.", default=[CLOUD_PLATFORM]
    )

    def contradiction(self) -> str | None:
        if [self.iap, self.function, self.api].count(None) < 2:
            return "iap, function and api are front ends; one stands before it"
        host, _, number = (self.backend or "").removeprefix("http://").rpartition(":")
        if self.port and number == str(self.port) and is_loopback(host.strip("[]")):
            return "backend is this service itself; the app needs a port of its own"
        return None

    @property
    def front_end(self) -> Iap | None:
        return Iap(self.iap.client_id) if self.iap else None


class JwkEntry(Entry, lenient=True):
    """An issuer's public key as it publishes it (RFC 7517)."""

    kty: str = key(choice_of("RSA"), "The kind of key.")
    kid: str = key(TEXT, "The key's ID.")
    n: str = key(TEXT, "The modulus.")
    e: str = key(TEXT, "The exponent.")

    def contradiction(self) -> str | None:
        try:
            public_pem(self.n, self.e)
        except ValueError as error:
            return str(error)
        return None


class JwksEntry(Entry):
    keys: list[JwkEntry] = key(Items(Section(JwkEntry), least=1), "At least one.")


class OidcEntry(Entry):
    issuer: str = key(TEXT, "The iss of its tokens.")
    audiences: list[str] = key(
        Items(TEXT), "That its tokens may be for; default: the provider's resource name.", default=[]
    )
    attributes: dict[str, str] = key(
        Table(TEXT), "Attributes of a principal, each by the claim that tells it.", default={}
    )
    workload: dict[str, str] = key(
        Table(TEXT), "Claims of the emulated workload's tokens.", default={"sub": "workload"}
    )
    jwks: JwksEntry | None = key(
        Section(JwksEntry), "A real issuer's keys, which alone can sign then.", default=None
    )

    @property
    def trusts(self) -> Oidc:
        keys = tuple((jwk.kid, public_pem(jwk.n, jwk.e)) for jwk in (self.jwks.keys if self.jwks else ()))
        return Oidc(self.issuer, tuple(self.audiences), keys, tuple(self.workload.items()))


class AwsEntry(Entry):
    account: str = key(NUMBER, "The AWS account.")
    role: str = key(TEXT, "The workload's role.", default="workload")
    region: str = key(NAME, "Its AWS region.", default="us-east-1")

    @property
    def trusts(self) -> Aws:
        return Aws(self.account, self.role, self.region)


class ProviderEntry(Entry):
    name: str = key(NAME, "Unique in its pool.")
    oidc: OidcEntry | None = key(Section(OidcEntry), "Trusts an issuer of OIDC tokens.", default=None)
    aws: AwsEntry | None = key(Section(AwsEntry), "Trusts an AWS account.", default=None)

    def contradiction(self) -> str | None:
        return "either oidc or aws says whom it trusts" if (self.oidc is None) == (self.aws is None) else None

    def in_pool(self, pool: str) -> Provider:
        trusted = self.oidc or self.aws
        assert trusted is not None
        attributes = tuple(self.oidc.attributes.items()) if self.oidc else ()
        return Provider(pool, self.name, trusted.trusts, attributes)


class PoolEntry(Entry):
    name: str = key(NAME, "Unique.")
    providers: list[ProviderEntry] = key(Items(Section(ProviderEntry)), "Whom it lets in.", default=[])


class WorldEntry(Entry):
    project: str = key(NAME, "The project's ID.", default="demo-project")
    number: str = key(NUMBER, "The project's number, in the names of its pools.", default=PROJECT_NUMBER)
    accounts: list[AccountEntry] = key(Items(Section(AccountEntry)), "Service accounts and users.")
    services: list[ServiceEntry] = key(Items(Section(ServiceEntry)), "Private services.")
    pools: list[PoolEntry] = key(
        Items(Section(PoolEntry)), "Workload identity pools: who from outside may come in.", default=[]
    )


def world_schema() -> dict[str, Any]:
    """For editors, as far as JSON Schema can say it."""
    return schema_of(WorldEntry, "World of idtoken-proxy emulate")
