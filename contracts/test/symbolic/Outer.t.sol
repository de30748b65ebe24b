// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {OuterLib} from "../../src/libraries/OuterLib.sol";
import {Vm} from "../Vm.sol";

/// @title Proofs about the outer step's integers against what the words say: half away from zero, bounded, saturating.
/// @dev For halmos (`make halmos`); forge does not run these. Everything under test is unchecked; the specification here is
/// checked arithmetic on magnitudes.
contract OuterSymbolic {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    int256 private constant MOMENTUM_MAX = (1 << 46) - 1;

    /// @dev sign(a) * floor((|a| + b / 2) / b).
    function _halfAway(int256 a, uint256 b) private pure returns (int256) {
        uint256 size = (uint256(a < 0 ? -a : a) + b / 2) / b;
        return a < 0 ? -int256(size) : int256(size);
    }

    /// @dev All sums that fit int64, all total widths.
    function check_Divide(int64 sum, uint16 width) public pure {
        vm.assume(width != 0 && width <= OuterLib.MAX_TOTAL_WIDTH);
        uint256 divisor = uint256(width) << 16;
        assert(OuterLib.divide(sum, divisor) == _halfAway(sum, divisor));
    }

    /// @dev Every product that the outer step shifts down is below 2^79.
    function check_DivideQ16(int80 a) public pure {
        assert(OuterLib.divideQ16(a) == _halfAway(a, 1 << 16));
    }

    function check_Clamp(int256 x, int256 low, int256 high) public pure {
        vm.assume(low <= high);
        int256 y = OuterLib.clamp(x, low, high);
        assert(low <= y && y <= high);
        assert(y == x || (x < low && y == low) || (x > high && y == high));
    }

    /// @dev A factor never raises a norm: one up to the median, less above. For norms of 16 bits: a division of two symbolic
    /// 64-bit numbers is beyond the solver, and nothing about it depends on the size.
    function check_Factor(uint16 norm, uint16 median) public pure {
        uint256 q16 = OuterLib.factor(norm, median);
        if (norm <= median) assert(q16 == 1 << 16);
        else assert(q16 < 1 << 16);
    }

    function check_MomentumIsBounded(int64 momentum, int48 mean, uint16 decay) public pure {
        vm.assume(momentum >= -MOMENTUM_MAX && momentum <= MOMENTUM_MAX);
        (int256 next,) = OuterLib.nesterov(momentum, mean, int256(uint256(decay)));
        assert(next >= -MOMENTUM_MAX && next <= MOMENTUM_MAX);
    }

    /// @dev The two formulas, in checked arithmetic, with the rounding of `check_DivideQ16`, whose bounds the products keep.
    function check_Nesterov(int64 momentum, int48 mean, uint16 decay) public pure {
        vm.assume(momentum >= -MOMENTUM_MAX && momentum <= MOMENTUM_MAX);
        int256 d = int256(uint256(decay));
        (int256 next, int256 step) = OuterLib.nesterov(momentum, mean, d);
        int256 sum = OuterLib.divideQ16(d * momentum) + mean;
        if (sum > MOMENTUM_MAX) sum = MOMENTUM_MAX;
        if (sum < -MOMENTUM_MAX) sum = -MOMENTUM_MAX;
        assert(next == sum);
        assert(step == mean + OuterLib.divideQ16(d * next));
    }

    /// @dev A parameter saturates and never wraps round.
    function check_Descend(int32 theta, int56 step, uint32 lr) public pure {
        vm.assume(lr <= 1 << 24);
        int256 rate = int256(uint256(lr));
        int256 exact = int256(theta) - _halfAway(rate * step, 1 << 16);
        int256 next = OuterLib.descend(theta, step, rate);
        if (exact > type(int32).max) assert(next == type(int32).max);
        else if (exact < type(int32).min) assert(next == type(int32).min);
        else assert(next == exact);
    }
}
