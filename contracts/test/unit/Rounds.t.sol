// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {PoolParams} from "../../src/interfaces/IPools.sol";
import {IRoundLedger, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {LedgerCase} from "./LedgerCase.sol";

/// @title Open, commit, seal, close; the ring.
contract RoundsTest is LedgerCase {
    Party[] internal both;

    function setUp() public override {
        super.setUp();
        join(pool, a, 1);
        join(pool, b, 2);
        both.push(a);
        both.push(b);
    }

    // ---------------------------------------------------------------------------------------------- modules

    function test_RevertWhen_OthersCallWhatIsForModules() public {
        bytes memory only = err(IRoundLedger.OnlyModule.selector);
        _toSealed(both);
        IRoundLedger l = ledger;
        address[] memory nobody = new address[](0);
        bytes memory join_ = abi.encodeCall(l.join, (pool, c.node, c.operator, 1));
        bytes memory contest = abi.encodeCall(l.contest, (pool, 0, a.node));
        bytes memory resolve = abi.encodeCall(l.resolve, (pool, 0, a.node, true));
        bytes memory convict = abi.encodeCall(l.convictProven, (pool, 0, a.node, 1, CREATOR, 0));
        bytes memory disprove = abi.encodeCall(l.disprove, (pool, 0, nobody, CREATOR, 0));
        _fails(c.operator, join_, only);
        _fails(CREATOR, join_, only);
        _fails(address(proofs), contest, only);
        _fails(CREATOR, resolve, only);
        _fails(address(court), convict, only);
        _fails(address(court), disprove, only);
        _fails(STRANGER, _addPool(), only);
        _fails(address(court), _addPool(), only);
    }

    function _addPool() private view returns (bytes memory) {
        IRoundLedger l = ledger;
        return abi.encodePacked(l.addPool.selector, abi.encode(9, CREATOR, GENESIS), new bytes(16 * 32));
    }

    function test_UnknownPool() public {
        bytes memory unknown = _with(IRoundLedger.UnknownPool.selector, 9);
        _fails(STRANGER, abi.encodeCall(ledger.pool, (9)), unknown);
        _fails(STRANGER, abi.encodeCall(ledger.endPool, (9)), unknown);
        _fails(STRANGER, abi.encodeCall(ledger.setWidth, (9, a.node, 1)), unknown);
        _fails(STRANGER, abi.encodeCall(ledger.leave, (9, a.node)), unknown);
        _fails(STRANGER, abi.encodeCall(ledger.eject, (9, a.node)), unknown);
        _fails(STRANGER, abi.encodeCall(ledger.releaseLock, (9, a.node)), unknown);
        _fails(STRANGER, abi.encodeCall(ledger.settle, (9, a.node)), unknown);
        _fails(STRANGER, abi.encodeCall(ledger.reportMiss, (9, 0, a.node)), unknown);
        _fails(STRANGER, abi.encodeCall(ledger.openRound, (9, 50)), unknown);
        _fails(STRANGER, abi.encodeCall(ledger.sealReveals, (9)), unknown);
        _fails(STRANGER, abi.encodeCall(ledger.closeRound, (9, SPEC, SPEC, _none())), unknown);
        _fails(STRANGER, abi.encodeCall(ledger.postBond, (9)), unknown);
        _fails(STRANGER, abi.encodeCall(ledger.releaseBond, (9)), unknown);
        _fails(STRANGER, abi.encodeCall(ledger.punishClose, (9, 0)), unknown);
        address[] memory nobody = new address[](0);
        _fails(address(proofs), abi.encodeCall(ledger.disprove, (9, 0, nobody, CREATOR, 0)), unknown);
        _fails(address(proofs), abi.encodeCall(ledger.convictProven, (9, 0, a.node, 1, CREATOR, 0)), unknown);
        _fails(a.node, abi.encodeCall(ledger.commit, (9, SPEC)), _phase(IRoundLedger.Phase.Idle));
    }

    // ---------------------------------------------------------------------------------------------- open

    function test_Open() public {
        assertEq(ledger.round(pool, 0).exists, false);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RoundOpened(pool, 0, GENESIS, uint64(now_() + 100), 2);
        open(pool);
        IRoundLedger.Round memory r = ledger.round(pool, 0);
        assertEq(r.exists, true);
        assertEq(r.commitDeadline, now_() + 100);
        assertEq(r.revealDeadline, now_() + 150);
        assertEq(r.startRoot, GENESIS);
        assertEq(r.expected, 2);
        assertEq(_reserved(), 8 * PRICE + 20 * 1 ether);
        IRoundLedger.Pool memory p = ledger.pool(pool);
        assertEq(p.phase, IRoundLedger.Phase.Commit);
        assertEq(p.nextRound, 1);
        assertEq(p.members, 2);
        assertEq(p.memberSlots, 3);
        _fails(ORCHESTRATOR, _open(50), _phase(IRoundLedger.Phase.Commit));
    }

    function test_AnyoneOpensAndClosesAfterTheGrace() public {
        _fails(STRANGER, _open(50), _with(IRoundLedger.TooEarly.selector, now_() + 30));
        pass(29);
        _fails(STRANGER, _open(50), _with(IRoundLedger.TooEarly.selector, now_() + 1));
        pass(1);
        vm.prank(STRANGER);
        ledger.openRound(pool, 50);
        pass(51);
        ledger.sealReveals(pool);
        postBond(pool, STRANGER);
        bytes memory closeIt = _closing(GENESIS, _none());
        _fails(STRANGER, closeIt, _with(IRoundLedger.TooEarly.selector, now_() + 30));
        pass(30);
        _closeAs(STRANGER, GENESIS, _none());
        assertEq(ledger.round(pool, 0).poster, STRANGER);
        _fails(STRANGER, _open(50), _with(IRoundLedger.TooEarly.selector, now_() + 30));
        pass(30);
        vm.prank(STRANGER);
        ledger.openRound(pool, 50);
    }

    /// The orchestrator is dead for good: whoever has a bond moves the pool on, from the first round to the refund.
    function test_ADeadOrchestratorFreezesNothing() public {
        PoolParams memory p = defaultParams();
        p.rounds = 2;
        pool = createPool(p, 1000 ether);
        vm.startPrank(a.operator);
        ledger.leave(1, a.node);
        ledger.releaseLock(1, a.node);
        pools.join(pool, a.node, 1, open_());
        vm.stopPrank();
        postBond(pool, STRANGER);
        for (uint256 i; i < 2; ++i) {
            pass(30);
            vm.prank(STRANGER);
            ledger.openRound(pool, 10);
            commit(pool, a);
            reveal(pool, a);
            pass(30);
            _closeAs(STRANGER, rootAfter(i), _none());
        }
        pass(30);
        vm.prank(STRANGER);
        ledger.openRound(pool, 0);
        pass(11);
        vm.prank(STRANGER);
        ledger.sealReveals(pool);
        assertEq(ledger.pool(pool).ended, true);
        pass(CHALLENGE + 1);
        vm.prank(STRANGER);
        ledger.releaseBond(pool);
        assertEq(ledger.settle(pool, a.node), 2 * PRICE);
        court.releaseVerdictReserve(pool, 0);
        court.releaseVerdictReserve(pool, 1);
        vm.prank(CREATOR);
        assertEq(rewards.refund(pool), 1000 ether - 2 * PRICE);
    }

    function test_RevertWhen_WindowOrNumbersDoNotAllow() public {
        _fails(ORCHESTRATOR, _open(9), _with(IRoundLedger.WindowOutOfBounds.selector, 9));
        _fails(ORCHESTRATOR, _open(101), _with(IRoundLedger.WindowOutOfBounds.selector, 101));
        PoolParams memory p = defaultParams();
        p.minSlots = 2;
        p.minSeats = 1;
        pool = createPool(p, 1000 ether);
        join(pool, party(7), 1);
        _fails(ORCHESTRATOR, _open(50), _with(IRoundLedger.TooFewSlots.selector, 1));
        join(pool, party(8), 1);
        _fails(ORCHESTRATOR, _open(50), _with(IRoundLedger.TooFewSeats.selector, 0));
        takeSeat(pool, party(100));
        vm.prank(ORCHESTRATOR);
        ledger.openRound(pool, 10); // the shortest
        assertEq(ledger.round(pool, 0).seats, 1);
        assertEq(ledger.round(pool, 0).liveSeats, 1);
        assertEq(ledger.round(pool, 0).commitDeadline, now_() + 10);
    }

    /// A seat that was left stays in the array, and does not count.
    function test_OnlyLiveSeatsCount() public {
        PoolParams memory p = defaultParams();
        p.minSeats = 1;
        pool = createPool(p, 1000 ether);
        join(pool, party(7), 1);
        Party memory v = party(100);
        takeSeat(pool, v);
        vm.prank(v.operator);
        court.leaveSeat(pool, 0);
        _fails(ORCHESTRATOR, _open(50), _with(IRoundLedger.TooFewSeats.selector, 0));
        takeSeat(pool, party(101));
        open(pool);
        assertEq(ledger.round(pool, 0).seats, 2);
        assertEq(ledger.round(pool, 0).liveSeats, 1);
        assertEq(ledger.auditTerms(pool, 0).seats, 0); // not before the seal
        pass(101);
        ledger.sealReveals(pool);
        assertEq(ledger.auditTerms(pool, 0).seats, 2);
        assertEq(ledger.auditTerms(pool, 0).liveSeats, 1);
    }

    /// A run that has begun goes on with fewer slots than it needed to start, but not with none.
    function test_TheMinimumOfSlotsIsForTheFirstRound() public {
        PoolParams memory p = defaultParams();
        p.minSlots = 2;
        pool = createPool(p, 1000 ether);
        Party memory d = party(7);
        Party memory e = party(8);
        join(pool, d, 1);
        join(pool, e, 1);
        _round(_list(d, e));
        _leave(d);
        _round(_list(e));
        assertEq(ledger.round(pool, 1).expected, 1);
        _leave(e);
        _fails(ORCHESTRATOR, _open(50), _with(IRoundLedger.TooFewSlots.selector, 0));
    }

    // ---------------------------------------------------------------------------------------------- the ring

    function test_RevertWhen_TheRingPlaceIsNotFinal() public {
        takeSeat(pool, party(100));
        for (uint256 i; i < 16; ++i) {
            _round(both); // all within one second, so no verdict window has passed
        }
        _fails(ORCHESTRATOR, _open(50), _with(ICourt.RoundNotFinal.selector, 0));
        uint256 reserved = _reserved();
        pass(101);
        open(pool);
        // The unused verdict reserve of round 0 went back, that of round 16 and its price came.
        assertEq(_reserved(), reserved - 20 ether + 100 ether);
    }

    function test_ReusedRoundStartsClean() public {
        for (uint256 i; i < 16; ++i) {
            _round(both);
        }
        assertEq(ledger.round(pool, 0).poster, ORCHESTRATOR);
        open(pool);
        IRoundLedger.Round memory r = ledger.round(pool, 16);
        assertEq(r.accumulator, bytes32(0));
        assertEq(r.poster, address(0));
        assertEq(uint256(r.sealedAt) + r.closedAt + r.seedBlock + r.committed + r.revealed + r.revealedSlots, 0);
        assertEq(r.startRoot, rootAfter(15));
        assertEq(ledger.resultRoot(pool, 16), bytes32(0));
        assertEq(ledger.disprovableUntil(pool, 16), 0);
        assertEq(ledger.auditTerms(pool, 16).sealedAt, 0);
        assertEq(ledger.round(pool, 17).exists, false); // not opened
        assertTrue(!court.isFinal(pool, 16) && !court.isFinal(pool, 17), "a running or future one is not");

        // Round 0 has left.
        assertEq(ledger.round(pool, 0).exists, false);
        assertEq(ledger.round(pool, 0).startRoot, bytes32(0));
        assertEq(ledger.auditTerms(pool, 0).sealedAt, 0);
        assertEq(ledger.resultRoot(pool, 0), bytes32(0));
        assertEq(ledger.disprovableUntil(pool, 0), 0);
        assertEq(_status(0, a), IRoundLedger.RecordStatus.None);
        assertTrue(court.isFinal(pool, 0), "a round out of the ring is final");
        assertEq(ledger.round(pool, 1).exists, true);
        assertEq(ledger.resultRoot(pool, 1), rootAfter(1));

        commit(pool, a);
        commit(pool, b);
        Reveal memory ra = work(pool, a, 16);
        reveal(pool, a);
        assertEq(
            ledger.round(pool, 16).accumulator,
            Hashes.accumulate(0, a.node, ra.startRoot, ra.updateRoot, ra.norm, ra.width)
        );
    }

    /// The counters of a round are the same while it runs and after, its deadlines are gone.
    function test_TheRingKeepsTheCounters() public {
        _toSealed(_list(a));
        _closeAs(ORCHESTRATOR, SPEC, _none());
        IRoundLedger.Round memory before = ledger.round(pool, 0);
        assertEq(before.expected, 2);
        assertEq(before.committed, 1);
        assertEq(before.revealed, 1);
        assertEq(before.revealedSlots, 1);
        assertTrue(before.commitDeadline != 0 && before.revealDeadline != 0, "deadlines");
        open(pool);
        (before.commitDeadline, before.revealDeadline) = (0, 0);
        assertEq(keccak256(abi.encode(ledger.round(pool, 0))), keccak256(abi.encode(before)));
    }

    // ---------------------------------------------------------------------------------------------- commit

    function test_Commit() public {
        open(pool);
        bytes32 commitment = commitmentOf(pool, a, 0);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Committed(pool, 0, a.node, commitment);
        _commit(a, commitment);
        (IRoundLedger.RecordStatus status, uint16 width, bytes32 stored) = ledger.record(pool, 0, a.node);
        assertEq(status, IRoundLedger.RecordStatus.Committed);
        assertEq(width, 1);
        assertEq(stored, _cut(commitment));
        assertEq(ledger.round(pool, 0).committed, 1);
        bytes memory again = abi.encodeCall(ledger.commit, (pool, SPEC));
        _fails(a.node, again, err(IRoundLedger.AlreadyCommitted.selector));
        _fails(a.operator, again, _with(IRoundLedger.NotExpected.selector, a.operator));

        pass(5);
        commitment = commitmentOf(pool, b, 0);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.CommitPhaseEnded(pool, 0, 2);
        _commit(b, commitment);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Reveal);
        assertEq(ledger.round(pool, 0).commitDeadline, now_());
        assertEq(ledger.round(pool, 0).revealDeadline, now_() + 50);
    }

    function test_RevertWhen_CommittingOutOfPhase() public {
        bytes memory commitIt = abi.encodeCall(ledger.commit, (pool, SPEC));
        _fails(a.node, commitIt, _phase(IRoundLedger.Phase.Idle));
        open(pool);
        pass(100); // the deadline itself is in time
        commit(pool, a);
        pass(1);
        _fails(b.node, commitIt, _phase(IRoundLedger.Phase.Reveal));
        pass(50);
        ledger.sealReveals(pool);
        _fails(b.node, commitIt, _phase(IRoundLedger.Phase.Sealed));
        _closeAs(ORCHESTRATOR, GENESIS, _none());
        _fails(b.node, commitIt, _phase(IRoundLedger.Phase.Idle));
    }

    // ---------------------------------------------------------------------------------------------- seal

    function test_SealAfterTheDeadline() public {
        open(pool);
        bytes memory sealIt = abi.encodeCall(ledger.sealReveals, (pool));
        _fails(STRANGER, sealIt, _phase(IRoundLedger.Phase.Commit));
        commit(pool, a);
        commit(pool, b);
        reveal(pool, a);
        pass(50);
        _fails(STRANGER, sealIt, _with(IRoundLedger.TooEarly.selector, now_() + 1));
        pass(1);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RevealsSealed(pool, 0, 1, uint64(block.number + 1));
        ledger.sealReveals(pool);
        assertEq(ledger.round(pool, 0).sealedAt, now_());
        assertEq(ledger.round(pool, 0).seedBlock, block.number + 1);
        _fails(STRANGER, sealIt, _phase(IRoundLedger.Phase.Sealed));
        IRoundLedger.AuditTerms memory t = ledger.auditTerms(pool, 0);
        assertEq(t.sealedAt, now_());
        assertEq(t.seedBlock, block.number + 1);
        assertEq(t.revealed, 1);
    }

    function test_SealAtOnceWhenNobodyCommitted() public {
        open(pool);
        pass(101);
        ledger.sealReveals(pool);
        assertTrue(court.isFinal(pool, 0), "nothing to judge");
    }

    // ---------------------------------------------------------------------------------------------- close

    function test_CloseExcludesAndReleases() public {
        _toSealed(both);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Excluded(pool, 0, b.node, 2);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RoundClosed(pool, 0, ORCHESTRATOR, SPEC, SPEC);
        _closeAs(ORCHESTRATOR, SPEC, _one(b, 2));
        IRoundLedger.Pool memory p = ledger.pool(pool);
        assertEq(p.checkpointRoot, SPEC);
        assertEq(p.phase, IRoundLedger.Phase.Idle);
        IRoundLedger.Round memory r = ledger.round(pool, 0);
        assertEq(r.closedAt, now_());
        assertEq(r.poster, ORCHESTRATOR);
        assertEq(r.excluded, 1);
        assertEq(ledger.resultRoot(pool, 0), SPEC);
        assertEq(_status(0, b), IRoundLedger.RecordStatus.Excluded);
        assertEq(_status(0, a), IRoundLedger.RecordStatus.Revealed);
        assertEq(_reserved(), 3 * PRICE + 20 ether); // what was revealed, and the verdicts
    }

    function test_RevertWhen_CloseIsBad() public {
        _fails(ORCHESTRATOR, _closing(SPEC, _none()), _phase(IRoundLedger.Phase.Idle));
        _toSealed(both);
        _fails(ORCHESTRATOR, _closing(0, _none()), err(IRoundLedger.BadRoot.selector));
        IRoundLedger.Exclusion[] memory ex = new IRoundLedger.Exclusion[](2);
        ex[0] = IRoundLedger.Exclusion(a.node, 1);
        ex[1] = IRoundLedger.Exclusion(a.node, 1);
        _fails(ORCHESTRATOR, _closing(SPEC, ex), _with(IRoundLedger.BadExclusion.selector, a.node));
        ex[1] = IRoundLedger.Exclusion(STRANGER, 1);
        _fails(ORCHESTRATOR, _closing(SPEC, ex), _with(IRoundLedger.BadExclusion.selector, STRANGER));
        ex[1] = IRoundLedger.Exclusion(b.node, 1);
        _fails(ORCHESTRATOR, _closing(SPEC, ex), err(IRoundLedger.BadRoot.selector)); // nobody is left
        _closeAs(ORCHESTRATOR, GENESIS, ex);
        assertEq(ledger.pool(pool).checkpointRoot, GENESIS);
    }

    /// What was revealed in an older round, or too late, is no part of this mean.
    function test_RevertWhen_ExcludingOldOrLateWork() public {
        _round(both);
        _toSealed(_list(b));
        _fails(ORCHESTRATOR, _closing(SPEC, _one(a, 1)), _with(IRoundLedger.BadExclusion.selector, a.node));
    }

    /// With one slot of three left the root may be a new one; slots are counted, not nodes.
    function test_ExclusionsCountSlots() public {
        _toSealed(both);
        _closeAs(ORCHESTRATOR, SPEC, _one(b, 1));
        pass(1);
        _toSealed(both);
        _closeAs(ORCHESTRATOR, rootAfter(1), _one(a, 1));
        assertEq(ledger.pool(pool).checkpointRoot, rootAfter(1));
    }

    function test_RevertWhen_NobodyRevealedAndTheRootIsNew() public {
        _toSealed(_list(a)); // round 0
        close(pool);
        open(pool);
        pass(101);
        ledger.sealReveals(pool);
        _fails(ORCHESTRATOR, _closing(SPEC, _none()), err(IRoundLedger.BadRoot.selector));
        _closeAs(ORCHESTRATOR, rootAfter(0), _none());
        assertEq(_reserved(), PRICE + 2 * 20 ether);
    }
}
