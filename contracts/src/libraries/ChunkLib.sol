// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IFraudProofs} from "../interfaces/IFraudProofs.sol";
import {OuterRule} from "../interfaces/IPools.sol";
import {DctLib} from "./DctLib.sol";
import {OuterLib} from "./OuterLib.sol";

/// @title Decoding one chunk of an update file.
/// @notice Mirrors `pi_train/codecs.py`, where the formats are written down. A value has one encoding; a chunk that is not
/// one is malformed, which is a finding about whoever wrote it and never an error here.
library ChunkLib {
    uint8 internal constant SPARSE = 1;
    uint8 internal constant INT8 = 2;
    uint8 internal constant DCT = 4;

    uint256 internal constant SPARSE_VALUES = 4096;
    uint256 internal constant DCT_VALUES = 1024;

    uint256 private constant INT32_MAX = (1 << 31) - 1;
    /// Where the indices of a sparse chunk and the sets of a dct-topk chunk start, in bits.
    uint256 private constant INDICES = 16;
    /// Transforms per leaf.
    uint256 private constant LEAF_BLOCKS = OuterLib.LEAF / DctLib.SIZE;

    /// @dev What a pool's codec makes of one chunk.
    struct Shape {
        uint256 codec;
        uint256 values;
        uint256 kept; // sparse-2bit: values; dct-topk: coefficients of each 64
        uint256 rankBits; // dct-topk: of the number of a set of coefficients
        uint256 length; // bytes
        uint256 maxStep; // such that its largest multiple is an int32; 0 for a codec without steps
    }

    // ---------------------------------------------------------------------------------------------- shape

    function valuesPerChunk(OuterRule memory rule) internal pure returns (uint256) {
        if (rule.codec == SPARSE) return SPARSE_VALUES;
        return rule.codec == DCT ? DCT_VALUES : OuterLib.LEAF;
    }

    function chunkCount(OuterRule memory rule) internal pure returns (uint256) {
        uint256 size = valuesPerChunk(rule);
        return (uint256(rule.parameters) + size - 1) / size;
    }

    /// @dev The chunk that has the values of a leaf, and the leaf's place among those that the chunk covers.
    function chunkOf(OuterRule memory rule, uint256 leaf) internal pure returns (uint256 chunk, uint256 page) {
        uint256 leaves = valuesPerChunk(rule) / OuterLib.LEAF;
        return (leaf / leaves, leaf % leaves);
    }

    /// @dev The shape of a chunk, whose `index` is below `chunkCount`: the last one may be shorter.
    function shapeOf(OuterRule memory rule, uint256 index) internal pure returns (Shape memory shape) {
        uint256 size = valuesPerChunk(rule);
        uint256 left = rule.parameters - index * size;
        shape.codec = rule.codec;
        shape.values = left < size ? left : size;
        if (rule.codec == SPARSE) {
            shape.kept = rule.k < shape.values ? rule.k : shape.values;
            shape.length = 2 + (14 * shape.kept + 7) / 8;
            shape.maxStep = INT32_MAX / 3;
        } else if (rule.codec == INT8) {
            shape.length = 2 + shape.values;
            shape.maxStep = INT32_MAX / 127;
        } else if (rule.codec == DCT) {
            shape.kept = rule.k;
            shape.rankBits = DctLib.rankBits(DctLib.setCount(rule.k));
            shape.length = 2 + (_blocks(shape.values) * (shape.rankBits + rule.k) + 7) / 8;
            shape.maxStep = INT32_MAX / 8;
        } else {
            shape.length = 4 * shape.values;
        }
        if (rule.maxStep < shape.maxStep) shape.maxStep = rule.maxStep;
    }

    // ---------------------------------------------------------------------------------------------- form

    /// @notice Whether a chunk is one that the codec writes.
    function isWellFormed(Shape memory shape, bytes calldata chunk) internal pure returns (bool) {
        (bool fits, uint256 step) = _open(shape, chunk);
        if (!fits) return false;
        if (shape.codec == SPARSE) return _isSparse(chunk, shape.kept, shape.values, step == 0);
        if (shape.codec == INT8) return _isInt8(chunk, step == 0);
        if (shape.codec == DCT) return _isDct(shape, chunk, step == 0);
        return true; // all bytes are int32
    }

    /// @dev Indices ascend inside the chunk, the bits behind the last level are zero, and with a step of zero every level
    /// has the code 2.
    function _isSparse(bytes calldata chunk, uint256 kept, uint256 values, bool zero) private pure returns (bool) {
        uint256 next; // smallest index that may follow
        for (uint256 i; i < kept; ++i) {
            uint256 index = _bits(chunk, INDICES + 12 * i, 12);
            if (index < next || (zero && _bits(chunk, INDICES + 12 * kept + 2 * i, 2) != 2)) return false;
            next = index + 1;
        }
        uint256 used = INDICES + 14 * kept;
        return next <= values && (used % 8 == 0 || _bits(chunk, used, 8 - used % 8) == 0);
    }

    function _isInt8(bytes calldata chunk, bool zero) private pure returns (bool) {
        for (uint256 i = 2; i < chunk.length; ++i) {
            if (chunk[i] == 0x80 || (zero && chunk[i] != 0)) return false;
        }
        return true;
    }

    /// @dev Ranks are of sets, the bits behind the last sign are zero, and with a step of zero all bits are.
    function _isDct(Shape memory shape, bytes calldata chunk, bool zero) private pure returns (bool) {
        uint256 sets = DctLib.setCount(shape.kept);
        uint256 blocks = _blocks(shape.values);
        uint256 at = INDICES;
        for (uint256 i; i < blocks; ++i) {
            uint256 rank = _bits(chunk, at, shape.rankBits);
            at += shape.rankBits;
            if (rank >= sets || (zero && (rank != 0 || _bits(chunk, at, shape.kept) != 0))) return false;
            at += shape.kept;
        }
        return at % 8 == 0 || _bits(chunk, at, 8 - at % 8) == 0;
    }

    // ---------------------------------------------------------------------------------------------- values

    /// @notice Adds weight * value to the sums of one leaf, for the values that the chunk has there.
    /// @dev Exact for a chunk that is well-formed. Of any other it checks only that the sums cannot overflow: where one is
    /// counted, the close is wrong whatever it decodes to, so an honest poster loses nothing by what is read from it.
    /// @param page place of the leaf among those of the chunk
    /// @param weight below 2^32. INVARIANT: |value| <= 2^31, so the sums fit int64 while all weights together stay below
    /// 2^32; the caller sees to that
    function addTo(int64[256] memory sums, Shape memory shape, uint256 page, bytes calldata chunk, uint256 weight)
        internal
        pure
    {
        (bool fits, uint256 step) = _open(shape, chunk);
        require(fits, IFraudProofs.BadProof("malformed"));
        if (shape.codec == SPARSE) _addSparse(sums, chunk, shape.kept, page, step * weight);
        else if (shape.codec == INT8) _addDense(sums, chunk[2:], 1, step * weight);
        else if (shape.codec == DCT) _addDct(sums, shape, chunk, page, step, weight);
        else _addDense(sums, chunk, 4, weight);
    }

    /// @notice Sum of squares of all values of a well-formed chunk, below 2^75.
    /// @dev Leaf by leaf, so that there is one decoder: a norm is disproved once, not in every round.
    function squaresOf(Shape memory shape, bytes calldata chunk) internal pure returns (uint256 squares) {
        uint256 pages = (shape.values + OuterLib.LEAF - 1) / OuterLib.LEAF;
        int64[256] memory values;
        for (uint256 page; page < pages; ++page) {
            addTo(values, shape, page, chunk, 1);
            for (uint256 i; i < OuterLib.LEAF; ++i) {
                int256 value = values[i];
                values[i] = 0;
                unchecked {
                    squares += uint256(value * value); // |value| <= 2^31
                }
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- bytes

    /// @dev Checks the length of a chunk and, where the codec has one, the step in its first two bytes: an 11-bit mantissa and
    /// a 5-bit shift, normalised.
    function _open(Shape memory shape, bytes calldata chunk) private pure returns (bool fits, uint256 step) {
        if (chunk.length != shape.length) return (false, 0);
        if (shape.maxStep == 0) return (true, 1);
        uint256 code = _bits(chunk, 0, 16);
        uint256 mantissa = code >> 5;
        uint256 shift = code & 31;
        step = mantissa << shift;
        fits = (shift == 0 || mantissa >= 1024) && step <= shape.maxStep;
    }

    /// @dev Transforms of a dct-topk chunk: its last one may reach beyond the values.
    function _blocks(uint256 values) private pure returns (uint256) {
        return (values + DctLib.SIZE - 1) / DctLib.SIZE;
    }

    /// @dev `width` bits, 64 at most, of a chunk that has them.
    function _bits(bytes calldata chunk, uint256 at, uint256 width) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            let word := shl(and(at, 7), calldataload(add(chunk.offset, shr(3, at))))
            value := shr(sub(256, width), word)
        }
    }

    /// @dev Indices are 12 bits each and ascend, so the first one of the leaf is found by bisection; a level has 2 bits.
    /// @param page the leaf's place in the chunk
    function _addSparse(int64[256] memory sums, bytes calldata chunk, uint256 kept, uint256 page, uint256 scale)
        private
        pure
    {
        // Assembly: this runs for every update of a proof, and checked reads of calldata would be most of its gas.
        assembly ("memory-safe") {
            function bits(at, unused) -> value {
                value := shr(unused, shl(and(at, 7), calldataload(shr(3, at))))
            }
            let indices := shl(3, add(chunk.offset, 2))
            let from := shl(8, page)
            let i := 0
            for { let high := kept } lt(i, high) {} {
                let middle := shr(1, add(i, high))
                switch lt(bits(add(indices, mul(12, middle)), 244), from)
                case 0 { high := middle }
                default { i := add(middle, 1) }
            }
            let levels := add(indices, mul(12, kept))
            for {} lt(i, kept) { i := add(i, 1) } {
                let place := sub(bits(add(indices, mul(12, i)), 244), from)
                if gt(place, 0xff) { break }
                let sum := add(sums, shl(5, place))
                let level := sub(shl(1, bits(add(levels, shl(1, i)), 254)), 3) // -3, -1, 1, 3
                mstore(sum, add(mload(sum), mul(scale, level)))
            }
        }
    }

    /// @dev Each 64 values are those of k coefficients.
    function _addDct(
        int64[256] memory sums,
        Shape memory shape,
        bytes calldata chunk,
        uint256 page,
        uint256 step,
        uint256 weight
    ) private pure {
        bytes memory cosines = DctLib.COSINES;
        int256[64] memory values;
        uint256 end = _blocks(shape.values);
        if (end > (page + 1) * LEAF_BLOCKS) end = (page + 1) * LEAF_BLOCKS;
        for (uint256 i = page * LEAF_BLOCKS; i < end; ++i) {
            _invert(values, cosines, shape, chunk, i);
            uint256 left = shape.values - i * DctLib.SIZE;
            uint256 count = left < DctLib.SIZE ? left : DctLib.SIZE;
            _addScaled(sums, i % LEAF_BLOCKS * DctLib.SIZE, values, count, step, weight);
        }
    }

    /// @dev The values, in 2^-16, of one transform of a chunk.
    function _invert(
        int256[64] memory values,
        bytes memory cosines,
        Shape memory shape,
        bytes calldata chunk,
        uint256 index
    ) private pure {
        (uint256 width, uint256 kept) = (shape.rankBits, shape.kept);
        uint256 at = INDICES + index * (width + kept);
        DctLib.inverse(values, cosines, _bits(chunk, at, width), _bits(chunk, at + width, kept), kept);
    }

    /// @dev Adds weight * (step * value / 2^16, half away from zero) to the sums from `place` on, for `count` values.
    function _addScaled(
        int64[256] memory sums,
        uint256 place,
        int256[64] memory values,
        uint256 count,
        uint256 step,
        uint256 weight
    ) private pure {
        // Assembly, as above. sar(255, x) is -1 for a negative x, whose halves round down.
        assembly ("memory-safe") {
            let sum := add(sums, shl(5, place))
            let end := add(values, shl(5, count))
            for { let at := values } lt(at, end) { at := add(at, 32) } {
                let scaled := mul(step, mload(at))
                let value := sar(16, add(add(scaled, 0x8000), sar(255, scaled)))
                mstore(sum, add(mload(sum), mul(weight, value)))
                sum := add(sum, 32)
            }
        }
    }

    /// @dev Signed values of `size` bytes each, at most 256 of them.
    function _addDense(int64[256] memory sums, bytes calldata body, uint256 size, uint256 scale) private pure {
        // Assembly: 256 values per update of a proof, where a checked read of one costs more than all the work on it.
        assembly ("memory-safe") {
            let unused := sub(256, shl(3, size))
            let end := add(body.offset, body.length)
            for { let at := body.offset } lt(at, end) { at := add(at, size) } {
                mstore(sums, add(mload(sums), mul(scale, sar(unused, calldataload(at)))))
                sums := add(sums, 32)
            }
        }
    }
}
