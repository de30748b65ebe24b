// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoundLedger, PoolParams, Reveal} from "../interfaces/IRoundLedger.sol";
import {Record, RecordLib} from "../types/Record.sol";
import {Hashes} from "./Hashes.sol";
import {MemberState, PoolLib, PoolState, RING, RoundState} from "./PoolLib.sol";

/// @title Every transition of a round: open, commit, reveal, seal, seed, close.
/// @dev Pure bookkeeping on one pool's storage. The contract checks who calls and moves the money.
library RoundLib {
    using PoolLib for PoolState;
    using PoolLib for MemberState;

    /// @dev How a reveal ended: on time, on time and the last one, or after the seal.
    enum Revealed {
        OnTime,
        Last,
        Late
    }

    function phase(PoolState storage self) internal view returns (IRoundLedger.Phase) {
        if (self.nextRound == 0) return IRoundLedger.Phase.Idle;
        RoundState storage r = self.roundAt(self.nextRound - 1);
        if (r.closedAt != 0) return IRoundLedger.Phase.Idle;
        if (r.sealedAt != 0) return IRoundLedger.Phase.Sealed;
        if (r.committed < r.expected && block.timestamp <= r.commitDeadline) return IRoundLedger.Phase.Commit;
        return IRoundLedger.Phase.Reveal;
    }

    function requirePhase(PoolState storage self, IRoundLedger.Phase wanted) internal view {
        IRoundLedger.Phase current = phase(self);
        require(current == wanted, IRoundLedger.WrongPhase(current));
    }

    /// @dev When somebody else than the orchestrator may open the next round. Only between rounds.
    function openableAt(PoolState storage self) internal view returns (uint256) {
        uint256 since = self.nextRound == 0 ? self.createdAt : self.roundAt(self.nextRound - 1).closedAt;
        return since + self.params.graceWindow;
    }

    /// @dev Takes the ring place of the round `RING` before, which the caller has seen to be final.
    function open(PoolState storage self, uint32 trainWindow, uint256 seats, uint256 liveSeats)
        internal
        returns (uint256 round, uint64 commitDeadline)
    {
        PoolParams storage p = self.params;
        // The minimum is for the start: a run that has begun must not stop because a cheat was taken out.
        uint256 wanted = self.nextRound == 0 ? p.minSlots : 1;
        require(self.memberSlots >= wanted, IRoundLedger.TooFewSlots(self.memberSlots));
        require(liveSeats >= p.minSeats, IRoundLedger.TooFewSeats(liveSeats));
        require(
            trainWindow >= p.minTrainWindow && trainWindow <= p.maxTrainWindow,
            IRoundLedger.WindowOutOfBounds(trainWindow)
        );

        round = self.nextRound;
        self.nextRound = uint24(round + 1);
        commitDeadline = uint64(block.timestamp + trainWindow);
        RoundState storage r = self.roundAt(round);
        r.openedAt = uint40(block.timestamp);
        r.commitDeadline = uint40(commitDeadline);
        r.revealDeadline = uint40(commitDeadline + p.revealWindow);
        r.sealedAt = 0;
        r.expected = self.members;
        r.committed = 0;
        r.revealed = 0;
        r.revealedSlots = 0;
        r.seats = uint16(seats);
        r.liveSeats = uint16(liveSeats);
        r.closedAt = 0;
        r.seedBlock = 0;
        r.seeded = false;
        r.startRoot = self.checkpointRoot;
    }

    /// @dev Stores a commitment in the running round.
    /// @return round the running one
    /// @return displaced the record that stood in its ring place; the caller settles it if it is payable
    /// @return phaseEnded whether this was the last one expected
    function commit(PoolState storage self, address node, bytes32 commitment)
        internal
        returns (uint256 round, Record displaced, bool phaseEnded)
    {
        requirePhase(self, IRoundLedger.Phase.Commit);
        round = self.nextRound - 1;
        MemberState storage m = self.member[node];
        require(m.isExpected(round), IRoundLedger.NotExpected(node));
        displaced = self.recordOf(round, node);
        require(!displaced.isOf(round), IRoundLedger.AlreadyCommitted());

        // An open case keeps what it needs of the record that goes; the close has already decided about exclusion.
        if (displaced.has(RecordLib.CONTESTED) && !displaced.has(RecordLib.EXCLUDED)) {
            self.displaced[displaced.roundOf()][node] = displaced.width();
        }
        self.setRecord(round, node, RecordLib.create(commitment, round, m.width));
        self.roundAt(round).committed += 1;
        phaseEnded = endCommitPhaseIfComplete(self, round);
    }

    /// @dev Moves both deadlines forward once nobody is waited for.
    function endCommitPhaseIfComplete(PoolState storage self, uint256 round) internal returns (bool ended) {
        RoundState storage r = self.roundAt(round);
        ended = r.committed == r.expected;
        if (ended) {
            r.commitDeadline = uint40(block.timestamp);
            r.revealDeadline = uint40(block.timestamp + self.params.revealWindow);
        }
    }

    /// @dev Opens the node's commitment of the running round; failing that, of the latest sealed round in the ring that
    /// it fits and that has not been opened.
    function reveal(PoolState storage self, uint256 poolId, address node, Reveal calldata opened)
        internal
        returns (uint256 round, Revealed how)
    {
        IRoundLedger.Phase current = phase(self);
        require(self.nextRound != 0, IRoundLedger.WrongPhase(current));
        uint256 running = self.nextRound - 1;
        bool open_ = current == IRoundLedger.Phase.Reveal && block.timestamp <= self.roundAt(running).revealDeadline;
        Record record;
        bytes32 hash;
        (round, record, hash) = _match(self, poolId, node, opened, running, open_);
        if (record.width() == 0) {
            require(open_, IRoundLedger.WrongPhase(current));
            record = self.recordOf(running, node);
            revert IRoundLedger.CommitmentMismatch(record.isOf(running) ? record.hash() : bytes32(0), hash);
        }
        if (round != running || !open_) {
            self.setRecord(round, node, record.with(RecordLib.LATE));
            return (round, Revealed.Late);
        }

        if (_accept(self, node, opened, round, record)) {
            how = Revealed.Last;
            seal(self);
        }
    }

    /// @dev Ends the reveals of the running round and pins the seed block, which does not exist yet.
    function seal(PoolState storage self) internal {
        RoundState storage r = self.roundAt(self.nextRound - 1);
        r.sealedAt = uint40(block.timestamp);
        r.seedBlock = uint64(block.number + 1);
    }

    /// @dev The EVM remembers 256 block hashes; a seed block that nobody captured in time is replaced by a new one, and
    /// a captured seed stays.
    /// @return captured whether the seed was stored; false means that a new block was pinned
    function captureSeed(PoolState storage self, uint256 round) internal returns (bool captured) {
        RoundState storage r = self.roundAt(round);
        require(block.number > r.seedBlock, IRoundLedger.SeedNotReady(r.seedBlock));
        bytes32 seed = blockhash(r.seedBlock);
        captured = seed != 0;
        if (captured) {
            r.seed = seed;
            r.seeded = true;
        } else {
            r.seedBlock = uint64(block.number + 1);
        }
    }

    /// @dev Leaves one revealed record out of the running round's mean and pay.
    function exclude(PoolState storage self, address node) internal returns (uint256 width) {
        uint256 round = self.nextRound - 1;
        Record record = self.recordOf(round, node);
        require(
            record.isOf(round) && record.has(RecordLib.REVEALED) && !record.has(RecordLib.EXCLUDED),
            IRoundLedger.BadExclusion(node)
        );
        self.setRecord(round, node, record.with(RecordLib.EXCLUDED));
        return record.width();
    }

    /// @dev Names the next checkpoint. Without an included update there is nothing to step by.
    /// @return poolEnded whether this was the last round
    function close(PoolState storage self, bytes32 root, uint256 acceptedSlots) internal returns (bool poolEnded) {
        RoundState storage r = self.roundAt(self.nextRound - 1);
        require(root != 0 && (acceptedSlots != 0 || root == r.startRoot), IRoundLedger.BadRoot());
        r.closedAt = uint40(block.timestamp);
        self.checkpointRoot = root;
        poolEnded = self.nextRound == self.params.rounds;
        if (poolEnded) self.ended = true;
    }

    /// @dev Takes an on-time reveal into the running round.
    /// @return last whether nobody else is waited for
    function _accept(PoolState storage self, address node, Reveal calldata opened, uint256 round, Record record)
        private
        returns (bool last)
    {
        MemberState storage m = self.member[node];
        require(opened.width == record.width(), IRoundLedger.BadWidth(opened.width));
        bytes32 stateOut = m.stateOut;
        require(
            opened.stateIn == 0 || opened.stateIn == stateOut, IRoundLedger.BrokenStateChain(stateOut, opened.stateIn)
        );

        // 1. The record and its node.
        self.setRecord(round, node, record.with(RecordLib.REVEALED));
        m.stateOut = opened.stateOut;
        m.lastRevealed = uint24(round + 1);
        m.missed = 0;

        // 2. The round.
        RoundState storage r = self.roundAt(round);
        bytes32 accumulator = r.revealed == 0 ? bytes32(0) : r.accumulator;
        r.accumulator = Hashes.accumulate(accumulator, node, opened.updateRoot, opened.norm, opened.width);
        r.revealed += 1;
        r.revealedSlots += opened.width;
        return r.revealed == r.committed;
    }

    /// @dev Looks for the unopened record that these values open, from the running round back through the ring.
    /// @param open_ whether the running round takes reveals; any other round must be sealed
    /// @return round the one found
    /// @return record the empty one when there is none
    /// @return hash what the values hash to in the running round
    function _match(
        PoolState storage self,
        uint256 poolId,
        address node,
        Reveal memory opened,
        uint256 running,
        bool open_
    ) private view returns (uint256 round, Record record, bytes32 hash) {
        for (uint256 back; back < RING && back <= running; ++back) {
            round = running - back;
            bytes32 candidate = RecordLib.truncate(Hashes.commitment(address(this), poolId, round, node, opened));
            if (back == 0) hash = candidate;
            record = self.recordOf(round, node);
            bool takesReveals = (back == 0 && open_) || self.roundAt(round).sealedAt != 0;
            if (
                takesReveals && record.isOf(round) && !record.has(RecordLib.REVEALED | RecordLib.LATE)
                    && record.hash() == candidate
            ) return (round, record, hash);
        }
        record = Record.wrap(0);
    }
}
