// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRewards} from "../../src/interfaces/IRewards.sol";
import {IRoundLedger, PoolParams} from "../../src/interfaces/IRoundLedger.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {Base} from "../Base.sol";

/// @title Creation and end of pools; joining, leaving and missing.
contract PoolsTest is Base {
    uint256 internal pool;
    Party internal a = party(1);
    Party internal b = party(2);

    function setUp() public override {
        super.setUp();
        pool = createPool(defaultParams(), 10_000 ether);
    }

    // ---------------------------------------------------------------------------------------------- create, end

    function test_CreatePool() public {
        PoolParams memory p = defaultParams();
        p.rounds = 7;
        vm.expectEmit(address(ledger));
        emit IRoundLedger.PoolCreated(2, STRANGER, SPEC, GENESIS, "uri");
        vm.prank(STRANGER);
        assertEq(ledger.createPool(p, SPEC, GENESIS, "uri"), 2);
        assertEq(ledger.poolCount(), 2);
        IRoundLedger.Pool memory got = ledger.pool(2);
        assertEq(got.creator, STRANGER);
        assertEq(got.runSpecHash, SPEC);
        assertEq(got.checkpointRoot, GENESIS);
        assertEq(got.phase, IRoundLedger.Phase.Idle);
        assertEq(keccak256(abi.encode(ledger.params(2))), keccak256(abi.encode(p)));
        assertEq(keccak256(bytes(ledger.storeURI(2))), keccak256("uri"));
    }

    function _bad(PoolParams memory p, string memory what) private {
        fails(
            CREATOR,
            address(ledger),
            abi.encodeCall(ledger.createPool, (p, SPEC, GENESIS, "")),
            abi.encodeWithSelector(IRoundLedger.BadParams.selector, what)
        );
    }

    function test_RevertWhen_RoundsOrWindowsAreBad() public {
        PoolParams memory p = defaultParams();
        p.rounds = 0;
        _bad(p, "rounds");
        p.rounds = type(uint24).max;
        _bad(p, "rounds");
        p = defaultParams();
        p.minTrainWindow = 0;
        _bad(p, "trainWindow");
        p.minTrainWindow = p.maxTrainWindow + 1;
        _bad(p, "trainWindow");
        p = defaultParams();
        p.revealWindow = 0;
        _bad(p, "revealWindow");
        p = defaultParams();
        p.graceWindow = 0;
        _bad(p, "graceWindow");
        p = defaultParams();
        p.verdictWindow = 0;
        _bad(p, "verdictWindow");
        p = defaultParams();
        p.verdictRevealWindow = 0;
        _bad(p, "verdictRevealWindow");
        p = defaultParams();
        p.voteWindow = 0;
        _bad(p, "voteWindow");
        p = defaultParams();
        p.voteRevealWindow = 0;
        _bad(p, "voteRevealWindow");
        p = defaultParams();
        // 100 + 50 + 30 + 100 + 50 + 100 + 50 = 480 of 600 seconds
        p.maxTrainWindow += 120;
        ledger.createPool(p, SPEC, GENESIS, "");
        p.maxTrainWindow += 1;
        _bad(p, "unbondingTime");
    }

    function test_RevertWhen_SizesAreBad() public {
        PoolParams memory p = defaultParams();
        p.maxSlots = 257;
        _bad(p, "maxSlots");
        p = defaultParams();
        p.minSlots = 0;
        _bad(p, "minSlots");
        p.minSlots = p.maxSlots + 1;
        _bad(p, "minSlots");
        p = defaultParams();
        p.maxWidth = 0;
        _bad(p, "maxWidth");
        p.maxWidth = p.maxSlots + 1;
        _bad(p, "maxWidth");
        p.maxSlots = 256;
        p.maxWidth = 256;
        _bad(p, "maxWidth");
        p = defaultParams();
        p.minSeats = 257;
        _bad(p, "minSeats");
        p = defaultParams();
        p.auditors = 0;
        _bad(p, "auditors");
        p.auditors = 5;
        _bad(p, "auditors");
        p = defaultParams();
        p.jurySize = 0;
        _bad(p, "jurySize");
        p.jurySize = 17;
        _bad(p, "jurySize");
    }

    function test_RevertWhen_RatesOrSlashesAreBad() public {
        PoolParams memory p = defaultParams();
        p.auditRate = 10_001;
        _bad(p, "auditRate");
        p = defaultParams();
        p.finderFee = 2001;
        _bad(p, "finderFee");
        p = defaultParams();
        p.slashConviction = p.stakePerSlot + 1;
        _bad(p, "slashConviction");
        p = defaultParams();
        p.slashMiss = p.stakePerSlot / 10 + 1;
        _bad(p, "slashMiss");
        p = defaultParams();
        p.slashFalseAccusation = p.seatStake + 1;
        _bad(p, "slashFalseAccusation");
        p = defaultParams();
        p.orchestrator = address(0);
        _bad(p, "orchestrator");
    }

    function test_RevertWhen_HashesAreMissing() public {
        PoolParams memory p = defaultParams();
        fails(
            CREATOR,
            address(ledger),
            abi.encodeCall(ledger.createPool, (p, 0, GENESIS, "")),
            abi.encodeWithSelector(IRoundLedger.BadParams.selector, "runSpecHash")
        );
        fails(
            CREATOR,
            address(ledger),
            abi.encodeCall(ledger.createPool, (p, SPEC, 0, "")),
            abi.encodeWithSelector(IRoundLedger.BadParams.selector, "genesisRoot")
        );
    }

    function test_LargestPoolCanReserve() public {
        PoolParams memory p = defaultParams();
        p.pricePerSlot = type(uint96).max;
        p.verdictFee = type(uint96).max;
        p.maxSlots = 256;
        p.verdictBudget = type(uint16).max;
        uint256 cost = uint256(type(uint96).max) * (256 + uint256(type(uint16).max));
        uint256 id = createPool(p, cost);
        join(id, a, 1);
        open(id);
        assertEq(rewards.budget(id).reserved, cost);
    }

    function test_UnknownPool() public {
        bytes memory unknown = abi.encodeWithSelector(IRoundLedger.UnknownPool.selector, 9);
        fails(STRANGER, address(ledger), abi.encodeCall(ledger.pool, (9)), unknown);
        fails(STRANGER, address(ledger), abi.encodeCall(ledger.params, (9)), unknown);
        fails(STRANGER, address(ledger), abi.encodeCall(ledger.storeURI, (9)), unknown);
        fails(STRANGER, address(ledger), abi.encodeCall(ledger.endPool, (9)), unknown);
        fails(STRANGER, address(ledger), abi.encodeCall(ledger.join, (9, a.node, 1)), unknown);
        fails(STRANGER, address(ledger), abi.encodeCall(ledger.leave, (9, a.node)), unknown);
        fails(STRANGER, address(ledger), abi.encodeCall(ledger.openRound, (9, 50)), unknown);
        fails(STRANGER, address(ledger), abi.encodeCall(ledger.settle, (9, a.node)), unknown);
        fails(
            STRANGER,
            address(ledger),
            abi.encodeCall(ledger.commit, (9, SPEC)),
            abi.encodeWithSelector(IRoundLedger.WrongPhase.selector, IRoundLedger.Phase.Idle)
        );
    }

    function test_EndPool() public {
        bytes memory end = abi.encodeCall(ledger.endPool, (pool));
        fails(STRANGER, address(ledger), end, err(IRoundLedger.OnlyPoolCreator.selector));
        vm.expectEmit(address(ledger));
        emit IRoundLedger.PoolEnded(pool);
        vm.prank(CREATOR);
        ledger.endPool(pool);
        assertEq(ledger.pool(pool).ended, true);
        fails(CREATOR, address(ledger), end, err(IRoundLedger.PoolHasEnded.selector));
        register(a);
        fails(
            a.operator,
            address(ledger),
            abi.encodeCall(ledger.join, (pool, a.node, 1)),
            err(IRoundLedger.PoolHasEnded.selector)
        );
        fails(
            ORCHESTRATOR,
            address(ledger),
            abi.encodeCall(ledger.openRound, (pool, 50)),
            err(IRoundLedger.PoolHasEnded.selector)
        );
    }

    function test_RevertWhen_EndingInARound() public {
        join(pool, a, 1);
        open(pool);
        fails(
            CREATOR,
            address(ledger),
            abi.encodeCall(ledger.endPool, (pool)),
            abi.encodeWithSelector(IRoundLedger.WrongPhase.selector, IRoundLedger.Phase.Commit)
        );
    }

    // ---------------------------------------------------------------------------------------------- join

    function test_JoinLocksPerSlot() public {
        register(a);
        stake(a.operator, 350 ether);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Joined(pool, a.node, a.operator, 3, 0);
        vm.prank(a.operator);
        ledger.join(pool, a.node, 3);
        assertEq(stakes.lockOf(a.operator, ledger.lockId(pool, a.node)), 300 ether);
        assertEq(stakes.account(a.operator).locked, 300 ether);
        assertEq(ledger.pool(pool).members, 1);
        assertEq(ledger.pool(pool).memberSlots, 3);
        IRoundLedger.Member memory m = ledger.member(pool, a.node);
        assertEq(m.operator, a.operator);
        assertEq(m.width, 3);
    }

    function test_RevertWhen_JoinIsBad() public {
        register(a);
        fails(
            STRANGER,
            address(ledger),
            abi.encodeCall(ledger.join, (pool, a.node, 1)),
            abi.encodeWithSelector(IRoundLedger.OnlyOperator.selector, a.operator)
        );
        fails(
            a.operator,
            address(ledger),
            abi.encodeCall(ledger.join, (pool, a.node, 0)),
            abi.encodeWithSelector(IRoundLedger.BadWidth.selector, 0)
        );
        fails(
            a.operator,
            address(ledger),
            abi.encodeCall(ledger.join, (pool, a.node, 5)),
            abi.encodeWithSelector(IRoundLedger.BadWidth.selector, 5)
        );
        fails(
            a.operator,
            address(ledger),
            abi.encodeCall(ledger.join, (pool, a.node, 1)),
            abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 0, 100 ether)
        );
        join(pool, b, 4);
        fails(
            b.operator,
            address(ledger),
            abi.encodeCall(ledger.join, (pool, b.node, 1)),
            abi.encodeWithSelector(IRoundLedger.AlreadyMember.selector, b.node)
        );
        join(pool, party(3), 4);
        fails(
            a.operator,
            address(ledger),
            abi.encodeCall(ledger.join, (pool, a.node, 1)),
            err(IRoundLedger.PoolFull.selector)
        );
    }

    function test_JoinInARoundCountsFromTheNext() public {
        join(pool, a, 1);
        open(pool);
        join(pool, b, 1);
        assertEq(ledger.member(pool, b.node).activeFrom, 1);
        assertEq(ledger.round(pool, 0).expected, 1);
        fails(
            b.node,
            address(ledger),
            abi.encodeCall(ledger.commit, (pool, SPEC)),
            abi.encodeWithSelector(IRoundLedger.NotExpected.selector, b.node)
        );
    }

    // ---------------------------------------------------------------------------------------------- leave

    function _leave(Party memory p) private {
        vm.prank(p.operator);
        ledger.leave(pool, p.node);
    }

    function _release(Party memory p) private {
        vm.prank(STRANGER);
        ledger.releaseLock(pool, p.node);
    }

    function _releaseFails(Party memory p, bytes4 selector) private {
        fails(STRANGER, address(ledger), abi.encodeCall(ledger.releaseLock, (pool, p.node)), err(selector));
    }

    function test_LeaveBeforeTheFirstRoundFreesAtOnce() public {
        join(pool, a, 2);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Left(pool, a.node, 1);
        vm.prank(a.node); // the node may, too
        ledger.leave(pool, a.node);
        assertEq(ledger.pool(pool).members, 0);
        assertEq(ledger.pool(pool).memberSlots, 0);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.LockReleased(pool, a.node, 200 ether);
        _release(a);
        assertEq(stakes.account(a.operator).locked, 0);
        // and it may come back
        vm.prank(a.operator);
        ledger.join(pool, a.node, 1);
        open(pool);
        commit(pool, a);
        assertEq(ledger.round(pool, 0).committed, 1);
    }

    function test_RevertWhen_LeavingWithoutRight() public {
        join(pool, a, 1);
        fails(
            STRANGER,
            address(ledger),
            abi.encodeCall(ledger.leave, (pool, a.node)),
            abi.encodeWithSelector(IRoundLedger.OnlyOperator.selector, a.operator)
        );
        bytes memory notMember = abi.encodeWithSelector(IRoundLedger.NotMember.selector, b.node);
        fails(b.operator, address(ledger), abi.encodeCall(ledger.leave, (pool, b.node)), notMember);
        fails(b.operator, address(ledger), abi.encodeCall(ledger.releaseLock, (pool, b.node)), notMember);
        fails(b.operator, address(ledger), abi.encodeCall(ledger.settle, (pool, b.node)), notMember);
        _releaseFails(a, IRoundLedger.StillLocked.selector); // has not left
        _leave(a);
        fails(
            a.operator,
            address(ledger),
            abi.encodeCall(ledger.leave, (pool, a.node)),
            abi.encodeWithSelector(IRoundLedger.NotMember.selector, a.node)
        );
        fails(
            a.operator,
            address(ledger),
            abi.encodeCall(ledger.join, (pool, a.node, 1)),
            abi.encodeWithSelector(IRoundLedger.AlreadyMember.selector, a.node)
        ); // not released yet
    }

    function test_LeaverThatHasNotCommittedIsNotWaitedFor() public {
        join(pool, a, 1);
        join(pool, b, 1);
        open(pool);
        commit(pool, a);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Left(pool, b.node, 1);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.CommitPhaseEnded(pool, 0, 1);
        _leave(b);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Reveal);
        assertEq(ledger.round(pool, 0).expected, 1);
        assertEq(ledger.round(pool, 0).commitDeadline, now_());
        assertEq(ledger.round(pool, 0).revealDeadline, now_() + 50);
        _release(b); // never worked, so free at once
        reveal(pool, a);
        close(pool);
        fails(
            STRANGER,
            address(ledger),
            abi.encodeCall(ledger.reportMiss, (pool, 0, b.node)),
            abi.encodeWithSelector(IRoundLedger.NothingMissed.selector, b.node)
        );
    }

    function test_LeaverThatHasCommittedStillRevealsAndIsPaid() public {
        join(pool, a, 1);
        join(pool, b, 1);
        open(pool);
        commit(pool, a);
        _leave(a);
        assertEq(ledger.member(pool, a.node).leftAt, 1);
        commit(pool, b);
        reveal(pool, a);
        _releaseFails(a, IRoundLedger.StillLocked.selector); // not closed
        reveal(pool, b);
        close(pool);
        _release(a); // no seats: final at the seal
        assertEq(rewards.earned(a.operator), 10 ether);
        assertEq(stakes.account(a.operator).locked, 0);
    }

    function test_LockStaysUntilTheLastRoundIsFinal() public {
        join(pool, a, 1);
        takeSeat(pool, party(100));
        Party[] memory nodes = new Party[](1);
        nodes[0] = a;
        play(pool, nodes);
        _leave(a);
        _releaseFails(a, IRoundLedger.StillLocked.selector);
        pass(101); // nobody committed a verdict
        _release(a);
        assertEq(rewards.earned(a.operator), 10 ether);
    }

    function test_EveryoneLeavesInTheCommitPhase() public {
        join(pool, a, 1);
        open(pool);
        _leave(a);
        ledger.sealReveals(pool);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Sealed);
        fails(
            ORCHESTRATOR,
            address(ledger),
            abi.encodeCall(ledger.closeRound, (pool, SPEC, 0, new IRoundLedger.Exclusion[](0))),
            err(IRoundLedger.BadRoot.selector)
        );
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(pool, GENESIS, 0, new IRoundLedger.Exclusion[](0));
        fails(
            ORCHESTRATOR,
            address(ledger),
            abi.encodeCall(ledger.openRound, (pool, 50)),
            abi.encodeWithSelector(IRoundLedger.TooFewSlots.selector, 0)
        );
        court.releaseVerdictReserve(pool, 0);
        assertEq(rewards.budget(pool).reserved, 0);
    }

    // ---------------------------------------------------------------------------------------------- misses

    function _report(uint256 round, Party memory p) private {
        vm.prank(STRANGER);
        ledger.reportMiss(pool, round, p.node);
    }

    function _reportFails(uint256 round, Party memory p, bytes memory expected) private {
        fails(STRANGER, address(ledger), abi.encodeCall(ledger.reportMiss, (pool, round, p.node)), expected);
    }

    /// @dev A round in which `b` works and `a` does nothing.
    function _roundWithout() private {
        open(pool);
        commit(pool, b);
        pass(101);
        reveal(pool, b);
        close(pool);
    }

    function test_SecondMissInARowCostsAndTakesOut() public {
        join(pool, a, 2);
        join(pool, b, 1);
        _roundWithout();
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Missed(pool, 0, a.node, 1, 0);
        _report(0, a);
        bytes memory nothing = abi.encodeWithSelector(IRoundLedger.NothingMissed.selector, a.node);
        _reportFails(0, a, nothing); // once
        _reportFails(0, b, abi.encodeWithSelector(IRoundLedger.NothingMissed.selector, b.node));
        _reportFails(0, party(9), abi.encodeWithSelector(IRoundLedger.NothingMissed.selector, party(9).node));

        _roundWithout();
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Left(pool, a.node, 2);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Missed(pool, 1, a.node, 2, 10 ether);
        _report(1, a);
        assertEq(stakes.seized(), 10 ether);
        assertEq(stakes.account(a.operator).bonded, 190 ether);
        assertEq(ledger.member(pool, a.node).missed, 2);
        assertEq(ledger.pool(pool).members, 1);

        open(pool);
        assertEq(ledger.round(pool, 2).expected, 1);
        _release(a);
        assertEq(stakes.account(a.operator).locked, 0);
    }

    function test_RevealResetsTheCount() public {
        join(pool, a, 1);
        join(pool, b, 1);
        _roundWithout();
        _report(0, a);
        open(pool);
        commit(pool, a);
        commit(pool, b);
        reveal(pool, a);
        reveal(pool, b);
        close(pool);
        assertEq(ledger.member(pool, a.node).missed, 0);
        _roundWithout();
        _report(2, a);
        assertEq(ledger.member(pool, a.node).missed, 1);
        assertEq(stakes.seized(), 0);
    }

    function test_MissBeforeTheLatestRevealIsOld() public {
        join(pool, a, 1);
        join(pool, b, 1);
        _roundWithout();
        open(pool);
        commit(pool, a);
        commit(pool, b);
        reveal(pool, a);
        _reportFails(0, a, abi.encodeWithSelector(IRoundLedger.NothingMissed.selector, a.node));
    }

    function test_CommitWithoutRevealIsAMiss() public {
        join(pool, a, 1);
        open(pool);
        commit(pool, a);
        pass(51);
        ledger.sealReveals(pool);
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(pool, GENESIS, 0, new IRoundLedger.Exclusion[](0));
        _report(0, a);
        assertEq(ledger.member(pool, a.node).missed, 1);
    }

    function test_TakenOutInTheCommitPhaseIsNotWaitedFor() public {
        join(pool, a, 1);
        join(pool, b, 1);
        _roundWithout();
        _roundWithout();
        open(pool);
        commit(pool, b);
        _report(0, a);
        _report(1, a);
        assertEq(ledger.member(pool, a.node).leftAt, 2);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Reveal);
    }

    function test_RevertWhen_RoundIsNotClosedOrUnknown() public {
        join(pool, a, 1);
        open(pool);
        _reportFails(0, a, abi.encodeWithSelector(IRoundLedger.WrongPhase.selector, IRoundLedger.Phase.Commit));
        _reportFails(1, a, abi.encodeWithSelector(IRoundLedger.UnknownRound.selector, 1));
    }

    function test_LockIdsAreDistinct() public view {
        assertTrue(ledger.lockId(1, a.node) != ledger.lockId(2, a.node), "pool");
        assertTrue(ledger.lockId(1, a.node) != ledger.lockId(1, b.node), "node");
        assertTrue(ledger.lockId(1, a.node) != court.seatLockId(1, a.node), "kind");
    }

    function test_BudgetMustCoverTheRound() public {
        uint256 poor = createPool(defaultParams(), 99 ether);
        join(poor, a, 1);
        fails(
            ORCHESTRATOR,
            address(ledger),
            abi.encodeCall(ledger.openRound, (poor, 50)),
            abi.encodeWithSelector(IRewards.BudgetTooSmall.selector, 99 ether, 100 ether)
        );
    }
}
