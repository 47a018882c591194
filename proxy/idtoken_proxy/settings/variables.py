"""Every environment variable that is read here, by name, with what it should hold; also those of libraries that affect
tokens.

A test finds each variable that the code reads and requires it here. Another puts a secret into each listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

QUOTA_PROJECT: Final = "GOOGLE_CLOUD_QUOTA_PROJECT"  # google.auth.environment_vars

READ: Final[Mapping[str, str]] = {
    "AWS_ACCESS_KEY_ID": "a key's ID",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "a secret",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "the path of a token's file",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "a URL",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "a URL's path",
    "AWS_DEFAULT_REGION": "a region",
    "AWS_ENDPOINT_URL": "a URL",
    "AWS_ENDPOINT_URL_STS": "a URL",
    "AWS_REGION": "a region",
    "AWS_ROLE_ARN": "a role's ARN",
    "AWS_ROLE_SESSION_NAME": "a name",
    "AWS_SECRET_ACCESS_KEY": "a secret",
    "AWS_SESSION_TOKEN": "a secret",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "the path of a token's file",
    "CLOUDSDK_CONFIG": "the path of gcloud's directory",
    "GCE_METADATA_HOST": "HOST or HOST:PORT of the metadata server",
    "GOOGLE_APPLICATION_CREDENTIALS": "the path of a credential file",
    "GOOGLE_CLOUD_PROJECT": "a project's ID",
    QUOTA_PROJECT: "a project's ID",
    "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1, or nothing",
    "HOME": "the path of the home directory",
    "IDTOKEN_PROXY_ADMIN": "the admin listener's address",
    "IDTOKEN_PROXY_CONFIG": "the path of the configuration",
    "IDTOKEN_PROXY_LISTEN": "addresses, divided by commas",
    "IDTOKEN_PROXY_LOG_FORMAT": "auto, json or text",
    "IDTOKEN_PROXY_LOG_LEVEL": "debug, info, warning or error",
    "NOTIFY_SOCKET": "the path of the service manager's socket, or @NAME",
    "NO_COLOR": "anything, for no color",
    "NO_PROXY": "hosts, divided by commas",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "a URL",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "a URL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    "OTEL_SDK_DISABLED": "true or false",
    "OTEL_RESOURCE_ATTRIBUTES": "KEY=VALUE, divided by commas",
    "OTEL_SERVICE_NAME": "a name",
    "OTEL_TRACES_EXPORTER": "otlp or none",
    "OTEL_TRACES_SAMPLER": "a sampler's name",
    "OTEL_TRACES_SAMPLER_ARG": "a number from 0 to 1",
    "PATH": "directories, divided by colons",
    "PYTHONPATH": "directories, divided by colons",
    "TERM": "the terminal's kind",
    "XDG_STATE_HOME": "the path of a directory",
    "no_proxy": "hosts, divided by commas",
}
BY_LIBRARIES: Final[Mapping[str, str]] = {  # requests, google-auth and OpenTelemetry
    "ALL_PROXY": "a proxy's URL",
    "CLOUDSDK_CORE_PROJECT": "a project's ID",
    "CURL_CA_BUNDLE": "the path of a CA bundle",
    "HTTPS_PROXY": "a proxy's URL",
    "HTTP_PROXY": "a proxy's URL",
    "OTEL_EXPORTER_OTLP_CERTIFICATE": "the path of a CA bundle",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip or none",
    "OTEL_EXPORTER_OTLP_HEADERS": "KEY=VALUE, divided by commas",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "a number of seconds",
    "REQUESTS_CA_BUNDLE": "the path of a CA bundle",
    "http_proxy": "a proxy's URL",
    "https_proxy": "a proxy's URL",
}
