// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @dev What a validator's commitment reads and writes of its seat, in one storage word per pool and node. From the
/// lowest bit:
///
///   1 seated | 1 left: the seat has a `leftAt` | 1 pending: the commitment is not opened
///   1 punished: for a wrong verdict | 4 unused | 8 place | 24 activeFrom | 24 round + 1 of the latest commitment (0 = none)
///   192: the first 24 bytes of that commitment
///
/// A commitment that is still needed when the next one comes stays as a copy of this word in a ring by round. 192 bits
/// leave 96 against a validator that searches two openings of one commitment.
type SeatWord is uint256;

using SeatWordLib for SeatWord global;

/// @title Fields of the packed seat word.
library SeatWordLib {
    uint256 internal constant SEATED = 1;
    uint256 internal constant LEFT = 2;
    uint256 internal constant PENDING = 4;
    uint256 internal constant PUNISHED = 8;

    uint256 private constant PLACE = 8;
    uint256 private constant ACTIVE_FROM = 16;
    uint256 private constant COMMITTED = 40;
    uint256 private constant HASH_MASK = ~uint256(type(uint64).max);
    uint256 private constant LOWEST = (1 << 40) - 1;

    function create(uint256 place_, uint256 activeFrom_) internal pure returns (SeatWord) {
        uint256 word = (uint256(uint8(place_)) << PLACE) | (uint256(uint24(activeFrom_)) << ACTIVE_FROM);
        return SeatWord.wrap(word | SEATED);
    }

    function place(SeatWord self) internal pure returns (uint256) {
        return uint8(SeatWord.unwrap(self) >> PLACE);
    }

    function activeFrom(SeatWord self) internal pure returns (uint256) {
        return uint24(SeatWord.unwrap(self) >> ACTIVE_FROM);
    }

    /// @dev Round + 1 of the latest commitment.
    function committed(SeatWord self) internal pure returns (uint256) {
        return uint24(SeatWord.unwrap(self) >> COMMITTED);
    }

    function isOf(SeatWord self, uint256 round) internal pure returns (bool) {
        unchecked {
            return committed(self) == round + 1;
        }
    }

    function matches(SeatWord self, bytes32 hash) internal pure returns (bool) {
        return (SeatWord.unwrap(self) ^ uint256(hash)) & HASH_MASK == 0;
    }

    /// @dev With a new commitment, not opened.
    function withCommitment(SeatWord self, uint256 round, bytes32 hash) internal pure returns (SeatWord) {
        uint256 word = (SeatWord.unwrap(self) & LOWEST) | (uint256(hash) & HASH_MASK) | PENDING;
        unchecked {
            return SeatWord.wrap(word | (uint256(uint24(round + 1)) << COMMITTED));
        }
    }

    function has(SeatWord self, uint256 flag) internal pure returns (bool) {
        return SeatWord.unwrap(self) & flag != 0;
    }

    function with(SeatWord self, uint256 flag) internal pure returns (SeatWord) {
        return SeatWord.wrap(SeatWord.unwrap(self) | flag);
    }

    function without(SeatWord self, uint256 flag) internal pure returns (SeatWord) {
        return SeatWord.wrap(SeatWord.unwrap(self) & ~flag);
    }
}
