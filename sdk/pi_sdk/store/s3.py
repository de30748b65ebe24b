"""A bucket of S3-compatible storage. botocore signs; the transport is `HttpStore`'s, with its bounds.

A blob is the object `blobs/{sha256}` below the URL, so a bucket that anybody may read is a plain `HttpStore`
at the same URL. Requests are pre-signed (Signature Version 4 in the query). What an upload's signature binds:
method, host, path, expiry, length, and `x-amz-checksum-sha256`, which is the name again; so whoever is handed
the URL can store this blob and nothing else, and the server refuses other bytes.
"""

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..codec import sha256 as digest
from ..errors import ConfigError
from .base import TREE, Kind, check_name
from .http import HttpStore, Presigned

if TYPE_CHECKING:
    from botocore.credentials import Credentials


class S3Store(HttpStore):
    """The objects below `url`, `https://endpoint/bucket` or `https://endpoint/bucket/prefix`.

    `credentials` default to what botocore finds (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, ...),
    `region` to the configured one. `expires`: seconds that a signature of this store's own requests is valid,
    on the server's clock. An upload is one request: 5 GiB at most on S3 itself.
    """

    def __init__(
        self,
        url: str,
        credentials: "Credentials | None" = None,
        region: str | None = None,
        *,
        expires: int = 300,
        **limits: Any,
    ):
        super().__init__(url, **limits)
        try:
            from botocore.session import get_session
        except ImportError as error:
            raise ConfigError("S3 needs botocore", "pip install 'pi-protocol[s3]'") from error
        session = get_session()
        found = credentials or session.get_credentials()
        if found is None:
            raise ConfigError("no credentials for S3", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        self._credentials: Any = found
        self._region = region or session.get_config_variable("region") or "us-east-1"
        self._expires = expires

    def put(self, data: bytes, kind: Kind = "artifact", round: int = 0) -> str:
        """Uploads `data` and returns its name. A bucket keeps everything until its own rules end it: `kind`
        and `round` matter to other servers. `UploadRefused`."""
        name = digest(data).hex()
        self._attempts(lambda: self._upload_as(name, digest(data), data, len(data)))
        return name

    def copy(self, sha256: str, path: Path, tree: Path | None = None) -> None:
        """Uploads a blob's file, and before it the one of its part hashes, unless the blob is there
        already."""
        if self.has(sha256):
            return
        for key, file in ((check_name(sha256) + TREE, tree), (sha256, path)):
            if file is not None:
                self._attempts(lambda key=key, file=file: self._upload_file(key, file))

    def _upload_file(self, key: str, path: Path) -> None:
        with path.open("rb") as file:
            name = hashlib.file_digest(file, "sha256").digest()
            size = file.tell()
            file.seek(0)
            self._upload_as(key, name, file, size)

    def _upload_as(self, key: str, sha256: bytes, content: bytes | BinaryIO, size: int) -> None:
        headers = _bound(sha256, size)
        self._send("PUT", self._sign("PUT", key, headers, self._expires), content, size, headers)

    def presigned_put(self, sha256: str, size: int, expires: int) -> Presigned:
        """An upload of this blob of `size` bytes, for `expires` seconds, by whoever gets it."""
        headers = _bound(bytes.fromhex(check_name(sha256)), size)
        return Presigned(self._sign("PUT", sha256, headers, expires), headers)

    def presigned_get(self, sha256: str, expires: int) -> Presigned:
        """A download, of any range."""
        return Presigned(self._sign("GET", check_name(sha256), {}, expires), {})

    def _address(self, method: str, key: str) -> str:
        return self._sign(method, key, {}, self._expires)  # ranges stay unsigned: what comes back is verified

    def _sign(self, method: str, key: str, headers: dict[str, str], expires: int) -> str:
        from botocore.auth import S3SigV4QueryAuth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest(method=method, url=f"{self.url}/blobs/{key}", headers=headers)
        S3SigV4QueryAuth(self._credentials, "s3", self._region, expires=expires).add_auth(request)
        assert request.url is not None
        return request.url


def _bound(sha256: bytes, size: int) -> dict[str, str]:
    return {"Content-Length": str(size), "x-amz-checksum-sha256": b64encode(sha256).decode()}
