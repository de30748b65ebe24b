// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "./interfaces/ICourt.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {CourtTerms, IPools} from "./interfaces/IPools.sol";
import {IRewards} from "./interfaces/IRewards.sol";
import {IRoundLedger} from "./interfaces/IRoundLedger.sol";
import {IStakeManager} from "./interfaces/IStakeManager.sol";
import {CaseLib} from "./libraries/CaseLib.sol";
import {Hashes} from "./libraries/Hashes.sol";
import {RING} from "./libraries/PoolLib.sol";
import {SeatLib} from "./libraries/SeatLib.sol";
import {VerdictLib} from "./libraries/VerdictLib.sol";
import {AuditWord, AuditWordLib} from "./types/AuditWord.sol";
import {CaseWord, CaseWordLib} from "./types/CaseWord.sol";
import {SeatWord} from "./types/SeatWord.sol";

/// @title Validator seats, verdicts and juries.
/// @dev Checks callers, calls `SeatLib`, `VerdictLib` and `CaseLib` for every transition, emits, and tells the round ledger
/// and the custodians what follows. A round's verdict fees come from the reserve that the ledger set aside for it.
contract Court is ICourt {
    struct PoolState {
        /// Copied when the first seat is taken; a pool's never change.
        CourtTerms terms;
        SeatLib.State seats;
        VerdictLib.State audits;
        mapping(uint256 round => mapping(address node => uint256)) caseAbout;
    }

    using SeatLib for SeatLib.State;
    using SeatLib for SeatLib.Seat;
    using VerdictLib for VerdictLib.State;
    using VerdictLib for VerdictLib.Audit;
    using VerdictLib for AuditWord;
    using CaseLib for CaseLib.Case;
    using CaseLib for CaseWord;

    uint256 public constant MAX_VERDICTS = 64;

    INodeRegistry public immutable registry;
    IStakeManager public immutable stakeManager;
    IRewards public immutable rewards;
    IPools public immutable pools;
    IRoundLedger public immutable ledger;

    uint256 public caseCount;
    mapping(uint256 poolId => PoolState) private _pools;
    mapping(uint256 caseId => CaseLib.Case) private _cases;

    constructor(
        INodeRegistry registry_,
        IStakeManager stakeManager_,
        IRewards rewards_,
        IPools pools_,
        IRoundLedger ledger_
    ) {
        registry = registry_;
        stakeManager = stakeManager_;
        rewards = rewards_;
        pools = pools_;
        ledger = ledger_;
    }

    // ---------------------------------------------------------------------------------------------- seats

    /// @inheritdoc ICourt
    function takeSeat(uint256 poolId, address node) external returns (uint256 index) {
        pools.requireEntry();
        registry.requireOperator(node, msg.sender);
        IRoundLedger.Pool memory pool = _pool(poolId);
        require(!pool.ended, IRoundLedger.PoolHasEnded());
        CourtTerms storage terms = _loadTerms(poolId);
        index = _pools[poolId].seats.take(msg.sender, node, pool.nextRound);
        emit SeatTaken(poolId, index, msg.sender, node, pool.nextRound);
        _lock(seatLockId(poolId, node), terms.seatStake);
    }

    /// @inheritdoc ICourt
    function leaveSeat(uint256 poolId, uint256 index) external {
        SeatLib.Seat storage s = _seat(poolId, index);
        require(msg.sender == s.operator || msg.sender == s.node, OnlyOperator(s.operator));
        require(s.leftAt == 0, AlreadyDone());
        _leave(poolId, index);
    }

    /// @inheritdoc ICourt
    function releaseSeat(uint256 poolId, uint256 index) external {
        SeatLib.Seat memory s = _seat(poolId, index);
        require(s.leftAt != 0, NotLeft());
        // INVARIANT: no round that could draw this seat can still ask for it. Rounds out of the ring are final.
        uint256 nextRound = _pool(poolId).nextRound;
        uint256 first = nextRound > RING ? nextRound - RING : 0;
        for (uint256 r = s.activeFrom > first ? s.activeFrom : first; r < s.leftAt; ++r) {
            require(isFinal(poolId, r), StillNeeded(r));
        }
        PoolState storage p = _pools[poolId];
        p.audits.requireQuiet(s.leftAt, p.terms.appealWindow);

        p.seats.release(index);
        emit SeatReleased(poolId, index);
        bytes32 id = seatLockId(poolId, s.node);
        _unlock(s.operator, id, _lockOf(s.operator, id));
    }

    // ---------------------------------------------------------------------------------------------- verdicts

    /// @inheritdoc ICourt
    function captureSeed(uint256 poolId, uint256 round) external {
        PoolState storage p = _pools[poolId];
        AuditWord word = p.audits.at(round).word;
        if (word.isSeeded(round)) return;

        // 1. There is something to judge, and still time to.
        IRoundLedger.AuditTerms memory a = _auditTerms(poolId, round);
        require(a.sealedAt != 0 && a.revealed != 0 && a.liveSeats != 0, NothingToJudge(round));
        uint256 commitDeadline = a.sealedAt + p.terms.verdictWindow;
        // A later seed would make absent who never could commit.
        require(block.timestamp <= commitDeadline, WrongPhase());
        uint256 seedBlock = word.isOf(round) ? word.get(AuditWordLib.SEED_BLOCK) : a.seedBlock;
        require(block.number > seedBlock, SeedNotReady(seedBlock));

        // 2. The hash, or another block.
        bytes32 seed = VerdictLib.blockHash(seedBlock);
        if (seed == 0) seedBlock = block.number + 1;
        word = AuditWordLib.create(round).set(AuditWordLib.SEED_BLOCK, seedBlock);
        word = word.set(AuditWordLib.SEATS, a.seats).set(AuditWordLib.LIVE_SEATS, a.liveSeats);
        word = word.set(AuditWordLib.COMMIT_DEADLINE, commitDeadline);
        word = word.set(AuditWordLib.REVEAL_DEADLINE, commitDeadline + p.terms.verdictRevealWindow);
        VerdictLib.Audit storage audit = p.audits.claim(round);
        if (seed == 0) {
            audit.word = word;
            emit SeedRepinned(poolId, round, uint64(seedBlock));
        } else {
            audit.word = word.with(AuditWordLib.SEEDED);
            audit.seed = seed;
            emit SeedCaptured(poolId, round, seed);
        }
    }

    /// @inheritdoc ICourt
    function commitVerdicts(uint256 poolId, uint256 round, bytes32 commitment) external {
        PoolState storage p = _pools[poolId];
        p.seats.commit(msg.sender, round, commitment);
        p.audits.commit(round);
        emit VerdictsCommitted(poolId, round, msg.sender, commitment);
    }

    /// @inheritdoc ICourt
    function revealVerdicts(uint256 poolId, uint256 round, Verdict[] memory verdicts, bytes32 salt) external {
        require(verdicts.length <= MAX_VERDICTS, TooManyVerdicts());
        PoolState storage p = _pools[poolId];
        uint256 place = p.seats.wordOfSeated(msg.sender).place();

        // 1. The commitment, once. An empty list can never turn out wrong.
        bytes32 hash = Hashes.verdicts(address(this), poolId, round, msg.sender, verdicts, salt);
        p.seats.open(msg.sender, round, hash, verdicts.length != 0);
        bool last = p.audits.reveal(round, place);

        // 2. Each verdict is about a slot that this validator was drawn for, once.
        for (uint256 i; i < verdicts.length; ++i) {
            address node = verdicts[i].node;
            require(verdicts[i].outcome != Outcome.None, BadOutcome());
            for (uint256 j; j < i; ++j) {
                require(verdicts[j].node != node, NotDrawn(node));
            }
            require(_drawnPlaces(poolId, round, node) & (1 << place) != 0, NotDrawn(node));
        }

        // 3. Pay, while the round's budget lasts.
        uint256 paid = _payFees(poolId, round, place, verdicts.length);
        emit VerdictsRevealed(poolId, round, msg.sender, verdicts, paid);

        // 4. What accuses.
        for (uint256 i; i < verdicts.length; ++i) {
            if (verdicts[i].outcome == Outcome.Accept || p.caseAbout[round][verdicts[i].node] != 0) continue;
            _openCase(poolId, round, place, verdicts[i].node, verdicts[i].outcome);
        }
        if (last) _releaseIfDone(poolId, round);
    }

    /// @inheritdoc ICourt
    function releaseVerdictReserve(uint256 poolId, uint256 round) external returns (uint256 released) {
        require(isFinal(poolId, round), RoundNotFinal(round));
        return _releaseIfDone(poolId, round);
    }

    // ---------------------------------------------------------------------------------------------- cases

    /// @inheritdoc ICourt
    function commitVote(uint256 caseId, bytes32 commitment) external {
        CaseLib.Case storage c = _case(caseId);
        uint256 place = _requireJuror(c);
        c.commitVote(place, commitment, _pools[c.poolId].terms.voteRevealWindow);
        emit VoteCommitted(caseId, msg.sender, commitment);
    }

    /// @inheritdoc ICourt
    function revealVote(uint256 caseId, Outcome outcome, bytes32 digest, bytes32 salt) external {
        CaseLib.Case storage c = _case(caseId);
        uint256 place = _requireJuror(c);
        c.revealVote(place, outcome, Hashes.vote(address(this), caseId, msg.sender, outcome, digest, salt));
        emit VoteRevealed(caseId, msg.sender, outcome, digest);
        _payFees(c.poolId, c.word.get(CaseWordLib.ROUND), place, 1);
    }

    /// @inheritdoc ICourt
    function resolveCase(uint256 caseId) external {
        CaseLib.Case storage c = _case(caseId);
        CaseWord word = c.word;
        if (word.status() == CaseStatus.Decided) {
            require(block.timestamp > word.get(CaseWordLib.APPEAL_DEADLINE), WrongPhase());
            _finish(caseId, word.has(CaseWordLib.FOUND_GUILTY) ? CaseStatus.Convicted : CaseStatus.Acquitted);
        } else {
            _conclude(caseId);
        }
    }

    /// @inheritdoc ICourt
    function appeal(uint256 caseId) external {
        CaseLib.Case storage c = _case(caseId);
        CaseWord word = c.word;
        require(!word.isEnded(), NoAppeal());
        require(
            word.status() == CaseStatus.Decided && block.timestamp <= word.get(CaseWordLib.APPEAL_DEADLINE),
            WrongPhase()
        );
        bool guilty = word.has(CaseWordLib.FOUND_GUILTY);
        require(msg.sender == _loser(c, guilty), NoAppeal());

        uint256 level = word.get(CaseWordLib.LEVEL);
        c.word = word.mark(CaseWordLib.appealOf(level, guilty), true);
        _summonNext(caseId, msg.sender);
        _lock(appealLockId(caseId, level), _pools[c.poolId].terms.appealBond);
    }

    // ---------------------------------------------------------------------------------------------- reports

    /// @inheritdoc ICourt
    function reportAbsence(uint256 poolId, uint256 round, uint256 index) external {
        PoolState storage p = _pools[poolId];
        SeatLib.Seat storage s = _seat(poolId, index);
        VerdictLib.Audit storage audit = p.audits.ring[round % RING];
        require(audit.word.isSeeded(round) && s.isLive(round) && !audit.isMarked(index), NotAbsent());
        require(audit.word.isOver(), RoundNotFinal(round));
        audit.mark(index);
        uint256 slashed = _slashSeat(poolId, index, p.terms.slashAbsence);
        emit AbsencePunished(poolId, round, s.node, 0, slashed);
    }

    /// @inheritdoc ICourt
    function reportAbsentJuror(uint256 caseId, uint256 level, uint256 index) external {
        CaseLib.Case storage c = _case(caseId);
        c.punishAbsence(level, index);
        uint256 poolId = c.poolId;
        uint256 round = c.word.get(CaseWordLib.ROUND);
        SeatLib.Seat storage s = _seat(poolId, index);
        // Else the juror's seat was released, and somebody else has its place.
        require(s.isLive(round), NotAbsent());
        uint256 slashed = _slashSeat(poolId, index, _pools[poolId].terms.slashAbsence);
        emit AbsencePunished(poolId, round, s.node, caseId, slashed);
    }

    /// @inheritdoc ICourt
    function reportOverturnedVote(uint256 caseId, uint256 level, uint256 index) external {
        CaseLib.Case storage c = _case(caseId);
        c.punishVote(level, index);
        _punishOverturned(c.poolId, c.word.get(CaseWordLib.ROUND), index, caseId);
    }

    /// @inheritdoc ICourt
    function reportOverturnedVerdict(
        uint256 poolId,
        uint256 round,
        uint256 index,
        Verdict[] memory verdicts,
        bytes32 salt,
        uint256 which
    ) external {
        PoolState storage p = _pools[poolId];
        require(p.audits.ring[round % RING].word.isSeeded(round) && which < verdicts.length, NotOverturned());
        uint256 caseId = p.caseAbout[round][verdicts[which].node];
        bool wrong = verdicts[which].outcome == Outcome.Accept
            && _cases[caseId].word.status() == CaseStatus.Convicted;
        require(wrong, NotOverturned());
        address node = _seat(poolId, index).node;
        p.seats.punish(node, round, Hashes.verdicts(address(this), poolId, round, node, verdicts, salt));
        _punishOverturned(poolId, round, index, caseId);
    }

    // ---------------------------------------------------------------------------------------------- views

    /// @inheritdoc ICourt
    function seatCount(uint256 poolId) external view returns (uint256) {
        return _pools[poolId].seats.count;
    }

    /// @inheritdoc ICourt
    function liveSeats(uint256 poolId) external view returns (uint256) {
        return _pools[poolId].seats.live;
    }

    /// @inheritdoc ICourt
    function seat(uint256 poolId, uint256 index) external view returns (Seat memory) {
        require(index < _pools[poolId].seats.count, UnknownSeat(index));
        SeatLib.Seat storage s = _pools[poolId].seats.seats[index];
        return Seat({operator: s.operator, node: s.node, activeFrom: s.activeFrom, leftAt: s.leftAt});
    }

    /// @inheritdoc ICourt
    function verdictRound(uint256 poolId, uint256 round) external view returns (VerdictRound memory out) {
        PoolState storage p = _pools[poolId];
        VerdictLib.Audit storage audit = p.audits.at(round);
        AuditWord word = audit.word;
        if (word.isSeeded(round)) {
            out.seed = audit.seed;
            out.commitDeadline = uint64(word.get(AuditWordLib.COMMIT_DEADLINE));
            out.revealDeadline = uint64(word.get(AuditWordLib.REVEAL_DEADLINE));
            out.seats = uint32(word.get(AuditWordLib.LIVE_SEATS));
        } else {
            IRoundLedger.AuditTerms memory a = _auditTerms(poolId, round);
            out.seedBlock = a.seedBlock;
            out.seats = a.liveSeats;
            if (a.sealedAt != 0) {
                out.commitDeadline = a.sealedAt + p.terms.verdictWindow;
                out.revealDeadline = out.commitDeadline + p.terms.verdictRevealWindow;
            }
        }
        uint256 seedBlock = word.get(AuditWordLib.SEED_BLOCK);
        if (seedBlock != 0) out.seedBlock = uint64(seedBlock);
        out.committed = uint32(word.get(AuditWordLib.COMMITTED));
        out.revealed = uint32(word.get(AuditWordLib.REVEALED));
        out.paid = uint32(word.get(AuditWordLib.PAID));
        out.openCases = uint32(word.get(AuditWordLib.OPEN_CASES));
    }

    /// @inheritdoc ICourt
    function isFinal(uint256 poolId, uint256 round) public view returns (bool) {
        PoolState storage p = _pools[poolId];
        AuditWord word = p.audits.at(round).word;
        if (word.isSeeded(round)) return word.isOver();
        IRoundLedger.AuditTerms memory a = _auditTerms(poolId, round);
        if (a.sealedAt == 0) return round + RING < _pool(poolId).nextRound;
        if (a.revealed == 0 || a.liveSeats == 0) return true;
        return block.timestamp > a.sealedAt + p.terms.verdictWindow;
    }

    /// @inheritdoc ICourt
    function isAudited(uint256 poolId, uint256 round, address node) external view returns (bool audited) {
        (audited,) = _isAudited(poolId, round, node);
    }

    /// @inheritdoc ICourt
    function auditorsOf(uint256 poolId, uint256 round, address node) external view returns (address[] memory) {
        return _pools[poolId].seats.nodesOf(_drawnPlaces(poolId, round, node));
    }

    /// @inheritdoc ICourt
    function caseOf(uint256 caseId) external view returns (Case memory out) {
        CaseLib.Case storage c = _case(caseId);
        CaseWord word = c.word;
        out.poolId = c.poolId;
        out.round = word.get(CaseWordLib.ROUND);
        out.node = c.node;
        out.operator = c.operator;
        out.accuser = c.accuser;
        out.fault = word.fault();
        out.status = word.status();
        out.guiltyOutcome = word.has(CaseWordLib.FOUND_GUILTY);
        out.width = uint16(word.get(CaseWordLib.WIDTH));
        out.level = uint8(word.get(CaseWordLib.LEVEL));
        out.commitDeadline = uint64(word.get(CaseWordLib.COMMIT_DEADLINE));
        out.revealDeadline = uint64(word.get(CaseWordLib.REVEAL_DEADLINE));
        out.appealDeadline = uint64(word.get(CaseWordLib.APPEAL_DEADLINE));
        out.jurors = uint16(word.get(CaseWordLib.JURORS));
        out.committed = uint16(word.get(CaseWordLib.COMMITTED));
        out.guilty = uint16(word.get(CaseWordLib.GUILTY));
        out.innocent = uint16(word.get(CaseWordLib.INNOCENT));
    }

    /// @inheritdoc ICourt
    function juryOf(uint256 caseId) external view returns (address[] memory) {
        CaseLib.Case storage c = _case(caseId);
        return _pools[c.poolId].seats.nodesOf(c.jury().seats);
    }

    /// @inheritdoc ICourt
    function caseAbout(uint256 poolId, uint256 round, address node) external view returns (uint256) {
        return _pools[poolId].caseAbout[round][node];
    }

    /// @inheritdoc ICourt
    function openCases(uint256 poolId) external view returns (uint256) {
        return _pools[poolId].audits.openCases();
    }

    /// @inheritdoc ICourt
    function seatLockId(uint256 poolId, address node) public pure returns (bytes32) {
        return keccak256(abi.encode("pi-protocol/seat-lock", poolId, node));
    }

    /// @inheritdoc ICourt
    function appealLockId(uint256 caseId, uint256 level) public pure returns (bytes32) {
        return keccak256(abi.encode("pi-protocol/appeal-lock", caseId, level));
    }

    // ---------------------------------------------------------------------------------------------- internal: others

    // One function per call that is made from several places: its encoding is in the bytecode once.

    function _pool(uint256 poolId) private view returns (IRoundLedger.Pool memory) {
        return ledger.pool(poolId);
    }

    function _auditTerms(uint256 poolId, uint256 round) private view returns (IRoundLedger.AuditTerms memory) {
        return ledger.auditTerms(poolId, round);
    }

    function _slash(address operator, bytes32 id, uint256 amount, address finder, uint256 finderFeeBps)
        private
        returns (uint256)
    {
        return stakeManager.slash(operator, id, amount, finder, finderFeeBps);
    }

    function _lockOf(address operator, bytes32 id) private view returns (uint256) {
        return stakeManager.lockOf(operator, id);
    }

    function _lock(bytes32 id, uint256 amount) private {
        stakeManager.lock(msg.sender, id, amount);
    }

    function _unlock(address operator, bytes32 id, uint256 amount) private {
        stakeManager.unlock(operator, id, amount);
    }

    // ---------------------------------------------------------------------------------------------- internal: seats

    /// @dev The terms of a pool, copied on the first call.
    function _loadTerms(uint256 poolId) private returns (CourtTerms storage terms) {
        terms = _pools[poolId].terms;
        // A verdict window is never zero.
        if (terms.verdictWindow == 0) _pools[poolId].terms = pools.courtTerms(poolId);
    }

    function _seat(uint256 poolId, uint256 index) private view returns (SeatLib.Seat storage s) {
        s = _pools[poolId].seats.seats[index];
        require(s.operator != address(0), UnknownSeat(index));
    }

    function _leave(uint256 poolId, uint256 index) private {
        uint256 leftAt = _pools[poolId].seats.leave(index, _pool(poolId).nextRound);
        emit SeatLeft(poolId, index, uint32(leftAt));
    }

    /// @dev A seat that could not pay for the worst that it may do next has no stake left to speak with: it leaves.
    function _slashSeat(uint256 poolId, uint256 index, uint256 amount) private returns (uint256 slashed) {
        SeatLib.Seat storage s = _pools[poolId].seats.seats[index];
        address operator = s.operator;
        bytes32 id = seatLockId(poolId, s.node);
        slashed = _slash(operator, id, amount, address(0), 0);
        if (s.leftAt != 0) return slashed;
        CourtTerms storage t = _pools[poolId].terms;
        uint256 worst = t.slashFalseAccusation;
        if (t.slashOverturned > worst) worst = t.slashOverturned;
        if (t.slashAbsence > worst) worst = t.slashAbsence;
        if (_lockOf(operator, id) < worst) _leave(poolId, index);
    }

    function _punishOverturned(uint256 poolId, uint256 round, uint256 index, uint256 caseId) private {
        SeatLib.Seat storage s = _seat(poolId, index);
        // Else the seat was released, and somebody else has its place.
        require(s.isLive(round), NotOverturned());
        uint256 slashed = _slashSeat(poolId, index, _pools[poolId].terms.slashOverturned);
        emit OverturnPunished(poolId, round, s.node, caseId, slashed);
    }

    // ---------------------------------------------------------------------------------------------- internal: verdicts

    /// @dev An exclusion may come before or after the draw, so it does not matter; a late reveal is never audited.
    function _isAudited(uint256 poolId, uint256 round, address node)
        private
        view
        returns (bool audited, address operator)
    {
        PoolState storage p = _pools[poolId];
        VerdictLib.Audit storage audit = p.audits.at(round);
        if (!audit.word.isSeeded(round)) return (false, address(0));
        (IRoundLedger.RecordStatus status,,) = ledger.record(poolId, round, node);
        if (status < IRoundLedger.RecordStatus.Revealed) return (false, address(0));
        IRoundLedger.Member memory m = ledger.member(poolId, node);
        audited = round < uint256(m.activeFrom) + p.terms.probation
            || Hashes.auditDraw(audit.seed, node) < p.terms.auditRate;
        return (audited, m.operator);
    }

    /// @dev The validators drawn for a slot: of the live seats, none of the worker's own operator.
    function _drawnPlaces(uint256 poolId, uint256 round, address node) private view returns (uint256) {
        (bool audited, address operator) = _isAudited(poolId, round, node);
        if (!audited) return 0;
        PoolState storage p = _pools[poolId];
        VerdictLib.Audit storage audit = p.audits.at(round);
        SeatLib.Draw memory draw = SeatLib.Draw({
            round: round, n: audit.word.get(AuditWordLib.SEATS), notThis: operator, norThis: operator, taken: 0
        });
        p.seats.drawAuditors(draw, audit.seed, node, p.terms.auditors);
        return draw.taken;
    }

    /// @dev Pays a seat for verdicts or votes, while the round's budget lasts.
    function _payFees(uint256 poolId, uint256 round, uint256 place, uint256 wanted) private returns (uint256 paid) {
        PoolState storage p = _pools[poolId];
        paid = p.audits.at(round).takeFees(wanted, p.terms.verdictBudget) * p.terms.verdictFee;
        if (paid != 0) rewards.credit(poolId, p.seats.seats[place].operator, paid);
    }

    /// @dev INVARIANT: a final round's unused verdict reserve is released exactly once, after the last payment from it. A
    /// round out of the ring without a trace here had no open case when its place was reused, which released it.
    function _releaseIfDone(uint256 poolId, uint256 round) private returns (uint256 released) {
        PoolState storage p = _pools[poolId];
        VerdictLib.Audit storage audit = p.audits.at(round);
        AuditWord word = audit.word;
        if (!word.isOf(round)) {
            if (!_hasReserve(poolId, round)) return 0;
            audit = p.audits.claim(round);
            word = AuditWordLib.create(round);
        }
        if (word.has(AuditWordLib.RELEASED) || word.get(AuditWordLib.OPEN_CASES) != 0) return 0;
        audit.word = word.with(AuditWordLib.RELEASED);
        CourtTerms storage t = _loadTerms(poolId);
        released = (t.verdictBudget - word.get(AuditWordLib.PAID)) * t.verdictFee;
        if (released != 0) rewards.release(poolId, released);
    }

    /// @dev Whether the ledger has set something aside for the verdicts of a round that nobody judged. Not for the
    /// confirm-only round, the one that is closed without a poster.
    function _hasReserve(uint256 poolId, uint256 round) private view returns (bool) {
        IRoundLedger.Round memory r = ledger.round(poolId, round);
        return r.exists && (r.closedAt == 0 || r.poster != address(0));
    }

    // ---------------------------------------------------------------------------------------------- internal: cases

    function _case(uint256 caseId) private view returns (CaseLib.Case storage c) {
        require(caseId != 0 && caseId <= caseCount, UnknownCase(caseId));
        c = _cases[caseId];
    }

    function _requireJuror(CaseLib.Case storage c) private view returns (uint256 place) {
        SeatWord word = _pools[c.poolId].seats.wordOfSeated(msg.sender);
        place = word.place();
        require(c.jury().seats & (1 << place) != 0, NotJuror(msg.sender));
    }

    /// @dev Who answers for the side that an outcome goes against.
    function _loser(CaseLib.Case storage c, bool guilty) private view returns (address) {
        return guilty ? c.operator : _pools[c.poolId].seats.seats[c.word.get(CaseWordLib.ACCUSER_PLACE)].operator;
    }

    function _openCase(uint256 poolId, uint256 round, uint256 place, address node, Outcome fault) private {
        // 1. The accused slot keeps its pay until the case ends, its operator everything in the stake manager.
        uint256 caseId = ++caseCount;
        CaseLib.Case storage c = _cases[caseId];
        (address operator, uint16 width) = ledger.contest(poolId, round, node);
        c.node = node;
        c.poolId = uint96(poolId);
        c.operator = operator;
        c.accuser = msg.sender;
        CaseWord word = CaseWord.wrap(0).set(CaseWordLib.ROUND, round).set(CaseWordLib.WIDTH, width);
        c.word = word.set(CaseWordLib.ACCUSER_PLACE, place).set(CaseWordLib.FAULT, uint256(fault));
        PoolState storage p = _pools[poolId];
        p.caseAbout[round][node] = caseId;
        p.audits.openCase(round);
        stakeManager.caseOpened(operator);

        // 2. The jury.
        uint256 jury = _summon(caseId, 0);
        emit CaseOpened(caseId, poolId, round, node, msg.sender, fault, p.seats.nodesOf(jury));
        if (jury == 0) _conclude(caseId);
    }

    /// @dev Draws a level's jury: live seats of neither party's operator.
    function _summon(uint256 caseId, uint256 level) private returns (uint256) {
        CaseLib.Case storage c = _cases[caseId];
        PoolState storage p = _pools[c.poolId];
        CourtTerms storage t = p.terms;
        uint256 round = c.word.get(CaseWordLib.ROUND);
        VerdictLib.Audit storage audit = p.audits.at(round);
        SeatLib.Draw memory draw = SeatLib.Draw({
            round: round,
            n: audit.word.get(AuditWordLib.SEATS),
            notThis: _loser(c, false),
            norThis: c.operator,
            taken: 0
        });
        bool larger;
        if (level == CaseLib.TOP) {
            p.seats.drawAll(draw);
        } else {
            uint256 wanted = level == 0 ? t.jurySize : 2 * uint256(t.jurySize) + 1;
            larger = p.seats.drawJury(draw, audit.seed, caseId, level, wanted);
        }
        c.summon(level, draw.taken, larger, t.voteWindow, t.voteRevealWindow);
        return draw.taken;
    }

    function _summonNext(uint256 caseId, address appellant) private {
        CaseLib.Case storage c = _cases[caseId];
        uint256 level = c.word.get(CaseWordLib.LEVEL) + 1;
        uint256 jury = _summon(caseId, level);
        emit CaseEscalated(caseId, uint8(level), appellant, _pools[c.poolId].seats.nodesOf(jury));
    }

    /// @dev What follows from the present jury's votes.
    function _conclude(uint256 caseId) private {
        CaseLib.Case storage c = _cases[caseId];
        CaseWord word = c.word;
        CaseStatus outcome = word.finding();
        if (!word.has(CaseWordLib.LARGER)) {
            _finish(caseId, outcome);
        } else if (outcome == CaseStatus.Hung) {
            _summonNext(caseId, address(0));
        } else {
            bool guilty = outcome == CaseStatus.Convicted;
            uint256 appealDeadline = block.timestamp + _pools[c.poolId].terms.appealWindow;
            c.decide(guilty, appealDeadline);
            emit CaseDecided(caseId, uint8(word.get(CaseWordLib.LEVEL)), guilty, uint64(appealDeadline));
        }
    }

    function _finish(uint256 caseId, CaseStatus status) private {
        CaseLib.Case storage c = _cases[caseId];
        CaseWord word = c.word.withStatus(status).set(CaseWordLib.APPEAL_DEADLINE, 0);
        c.word = word;
        uint256 poolId = c.poolId;
        uint256 round = word.get(CaseWordLib.ROUND);
        _pools[poolId].audits.endCase(round);

        // 1. The loser pays; nobody where even the largest jury found neither way.
        uint256 slashed;
        if (status == CaseStatus.Convicted) slashed = _slashWorker(c, word);
        else if (status == CaseStatus.Acquitted) slashed = _slashAccuser(c, word);
        emit CaseResolved(
            caseId,
            status,
            uint16(word.get(CaseWordLib.GUILTY)),
            uint16(word.get(CaseWordLib.INNOCENT)),
            slashed
        );
        if (word.get(CaseWordLib.LEVEL) != 0) _endAppeals(caseId, word, status);

        // 2. The slot's pay, the operator's withdrawals and the round's reserve go on.
        stakeManager.caseClosed(c.operator);
        ledger.resolve(poolId, round, c.node, status == CaseStatus.Convicted);
        if (isFinal(poolId, round)) _releaseIfDone(poolId, round);
    }

    function _slashWorker(CaseLib.Case storage c, CaseWord word) private returns (uint256) {
        uint256 poolId = c.poolId;
        CourtTerms storage t = _pools[poolId].terms;
        uint256 amount = t.slashConviction * word.get(CaseWordLib.WIDTH);
        return _slash(c.operator, ledger.lockId(poolId, c.node), amount, _loser(c, false), t.finderFee);
    }

    /// @dev Who said "withheld" may have been right when saying it: a worker may answer by serving the jury. So that costs
    /// what any overturned verdict costs; a mismatch that was none is a false accusation.
    function _slashAccuser(CaseLib.Case storage c, CaseWord word) private returns (uint256) {
        CourtTerms storage t = _pools[c.poolId].terms;
        uint256 amount = word.fault() == Outcome.Withheld ? t.slashOverturned : t.slashFalseAccusation;
        return _slashSeat(c.poolId, word.get(CaseWordLib.ACCUSER_PLACE), amount);
    }

    /// @dev INVARIANT: each appeal's bond is freed or taken once. An outcome that the appeal was not against frees it.
    function _endAppeals(uint256 caseId, CaseWord word, CaseStatus status) private {
        CaseLib.Case storage c = _cases[caseId];
        uint256 bond = _pools[c.poolId].terms.appealBond;
        for (uint256 i; i < 2 * CaseLib.TOP; ++i) {
            (uint256 level, bool guilty) = (i / 2, i % 2 == 0);
            if (!word.has(CaseWordLib.appealOf(level, guilty))) continue;
            address appellant = _loser(c, guilty);
            bool won = status != (guilty ? CaseStatus.Convicted : CaseStatus.Acquitted);
            emit AppealEnded(caseId, appellant, won);
            bytes32 id = appealLockId(caseId, level);
            if (won) _unlock(appellant, id, bond);
            else _slash(appellant, id, bond, address(0), 0);
        }
    }
}
