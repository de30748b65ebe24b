"""The Python SDK of pi-protocol: what every program and every notebook uses. No torch.

Names are loaded on first use, so that `import pi_sdk` and `--help` do not wait for web3.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .accounts import load_account, node_key
    from .client import Client
    from .errors import (
        BlobCorrupt,
        BlobNotFound,
        BlobTooLarge,
        ChainError,
        ConfigError,
        ContractError,
        InsufficientFunds,
        MalformedArtifact,
        NotFound,
        PiError,
        RankFailed,
        SpecMismatch,
        StoreError,
        ToolMissing,
        TransactionFailed,
        UploadRefused,
        UsageError,
        WrongNetwork,
    )
    from .eventlog import EventLog, read_events
    from .networks import (
        NETWORKS,
        Deployment,
        DeploymentRecord,
        Network,
        derived_key,
        dev_key,
        get_network,
        local_deployment,
    )
    from .results import (
        BudgetInfo,
        CaseInfo,
        Event,
        ExitState,
        MemberInfo,
        PoolInfo,
        Receipt,
        RecordInfo,
        RoundInfo,
        SeatInfo,
        StakeAccount,
        Verdict,
        VerdictRoundInfo,
    )
    from .store import HttpStore, LocalStore, MultiStore, S3Store, Store
    from .types import (
        CaseStatus,
        Invite,
        Outcome,
        OuterRule,
        Phase,
        PoolParams,
        RecordStatus,
        Reveal,
        RunSpec,
    )

_HOMES = {
    "accounts": "load_account node_key",
    "client": "Client",
    "errors": """BlobCorrupt BlobNotFound BlobTooLarge ChainError ConfigError ContractError InsufficientFunds
        MalformedArtifact NotFound PiError RankFailed SpecMismatch StoreError ToolMissing TransactionFailed
        UploadRefused UsageError WrongNetwork""",
    "eventlog": "EventLog read_events",
    "networks": """NETWORKS Deployment DeploymentRecord Network derived_key dev_key get_network
        local_deployment""",
    "results": """BudgetInfo CaseInfo Event ExitState MemberInfo PoolInfo Receipt RecordInfo RoundInfo
        SeatInfo StakeAccount Verdict VerdictRoundInfo""",
    "store": "HttpStore LocalStore MultiStore S3Store Store",
    "types": "CaseStatus Invite Outcome OuterRule Phase PoolParams RecordStatus Reveal RunSpec",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [  # noqa: F822 - loaded by __getattr__; tests/sdk/test_package.py compares this list with the names above
    "NETWORKS",
    "BlobCorrupt",
    "BlobNotFound",
    "BlobTooLarge",
    "BudgetInfo",
    "CaseInfo",
    "CaseStatus",
    "ChainError",
    "Client",
    "ConfigError",
    "ContractError",
    "Deployment",
    "DeploymentRecord",
    "Event",
    "EventLog",
    "ExitState",
    "HttpStore",
    "InsufficientFunds",
    "Invite",
    "LocalStore",
    "MalformedArtifact",
    "MemberInfo",
    "MultiStore",
    "Network",
    "NotFound",
    "Outcome",
    "OuterRule",
    "Phase",
    "PiError",
    "PoolInfo",
    "PoolParams",
    "RankFailed",
    "Receipt",
    "RecordInfo",
    "RecordStatus",
    "Reveal",
    "RoundInfo",
    "RunSpec",
    "S3Store",
    "SeatInfo",
    "SpecMismatch",
    "StakeAccount",
    "Store",
    "StoreError",
    "ToolMissing",
    "TransactionFailed",
    "UploadRefused",
    "UsageError",
    "Verdict",
    "VerdictRoundInfo",
    "WrongNetwork",
    "derived_key",
    "dev_key",
    "get_network",
    "load_account",
    "local_deployment",
    "node_key",
    "read_events",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'pi_sdk' has no attribute {name!r}")
    return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
