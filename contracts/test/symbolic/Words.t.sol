// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Bits} from "../../src/types/Bits.sol";
import {MemberWord, MemberWordLib} from "../../src/types/MemberWord.sol";
import {PoolWord, PoolWordLib} from "../../src/types/PoolWord.sol";
import {Record, RecordLib} from "../../src/types/Record.sol";
import {SeatWord, SeatWordLib} from "../../src/types/SeatWord.sol";
import {Vm} from "../Vm.sol";

/// @title Proofs about the packed words: a setter changes its own field and no other, for every word.
/// @dev For halmos (`make halmos`); forge does not run these.
contract WordsSymbolic {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    // ---------------------------------------------------------------------------------------------- Bits

    /// @dev Two fields that do not overlap. The packed case and audit words are made of this.
    function check_Bits(uint256 word, uint8 at, uint8 size, uint8 otherAt, uint8 otherSize, uint256 value) public pure {
        vm.assume(size != 0 && size <= 64 && otherSize != 0 && otherSize <= 64);
        vm.assume(uint256(at) + size <= 256 && uint256(otherAt) + otherSize <= 256);
        vm.assume(uint256(at) + size <= otherAt || uint256(otherAt) + otherSize <= at);
        vm.assume(value >> size == 0);
        (uint256 field, uint256 other) = (uint256(at) << 8 | size, uint256(otherAt) << 8 | otherSize);
        uint256 next = Bits.set(word, field, value);
        assert(Bits.get(next, field) == value);
        assert(Bits.get(next, other) == Bits.get(word, other));
    }

    // ---------------------------------------------------------------------------------------------- PoolWord

    /// @dev One of the eight counters.
    function _counter(uint8 which) private pure returns (uint256) {
        vm.assume(which < 8);
        return PoolWordLib.MEMBERS + 16 * uint256(which);
    }

    function _rest(PoolWord word, uint256 field) private pure returns (uint256) {
        return PoolWord.unwrap(word) & ~(uint256(type(uint16).max) << field);
    }

    /// @dev No pool has 2^16 slots, members or seats (`ParamsLib`).
    function check_PoolWordPlusAndMinus(PoolWord word, uint8 which, uint16 amount) public pure {
        uint256 field = _counter(which);
        vm.assume(word.count(field) + amount <= type(uint16).max);
        PoolWord more = word.plus(field, amount);
        assert(more.count(field) == word.count(field) + amount && _rest(more, field) == _rest(word, field));
        assert(PoolWord.unwrap(more.minus(field, amount)) == PoolWord.unwrap(word));
    }

    function check_PoolWordTime(PoolWord word, bool first, uint40 time) public pure {
        uint256 field = first ? PoolWordLib.COMMIT_DEADLINE : PoolWordLib.REVEAL_DEADLINE;
        PoolWord next = word.withTime(field, time);
        assert(next.time(field) == time);
        uint256 mask = ~(uint256(type(uint40).max) << field);
        assert(PoolWord.unwrap(next) & mask == PoolWord.unwrap(word) & mask);
    }

    function check_PoolWordFlags(PoolWord word, uint8 which) public pure {
        vm.assume(which < 7);
        uint256 flag = PoolWordLib.SEALED << which;
        assert(word.with(flag).has(flag) && !word.without(flag).has(flag));
        assert((PoolWord.unwrap(word.with(flag)) ^ PoolWord.unwrap(word)) & ~flag == 0);
        assert((PoolWord.unwrap(word.without(flag)) ^ PoolWord.unwrap(word)) & ~flag == 0);
    }

    /// @dev A round opens with its members expected and nothing else counted; the counters survive in the ring.
    function check_PoolWordOpened(PoolWord word, uint16 seats, uint16 live, uint40 commitBy, uint40 revealBy)
        public
        pure
    {
        vm.assume(word.nextRound() < type(uint24).max);
        PoolWord next = word.opened(seats, live, commitBy, revealBy);
        assert(next.nextRound() == word.nextRound() + 1 && next.running() == word.nextRound());
        assert(next.count(PoolWordLib.EXPECTED) == word.count(PoolWordLib.MEMBERS));
        assert(next.count(PoolWordLib.MEMBERS) == word.count(PoolWordLib.MEMBERS));
        assert(next.count(PoolWordLib.MEMBER_SLOTS) == word.count(PoolWordLib.MEMBER_SLOTS));
        assert(next.count(PoolWordLib.COMMITTED) == 0 && next.count(PoolWordLib.REVEALED) == 0);
        assert(next.count(PoolWordLib.REVEALED_SLOTS) == 0);
        assert(next.count(PoolWordLib.SEATS) == seats && next.count(PoolWordLib.LIVE_SEATS) == live);
        assert(next.time(PoolWordLib.COMMIT_DEADLINE) == commitBy);
        assert(next.time(PoolWordLib.REVEAL_DEADLINE) == revealBy);
        assert(!next.has(PoolWordLib.SEALED) && !next.has(PoolWordLib.CLOSED) && !next.has(PoolWordLib.DISSENT));
        assert(!next.has(PoolWordLib.REOPENED));
        assert(next.has(PoolWordLib.ENDED) == word.has(PoolWordLib.ENDED));
        assert(next.has(PoolWordLib.OVERRULED) == word.has(PoolWordLib.OVERRULED));
        assert(next.has(PoolWordLib.LAST) == word.has(PoolWordLib.LAST));
    }

    function check_PoolWordCounters(PoolWord word, uint8 which) public pure {
        uint256 field = _counter(which);
        vm.assume(which >= 2); // the running round's six
        assert(PoolWordLib.ofCounters(word.counters()).count(field) == word.count(field));
    }

    // ---------------------------------------------------------------------------------------------- Record

    function check_Record(bytes32 commitment, uint24 round, uint8 width, uint24 other) public pure {
        vm.assume(width != 0);
        Record record = RecordLib.create(commitment, round, width);
        assert(record.roundOf() == round && record.width() == width);
        assert(record.hash() == RecordLib.truncate(commitment));
        assert(record.isOf(other) == (other == round));
        assert(!record.has(RecordLib.OPENED) && !record.has(RecordLib.PUNISHED));
        Record opened = record.with(RecordLib.OPENED);
        assert(opened.has(RecordLib.OPENED) && !opened.has(RecordLib.PUNISHED));
        assert(opened.roundOf() == round && opened.width() == width && opened.hash() == record.hash());
        assert(!Record.wrap(0).isOf(other));
    }

    // ---------------------------------------------------------------------------------------------- MemberWord

    /// @dev Every field but the ones of the given bits is as it was.
    function _onlyChanged(MemberWord next, MemberWord word, uint256 at, uint256 bits) private pure {
        uint256 mask = ((uint256(1) << bits) - 1) << at;
        assert((MemberWord.unwrap(next) ^ MemberWord.unwrap(word)) & ~mask == 0);
    }

    function check_MemberWordEntry(MemberWord word, uint24 round, uint8 value, uint24 other) public pure {
        MemberWord next = word.withEntry(round, value);
        assert(next.entry(round) == value);
        _onlyChanged(next, word, 8 * (uint256(round) % 16), 8);
        if (other % 16 != round % 16) assert(next.entry(other) == word.entry(other));
    }

    function check_MemberWordFields(MemberWord word, uint24 round, uint32 slots) public pure {
        vm.assume(slots < 1 << 30);
        MemberWord next = word.withLastRevealed(round);
        assert(next.lastRevealed() == round);
        _onlyChanged(next, word, 162, 24);
        next = word.withActiveFrom(round);
        assert(next.activeFrom() == round);
        _onlyChanged(next, word, 186, 24);
        next = word.withAccrued(slots);
        assert(next.accrued() == slots);
        _onlyChanged(next, word, 210, 30);
        next = word.asConvicted();
        assert(next.isConvicted());
        _onlyChanged(next, word, 248, 1);
    }

    function check_MemberWordMissed(MemberWord word, uint256 rounds) public pure {
        MemberWord next = word.withMissed(rounds);
        assert(next.missed() == (rounds > 255 ? 255 : rounds));
        _onlyChanged(next, word, 240, 8);
    }

    /// @dev A width holds from its round on, and what held in the round before stays until then.
    function check_MemberWordWidth(MemberWord word, uint8 width, uint24 from, uint24 later) public pure {
        vm.assume(width <= 31 && from != 0 && later >= from);
        vm.assume(word.changeAt() <= from);
        MemberWord next = word.withWidth(width, from);
        assert(next.widthAt(later) == width && next.nextWidth() == width && next.changeAt() == from);
        assert(next.widthAt(from - 1) == word.widthAt(from - 1));
        _onlyChanged(next, word, 128, 34);
    }

    /// @dev The round that a ring place belongs to is the one place among the last sixteen.
    function check_MemberWordRing(MemberWord word, uint8 place) public pure {
        uint256 end = word.lastRevealed();
        vm.assume(place < 16 && end >= 16);
        uint256 round = word.roundOfEntry(place);
        assert(round < end && round + 16 >= end && round % 16 == place);
        assert(word.entryOf(round) == word.entry(place));
        assert(word.entryOf(end) == 0 && word.entryOf(end + 1) == 0);
        if (end > 16) assert(word.entryOf(end - 17) == 0);
    }

    // ---------------------------------------------------------------------------------------------- SeatWord

    function check_SeatWord(uint8 place, uint24 activeFrom, uint24 round, bytes32 hash, bytes32 other) public pure {
        vm.assume(round < type(uint24).max);
        SeatWord fresh = SeatWordLib.create(place, activeFrom);
        SeatWord word = fresh.withCommitment(round, hash);
        assert(word.place() == place && word.activeFrom() == activeFrom && word.has(SeatWordLib.SEATED));
        assert(word.committed() == uint256(round) + 1 && word.isOf(round) && word.has(SeatWordLib.PENDING));
        assert(word.matches(hash) && word.matches(other) == (uint256(hash) >> 64 == uint256(other) >> 64));
        assert(!fresh.isOf(round) && !word.has(SeatWordLib.LEFT) && !word.has(SeatWordLib.PUNISHED));
    }
}
