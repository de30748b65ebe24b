// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @dev A node's membership and its unsettled work, in one storage word. From the lowest bit:
///
///   128 history: one byte per round of the ring; 5 bits width (0 = nothing to settle) | EXCLUDED | CONTESTED | OTHER
///     5 width        | 5 nextWidth   | 24 changeAt: `nextWidth` holds from that round on
///    24 lastRevealed | 24 activeFrom | 30 accrued: slots that are settled here but not credited yet
///     8 missed: rounds missed in a row | 1 convicted
///
/// Joining, leaving and a new width are one thing: `nextWidth` from the next round on.
type MemberWord is uint256;

using MemberWordLib for MemberWord global;

/// @title Fields of the packed member word.
library MemberWordLib {
    uint256 internal constant MAX_WIDTH = 31;

    // Flags of a history byte.
    uint256 internal constant EXCLUDED = 0x20; // left out of the mean by the close
    uint256 internal constant CONTESTED = 0x40; // a case decides about it
    uint256 internal constant OTHER = 0x80; // started from another root than the posted one

    uint256 private constant PLACES = 16;
    uint256 private constant WIDTH = 128;
    uint256 private constant NEXT_WIDTH = 133;
    uint256 private constant CHANGE_AT = 138;
    uint256 private constant LAST_REVEALED = 162;
    uint256 private constant ACTIVE_FROM = 186;
    uint256 private constant ACCRUED = 210;
    uint256 private constant MISSED = 240;
    uint256 private constant CONVICTED = 1 << 248;

    // ---------------------------------------------------------------------------------------------- membership

    /// @dev Slots that a round expects of this node; 0 = not expected.
    function widthAt(MemberWord self, uint256 round) internal pure returns (uint256) {
        return (MemberWord.unwrap(self) >> (round >= changeAt(self) ? NEXT_WIDTH : WIDTH)) & MAX_WIDTH;
    }

    /// @dev Slots that the next round will expect; 0 = left, or never in.
    function nextWidth(MemberWord self) internal pure returns (uint256) {
        return (MemberWord.unwrap(self) >> NEXT_WIDTH) & MAX_WIDTH;
    }

    function changeAt(MemberWord self) internal pure returns (uint256) {
        return _get(self, CHANGE_AT, 24);
    }

    /// @dev `width` from round `from` on; what held in the round before stays until then.
    function withWidth(MemberWord self, uint256 width, uint256 from) internal pure returns (MemberWord) {
        uint256 before = from == 0 ? 0 : widthAt(self, from - 1);
        return _set(_set(_set(self, WIDTH, 5, before), NEXT_WIDTH, 5, width), CHANGE_AT, 24, from);
    }

    /// @dev First round of the current membership, from which probation counts.
    function activeFrom(MemberWord self) internal pure returns (uint256) {
        return _get(self, ACTIVE_FROM, 24);
    }

    function withActiveFrom(MemberWord self, uint256 round) internal pure returns (MemberWord) {
        return _set(self, ACTIVE_FROM, 24, round);
    }

    /// @dev Round + 1 of the last on-time reveal; 0 = never.
    function lastRevealed(MemberWord self) internal pure returns (uint256) {
        return _get(self, LAST_REVEALED, 24);
    }

    function withLastRevealed(MemberWord self, uint256 roundPlusOne) internal pure returns (MemberWord) {
        return _set(self, LAST_REVEALED, 24, roundPlusOne);
    }

    function missed(MemberWord self) internal pure returns (uint256) {
        return _get(self, MISSED, 8);
    }

    function withMissed(MemberWord self, uint256 rounds) internal pure returns (MemberWord) {
        return _set(self, MISSED, 8, rounds > type(uint8).max ? type(uint8).max : rounds);
    }

    function isConvicted(MemberWord self) internal pure returns (bool) {
        return MemberWord.unwrap(self) & CONVICTED != 0;
    }

    function asConvicted(MemberWord self) internal pure returns (MemberWord) {
        return MemberWord.wrap(MemberWord.unwrap(self) | CONVICTED);
    }

    // ---------------------------------------------------------------------------------------------- work

    /// @dev Slots that are earned but not credited to the operator yet. At most 31 * 2^24, which fits 30 bits.
    function accrued(MemberWord self) internal pure returns (uint256) {
        return _get(self, ACCRUED, 30);
    }

    function withAccrued(MemberWord self, uint256 slots) internal pure returns (MemberWord) {
        return _set(self, ACCRUED, 30, slots);
    }

    /// @dev The history byte in the ring place of a round. Which round it belongs to: `roundOfEntry`.
    function entry(MemberWord self, uint256 round) internal pure returns (uint256) {
        return (MemberWord.unwrap(self) >> (8 * (round % PLACES))) & type(uint8).max;
    }

    function withEntry(MemberWord self, uint256 round, uint256 value) internal pure returns (MemberWord) {
        return _set(self, 8 * (round % PLACES), 8, value);
    }

    /// @dev The round that a place's entry belongs to: the latest one up to the last reveal, since a reveal clears the
    /// places of the rounds that the node missed before it. Meaningless while `lastRevealed` is zero.
    function roundOfEntry(MemberWord self, uint256 place) internal pure returns (uint256) {
        uint256 last = lastRevealed(self) - 1;
        return last - ((last + PLACES - place) % PLACES);
    }

    /// @dev The entry of exactly this round; zero when its place holds another one, or none.
    function entryOf(MemberWord self, uint256 round) internal pure returns (uint256) {
        uint256 end = lastRevealed(self);
        return round < end && round + PLACES >= end ? entry(self, round) : 0;
    }

    function hasHistory(MemberWord self) internal pure returns (bool) {
        return uint128(MemberWord.unwrap(self)) != 0;
    }

    function widthOf(uint256 entry_) internal pure returns (uint256) {
        return entry_ & MAX_WIDTH;
    }

    // ---------------------------------------------------------------------------------------------- bits

    function _get(MemberWord self, uint256 at, uint256 bits) private pure returns (uint256) {
        unchecked {
            return (MemberWord.unwrap(self) >> at) & ((1 << bits) - 1);
        }
    }

    function _set(MemberWord self, uint256 at, uint256 bits, uint256 value) private pure returns (MemberWord) {
        unchecked {
            uint256 mask = ((1 << bits) - 1) << at;
            return MemberWord.wrap((MemberWord.unwrap(self) & ~mask) | (value << at));
        }
    }
}
