// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../interfaces/ICourt.sol";
import {Reveal} from "../interfaces/IRoundLedger.sol";

/// @title Every hash that the protocol defines on chain.
/// @notice Mirrored by `pi_sdk/codec.py`; both pass `tests/vectors/hashes.json`.
library Hashes {
    bytes32 internal constant COMMITMENT_DOMAIN = keccak256("pi-protocol/commitment/1");
    bytes32 internal constant ACCUMULATOR_DOMAIN = keccak256("pi-protocol/accumulator/2");
    bytes32 internal constant VERDICTS_DOMAIN = keccak256("pi-protocol/verdicts/1");
    bytes32 internal constant VOTE_DOMAIN = keccak256("pi-protocol/vote/1");
    bytes32 internal constant AUDIT_DOMAIN = keccak256("pi-protocol/audit/1");
    bytes32 internal constant PLANT_DOMAIN = keccak256("pi-protocol/plant/1");
    bytes32 internal constant AUDITOR_DOMAIN = keccak256("pi-protocol/auditor/1");
    bytes32 internal constant JURY_DOMAIN = keccak256("pi-protocol/jury/1");

    function commitment(address ledger, uint256 poolId, uint256 round, address node, Reveal memory r)
        internal
        view
        returns (bytes32)
    {
        bytes memory head = abi.encode(COMMITMENT_DOMAIN, block.chainid, ledger, poolId, round, node);
        return keccak256(bytes.concat(head, abi.encode(r)));
    }

    /// @dev The same of a reveal in calldata, where its eight words already lie as they are hashed.
    function commitmentOf(address ledger, uint256 poolId, uint256 round, address node, Reveal calldata r)
        internal
        view
        returns (bytes32 hash)
    {
        bytes memory head = abi.encode(COMMITMENT_DOMAIN, block.chainid, ledger, poolId, round, node);
        assembly ("memory-safe") {
            // Behind the free memory pointer, where nothing has to stay.
            let size := mload(head)
            let start := add(head, 32)
            calldatacopy(add(start, size), r, 256)
            hash := keccak256(start, add(size, 256))
        }
    }

    /// @dev Extends the accumulator of a round by one reveal.
    function accumulate(
        bytes32 accumulator,
        address node,
        bytes32 startRoot,
        bytes32 updateRoot,
        uint128 norm,
        uint16 width
    ) internal pure returns (bytes32) {
        return keccak256(abi.encode(ACCUMULATOR_DOMAIN, accumulator, node, startRoot, updateRoot, norm, width));
    }

    function verdicts(
        address court,
        uint256 poolId,
        uint256 round,
        address validator,
        ICourt.Verdict[] memory list,
        bytes32 salt
    ) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                VERDICTS_DOMAIN, block.chainid, court, poolId, round, validator, keccak256(abi.encode(list)), salt
            )
        );
    }

    function vote(address court, uint256 caseId, address juror, ICourt.Outcome outcome, bytes32 digest, bytes32 salt)
        internal
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(VOTE_DOMAIN, block.chainid, court, caseId, juror, outcome, digest, salt));
    }

    /// @dev A slot that its pool's creator plants. The salt hides which one.
    function plant(address pools, uint256 poolId, uint256 round, address node, bytes32 salt)
        internal
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(PLANT_DOMAIN, block.chainid, pools, poolId, round, node, salt));
    }

    /// @dev What a lock in the stake manager is for: its kind (at most 32 bytes of text), and two numbers or addresses.
    function lockId(bytes32 kind, uint256 a, uint256 b) internal pure returns (bytes32) {
        return keccak256(abi.encode(kind, a, b));
    }

    /// @dev Basis points in [0, 10000): below the audit rate means audited.
    function auditDraw(bytes32 seed, address node) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(AUDIT_DOMAIN, seed, node))) % 10_000;
    }

    /// @dev Where the search for the k-th auditor of a slot starts among n seats.
    function auditorDraw(bytes32 seed, address node, uint256 k, uint256 n) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(AUDITOR_DOMAIN, seed, node, k))) % n;
    }

    /// @dev Where the search for the k-th juror of a case starts among n seats.
    function jurorDraw(bytes32 seed, uint256 caseId, uint256 k, uint256 n) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(JURY_DOMAIN, seed, caseId, k))) % n;
    }
}
