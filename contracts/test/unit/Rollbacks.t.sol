// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoundLedger} from "../../src/interfaces/IRoundLedger.sol";
import {LedgerCase} from "./LedgerCase.sol";

/// @title The creator goes back to an older checkpoint: from the next round on, and at nobody's cost.
contract RollbacksTest is LedgerCase {
    function setUp() public override {
        super.setUp();
        join(pool, a, 1);
        join(pool, b, 1);
    }

    function _back(uint256 toRound) private {
        vm.prank(CREATOR);
        ledger.rollBack(pool, toRound);
    }

    function _rounds(uint256 count) private {
        for (uint256 i; i < count; ++i) {
            _round(_list(a, b));
        }
    }

    function test_TheNextRoundStartsWhereAnOlderOneDid() public {
        _rounds(3);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RolledBack(pool, 3, 1);
        _back(1);
        assertEq(ledger.pool(pool).checkpointRoot, rootAfter(2)); // not before it opens
        uint256 round = _toSealed(_list(a, b));
        assertEq(ledger.round(pool, round).startRoot, rootAfter(0));
        assertEq(uint256(_status(round, a)), uint256(IRoundLedger.RecordStatus.Revealed));
        close(pool);
        assertEq(ledger.pool(pool).checkpointRoot, rootAfter(round));
        // It holds once.
        open(pool);
        assertEq(ledger.round(pool, 4).startRoot, rootAfter(round));
    }

    function test_WhileARoundRunsItIsTheOneAfterThatGoesBack() public {
        _rounds(2);
        open(pool);
        _back(2); // forgets the running round
        commit(pool, a);
        commit(pool, b);
        reveal(pool, a);
        reveal(pool, b);
        close(pool);
        open(pool);
        assertEq(ledger.round(pool, 3).startRoot, ledger.round(pool, 2).startRoot);
        assertEq(ledger.round(pool, 2).startRoot, rootAfter(1));
    }

    function test_TheLastCallHolds() public {
        _rounds(3);
        _back(2);
        _back(0);
        open(pool);
        assertEq(ledger.round(pool, 3).startRoot, GENESIS);
    }

    function test_WorkIsPaidAndThePosterKeepsItsBond() public {
        _rounds(2);
        _back(1);
        open(pool);
        pass(101);
        ledger.sealReveals(pool);
        _fails(STRANGER, abi.encodeCall(ledger.punishClose, (pool, 1)), err(IRoundLedger.NotPunishable.selector));
        bytes memory disproof = abi.encodeCall(ledger.disprove, (pool, 1, new address[](0), STRANGER, 0));
        _fails(address(proofs), disproof, err(IRoundLedger.NotPunishable.selector));
        pass(CHALLENGE + 1);
        ledger.settle(pool, a.node);
        assertEq(rewards.earned(a.operator), 2 * PRICE);
    }

    function test_TheConfirmOnlyRoundConfirmsWhatItWentBackTo() public {
        _rounds(2);
        vm.prank(CREATOR);
        ledger.endPool(pool);
        _back(1);
        open(pool);
        assertEq(ledger.round(pool, 2).startRoot, rootAfter(0));
    }

    function test_OnlyTheCreatorAndOnlyToWhatTheRingHas() public {
        bytes memory to = abi.encodeCall(ledger.rollBack, (pool, 0));
        _fails(CREATOR, to, _with(IRoundLedger.UnknownRound.selector, 0)); // nothing has opened
        _rounds(1);
        _fails(STRANGER, to, err(IRoundLedger.OnlyPoolCreator.selector));
        _fails(ORCHESTRATOR, to, err(IRoundLedger.OnlyPoolCreator.selector));
        bytes memory ahead = abi.encodeCall(ledger.rollBack, (pool, 1));
        _fails(CREATOR, ahead, _with(IRoundLedger.UnknownRound.selector, 1));
        for (uint256 i; i < 14; ++i) {
            _rounds(1);
            pass(CHALLENGE);
        }
        _back(0); // fifteen rounds
        _rounds(1);
        assertEq(ledger.round(pool, 15).startRoot, GENESIS);
        _fails(CREATOR, to, _with(IRoundLedger.UnknownRound.selector, 0));
        _back(1);
    }

    function test_AnEndedPoolStaysAsItIs() public {
        vm.prank(CREATOR);
        ledger.endPool(pool);
        _fails(CREATOR, abi.encodeCall(ledger.rollBack, (pool, 0)), err(IRoundLedger.PoolHasEnded.selector));
    }
}
