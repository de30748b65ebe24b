"""Content-addressed stores: a file is named by its sha256, so whoever serves it can withhold it but not
change it.

`LocalStore` is a directory, `HttpStore` speaks to an orchestrator or a mirror, `S3Store` to a bucket,
`MultiStore` tries several. `get` returns small blobs, `fetch` (`fetching.py`) brings large ones to disk. All
of them verify what they return and never take more than the caller's `max_bytes`.
"""

from .base import Kind, Parts, Reading, Source, Store, check_name
from .fetching import fetch, through_disk
from .http import HttpStore
from .local import LocalStore
from .multi import MultiStore
from .s3 import S3Store

__all__ = [
    "HttpStore",
    "Kind",
    "LocalStore",
    "MultiStore",
    "Parts",
    "Reading",
    "S3Store",
    "Source",
    "Store",
    "check_name",
    "fetch",
    "through_disk",
]
