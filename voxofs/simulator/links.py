"""Storage links: made by the API, verified by the storage, as S3's query-string authentication does it.

Version 2 signs the method, the expiry and the path with HMAC-SHA1 (S3 documentation, "Signing and
authenticating REST requests", query-string authentication alternative). Version 4 signs a canonical
request with HMAC-SHA256 under a key of the day (documentation, "Authenticating requests: using query
parameters"). Both cover the method, so a HEAD on a link for GET does not verify. Paths are signed as
they travel, that is, percent-encoded.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from base64 import b64encode
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal
from urllib.parse import parse_qsl, quote

BUCKET = "global-recordings"
"""The bucket of all recordings, everybody's."""
ACCESS_KEY = "AKIASIMULATEDVOXO00"
SECRET_KEY = "simulated/secret/of/the/simulated/storage"
REGION = "us-east-1"
Version = Literal["v2", "v4"]


class Refused(Exception):
    """The link does not open the object: S3's code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def sign(version: Version, host: str, path: str, now_s: float, lifetime_s: float) -> str:
    """The query string that lets anybody GET `path` (percent-encoded) until `lifetime_s` from now."""
    if version == "v2":
        expires = str(math.ceil(now_s + lifetime_s))
        signature = quote(_signature_v2("GET", path, expires), safe="")
        return f"AWSAccessKeyId={ACCESS_KEY}&Expires={expires}&Signature={signature}"
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256"
        f"&X-Amz-Credential={quote(f'{ACCESS_KEY}/{stamp[:8]}/{REGION}/s3/aws4_request', safe='')}"
        f"&X-Amz-Date={stamp}&X-Amz-Expires={math.ceil(lifetime_s)}&X-Amz-SignedHeaders=host"
    )
    return f"{query}&X-Amz-Signature={_signature_v4('GET', host, path, query, stamp, REGION)}"


def verify(method: str, host: str, path: str, query: str, now_s: float) -> None:
    """Raise `Refused` unless the query string opens `path` for `method` at `now_s`, the storage's clock."""
    fields = dict(parse_qsl(query, keep_blank_values=True))
    if "Signature" in fields:
        _verify_v2(method, path, fields, now_s)
    elif "X-Amz-Signature" in fields:
        _verify_v4(method, host, path, query, fields, now_s)
    else:
        raise Refused("AccessDenied", "Access Denied")


def _verify_v2(method: str, path: str, fields: dict[str, str], now_s: float) -> None:
    expires = fields.get("Expires", "")
    if not expires.isascii() or not expires.isdigit() or "AWSAccessKeyId" not in fields:
        raise Refused(
            "AccessDenied", "Query-string authentication requires the Signature, Expires and AWSAccessKeyId"
        )
    if now_s >= int(expires):
        raise Refused("AccessDenied", "Request has expired")
    _check_key(fields["AWSAccessKeyId"])
    _check_signature(fields["Signature"], _signature_v2(method, path, expires))


def _verify_v4(method: str, host: str, path: str, query: str, fields: dict[str, str], now_s: float) -> None:
    stamp, lifetime = fields.get("X-Amz-Date", ""), fields.get("X-Amz-Expires", "")
    credential = fields.get("X-Amz-Credential", "").split("/")
    if len(credential) != 5 or not lifetime.isdigit() or fields.get("X-Amz-SignedHeaders") != "host":
        raise Refused(
            "AuthorizationQueryParametersError", "Query-string authentication version 4 is incomplete"
        )
    try:
        made = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise Refused("AuthorizationQueryParametersError", "X-Amz-Date must be in ISO8601 format") from None
    if now_s >= made + int(lifetime):
        raise Refused("AccessDenied", "Request has expired")
    _check_key(credential[0])
    pairs = sorted(pair for pair in query.split("&") if not pair.startswith("X-Amz-Signature="))
    wanted = _signature_v4(method, host, path, "&".join(pairs), stamp, credential[2])
    _check_signature(fields["X-Amz-Signature"], wanted)


def _check_key(key: str) -> None:
    if key != ACCESS_KEY:
        raise Refused(
            "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."
        )


def _check_signature(given: str, wanted: str) -> None:
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Refused(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
        )


def _signature_v2(method: str, path: str, expires: str) -> str:
    text = f"{method}\n\n\n{expires}\n{path}"
    return b64encode(hmac.digest(SECRET_KEY.encode(), text.encode(), "sha1")).decode()


def _signature_v4(method: str, host: str, path: str, query: str, stamp: str, region: str) -> str:
    request = f"{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{stamp[:8]}/{region}/s3/aws4_request\n{digest}"
    return hmac.digest(_signing_key(stamp[:8], region), text.encode(), "sha256").hex()


@lru_cache(maxsize=16)
def _signing_key(day: str, region: str) -> bytes:
    key = b"AWS4" + SECRET_KEY.encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
