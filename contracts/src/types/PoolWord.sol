// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @dev Everything about a pool that moves while a round runs, in one storage word, so that a commit and a reveal write it
/// once. From the lowest bit:
///
///    24 nextRound      | 16 members       | 16 memberSlots (both: of the next round)
///    16 expected       | 16 committed     | 16 revealed | 16 revealedSlots (of the running round)
///    16 seats          | 16 liveSeats     | 40 commitDeadline | 40 revealDeadline
///     1 sealed         |  1 closed        |  1 ended | 1 dissent: a reveal named another root than the posted one
///     1 overruled: a close of this pool was overruled at least once
///     1 last: the next round that opens, or the running one, is the confirm-only round
///     1 reopened: the running round was closed before, by a close that was disproved
///     1 rolls back: the next round starts where an older one did | 4 that one's place in the ring
type PoolWord is uint256;

using PoolWordLib for PoolWord global;

/// @title Fields of the packed pool word.
library PoolWordLib {
    uint256 internal constant NEXT_ROUND = 0;
    uint256 internal constant MEMBERS = 24;
    uint256 internal constant MEMBER_SLOTS = 40;
    uint256 internal constant EXPECTED = 56;
    uint256 internal constant COMMITTED = 72;
    uint256 internal constant REVEALED = 88;
    uint256 internal constant REVEALED_SLOTS = 104;
    uint256 internal constant SEATS = 120;
    uint256 internal constant LIVE_SEATS = 136;
    uint256 internal constant COMMIT_DEADLINE = 152;
    uint256 internal constant REVEAL_DEADLINE = 192;

    uint256 internal constant SEALED = 1 << 232;
    uint256 internal constant CLOSED = 1 << 233;
    uint256 internal constant ENDED = 1 << 234;
    uint256 internal constant DISSENT = 1 << 235;
    uint256 internal constant OVERRULED = 1 << 236;
    uint256 internal constant LAST = 1 << 237;
    uint256 internal constant REOPENED = 1 << 238;
    uint256 internal constant ROLLS_BACK = 1 << 239;
    uint256 private constant TARGET = 240;

    /// @dev The fields of the next round's membership and the flags that outlive a round.
    uint256 private constant OUTLIVES = ((1 << 56) - 1) | ENDED | OVERRULED | LAST;

    function nextRound(PoolWord self) internal pure returns (uint256) {
        return PoolWord.unwrap(self) & type(uint24).max;
    }

    /// @dev The number of the running, or of the last, round. Only after the first one opened.
    function running(PoolWord self) internal pure returns (uint256) {
        unchecked {
            return nextRound(self) - 1;
        }
    }

    /// @dev One of the 16-bit counters.
    function count(PoolWord self, uint256 field) internal pure returns (uint256) {
        return (PoolWord.unwrap(self) >> field) & type(uint16).max;
    }

    /// @dev One of the two deadlines, unix seconds.
    function time(PoolWord self, uint256 field) internal pure returns (uint256) {
        return (PoolWord.unwrap(self) >> field) & type(uint40).max;
    }

    /// @dev The six counters of the running round, as a ring keeps them.
    function counters(PoolWord self) internal pure returns (uint96) {
        return uint96(PoolWord.unwrap(self) >> EXPECTED);
    }

    /// @dev A word with nothing but these, to read them from.
    function ofCounters(uint96 kept) internal pure returns (PoolWord) {
        return PoolWord.wrap(uint256(kept) << EXPECTED);
    }

    function has(PoolWord self, uint256 flag) internal pure returns (bool) {
        return PoolWord.unwrap(self) & flag != 0;
    }

    function with(PoolWord self, uint256 flag) internal pure returns (PoolWord) {
        return PoolWord.wrap(PoolWord.unwrap(self) | flag);
    }

    function without(PoolWord self, uint256 flag) internal pure returns (PoolWord) {
        return PoolWord.wrap(PoolWord.unwrap(self) & ~flag);
    }

    /// @dev INVARIANT: a counter stays below 2^16, since it is bounded by `PoolLimits.MAX_SLOTS` members.
    function plus(PoolWord self, uint256 field, uint256 amount) internal pure returns (PoolWord) {
        assert(count(self, field) + amount <= type(uint16).max);
        return PoolWord.wrap(PoolWord.unwrap(self) + (amount << field));
    }

    function minus(PoolWord self, uint256 field, uint256 amount) internal pure returns (PoolWord) {
        assert(amount <= count(self, field));
        return PoolWord.wrap(PoolWord.unwrap(self) - (amount << field));
    }

    function withTime(PoolWord self, uint256 field, uint256 value) internal pure returns (PoolWord) {
        uint256 cleared = PoolWord.unwrap(self) & ~(uint256(type(uint40).max) << field);
        return PoolWord.wrap(cleared | (value << field));
    }

    /// @dev The next round starts where the one at this place of the ring did.
    function rollingBack(PoolWord self, uint256 place) internal pure returns (PoolWord) {
        uint256 cleared = PoolWord.unwrap(self) & ~(uint256(0xf) << TARGET);
        return PoolWord.wrap(cleared | ROLLS_BACK | place << TARGET);
    }

    function rollbackPlace(PoolWord self) internal pure returns (uint256) {
        return (PoolWord.unwrap(self) >> TARGET) & 0xf;
    }

    /// @dev The word of a round that opens now: the members are expected, everything else starts at zero.
    function opened(PoolWord self, uint256 seats, uint256 liveSeats, uint256 commitDeadline, uint256 revealDeadline)
        internal
        pure
        returns (PoolWord)
    {
        uint256 word = (PoolWord.unwrap(self) & OUTLIVES) + 1;
        word |= count(self, MEMBERS) << EXPECTED;
        word |= (seats << SEATS) | (liveSeats << LIVE_SEATS);
        word |= (commitDeadline << COMMIT_DEADLINE) | (revealDeadline << REVEAL_DEADLINE);
        return PoolWord.wrap(word);
    }
}
