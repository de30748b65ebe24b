// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {INodeRegistry} from "../../src/interfaces/INodeRegistry.sol";
import {IPools, PoolParams} from "../../src/interfaces/IPools.sol";
import {IRoundLedger} from "../../src/interfaces/IRoundLedger.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {CourtBase} from "./CourtBase.sol";

/// @title Seats, draws and commitments. Reveals are in Verdicts.t.sol, cases in Cases.t.sol.
contract CourtTest is CourtBase {
    function setUp() public override {
        super.setUp();
        setUpPool(defaultParams(), 3);
    }

    // ---------------------------------------------------------------------------------------------- seats

    function test_TakeSeat() public {
        Party memory v = party(200);
        register(v);
        stake(v.operator, 50 ether);
        vm.expectEmit(address(court));
        emit ICourt.SeatTaken(pool, 3, v.operator, v.node, 0);
        vm.prank(v.operator);
        assertEq(court.takeSeat(pool, v.node), 3);
        assertEq(court.seatCount(pool), 4);
        assertEq(court.liveSeats(pool), 4);
        assertEq(court.seat(pool, 3).operator, v.operator);
        assertEq(court.seat(pool, 3).node, v.node);
        assertEq(stakes.lockOf(v.operator, court.seatLockId(pool, v.node)), 50 ether);
    }

    function test_RevertWhen_SeatIsNotToBeHad() public {
        Party memory v = party(200);
        register(v);
        courtFails(
            STRANGER,
            abi.encodeCall(court.takeSeat, (pool, v.node)),
            abi.encodeWithSelector(INodeRegistry.OnlyOperator.selector, v.operator)
        );
        courtFails(
            v.operator,
            abi.encodeCall(court.takeSeat, (pool, v.node)),
            abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 0, 50 ether)
        );
        courtFails(
            seats[0].operator,
            abi.encodeCall(court.takeSeat, (pool, seats[0].node)),
            abi.encodeWithSelector(ICourt.AlreadySeated.selector, seats[0].node)
        );
        courtFails(
            v.operator,
            abi.encodeCall(court.takeSeat, (9, v.node)),
            abi.encodeWithSelector(IRoundLedger.UnknownPool.selector, 9)
        );
        bytes memory take = abi.encodeCall(court.takeSeat, (pool, v.node));
        vm.prank(GUARDIAN);
        pools.setEntryPaused(true);
        courtFails(v.operator, take, err(IPools.EntryPaused.selector));
        vm.prank(GUARDIAN);
        pools.setEntryPaused(false);
        vm.prank(CREATOR);
        ledger.endPool(pool);
        courtFails(v.operator, take, err(IRoundLedger.PoolHasEnded.selector));
        vm.prank(v.operator);
        registry.revokeNode(v.node);
        courtFails(v.operator, take, err(INodeRegistry.AlreadyRevoked.selector));
    }

    function test_RevertWhen_AllPlacesAreTaken() public {
        for (uint256 i = 3; i < 256; ++i) {
            takeSeat(pool, party(1000 + i));
        }
        Party memory v = party(5000);
        register(v);
        stake(v.operator, 50 ether);
        bytes memory take = abi.encodeCall(court.takeSeat, (pool, v.node));
        courtFails(v.operator, take, err(ICourt.TooManySeats.selector));
        // a released place is given again
        vm.prank(seats[1].operator);
        court.leaveSeat(pool, 1);
        court.releaseSeat(pool, 1);
        vm.prank(v.operator);
        assertEq(court.takeSeat(pool, v.node), 1);
        assertEq(court.seatCount(pool), 256);
        assertEq(court.liveSeats(pool), 256);
    }

    function test_LeaveAndReleaseSeat() public {
        uint256 round = play(pool, workers);
        courtFails(
            STRANGER,
            abi.encodeCall(court.leaveSeat, (pool, 0)),
            abi.encodeWithSelector(ICourt.OnlyOperator.selector, seats[0].operator)
        );
        bytes memory release = abi.encodeCall(court.releaseSeat, (pool, 0));
        courtFails(STRANGER, release, err(ICourt.NotLeft.selector));
        vm.expectEmit(address(court));
        emit ICourt.SeatLeft(pool, 0, 1);
        vm.prank(seats[0].node); // the node may, too
        court.leaveSeat(pool, 0);
        assertEq(court.liveSeats(pool), 2);
        courtFails(seats[0].operator, abi.encodeCall(court.leaveSeat, (pool, 0)), err(ICourt.AlreadyDone.selector));
        courtFails(STRANGER, release, abi.encodeWithSelector(ICourt.StillNeeded.selector, round));

        // it still judges the round that it was live in, and no later one
        accept(round);
        open(pool);
        assertEq(ledger.round(pool, 1).liveSeats, 2);
        assertEq(ledger.round(pool, 1).seats, 3);
        // and stays for as long as its silence could still be reported
        pass(19);
        courtFails(STRANGER, release, abi.encodeWithSelector(ICourt.StillNeeded.selector, round));
        pass(1);
        vm.expectEmit(address(court));
        emit ICourt.SeatReleased(pool, 0);
        court.releaseSeat(pool, 0);
        assertEq(stakes.account(seats[0].operator).locked, 0);
        courtFails(STRANGER, release, abi.encodeWithSelector(ICourt.UnknownSeat.selector, 0));
        courtFails(
            STRANGER, abi.encodeCall(court.leaveSeat, (pool, 3)), abi.encodeWithSelector(ICourt.UnknownSeat.selector, 3)
        );
        courtFails(
            STRANGER, abi.encodeCall(court.seat, (pool, 3)), abi.encodeWithSelector(ICourt.UnknownSeat.selector, 3)
        );
        courtFails(seats[0].node, abi.encodeCall(court.commitVerdicts, (pool, 1, SPEC)), err(ICourt.OnlySeat.selector));
    }

    function test_SeatThatLeavesBeforeTheFirstRoundNeverJudges() public {
        vm.prank(seats[2].operator);
        court.leaveSeat(pool, 2);
        uint256 round = play(pool, workers);
        courtFails(
            seats[2].node, abi.encodeCall(court.commitVerdicts, (pool, round, SPEC)), err(ICourt.OnlySeat.selector)
        );
        court.releaseSeat(pool, 2);
    }

    function test_SeatTakenInARoundJudgesFromTheNext() public {
        open(pool);
        Party memory v = party(200);
        takeSeat(pool, v);
        assertEq(court.seat(pool, 3).activeFrom, 1);
        for (uint256 i; i < 3; ++i) {
            commit(pool, workers[i]);
        }
        for (uint256 i; i < 3; ++i) {
            reveal(pool, workers[i]);
        }
        capture(pool, 0);
        courtFails(v.node, abi.encodeCall(court.commitVerdicts, (pool, 0, SPEC)), err(ICourt.OnlySeat.selector));
        assertEq(court.verdictRound(pool, 0).seats, 3);
    }

    // ---------------------------------------------------------------------------------------------- draws

    function test_AuditorsAreDrawnWithoutReplacementAndNeverTheWorkersOwn() public {
        // a seat of worker 0's own operator
        Party memory own = party(300);
        own.operator = workers[0].operator;
        takeSeat(pool, own);
        for (uint256 r; r < 8; ++r) {
            uint256 round = play(pool, workers);
            for (uint256 i; i < 3; ++i) {
                address[] memory drawn = court.auditorsOf(pool, round, workers[i].node);
                assertEq(drawn.length, 2);
                assertTrue(drawn[0] != drawn[1], "twice");
                if (i == 0) assertTrue(drawn[0] != own.node && drawn[1] != own.node, "own");
            }
        }
    }

    /// The walk that other programs mirror: start at the draw, go forward to the next eligible seat.
    function test_AuditorsFollowTheDraw() public {
        uint256 round = play(pool, workers);
        bytes32 seed = court.verdictRound(pool, round).seed;
        address node = workers[1].node;
        uint256 first = Hashes.auditorDraw(seed, node, 0, 3);
        uint256 second = Hashes.auditorDraw(seed, node, 1, 3);
        if (second == first) second = (first + 1) % 3;
        address[] memory drawn = court.auditorsOf(pool, round, node);
        assertTrue(drawn[0] == seats[first].node || drawn[1] == seats[first].node, "first");
        assertTrue(drawn[0] == seats[second].node || drawn[1] == seats[second].node, "second");
    }

    function test_AuditProbability() public {
        PoolParams memory p = defaultParams();
        p.auditRate = 3000;
        p.probation = 2;
        pool = createPool(p, 10_000 ether);
        for (uint256 i; i < 3; ++i) {
            stake(workers[i].operator, 100 ether);
            vm.prank(workers[i].operator);
            pools.join(pool, workers[i].node, 1, open_());
        }
        stake(seats[0].operator, 50 ether);
        vm.prank(seats[0].operator);
        court.takeSeat(pool, seats[0].node);
        for (uint256 r; r < 12; ++r) {
            uint256 round = play(pool, workers);
            bytes32 seed = court.verdictRound(pool, round).seed;
            for (uint256 i; i < 3; ++i) {
                uint256 rate = r < 2 ? 10_000 : r < 4 ? 5000 : 3000; // 2,500 would be below the least
                bool drawn = Hashes.auditDraw(seed, workers[i].node) < rate;
                assertEq(isAudited(pool, round, workers[i].node), drawn);
            }
        }
    }

    function test_WatchedSlotIsAuditedForCertain() public {
        PoolParams memory p = defaultParams();
        (p.auditRate, p.probation) = (1, 0);
        uint256 rare = createPool(p, 10_000 ether);
        for (uint256 i; i < 3; ++i) {
            stake(workers[i].operator, 100 ether);
            vm.prank(workers[i].operator);
            pools.join(rare, workers[i].node, 1, open_());
        }
        for (uint256 i; i < 2; ++i) {
            stake(seats[i].operator, 50 ether);
            vm.prank(seats[i].operator);
            court.takeSeat(rare, seats[i].node);
        }
        address node = workers[1].node;
        vm.expectEmit(address(court));
        emit ICourt.Watched(rare, 0, node, seats[0].node);
        vm.prank(seats[0].node);
        court.watch(rare, node);

        bytes memory once = err(ICourt.AlreadyDone.selector);
        courtFails(seats[0].node, abi.encodeCall(court.watch, (rare, workers[0].node)), once);
        courtFails(seats[1].node, abi.encodeCall(court.watch, (rare, node)), once);
        bytes memory only = err(ICourt.OnlySeat.selector);
        courtFails(seats[1].operator, abi.encodeCall(court.watch, (rare, node)), only);

        uint256 round = play(rare, workers);
        assertEq(court.auditorsOf(rare, round, node).length, 2);
        assertEq(isAudited(rare, round, workers[0].node), false);
        round = play(rare, workers); // for one round only
        assertEq(isAudited(rare, round, node), false);

        vm.prank(seats[1].node);
        court.leaveSeat(rare, 1);
        courtFails(seats[1].node, abi.encodeCall(court.watch, (rare, node)), only);
    }

    function test_NothingIsAuditedBeforeTheSeedOrWithoutAReveal() public {
        open(pool);
        commit(pool, workers[0]);
        commit(pool, workers[1]);
        pass(101);
        reveal(pool, workers[0]);
        pass(51);
        ledger.sealReveals(pool);
        assertEq(isAudited(pool, 0, workers[0].node), false);
        assertEq(court.auditorsOf(pool, 0, workers[0].node).length, 0);
        capture(pool, 0);
        assertEq(isAudited(pool, 0, workers[0].node), true);
        assertEq(isAudited(pool, 0, workers[1].node), false); // committed only
        assertEq(isAudited(pool, 0, workers[2].node), false);
    }

    function test_ExclusionDoesNotEndAnAudit() public {
        open(pool);
        for (uint256 i; i < 3; ++i) {
            commit(pool, workers[i]);
        }
        for (uint256 i; i < 3; ++i) {
            reveal(pool, workers[i]);
        }
        capture(pool, 0);
        IRoundLedger.Exclusion[] memory ex = new IRoundLedger.Exclusion[](1);
        ex[0] = IRoundLedger.Exclusion(workers[0].node, 2);
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(pool, SPEC, 0, ex);
        assertEq(isAudited(pool, 0, workers[0].node), true);
    }

    // ---------------------------------------------------------------------------------------------- commit

    function test_CommitVerdicts() public {
        uint256 round = play(pool, workers);
        ICourt.VerdictRound memory r = court.verdictRound(pool, round);
        assertEq(r.commitDeadline, now_() + 100);
        assertEq(r.revealDeadline, now_() + 150);
        assertEq(r.seats, 3);
        vm.expectEmit(address(court));
        emit ICourt.VerdictsCommitted(pool, round, seats[0].node, SPEC);
        vm.prank(seats[0].node);
        court.commitVerdicts(pool, round, SPEC);
        bytes memory commitIt = abi.encodeCall(court.commitVerdicts, (pool, round, SPEC));
        courtFails(seats[0].node, commitIt, err(ICourt.AlreadyDone.selector));
        courtFails(STRANGER, commitIt, err(ICourt.OnlySeat.selector));
        pass(100);
        vm.prank(seats[1].node);
        court.commitVerdicts(pool, round, SPEC);
        pass(1);
        courtFails(seats[2].node, commitIt, err(ICourt.WrongPhase.selector));
        assertEq(court.verdictRound(pool, round).committed, 2);
    }

    function test_RevertWhen_CommittingBeforeTheSeed() public {
        open(pool);
        bytes memory commitIt = abi.encodeCall(court.commitVerdicts, (pool, 0, SPEC));
        courtFails(seats[0].node, commitIt, err(ICourt.SeedMissing.selector));
        commit(pool, workers[0]);
        pass(101);
        reveal(pool, workers[0]);
        courtFails(seats[0].node, commitIt, err(ICourt.SeedMissing.selector));
    }

    function test_CommitsEndEarlyAndRevealsEndTheRound() public {
        uint256 round = play(pool, workers);
        pass(10);
        for (uint256 i; i < 3; ++i) {
            commitVerdicts(pool, round, seats[i], list(seats[i], round));
        }
        ICourt.VerdictRound memory r = court.verdictRound(pool, round);
        assertEq(r.commitDeadline, now_());
        assertEq(r.revealDeadline, now_() + 50);
        uint256 reserved = rewards.budget(pool).reserved;
        for (uint256 i; i < 3; ++i) {
            assertTrue(!court.isFinal(pool, round), "not yet");
            revealVerdicts(pool, round, seats[i], list(seats[i], round));
        }
        assertTrue(court.isFinal(pool, round), "final");
        assertEq(court.verdictRound(pool, round).revealDeadline, now_());
        assertEq(court.verdictRound(pool, round).paid, 6);
        // 6 ether were paid, the other 14 of the round's verdict reserve are free again
        assertEq(rewards.budget(pool).reserved, reserved - 20 ether);
        assertEq(court.releaseVerdictReserve(pool, round), 0); // once
        uint256 sum;
        for (uint256 i; i < 3; ++i) {
            sum += rewards.earned(seats[i].operator);
        }
        assertEq(sum, 6 ether);
    }
}
