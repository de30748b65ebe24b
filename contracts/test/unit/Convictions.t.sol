// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoundLedger, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {LedgerCase} from "./LedgerCase.sol";

/// @title What a case or a proof does to a node, its pay and the rounds that wait for it.
contract ConvictionsTest is LedgerCase {
    address internal constant FINDER = address(0xF1);

    function setUp() public override {
        super.setUp();
        join(pool, a, 2);
        join(pool, b, 1);
    }

    function _contesting(uint256 round, Party memory p) private view returns (bytes memory) {
        return abi.encodeCall(ledger.contest, (pool, round, p.node));
    }

    function _contest(uint256 round, Party memory p) private {
        vm.prank(address(court));
        (address operator, uint16 width) = ledger.contest(pool, round, p.node);
        assertEq(operator, p.operator);
        assertEq(width, p.node == a.node ? 2 : 1);
    }

    function _resolve(uint256 round, Party memory p, bool convicted) private {
        vm.prank(address(court));
        ledger.resolve(pool, round, p.node, convicted);
    }

    function _proving(uint256 round, Party memory p) private view returns (bytes memory) {
        return abi.encodeCall(ledger.convictProven, (pool, round, p.node, 30 ether, FINDER, 1000));
    }

    function _prove(uint256 round, Party memory p) private returns (uint256) {
        vm.prank(address(proofs));
        return ledger.convictProven(pool, round, p.node, 30 ether, FINDER, 1000);
    }

    // ---------------------------------------------------------------------------------------------- cases

    function test_ContestFreezesThePay() public {
        _toSealed(_list(a, b));
        _contest(0, a); // before the close, too
        assertEq(_status(0, a), IRoundLedger.RecordStatus.Contested);
        close(pool);
        open(pool);
        assertEq(ledger.settle(pool, a.node), 0);
        assertEq(ledger.settle(pool, b.node), PRICE);
        _resolve(0, a, false);
        assertEq(_status(0, a), IRoundLedger.RecordStatus.Revealed);
        assertEq(ledger.settle(pool, a.node), 2 * PRICE);
        assertEq(ledger.member(pool, a.node).convicted, false);
        assertEq(ledger.pool(pool).members, 2);
    }

    function test_RevertWhen_ThereIsNoWorkToContest() public {
        bytes memory none = _with(IRoundLedger.NotExpected.selector, a.node);
        _fails(address(court), _contesting(0, a), none);
        open(pool);
        commit(pool, a);
        _fails(address(court), _contesting(0, a), none); // not revealed
        commit(pool, b);
        reveal(pool, a);
        reveal(pool, b);
        _fails(address(court), _contesting(1, a), none); // another round
        _fails(address(court), _contesting(0, c), _with(IRoundLedger.NotExpected.selector, c.node));
        close(pool);
        open(pool);
        ledger.settle(pool, a.node);
        _fails(address(court), _contesting(0, a), none); // settled
    }

    function test_ConvictionForfeitsThisAndLaterWork() public {
        for (uint256 i; i < 4; ++i) {
            _round(_list(a, b));
        }
        _contest(2, a);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Left(pool, a.node, 4);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Convicted(pool, 2, a.node);
        _resolve(2, a, true);
        assertEq(ledger.member(pool, a.node).convicted, true);
        assertEq(ledger.member(pool, a.node).leftAt, 4);
        assertEq(ledger.pool(pool).members, 1);
        open(pool);
        assertEq(ledger.round(pool, 4).expected, 1);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Settled(pool, a.node, 40 ether, 40 ether, 0);
        assertEq(ledger.settle(pool, a.node), 40 ether);
        assertEq(rewards.earned(TREASURY), 40 ether);
        assertEq(rewards.earned(CREATOR), 0);
        ledger.releaseLock(pool, a.node);
        assertEq(_locked(a), 0);
    }

    /// However many convictions, and in whichever order: the earliest counts.
    function test_TheEarliestConvictionCounts() public {
        for (uint256 i; i < 4; ++i) {
            _round(_list(a, b));
        }
        _contest(3, a);
        _contest(1, a);
        _contest(2, a);
        _resolve(3, a, true);
        _resolve(1, a, true);
        open(pool);
        assertEq(ledger.settle(pool, a.node), 0); // round 2 is still contested
        _resolve(2, a, false); // an acquittal does not pay what an older fault forfeits
        assertEq(ledger.settle(pool, a.node), 2 * PRICE); // round 0
        assertEq(rewards.earned(TREASURY), 6 * PRICE);
    }

    function test_ALaterConvictionLeavesEarlierOnesAlone() public {
        for (uint256 i; i < 3; ++i) {
            _round(_list(a, b));
        }
        _prove(1, a);
        _prove(2, a);
        open(pool);
        assertEq(ledger.settle(pool, a.node), 2 * PRICE);
        assertEq(rewards.earned(TREASURY), 4 * PRICE);
    }

    // ---------------------------------------------------------------------------------------------- proofs

    function test_ConvictProven() public {
        _toSealed(_list(a, b));
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Left(pool, a.node, 1);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Convicted(pool, 0, a.node);
        assertEq(_prove(0, a), 60 ether); // per slot
        assertEq(_locked(a), 140 ether);
        assertEq(stakes.account(FINDER).bonded, 6 ether);
        assertEq(stakes.seized(), 54 ether);
        _fails(address(proofs), _proving(0, a), _with(IRoundLedger.NotExpected.selector, a.node)); // once
        close(pool);
        open(pool);
        assertEq(ledger.settle(pool, a.node), 0);
        assertEq(rewards.earned(TREASURY), 2 * PRICE);
    }

    function test_EachProvenRecordCosts() public {
        _round(_list(a, b));
        _round(_list(a, b));
        _prove(0, a);
        assertEq(_prove(1, a), 60 ether);
        assertEq(_locked(a), 80 ether);
    }

    function test_RevertWhen_ThereIsNoWorkToProveWrong() public {
        _fails(address(proofs), _proving(0, a), _with(IRoundLedger.UnknownRound.selector, 0));
        _round(_list(b));
        _fails(address(proofs), _proving(0, a), _with(IRoundLedger.NotExpected.selector, a.node)); // it missed
        _fails(address(proofs), _proving(0, c), _with(IRoundLedger.NotExpected.selector, c.node));
        for (uint256 i; i < 16; ++i) {
            _round(_list(b));
        }
        _fails(address(proofs), _proving(0, b), _with(IRoundLedger.UnknownRound.selector, 0));
        _prove(1, b);
    }

    /// Excluded work can be proved wrong as well: whoever posted it is out.
    function test_ExcludedWorkIsProvenWrong() public {
        _toSealed(_list(a, b));
        _closeAs(ORCHESTRATOR, SPEC, _one(a, 3));
        assertEq(_prove(0, a), 60 ether);
        _toSealed(_list(b));
        pass(CHALLENGE + 1);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Settled(pool, a.node, 0, 0, 20 ether);
        ledger.settle(pool, a.node);
    }

    // ---------------------------------------------------------------------------------------------- the round goes on

    function test_ConvictedCommitterIsNotWaitedForInTheCommitPhase() public {
        _round(_list(a, b));
        open(pool);
        commit(pool, a);
        _prove(0, a);
        IRoundLedger.Round memory r = ledger.round(pool, 1);
        assertEq(r.expected, 1);
        assertEq(r.committed, 0);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Commit);
        assertEq(_status(1, a), IRoundLedger.RecordStatus.None);
        assertEq(ledger.member(pool, a.node).width, 0);
        _fails(a.node, abi.encodeCall(ledger.commit, (pool, SPEC)), _with(IRoundLedger.NotExpected.selector, a.node));
        commit(pool, b);
        reveal(pool, b);
        close(pool);
        _fails(
            STRANGER,
            abi.encodeCall(ledger.reportMiss, (pool, 1, a.node)),
            _with(IRoundLedger.NothingMissed.selector, a.node)
        );
    }

    function test_TheCommitPhaseEndsWhenOnlyTheConvictedOneWasMissing() public {
        _round(_list(a, b));
        open(pool);
        commit(pool, b);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Left(pool, a.node, 1);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.CommitPhaseEnded(pool, 1, 1);
        _prove(0, a);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Reveal);
        reveal(pool, b);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Sealed);
    }

    /// Ejected nodes are still expected by the running round; a conviction ends that.
    function test_ConvictedAfterItWasEjected() public {
        _round(_list(a, b));
        open(pool);
        vm.prank(CREATOR);
        ledger.eject(pool, a.node);
        commit(pool, b);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Commit);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Convicted(pool, 0, a.node);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.CommitPhaseEnded(pool, 1, 1);
        _prove(0, a);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Reveal);
        assertEq(ledger.round(pool, 1).expected, 1);
        assertEq(ledger.round(pool, 1).committed, 1);
        assertEq(ledger.pool(pool).members, 1);
    }

    function test_TheRoundSealsWhenOnlyTheConvictedRevealWasMissing() public {
        _round(_list(a, b));
        open(pool);
        commit(pool, a);
        commit(pool, b);
        reveal(pool, b);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Convicted(pool, 0, a.node);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RevealsSealed(pool, 1, 1, uint64(block.number + 1));
        _prove(0, a);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Sealed);
        close(pool);
    }

    function test_TheOnlyCommitterIsConvicted() public {
        _round(_list(a, b));
        open(pool);
        commit(pool, a);
        pass(101);
        _prove(0, a);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Reveal);
        assertEq(ledger.round(pool, 1).committed, 0);
        vm.prank(STRANGER);
        ledger.sealReveals(pool); // at once
        _closeAs(ORCHESTRATOR, rootAfter(0), _none());
    }

    /// A node that did not commit, convicted in the reveal phase: it is as absent as before.
    function test_ConvictedWithoutACommitment() public {
        _round(_list(a, b));
        open(pool);
        commit(pool, b);
        pass(101);
        _prove(0, a);
        assertEq(ledger.round(pool, 1).expected, 2);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Reveal);
        reveal(pool, b);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Sealed);
    }

    /// What it has revealed stays in the mean, and is forfeited.
    function test_ConvictedAfterItRevealed() public {
        _round(_list(a, b));
        open(pool);
        commit(pool, a);
        commit(pool, b);
        reveal(pool, a);
        _prove(0, a);
        assertEq(ledger.round(pool, 1).revealed, 1);
        assertEq(ledger.round(pool, 1).committed, 2);
        reveal(pool, b);
        assertEq(ledger.round(pool, 1).revealedSlots, 3);
        close(pool);
        open(pool);
        assertEq(ledger.settle(pool, a.node), 0);
        assertEq(rewards.earned(TREASURY), 4 * PRICE);
    }

    /// Convicted for work of the very round that runs.
    function test_ConvictedInItsOwnRound() public {
        open(pool);
        commit(pool, a);
        commit(pool, b);
        reveal(pool, a);
        assertEq(_prove(0, a), 60 ether);
        reveal(pool, b);
        close(pool);
        open(pool);
        assertEq(ledger.round(pool, 1).expected, 1);
        assertEq(ledger.settle(pool, a.node), 0);
        assertEq(rewards.earned(TREASURY), 2 * PRICE);
    }
}
