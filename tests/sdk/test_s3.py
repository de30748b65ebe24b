"""S3-compatible storage, against moto's server. That server checks neither signatures nor expiry nor
checksums, so what a signature binds is asserted here: the fields of the URL, and that changing any of what is
bound gives another signature, as a server that does check computes it.
"""

from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from bucket import bucket as a_bucket
from peers import Peer, serving
from pi_sdk import BlobNotFound, BlobTooLarge, ConfigError, HttpStore, MultiStore, S3Store, UploadRefused
from pi_train.checkpoint_file import CheckpointParts, part_hashes
from pi_train.outer import Checkpoint

KEYS = Credentials("AKIDEXAMPLE", "not a secret")
DATA = bytes(range(256)) * 1000
NAME = sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with a_bucket() as url:
        yield url


@pytest.fixture
def s3(bucket: str) -> Iterator[S3Store]:
    with S3Store(bucket, KEYS, "eu-central-1") as store:
        yield store


def test_what_was_put_is_got_whole_and_in_ranges(s3: S3Store, bucket: str, tmp_path: Path):
    assert not s3.has(NAME)
    with pytest.raises(BlobNotFound):
        s3.get(NAME, len(DATA))
    assert s3.put(DATA) == NAME and s3.has(NAME)
    assert s3.get(NAME, len(DATA)) == DATA
    with pytest.raises(BlobTooLarge):
        s3.get(NAME, len(DATA) - 1)
    with s3.read(NAME, 100, 300) as reading:
        assert (b"".join(reading.chunks), reading.start, reading.size) == (DATA[100:300], 100, len(DATA))
    with HttpStore(bucket) as anybody:
        (tmp_path / "blob.part").write_bytes(DATA[:70_000])
        anybody.fetch(NAME, tmp_path / "blob", len(DATA))
    assert (tmp_path / "blob").read_bytes() == DATA


def test_a_presigned_upload_needs_no_credentials(s3: S3Store):
    other = b"an update"
    name = sha256(other).hexdigest()
    url, headers = s3.presigned_put(name, len(other), 60)
    assert httpx.put(url, content=other, headers=headers).status_code == 200
    assert s3.get(name, 100) == other
    url, headers = s3.presigned_get(name, 60)
    answer = httpx.get(url, headers={**headers, "Range": "bytes=3-"})
    assert answer.status_code == 206 and answer.content == other[3:]


def test_a_checkpoint_comes_in_parts_from_bucket_and_mirror(s3: S3Store, tmp_path: Path):
    found = Checkpoint(np.arange(600_000, dtype=np.int32))
    (tmp_path / "c").write_bytes(found.to_bytes())
    name = sha256(found.to_bytes()).hexdigest()
    (tmp_path / "c.tree").write_bytes(part_hashes(tmp_path / "c") or b"")
    s3.copy(name, tmp_path / "c", tmp_path / "c.tree")
    parts = CheckpointParts(found.root(), 600_000, False)
    with serving(Peer({name: found.to_bytes()}, flip=500_000)) as liar, HttpStore(liar.url) as mirror:
        MultiStore([s3], [mirror]).fetch(name, tmp_path / "d", parts.size, parts)
    assert (tmp_path / "d").read_bytes() == found.to_bytes()


def signature(url: str) -> dict[str, str]:
    return {field: values[0] for field, values in parse_qs(urlsplit(url).query).items()}


@contextmanager
def at_the_time_of(url: str) -> Iterator[None]:
    """botocore signs as of the time in `url`."""
    import botocore.auth
    from botocore.compat import get_current_datetime

    then = get_current_datetime().strptime(signature(url)["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda *_: then)
        yield


def test_the_signature_binds_bytes_length_and_expiry(s3: S3Store, bucket: str):
    url, headers = s3.presigned_put(NAME, len(DATA), 60)
    said = signature(url)
    assert said["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256" and said["X-Amz-Expires"] == "60"
    assert said["X-Amz-SignedHeaders"] == "content-length;host;x-amz-checksum-sha256"
    assert said["X-Amz-Credential"].startswith("AKIDEXAMPLE/")
    assert said["X-Amz-Credential"].endswith("/eu-central-1/s3/aws4_request")
    assert urlsplit(url).path == f"/artifacts/run-1/blobs/{NAME}"
    assert headers["Content-Length"] == str(len(DATA))
    assert b64decode(headers["x-amz-checksum-sha256"]) == sha256(DATA).digest()
    assert "not a secret" not in url

    def again(path: str = NAME, method: str = "PUT", expires: int = 60, **changed: str) -> str:
        request = AWSRequest(method, f"{bucket}/blobs/{path}", {**headers, **changed})
        with at_the_time_of(url):
            S3SigV4QueryAuth(KEYS, "s3", "eu-central-1", expires=expires).add_auth(request)
        return signature(request.url)["X-Amz-Signature"]

    assert again() == said["X-Amz-Signature"]
    others = [
        again("0" * 64),
        again(method="GET"),
        again(expires=61),
        again(**{"Content-Length": str(len(DATA) + 1)}),
        again(**{"x-amz-checksum-sha256": "A" * 44}),
    ]
    assert said["X-Amz-Signature"] not in others and len(set(others)) == len(others)


def test_what_it_sends_is_what_it_signed():
    """Also for its own uploads; and a refusal, as of a signature that has expired, is one line."""
    with serving(Peer({})) as peer, S3Store(f"{peer.url}/b", KEYS, expires=7) as s3:
        peer.script = [403]
        with pytest.raises(UploadRefused, match="403"):
            s3.put(b"x")
        (headers,) = peer.puts
        assert headers["content-length"] == "1" and headers["x-amz-checksum-sha256"]
        assert signature(headers["path"])["X-Amz-Expires"] == "7"


def test_credentials_are_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ConfigError, match="no credentials"):
        S3Store("http://127.0.0.1:1/bucket")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    S3Store("http://127.0.0.1:1/bucket")
