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

    int256 private constant MOMENTUM_MAX = (1 << 46) - 1;
    uint256 private constant THETA_BYTES = 4;
    uint256 private constant MOMENTUM_BYTES = 8;

    function leafCount(OuterRule memory rule) internal pure returns (uint256) {
        return (uint256(rule.parameters) + LEAF - 1) / LEAF;
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

    /// @dev a / b, half away from zero. b is positive.
    function divide(int256 a, int256 b) internal pure returns (int256) {
        unchecked {
            return a < 0 ? -((b / 2 - a) / b) : (a + b / 2) / b;
        }
    }

    /// @dev a / 2^16, half away from zero.
    function divideQ16(int256 a) internal pure returns (int256) {
        unchecked {
            return a < 0 ? -((0x8000 - a) >> 16) : (a + 0x8000) >> 16;
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
            return clamp(theta - divideQ16(lr * step), type(int32).min, type(int32).max);
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
        int256 divisor = int256(totalWidth) << 16;
        int256 lr = int256(uint256(rule.lr));
        int256 decay = int256(uint256(rule.momentum));
        bool hasMomentum = rule.rule == NESTEROV;
        // Behind the last parameter, leaf and sums hold zeros, which stay zeros.
        for (uint256 i; i < LEAF; ++i) {
            int256 step = _sum(sums, i);
            if (hasMomentum) {
                uint256 end = LEAF * THETA_BYTES + (i + 1) * MOMENTUM_BYTES;
                int256 momentum = _load(leaf, end, MOMENTUM_BYTES);
                (momentum, step) = nesterov(momentum, divide(step, divisor), decay);
                _store(leaf, end, MOMENTUM_BYTES, momentum);
            } else {
                if (step == 0) continue; // most of a sparse leaf: what nobody sent stays as it is
                step = divide(step, divisor);
            }
            uint256 last = (i + 1) * THETA_BYTES;
            _store(leaf, last, THETA_BYTES, descend(_load(leaf, last, THETA_BYTES), step, lr));
        }
    }

    /// @dev sums[i] without the check of i: most places of a sparse leaf cost nothing but this.
    function _sum(int64[256] memory sums, uint256 i) private pure returns (int256 sum) {
        assembly ("memory-safe") {
            sum := mload(add(sums, shl(5, i)))
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
