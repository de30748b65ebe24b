// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {OuterRule} from "../interfaces/IPools.sol";

/// @title The outer step in integers, one leaf of 256 parameters at a time.
/// @notice Mirrors `pi_train/outer.py` bit for bit: every division rounds half away from zero, parameters saturate to int32,
/// momentum to +-(2^46 - 1).
/// @dev Unchecked throughout. INVARIANT: an update's value fits int32, a factor 17 bits and a total width 15, so a sum is
/// below 2^63; a leaf's parameters are int32 and its momentum int64, a rule's numbers uint32. No product of two of these,
/// and no sum of a few, comes near 2^255.
library OuterLib {
    uint256 internal constant LEAF = 256;
    /// Above it the sums would not be sure to fit int64, here and in every worker.
    uint256 internal constant MAX_TOTAL_WIDTH = (1 << 15) - 1;
    uint8 internal constant NESTEROV = 1;
    uint8 internal constant SIGN = 2;

    /// Fragments start at multiples of it, where chunks of every codec start.
    uint256 private constant UNIT = 4096;
    /// A guard never skips its first rounds, nor more than two in a row.
    uint256 private constant GUARD_ROUNDS = 8;
    uint256 private constant MOST_SKIPPED = 2;
    int256 private constant MOMENTUM_MAX = (1 << 46) - 1;
    uint256 private constant THETA_BYTES = 4;
    uint256 private constant MOMENTUM_BYTES = 8;

    function leafCount(OuterRule memory rule) internal pure returns (uint256) {
        return (uint256(rule.parameters) + LEAF - 1) / LEAF;
    }

    /// @dev Parameters of each fragment; the last one may have fewer.
    function fragmentSize(uint256 parameters, uint256 fragments) internal pure returns (uint256) {
        if (fragments == 1) return parameters;
        uint256 unit = UNIT * fragments;
        return (parameters + unit - 1) / unit * UNIT;
    }

    /// @notice Narrows a rule to the fragment that a round moves: its parameters, and so the chunks of an update, are those.
    /// @return firstLeaf of the fragment
    function narrow(OuterRule memory rule, uint256 round) internal pure returns (uint256 firstLeaf) {
        uint256 size = fragmentSize(rule.parameters, rule.fragments);
        uint256 first = round % rule.fragments * size;
        uint256 left = rule.parameters - first;
        rule.parameters = uint64(left < size ? left : size);
        return first / LEAF;
    }

    /// @dev The leaf behind those of the parameters, where a rule has a guard: four big-endian uint64 for each fragment.
    function guardBytes(OuterRule memory rule) internal pure returns (uint256) {
        return rule.guard == 0 ? 0 : 32 * uint256(rule.fragments);
    }

    /// @notice The guards after a round, and whether it is skipped: then it moves no parameter.
    /// @param before running means of the median norms and of their deviations, rounds, rounds skipped in a row; for each
    /// fragment
    function guarded(OuterRule memory rule, bytes calldata before, uint256 fragment, uint256 norm)
        internal
        pure
        returns (bytes memory next, bool skip)
    {
        next = before;
        uint256 word = uint256(bytes32(before[32 * fragment:32 * fragment + 32]));
        uint256 mean = word >> 192;
        uint256 deviation = uint64(word >> 128);
        uint256 rounds = uint64(word >> 64);
        uint256 skipped = uint64(word);
        if (norm > type(uint64).max) norm = type(uint64).max;
        if (rounds >= GUARD_ROUNDS && norm > mean + rule.guard * (deviation > mean / 16 ? deviation : mean / 16)) {
            skip = skipped < MOST_SKIPPED;
            if (!skip) rounds = 0; // the third in a row starts anew
        }
        if (skip) {
            ++skipped;
        } else if (rounds == 0) {
            (mean, deviation, rounds, skipped) = (norm, 0, 1, 0);
        } else {
            deviation = (7 * deviation + (norm > mean ? norm - mean : mean - norm)) / 8;
            mean = (7 * mean + norm) / 8;
            (rounds, skipped) = (rounds + 1, 0);
        }
        word = mean << 192 | deviation << 128 | uint256(uint64(rounds)) << 64 | uint64(skipped);
        assembly ("memory-safe") {
            mstore(add(next, add(32, shl(5, fragment))), word)
        }
    }

    function leafBytes(OuterRule memory rule) internal pure returns (uint256) {
        return LEAF * (rule.rule == NESTEROV ? THETA_BYTES + MOMENTUM_BYTES : THETA_BYTES);
    }

    /// @dev Q16 factor that bounds a norm by the median of the norms.
    function factor(uint256 norm, uint256 median) internal pure returns (uint256) {
        unchecked {
            return norm <= median ? 1 << 16 : (median << 16) / norm;
        }
    }

    /// @dev a / b, half away from zero. b is positive and even. `sign` is -1 or 0, and (x ^ sign) - sign is x or -x.
    function divide(int256 a, uint256 b) internal pure returns (int256) {
        unchecked {
            int256 sign = a >> 255;
            uint256 size = uint256((a ^ sign) - sign);
            return (int256((size + (b >> 1)) / b) ^ sign) - sign;
        }
    }

    /// @dev a / 2^16, half away from zero: a >> 255 is -1 for a negative one, whose halves round down.
    function divideQ16(int256 a) internal pure returns (int256) {
        unchecked {
            return (a + 0x8000 + (a >> 255)) >> 16;
        }
    }

    function clamp(int256 x, int256 low, int256 high) internal pure returns (int256) {
        return x < low ? low : x > high ? high : x;
    }

    /// @dev The momentum that follows, and the step that the parameter then takes.
    function nesterov(int256 momentum, int256 mean, int256 decay) internal pure returns (int256 next, int256 step) {
        unchecked {
            next = clamp(divideQ16(decay * momentum) + mean, -MOMENTUM_MAX, MOMENTUM_MAX);
            step = mean + divideQ16(decay * next);
        }
    }

    /// @dev theta - lr * step. Python cuts a step at 2^62 / lr to stay inside 64 bits; theta saturates long before.
    function descend(int256 theta, int256 step, int256 lr) internal pure returns (int256) {
        unchecked {
            int256 next = theta - divideQ16(lr * step);
            return int32(next) == next ? next : next < 0 ? int256(type(int32).min) : int256(type(int32).max);
        }
    }

    /// @notice The leaf after the outer step.
    /// @param before the leaf: 256 int32 big-endian, then 256 int64 where the rule has momentum
    /// @param sums width * factor * value, added up over the updates that count, for each parameter of the leaf
    /// @param totalWidth of these updates; not zero
    function nextLeaf(OuterRule memory rule, bytes calldata before, int64[256] memory sums, uint256 totalWidth)
        internal
        pure
        returns (bytes memory leaf)
    {
        leaf = before;
        uint256 divisor = totalWidth << 16;
        if (rule.rule == NESTEROV) _nesterov(leaf, sums, divisor, rule.lr, rule.momentum);
        else if (rule.rule == SIGN) _sign(leaf, sums, rule.lr);
        else _sgd(leaf, sums, divisor, rule.lr);
    }

    /// @notice The sums of a trimmed mean: of `widths[i]` copies of each of `rows[i]`, without the `trim` basis points of all
    /// copies that are smallest, and as many that are largest, for each parameter of the leaf.
    /// @param rows factor * value, of which the first `count` are read; `totalWidth` is the sum of their widths
    /// @return sums as `nextLeaf` takes them
    /// @return kept the width that they are of
    function trimmed(int64[256][] memory rows, uint256[] memory widths, uint256 count, uint256 totalWidth, uint256 trim)
        internal
        pure
        returns (int64[256] memory sums, uint256 kept)
    {
        unchecked {
            uint256 cut = totalWidth * trim / 10_000;
            kept = totalWidth - 2 * cut;
            int256[] memory sorted = new int256[](count + 1);
            sorted[0] = type(int256).min;
            for (uint256 place; place < LEAF; ++place) {
                _sort(sorted, rows, widths, place);
                sums[place] = int64(_sumBetween(sorted, cut, cut + kept));
            }
        }
    }

    /// @dev Fills `sorted` behind its first word, the least of all, with value << 16 | width of as many rows, ascending: by
    /// insertion, since rows are few, and zeros, which most values of sparse updates are, stay where they come.
    function _sort(int256[] memory sorted, int64[256][] memory rows, uint256[] memory widths, uint256 place)
        private
        pure
    {
        // Assembly: with checked accesses the worst order would not fit into a transaction.
        assembly ("memory-safe") {
            let at := add(sorted, 64)
            let end := add(at, sub(shl(5, mload(sorted)), 32))
            let row := add(rows, 32)
            let width := add(widths, 32)
            for {} lt(at, end) { at := add(at, 32) } {
                let word := or(shl(16, mload(add(mload(row), shl(5, place)))), mload(width))
                let to := at
                let before := mload(sub(to, 32))
                for {} sgt(before, word) {} {
                    mstore(to, before)
                    to := sub(to, 32)
                    before := mload(sub(to, 32))
                }
                mstore(to, word)
                row := add(row, 32)
                width := add(width, 32)
            }
        }
    }

    /// @dev Sum of the copies from place `low` up to `high` of what `_sort` has left.
    function _sumBetween(int256[] memory sorted, uint256 low, uint256 high) private pure returns (int256 sum) {
        unchecked {
            uint256 before; // copies
            for (uint256 i = 1; i < sorted.length && before < high; ++i) {
                int256 word = sorted[i];
                uint256 end = before + uint16(uint256(word));
                uint256 from = before < low ? low : before;
                uint256 to = end < high ? end : high;
                if (from < to) sum += (word >> 16) * int256(to - from);
                before = end;
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- leaves

    /// @dev What nobody sent stays as it is, which is most of a sparse leaf.
    function _sgd(bytes memory leaf, int64[256] memory sums, uint256 divisor, uint32 lr) private pure {
        unchecked {
            for (uint256 i = _skipZeros(sums, 0); i < LEAF; i = _skipZeros(sums, i + 1)) {
                uint256 end = (i + 1) * THETA_BYTES;
                int256 mean = divide(sums[i], divisor);
                _store(leaf, end, THETA_BYTES, descend(_load(leaf, end, THETA_BYTES), mean, int256(uint256(lr))));
            }
        }
    }

    /// @dev The sign of a mean is that of its sum. A step of 1 in Q16: lr times it is lr, and nothing is rounded.
    function _sign(bytes memory leaf, int64[256] memory sums, uint32 lr) private pure {
        unchecked {
            for (uint256 i = _skipZeros(sums, 0); i < LEAF; i = _skipZeros(sums, i + 1)) {
                uint256 end = (i + 1) * THETA_BYTES;
                int256 step = sums[i] < 0 ? -int256(1 << 16) : int256(1 << 16);
                _store(leaf, end, THETA_BYTES, descend(_load(leaf, end, THETA_BYTES), step, int256(uint256(lr))));
            }
        }
    }

    /// @dev Behind the last parameter, leaf and sums hold zeros, which stay zeros.
    function _nesterov(bytes memory leaf, int64[256] memory sums, uint256 divisor, uint32 lr, uint32 decay)
        private
        pure
    {
        unchecked {
            for (uint256 i; i < LEAF; ++i) {
                uint256 end = LEAF * THETA_BYTES + (i + 1) * MOMENTUM_BYTES;
                (int256 momentum, int256 step) =
                    nesterov(_load(leaf, end, MOMENTUM_BYTES), divide(sums[i], divisor), int256(uint256(decay)));
                _store(leaf, end, MOMENTUM_BYTES, momentum);
                end = (i + 1) * THETA_BYTES;
                _store(leaf, end, THETA_BYTES, descend(_load(leaf, end, THETA_BYTES), step, int256(uint256(lr))));
            }
        }
    }

    /// @dev The first place from i on whose sum is not zero; 256 without one. Assembly, for most of a sparse leaf is zeros.
    function _skipZeros(int64[256] memory sums, uint256 i) private pure returns (uint256 place) {
        assembly ("memory-safe") {
            let at := add(sums, shl(5, i))
            let end := add(sums, 8192)
            for {} lt(at, end) { at := add(at, 32) } { if mload(at) { break } }
            place := shr(5, sub(at, sums))
        }
    }

    /// @dev The signed big-endian integer of `size` bytes that ends before byte `end`. The word read ends there too.
    function _load(bytes memory data, uint256 end, uint256 size) private pure returns (int256 value) {
        assembly ("memory-safe") {
            value := signextend(sub(size, 1), mload(add(data, end)))
        }
    }

    /// @dev Writes what `_load` reads. The bytes before it, at most the array's length among them, stay as they are.
    function _store(bytes memory data, uint256 end, uint256 size, int256 value) private pure {
        assembly ("memory-safe") {
            let mask := sub(shl(shl(3, size), 1), 1)
            let at := add(data, end)
            mstore(at, or(and(mload(at), not(mask)), and(value, mask)))
        }
    }
}
