"""JSON-RPC over web3.py's HTTP provider: bounded retries while a node restarts, and errors by kind.

The provider is called below web3's middleware, which costs more than our own encoding of a call;
`Client.w3` is the full object for everything else.
"""

import threading
import time
from typing import Any

import requests
from web3 import HTTPProvider, Web3
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from .errors import ChainError


class RpcError(ChainError):
    """The node answered with an error: `.code`, `.data` (revert data as 0x hex, or None)."""

    def __init__(self, method: str, error: dict):
        self.reason = str(error.get("message", error))
        super().__init__(f"{method}: {self.reason}")
        self.code = error.get("code")
        data = error.get("data")
        # geth gives the revert data as it is, some proxies wrap it in an object
        if isinstance(data, dict):
            data = data.get("data") or data.get("result")
        self.data = data if isinstance(data, str) and data.startswith("0x") else None


class Rpc:
    """A connection to one node, safe to share between threads. `patience`: seconds to wait for a node that
    restarts."""

    def __init__(self, url: str, patience: float = 30.0, timeout: float = 20.0):
        self.url = url
        self.patience = patience
        self.reconnects = 0
        """How often the node was lost and found again: its last blocks may be gone."""
        self._session = requests.Session()
        self._closed = threading.Event()
        self.provider = HTTPProvider(
            url,
            request_kwargs={"timeout": timeout},
            session=self._session,
            exception_retry_configuration=None,
        )
        self.w3 = Web3(self.provider)

    def call(self, method: str, *params: Any, patience: float | None = None) -> Any:
        """The result of one request. Raises `RpcError` when the node refuses it, `ChainError` when there is
        no node."""
        patience = self.patience if patience is None else patience
        give_up = time.monotonic() + patience
        pause, lost = 0.1, False
        while True:
            try:
                response = self.provider.make_request(RPCEndpoint(method), list(params))
            except requests.RequestException as error:
                if not _transient(error) or time.monotonic() + pause > give_up or self._closed.wait(pause):
                    raise ChainError(f"cannot reach {self.url}", _hint(self.url, error)) from error
                pause, lost = min(2 * pause, 2.0), True
                continue
            except (ValueError, Web3Exception) as error:
                raise ChainError(f"{self.url} does not speak JSON-RPC", "check --rpc-url") from error
            if lost:
                self.reconnects += 1
            answer: Any = response
            if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
                raise ChainError(f"{self.url} does not speak JSON-RPC", "check --rpc-url")
            if "error" in answer:
                error = answer["error"]
                raise RpcError(method, error if isinstance(error, dict) else {"message": error})
            return answer["result"]

    def integer(self, method: str, *params: Any, patience: float | None = None) -> int:
        """Same for a result that is a hex quantity."""
        return int(self.call(method, *params, patience=patience), 16)

    def close(self) -> None:
        """Ends waits for a lost node, and closes the connections."""
        self._closed.set()
        self._session.close()


def _transient(error: requests.RequestException) -> bool:
    if isinstance(error, requests.HTTPError):
        status = error.response.status_code if error.response is not None else 0
        return status == 429 or status >= 500
    return isinstance(
        error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError
    )


def _hint(url: str, error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError):
        return f"the server answers {error.response.status_code if error.response is not None else error}"
    if "127.0.0.1" in url or "localhost" in url:
        return "is anvil running? pi devnet up starts a local chain"
    return "check the network connection and --rpc-url"
