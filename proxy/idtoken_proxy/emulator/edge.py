"""What Google's servers answer before Cloud Run, or a function, is asked, and what they answer in its place.

A reserved path: https://cloud.google.com/run/docs/known-issues#ah. A request of HTTP/1 over 32 MiB:
https://cloud.google.com/run/quotas#request_limits. Their page has a title of its own, and no Server field. What Cloud Run
says where it has no instance, or where one takes too long: https://cloud.google.com/run/docs/troubleshooting.
"""

from __future__ import annotations

import html

from aiohttp import web

SERVER = "Google Frontend"
LARGEST = 32 * 1024 * 1024  # octets of a request's body that says how long it is
ROBOT = """<!DOCTYPE html>
<html lang=en>
  <meta charset=utf-8>
  <meta name=viewport content="initial-scale=1, minimum-scale=1, width=device-width">
  <title>Error {status} ({title})!!1</title>
  <p><b>{status}.</b> <ins>That\u2019s an error.</ins>
  <p>{sentence}  <ins>That\u2019s all we know.</ins>
"""


def kept_back(
    request: web.BaseRequest, *, is_function: bool, is_limited: bool = True
) -> web.HTTPException | None:
    """The answer to what never gets as far as the service; None where it does. `is_limited`: HTTP/1 is spoken somewhere on
    the way to the container; with HTTP/2 all the way a body may be of any size.
    """
    path = request.path
    reserved = path in ("/healthz", "/eventlog") or path.startswith("/_ah/")
    if reserved and not is_function:
        sentence = f"The requested URL <code>{html.escape(path)}</code> was not found on this server."
        return _robot(web.HTTPNotFound(), "Not Found", sentence)
    length = request.content_length
    if is_limited and length is not None and length > LARGEST:
        refused = web.HTTPRequestEntityTooLarge(max_size=LARGEST, actual_size=length)
        refused.force_close()  # nobody reads the rest
        return _robot(refused, "Request Entity Too Large", "Your client issued a request that was too large.")
    return None


def no_instance() -> web.HTTPException:
    refused = web.HTTPTooManyRequests(text="Rate exceeded.", content_type="text/html")
    refused.headers["Server"] = SERVER
    return refused


def request_timeout() -> web.HTTPException:
    return web.HTTPGatewayTimeout(text="upstream request timeout", headers={"Server": SERVER})


def no_answer(reason: str) -> web.HTTPException:
    """Where the container cannot be reached or breaks off. `reason`: in Envoy's words."""
    said = f"upstream connect error or disconnect/reset before headers. reset reason: {reason}"
    return web.HTTPServiceUnavailable(text=said, headers={"Server": SERVER})


def _robot(refused: web.HTTPException, title: str, sentence: str) -> web.HTTPException:
    refused.text = ROBOT.format(status=refused.status, title=title, sentence=sentence)
    refused.content_type = "text/html"
    refused.charset = "UTF-8"
    refused.headers["Referrer-Policy"] = "no-referrer"
    return refused
