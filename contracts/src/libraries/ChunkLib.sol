// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {OuterRule} from "../interfaces/IPools.sol";
import {OuterLib} from "./OuterLib.sol";

/// @title Decoding one chunk of an update file.
/// @notice Mirrors `pi_train/codecs.py`, where the formats are written down. A value has one encoding; a chunk that is not
/// one is malformed, which is a finding about whoever wrote it and never an error here.
library ChunkLib {
    uint8 internal constant SPARSE = 1;
    uint8 internal constant INT8 = 2;

    uint256 internal constant SPARSE_VALUES = 4096;
    /// Leaves that a sparse chunk covers.
    uint256 internal constant SPARSE_LEAVES = SPARSE_VALUES / OuterLib.LEAF;

    uint256 private constant INT32_MAX = (1 << 31) - 1;
    /// Neither an int8 nor an int32.
    int256 private constant NO_VALUE = type(int256).min;

    // ---------------------------------------------------------------------------------------------- shape

    function valuesPerChunk(OuterRule memory rule) internal pure returns (uint256) {
        return rule.codec == SPARSE ? SPARSE_VALUES : OuterLib.LEAF;
    }

    function chunkCount(OuterRule memory rule) internal pure returns (uint256) {
        uint256 size = valuesPerChunk(rule);
        return (uint256(rule.parameters) + size - 1) / size;
    }

    /// @dev The chunk that has the values of a leaf.
    function chunkOf(OuterRule memory rule, uint256 leaf) internal pure returns (uint256) {
        return rule.codec == SPARSE ? leaf / SPARSE_LEAVES : leaf;
    }

    /// @dev Values in a chunk, whose `index` is below `chunkCount`: the last one may be shorter.
    function valuesIn(OuterRule memory rule, uint256 index) internal pure returns (uint256) {
        uint256 size = valuesPerChunk(rule);
        uint256 left = uint256(rule.parameters) - index * size;
        return left < size ? left : size;
    }

    // ---------------------------------------------------------------------------------------------- decoding

    /// @notice Adds weight * value to the sums of one leaf, for the values that the chunk has there.
    /// @param leaf below the number of leaves
    /// @param weight below 2^32. INVARIANT: |value| <= 2^31, so the sums fit int64 while all weights together stay below
    /// 2^32; the caller sees to that
    /// @return wellFormed whether the whole chunk is one that the codec writes; where it is not, the sums are worthless
    function addTo(int64[256] memory sums, OuterRule memory rule, uint256 leaf, bytes calldata chunk, uint256 weight)
        internal
        pure
        returns (bool wellFormed)
    {
        uint256 values = valuesIn(rule, chunkOf(rule, leaf));
        uint256 step;
        if (rule.codec == SPARSE) {
            uint256 kept = rule.k < values ? rule.k : values;
            if (chunk.length != 2 + (14 * kept + 7) / 8) return false;
            (wellFormed, step) = _step(rule, chunk, 3);
            return wellFormed && _hasNormalTail(chunk, kept, step == 0)
                && _addSparse(sums, chunk, values, kept, leaf % SPARSE_LEAVES, step * weight);
        }
        if (rule.codec == INT8) {
            if (chunk.length != 2 + values) return false;
            (wellFormed, step) = _step(rule, chunk, 127);
            (bool clean, bool zero) = _addDense(sums, chunk[2:], 1, type(int8).min, step * weight);
            return wellFormed && clean && (step != 0 || zero);
        }
        if (chunk.length != 4 * values) return false;
        (wellFormed,) = _addDense(sums, chunk, 4, NO_VALUE, weight);
    }

    /// @notice Sum of squares of all values of a chunk, below 2^75.
    /// @dev Decodes leaf by leaf, so that there is one decoder: a norm is disproved once, not in every round.
    /// @param index of the chunk, below `chunkCount`
    /// @return wellFormed whether the chunk is one that the codec writes; where it is not, the sum is worthless
    function squaresOf(OuterRule memory rule, uint256 index, bytes calldata chunk)
        internal
        pure
        returns (bool wellFormed, uint256 squares)
    {
        uint256 first = index * (valuesPerChunk(rule) / OuterLib.LEAF);
        uint256 leaves = (valuesIn(rule, index) + OuterLib.LEAF - 1) / OuterLib.LEAF;
        int64[256] memory values;
        for (uint256 leaf = first; leaf < first + leaves; ++leaf) {
            if (!addTo(values, rule, leaf, chunk, 1)) return (false, 0);
            for (uint256 i; i < OuterLib.LEAF; ++i) {
                int256 value = values[i];
                values[i] = 0;
                unchecked {
                    squares += uint256(value * value); // |value| <= 2^31
                }
            }
        }
        return (true, squares);
    }

    // ---------------------------------------------------------------------------------------------- formats

    /// @dev The step in the first two bytes: an 11-bit mantissa and a 5-bit shift, normalised.
    /// @param levels largest factor that a value of this codec has on its step; it must still fit int32
    function _step(OuterRule memory rule, bytes calldata chunk, uint256 levels)
        private
        pure
        returns (bool wellFormed, uint256 step)
    {
        uint256 code = uint16(bytes2(chunk[:2]));
        uint256 mantissa = code >> 5;
        uint256 shift = code & 31;
        step = mantissa << shift;
        wellFormed = (shift == 0 || mantissa >= 1024) && step <= rule.maxStep && step <= INT32_MAX / levels;
    }

    /// @dev What follows a sparse chunk's indices: the bits behind the last level are zero, and with a step of zero every
    /// level has the code 2.
    function _hasNormalTail(bytes calldata chunk, uint256 kept, bool zero) private pure returns (bool) {
        uint256 used = 16 + 14 * kept;
        uint256 padding = 8 * chunk.length - used;
        if (uint8(chunk[chunk.length - 1]) & ((1 << padding) - 1) != 0) return false;
        if (!zero) return true;
        for (uint256 bit = 16 + 12 * kept; bit < used; bit += 2) {
            if ((uint8(chunk[bit / 8]) >> (6 - bit % 8)) & 3 != 2) return false;
        }
        return true;
    }

    /// @dev Indices are 12 bits each and ascend; a level has 2 bits. `page` is the leaf's place in the chunk.
    /// @return wellFormed whether the indices ascend inside the chunk
    function _addSparse(
        int64[256] memory sums,
        bytes calldata chunk,
        uint256 values,
        uint256 kept,
        uint256 page,
        uint256 scale
    ) private pure returns (bool wellFormed) {
        // Assembly: this runs for every index of every update of a proof, and is most of its gas. Words are read inside the
        // chunk, or what they have behind its end is shifted away.
        assembly ("memory-safe") {
            let body := add(chunk.offset, 2)
            let next := 0 // the smallest index that may follow
            wellFormed := 1
            for { let i := 0 } lt(i, kept) { i := add(i, 1) } {
                let bit := mul(12, i)
                let index := and(shr(sub(244, and(bit, 4)), calldataload(add(body, shr(3, bit)))), 0xfff)
                if lt(index, next) { wellFormed := 0 }
                next := add(index, 1)
                if eq(shr(8, index), page) {
                    bit := add(mul(12, kept), mul(2, i))
                    let code := and(shr(sub(254, and(bit, 7)), calldataload(add(body, shr(3, bit)))), 3)
                    let sum := add(sums, mul(32, and(index, 0xff)))
                    mstore(sum, add(mload(sum), mul(scale, sub(mul(2, code), 3)))) // levels -3, -1, 1, 3
                }
            }
            if gt(next, values) { wellFormed := 0 }
        }
    }

    /// @dev Values of `size` bytes each, at most 256 of them.
    /// @return clean whether none is the forbidden one
    /// @return zero whether all are zero
    function _addDense(int64[256] memory sums, bytes calldata body, uint256 size, int256 forbidden, uint256 scale)
        private
        pure
        returns (bool clean, bool zero)
    {
        // Assembly: 256 values per update of a proof, where a checked read of one costs more than all the work on it.
        assembly ("memory-safe") {
            let unused := sub(256, mul(8, size))
            let end := add(body.offset, body.length)
            let any := 0
            clean := 1
            for { let at := body.offset } lt(at, end) { at := add(at, size) } {
                let value := sar(unused, calldataload(at))
                if eq(value, forbidden) { clean := 0 }
                any := or(any, value)
                mstore(sums, add(mload(sums), mul(scale, value)))
                sums := add(sums, 32)
            }
            zero := iszero(any)
        }
    }
}
