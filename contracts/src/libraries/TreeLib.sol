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

    /// @dev The same of calldata. Assembly, for a proof hashes one of these per update: the bytes are laid behind the free
    /// memory pointer, where nothing has to stay.
    function leafHashOf(bytes calldata data) internal view returns (bytes32 hash) {
        assembly ("memory-safe") {
            let leaf := mload(0x40)
            mstore8(leaf, 0x00)
            calldatacopy(add(leaf, 1), data.offset, data.length)
            // A failed call (out of gas) must not leave an old hash standing.
            if iszero(staticcall(gas(), 2, leaf, add(data.length, 1), 0, 32)) { revert(0, 0) }
            hash := mload(0)
        }
    }

    /// @dev Root of the tree in which `hash` is at `index`; the path's length is the caller's to check.
    function rootOf(bytes32 hash, uint256 index, bytes32[] calldata siblings) internal view returns (bytes32 root) {
        // Assembly as below, with 65 bytes to a node.
        assembly ("memory-safe") {
            let node := mload(0x40)
            mstore8(node, 0x01)
            let end := add(siblings.offset, shl(5, siblings.length))
            for { let at := siblings.offset } lt(at, end) { at := add(at, 32) } {
                let shift := shl(5, and(index, 1))
                index := shr(1, index)
                mstore(add(add(node, 1), shift), hash)
                mstore(sub(add(node, 33), shift), calldataload(at))
                // A failed call (out of gas) must not leave an old hash standing.
                if iszero(staticcall(gas(), 2, node, 65, 0, 32)) { revert(0, 0) }
                hash := mload(0)
            }
            root := hash
        }
    }

    /// @dev Root of the Merkle-sum tree in which (hash, sum) is at `index`. Sums add up by construction, and must fit their
    /// 16 bytes. The path's length is the caller's to check.
    function sumRootOf(bytes32 hash, uint128 sum, uint256 index, bytes calldata siblings)
        internal
        view
        returns (bytes32 root)
    {
        uint256 total = sum; // grows on the way up, so only the last one has to be checked
        // Assembly, for a proof has a path per update: 97 bytes of a node are laid behind the free memory pointer, and one of
        // its children comes from calldata as it is.
        assembly ("memory-safe") {
            let node := mload(0x40)
            let left := add(node, 1)
            let right := add(node, 49)
            let end := add(siblings.offset, siblings.length)
            mstore8(node, 0x01)
            for { let at := siblings.offset } lt(at, end) { at := add(at, 48) } {
                let shift := mul(48, and(index, 1))
                index := shr(1, index)
                // Ours first: its second word reaches 16 bytes beyond it.
                let ours := add(left, shift)
                mstore(ours, hash)
                mstore(add(ours, 32), shl(128, total))
                calldatacopy(sub(right, shift), at, 48)
                // A failed call (out of gas) must not leave an old hash standing.
                if iszero(staticcall(gas(), 2, node, 97, 0, 32)) { revert(0, 0) }
                hash := mload(0)
                total := add(total, shr(128, calldataload(add(at, 32))))
            }
            mstore8(node, 0x02)
            mstore(left, hash)
            mstore(add(left, 32), shl(128, total))
            if iszero(staticcall(gas(), 2, node, 49, 0, 32)) { revert(0, 0) }
            root := mload(0)
        }
        require(total <= type(uint128).max, IFraudProofs.BadProof("sums"));
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
