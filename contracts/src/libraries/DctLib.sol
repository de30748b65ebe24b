// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title The inverse cosine transform of 64 values in integers.
/// @notice Mirrors `pi_train/dct.py`: an orthonormal DCT-II in Q16, and sets of coefficients as numbers.
library DctLib {
    uint256 internal constant SIZE = 64;

    /// round(2^16 sqrt(1/32) cos(j pi / 128)) for j < 64, two bytes each; in the place of the first one 2^16 / 8.
    bytes internal constant COSINES = hex"20002d3e2d332d222d092cea2cc42c972c632c282be62b9e2b4e2af92a9c2a39"
        hex"29cf295f28e9286c27e9276026d1263c25a12500245923ad22fc2244218820c7"
        hex"20001f341e641d8f1cb61bd81af51a0f192418361744164e1555145913591257"
        hex"115110490f3f0e320d230c120aff09ea08d407bd06a4058a047003540238011c";

    /// @dev How many sets of `k` of the coefficients there are: binomial(64, k), below 2^61.
    function setCount(uint256 k) internal pure returns (uint256 count) {
        count = 1;
        for (uint256 i; i < k; ++i) {
            count = count * (SIZE - i) / (i + 1);
        }
    }

    /// @dev Width of a rank in bits, where there are so many sets.
    function rankBits(uint256 count) internal pure returns (uint256 width) {
        while (count > uint256(1) << width) ++width;
    }

    /// @notice Values, in 2^-16, of `k` coefficients of +-1.
    /// @dev Magnitudes stay below 2^19, whatever the rank: the members found are different ones even where it is too high.
    /// @param values written over
    /// @param rank of the set in the combinatorial number system: the sum of binomial(i_j, j) over its ascending members
    /// @param minus one bit per member, set for -1; the smallest member's is the highest
    function inverse(int256[64] memory values, uint256 rank, uint256 minus, uint256 k) internal pure {
        for (uint256 i; i < SIZE; ++i) {
            values[i] = 0;
        }
        bytes memory cosines = COSINES;
        uint256 member = SIZE - 1;
        uint256 below = setCount(k) * (SIZE - k) / SIZE; // binomial(member, j): sets of j members below this one
        unchecked {
            for (uint256 j = k; j != 0; --member) {
                // There are at least j - 1 members left below this one; where there are no more, `below` is 0.
                if (rank < below) {
                    below = below * (member - j) / member;
                    continue;
                }
                _add(values, cosines, member, (minus >> (k - j)) & 1);
                rank -= below;
                if (member != 0) below = below * j / member;
                --j;
            }
        }
    }

    /// @dev Adds a basis vector, or takes it away. Assembly, for a proof does this several times per update.
    function _add(int256[64] memory values, bytes memory cosines, uint256 member, uint256 minus) private pure {
        assembly ("memory-safe") {
            let table := add(cosines, 32)
            let turn := shl(1, member)
            let angle := member // (2x + 1) * member, in units of pi / 128
            let end := add(values, 2048)
            for { let at := values } lt(at, end) { at := add(at, 32) } {
                // cos(pi - a) = cos(pi + a) = -cos(a); a right angle, 64, does not occur.
                let folded := and(angle, 127)
                let back := gt(folded, 64)
                if back { folded := sub(128, folded) }
                let sign := xor(minus, xor(back, shr(7, angle)))
                let cosine := shr(240, mload(add(table, shl(1, folded))))
                mstore(at, add(mload(at), add(xor(cosine, sub(0, sign)), sign)))
                angle := and(add(angle, turn), 255)
            }
        }
    }
}
