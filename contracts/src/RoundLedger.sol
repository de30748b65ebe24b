// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "./interfaces/ICourt.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {IRewards} from "./interfaces/IRewards.sol";
import {IRoundLedger, PoolParams, Reveal} from "./interfaces/IRoundLedger.sol";
import {IStakeManager} from "./interfaces/IStakeManager.sol";
import {MemberLib} from "./libraries/MemberLib.sol";
import {ParamsLib} from "./libraries/ParamsLib.sol";
import {MemberState, PoolLib, PoolState, RING as RING_, RoundState} from "./libraries/PoolLib.sol";
import {RoundLib} from "./libraries/RoundLib.sol";
import {Record, RecordLib} from "./types/Record.sol";

/// @title Pools, membership and rounds.
/// @notice For now the close is trusted: the root that the orchestrator posts stands, and so do its exclusions. Workers
/// recompute it and see a wrong one, but nothing here takes a bond for it yet.
/// @dev Checks callers, calls `RoundLib` and `MemberLib` for every transition, emits, and tells the custodians what follows.
contract RoundLedger is IRoundLedger {
    using PoolLib for PoolState;
    using PoolLib for MemberState;
    using RoundLib for PoolState;
    using MemberLib for PoolState;
    using MemberLib for MemberState;
    using ParamsLib for PoolParams;

    /// Rounds that are kept: a round opens only when the one `RING` before it is final.
    uint256 public constant RING = RING_;

    INodeRegistry public immutable registry;
    IStakeManager public immutable stakeManager;
    IRewards public immutable rewards;
    ICourt public immutable court;

    uint256 public poolCount;
    mapping(uint256 poolId => PoolState) private _pools;

    modifier onlyCourt() {
        require(msg.sender == address(court), OnlyCourt());
        _;
    }

    constructor(INodeRegistry registry_, IStakeManager stakeManager_, IRewards rewards_, ICourt court_) {
        registry = registry_;
        stakeManager = stakeManager_;
        rewards = rewards_;
        court = court_;
    }

    // ---------------------------------------------------------------------------------------------- pools

    /// @inheritdoc IRoundLedger
    function createPool(PoolParams calldata params_, bytes32 runSpecHash, bytes32 genesisRoot, string calldata uri)
        external
        returns (uint256 poolId)
    {
        params_.validate(stakeManager.unbondingTime());
        require(runSpecHash != 0, BadParams("runSpecHash"));
        require(genesisRoot != 0, BadParams("genesisRoot"));

        poolId = ++poolCount;
        PoolState storage p = _pools[poolId];
        p.creator = msg.sender;
        p.createdAt = uint40(block.timestamp);
        p.runSpecHash = runSpecHash;
        p.checkpointRoot = genesisRoot;
        p.params = params_;
        p.storeURI = uri;
        emit PoolCreated(poolId, msg.sender, runSpecHash, genesisRoot, uri);
    }

    /// @inheritdoc IRoundLedger
    function endPool(uint256 poolId) external {
        PoolState storage p = _pool(poolId);
        require(msg.sender == p.creator, OnlyPoolCreator());
        require(!p.ended, PoolHasEnded());
        p.requirePhase(Phase.Idle);
        p.ended = true;
        emit PoolEnded(poolId);
    }

    // ---------------------------------------------------------------------------------------------- membership

    /// @inheritdoc IRoundLedger
    function join(uint256 poolId, address node, uint16 width) external {
        PoolState storage p = _pool(poolId);
        address operator = registry.operatorOf(node);
        require(msg.sender == operator, OnlyOperator(operator));
        uint256 activeFrom = p.join(node, operator, width);
        emit Joined(poolId, node, operator, width, uint32(activeFrom));
        stakeManager.lock(operator, lockId(poolId, node), uint256(p.params.stakePerSlot) * width);
    }

    /// @inheritdoc IRoundLedger
    function leave(uint256 poolId, address node) external {
        PoolState storage p = _pool(poolId);
        MemberState storage m = p.member[node];
        require(m.width != 0 && m.leftAt == 0, NotMember(node));
        require(msg.sender == m.operator || msg.sender == node, OnlyOperator(m.operator));
        _takeOut(p, poolId, node);
    }

    /// @inheritdoc IRoundLedger
    function releaseLock(uint256 poolId, address node) external {
        PoolState storage p = _pool(poolId);
        MemberState storage m = p.member[node];
        require(m.width != 0, NotMember(node));
        // INVARIANT: no round that this stake answers for can still lead to a slash.
        require(m.leftAt != 0 && m.contests == 0, StillLocked());
        uint256 firstInRing = p.nextRound > RING ? p.nextRound - RING : 0;
        for (uint256 r = m.activeFrom > firstInRing ? m.activeFrom : firstInRing; r < m.leftAt; ++r) {
            require(_isOver(p, poolId, r), StillLocked());
        }

        _settle(p, poolId, node);
        m.width = 0;
        bytes32 id = lockId(poolId, node);
        uint256 amount = stakeManager.lockOf(m.operator, id);
        emit LockReleased(poolId, node, amount);
        stakeManager.unlock(m.operator, id, amount);
    }

    /// @inheritdoc IRoundLedger
    function reportMiss(uint256 poolId, uint256 number, address node) external {
        PoolState storage p = _pool(poolId);
        require(p.inRing(number), UnknownRound(number));
        require(p.roundAt(number).closedAt != 0, WrongPhase(p.phase()));
        MemberState storage m = p.member[node];
        uint8 inARow = p.miss(number, node);
        uint256 penalty;
        if (inARow >= 2) {
            if (m.leftAt == 0) _takeOut(p, poolId, node);
            penalty = stakeManager.slash({
                operator: m.operator,
                lockId: lockId(poolId, node),
                amount: uint256(p.params.slashMiss) * m.width,
                finder: address(0),
                finderFeeBps: 0
            });
        }
        emit Missed(poolId, number, node, inARow, penalty);
    }

    // ---------------------------------------------------------------------------------------------- rounds

    /// @inheritdoc IRoundLedger
    function openRound(uint256 poolId, uint32 trainWindow) external {
        PoolState storage p = _pool(poolId);
        require(!p.ended, PoolHasEnded());
        p.requirePhase(Phase.Idle);
        _requireTurn(p, p.openableAt());

        // 1. The ring place of the new round must be done with; what its verdicts did not use becomes free.
        if (p.nextRound >= RING) court.releaseVerdictReserve(poolId, p.nextRound - RING);

        // 2. The round, with the seats that will judge it.
        (uint256 number, uint64 commitDeadline) = p.open(trainWindow, court.seatCount(poolId), court.liveSeats(poolId));
        emit RoundOpened(poolId, number, p.checkpointRoot, commitDeadline, p.members);

        // 3. The most that it can cost.
        rewards.reserve(poolId, p.params.roundReserve());
    }

    /// @inheritdoc IRoundLedger
    function commit(uint256 poolId, bytes32 commitment) external {
        PoolState storage p = _pools[poolId];
        (uint256 number, Record displaced, bool phaseEnded) = p.commit(msg.sender, commitment);
        emit Committed(poolId, number, msg.sender, commitment);
        if (phaseEnded) emit CommitPhaseEnded(poolId, number, p.roundAt(number).committed);
        // Its round was final when the running one opened, so there is nothing to ask the court.
        if (displaced.isPayable()) _pay(p, poolId, displaced.roundOf(), msg.sender, displaced.width());
    }

    /// @inheritdoc IRoundLedger
    function reveal(uint256 poolId, Reveal calldata opened, bytes32 updateFile, string calldata locations) external {
        PoolState storage p = _pools[poolId];
        (uint256 number, RoundLib.Revealed how) = p.reveal(poolId, msg.sender, opened);
        if (how == RoundLib.Revealed.Late) {
            emit RevealedLate(poolId, number, msg.sender);
            return;
        }
        emit Revealed(poolId, number, msg.sender, opened, updateFile, locations);
        if (how == RoundLib.Revealed.Last) _emitSealed(p, poolId, number);
    }

    /// @inheritdoc IRoundLedger
    function sealReveals(uint256 poolId) external {
        PoolState storage p = _pool(poolId);
        p.requirePhase(Phase.Reveal);
        uint256 number = p.nextRound - 1;
        RoundState storage r = p.roundAt(number);
        // Only a round without any commitment gets here before its deadline: otherwise the last reveal has sealed.
        require(
            r.revealed == r.committed || block.timestamp > r.revealDeadline, TooEarly(uint256(r.revealDeadline) + 1)
        );
        p.seal();
        _emitSealed(p, poolId, number);
    }

    /// @inheritdoc IRoundLedger
    /// @dev Does nothing once the seed is stored: many want it, one is first.
    function captureSeed(uint256 poolId, uint256 number) external {
        PoolState storage p = _pool(poolId);
        require(p.inRing(number), UnknownRound(number));
        RoundState storage r = p.roundAt(number);
        require(r.sealedAt != 0, WrongPhase(p.phase()));
        if (r.seeded) return;
        if (p.captureSeed(number)) emit SeedCaptured(poolId, number, r.seed);
        else emit SeedRepinned(poolId, number, r.seedBlock);
    }

    /// @inheritdoc IRoundLedger
    /// @dev Trusted for now: see the contract's notice.
    function closeRound(uint256 poolId, bytes32 root, bytes32 checkpointFile, Exclusion[] calldata exclusions)
        external
    {
        PoolState storage p = _pool(poolId);
        p.requirePhase(Phase.Sealed);
        uint256 number = p.nextRound - 1;
        RoundState storage r = p.roundAt(number);
        _requireTurn(p, uint256(r.sealedAt) + p.params.graceWindow);

        uint256 accepted = r.revealedSlots;
        for (uint256 i; i < exclusions.length; ++i) {
            accepted -= p.exclude(exclusions[i].node);
            emit Excluded(poolId, number, exclusions[i].node, exclusions[i].reason);
        }
        bool ended = p.close(root, accepted);
        emit RoundClosed(poolId, number, root, checkpointFile);
        if (ended) emit PoolEnded(poolId);
        rewards.release(poolId, (p.params.maxSlots - accepted) * p.params.pricePerSlot);
    }

    /// @inheritdoc IRoundLedger
    function settle(uint256 poolId, address node) external returns (uint256 paid) {
        PoolState storage p = _pool(poolId);
        require(p.member[node].operator != address(0), NotMember(node));
        return _settle(p, poolId, node);
    }

    // ---------------------------------------------------------------------------------------------- court

    /// @inheritdoc IRoundLedger
    function contest(uint256 poolId, uint256 number, address node)
        external
        onlyCourt
        returns (address operator, uint16 width)
    {
        PoolState storage p = _pools[poolId];
        width = p.contest(number, node);
        operator = p.member[node].operator;
    }

    /// @inheritdoc IRoundLedger
    function resolve(uint256 poolId, uint256 number, address node, bool convicted) external onlyCourt {
        PoolState storage p = _pools[poolId];
        if (convicted) {
            p.convict(number, node);
            emit Convicted(poolId, number, node);
            if (p.member[node].leftAt == 0) _takeOut(p, poolId, node);
        }
        uint256 displaced = p.resolve(number, node);
        if (displaced != 0) {
            _pay(p, poolId, number, node, displaced);
        } else {
            Record stored = p.recordOf(number, node);
            if (stored.isOf(number)) _settleRecord(p, poolId, node, stored);
        }
    }

    // ---------------------------------------------------------------------------------------------- views

    /// @inheritdoc IRoundLedger
    function pool(uint256 poolId) external view returns (Pool memory) {
        PoolState storage p = _pool(poolId);
        return Pool({
            creator: p.creator,
            runSpecHash: p.runSpecHash,
            checkpointRoot: p.checkpointRoot,
            nextRound: p.nextRound,
            members: p.members,
            memberSlots: p.memberSlots,
            ended: p.ended,
            phase: p.phase()
        });
    }

    /// @inheritdoc IRoundLedger
    function params(uint256 poolId) external view returns (PoolParams memory) {
        return _pool(poolId).params;
    }

    /// @inheritdoc IRoundLedger
    function storeURI(uint256 poolId) external view returns (string memory) {
        return _pool(poolId).storeURI;
    }

    /// @inheritdoc IRoundLedger
    function member(uint256 poolId, address node) external view returns (Member memory) {
        MemberState storage m = _pools[poolId].member[node];
        return Member({
            operator: m.operator,
            width: m.width,
            activeFrom: m.activeFrom,
            leftAt: m.leftAt,
            lastRevealed: m.lastRevealed,
            missed: m.missed,
            convicted: m.convicted,
            stateOut: m.stateOut
        });
    }

    /// @inheritdoc IRoundLedger
    function round(uint256 poolId, uint256 number) external view returns (Round memory out) {
        PoolState storage p = _pools[poolId];
        if (!p.inRing(number)) return out;
        RoundState storage r = p.roundAt(number);
        return Round({
            openedAt: r.openedAt,
            commitDeadline: r.commitDeadline,
            revealDeadline: r.revealDeadline,
            sealedAt: r.sealedAt,
            closedAt: r.closedAt,
            seedBlock: r.seedBlock,
            expected: r.expected,
            committed: r.committed,
            revealed: r.revealed,
            revealedSlots: r.revealedSlots,
            seats: r.seats,
            startRoot: r.startRoot,
            accumulator: r.revealed == 0 ? bytes32(0) : r.accumulator,
            seed: r.seeded ? r.seed : bytes32(0)
        });
    }

    /// @inheritdoc IRoundLedger
    function auditTerms(uint256 poolId, uint256 number) external view returns (AuditTerms memory out) {
        PoolState storage p = _pools[poolId];
        if (!p.inRing(number)) return out;
        RoundState storage r = p.roundAt(number);
        return AuditTerms({
            sealedAt: r.sealedAt,
            revealed: r.revealed,
            seats: r.seats,
            liveSeats: r.liveSeats,
            verdictWindow: p.params.verdictWindow,
            verdictRevealWindow: p.params.verdictRevealWindow,
            seed: r.seeded ? r.seed : bytes32(0)
        });
    }

    /// @inheritdoc IRoundLedger
    function record(uint256 poolId, uint256 number, address node)
        external
        view
        returns (RecordStatus status, uint16 width, bytes32 commitment)
    {
        Record stored = _pools[poolId].recordOf(number, node);
        if (stored.isOf(number)) return (stored.status(), stored.width(), stored.hash());
    }

    /// @inheritdoc IRoundLedger
    function lockId(uint256 poolId, address node) public pure returns (bytes32) {
        return keccak256(abi.encode("pi-protocol/node-lock", poolId, node));
    }

    // ---------------------------------------------------------------------------------------------- internal

    function _pool(uint256 poolId) private view returns (PoolState storage p) {
        p = _pools[poolId];
        require(p.creator != address(0), UnknownPool(poolId));
    }

    /// @dev The orchestrator at once, anybody from `readyAt` on.
    function _requireTurn(PoolState storage p, uint256 readyAt) private view {
        require(msg.sender == p.params.orchestrator || block.timestamp >= readyAt, TooEarly(readyAt));
    }

    /// @dev Whether nothing about a round can change any more, except by cases that are open already.
    function _isOver(PoolState storage p, uint256 poolId, uint256 number) private view returns (bool) {
        if (p.leftRing(number)) return true;
        return p.roundAt(number).closedAt != 0 && court.isFinal(poolId, number);
    }

    function _takeOut(PoolState storage p, uint256 poolId, address node) private {
        (uint256 leftAt, bool phaseEnded) = p.takeOut(node);
        emit Left(poolId, node, uint32(leftAt));
        if (phaseEnded) emit CommitPhaseEnded(poolId, p.nextRound - 1, p.roundAt(p.nextRound - 1).committed);
    }

    function _emitSealed(PoolState storage p, uint256 poolId, uint256 number) private {
        RoundState storage r = p.roundAt(number);
        emit RevealsSealed(poolId, number, r.revealed, r.seedBlock);
    }

    function _settle(PoolState storage p, uint256 poolId, address node) private returns (uint256 paid) {
        for (uint256 place; place < RING; ++place) {
            paid += _settleRecord(p, poolId, node, p.records[node][place]);
        }
    }

    function _settleRecord(PoolState storage p, uint256 poolId, address node, Record record_)
        private
        returns (uint256 paid)
    {
        uint256 number = record_.roundOf();
        if (!record_.isPayable() || !_isOver(p, poolId, number)) return 0;
        p.setRecord(number, node, record_.with(RecordLib.SETTLED));
        return _pay(p, poolId, number, node, record_.width());
    }

    /// @dev Turns the reserve of an accepted slot into its operator's pay, or the treasury's after a conviction. The caller
    /// has made sure that it happens once.
    function _pay(PoolState storage p, uint256 poolId, uint256 number, address node, uint256 width)
        private
        returns (uint256 paid)
    {
        MemberState storage m = p.member[node];
        uint256 amount = width * p.params.pricePerSlot;
        bool forfeited = m.isForfeited(number);
        if (!forfeited) paid = amount;
        emit Settled(poolId, number, node, paid);
        rewards.credit(poolId, forfeited ? address(0) : m.operator, amount);
    }
}
