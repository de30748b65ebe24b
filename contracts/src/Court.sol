// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "./interfaces/ICourt.sol";
import {CourtTerms, IPools} from "./interfaces/IPools.sol";
import {IRewards} from "./interfaces/IRewards.sol";
import {IRoundLedger} from "./interfaces/IRoundLedger.sol";
import {IStakeManager} from "./interfaces/IStakeManager.sol";
import {CaseLib} from "./libraries/CaseLib.sol";
import {Checks} from "./libraries/Checks.sol";
import {Hashes} from "./libraries/Hashes.sol";
import {RING} from "./libraries/PoolLib.sol";
import {SeatLib} from "./libraries/SeatLib.sol";
import {VerdictLib} from "./libraries/VerdictLib.sol";
import {AuditWord, AuditWordLib} from "./types/AuditWord.sol";
import {CaseWord, CaseWordLib} from "./types/CaseWord.sol";
import {SeatWord, SeatWordLib} from "./types/SeatWord.sol";

/// @title Validator seats, verdicts and juries.
/// @dev Checks callers, calls `SeatLib`, `VerdictLib` and `CaseLib` for every transition, emits, and tells the round
/// ledger and the custodians what follows. A round's verdict fees come from the reserve that the ledger set aside for
/// it.
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

    IStakeManager public immutable stakeManager;
    IRewards public immutable rewards;
    IPools public immutable pools;
    IRoundLedger public immutable ledger;

    uint256 public caseCount;
    mapping(uint256 poolId => PoolState) private _pools;
    mapping(uint256 caseId => CaseLib.Case) private _cases;

    constructor(IStakeManager stakeManager_, IRewards rewards_, IPools pools_, IRoundLedger ledger_) {
        stakeManager = stakeManager_;
        rewards = rewards_;
        pools = pools_;
        ledger = ledger_;
    }

    // ---------------------------------------------------------------------------------------------- seats

    /// @inheritdoc ICourt
    function takeSeat(uint256 poolId, address node) external returns (uint256 index) {
        pools.requireEntry(node, msg.sender);
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
        Checks.once(s.leftAt == 0);
        _leave(poolId, index);
    }

    /// @inheritdoc ICourt
    function releaseSeat(uint256 poolId, uint256 index) external {
        SeatLib.Seat storage s = _seat(poolId, index);
        uint256 leftAt = s.leftAt;
        require(leftAt != 0, NotLeft());
        // INVARIANT: no round that could draw this seat can still ask for it. Rounds out of the ring are final.
        uint256 nextRound = _pool(poolId).nextRound;
        uint256 activeFrom = s.activeFrom;
        uint256 first = nextRound > RING ? nextRound - RING : 0;
        for (uint256 r = activeFrom > first ? activeFrom : first; r < leftAt; ++r) {
            require(isFinal(poolId, r), StillNeeded(r));
        }
        PoolState storage p = _pools[poolId];
        p.audits.requireQuiet(activeFrom, leftAt, p.terms.appealWindow);

        address operator = s.operator;
        bytes32 id = seatLockId(poolId, s.node);
        p.seats.release(index);
        emit SeatReleased(poolId, index);
        _unlock(operator, id, _lockOf(operator, id));
    }

    /// @inheritdoc ICourt
    function watch(uint256 poolId, address node) external {
        uint256 round = _pool(poolId).nextRound;
        _pools[poolId].seats.watch(msg.sender, node, round);
        emit Watched(poolId, round, node, msg.sender);
    }

    // ---------------------------------------------------------------------------------------------- verdicts

    /// @inheritdoc ICourt
    function captureSeed(uint256 poolId, uint256 round) external {
        AuditWord word = _auditWord(poolId, round);
        if (word.has(AuditWordLib.SEEDED)) return;
        require(word.get(AuditWordLib.LIVE_SEATS) != 0, NothingToJudge(round));
        // A later seed would make absent who never could commit.
        Checks.phase(block.timestamp <= word.get(AuditWordLib.COMMIT_DEADLINE));
        uint256 seedBlock = word.get(AuditWordLib.SEED_BLOCK);
        require(block.number > seedBlock, SeedNotReady(seedBlock));

        bytes32 seed = VerdictLib.blockHash(seedBlock);
        VerdictLib.Audit storage audit = _pools[poolId].audits.claim(round);
        if (seed == 0) {
            audit.word = word.set(AuditWordLib.SEED_BLOCK, block.number + 1);
            emit SeedRepinned(poolId, round, uint64(block.number + 1));
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

        // 5. Only now, since a case without jurors ends at once, and in a final round that would give back the reserve
        // which pays the juries of the others.
        if (p.audits.reveal(round, place)) _releaseIfDone(poolId, round);
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
        c.commitVote(_requireJuror(c), commitment);
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
            Checks.phase(block.timestamp > word.get(CaseWordLib.APPEAL_DEADLINE));
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
        Checks.phase(word.status() == CaseStatus.Decided && block.timestamp <= word.get(CaseWordLib.APPEAL_DEADLINE));
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
        VerdictLib.Audit storage audit = p.audits.ring[round % RING];
        AuditWord word = audit.word;
        require(word.isSeeded(round) && !audit.isMarked(index), NotAbsent());
        require(word.isOver(), RoundNotFinal(round));
        audit.mark(index);
        _punish(poolId, round, index, 0, true);
    }

    /// @inheritdoc ICourt
    function reportAbsentJuror(uint256 caseId, uint256 level, uint256 index) external {
        CaseLib.Case storage c = _case(caseId);
        c.punishAbsence(level, index);
        _punish(c.poolId, c.word.get(CaseWordLib.ROUND), index, caseId, true);
    }

    /// @inheritdoc ICourt
    function reportOverturnedVote(uint256 caseId, uint256 level, uint256 index) external {
        CaseLib.Case storage c = _case(caseId);
        c.punishVote(level, index);
        _punish(c.poolId, c.word.get(CaseWordLib.ROUND), index, caseId, false);
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
        require(which < verdicts.length && verdicts[which].outcome == Outcome.Accept, NotOverturned());
        uint256 caseId = p.caseAbout[round][verdicts[which].node];
        require(_cases[caseId].word.status() == CaseStatus.Convicted, NotOverturned());
        address node = _seatIn(poolId, round, index).node;
        p.seats.punish(node, round, Hashes.verdicts(address(this), poolId, round, node, verdicts, salt));
        _punish(poolId, round, index, caseId, false);
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
        AuditWord word = _auditWord(poolId, round);
        if (word.has(AuditWordLib.SEEDED)) out.seed = _pools[poolId].audits.at(round).seed;
        out.seedBlock = uint64(word.get(AuditWordLib.SEED_BLOCK));
        out.commitDeadline = uint64(word.get(AuditWordLib.COMMIT_DEADLINE));
        out.revealDeadline = uint64(word.get(AuditWordLib.REVEAL_DEADLINE));
        out.seats = uint32(word.get(AuditWordLib.LIVE_SEATS));
        out.committed = uint32(word.get(AuditWordLib.COMMITTED));
        out.revealed = uint32(word.get(AuditWordLib.REVEALED));
        out.paid = uint32(word.get(AuditWordLib.PAID));
        out.openCases = uint32(word.get(AuditWordLib.OPEN_CASES));
    }

    /// @inheritdoc ICourt
    function isFinal(uint256 poolId, uint256 round) public view returns (bool) {
        AuditWord word = _auditWord(poolId, round);
        // Not sealed yet, or out of the ring and done with.
        if (word.isEmpty()) return round + RING < _pool(poolId).nextRound;
        return word.get(AuditWordLib.LIVE_SEATS) == 0 || word.isOver();
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
        return Hashes.lockId("pi-protocol/seat-lock", poolId, uint160(node));
    }

    /// @inheritdoc ICourt
    function appealLockId(uint256 caseId, uint256 level) public pure returns (bytes32) {
        return Hashes.lockId("pi-protocol/appeal-lock", caseId, level);
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

    /// @dev A seat that judged a round. Once that seat was released, its place may have another holder.
    function _seatIn(uint256 poolId, uint256 round, uint256 index) private view returns (SeatLib.Seat storage s) {
        s = _pools[poolId].seats.seats[index];
        require(s.isLive(round), UnknownSeat(index));
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

    /// @dev For silence or for what a case has overturned.
    function _punish(uint256 poolId, uint256 round, uint256 index, uint256 caseId, bool absent) private {
        address node = _seatIn(poolId, round, index).node;
        CourtTerms storage t = _pools[poolId].terms;
        uint256 slashed = _slashSeat(poolId, index, absent ? t.slashAbsence : t.slashOverturned);
        if (absent) emit AbsencePunished(poolId, round, node, caseId, slashed);
        else emit OverturnPunished(poolId, round, node, caseId, slashed);
    }

    // ---------------------------------------------------------------------------------------------- internal: verdicts

    /// @dev The round's word, or what it will be once its seed is captured. Empty before the seal, and for a round
    /// without a trace.
    function _auditWord(uint256 poolId, uint256 round) private view returns (AuditWord word) {
        PoolState storage p = _pools[poolId];
        word = p.audits.at(round).word;
        if (word.has(AuditWordLib.SEEDED)) return word;
        IRoundLedger.AuditTerms memory a = _auditTerms(poolId, round);
        if (a.sealedAt == 0) return word;
        if (word.isEmpty()) word = AuditWordLib.create(round);
        if (word.get(AuditWordLib.SEED_BLOCK) == 0) word = word.set(AuditWordLib.SEED_BLOCK, a.seedBlock);
        // Nobody may commit where there is nothing to judge.
        if (a.revealed != 0) word = word.set(AuditWordLib.LIVE_SEATS, a.liveSeats);
        uint256 deadline = a.sealedAt + p.terms.verdictWindow;
        word = word.set(AuditWordLib.SEATS, a.seats).set(AuditWordLib.COMMIT_DEADLINE, deadline);
        return word.set(AuditWordLib.REVEAL_DEADLINE, deadline + p.terms.verdictRevealWindow);
    }

    /// @dev The validators drawn for a slot: of the live seats, none of the worker's own operator. An exclusion may come
    /// before or after the draw, so it does not matter; a late reveal is never audited.
    function _drawnPlaces(uint256 poolId, uint256 round, address node) private view returns (uint256) {
        PoolState storage p = _pools[poolId];
        VerdictLib.Audit storage audit = p.audits.at(round);
        AuditWord word = audit.word;
        if (!word.has(AuditWordLib.SEEDED)) return 0;
        (address operator, uint256 activeFrom) = ledger.slotOf(poolId, round, node);
        if (operator == address(0)) return 0;
        bytes32 seed = audit.seed;
        if (!p.seats.isWatched(node, round)) {
            // A node that has left and come back may have slots from before.
            uint256 age = round < activeFrom ? 0 : round - activeFrom;
            if (Hashes.auditDraw(seed, node) >= VerdictLib.auditRate(p.terms, age)) return 0;
        }
        SeatLib.Draw memory draw = SeatLib.Draw({
            round: round, n: word.get(AuditWordLib.SEATS), notThis: operator, norThis: operator, taken: 0
        });
        p.seats.drawAuditors(draw, seed, node, p.terms.auditors);
        return draw.taken;
    }

    /// @dev Pays a seat for verdicts or votes, while the round's budget lasts.
    function _payFees(uint256 poolId, uint256 round, uint256 place, uint256 wanted) private returns (uint256 paid) {
        PoolState storage p = _pools[poolId];
        paid = p.audits.at(round).takeFees(wanted, p.terms.verdictBudget) * p.terms.verdictFee;
        if (paid != 0) rewards.credit(poolId, p.seats.seats[place].operator, paid);
    }

    /// @dev INVARIANT: a final round's unused verdict reserve is released exactly once, after the last payment from it.
    /// A round out of the ring without a trace here had no open case when its place was reused, which released it.
    function _releaseIfDone(uint256 poolId, uint256 round) private returns (uint256 released) {
        PoolState storage p = _pools[poolId];
        VerdictLib.Audit storage audit = p.audits.at(round);
        AuditWord word = audit.word;
        if (!word.isOf(round)) {
            if (!_auditTerms(poolId, round).reserved) return 0;
            audit = p.audits.claim(round);
            word = AuditWordLib.create(round);
        }
        if (word.has(AuditWordLib.RELEASED) || word.get(AuditWordLib.OPEN_CASES) != 0) return 0;
        audit.word = word.with(AuditWordLib.RELEASED);
        CourtTerms storage t = _loadTerms(poolId);
        released = (t.verdictBudget - word.get(AuditWordLib.PAID)) * t.verdictFee;
        if (released != 0) rewards.release(poolId, released);
    }

    // ---------------------------------------------------------------------------------------------- internal: cases

    function _case(uint256 caseId) private view returns (CaseLib.Case storage c) {
        c = _cases[caseId];
        require(c.node != address(0), UnknownCase(caseId)); // cheaper than a look at `caseCount`
    }

    function _requireJuror(CaseLib.Case storage c) private view returns (uint256 place) {
        SeatWord word = _pools[c.poolId].seats.wordOf[msg.sender];
        place = word.place();
        bool drawn = c.jury().seats & (1 << place) != 0;
        require(drawn && word.has(SeatWordLib.SEATED), NotJuror(msg.sender));
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

        // 1. The loser pays; nobody where even the largest jury found neither way, or for a slot that was planted.
        uint256 slashed;
        bool guilty = status == CaseStatus.Convicted && !pools.isPlanted(poolId, round, c.node);
        if (guilty) slashed = _slashWorker(c, word);
        else if (status == CaseStatus.Acquitted) slashed = _slashAccuser(c, word);
        emit CaseResolved(
            caseId, status, uint16(word.get(CaseWordLib.GUILTY)), uint16(word.get(CaseWordLib.INNOCENT)), slashed
        );
        _endAppeals(caseId, word, status);

        // 2. The slot's pay, the operator's withdrawals and the round's reserve go on.
        stakeManager.caseClosed(c.operator);
        ledger.resolve(poolId, round, c.node, guilty);
        if (isFinal(poolId, round)) _releaseIfDone(poolId, round);
    }

    function _slashWorker(CaseLib.Case storage c, CaseWord word) private returns (uint256) {
        uint256 poolId = c.poolId;
        CourtTerms storage t = _pools[poolId].terms;
        uint256 amount = t.slashConviction * word.get(CaseWordLib.WIDTH);
        return _slash(c.operator, ledger.lockId(poolId, c.node), amount, _loser(c, false), t.finderFee);
    }

    /// @dev Who said "withheld" may have been right when saying it: a worker may answer by serving the jury. So that
    /// costs what any overturned verdict costs; a mismatch that was none is a false accusation.
    function _slashAccuser(CaseLib.Case storage c, CaseWord word) private returns (uint256) {
        CourtTerms storage t = _pools[c.poolId].terms;
        uint256 amount = word.fault() == Outcome.Withheld ? t.slashOverturned : t.slashFalseAccusation;
        return _slashSeat(c.poolId, word.get(CaseWordLib.ACCUSER_PLACE), amount);
    }

    /// @dev INVARIANT: each appeal's bond is freed or taken once. An outcome that the appeal was not against frees it.
    function _endAppeals(uint256 caseId, CaseWord word, CaseStatus status) private {
        CaseLib.Case storage c = _cases[caseId];
        uint256 bond = _pools[c.poolId].terms.appealBond;
        for (uint256 level; level < word.get(CaseWordLib.LEVEL); ++level) {
            bool guilty = word.has(CaseWordLib.appealOf(level, true));
            if (!guilty && !word.has(CaseWordLib.appealOf(level, false))) continue;
            address appellant = _loser(c, guilty);
            bool won = status != (guilty ? CaseStatus.Convicted : CaseStatus.Acquitted);
            emit AppealEnded(caseId, appellant, won);
            bytes32 id = appealLockId(caseId, level);
            if (won) _unlock(appellant, id, bond);
            else _slash(appellant, id, bond, address(0), 0);
        }
    }
}
