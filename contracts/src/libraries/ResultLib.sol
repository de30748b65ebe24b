// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoundLedger} from "../interfaces/IRoundLedger.sol";
import {MemberWord, MemberWordLib} from "../types/MemberWord.sol";
import {PoolWord, PoolWordLib} from "../types/PoolWord.sol";
import {Dissent, MemberState, PoolLib, PoolState, RoundState} from "./PoolLib.sol";

/// @title What a round's result is: the close, the votes about it, its disproof.
library ResultLib {
    using PoolLib for PoolState;

    // ---------------------------------------------------------------------------------------------- the vote

    /// @dev Counts slots that started from another root than the posted one, and remembers whose.
    function countDissent(PoolState storage self, uint256 round, address node, bytes32 root, uint256 width) internal {
        Dissent storage d = self.dissent[round];
        uint256 slots = d.slots[root] + width;
        d.slots[root] = slots;
        d.named[node] = root;
        d.otherSlots += uint16(width);
        if (slots > d.leadSlots) (d.lead, d.leadSlots) = (root, uint16(slots));
    }

    /// @dev The start-root vote. Nobody can outvote the first checkpoint, which the pool's creator names.
    /// @return winner the root that two thirds of the revealed slots name instead of the posted one, or zero
    function decideStartRoot(PoolState storage self, uint256 round, uint256 revealedSlots)
        internal
        returns (bytes32 winner)
    {
        Dissent storage d = self.dissent[round];
        if (round == 0 || uint256(d.leadSlots) * 3 < revealedSlots * 2) return 0;
        winner = d.lead;
        d.winner = winner;
        self.roundAt(round).startRoot = winner;
        self.checkpointRoot = winner;
    }

    /// @dev Whether work counts in its round: it started from the root that holds. (Exclusions aside.)
    function startedRight(PoolState storage self, uint256 round, address node, uint256 entry)
        internal
        view
        returns (bool)
    {
        bool other = entry & MemberWordLib.OTHER != 0;
        if (!self.word.has(PoolWordLib.OVERRULED)) return !other;
        bytes32 winner = self.dissent[round].winner;
        if (winner == 0) return !other;
        return other && self.dissent[round].named[node] == winner;
    }

    /// @dev Whether the next round's votes replaced what the close of this one posted; its exclusions are void then.
    function isOverruled(PoolState storage self, uint256 round) internal view returns (bool) {
        return self.word.has(PoolWordLib.OVERRULED) && self.dissent[round + 1].winner != 0;
    }

    // ---------------------------------------------------------------------------------------------- the close

    /// @dev Leaves one revealed update out of the running round's mean and pay.
    /// @return width its slots
    function exclude(PoolState storage self, uint256 round, address node) internal returns (uint256 width) {
        MemberState storage m = self.member[node];
        MemberWord word = m.word;
        uint256 entry = word.entryOf(round);
        width = MemberWordLib.widthOf(entry);
        require(
            width != 0 && entry & MemberWordLib.EXCLUDED == 0 && startedRight(self, round, node, entry),
            IRoundLedger.BadExclusion(node)
        );
        m.word = word.withEntry(round, entry | MemberWordLib.EXCLUDED);
    }

    /// @dev Slots whose updates are the running round's, before exclusions.
    function countingSlots(PoolState storage self, PoolWord word) internal view returns (uint256 slots) {
        slots = word.count(PoolWordLib.REVEALED_SLOTS);
        if (word.has(PoolWordLib.DISSENT)) {
            Dissent storage d = self.dissent[word.running()];
            slots = d.winner != 0 ? d.leadSlots : slots - d.otherSlots;
        }
    }

    /// @dev Names the next checkpoint. Without an included update there is nothing to step by.
    function close(PoolState storage self, bytes32 root, address poster, uint256 excluded, uint256 includedSlots)
        internal
    {
        PoolWord word = self.word;
        uint256 round = word.running();
        RoundState storage r = self.roundAt(round);
        require(root != 0 && (includedSlots != 0 || root == r.startRoot), IRoundLedger.BadRoot());
        (r.poster, r.closedAt, r.excluded, r.punished) = (poster, uint40(block.timestamp), uint16(excluded), false);
        self.checkpointRoot = root;
        self.lastClosed[poster] = round + 1;
        word = word.with(PoolWordLib.CLOSED);
        self.word = word.nextRound() == self.terms.rounds ? word.with(PoolWordLib.LAST) : word;
    }

    /// @dev Goes back to what an older round started from, as `next` opens. The last result is nobody's any more: it can
    /// neither be disproved nor cost its poster the bond.
    function rollBack(PoolState storage self, uint256 next, uint256 place) internal {
        self.checkpointRoot = self.roundAt(place).startRoot;
        self.roundAt(next - 1).punished = true;
    }

    /// @dev Until when a close can be disproved, unix seconds: its next round's votes first, then time for a proof. 0 before
    /// the close.
    function disprovableUntil(PoolState storage self, uint256 round) internal view returns (uint256) {
        if (!self.inRing(round) || !self.isClosed(round)) return 0;
        uint256 since = self.roundAt(round).closedAt;
        if (!self.isRunning(round)) {
            if (!self.isSealed(round + 1)) return type(uint64).max;
            since = self.roundAt(round + 1).sealedAt;
        }
        return since + self.terms.challengeWindow;
    }

    /// @dev What the close of a round posted, as long as nobody has replaced it.
    function resultRoot(PoolState storage self, uint256 round) internal view returns (bytes32) {
        if (!self.inRing(round) || !self.isClosed(round) || isOverruled(self, round)) return 0;
        return self.isRunning(round) ? self.checkpointRoot : self.roundAt(round + 1).startRoot;
    }

    /// @dev Whether the result of a closed round may still change what becomes of this work. An exclusion is void once the
    /// next round overrules the close, and is what a disproof has to name: so it waits for that round where one can still
    /// open. While no other round has opened, a disproved close is done again, and may exclude others.
    function isUndecided(PoolState storage self, uint256 round, uint256 entry) internal view returns (bool) {
        bool excluded = entry & MemberWordLib.EXCLUDED != 0;
        bool waiting = self.isRunning(round);
        if (excluded && waiting && !self.word.has(PoolWordLib.ENDED)) return true;
        return (excluded || waiting) && block.timestamp <= disprovableUntil(self, round);
    }

    /// @dev Marks a disproved close, once; where the next round has not opened, the round waits for another close.
    /// @return poster who loses the bond
    function disprove(PoolState storage self, uint256 round, address[] calldata excluded)
        internal
        returns (address poster)
    {
        RoundState storage r = self.roundAt(round);
        uint256 until = disprovableUntil(self, round);
        require(until != 0, IRoundLedger.UnknownRound(round));
        require(block.timestamp <= until, IRoundLedger.TooLate());
        poster = r.poster;
        require(!r.punished && poster != address(0) && !isOverruled(self, round), IRoundLedger.NotPunishable());
        r.punished = true;

        // The set that the proof used is exactly the one of the close.
        bool again = self.isRunning(round);
        require(excluded.length == r.excluded, IRoundLedger.BadExclusion(address(0)));
        for (uint256 i; i < excluded.length; ++i) {
            address node = excluded[i];
            require(i == 0 || node > excluded[i - 1], IRoundLedger.BadExclusion(node));
            MemberState storage m = self.member[node];
            uint256 entry = m.word.entryOf(round);
            require(entry & MemberWordLib.EXCLUDED != 0, IRoundLedger.BadExclusion(node));
            if (again) m.word = m.word.withEntry(round, entry & ~MemberWordLib.EXCLUDED);
        }
        if (again) {
            self.word = self.word.without(PoolWordLib.CLOSED).with(PoolWordLib.REOPENED);
            self.checkpointRoot = r.startRoot;
        }
    }
}
