// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoundLedger} from "../../src/interfaces/IRoundLedger.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {LedgerCase} from "./LedgerCase.sol";

/// @title Widths that change, and rounds that are missed.
contract WidthsTest is LedgerCase {
    function setUp() public override {
        super.setUp();
        join(pool, a, 2);
        join(pool, b, 1);
    }

    function _release(Party memory p) private {
        vm.prank(STRANGER);
        ledger.releaseLock(pool, p.node);
    }

    function _setting(Party memory p, uint16 width) private view returns (bytes memory) {
        return abi.encodeCall(ledger.setWidth, (pool, p.node, width));
    }

    // ---------------------------------------------------------------------------------------------- setWidth

    function test_WiderLocksAtOnceAndCountsFromTheNextRound() public {
        open(pool);
        stake(a.operator, 150 ether);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.WidthChanged(pool, a.node, 3, 1);
        vm.prank(a.operator);
        ledger.setWidth(pool, a.node, 3);
        assertEq(_locked(a), 300 ether);
        assertEq(ledger.pool(pool).memberSlots, 4);
        assertEq(ledger.pool(pool).members, 2);
        IRoundLedger.Member memory m = ledger.member(pool, a.node);
        assertEq(m.width, 2);
        assertEq(m.nextWidth, 3);
        assertEq(m.changeAt, 1);
        assertEq(m.activeFrom, 0); // the membership goes on

        // The running round keeps its width, in the commitment, the mean and the pay.
        commit(pool, a);
        (, uint16 width,) = ledger.record(pool, 0, a.node);
        assertEq(width, 2);
        commit(pool, b);
        reveal(pool, a);
        reveal(pool, b);
        assertEq(ledger.round(pool, 0).revealedSlots, 3);
        close(pool);
        _round(_list(a, b));
        assertEq(ledger.round(pool, 1).revealedSlots, 4);
        open(pool);
        assertEq(ledger.settle(pool, a.node), 5 * PRICE);
    }

    function test_NarrowerFreesNothingUntilTheWiderRoundsAreOver() public {
        takeSeat(pool, party(100));
        _round(_list(a, b));
        _setWidth(a, 1);
        assertEq(_locked(a), 200 ether);
        assertEq(ledger.pool(pool).memberSlots, 2);
        bytes memory releasing = abi.encodeCall(ledger.releaseLock, (pool, a.node));
        _fails(STRANGER, releasing, err(IRoundLedger.StillLocked.selector)); // round 0 can still be judged
        pass(101);
        open(pool); // expects one slot of it
        vm.expectEmit(address(ledger));
        emit IRoundLedger.LockReleased(pool, a.node, 100 ether);
        _release(a);
        assertEq(_locked(a), 100 ether);
        assertEq(rewards.earned(a.operator), 2 * PRICE); // settles too
        _release(a);
        assertEq(_locked(a), 100 ether);
    }

    function test_NarrowerInARoundKeepsTheLockForIt() public {
        open(pool);
        _setWidth(a, 1);
        bytes memory releasing = abi.encodeCall(ledger.releaseLock, (pool, a.node));
        _fails(STRANGER, releasing, err(IRoundLedger.StillLocked.selector));
        commit(pool, a);
        commit(pool, b);
        reveal(pool, a);
        reveal(pool, b);
        _fails(STRANGER, releasing, err(IRoundLedger.StillLocked.selector));
        close(pool);
        _release(a);
        assertEq(_locked(a), 100 ether);
    }

    /// The lock that a narrower node still has carries it up again.
    function test_DownAndUpWithinARound() public {
        open(pool);
        _setWidth(a, 1);
        _setWidth(a, 2);
        assertEq(_locked(a), 200 ether);
        assertEq(ledger.pool(pool).memberSlots, 3);
        assertEq(ledger.member(pool, a.node).width, 2);
    }

    function test_RevertWhen_WidthIsBad() public {
        bytes memory only = _with(IRoundLedger.OnlyOperator.selector, a.operator);
        _fails(a.node, _setting(a, 1), only);
        _fails(CREATOR, _setting(a, 1), only);
        _fails(c.operator, _setting(c, 1), _with(IRoundLedger.OnlyOperator.selector, address(0)));
        _fails(a.operator, _setting(a, 0), _with(IRoundLedger.BadWidth.selector, 0));
        _fails(a.operator, _setting(a, 5), _with(IRoundLedger.BadWidth.selector, 5));
        bytes memory poor = abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 0, 100 ether);
        _fails(a.operator, _setting(a, 3), poor);
        join(pool, c, 4);
        stake(a.operator, 200 ether);
        _fails(a.operator, _setting(a, 4), err(IRoundLedger.PoolFull.selector));
        _setWidth(a, 3); // the last slot: 3 + 1 + 4
        _leave(a);
        _fails(a.operator, _setting(a, 1), _with(IRoundLedger.NotMember.selector, a.node));
    }

    function test_RevertWhen_ThePoolHasEnded() public {
        vm.prank(CREATOR);
        ledger.endPool(pool);
        _fails(a.operator, _setting(a, 1), err(IRoundLedger.PoolHasEnded.selector));
        _leave(a);
        _release(a);
        assertEq(_locked(a), 0);
    }

    // ---------------------------------------------------------------------------------------------- misses

    function _report(uint256 round, Party memory p) private {
        vm.prank(STRANGER);
        ledger.reportMiss(pool, round, p.node);
    }

    function _reportFails(uint256 round, Party memory p, bytes memory expected) private {
        _fails(STRANGER, abi.encodeCall(ledger.reportMiss, (pool, round, p.node)), expected);
    }

    function _nothing(Party memory p) private pure returns (bytes memory) {
        return _with(IRoundLedger.NothingMissed.selector, p.node);
    }

    function test_SecondMissInARowCostsAndTakesOut() public {
        _round(_list(b));
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Missed(pool, 0, a.node, 1, 0);
        _report(0, a);
        _reportFails(0, a, _nothing(a)); // once
        _reportFails(0, b, _nothing(b));
        _reportFails(0, party(9), _nothing(party(9)));

        _round(_list(b));
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Left(pool, a.node, 2);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Missed(pool, 1, a.node, 2, 10 ether);
        _report(1, a);
        assertEq(stakes.seized(), 10 ether); // per slot
        assertEq(stakes.account(a.operator).bonded, 190 ether);
        assertEq(ledger.member(pool, a.node).missed, 2);
        assertEq(ledger.pool(pool).members, 1);
        assertEq(ledger.pool(pool).memberSlots, 1);

        open(pool);
        assertEq(ledger.round(pool, 2).expected, 1);
        _release(a);
        assertEq(stakes.account(a.operator).locked, 0);
    }

    /// The third one costs again, from a node that is out already.
    function test_EveryFurtherMissCosts() public {
        for (uint256 i; i < 3; ++i) {
            _round(_list(b));
        }
        for (uint256 i; i < 3; ++i) {
            _report(i, a);
        }
        assertEq(ledger.member(pool, a.node).missed, 3);
        assertEq(stakes.seized(), 20 ether);
        _round(_list(b));
        _reportFails(3, a, _nothing(a)); // no longer expected
    }

    function test_MissesAreReportedInOrder() public {
        _round(_list(b));
        _round(_list(b));
        _report(1, a);
        _reportFails(0, a, _nothing(a));
        assertEq(ledger.member(pool, a.node).missed, 1);
    }

    function test_RevealResetsTheCount() public {
        _round(_list(b));
        _report(0, a);
        _round(_list(a, b));
        assertEq(ledger.member(pool, a.node).missed, 0);
        _reportFails(1, a, _nothing(a));
        _round(_list(b));
        _report(2, a);
        assertEq(ledger.member(pool, a.node).missed, 1);
        assertEq(stakes.seized(), 0);
    }

    function test_MissBeforeTheLatestRevealIsOld() public {
        _round(_list(b));
        _toSealed(_list(a, b));
        _reportFails(0, a, _nothing(a));
    }

    function test_CommitWithoutRevealIsAMiss() public {
        open(pool);
        commit(pool, a);
        commit(pool, b);
        pass(51);
        ledger.sealReveals(pool);
        _reportFails(0, a, _phase(IRoundLedger.Phase.Sealed));
        _closeAs(ORCHESTRATOR, GENESIS, _none());
        _report(0, a);
        _report(0, b);
        assertEq(ledger.member(pool, a.node).missed, 1);
    }

    function test_TakenOutInTheCommitPhaseIsNotWaitedFor() public {
        _round(_list(b));
        _round(_list(b));
        open(pool);
        commit(pool, b);
        _report(0, a);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.CommitPhaseEnded(pool, 2, 1);
        _report(1, a);
        assertEq(ledger.member(pool, a.node).leftAt, 2);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Reveal);
    }

    /// What a miss costs is the width of its own round, however the node changed since.
    function test_AMissCostsTheWidthOfItsRound() public {
        _round(_list(b));
        _round(_list(b));
        stake(a.operator, 200 ether);
        _setWidth(a, 4); // from round 2 on
        open(pool);
        _leave(a); // out of round 2
        commit(pool, b);
        _report(0, a);
        _report(1, a);
        assertEq(stakes.seized(), 2 * 5 ether);
    }

    function test_RevertWhen_RoundIsNotClosedOrUnknown() public {
        open(pool);
        _reportFails(0, a, _phase(IRoundLedger.Phase.Commit));
        _reportFails(1, a, _with(IRoundLedger.UnknownRound.selector, 1));
    }

    function test_RevertWhen_TheRoundHasLeftTheRing() public {
        for (uint256 i; i < 17; ++i) {
            _round(_list(b));
        }
        _reportFails(0, a, _with(IRoundLedger.UnknownRound.selector, 0));
        _report(1, a);
    }

    /// A penalty never takes more than the lock holds, and nothing else of the operator.
    function test_APenaltyIsCappedByTheLock() public {
        stake(a.operator, 7 ether);
        _round(_list(a, b));
        vm.prank(address(proofs));
        ledger.convictProven(pool, 0, a.node, 99 ether, STRANGER, 0);
        assertEq(_locked(a), 2 ether);
        assertEq(stakes.account(a.operator).bonded, 9 ether);
    }
}
