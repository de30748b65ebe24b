// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title The inverse cosine transform of 64 values in integers.
/// @notice Mirrors `pi_train/dct.py`: an orthonormal DCT-II in Q16, and sets of coefficients as numbers.
library DctLib {
    uint256 internal constant SIZE = 64;

    /// round(2^16 sqrt(1/32) cos(a pi / 128)) for a < 256, two bytes each; at a = 0, where only the constant coefficient
    /// looks, 2^16 / 8.
    bytes internal constant COSINES = hex"20002d3e2d332d222d092cea2cc42c972c632c282be62b9e2b4e2af92a9c2a3929cf295f28e9286c27e9276026d1263c"
        hex"25a12500245923ad22fc2244218820c720001f341e641d8f1cb61bd81af51a0f192418361744164e1555145913591257"
        hex"115110490f3f0e320d230c120aff09ea08d407bd06a4058a047003540238011c0000fee4fdc8fcacfb90fa76f95cf843"
        hex"f72cf616f501f3eef2ddf1cef0c1efb7eeafeda9eca7eba7eaabe9b2e8bce7cae6dce5f1e50be428e34ae271e19ce0cc"
        hex"e000df39de78ddbcdd04dc53dba7db00da5fd9c4d92fd8a0d817d794d717d6a1d631d5c7d564d507d4b2d462d41ad3d8"
        hex"d39dd369d33cd316d2f7d2ded2cdd2c2d2bfd2c2d2cdd2ded2f7d316d33cd369d39dd3d8d41ad462d4b2d507d564d5c7"
        hex"d631d6a1d717d794d817d8a0d92fd9c4da5fdb00dba7dc53dd04ddbcde78df39e000e0cce19ce271e34ae428e50be5f1"
        hex"e6dce7cae8bce9b2eaabeba7eca7eda9eeafefb7f0c1f1cef2ddf3eef501f616f72cf843f95cfa76fb90fcacfdc8fee4"
        hex"0000011c023803540470058a06a407bd08d409ea0aff0c120d230e320f3f104911511257135914591555164e17441836"
        hex"19241a0f1af51bd81cb61d8f1e641f34200020c72188224422fc23ad2459250025a1263c26d1276027e9286c28e9295f"
        hex"29cf2a392a9c2af92b4e2b9e2be62c282c632c972cc42cea2d092d222d332d3e";

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
    /// @param cosines `COSINES`
    /// @param rank of the set in the combinatorial number system: the sum of binomial(i_j, j) over its ascending members
    /// @param minus one bit per member, set for -1; the smallest member's is the highest
    function inverse(int256[64] memory values, bytes memory cosines, uint256 rank, uint256 minus, uint256 k)
        internal
        pure
    {
        assembly ("memory-safe") {
            calldatacopy(values, calldatasize(), 2048) // zeros
        }
        uint256 member = SIZE - 1;
        uint256 below = setCount(k) * (SIZE - k) / SIZE; // binomial(member, j): sets of j members below this one
        unchecked {
            for (uint256 j = k; j != 0; --member) {
                // There are at least j - 1 members left below this one; where there are no more, `below` is 0.
                if (rank < below) {
                    below = below * (member - j) / member;
                    continue;
                }
                _add(values, cosines, member, (minus >> (k - j)) & 1 == 0 ? int256(1) : -1);
                rank -= below;
                if (member != 0) below = below * j / member;
                --j;
            }
        }
    }

    /// @dev Adds sign * a basis vector, whose second half mirrors the first, with the other sign where `member` is odd.
    /// Assembly, for a proof does this several times per update.
    function _add(int256[64] memory values, bytes memory cosines, uint256 member, int256 sign) private pure {
        assembly ("memory-safe") {
            let table := add(cosines, 32)
            let mirrored := sign
            if and(member, 1) { mirrored := sub(0, sign) }
            let angle := member // (2x + 1) * member, in units of pi / 128
            let turn := shl(1, member)
            let end := add(values, 1024)
            let mirror := add(values, 2016)
            for { let at := values } lt(at, end) { at := add(at, 32) } {
                let cosine := sar(240, mload(add(table, shl(1, angle))))
                mstore(at, add(mload(at), mul(sign, cosine)))
                mstore(mirror, add(mload(mirror), mul(mirrored, cosine)))
                mirror := sub(mirror, 32)
                angle := and(add(angle, turn), 255)
            }
        }
    }
}
