// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoundLedger, Reveal} from "../interfaces/IRoundLedger.sol";
import {MemberWord, MemberWordLib} from "../types/MemberWord.sol";
import {PoolWord, PoolWordLib} from "../types/PoolWord.sol";
import {Record, RecordLib} from "../types/Record.sol";
import {Hashes} from "./Hashes.sol";
import {MemberState, PoolLib, PoolState, RoundState} from "./PoolLib.sol";
import {ResultLib} from "./ResultLib.sol";
import {WorkLib} from "./WorkLib.sol";

/// @title Open, commit, reveal, seal: a round up to the moment when its set of updates is known.
/// @dev Pure bookkeeping on one pool's storage. The contract checks who calls and moves the money.
library RoundLib {
    using PoolLib for PoolState;
    using ResultLib for PoolState;
    using WorkLib for PoolState;

    function phase(PoolWord word) internal view returns (IRoundLedger.Phase) {
        if (word.nextRound() == 0 || word.has(PoolWordLib.CLOSED)) return IRoundLedger.Phase.Idle;
        if (word.has(PoolWordLib.SEALED)) return IRoundLedger.Phase.Sealed;
        bool waiting = word.count(PoolWordLib.COMMITTED) < word.count(PoolWordLib.EXPECTED);
        if (waiting && block.timestamp <= word.time(PoolWordLib.COMMIT_DEADLINE)) return IRoundLedger.Phase.Commit;
        return IRoundLedger.Phase.Reveal;
    }

    function requirePhase(PoolWord word, IRoundLedger.Phase wanted) internal view {
        IRoundLedger.Phase current = phase(word);
        require(current == wanted, IRoundLedger.WrongPhase(current));
    }

    /// @dev Takes the ring place of the round `RING` before, which the caller has seen to be final.
    function open(PoolState storage self, uint256 trainWindow, uint256 seats, uint256 liveSeats)
        internal
        returns (uint256 round, uint256 commitDeadline)
    {
        PoolWord word = self.word;
        round = word.nextRound();
        commitDeadline = block.timestamp + trainWindow;
        self.word = word.opened(seats, liveSeats, commitDeadline, commitDeadline + self.terms.revealWindow);
        if (word.has(PoolWordLib.ROLLS_BACK)) self.rollBack(round, word.rollbackPlace());
        self.roundAt(round).startRoot = self.checkpointRoot;
    }

    /// @dev Stores a commitment in the running round.
    /// @return word the pool's new word
    /// @return phaseEnded whether this was the last one expected
    function commit(PoolState storage self, address node, bytes32 commitment)
        internal
        returns (PoolWord word, bool phaseEnded)
    {
        word = self.word;
        requirePhase(word, IRoundLedger.Phase.Commit);
        uint256 round = word.running();
        MemberState storage m = self.member[node];
        uint256 width = m.word.widthAt(round);
        require(width != 0, IRoundLedger.NotExpected(node));
        require(!m.pending.isOf(round), IRoundLedger.AlreadyCommitted());

        m.pending = RecordLib.create(commitment, round, width);
        (word, phaseEnded) = endCommitPhaseIfComplete(self, word.plus(PoolWordLib.COMMITTED, 1));
        self.word = word;
    }

    /// @dev Moves both deadlines forward once nobody is waited for.
    function endCommitPhaseIfComplete(PoolState storage self, PoolWord word)
        internal
        view
        returns (PoolWord, bool ended)
    {
        ended = word.count(PoolWordLib.COMMITTED) == word.count(PoolWordLib.EXPECTED);
        if (ended) {
            word = word.withTime(PoolWordLib.COMMIT_DEADLINE, block.timestamp);
            word = word.withTime(PoolWordLib.REVEAL_DEADLINE, block.timestamp + self.terms.revealWindow);
        }
        return (word, ended);
    }

    /// @dev Opens the node's latest commitment: on time in the running round, or late.
    /// @return round the one it was committed in
    /// @return onTime false: recorded, and nothing else
    /// @return released slots of older work that turned out unpaid
    function reveal(PoolState storage self, uint256 poolId, address node, Reveal calldata opened)
        internal
        returns (uint256 round, bool onTime, uint256 released)
    {
        MemberState storage m = self.member[node];
        round = _match(m, poolId, node, opened);
        PoolWord word = self.word;
        if (round != word.running() || word.has(PoolWordLib.SEALED)) {
            m.pending = m.pending.with(RecordLib.OPENED);
            return (round, false, 0);
        }
        IRoundLedger.Phase current = phase(word);
        require(
            current == IRoundLedger.Phase.Reveal && block.timestamp <= word.time(PoolWordLib.REVEAL_DEADLINE),
            IRoundLedger.WrongPhase(current)
        );
        return (round, true, _accept(self, word, round, node, opened));
    }

    /// @dev Whether nobody's reveal is waited for any more.
    function isComplete(PoolWord word) internal pure returns (bool) {
        return word.count(PoolWordLib.REVEALED) == word.count(PoolWordLib.COMMITTED);
    }

    /// @dev Ends the reveals of the running round and pins the seed block, which does not exist yet. The confirm-only
    /// round, and with it the pool, ends here.
    /// @return word the pool's new word
    /// @return overruledBy the root that replaces what the last close posted, or zero
    function seal(PoolState storage self) internal returns (PoolWord word, bytes32 overruledBy) {
        word = self.word;
        uint256 round = word.running();
        RoundState storage r = self.roundAt(round);
        r.sealedAt = uint40(block.timestamp);
        r.seedBlock = uint40(block.number + 1);
        r.counters = word.counters();

        if (word.has(PoolWordLib.DISSENT)) {
            overruledBy = self.decideStartRoot(round, word.count(PoolWordLib.REVEALED_SLOTS));
            if (overruledBy != 0) word = word.with(PoolWordLib.OVERRULED);
        }
        word = word.with(PoolWordLib.SEALED);
        if (word.has(PoolWordLib.LAST)) {
            word = word.with(PoolWordLib.CLOSED).with(PoolWordLib.ENDED);
            (r.poster, r.closedAt, r.excluded, r.punished) = (address(0), uint40(block.timestamp), 0, false);
        }
        self.word = word;
    }

    /// @dev Checks that these values are the node's latest commitment, not opened yet.
    /// @return round the one it was committed in
    function _match(MemberState storage m, uint256 poolId, address node, Reveal calldata opened)
        private
        view
        returns (uint256 round)
    {
        Record pending = m.pending;
        round = pending.roundOf();
        bytes32 hash = RecordLib.truncate(Hashes.commitmentOf(address(this), poolId, round, node, opened));
        uint256 width = pending.width();
        require(width != 0 && pending.hash() == hash, IRoundLedger.CommitmentMismatch(pending.hash(), hash));
        MemberWord word = m.word;
        require(!pending.has(RecordLib.OPENED) && word.lastRevealed() != round + 1, IRoundLedger.AlreadyRevealed());
        require(!word.isConvicted(), IRoundLedger.NodeConvicted(node));
        require(opened.width == width, IRoundLedger.BadWidth(opened.width));
    }

    /// @dev Takes an on-time reveal: the private state, the place in the round, and the older work whose place it takes.
    /// @return released slots of older work that turned out unpaid
    function _accept(PoolState storage self, PoolWord word, uint256 round, address node, Reveal calldata opened)
        private
        returns (uint256 released)
    {
        MemberState storage m = self.member[node];
        bool confirmOnly = word.has(PoolWordLib.LAST);
        _carryState(m, opened, confirmOnly);
        uint256 entry = _count(self, word, round, node, opened);
        MemberWord memberWord;
        (memberWord, released) = self.replaceOldWork(node, m.word, round);
        if (!confirmOnly) memberWord = memberWord.withEntry(round, entry);
        m.word = memberWord.withLastRevealed(round + 1).withMissed(0);
    }

    /// @dev Chains the private state from reveal to reveal. The confirm-only round carries nothing but its vote.
    function _carryState(MemberState storage m, Reveal calldata opened, bool confirmOnly) private {
        if (confirmOnly) {
            bytes32 carried = opened.updateRoot | opened.traceRoot | opened.stateIn | opened.stateOut;
            require(carried == 0 && opened.norm == 0, IRoundLedger.ConfirmOnly());
            return;
        }
        bytes32 stateOut = m.stateOut;
        require(
            opened.stateIn == 0 || opened.stateIn == stateOut, IRoundLedger.BrokenStateChain(stateOut, opened.stateIn)
        );
        if (opened.stateOut != stateOut) m.stateOut = opened.stateOut;
    }

    /// @dev Takes an on-time reveal into its round: the accumulator, the vote about the start root, the counters.
    /// @return entry its history byte
    function _count(PoolState storage self, PoolWord word, uint256 round, address node, Reveal calldata opened)
        private
        returns (uint256 entry)
    {
        RoundState storage r = self.roundAt(round);
        r.accumulator = Hashes.accumulate(
            word.count(PoolWordLib.REVEALED) == 0 ? bytes32(0) : r.accumulator,
            node,
            opened.startRoot,
            opened.updateRoot,
            opened.norm,
            opened.width
        );
        entry = opened.width;
        if (opened.startRoot != r.startRoot) {
            self.countDissent(round, node, opened.startRoot, opened.width);
            word = word.with(PoolWordLib.DISSENT);
            entry |= MemberWordLib.OTHER;
        }
        self.word = word.plus(PoolWordLib.REVEALED, 1).plus(PoolWordLib.REVEALED_SLOTS, opened.width);
    }
}
