// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IFraudProofs} from "../interfaces/IFraudProofs.sol";

/// @title The sha256 trees over checkpoints and updates.
/// @notice Mirrored by `pi_sdk/codec.py`. Every hash starts with a byte that says what it is of: 0x00 a leaf, 0x01 an inner
/// node, 0x02 the root of a Merkle-sum tree. With that and with the length of a path fixed by the number of leaves, nothing
/// but the leaf at a place can be shown there.
library TreeLib {
    /// One sibling in a Merkle-sum path: its hash and its sum.
    uint256 internal constant SUM_SIBLING = 48;

    /// @dev Length of the paths in a tree over `leaves` leaves, which is padded to a power of two.
    function depthOf(uint256 leaves) internal pure returns (uint256 depth) {
        while ((uint256(1) << depth) < leaves) ++depth;
    }

    function leafHash(bytes memory data) internal pure returns (bytes32) {
        return sha256(bytes.concat(hex"00", data));
    }

    /// @dev Root of the tree in which `hash` is at `index`; the path's length is the caller's to check.
    function rootOf(bytes32 hash, uint256 index, bytes32[] calldata siblings) internal pure returns (bytes32) {
        for (uint256 i; i < siblings.length; ++i) {
            hash = (index >> i) & 1 == 0
                ? sha256(bytes.concat(hex"01", hash, siblings[i]))
                : sha256(bytes.concat(hex"01", siblings[i], hash));
        }
        return hash;
    }

    /// @dev Root of the Merkle-sum tree in which (hash, sum) is at `index`. Sums add up by construction, and must fit their
    /// 16 bytes. The path's length is the caller's to check.
    function sumRootOf(bytes32 hash, uint128 sum_, uint256 index, bytes calldata siblings)
        internal
        view
        returns (bytes32)
    {
        uint256 levels = siblings.length / SUM_SIBLING;
        uint256 sum = sum_;
        bool fits = true;
        // Assembly: a proof has a path per update, and `bytes.concat` would allocate and copy for each of its nodes. The
        // 97 bytes of a node are built behind the free memory pointer, where nothing has to stay.
        assembly ("memory-safe") {
            let node := mload(0x40)
            mstore8(node, 0x01)
            let at := siblings.offset
            for { let i := 0 } lt(i, levels) { i := add(i, 1) } {
                let sibling := calldataload(at)
                let beside := shr(128, calldataload(add(at, 32)))
                switch and(shr(i, index), 1)
                case 0 {
                    mstore(add(node, 1), hash)
                    mstore(add(node, 33), shl(128, sum))
                    mstore(add(node, 49), sibling)
                    mstore(add(node, 81), shl(128, beside))
                }
                default {
                    mstore(add(node, 1), sibling)
                    mstore(add(node, 33), shl(128, beside))
                    mstore(add(node, 49), hash)
                    mstore(add(node, 81), shl(128, sum))
                }
                // A failed call (out of gas) must not leave an old hash standing.
                if iszero(staticcall(gas(), 2, node, 97, 0, 32)) { revert(0, 0) }
                hash := mload(0)
                sum := add(sum, beside)
                fits := and(fits, iszero(shr(128, sum)))
                at := add(at, 48)
            }
        }
        require(fits, IFraudProofs.BadProof("sums"));
        return sumRoot(hash, uint128(sum));
    }

    /// @dev What an update's root is made of: the top node and its sum.
    function sumRoot(bytes32 top, uint128 sum) internal pure returns (bytes32) {
        return sha256(bytes.concat(hex"02", top, bytes16(sum)));
    }

    /// @dev Hash of an inner node of a Merkle-sum tree.
    function sumNode(IFraudProofs.SumNode calldata node) internal pure returns (bytes32) {
        return sha256(bytes.concat(hex"01", node.left, bytes16(node.leftSum), node.right, bytes16(node.rightSum)));
    }
}
