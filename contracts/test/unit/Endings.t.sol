// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {PoolParams} from "../../src/interfaces/IPools.sol";
import {IRoundLedger, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {LedgerCase} from "./LedgerCase.sol";

/// @title The end of a pool: early or after its rounds, by a round that only confirms the last result.
contract EndingsTest is LedgerCase {
    bytes32 internal constant OTHER = keccak256("other root");

    function _endingFails(address sender, bytes memory expected) private {
        _fails(sender, abi.encodeCall(ledger.endPool, (pool)), expected);
    }

    function _end() private {
        vm.prank(CREATOR);
        ledger.endPool(pool);
    }

    function _joinBoth() private {
        join(pool, a, 1);
        join(pool, b, 2);
    }

    /// @dev A round of both nodes, and the confirm-only one open.
    function _toConfirm() private {
        _joinBoth();
        _round(_list(a, b));
        _end();
        open(pool);
    }

    /// @dev What is revealed in the confirm-only round: a vote and nothing else.
    function _vote(Party memory p) private view returns (Reveal memory r) {
        r.salt = keccak256(abi.encode("salt", p.node));
        r.startRoot = ledger.round(pool, running(pool)).startRoot;
        r.width = ledger.member(pool, p.node).width;
    }

    function _confirm(Party memory p, Party memory q) private {
        Reveal memory x = _vote(p);
        Reveal memory y = _vote(q);
        _commit(p, _hash(p, x));
        _commit(q, _hash(q, y));
        _reveal(p, x);
        _reveal(q, y);
    }

    // ---------------------------------------------------------------------------------------------- endPool

    function test_EndBeforeTheFirstRound() public {
        _endingFails(STRANGER, err(IRoundLedger.OnlyPoolCreator.selector));
        _endingFails(ORCHESTRATOR, err(IRoundLedger.OnlyPoolCreator.selector));
        vm.expectEmit(address(ledger));
        emit IRoundLedger.PoolEnded(pool);
        _end();
        assertEq(ledger.pool(pool).ended, true);
        bytes memory over = err(IRoundLedger.PoolHasEnded.selector);
        _endingFails(CREATOR, over);
        register(a);
        fails(a.operator, address(pools), abi.encodeCall(pools.join, (pool, a.node, 1, open_())), over);
        _fails(ORCHESTRATOR, _open(50), over);
        vm.prank(CREATOR);
        assertEq(rewards.refund(pool), 10_000 ether);
    }

    function test_RevertWhen_EndingInARound() public {
        _joinBoth();
        open(pool);
        _endingFails(CREATOR, _phase(IRoundLedger.Phase.Commit));
        pass(101);
        _endingFails(CREATOR, _phase(IRoundLedger.Phase.Reveal));
        ledger.sealReveals(pool);
        _endingFails(CREATOR, _phase(IRoundLedger.Phase.Sealed));
        _closeAs(ORCHESTRATOR, GENESIS, _none());
        _end();
        assertEq(ledger.pool(pool).last, true);
        assertEq(ledger.pool(pool).ended, false);
    }

    // ---------------------------------------------------------------------------------------------- confirm only

    function test_EndedPoolConfirmsItsLastResult() public {
        _joinBoth();
        _round(_list(a, b));
        _end();
        uint256 reserved = _reserved();
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RoundOpened(pool, 1, rootAfter(0), uint64(now_() + 10), 2);
        vm.prank(ORCHESTRATOR);
        ledger.openRound(pool, 99); // takes the shortest window, whatever is given
        assertEq(_reserved(), reserved); // costs nothing
        assertEq(ledger.round(pool, 1).seats, 0);
        assertEq(ledger.round(pool, 1).expected, 2);

        Reveal memory x = _vote(a);
        Reveal memory y = _vote(b);
        _commit(a, _hash(a, x));
        _commit(b, _hash(b, y));
        bytes32 state = ledger.member(pool, a.node).stateOut;
        _reveal(a, x);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Revealed(pool, 1, b.node, y, SPEC, "x");
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RevealsSealed(pool, 1, 2, uint64(block.number + 1));
        vm.expectEmit(address(ledger));
        emit IRoundLedger.PoolEnded(pool);
        _reveal(b, y);

        IRoundLedger.Pool memory p = ledger.pool(pool);
        assertTrue(p.ended && p.last, "ended");
        assertEq(p.phase, IRoundLedger.Phase.Idle);
        assertEq(p.checkpointRoot, rootAfter(0));
        assertEq(ledger.member(pool, a.node).stateOut, state);
        assertEq(ledger.member(pool, a.node).lastRevealed, 2);
        assertEq(_status(1, a), IRoundLedger.RecordStatus.None); // no work, nothing to settle
        IRoundLedger.Round memory r = ledger.round(pool, 1);
        assertEq(r.closedAt, now_());
        assertEq(r.poster, address(0));
        assertEq(ledger.resultRoot(pool, 0), rootAfter(0));
        _fails(ORCHESTRATOR, _closing(SPEC, _none()), _phase(IRoundLedger.Phase.Idle));
        _fails(ORCHESTRATOR, _open(50), err(IRoundLedger.PoolHasEnded.selector));
        _fails(a.node, _revealing(x), err(IRoundLedger.AlreadyRevealed.selector));

        assertEq(ledger.settle(pool, a.node), PRICE);
        assertEq(ledger.settle(pool, b.node), 2 * PRICE);
        court.releaseVerdictReserve(pool, 0);
        assertEq(_reserved(), 0);
        _leave(a);
        ledger.releaseLock(pool, a.node);
        assertEq(_locked(a), 0);
        pass(CHALLENGE + 1);
        vm.prank(ORCHESTRATOR);
        ledger.releaseBond(pool);
        vm.prank(CREATOR);
        assertEq(rewards.refund(pool), 10_000 ether - 3 * PRICE);
    }

    function test_RevertWhen_AConfirmationCarriesWork() public {
        _toConfirm();
        Reveal memory usual = work(pool, a, 1);
        commit(pool, a);
        pass(11);
        _fails(a.node, _revealing(usual), err(IRoundLedger.ConfirmOnly.selector));
    }

    /// Each field alone.
    /// forge-config: default.fuzz.runs = 48
    function testFuzz_ConfirmationsAreEmpty(uint8 which) public {
        _toConfirm();
        Reveal memory r = _vote(a);
        which %= 6;
        if (which == 0) r.updateRoot = SPEC;
        if (which == 1) r.traceRoot = SPEC;
        if (which == 2) r.stateIn = ledger.member(pool, a.node).stateOut;
        if (which == 3) r.stateOut = SPEC;
        if (which == 4) r.norm = 1;
        _commit(a, _hash(a, r));
        pass(11);
        if (which == 5) _reveal(a, r);
        else _fails(a.node, _revealing(r), err(IRoundLedger.ConfirmOnly.selector));
    }

    /// Two thirds can still replace the last training round's result, and the bond behind it is lost.
    function test_ConfirmationsCanOverruleTheLastClose() public {
        _toConfirm();
        Reveal memory x = _vote(a);
        Reveal memory y = _vote(b);
        y.startRoot = OTHER; // two of three slots
        _commit(a, _hash(a, x));
        _commit(b, _hash(b, y));
        _reveal(a, x);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RevealsSealed(pool, 1, 2, uint64(block.number + 1));
        vm.expectEmit(address(ledger));
        emit IRoundLedger.CloseOverruled(pool, 0, rootAfter(0), OTHER);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.PoolEnded(pool);
        _reveal(b, y);
        assertEq(ledger.pool(pool).checkpointRoot, OTHER);
        ledger.punishClose(pool, 0);
        assertEq(_bond(ORCHESTRATOR), 0);
        // The work of the last training round is paid whoever outvotes its close.
        assertEq(ledger.settle(pool, a.node), PRICE);
        assertEq(ledger.settle(pool, b.node), 2 * PRICE);
    }

    function test_ConfirmOnlyEndsWithoutAnyVote() public {
        _toConfirm();
        _commit(a, SPEC);
        pass(11);
        _fails(
            STRANGER,
            abi.encodeCall(ledger.sealReveals, (pool)),
            _with(IRoundLedger.TooEarly.selector, ledger.round(pool, 1).revealDeadline + 1)
        );
        pass(50);
        vm.prank(STRANGER);
        ledger.sealReveals(pool);
        assertEq(ledger.pool(pool).ended, true);
        assertEq(ledger.pool(pool).checkpointRoot, rootAfter(0));
        assertEq(ledger.auditTerms(pool, 1).revealed, 0);
        ledger.reportMiss(pool, 1, a.node);
        ledger.reportMiss(pool, 1, b.node);
        // Nobody stands behind the confirm-only round.
        address[] memory nobody = new address[](0);
        bytes memory disproving = abi.encodeCall(ledger.disprove, (pool, 1, nobody, STRANGER, 0));
        _fails(address(proofs), disproving, err(IRoundLedger.NotPunishable.selector));
        _fails(STRANGER, abi.encodeCall(ledger.punishClose, (pool, 1)), err(IRoundLedger.NotPunishable.selector));
    }

    function test_ConfirmOnlyWithoutMembersEndsAtOnce() public {
        _joinBoth();
        _round(_list(a, b));
        _leave(a);
        _leave(b);
        _end();
        vm.expectEmit(address(ledger));
        emit IRoundLedger.PoolEnded(pool);
        open(pool);
        assertEq(ledger.pool(pool).ended, true);
        assertEq(ledger.pool(pool).nextRound, 1);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Idle);
        _fails(ORCHESTRATOR, _open(50), err(IRoundLedger.PoolHasEnded.selector));
        pass(CHALLENGE + 1);
        ledger.releaseLock(pool, a.node);
        assertEq(rewards.earned(a.operator), PRICE);
    }

    /// Even then the last close can be disproved; it is closed again, and everything is paid.
    function test_AnEndedPoolsLastCloseCanBeDisproved() public {
        _joinBoth();
        _round(_list(a, b));
        _leave(a);
        _leave(b);
        _end();
        open(pool);
        vm.prank(address(proofs));
        ledger.disprove(pool, 0, new address[](0), STRANGER, 0);
        assertEq(ledger.pool(pool).ended, true);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Sealed);
        postBond(pool, STRANGER);
        pass(30);
        _closeAs(STRANGER, OTHER, _none());
        assertEq(ledger.pool(pool).checkpointRoot, OTHER);
        _fails(ORCHESTRATOR, _open(50), err(IRoundLedger.PoolHasEnded.selector));
        pass(CHALLENGE + 1);
        assertEq(ledger.settle(pool, a.node) + ledger.settle(pool, b.node), 3 * PRICE);
        court.releaseVerdictReserve(pool, 0);
        vm.prank(CREATOR);
        assertEq(rewards.refund(pool), 10_000 ether - 3 * PRICE);
    }

    /// It needs neither slots, seats nor money, and anybody opens it after the grace.
    function test_ConfirmOnlyNeedsNothing() public {
        PoolParams memory p = defaultParams();
        (p.rounds, p.minSlots, p.minSeats) = (1, 3, 1);
        pool = createPool(p, 100 ether);
        _joinBoth();
        Party memory v = party(100);
        takeSeat(pool, v);
        _round(_list(a, b));
        assertEq(rewards.free(pool), 50 ether); // less than a round
        vm.prank(v.operator);
        court.leaveSeat(pool, 0);
        _leave(b);
        _fails(STRANGER, _open(0), _with(IRoundLedger.TooEarly.selector, now_() + 30));
        pass(30);
        vm.prank(STRANGER);
        ledger.openRound(pool, 0);
        assertEq(ledger.round(pool, 1).expected, 1);
        assertEq(ledger.round(pool, 1).liveSeats, 0);
        assertEq(ledger.round(pool, 1).commitDeadline, now_() + 10);
    }

    // ---------------------------------------------------------------------------------------------- after the rounds

    function test_LastTrainingRoundIsFollowedByTheConfirmation() public {
        PoolParams memory p = defaultParams();
        p.rounds = 2;
        pool = createPool(p, 1000 ether);
        _joinBoth();
        _round(_list(a, b));
        assertEq(ledger.pool(pool).last, false);
        _round(_list(a, b));
        assertEq(ledger.pool(pool).last, true);
        assertEq(ledger.pool(pool).ended, false);
        open(pool);
        assertEq(running(pool), 2);
        _confirm(a, b);
        assertEq(ledger.pool(pool).ended, true);
        assertEq(ledger.settle(pool, a.node), 2 * PRICE);
        assertEq(ledger.settle(pool, b.node), 4 * PRICE);
    }

    /// A disproved last close is done again, and the confirmation still follows.
    function test_TheLastCloseIsDoneAgain() public {
        PoolParams memory p = defaultParams();
        p.rounds = 1;
        pool = createPool(p, 1000 ether);
        _joinBoth();
        _round(_list(a, b));
        vm.prank(address(proofs));
        ledger.disprove(pool, 0, new address[](0), STRANGER, 0);
        _fails(ORCHESTRATOR, _open(50), _phase(IRoundLedger.Phase.Sealed));
        postBond(pool, ORCHESTRATOR);
        _closeAs(ORCHESTRATOR, OTHER, _none());
        open(pool);
        assertEq(ledger.round(pool, 1).startRoot, OTHER);
        _confirm(a, b);
        assertEq(ledger.pool(pool).ended, true);
    }

    /// The confirmation takes a place in the ring like any other round.
    function test_ConfirmationSettlesTheWorkWhosePlaceItTakes() public {
        _joinBoth();
        for (uint256 i; i < 16; ++i) {
            _round(_list(a, b));
        }
        _end();
        open(pool);
        _confirm(a, b);
        assertEq(ledger.member(pool, b.node).accrued, 2);
        assertEq(ledger.settle(pool, b.node), 32 * PRICE);
        assertEq(ledger.settle(pool, a.node), 16 * PRICE);
        for (uint256 r = 1; r < 16; ++r) {
            court.releaseVerdictReserve(pool, r);
        }
        assertEq(_reserved(), 0);
    }
}
