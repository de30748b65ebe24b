"""Every error that a user can meet, in one tree; `report` turns one into a line and an exit code.

PiError                     exit code 1, message + hint
 ├── UsageError             exit code 2: a flag, file or value that cannot be right
 ├── ConfigError            exit code 2: network, keystore or RunSpec file that cannot be used
 ├── ToolMissing            anvil, forge or solc is not installed
 ├── ChainError             the node cannot be reached, or speaks for another chain
 │    ├── WrongNetwork
 │    ├── TransactionFailed a transaction that was mined but reverted, or never mined
 │    └── InsufficientFunds no gas money, or too few tokens
 ├── ContractError          a custom error of one of our contracts, decoded: `.name`, `.args_`
 ├── NotFound               unknown pool, round, node
 ├── StoreError             content-addressed stores
 │    ├── BlobNotFound
 │    ├── BlobCorrupt       the bytes do not hash to their name
 │    ├── BlobTooLarge
 │    └── UploadRefused     the server said no: `.status`
 ├── MalformedArtifact      bytes from a peer that do not parse (also a ValueError)
 ├── SpecMismatch           RunSpec, PoolParams or determinism class do not fit together
 └── RankFailed             a process that shares the training has ended
"""

import sys


class PiError(Exception):
    """An error with a message for the user and, where there is one, the next step in `hint`."""

    exit_code = 1

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(PiError):
    exit_code = 2


class ConfigError(PiError):
    exit_code = 2


class ToolMissing(PiError):
    pass


class ChainError(PiError):
    pass


class WrongNetwork(ChainError):
    pass


class TransactionFailed(ChainError):
    pass


class InsufficientFunds(ChainError):
    pass


class ContractError(PiError):
    """A revert with one of our custom errors. `name` is the Solidity error's name, `args_` its arguments."""

    def __init__(self, name: str, args_: tuple = (), hint: str = ""):
        shown = ", ".join(a.hex() if isinstance(a, bytes) else str(a) for a in args_)
        super().__init__(f"contract refused: {name}({shown})", hint)
        self.name = name
        self.args_ = args_


class NotFound(PiError):
    pass


class StoreError(PiError):
    pass


class BlobNotFound(StoreError):
    pass


class BlobCorrupt(StoreError):
    pass


class BlobTooLarge(StoreError):
    pass


class UploadRefused(StoreError):
    """The store answered a PUT with `status`."""

    def __init__(self, status: int, message: str, hint: str = ""):
        super().__init__(message, hint)
        self.status = status


class MalformedArtifact(PiError, ValueError):
    pass


class SpecMismatch(PiError):
    pass


class RankFailed(PiError):
    """A process that shares the training has ended. It says nothing about the work that was trained."""


def report(error: PiError, *, verbose: bool = False) -> int:
    """Prints one line for `error` on stderr (with `verbose` the traceback too) and returns its exit code."""
    if verbose:
        import traceback

        traceback.print_exception(error)
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code
