// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "./interfaces/ICourt.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {IRewards} from "./interfaces/IRewards.sol";
import {IRoundLedger, PoolParams} from "./interfaces/IRoundLedger.sol";
import {IStakeManager} from "./interfaces/IStakeManager.sol";
import {CaseLib} from "./libraries/CaseLib.sol";
import {Hashes} from "./libraries/Hashes.sol";
import {RING} from "./libraries/PoolLib.sol";
import {SeatLib} from "./libraries/SeatLib.sol";
import {VerdictLib} from "./libraries/VerdictLib.sol";
import {Record, RecordLib} from "./types/Record.sol";

/// @title Validator seats, verdicts and juries.
/// @dev Checks callers, calls `SeatLib`, `VerdictLib` and `CaseLib` for every transition, emits, and tells the round ledger
/// and the custodians what follows. A round's verdict fees come from the reserve that the ledger set aside for it.
contract Court is ICourt {
    /// @dev What is read once about a round and passed around.
    struct Audit {
        uint256 poolId;
        uint256 round;
        IRoundLedger.AuditTerms terms;
        PoolParams params;
    }

    using SeatLib for SeatLib.State;
    using SeatLib for SeatLib.Seat;
    using VerdictLib for VerdictLib.Round;
    using CaseLib for CaseLib.Case;

    uint256 public constant MAX_VERDICTS = 64;

    INodeRegistry public immutable registry;
    IStakeManager public immutable stakeManager;
    IRewards public immutable rewards;
    IRoundLedger public immutable ledger;

    uint256 public caseCount;
    mapping(uint256 poolId => SeatLib.State) private _seats;
    mapping(uint256 poolId => mapping(uint256 round => VerdictLib.Round)) private _rounds;
    /// The commitment of a validator's verdicts, in the same packed word and ring as the workers'.
    mapping(uint256 poolId => mapping(address validator => Record[RING])) private _verdicts;
    mapping(uint256 caseId => CaseLib.Case) private _cases;
    mapping(uint256 poolId => mapping(uint256 round => mapping(address node => uint256))) public caseAbout;

    constructor(INodeRegistry registry_, IStakeManager stakeManager_, IRewards rewards_, IRoundLedger ledger_) {
        registry = registry_;
        stakeManager = stakeManager_;
        rewards = rewards_;
        ledger = ledger_;
    }

    // ---------------------------------------------------------------------------------------------- seats

    /// @inheritdoc ICourt
    function takeSeat(uint256 poolId, address node) external returns (uint256 index) {
        IRoundLedger.Pool memory pool = ledger.pool(poolId);
        require(!pool.ended, IRoundLedger.PoolHasEnded());
        address operator = registry.operatorOf(node);
        require(msg.sender == operator, OnlyOperator(operator));
        index = _seats[poolId].take(operator, node, pool.nextRound);
        emit SeatTaken(poolId, index, operator, node, pool.nextRound);
        stakeManager.lock(operator, seatLockId(poolId, node), ledger.params(poolId).seatStake);
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
        require(s.duties == 0, StillNeeded(s.leftAt));
        // INVARIANT: no round that could draw this seat can still ask for it. Rounds out of the ring are final.
        uint256 nextRound = ledger.pool(poolId).nextRound;
        uint256 first = nextRound > RING ? nextRound - RING : 0;
        for (uint256 r = s.activeFrom > first ? s.activeFrom : first; r < s.leftAt; ++r) {
            require(isFinal(poolId, r), StillNeeded(r));
        }

        _seats[poolId].release(index);
        emit SeatReleased(poolId, index);
        bytes32 id = seatLockId(poolId, s.node);
        stakeManager.unlock(s.operator, id, stakeManager.lockOf(s.operator, id));
    }

    // ---------------------------------------------------------------------------------------------- verdicts

    /// @inheritdoc ICourt
    function commitVerdicts(uint256 poolId, uint256 round, bytes32 commitment) external {
        uint256 place = _seats[poolId].indexOf(msg.sender);
        IRoundLedger.AuditTerms memory terms = ledger.auditTerms(poolId, round);
        require(place < terms.seats && _seats[poolId].seats[place].isLive(round), OnlySeat());
        Record stored = _verdicts[poolId][msg.sender][round % RING];
        require(!stored.isOf(round), AlreadyDone());
        _rounds[poolId][round].commit(terms);
        _verdicts[poolId][msg.sender][round % RING] = RecordLib.create(commitment, round, 1);
        emit VerdictsCommitted(poolId, round, msg.sender, commitment);
    }

    /// @inheritdoc ICourt
    function revealVerdicts(uint256 poolId, uint256 round, Verdict[] calldata verdicts, bytes32 salt) external {
        require(verdicts.length <= MAX_VERDICTS, TooManyVerdicts());
        uint256 place = _seats[poolId].indexOf(msg.sender);
        Audit memory audit = _audit(poolId, round);

        // 1. The commitment, once.
        _openVerdicts(poolId, round, verdicts, salt);
        VerdictLib.Round storage r = _rounds[poolId][round];
        bool last = r.reveal(audit.terms);

        // 2. Each verdict is about a slot that this validator was drawn for, once.
        for (uint256 i; i < verdicts.length; ++i) {
            address node = verdicts[i].node;
            require(verdicts[i].outcome != Outcome.None, BadOutcome());
            for (uint256 j; j < i; ++j) {
                require(verdicts[j].node != node, NotDrawn(node));
            }
            require(_drawnPlaces(audit, node) & (1 << place) != 0, NotDrawn(node));
        }

        // 3. Pay, while the round's budget lasts.
        uint256 paid = r.takeFees(verdicts.length, audit.params.verdictBudget) * audit.params.verdictFee;
        emit VerdictsRevealed(poolId, round, msg.sender, verdicts, paid);
        if (paid != 0) rewards.credit(poolId, _seats[poolId].seats[place].operator, paid);

        // 4. What accuses.
        for (uint256 i; i < verdicts.length; ++i) {
            if (verdicts[i].outcome == Outcome.Accept || caseAbout[poolId][round][verdicts[i].node] != 0) continue;
            _openCase(audit, place, verdicts[i].node, verdicts[i].outcome);
        }
        if (last) _releaseIfDone(poolId, round, audit.params);
    }

    /// @inheritdoc ICourt
    function releaseVerdictReserve(uint256 poolId, uint256 round) external returns (uint256 released) {
        require(isFinal(poolId, round), RoundNotFinal(round));
        return _releaseIfDone(poolId, round, ledger.params(poolId));
    }

    // ---------------------------------------------------------------------------------------------- cases

    /// @inheritdoc ICourt
    function commitVote(uint256 caseId, bytes32 commitment) external {
        CaseLib.Case storage c = _case(caseId);
        _requireJuror(c);
        c.commitVote(msg.sender, commitment, ledger.params(c.poolId).voteRevealWindow);
        emit VoteCommitted(caseId, msg.sender, commitment);
    }

    /// @inheritdoc ICourt
    function revealVote(uint256 caseId, Outcome outcome, bytes32 digest, bytes32 salt) external {
        CaseLib.Case storage c = _case(caseId);
        address operator = _requireJuror(c);
        c.revealVote(caseId, msg.sender, outcome, digest, salt);
        emit VoteRevealed(caseId, msg.sender, outcome, digest);
        PoolParams memory params = ledger.params(c.poolId);
        uint256 paid = _rounds[c.poolId][c.round].takeFees(1, params.verdictBudget) * params.verdictFee;
        if (paid != 0) rewards.credit(c.poolId, operator, paid);
    }

    /// @inheritdoc ICourt
    function resolveCase(uint256 caseId) external {
        _case(caseId);
        _resolve(caseId);
    }

    // ---------------------------------------------------------------------------------------------- views

    /// @inheritdoc ICourt
    function seatCount(uint256 poolId) external view returns (uint256) {
        return _seats[poolId].seats.length;
    }

    /// @inheritdoc ICourt
    function liveSeats(uint256 poolId) external view returns (uint256) {
        return _seats[poolId].live;
    }

    /// @inheritdoc ICourt
    function seat(uint256 poolId, uint256 index) external view returns (Seat memory) {
        require(index < _seats[poolId].seats.length, UnknownSeat(index));
        SeatLib.Seat storage s = _seats[poolId].seats[index];
        return Seat({operator: s.operator, node: s.node, activeFrom: s.activeFrom, leftAt: s.leftAt});
    }

    /// @inheritdoc ICourt
    function verdictRound(uint256 poolId, uint256 round) external view returns (VerdictRound memory out) {
        VerdictLib.Round storage r = _rounds[poolId][round];
        IRoundLedger.AuditTerms memory terms = ledger.auditTerms(poolId, round);
        if (terms.sealedAt != 0) {
            out.commitDeadline = uint64(r.commitDeadlineOf(terms));
            out.revealDeadline = uint64(r.revealDeadlineOf(terms));
        }
        out.seats = terms.liveSeats;
        out.committed = r.committed;
        out.revealed = r.revealed;
        out.paid = r.paid;
    }

    /// @inheritdoc ICourt
    function isFinal(uint256 poolId, uint256 round) public view returns (bool) {
        IRoundLedger.AuditTerms memory terms = ledger.auditTerms(poolId, round);
        if (terms.sealedAt != 0) return _rounds[poolId][round].isFinal(terms);
        return round + RING < ledger.pool(poolId).nextRound;
    }

    /// @inheritdoc ICourt
    function isAudited(uint256 poolId, uint256 round, address node) external view returns (bool) {
        return _isAudited(_audit(poolId, round), node);
    }

    /// @inheritdoc ICourt
    function auditorsOf(uint256 poolId, uint256 round, address node) external view returns (address[] memory auditors) {
        Audit memory audit = _audit(poolId, round);
        uint256 drawn = _drawnPlaces(audit, node);
        uint256 count;
        for (uint256 rest = drawn; rest != 0; rest &= rest - 1) {
            ++count;
        }
        auditors = new address[](count);
        count = 0;
        for (uint256 place; place < audit.terms.seats; ++place) {
            if (drawn & (1 << place) != 0) auditors[count++] = _seats[poolId].seats[place].node;
        }
    }

    /// @inheritdoc ICourt
    function caseOf(uint256 caseId) external view returns (Case memory) {
        CaseLib.Case storage c = _case(caseId);
        return Case({
            poolId: c.poolId,
            round: c.round,
            node: c.node,
            operator: c.operator,
            accuser: c.accuser,
            fault: c.fault,
            status: c.status,
            width: c.width,
            commitDeadline: c.commitDeadline,
            revealDeadline: c.revealDeadline,
            jurors: c.jurors,
            committed: c.committed,
            guilty: c.guilty,
            innocent: c.innocent
        });
    }

    /// @inheritdoc ICourt
    function juryOf(uint256 caseId) external view returns (address[] memory) {
        return _jury(_case(caseId));
    }

    /// @inheritdoc ICourt
    function seatLockId(uint256 poolId, address node) public pure returns (bytes32) {
        return keccak256(abi.encode("pi-protocol/seat-lock", poolId, node));
    }

    // ---------------------------------------------------------------------------------------------- internal: seats

    function _seat(uint256 poolId, uint256 index) private view returns (SeatLib.Seat storage s) {
        require(index < _seats[poolId].seats.length, UnknownSeat(index));
        s = _seats[poolId].seats[index];
        require(s.operator != address(0), UnknownSeat(index));
    }

    function _leave(uint256 poolId, uint256 index) private {
        uint256 leftAt = _seats[poolId].leave(index, ledger.pool(poolId).nextRound);
        emit SeatLeft(poolId, index, uint32(leftAt));
    }

    // ---------------------------------------------------------------------------------------------- internal: verdicts

    function _openVerdicts(uint256 poolId, uint256 round, Verdict[] calldata verdicts, bytes32 salt) private {
        Record stored = _verdicts[poolId][msg.sender][round % RING];
        require(stored.isOf(round), CommitmentMismatch());
        require(!stored.has(RecordLib.REVEALED), AlreadyDone());
        bytes32 hash = Hashes.verdicts(address(this), poolId, round, msg.sender, verdicts, salt);
        require(stored.hash() == RecordLib.truncate(hash), CommitmentMismatch());
        _verdicts[poolId][msg.sender][round % RING] = stored.with(RecordLib.REVEALED);
    }

    function _audit(uint256 poolId, uint256 round) private view returns (Audit memory) {
        return Audit(poolId, round, ledger.auditTerms(poolId, round), ledger.params(poolId));
    }

    /// @dev An exclusion may come before or after the draw, so it does not matter; a late reveal is never audited.
    function _isAudited(Audit memory audit, address node) private view returns (bool) {
        if (audit.terms.seed == 0) return false;
        (IRoundLedger.RecordStatus status,,) = ledger.record(audit.poolId, audit.round, node);
        if (status < IRoundLedger.RecordStatus.Revealed) return false;
        if (Hashes.auditDraw(audit.terms.seed, node) < audit.params.auditRate) return true;
        return audit.round < uint256(ledger.member(audit.poolId, node).activeFrom) + audit.params.probation;
    }

    /// @dev One bit per place of the validators drawn for a slot: of the live seats, none of the worker's own operator.
    function _drawnPlaces(Audit memory audit, address node) private view returns (uint256) {
        if (!_isAudited(audit, node)) return 0;
        address operator = ledger.member(audit.poolId, node).operator;
        SeatLib.Draw memory draw =
            SeatLib.Draw({round: audit.round, n: audit.terms.seats, notThis: operator, norThis: operator, taken: 0});
        for (uint256 k; k < audit.params.auditors && draw.n != 0; ++k) {
            uint256 start = Hashes.auditorDraw(audit.terms.seed, node, k, draw.n);
            (bool found,) = _seats[audit.poolId].next(draw, start);
            if (!found) break;
        }
        return draw.taken;
    }

    /// @dev INVARIANT: a round's unused verdict reserve is released exactly once, after the last payment from it.
    function _releaseIfDone(uint256 poolId, uint256 round, PoolParams memory params)
        private
        returns (uint256 released)
    {
        VerdictLib.Round storage r = _rounds[poolId][round];
        if (r.released || r.openCases != 0) return 0;
        r.released = true;
        released = uint256(params.verdictBudget - r.paid) * params.verdictFee;
        if (released != 0) rewards.release(poolId, released);
    }

    // ---------------------------------------------------------------------------------------------- internal: cases

    function _case(uint256 caseId) private view returns (CaseLib.Case storage c) {
        require(caseId != 0 && caseId <= caseCount, UnknownCase(caseId));
        c = _cases[caseId];
    }

    function _requireJuror(CaseLib.Case storage c) private view returns (address operator) {
        uint256 place = _seats[c.poolId].placeOf[msg.sender];
        require(place != 0 && c.isJuror(place - 1), NotJuror(msg.sender));
        return _seats[c.poolId].seats[place - 1].operator;
    }

    function _jury(CaseLib.Case storage c) private view returns (address[] memory jury) {
        jury = new address[](c.jurors);
        for (uint256 k; k < jury.length; ++k) {
            jury[k] = _seats[c.poolId].seats[c.juror(k)].node;
        }
    }

    function _openCase(Audit memory audit, uint256 accuserPlace, address node, Outcome fault) private {
        // 1. The accused slot keeps its pay until the case ends, its operator everything in the stake manager.
        uint256 caseId = ++caseCount;
        CaseLib.Case storage c = _cases[caseId];
        (c.operator, c.width) = ledger.contest(audit.poolId, audit.round, node);
        c.poolId = uint128(audit.poolId);
        c.round = uint32(audit.round);
        c.node = node;
        c.fault = fault;
        c.status = CaseStatus.Open;
        c.commitDeadline = uint40(block.timestamp + audit.params.voteWindow);
        c.revealDeadline = uint40(block.timestamp + audit.params.voteWindow + audit.params.voteRevealWindow);
        c.accuserPlace = uint8(accuserPlace);
        c.accuser = msg.sender;
        caseAbout[audit.poolId][audit.round][node] = caseId;
        _rounds[audit.poolId][audit.round].openCases += 1;
        stakeManager.caseOpened(c.operator);

        // 2. The jury: live seats of neither party's operator.
        _drawJury(c, caseId, audit);
        emit CaseOpened(caseId, audit.poolId, audit.round, node, msg.sender, fault, _jury(c));
        if (c.jurors == 0) _resolve(caseId);
    }

    function _drawJury(CaseLib.Case storage c, uint256 caseId, Audit memory audit) private {
        SeatLib.State storage seats = _seats[audit.poolId];
        SeatLib.Seat storage accuser = seats.seats[c.accuserPlace];
        accuser.duties += 1;
        SeatLib.Draw memory draw = SeatLib.Draw({
            round: audit.round, n: audit.terms.seats, notThis: accuser.operator, norThis: c.operator, taken: 0
        });
        uint256 jury;
        uint256 jurors;
        for (; jurors < audit.params.jurySize; ++jurors) {
            uint256 start = Hashes.jurorDraw(audit.terms.seed, caseId, jurors, draw.n);
            (bool found, uint256 place) = seats.next(draw, start);
            if (!found) break;
            jury |= place << (8 * jurors);
            seats.seats[place].duties += 1;
        }
        c.jury = uint128(jury);
        c.jurors = uint8(jurors);
    }

    function _resolve(uint256 caseId) private {
        CaseLib.Case storage c = _cases[caseId];
        CaseStatus status = c.resolve();
        uint256 poolId = c.poolId;
        PoolParams memory params = ledger.params(poolId);
        SeatLib.State storage seats = _seats[poolId];

        // 1. Everybody's duty is over.
        VerdictLib.Round storage r = _rounds[poolId][c.round];
        r.openCases -= 1;
        seats.seats[c.accuserPlace].duties -= 1;
        for (uint256 k; k < c.jurors; ++k) {
            seats.seats[c.juror(k)].duties -= 1;
        }

        // 2. The loser pays; a hung jury costs nobody.
        uint256 slashed;
        if (status == CaseStatus.Convicted) slashed = _slashWorker(c, params);
        else if (status == CaseStatus.Acquitted) slashed = _slashAccuser(c, params);
        emit CaseResolved(caseId, status, c.guilty, c.innocent, slashed);

        // 3. The slot's pay, the operator's withdrawals and the round's reserve go on.
        stakeManager.caseClosed(c.operator);
        ledger.resolve(poolId, c.round, c.node, status == CaseStatus.Convicted);
        if (isFinal(poolId, c.round)) _releaseIfDone(poolId, c.round, params);
    }

    function _slashWorker(CaseLib.Case storage c, PoolParams memory params) private returns (uint256) {
        return stakeManager.slash({
            operator: c.operator,
            lockId: ledger.lockId(c.poolId, c.node),
            amount: uint256(params.slashConviction) * c.width,
            finder: _seats[c.poolId].seats[c.accuserPlace].operator,
            finderFeeBps: params.finderFee
        });
    }

    /// @dev A seat that could not pay for the next false accusation has no stake left to speak with: it leaves.
    function _slashAccuser(CaseLib.Case storage c, PoolParams memory params) private returns (uint256 slashed) {
        SeatLib.Seat storage s = _seats[c.poolId].seats[c.accuserPlace];
        bytes32 id = seatLockId(c.poolId, c.accuser);
        slashed = stakeManager.slash({
            operator: s.operator, lockId: id, amount: params.slashFalseAccusation, finder: address(0), finderFeeBps: 0
        });
        if (s.leftAt == 0 && stakeManager.lockOf(s.operator, id) < params.slashFalseAccusation) {
            _leave(c.poolId, c.accuserPlace);
        }
    }
}
