// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {MemberWord, MemberWordLib} from "../types/MemberWord.sol";
import {MemberState, PoolState} from "./PoolLib.sol";
import {ResultLib} from "./ResultLib.sol";

/// @title What becomes of revealed work: pay, forfeit or nothing, each exactly once.
/// @dev The budget of every revealed slot stays reserved until its history byte is cleared here.
library WorkLib {
    using ResultLib for PoolState;

    uint256 private constant PLACES = 16;

    /// @dev Whether work of a final round is paid. An exclusion by a close that was overruled is void.
    function isPaid(PoolState storage self, uint256 round, address node, uint256 entry) internal view returns (bool) {
        if (entry & MemberWordLib.EXCLUDED != 0 && !self.isOverruled(round)) return false;
        return self.startedRight(round, node, entry);
    }

    function isForfeited(MemberState storage self, MemberWord word, uint256 round) internal view returns (bool) {
        return word.isConvicted() && round >= self.convictedFrom;
    }

    /// @dev Clears the ring places from the last reveal up to this round. The rounds that stood there were final when
    /// their place in the ring was taken.
    /// @return word the new member word
    /// @return released slots that turned out unpaid
    function replaceOldWork(PoolState storage self, address node, MemberWord word, uint256 round)
        internal
        returns (MemberWord, uint256 released)
    {
        if (!word.hasHistory()) return (word, 0);
        uint256 from = word.lastRevealed();
        MemberWord before = word;
        if (round >= from + PLACES) from = round - PLACES + 1;
        for (uint256 r = from; r <= round; ++r) {
            uint256 entry = before.entry(r);
            if (entry == 0) continue;
            uint256 old = before.roundOfEntry(r % PLACES);
            uint256 slots = MemberWordLib.widthOf(entry);
            if (entry & MemberWordLib.CONTESTED != 0) {
                self.displaced[old][node] = uint8(entry & ~MemberWordLib.CONTESTED); // the case decides
            } else if (isPaid(self, old, node, entry)) {
                word = word.withAccrued(word.accrued() + slots);
            } else {
                released += slots;
            }
            word = word.withEntry(r, 0);
        }
        return (word, released);
    }

    /// @dev Clears the uncontested work in the given ring places, and what had accrued before.
    /// @param over one bit per place whose round is final
    /// @return paid slots that become the operator's pay
    /// @return forfeited slots that a conviction takes
    /// @return all with those that are unpaid
    function settle(PoolState storage self, address node, uint256 over)
        internal
        returns (uint256 paid, uint256 forfeited, uint256 all)
    {
        MemberState storage m = self.member[node];
        MemberWord word = m.word;
        paid = all = word.accrued();
        for (uint256 place; place < PLACES; ++place) {
            uint256 entry = word.entry(place);
            if (over & (1 << place) == 0 || entry & MemberWordLib.CONTESTED != 0) continue;
            uint256 slots = MemberWordLib.widthOf(entry);
            uint256 round = word.roundOfEntry(place);
            all += slots;
            if (isPaid(self, round, node, entry)) {
                if (isForfeited(m, word, round)) forfeited += slots;
                else paid += slots;
            }
            word = word.withEntry(place, 0);
        }
        m.word = word.withAccrued(0);
    }

    /// @dev Freezes the pay of revealed work. The court calls at most once per record.
    function contest(MemberState storage self, uint256 round) internal returns (uint256 width) {
        MemberWord word = self.word;
        uint256 entry = word.entryOf(round);
        width = MemberWordLib.widthOf(entry);
        if (width == 0) return 0;
        self.word = word.withEntry(round, entry | MemberWordLib.CONTESTED);
        self.contests += 1;
    }

    /// @dev Ends a contest: the work is settled like any other again.
    /// @return slots of the work where its place was taken meanwhile, which the caller settles, and whether it is paid
    function resolve(PoolState storage self, uint256 round, address node) internal returns (uint256 slots, bool paid) {
        MemberState storage m = self.member[node];
        m.contests -= 1;
        MemberWord word = m.word;
        uint256 entry = word.entryOf(round);
        if (entry != 0) {
            m.word = word.withEntry(round, entry & ~MemberWordLib.CONTESTED);
            return (0, false);
        }
        entry = self.displaced[round][node];
        delete self.displaced[round][node];
        return (MemberWordLib.widthOf(entry), isPaid(self, round, node, entry));
    }
}
