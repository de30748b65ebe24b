// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {INodeRegistry} from "../../src/interfaces/INodeRegistry.sol";
import {IRoundLedger} from "../../src/interfaces/IRoundLedger.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {LedgerCase} from "./LedgerCase.sol";

/// @title Joining, leaving, ejecting, the lock behind a node.
contract MembersTest is LedgerCase {
    function _joining(Party memory p, uint16 width) private view returns (bytes memory) {
        return abi.encodeCall(pools.join, (pool, p.node, width, open_()));
    }

    function _joinFails(address sender, Party memory p, uint16 width, bytes memory expected) private {
        fails(sender, address(pools), _joining(p, width), expected);
    }

    function _rejoin(Party memory p, uint16 width) private {
        vm.prank(p.operator);
        pools.join(pool, p.node, width, open_());
    }

    function _eject(Party memory p) private {
        vm.prank(CREATOR);
        ledger.eject(pool, p.node);
    }

    function _release(Party memory p) private {
        vm.prank(STRANGER);
        ledger.releaseLock(pool, p.node);
    }

    function _releaseFails(Party memory p) private {
        bytes memory locked = err(IRoundLedger.StillLocked.selector);
        _fails(STRANGER, abi.encodeCall(ledger.releaseLock, (pool, p.node)), locked);
    }

    // ---------------------------------------------------------------------------------------------- join

    function test_JoinLocksPerSlot() public {
        register(a);
        stake(a.operator, 350 ether);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Joined(pool, a.node, a.operator, 3, 0);
        vm.prank(a.operator);
        pools.join(pool, a.node, 3, open_());
        assertEq(_locked(a), 300 ether);
        assertEq(stakes.account(a.operator).locked, 300 ether);
        assertEq(ledger.pool(pool).members, 1);
        assertEq(ledger.pool(pool).memberSlots, 3);
        IRoundLedger.Member memory m = ledger.member(pool, a.node);
        assertEq(m.operator, a.operator);
        assertEq(m.nextWidth, 3);
        assertEq(uint256(m.width) + m.changeAt + m.activeFrom + m.leftAt + m.lastRevealed + m.accrued + m.missed, 0);
        assertEq(m.convicted, false);
    }

    function test_RevertWhen_JoinIsBad() public {
        register(a);
        bytes memory only = abi.encodeWithSelector(INodeRegistry.OnlyOperator.selector, a.operator);
        _joinFails(STRANGER, a, 1, only);
        _joinFails(a.node, a, 1, only);
        _joinFails(a.operator, a, 0, _with(IRoundLedger.BadWidth.selector, 0));
        _joinFails(a.operator, a, 5, _with(IRoundLedger.BadWidth.selector, 5));
        bytes memory poor = abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 0, 100 ether);
        _joinFails(a.operator, a, 1, poor);
        join(pool, b, 4);
        _joinFails(b.operator, b, 1, _with(IRoundLedger.AlreadyMember.selector, b.node));
        join(pool, c, 3);
        _joinFails(a.operator, a, 2, err(IRoundLedger.PoolFull.selector));
        stake(a.operator, 100 ether);
        _rejoin(a, 1); // the last slot
        assertEq(ledger.pool(pool).memberSlots, 8);
    }

    /// One stake stands behind one node of one pool.
    function test_RevertWhen_TheSameStakeIsLockedTwice() public {
        join(pool, a, 1);
        uint256 other = createPool(defaultParams(), 1);
        bytes memory poor = abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 0, 100 ether);
        fails(a.operator, address(pools), abi.encodeCall(pools.join, (other, a.node, 1, open_())), poor);
        fails(
            a.operator,
            address(stakes),
            abi.encodeCall(stakes.requestUnbond, (1)),
            abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 0, 1)
        );
        stake(a.operator, 100 ether);
        vm.prank(a.operator);
        pools.join(other, a.node, 1, open_());
        assertEq(stakes.account(a.operator).locked, 200 ether);
    }

    function test_JoinInARoundCountsFromTheNext() public {
        join(pool, a, 1);
        open(pool);
        join(pool, b, 1);
        IRoundLedger.Member memory m = ledger.member(pool, b.node);
        assertEq(m.activeFrom, 1);
        assertEq(m.changeAt, 1);
        assertEq(m.width, 0);
        assertEq(m.nextWidth, 1);
        assertEq(ledger.round(pool, 0).expected, 1);
        _fails(b.node, abi.encodeCall(ledger.commit, (pool, SPEC)), _with(IRoundLedger.NotExpected.selector, b.node));
        commit(pool, a);
        reveal(pool, a);
        close(pool);
        _round(_list(a, b));
        assertEq(ledger.round(pool, 1).expected, 2);
        assertEq(_status(1, b), IRoundLedger.RecordStatus.Revealed);
    }

    function test_RevertWhen_AConvictedNodeJoins() public {
        join(pool, a, 1);
        join(pool, b, 1);
        _round(_list(a, b));
        vm.prank(address(proofs));
        ledger.convictProven(pool, 0, a.node, 0, STRANGER, 0);
        _joinFails(a.operator, a, 1, _with(IRoundLedger.NodeConvicted.selector, a.node));
    }

    // ---------------------------------------------------------------------------------------------- leave

    function test_LeaveBeforeTheFirstRoundFreesAtOnce() public {
        join(pool, a, 2);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Left(pool, a.node, 0);
        vm.prank(a.node); // the node may, too
        ledger.leave(pool, a.node);
        assertEq(ledger.pool(pool).members, 0);
        assertEq(ledger.pool(pool).memberSlots, 0);
        assertEq(ledger.member(pool, a.node).leftAt, 1); // zero would say that it is in
        vm.expectEmit(address(ledger));
        emit IRoundLedger.LockReleased(pool, a.node, 200 ether);
        _release(a);
        assertEq(stakes.account(a.operator).locked, 0);
        _rejoin(a, 1);
        assertEq(ledger.member(pool, a.node).leftAt, 0);
        open(pool);
        commit(pool, a);
        assertEq(ledger.round(pool, 0).committed, 1);
    }

    function test_RevertWhen_LeavingWithoutRight() public {
        join(pool, a, 1);
        bytes memory leaveIt = abi.encodeCall(ledger.leave, (pool, a.node));
        _fails(STRANGER, leaveIt, _with(IRoundLedger.OnlyOperator.selector, a.operator));
        _fails(CREATOR, leaveIt, _with(IRoundLedger.OnlyOperator.selector, a.operator));
        bytes memory notMember = _with(IRoundLedger.NotMember.selector, b.node);
        _fails(b.operator, abi.encodeCall(ledger.leave, (pool, b.node)), notMember);
        _fails(b.operator, abi.encodeCall(ledger.releaseLock, (pool, b.node)), notMember);
        _fails(b.operator, abi.encodeCall(ledger.settle, (pool, b.node)), notMember);
        _leave(a);
        _fails(a.operator, leaveIt, _with(IRoundLedger.NotMember.selector, a.node));
    }

    function test_ReleaseOfAMemberFreesNothing() public {
        join(pool, a, 1);
        _release(a);
        assertEq(_locked(a), 100 ether);
    }

    function test_LeaverThatHasNotCommittedIsNotWaitedFor() public {
        join(pool, a, 1);
        join(pool, b, 1);
        open(pool);
        commit(pool, a);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Left(pool, b.node, 0);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.CommitPhaseEnded(pool, 0, 1);
        _leave(b);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Reveal);
        assertEq(ledger.round(pool, 0).expected, 1);
        assertEq(ledger.round(pool, 0).commitDeadline, now_());
        assertEq(ledger.round(pool, 0).revealDeadline, now_() + 50);
        _release(b); // never worked, so free at once
        assertEq(stakes.account(b.operator).locked, 0);
        reveal(pool, a);
        close(pool);
        bytes memory nothing = _with(IRoundLedger.NothingMissed.selector, b.node);
        _fails(STRANGER, abi.encodeCall(ledger.reportMiss, (pool, 0, b.node)), nothing);
    }

    function test_LeaverThatHasCommittedStillRevealsAndIsPaid() public {
        join(pool, a, 1);
        join(pool, b, 1);
        open(pool);
        commit(pool, a);
        _leave(a);
        assertEq(ledger.member(pool, a.node).leftAt, 1);
        assertEq(ledger.round(pool, 0).expected, 2);
        commit(pool, b);
        reveal(pool, a);
        _releaseFails(a); // not closed
        reveal(pool, b);
        close(pool);
        open(pool);
        assertEq(ledger.round(pool, 1).expected, 1);
        _release(a); // no seats: final at the seal
        assertEq(rewards.earned(a.operator), PRICE);
        assertEq(stakes.account(a.operator).locked, 0);
    }

    /// Leaving in the reveal phase leaves the round as it is.
    function test_LeavingAfterTheCommitsChangesNothing() public {
        join(pool, a, 1);
        join(pool, b, 1);
        open(pool);
        commit(pool, b);
        pass(101);
        _leave(a);
        assertEq(ledger.round(pool, 0).expected, 2);
        assertEq(ledger.member(pool, a.node).leftAt, 1);
        _releaseFails(a); // it may still be reported
        reveal(pool, b);
        close(pool);
        ledger.reportMiss(pool, 0, a.node);
        _release(a);
        assertEq(_locked(a), 0);
    }

    function test_LockStaysUntilEveryEarlierRoundIsFinal() public {
        join(pool, a, 1);
        takeSeat(pool, party(100));
        _round(_list(a));
        _round(_list(a));
        pass(50);
        uint256 third = _round(_list(a));
        _leave(a);
        pass(51); // nobody committed a verdict about the first two
        assertTrue(court.isFinal(pool, 1) && !court.isFinal(pool, third), "the last one is not final");
        _releaseFails(a);
        pass(50);
        _release(a);
        assertEq(_locked(a), 0);
    }

    function test_LockStaysWhileACaseIsOpen() public {
        join(pool, a, 1);
        _round(_list(a));
        _leave(a);
        vm.prank(address(court));
        ledger.contest(pool, 0, a.node);
        _releaseFails(a);
        vm.prank(address(court));
        ledger.resolve(pool, 0, a.node, false);
        _release(a);
    }

    function test_EveryoneLeavesInTheCommitPhase() public {
        join(pool, a, 1);
        open(pool);
        _leave(a);
        ledger.sealReveals(pool);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Sealed);
        _fails(ORCHESTRATOR, _closing(SPEC, _none()), err(IRoundLedger.BadRoot.selector));
        _closeAs(ORCHESTRATOR, GENESIS, _none());
        _fails(ORCHESTRATOR, _open(50), _with(IRoundLedger.TooFewSlots.selector, 0));
        court.releaseVerdictReserve(pool, 0);
        assertEq(_reserved(), 0);
    }

    /// A node that comes back begins again: probation, misses; what it earned before stays its own.
    function test_Rejoin() public {
        join(pool, a, 1);
        join(pool, b, 1);
        _round(_list(a, b));
        _round(_list(b));
        ledger.reportMiss(pool, 1, a.node);
        _leave(a);
        _round(_list(b));
        _rejoin(a, 1); // the lock was never released, so no stake is missing
        assertEq(_locked(a), 100 ether);
        IRoundLedger.Member memory m = ledger.member(pool, a.node);
        assertEq(m.activeFrom, 3);
        assertEq(m.missed, 0);
        assertEq(m.lastRevealed, 1);
        bytes memory nothing = _with(IRoundLedger.NothingMissed.selector, a.node);
        _fails(STRANGER, abi.encodeCall(ledger.reportMiss, (pool, 2, a.node)), nothing); // it was away
        _round(_list(a, b));
        open(pool);
        assertEq(ledger.settle(pool, a.node), 2 * PRICE);
    }

    /// Also between the same two rounds: what the old membership missed is no part of the new one.
    function test_RejoinAtOnceForgetsMisses() public {
        join(pool, a, 1);
        join(pool, b, 1);
        _round(_list(b));
        _round(_list(b));
        ledger.reportMiss(pool, 0, a.node);
        _leave(a);
        _rejoin(a, 1);
        assertEq(ledger.member(pool, a.node).missed, 0);
        bytes memory nothing = _with(IRoundLedger.NothingMissed.selector, a.node);
        _fails(STRANGER, abi.encodeCall(ledger.reportMiss, (pool, 1, a.node)), nothing);
        _round(_list(b));
        ledger.reportMiss(pool, 2, a.node);
        assertEq(ledger.member(pool, a.node).missed, 1);
    }

    // ---------------------------------------------------------------------------------------------- eject

    function test_EjectIsForTheFutureOnly() public {
        join(pool, a, 1);
        join(pool, b, 1);
        open(pool);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Left(pool, a.node, 1);
        _eject(a);
        // The running round still waits for it and pays it.
        assertEq(ledger.round(pool, 0).expected, 2);
        assertEq(ledger.member(pool, a.node).width, 1);
        commit(pool, b);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Commit);
        commit(pool, a);
        reveal(pool, a);
        reveal(pool, b);
        close(pool);
        open(pool);
        assertEq(ledger.round(pool, 1).expected, 1);
        bytes memory commitIt = abi.encodeCall(ledger.commit, (pool, SPEC));
        _fails(a.node, commitIt, _with(IRoundLedger.NotExpected.selector, a.node));
        assertEq(ledger.settle(pool, a.node), PRICE);
        _release(a);
        assertEq(stakes.account(a.operator).locked, 0);
    }

    function test_RevertWhen_EjectingWithoutRight() public {
        join(pool, a, 1);
        bytes memory only = err(IRoundLedger.OnlyPoolCreator.selector);
        _fails(ORCHESTRATOR, abi.encodeCall(ledger.eject, (pool, a.node)), only);
        _fails(a.operator, abi.encodeCall(ledger.eject, (pool, a.node)), only);
        bytes memory notMember = _with(IRoundLedger.NotMember.selector, b.node);
        _fails(CREATOR, abi.encodeCall(ledger.eject, (pool, b.node)), notMember);
        _eject(a);
        _fails(CREATOR, abi.encodeCall(ledger.eject, (pool, a.node)), _with(IRoundLedger.NotMember.selector, a.node));
    }

    function test_LockIdsAreDistinct() public view {
        assertTrue(ledger.lockId(1, a.node) != ledger.lockId(2, a.node), "pool");
        assertTrue(ledger.lockId(1, a.node) != ledger.lockId(1, b.node), "node");
        assertTrue(ledger.lockId(1, a.node) != court.seatLockId(1, a.node), "seat");
        assertTrue(ledger.lockId(1, a.node) != ledger.bondId(1, a.node), "bond");
        assertTrue(ledger.bondId(1, a.node) != ledger.bondId(2, a.node), "pool of a bond");
        assertTrue(ledger.bondId(1, a.node) != ledger.bondId(1, b.node), "poster");
    }
}
