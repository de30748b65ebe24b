// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoundLedger} from "../interfaces/IRoundLedger.sol";
import {Record, RecordLib} from "../types/Record.sol";
import {MemberState, PoolLib, PoolState} from "./PoolLib.sol";
import {RoundLib} from "./RoundLib.sol";

/// @title Who is in a pool, who missed, who is contested or convicted.
library MemberLib {
    using PoolLib for PoolState;
    using PoolLib for MemberState;
    using RoundLib for PoolState;

    function join(PoolState storage self, address node, address operator, uint16 width)
        internal
        returns (uint256 activeFrom)
    {
        require(!self.ended, IRoundLedger.PoolHasEnded());
        require(width != 0 && width <= self.params.maxWidth, IRoundLedger.BadWidth(width));
        require(uint256(self.memberSlots) + width <= self.params.maxSlots, IRoundLedger.PoolFull());
        MemberState storage m = self.member[node];
        require(m.width == 0, IRoundLedger.AlreadyMember(node));
        require(!m.convicted, IRoundLedger.NodeConvicted(node));

        activeFrom = self.nextRound;
        m.operator = operator;
        m.width = uint8(width);
        m.activeFrom = uint24(activeFrom);
        m.leftAt = 0;
        m.missed = 0;
        self.members += 1;
        self.memberSlots += width;
    }

    /// @dev Takes a node out of the next rounds, and out of the running one if that still waits for its commitment.
    /// @return leftAt first round that does not expect it
    /// @return phaseEnded whether the running commit phase waited for this node alone
    function takeOut(PoolState storage self, address node) internal returns (uint256 leftAt, bool phaseEnded) {
        MemberState storage m = self.member[node];
        leftAt = self.nextRound;
        bool running = self.phase() == IRoundLedger.Phase.Commit;
        if (running && m.isExpected(leftAt - 1) && !self.recordOf(leftAt - 1, node).isOf(leftAt - 1)) {
            leftAt -= 1;
            self.roundAt(leftAt).expected -= 1;
            phaseEnded = self.endCommitPhaseIfComplete(leftAt);
        }
        // Zero would mean "still in": a node that leaves before it was ever expected was active in [1, 1).
        if (leftAt == 0) {
            leftAt = 1;
            m.activeFrom = 1;
        }
        m.leftAt = uint24(leftAt);
        self.members -= 1;
        self.memberSlots -= m.width;
    }

    /// @dev Counts a closed round that expected the node and has no on-time reveal of it. In order, so that each counts
    /// once; a miss before the latest reveal no longer matters.
    function miss(PoolState storage self, uint256 round, address node) internal returns (uint8 inARow) {
        MemberState storage m = self.member[node];
        require(
            m.isExpected(round) && round >= m.lastRevealed && round >= m.missedUpTo, IRoundLedger.NothingMissed(node)
        );
        inARow = m.missed == type(uint8).max ? m.missed : m.missed + 1;
        m.missed = inARow;
        m.missedUpTo = uint24(round + 1);
    }

    /// @dev Freezes the pay of an on-time record. The court calls at most once per record.
    function contest(PoolState storage self, uint256 round, address node) internal returns (uint16 width) {
        Record record = self.recordOf(round, node);
        require(record.isOf(round) && record.has(RecordLib.REVEALED), IRoundLedger.NotExpected(node));
        self.setRecord(round, node, record.with(RecordLib.CONTESTED));
        self.member[node].contests += 1;
        return record.width();
    }

    /// @dev Ends a contest. A record that is still stored becomes payable again (or is excluded, as before).
    /// @return displaced width of the record if its ring place was taken meanwhile: the caller pays it
    function resolve(PoolState storage self, uint256 round, address node) internal returns (uint256 displaced) {
        Record record = self.recordOf(round, node);
        self.member[node].contests -= 1;
        if (record.isOf(round)) {
            self.setRecord(round, node, record.without(RecordLib.CONTESTED));
        } else {
            displaced = self.displaced[round][node];
            delete self.displaced[round][node];
        }
    }

    /// @dev Remembers the earliest convicted round: pay of this and later ones is forfeited.
    function convict(PoolState storage self, uint256 round, address node) internal {
        MemberState storage m = self.member[node];
        if (!m.convicted || round < m.convictedFrom) m.convictedFrom = uint24(round);
        m.convicted = true;
    }

    function isForfeited(MemberState storage self, uint256 round) internal view returns (bool) {
        return self.convicted && round >= self.convictedFrom;
    }
}
