// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "./interfaces/ICourt.sol";
import {IRewards} from "./interfaces/IRewards.sol";
import {IRoundLedger, Reveal, RoundTerms} from "./interfaces/IRoundLedger.sol";
import {IStakeManager} from "./interfaces/IStakeManager.sol";
import {Hashes} from "./libraries/Hashes.sol";
import {MemberLib} from "./libraries/MemberLib.sol";
import {MemberState, PoolLib, PoolState, RING as RING_, RoundState} from "./libraries/PoolLib.sol";
import {ResultLib} from "./libraries/ResultLib.sol";
import {RoundLib} from "./libraries/RoundLib.sol";
import {WorkLib} from "./libraries/WorkLib.sol";
import {MemberWord, MemberWordLib} from "./types/MemberWord.sol";
import {PoolWord, PoolWordLib} from "./types/PoolWord.sol";
import {Record, RecordLib} from "./types/Record.sol";

/// @title Membership and rounds.
/// @dev Checks callers, calls `RoundLib`, `MemberLib`, `WorkLib` and `ResultLib` for every transition, emits, and tells
/// the custodians what follows.
contract RoundLedger is IRoundLedger {
    using PoolLib for PoolState;
    using RoundLib for PoolState;
    using MemberLib for PoolState;
    using WorkLib for PoolState;
    using WorkLib for MemberState;
    using ResultLib for PoolState;

    /// Rounds that are kept: a round opens only when the one `RING` before it is final.
    uint256 public constant RING = RING_;

    IStakeManager public immutable stakeManager;
    IRewards public immutable rewards;
    address public immutable pools;
    ICourt public immutable court;
    address public immutable fraudProofs;

    mapping(uint256 poolId => PoolState) private _pools;

    constructor(IStakeManager stakeManager_, IRewards rewards_, address pools_, ICourt court_, address fraudProofs_) {
        stakeManager = stakeManager_;
        rewards = rewards_;
        pools = pools_;
        court = court_;
        fraudProofs = fraudProofs_;
    }

    // ---------------------------------------------------------------------------------------------- pools

    /// @inheritdoc IRoundLedger
    function addPool(uint256 poolId, address creator, bytes32 genesisRoot, RoundTerms calldata terms_) external {
        _requireModule(pools);
        PoolState storage p = _pools[poolId];
        p.creator = creator;
        p.createdAt = uint40(block.timestamp);
        p.checkpointRoot = genesisRoot;
        p.terms = terms_;
        emit PoolAdded(poolId, creator, genesisRoot);
    }

    /// @inheritdoc IRoundLedger
    function endPool(uint256 poolId) external {
        PoolState storage p = _pool(poolId);
        require(msg.sender == p.creator, OnlyPoolCreator());
        PoolWord word = p.word;
        require(!word.has(PoolWordLib.ENDED), PoolHasEnded());
        RoundLib.requirePhase(word, Phase.Idle);
        p.word = word.with(PoolWordLib.LAST);
        if (word.nextRound() == 0) _end(p, poolId);
    }

    /// @inheritdoc IRoundLedger
    function rollBack(uint256 poolId, uint256 toRound) external {
        PoolState storage p = _pool(poolId);
        require(msg.sender == p.creator, OnlyPoolCreator());
        PoolWord word = p.word;
        uint256 next = word.nextRound();
        require(!word.has(PoolWordLib.ENDED), PoolHasEnded());
        require(toRound < next && next < toRound + RING, UnknownRound(toRound));
        p.word = word.rollingBack(toRound % RING);
        emit RolledBack(poolId, next, toRound);
    }

    // ---------------------------------------------------------------------------------------------- membership

    /// @inheritdoc IRoundLedger
    function join(uint256 poolId, address node, address operator, uint16 width) external {
        _requireModule(pools);
        PoolState storage p = _pools[poolId];
        require(width != 0, BadWidth(width));
        uint256 activeFrom = p.join(node, operator, width);
        emit Joined(poolId, node, operator, width, uint32(activeFrom));
        _lockMissing(operator, lockId(poolId, node), uint256(p.terms.stakePerSlot) * width);
    }

    /// @inheritdoc IRoundLedger
    function setWidth(uint256 poolId, address node, uint16 width) external {
        PoolState storage p = _pool(poolId);
        MemberState storage m = p.member[node];
        require(msg.sender == m.operator, OnlyOperator(m.operator));
        require(m.word.nextWidth() != 0, NotMember(node));
        require(width != 0, BadWidth(width));
        emit WidthChanged(poolId, node, width, uint32(p.setWidth(node, width)));
        _lockMissing(msg.sender, lockId(poolId, node), uint256(p.terms.stakePerSlot) * width);
    }

    /// @inheritdoc IRoundLedger
    function leave(uint256 poolId, address node) external {
        PoolState storage p = _pool(poolId);
        MemberState storage m = p.member[node];
        require(m.word.nextWidth() != 0, NotMember(node));
        require(msg.sender == m.operator || msg.sender == node, OnlyOperator(m.operator));
        _takeOut(p, poolId, node);
    }

    /// @inheritdoc IRoundLedger
    function eject(uint256 poolId, address node) external {
        PoolState storage p = _pool(poolId);
        require(msg.sender == p.creator, OnlyPoolCreator());
        require(p.member[node].word.nextWidth() != 0, NotMember(node));
        emit Left(poolId, node, uint32(p.setWidth(node, 0)));
    }

    /// @inheritdoc IRoundLedger
    function releaseLock(uint256 poolId, address node) external {
        PoolState storage p = _pool(poolId);
        MemberState storage m = p.member[node];
        address operator = m.operator;
        require(operator != address(0), NotMember(node));
        // INVARIANT: no round that the freed stake answers for can still lead to a slash.
        require(m.contests == 0, StillLocked());
        uint256 next = p.word.nextRound();
        uint256 end = m.word.changeAt() < next ? m.word.changeAt() : next;
        for (uint256 r = next > RING ? next - RING : 0; r < end; ++r) {
            require(_isOver(p, poolId, r), StillLocked());
        }

        _settle(p, poolId, node);
        uint256 needed = m.word.nextWidth() * p.terms.stakePerSlot;
        emit LockReleased(poolId, node, _unlock(operator, lockId(poolId, node), needed));
    }

    /// @inheritdoc IRoundLedger
    function settle(uint256 poolId, address node) external returns (uint256 paid) {
        PoolState storage p = _pool(poolId);
        require(p.member[node].operator != address(0), NotMember(node));
        return _settle(p, poolId, node);
    }

    /// @inheritdoc IRoundLedger
    function reportMiss(uint256 poolId, uint256 number, address node) external {
        PoolState storage p = _pool(poolId);
        require(p.inRing(number), UnknownRound(number));
        require(p.isClosed(number), WrongPhase(RoundLib.phase(p.word)));
        MemberState storage m = p.member[node];
        (uint256 inARow, uint256 width) = p.miss(number, node);
        uint256 penalty;
        if (inARow >= 2) {
            if (m.word.nextWidth() != 0) _takeOut(p, poolId, node);
            penalty = _slash(m.operator, lockId(poolId, node), p.terms.slashMiss * width, address(0), 0);
        }
        emit Missed(poolId, number, node, uint8(inARow), penalty);
    }

    // ---------------------------------------------------------------------------------------------- rounds

    /// @inheritdoc IRoundLedger
    function openRound(uint256 poolId, uint32 trainWindow) external {
        PoolState storage p = _pool(poolId);
        PoolWord word = p.word;
        require(!word.has(PoolWordLib.ENDED), PoolHasEnded());
        RoundLib.requirePhase(word, Phase.Idle);
        uint256 next = word.nextRound();
        if (!_isOrchestrator(p)) _requireGrace(p, next == 0 ? p.createdAt : p.roundAt(next - 1).closedAt);

        // 1. The ring place of the new round must be done with; what its verdicts did not use becomes free.
        if (next >= RING) court.releaseVerdictReserve(poolId, next - RING);

        // 2. The confirm-only round has nothing to pay and nothing to judge.
        if (word.has(PoolWordLib.LAST)) {
            if (word.count(PoolWordLib.MEMBERS) == 0) _end(p, poolId);
            else _open(p, poolId, p.terms.minTrainWindow, 0, 0);
            return;
        }

        // 3. A training round, with the seats that will judge it and the most that it can cost. The minimum of slots is for
        //    the start: a run that has begun must not stop because a cheat was taken out.
        RoundTerms storage t = p.terms;
        uint256 slots = word.count(PoolWordLib.MEMBER_SLOTS);
        require(slots >= (next == 0 ? t.minSlots : 1), TooFewSlots(slots));
        uint256 liveSeats = court.liveSeats(poolId);
        require(liveSeats >= t.minSeats, TooFewSeats(liveSeats));
        require(trainWindow >= t.minTrainWindow && trainWindow <= t.maxTrainWindow, WindowOutOfBounds(trainWindow));
        _open(p, poolId, trainWindow, court.seatCount(poolId), liveSeats);
        rewards.reserve(poolId, uint256(t.pricePerSlot) * t.maxSlots + t.verdictReserve);
    }

    /// @inheritdoc IRoundLedger
    function commit(uint256 poolId, bytes32 commitment) external {
        (PoolWord word, bool phaseEnded) = _pools[poolId].commit(msg.sender, commitment);
        emit Committed(poolId, word.running(), msg.sender, commitment);
        if (phaseEnded) _emitCommitPhaseEnded(word, poolId);
    }

    /// @inheritdoc IRoundLedger
    function reveal(uint256 poolId, Reveal calldata opened, bytes32 updateFile, string calldata locations) external {
        PoolState storage p = _pools[poolId];
        (uint256 number, bool onTime, uint256 released) = p.reveal(poolId, msg.sender, opened);
        if (!onTime) {
            emit RevealedLate(poolId, number, msg.sender);
            return;
        }
        emit Revealed(poolId, number, msg.sender, opened, updateFile, locations);
        if (RoundLib.isComplete(p.word)) _seal(p, poolId);
        _release(p, poolId, released);
    }

    /// @inheritdoc IRoundLedger
    function sealReveals(uint256 poolId) external {
        PoolState storage p = _pool(poolId);
        PoolWord word = p.word;
        RoundLib.requirePhase(word, Phase.Reveal);
        // Complete before its deadline only without any commitment: otherwise the last reveal has sealed.
        uint256 deadline = word.time(PoolWordLib.REVEAL_DEADLINE);
        require(RoundLib.isComplete(word) || block.timestamp > deadline, TooEarly(deadline + 1));
        _seal(p, poolId);
    }

    /// @inheritdoc IRoundLedger
    function closeRound(uint256 poolId, bytes32 root, bytes32 checkpointFile, Exclusion[] calldata exclusions)
        external
    {
        PoolState storage p = _pool(poolId);
        PoolWord word = p.word;
        RoundLib.requirePhase(word, Phase.Sealed);
        uint256 number = word.running();
        if (!_isOrchestrator(p)) _requireGrace(p, p.roundAt(number).sealedAt);
        _requireBond(p, poolId);

        uint256 included = p.countingSlots(word);
        for (uint256 i; i < exclusions.length; ++i) {
            included -= p.exclude(number, exclusions[i].node);
            emit Excluded(poolId, number, exclusions[i].node, exclusions[i].reason);
        }
        p.close(root, msg.sender, exclusions.length, included);
        emit RoundClosed(poolId, number, msg.sender, root, checkpointFile);

        // What nobody revealed costs nothing; a close after a disproved one has released it already.
        uint256 unused = p.terms.maxSlots - word.count(PoolWordLib.REVEALED_SLOTS);
        if (!word.has(PoolWordLib.REOPENED)) _release(p, poolId, unused);
    }

    // ---------------------------------------------------------------------------------------------- close bonds

    /// @inheritdoc IRoundLedger
    function postBond(uint256 poolId) external {
        PoolState storage p = _pool(poolId);
        uint256 locked = _lockMissing(msg.sender, bondId(poolId, msg.sender), p.terms.closeBond);
        emit BondPosted(poolId, msg.sender, locked);
    }

    /// @inheritdoc IRoundLedger
    function releaseBond(uint256 poolId) external {
        PoolState storage p = _pool(poolId);
        uint256 last = p.lastClosed[msg.sender];
        if (last != 0 && p.inRing(last - 1)) {
            bool unpunished = p.isOverruled(last - 1) && !p.roundAt(last - 1).punished;
            require(!unpunished && block.timestamp > p.disprovableUntil(last - 1), StillLocked());
        }
        emit BondReleased(poolId, msg.sender, _unlock(msg.sender, bondId(poolId, msg.sender), 0));
    }

    /// @inheritdoc IRoundLedger
    function punishClose(uint256 poolId, uint256 number) external {
        PoolState storage p = _pool(poolId);
        RoundState storage r = p.roundAt(number);
        require(p.inRing(number) && p.isOverruled(number) && !r.punished, NotPunishable());
        r.punished = true;
        _slashBond(p, poolId, number, r.poster, address(0), 0);
    }

    // ---------------------------------------------------------------------------------------------- modules

    /// @inheritdoc IRoundLedger
    function contest(uint256 poolId, uint256 number, address node) external returns (address operator, uint16 width) {
        _requireModule(address(court));
        MemberState storage m = _pools[poolId].member[node];
        width = uint16(m.contest(number));
        require(width != 0, NotExpected(node));
        operator = m.operator;
    }

    /// @inheritdoc IRoundLedger
    function resolve(uint256 poolId, uint256 number, address node, bool convicted) external {
        _requireModule(address(court));
        PoolState storage p = _pools[poolId];
        if (convicted) _convict(p, poolId, number, node);
        (uint256 slots, bool paid) = p.resolve(number, node);
        if (slots == 0) return;
        MemberState storage m = p.member[node];
        bool forfeited = m.isForfeited(m.word, number);
        _pay(p, poolId, node, paid && !forfeited ? slots : 0, paid && forfeited ? slots : 0, slots);
    }

    /// @inheritdoc IRoundLedger
    function convictProven(
        uint256 poolId,
        uint256 number,
        address node,
        uint256 penalty,
        address finder,
        uint256 finderFeeBps
    ) external returns (uint256 slashed) {
        _requireModule(fraudProofs);
        PoolState storage p = _pool(poolId);
        require(p.inRing(number), UnknownRound(number));
        MemberState storage m = p.member[node];
        uint256 width = MemberWordLib.widthOf(m.word.entryOf(number));
        require(width != 0 && !p.proven[number][node], NotExpected(node));
        p.proven[number][node] = true;
        _convict(p, poolId, number, node);
        slashed = _slash(m.operator, lockId(poolId, node), penalty * width, finder, finderFeeBps);
    }

    /// @inheritdoc IRoundLedger
    function disprove(uint256 poolId, uint256 number, address[] calldata excluded, address finder, uint256 finderFeeBps)
        external
        returns (uint256 slashed)
    {
        _requireModule(fraudProofs);
        PoolState storage p = _pool(poolId);
        address poster = p.disprove(number, excluded);
        emit CloseDisproved(poolId, number, finder);
        slashed = _slashBond(p, poolId, number, poster, finder, finderFeeBps);
    }

    // ---------------------------------------------------------------------------------------------- views

    /// @inheritdoc IRoundLedger
    function pool(uint256 poolId) external view returns (Pool memory) {
        PoolState storage p = _pool(poolId);
        PoolWord word = p.word;
        return Pool({
            creator: p.creator,
            checkpointRoot: p.checkpointRoot,
            nextRound: uint32(word.nextRound()),
            members: uint32(word.count(PoolWordLib.MEMBERS)),
            memberSlots: uint32(word.count(PoolWordLib.MEMBER_SLOTS)),
            ended: word.has(PoolWordLib.ENDED),
            last: word.has(PoolWordLib.LAST),
            phase: RoundLib.phase(word)
        });
    }

    /// @inheritdoc IRoundLedger
    function member(uint256 poolId, address node) external view returns (Member memory) {
        PoolState storage p = _pools[poolId];
        MemberState storage m = p.member[node];
        MemberWord word = m.word;
        uint256 next = p.word.nextRound();
        bool left = m.operator != address(0) && word.nextWidth() == 0;
        return Member({
            operator: m.operator,
            width: next == 0 ? 0 : uint16(word.widthAt(next - 1)),
            nextWidth: uint16(word.nextWidth()),
            changeAt: uint32(word.changeAt()),
            activeFrom: uint32(word.activeFrom()),
            // Zero would mean "still in": who leaves before the first round opens was never expected by it.
            leftAt: !left ? 0 : word.changeAt() == 0 ? 1 : uint32(word.changeAt()),
            lastRevealed: uint32(word.lastRevealed()),
            accrued: uint32(word.accrued()),
            missed: uint8(word.missed()),
            convicted: word.isConvicted(),
            stateOut: m.stateOut
        });
    }

    /// @inheritdoc IRoundLedger
    function round(uint256 poolId, uint256 number) external view returns (Round memory out) {
        PoolState storage p = _pools[poolId];
        if (!p.inRing(number)) return out;
        RoundState storage r = p.roundAt(number);
        PoolWord word = p.isRunning(number) ? p.word : PoolWordLib.ofCounters(r.counters);
        out.exists = true;
        out.startRoot = r.startRoot;
        out.expected = uint32(word.count(PoolWordLib.EXPECTED));
        out.committed = uint32(word.count(PoolWordLib.COMMITTED));
        out.revealed = uint32(word.count(PoolWordLib.REVEALED));
        out.revealedSlots = uint32(word.count(PoolWordLib.REVEALED_SLOTS));
        out.seats = uint32(word.count(PoolWordLib.SEATS));
        out.liveSeats = uint32(word.count(PoolWordLib.LIVE_SEATS));
        out.commitDeadline = uint64(word.time(PoolWordLib.COMMIT_DEADLINE));
        out.revealDeadline = uint64(word.time(PoolWordLib.REVEAL_DEADLINE));
        if (p.isSealed(number)) (out.sealedAt, out.seedBlock) = (r.sealedAt, r.seedBlock);
        if (p.isClosed(number)) {
            out.closedAt = r.closedAt;
            out.poster = r.poster;
            out.excluded = r.excluded;
        }
        if (out.revealed != 0) out.accumulator = r.accumulator;
    }

    /// @inheritdoc IRoundLedger
    function resultRoot(uint256 poolId, uint256 number) external view returns (bytes32) {
        return _pools[poolId].resultRoot(number);
    }

    /// @inheritdoc IRoundLedger
    function auditTerms(uint256 poolId, uint256 number) external view returns (AuditTerms memory out) {
        PoolState storage p = _pools[poolId];
        if (!p.inRing(number) || !p.isSealed(number)) return out;
        RoundState storage r = p.roundAt(number);
        PoolWord kept = PoolWordLib.ofCounters(r.counters);
        return AuditTerms({
            sealedAt: r.sealedAt,
            seedBlock: r.seedBlock,
            revealed: uint32(kept.count(PoolWordLib.REVEALED)),
            seats: uint32(kept.count(PoolWordLib.SEATS)),
            liveSeats: uint32(kept.count(PoolWordLib.LIVE_SEATS)),
            // Only the confirm-only round is closed without a poster.
            reserved: !p.isClosed(number) || r.poster != address(0)
        });
    }

    /// @inheritdoc IRoundLedger
    function record(uint256 poolId, uint256 number, address node)
        external
        view
        returns (RecordStatus status, uint16 width, bytes32 commitment)
    {
        PoolState storage p = _pools[poolId];
        MemberState storage m = p.member[node];
        Record pending = m.pending;
        if (pending.isOf(number)) (width, commitment) = (uint16(pending.width()), pending.hash());
        if (!p.inRing(number)) return (status, width, commitment);
        // Revealed on time and without an entry: settled, or of the confirm-only round.
        if (width != 0 && m.word.lastRevealed() != number + 1) status = RecordStatus.Committed;
        uint256 entry = m.word.entryOf(number);
        if (entry == 0) return (status, width, commitment);
        width = uint16(MemberWordLib.widthOf(entry));
        if (!p.startedRight(number, node, entry)) status = RecordStatus.Outvoted;
        else if (entry & MemberWordLib.CONTESTED != 0) status = RecordStatus.Contested;
        else if (entry & MemberWordLib.EXCLUDED != 0) status = RecordStatus.Excluded;
        else status = RecordStatus.Revealed;
    }

    /// @inheritdoc IRoundLedger
    function slotOf(uint256 poolId, uint256 number, address node)
        external
        view
        returns (address operator, uint32 activeFrom)
    {
        PoolState storage p = _pools[poolId];
        MemberState storage m = p.member[node];
        MemberWord word = m.word;
        uint256 entry = p.inRing(number) ? word.entryOf(number) : 0;
        if (entry != 0 && p.startedRight(number, node, entry)) {
            (operator, activeFrom) = (m.operator, uint32(word.activeFrom()));
        }
    }

    /// @inheritdoc IRoundLedger
    function disprovableUntil(uint256 poolId, uint256 number) external view returns (uint256) {
        return _pools[poolId].disprovableUntil(number);
    }

    /// @inheritdoc IRoundLedger
    function lockId(uint256 poolId, address node) public pure returns (bytes32) {
        return Hashes.lockId("pi-protocol/node-lock", poolId, uint160(node));
    }

    /// @inheritdoc IRoundLedger
    function bondId(uint256 poolId, address poster) public pure returns (bytes32) {
        return Hashes.lockId("pi-protocol/close-bond", poolId, uint160(poster));
    }

    // ---------------------------------------------------------------------------------------------- internal

    function _pool(uint256 poolId) private view returns (PoolState storage p) {
        p = _pools[poolId];
        // Every pool has an orchestrator, in a word that most functions read anyway.
        require(p.terms.orchestrator != address(0), UnknownPool(poolId));
    }

    function _requireModule(address module) private view {
        require(msg.sender == module, OnlyModule());
    }

    /// @dev It moves a round at once; anybody else once the grace window is over.
    function _isOrchestrator(PoolState storage p) private view returns (bool) {
        return msg.sender == p.terms.orchestrator;
    }

    function _requireGrace(PoolState storage p, uint256 since) private view {
        uint256 readyAt = since + p.terms.graceWindow;
        require(block.timestamp >= readyAt, TooEarly(readyAt));
    }

    function _requireBond(PoolState storage p, uint256 poolId) private view {
        uint256 wanted = p.terms.closeBond;
        if (wanted == 0) return;
        uint256 held = _held(msg.sender, bondId(poolId, msg.sender));
        require(held >= wanted, BondMissing(held, wanted));
    }

    function _held(address operator, bytes32 id) private view returns (uint256) {
        return stakeManager.lockOf(operator, id);
    }

    /// @dev Tops a lock up; more than `wanted` stays.
    function _lockMissing(address operator, bytes32 id, uint256 wanted) private returns (uint256 missing) {
        uint256 held = _held(operator, id);
        if (held >= wanted) return 0;
        missing = wanted - held;
        stakeManager.lock(operator, id, missing);
    }

    /// @dev Frees what a lock holds above `needed`.
    function _unlock(address operator, bytes32 id, uint256 needed) private returns (uint256 amount) {
        uint256 held = _held(operator, id);
        amount = held > needed ? held - needed : 0;
        stakeManager.unlock(operator, id, amount);
    }

    /// @dev Whether nothing about a round can change any more, except by cases that are open already.
    function _isOver(PoolState storage p, uint256 poolId, uint256 number) private view returns (bool) {
        if (p.leftRing(number)) return true;
        return p.isClosed(number) && court.isFinal(poolId, number);
    }

    function _end(PoolState storage p, uint256 poolId) private {
        p.word = p.word.with(PoolWordLib.ENDED);
        emit PoolEnded(poolId);
    }

    function _open(PoolState storage p, uint256 poolId, uint256 window, uint256 seats, uint256 liveSeats) private {
        (uint256 number, uint256 commitDeadline) = p.open(window, seats, liveSeats);
        uint256 expected = p.word.count(PoolWordLib.EXPECTED);
        emit RoundOpened(poolId, number, p.checkpointRoot, uint64(commitDeadline), uint32(expected));
    }

    function _seal(PoolState storage p, uint256 poolId) private {
        bytes32 posted = p.checkpointRoot;
        (PoolWord word, bytes32 overruledBy) = p.seal();
        uint256 number = word.running();
        emit RevealsSealed(
            poolId, number, uint32(word.count(PoolWordLib.REVEALED)), uint64(p.roundAt(number).seedBlock)
        );
        if (overruledBy != 0) emit CloseOverruled(poolId, number - 1, posted, overruledBy);
        if (word.has(PoolWordLib.ENDED)) emit PoolEnded(poolId);
    }

    function _takeOut(PoolState storage p, uint256 poolId, address node) private {
        (uint256 leftAt, bool phaseEnded) = p.takeOut(node);
        emit Left(poolId, node, uint32(leftAt));
        if (phaseEnded) _emitCommitPhaseEnded(p.word, poolId);
    }

    function _convict(PoolState storage p, uint256 poolId, uint256 number, address node) private {
        if (p.member[node].word.nextWidth() != 0) _takeOut(p, poolId, node);
        bool phaseEnded = p.convict(number, node);
        emit Convicted(poolId, number, node);
        if (phaseEnded) _emitCommitPhaseEnded(p.word, poolId);
        PoolWord word = p.word;
        // Everybody else may have revealed already. Without any commitment, somebody seals when the phase is over.
        bool waiting = word.count(PoolWordLib.COMMITTED) != 0 && RoundLib.phase(word) == Phase.Reveal;
        if (waiting && RoundLib.isComplete(word)) _seal(p, poolId);
    }

    function _emitCommitPhaseEnded(PoolWord word, uint256 poolId) private {
        emit CommitPhaseEnded(poolId, word.running(), uint32(word.count(PoolWordLib.COMMITTED)));
    }

    function _slashBond(
        PoolState storage p,
        uint256 poolId,
        uint256 number,
        address poster,
        address finder,
        uint256 finderFeeBps
    ) private returns (uint256 slashed) {
        slashed = _slash(poster, bondId(poolId, poster), p.terms.closeBond, finder, finderFeeBps);
        emit ClosePunished(poolId, number, poster, slashed);
    }

    /// @dev Settles what is final, decided and uncontested of a node's work.
    function _settle(PoolState storage p, uint256 poolId, address node) private returns (uint256 paid) {
        MemberState storage m = p.member[node];
        if (m.contests != 0) return 0; // a conviction would forfeit it
        MemberWord word = m.word;
        uint256 over; // one bit per place
        for (uint256 place; place < RING && word.hasHistory(); ++place) {
            uint256 entry = word.entry(place);
            if (entry == 0) continue;
            uint256 number = word.roundOfEntry(place);
            if (_isOver(p, poolId, number) && !p.isUndecided(number, entry)) over |= 1 << place;
        }
        (uint256 payable_, uint256 forfeited, uint256 all) = p.settle(node, over);
        if (all != 0) paid = _pay(p, poolId, node, payable_, forfeited, all);
    }

    /// @dev Turns the reserve of slots into their operator's pay, the treasury's after a conviction, and the pool's free
    /// budget for the rest. The caller has made sure that it happens once.
    function _pay(PoolState storage p, uint256 poolId, address node, uint256 payable_, uint256 forfeited, uint256 all)
        private
        returns (uint256 paid)
    {
        uint256 price = p.terms.pricePerSlot;
        paid = payable_ * price;
        uint256 lost = forfeited * price;
        uint256 unpaid = all - payable_ - forfeited;
        emit Settled(poolId, node, paid, lost, unpaid * price);
        if (paid != 0) rewards.credit(poolId, p.member[node].operator, paid);
        if (lost != 0) rewards.credit(poolId, address(0), lost);
        _release(p, poolId, unpaid);
    }

    function _release(PoolState storage p, uint256 poolId, uint256 slots) private {
        if (slots != 0) rewards.release(poolId, slots * p.terms.pricePerSlot);
    }

    function _slash(address operator, bytes32 id, uint256 amount, address finder, uint256 finderFeeBps)
        private
        returns (uint256)
    {
        return stakeManager.slash({
            operator: operator, lockId: id, amount: amount, finder: finder, finderFeeBps: finderFeeBps
        });
    }
}
