// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @dev Fields of packed words. A field is named by one constant: the place of its lowest bit, times 256, plus how many
/// bits it has.
library Bits {
    function get(uint256 word, uint256 field) internal pure returns (uint256) {
        unchecked {
            return (word >> (field >> 8)) & ((1 << (field & 0xff)) - 1);
        }
    }

    /// @dev INVARIANT: a value fits its field, so that no field ever runs into the next.
    function set(uint256 word, uint256 field, uint256 value) internal pure returns (uint256) {
        unchecked {
            uint256 mask = (1 << (field & 0xff)) - 1;
            assert(value <= mask);
            uint256 at = field >> 8;
            return (word & ~(mask << at)) | (value << at);
        }
    }
}
