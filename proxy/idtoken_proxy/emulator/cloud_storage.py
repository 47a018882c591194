"""Cloud Storage's JSON API, in memory: buckets are there as soon as somebody names them.

Sources: https://cloud.google.com/storage/docs/json_api/v1 (objects), https://cloud.google.com/storage/docs/uploading-objects-from-memory,
https://cloud.google.com/storage/docs/performing-resumable-uploads (the session's address in Location, 308 in between).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Final
from urllib.parse import quote, unquote

from aiohttp import web

from idtoken_proxy.emulator.container import Delivered
from idtoken_proxy.emulator.refusals import ApiRefusal

_OBJECTS: Final = re.compile(r"/(?:(upload|download)/)?storage/v1/b/([^/]+)/o(?:/(.+))?")
_BUCKET: Final = re.compile(r"/storage/v1/b/([^/]+)")
_ASKED: Final = re.compile(r"bytes=(\d+)-(\d*)")
_RANGE: Final = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


@dataclass(slots=True)
class _Session:
    """An upload that comes in pieces."""

    bucket: str
    name: str
    content: bytearray = field(default_factory=bytearray)


class CloudStorage:
    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], bytes] = {}
        self._sessions: dict[str, _Session] = {}

    async def answer(self, delivered: Delivered) -> web.StreamResponse:
        request = delivered.request
        path = request.raw_path.partition("?")[0]
        found, bucket = _OBJECTS.fullmatch(path), _BUCKET.fullmatch(path)
        try:
            if found and found[1] == "upload":
                return await self._uploaded(request, unquote(found[2]))
            if found and found[3]:
                return self._one(request, unquote(found[2]), unquote(found[3]), media=found[1] == "download")
            if found:
                items = [self._about(*key) for key in sorted(self._objects) if key[0] == unquote(found[2])]
                return web.json_response({"kind": "storage#objects", "items": items})
            if bucket:
                return web.json_response({"kind": "storage#bucket", "id": bucket[1], "name": bucket[1]})
        except ApiRefusal as refusal:
            return refusal.response()
        except (ValueError, KeyError, TypeError):
            return ApiRefusal(400, "Invalid request.").response()
        return ApiRefusal(404, "Not found.").response()

    def _one(self, request: web.BaseRequest, bucket: str, name: str, *, media: bool) -> web.Response:
        key = (bucket, name)
        if key not in self._objects:
            raise ApiRefusal(404, f"No such object: {bucket}/{name}")
        if request.method == "DELETE":
            del self._objects[key]
            return web.Response(status=204)
        if media or request.query.get("alt") == "media":
            return _media(request, self._objects[key])
        return web.json_response(self._about(*key))

    async def _uploaded(self, request: web.BaseRequest, bucket: str) -> web.Response:
        how, content = request.query.get("uploadType"), await request.read()
        if how == "media":
            return self._kept(bucket, request.query["name"], content)
        if how == "multipart":
            kind = request.headers["Content-Type"]
            parts = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + content)
            about, body = parts.iter_parts()
            return self._kept(bucket, json.loads(_octets(about))["name"], _octets(body))
        if how != "resumable":
            raise ValueError(how)
        if request.method == "POST":
            session = secrets.token_urlsafe(16)
            name = request.query.get("name") or json.loads(content)["name"]
            self._sessions[session] = _Session(bucket, name)
            where = f"http://{request.host}/upload/storage/v1/b/{quote(bucket)}/o?uploadType=resumable&upload_id={session}"
            return web.Response(headers={"Location": where, "X-GUploader-UploadID": session})
        return self._piece(self._sessions[request.query["upload_id"]], request, content)

    def _piece(self, session: _Session, request: web.BaseRequest, content: bytes) -> web.Response:
        said = _RANGE.fullmatch(request.headers["Content-Range"])
        if said is None or (said[1] is not None and int(said[1]) != len(session.content)):
            raise ValueError(said)
        session.content += content
        if said[2] != "*" and int(said[2]) == len(session.content):
            return self._kept(session.bucket, session.name, bytes(session.content))
        so_far = {"Range": f"bytes=0-{len(session.content) - 1}"} if session.content else {}
        return web.Response(status=308, headers=so_far)

    def _kept(self, bucket: str, name: str, content: bytes) -> web.Response:
        self._objects[bucket, name] = content
        return web.json_response(self._about(bucket, name))

    def _about(self, bucket: str, name: str) -> dict[str, Any]:
        content = self._objects[bucket, name]
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{name}/1",
            "bucket": bucket,
            "name": name,
            "generation": "1",
            "size": str(len(content)),
            "md5Hash": base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode(),
            "crc32c": _crc32c_of(content),
        }


def _media(request: web.BaseRequest, content: bytes) -> web.Response:
    """Whole, or the part that is asked for (RFC 9110 section 14.2)."""
    headers = {"X-Goog-Hash": f"crc32c={_crc32c_of(content)}"}
    status, asked = 200, _ASKED.fullmatch(request.headers.get("Range", ""))
    part = content
    if asked and content:
        start, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        part = content[start : end + 1]
        status, headers["Content-Range"] = 206, f"bytes {start}-{end}/{len(content)}"
    return web.Response(body=part, status=status, content_type="application/octet-stream", headers=headers)


def _octets(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


def _table() -> tuple[int, ...]:
    """Of CRC-32C (RFC 3720 appendix B.4), reflected."""
    table = []
    for octet in range(256):
        value = octet
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE: Final = _table()


def _crc32c_of(content: bytes) -> str:
    """As Cloud Storage writes it: base64 of the big-endian octets."""
    value = 0xFFFFFFFF
    for octet in content:
        value = _TABLE[(value ^ octet) & 0xFF] ^ value >> 8
    return base64.b64encode((value ^ 0xFFFFFFFF).to_bytes(4, "big")).decode()
