// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {MemberWord, MemberWordLib} from "../../src/types/MemberWord.sol";
import {PoolWord, PoolWordLib} from "../../src/types/PoolWord.sol";
import {Record, RecordLib} from "../../src/types/Record.sol";
import {Base} from "../Base.sol";

/// @title Packed words: what goes into a field comes out of it, and nothing else moves.
contract WordsTest is Base {
    // ---------------------------------------------------------------------------------------------- records

    function testFuzz_Record(bytes32 commitment, uint24 round, uint8 width, uint8 flags) public pure {
        Record r = RecordLib.create(commitment, round, width);
        assertEq(r.hash(), RecordLib.truncate(commitment));
        assertEq(r.hash(), commitment >> 40 << 40);
        assertEq(r.roundOf(), round);
        assertEq(r.width(), width);
        assertEq(r.has(type(uint8).max), false);
        assertEq(r.isOf(round), width != 0);
        unchecked {
            assertEq(r.isOf(uint24(round + 1)), false);
        }
        r = r.with(flags);
        assertEq(r.hash(), RecordLib.truncate(commitment));
        assertEq(r.roundOf(), round);
        assertEq(r.width(), width);
        for (uint256 bit = 1; bit < 256; bit <<= 1) {
            assertEq(r.has(bit), flags & bit != 0);
        }
    }

    function test_TheEmptyRecordIsOfNoRound() public pure {
        assertEq(Record.wrap(0).isOf(0), false);
    }

    // ---------------------------------------------------------------------------------------------- pools

    /// @dev The counters in their order from the lowest bit.
    function _counters() private pure returns (uint256[8] memory) {
        return [
            PoolWordLib.MEMBERS,
            PoolWordLib.MEMBER_SLOTS,
            PoolWordLib.EXPECTED,
            PoolWordLib.COMMITTED,
            PoolWordLib.REVEALED,
            PoolWordLib.REVEALED_SLOTS,
            PoolWordLib.SEATS,
            PoolWordLib.LIVE_SEATS
        ];
    }

    function _flags() private pure returns (uint256[7] memory) {
        return [
            PoolWordLib.SEALED,
            PoolWordLib.CLOSED,
            PoolWordLib.ENDED,
            PoolWordLib.DISSENT,
            PoolWordLib.OVERRULED,
            PoolWordLib.LAST,
            PoolWordLib.REOPENED
        ];
    }

    function testFuzz_PoolFieldsAreApart(uint24 next, uint16[8] calldata counts, uint40[2] calldata times, uint8 flags)
        public
        pure
    {
        PoolWord w = PoolWord.wrap(next);
        for (uint256 i; i < 8; ++i) {
            w = w.plus(_counters()[i], counts[i]);
        }
        w = w.withTime(PoolWordLib.COMMIT_DEADLINE, times[0]).withTime(PoolWordLib.REVEAL_DEADLINE, times[1]);
        for (uint256 i; i < 7; ++i) {
            if (flags & (1 << i) != 0) w = w.with(_flags()[i]);
        }

        assertEq(w.nextRound(), next);
        if (next != 0) assertEq(w.running(), next - 1);
        for (uint256 i; i < 8; ++i) {
            assertEq(w.count(_counters()[i]), counts[i]);
        }
        assertEq(w.time(PoolWordLib.COMMIT_DEADLINE), times[0]);
        assertEq(w.time(PoolWordLib.REVEAL_DEADLINE), times[1]);
        for (uint256 i; i < 7; ++i) {
            assertEq(w.has(_flags()[i]), flags & (1 << i) != 0);
        }

        // The ring keeps the last six counters.
        PoolWord kept = PoolWordLib.ofCounters(w.counters());
        for (uint256 i; i < 8; ++i) {
            assertEq(kept.count(_counters()[i]), i < 2 ? 0 : counts[i]);
        }
        assertEq(kept.nextRound(), 0);

        // Back to nothing.
        for (uint256 i; i < 8; ++i) {
            w = w.minus(_counters()[i], counts[i]);
        }
        w = w.withTime(PoolWordLib.COMMIT_DEADLINE, 0).withTime(PoolWordLib.REVEAL_DEADLINE, 0);
        for (uint256 i; i < 7; ++i) {
            w = w.without(_flags()[i]);
        }
        assertEq(PoolWord.unwrap(w), next);
    }

    function testFuzz_OpenedRoundStartsClean(uint256 any, uint40[2] calldata times, uint16 seats, uint16 live)
        public
        pure
    {
        vm.assume(any & type(uint24).max != type(uint24).max);
        PoolWord before = PoolWord.wrap(any);
        PoolWord w = before.opened(seats, live, times[0], times[1]);
        assertEq(w.nextRound(), before.nextRound() + 1);
        assertEq(w.count(PoolWordLib.MEMBERS), before.count(PoolWordLib.MEMBERS));
        assertEq(w.count(PoolWordLib.MEMBER_SLOTS), before.count(PoolWordLib.MEMBER_SLOTS));
        assertEq(w.count(PoolWordLib.EXPECTED), before.count(PoolWordLib.MEMBERS));
        assertEq(
            w.count(PoolWordLib.COMMITTED) + w.count(PoolWordLib.REVEALED) + w.count(PoolWordLib.REVEALED_SLOTS), 0
        );
        assertEq(w.count(PoolWordLib.SEATS), seats);
        assertEq(w.count(PoolWordLib.LIVE_SEATS), live);
        assertEq(w.time(PoolWordLib.COMMIT_DEADLINE), times[0]);
        assertEq(w.time(PoolWordLib.REVEAL_DEADLINE), times[1]);
        for (uint256 i; i < 7; ++i) {
            uint256 flag = _flags()[i];
            bool outlives = flag == PoolWordLib.ENDED || flag == PoolWordLib.OVERRULED || flag == PoolWordLib.LAST;
            assertEq(w.has(flag), outlives && before.has(flag));
        }
    }

    function plus(uint256 field, uint16 start, uint256 amount) external pure {
        PoolWord.wrap(0).plus(field, start).plus(field, amount);
    }

    function minus(uint256 field, uint16 start, uint256 amount) external pure {
        PoolWord.wrap(0).plus(field, start).minus(field, amount);
    }

    /// No counter runs into its neighbour, whatever is added or taken.
    function testFuzz_CountersDoNotOverflow(uint256 which, uint16 start, uint16 amount) public {
        uint256 field = _counters()[which % 8];
        uint256 room = uint256(type(uint16).max) - start;
        bytes memory panic = abi.encodeWithSignature("Panic(uint256)", 1);
        fails(address(0), address(this), abi.encodeCall(this.plus, (field, start, room + 1 + amount)), panic);
        fails(address(0), address(this), abi.encodeCall(this.minus, (field, start, uint256(start) + 1 + amount)), panic);
        this.plus(field, start, room);
        this.minus(field, start, start);
    }

    // ---------------------------------------------------------------------------------------------- members

    function testFuzz_MemberFieldsAreApart(
        uint24 lastRevealed,
        uint24 activeFrom,
        uint256 accrued,
        uint16 missed,
        uint8[16] calldata entries,
        bool convicted
    ) public pure {
        accrued %= 1 << 30;
        MemberWord w;
        w = w.withWidth(31, 7).withWidth(5, 9);
        w = w.withLastRevealed(lastRevealed).withActiveFrom(activeFrom).withAccrued(accrued).withMissed(missed);
        if (convicted) w = w.asConvicted();
        for (uint256 i; i < 16; ++i) {
            w = w.withEntry(i + 32, entries[i]);
        }

        assertEq(w.widthAt(8), 31);
        assertEq(w.widthAt(9), 5);
        assertEq(w.nextWidth(), 5);
        assertEq(w.changeAt(), 9);
        assertEq(w.lastRevealed(), lastRevealed);
        assertEq(w.activeFrom(), activeFrom);
        assertEq(w.accrued(), accrued);
        assertEq(w.missed(), missed > 255 ? 255 : missed);
        assertEq(w.isConvicted(), convicted);
        bool any;
        for (uint256 i; i < 16; ++i) {
            assertEq(w.entry(i), entries[i]);
            any = any || entries[i] != 0;
            assertEq(MemberWordLib.widthOf(entries[i]), entries[i] & 31);
        }
        assertEq(w.hasHistory(), any);

        // Each field empties alone.
        w = w.withAccrued(0).withMissed(0).withLastRevealed(0).withActiveFrom(0);
        assertEq(w.changeAt(), 9);
        for (uint256 i; i < 16; ++i) {
            assertEq(w.entry(i), entries[i]);
            w = w.withEntry(i, 0);
        }
        assertEq(w.hasHistory(), false);
        assertEq(w.isConvicted(), convicted);
        assertEq(w.nextWidth(), 5);
    }

    /// The width of the running round stays, however often the next one's changes.
    function testFuzz_WidthOfTheRunningRoundStays(uint24 at, uint8[4] calldata widths) public pure {
        vm.assume(at != 0);
        MemberWord w;
        w = w.withWidth(widths[0] % 32, at - 1);
        for (uint256 i = 1; i < 4; ++i) {
            w = w.withWidth(widths[i] % 32, at);
            assertEq(w.widthAt(at - 1), widths[0] % 32);
            assertEq(w.widthAt(at), widths[i] % 32);
            assertEq(w.nextWidth(), widths[i] % 32);
            assertEq(w.changeAt(), at);
        }
    }

    function test_WidthFromTheFirstRoundOn() public pure {
        MemberWord w;
        w = w.withWidth(4, 0);
        assertEq(w.widthAt(0), 4);
        w = w.withWidth(0, 0);
        assertEq(w.widthAt(0), 0);
    }

    /// Each of the last 16 rounds up to the latest reveal has its place; older and later ones have none.
    function testFuzz_EntriesBelongToTheLatestRounds(uint24 last, uint24 asked, uint8 value) public pure {
        vm.assume(value != 0 && last != type(uint24).max);
        MemberWord w;
        w = w.withLastRevealed(uint256(last) + 1);
        for (uint256 i; i < 16; ++i) {
            w = w.withEntry(i, value);
        }
        bool held = asked <= last && uint256(asked) + 16 > last;
        assertEq(w.entryOf(asked), held ? value : 0);
        if (held) assertEq(w.roundOfEntry(asked % 16), asked);
        assertEq(w.entryOf(last), value);
        assertEq(w.entryOf(uint256(last) + 1), 0);
    }
}
