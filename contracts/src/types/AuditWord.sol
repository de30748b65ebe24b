// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Bits} from "./Bits.sol";

/// @dev Everything that moves while a round is judged, in one storage word, so that a validator's commitment writes it
/// once and asks no other contract. From the lowest bit:
///
///   24 round + 1 (0 = empty) | 40 seedBlock
///   40 commitDeadline | 40 revealDeadline (both moved forward when all have acted)
///   40 lastEnded: when the last case about the round ended, unix seconds
///    9 seats: length of the seat array when the round opened | 9 liveSeats | 9 committed | 9 revealed
///   16 paid: verdicts and votes | 13 openCases | 1 seeded | 1 released | 1 marked: `Audit.opened` is this round's
type AuditWord is uint256;

using AuditWordLib for AuditWord global;

/// @title Fields of the packed audit word.
library AuditWordLib {
    uint256 private constant ROUND = 0 << 8 | 24;
    uint256 internal constant SEED_BLOCK = 24 << 8 | 40;
    uint256 internal constant COMMIT_DEADLINE = 64 << 8 | 40;
    uint256 internal constant REVEAL_DEADLINE = 104 << 8 | 40;
    uint256 internal constant LAST_ENDED = 144 << 8 | 40;
    uint256 internal constant SEATS = 184 << 8 | 9;
    uint256 internal constant LIVE_SEATS = 193 << 8 | 9;
    uint256 internal constant COMMITTED = 202 << 8 | 9;
    uint256 internal constant REVEALED = 211 << 8 | 9;
    uint256 internal constant PAID = 220 << 8 | 16;
    uint256 internal constant OPEN_CASES = 236 << 8 | 13;

    uint256 internal constant SEEDED = 1 << 249;
    uint256 internal constant RELEASED = 1 << 250;
    uint256 internal constant MARKED = 1 << 251;

    function create(uint256 round_) internal pure returns (AuditWord) {
        return AuditWord.wrap(Bits.set(0, ROUND, round_ + 1));
    }

    function isOf(AuditWord self, uint256 round_) internal pure returns (bool) {
        unchecked {
            return uint24(AuditWord.unwrap(self)) == round_ + 1;
        }
    }

    function isEmpty(AuditWord self) internal pure returns (bool) {
        return AuditWord.unwrap(self) == 0;
    }

    /// @dev Of a word that is not empty.
    function round(AuditWord self) internal pure returns (uint256) {
        return get(self, ROUND) - 1;
    }

    function get(AuditWord self, uint256 field) internal pure returns (uint256) {
        return Bits.get(AuditWord.unwrap(self), field);
    }

    function set(AuditWord self, uint256 field, uint256 value) internal pure returns (AuditWord) {
        return AuditWord.wrap(Bits.set(AuditWord.unwrap(self), field, value));
    }

    /// @dev INVARIANT: a counter never runs into the next field: it counts seats, at most 256, or cases about different
    /// nodes of one round, at most `ParamsLib.MAX_SLOTS`.
    function plusOne(AuditWord self, uint256 field) internal pure returns (AuditWord) {
        unchecked {
            return AuditWord.wrap(AuditWord.unwrap(self) + (1 << (field >> 8)));
        }
    }

    function plus(AuditWord self, uint256 field, uint256 amount) internal pure returns (AuditWord) {
        return set(self, field, get(self, field) + amount);
    }

    function has(AuditWord self, uint256 flag) internal pure returns (bool) {
        return AuditWord.unwrap(self) & flag != 0;
    }

    function with(AuditWord self, uint256 flag) internal pure returns (AuditWord) {
        return AuditWord.wrap(AuditWord.unwrap(self) | flag);
    }
}
