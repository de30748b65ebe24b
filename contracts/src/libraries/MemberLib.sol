// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoundLedger} from "../interfaces/IRoundLedger.sol";
import {MemberWord} from "../types/MemberWord.sol";
import {PoolWord, PoolWordLib} from "../types/PoolWord.sol";
import {Record} from "../types/Record.sol";
import {MemberState, PoolLib, PoolState} from "./PoolLib.sol";
import {RoundLib} from "./RoundLib.sol";

/// @title Who is in a pool and how wide, who missed, who is convicted.
library MemberLib {
    using PoolLib for PoolState;
    using RoundLib for PoolState;

    /// @dev Brings a node in from the next round on.
    function join(PoolState storage self, address node, address operator, uint256 width)
        internal
        returns (uint256 activeFrom)
    {
        MemberState storage m = self.member[node];
        MemberWord word = m.word;
        require(word.nextWidth() == 0, IRoundLedger.AlreadyMember(node));
        require(!word.isConvicted(), IRoundLedger.NodeConvicted(node));
        activeFrom = setWidth(self, node, width);
        m.operator = operator;
        m.word = m.word.withActiveFrom(activeFrom).withMissed(0);
    }

    /// @dev Declares a width from the next round on; zero takes the node out.
    /// @return from the next round
    function setWidth(PoolState storage self, address node, uint256 width) internal returns (uint256 from) {
        PoolWord word = self.word;
        MemberState storage m = self.member[node];
        MemberWord memberWord = m.word;
        uint256 before = memberWord.nextWidth();
        from = word.nextRound();
        if (width != 0) {
            require(!word.has(PoolWordLib.ENDED), IRoundLedger.PoolHasEnded());
            require(width <= self.terms.maxWidth, IRoundLedger.BadWidth(width));
            uint256 slots = word.count(PoolWordLib.MEMBER_SLOTS) - before + width;
            require(slots <= self.terms.maxSlots, IRoundLedger.PoolFull());
        }
        if (before == 0 && width != 0) word = word.plus(PoolWordLib.MEMBERS, 1);
        if (before != 0 && width == 0) word = word.minus(PoolWordLib.MEMBERS, 1);
        self.word = word.minus(PoolWordLib.MEMBER_SLOTS, before).plus(PoolWordLib.MEMBER_SLOTS, width);
        m.word = memberWord.withWidth(width, from);
    }

    /// @dev Takes a node out of the next rounds, and out of the running one if that still waits for its commitment.
    /// @return leftAt first round that does not expect it
    /// @return phaseEnded whether the running commit phase waited for this node alone
    function takeOut(PoolState storage self, address node) internal returns (uint256 leftAt, bool phaseEnded) {
        MemberState storage m = self.member[node];
        MemberWord before = m.word; // knows the width in the round before the running one
        leftAt = setWidth(self, node, 0);
        PoolWord word = self.word;
        if (RoundLib.phase(word) != IRoundLedger.Phase.Commit) return (leftAt, false);
        uint256 running = word.running();
        if (before.widthAt(running) == 0 || m.pending.isOf(running)) return (leftAt, false);
        m.word = before.withWidth(0, running);
        (word, phaseEnded) = self.endCommitPhaseIfComplete(word.minus(PoolWordLib.EXPECTED, 1));
        self.word = word;
        leftAt = running;
    }

    /// @dev Remembers the earliest convicted round: unsettled pay of this and later ones is forfeited. The running round
    /// waits for neither its commitment (an ejected node is still expected) nor its reveal: a commitment is void.
    /// @return phaseEnded whether the running commit phase is complete now
    function convict(PoolState storage self, uint256 round, address node) internal returns (bool phaseEnded) {
        MemberState storage m = self.member[node];
        if (!m.word.isConvicted() || round < m.convictedFrom) m.convictedFrom = uint24(round);
        m.word = m.word.asConvicted();

        PoolWord word = self.word;
        uint256 running = word.running();
        bool expected = m.word.widthAt(running) != 0 && m.word.lastRevealed() != running + 1;
        if (!expected || word.has(PoolWordLib.SEALED)) return false;
        bool committing = RoundLib.phase(word) == IRoundLedger.Phase.Commit;
        if (m.pending.isOf(running)) {
            m.pending = Record.wrap(0);
            word = word.minus(PoolWordLib.COMMITTED, 1);
        } else if (!committing) {
            return false;
        }
        m.word = m.word.withWidth(0, running);
        word = word.minus(PoolWordLib.EXPECTED, 1);
        if (committing) (word, phaseEnded) = self.endCommitPhaseIfComplete(word);
        self.word = word;
    }

    /// @dev Counts a closed round that expected the node and has no on-time reveal of it. In order, so that each counts
    /// once; a miss before the latest reveal no longer matters.
    /// @return inARow misses without a reveal between them
    /// @return width slots that the round expected
    function miss(PoolState storage self, uint256 round, address node)
        internal
        returns (uint256 inARow, uint256 width)
    {
        MemberState storage m = self.member[node];
        MemberWord word = m.word;
        width = word.widthAt(round);
        require(
            width != 0 && word.activeFrom() <= round && round >= word.lastRevealed() && round >= m.missedUpTo,
            IRoundLedger.NothingMissed(node)
        );
        word = word.withMissed(word.missed() + 1);
        m.word = word;
        m.missedUpTo = uint24(round + 1);
        inARow = word.missed();
    }
}
