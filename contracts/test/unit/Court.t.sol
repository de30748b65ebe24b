// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IRoundLedger, PoolParams} from "../../src/interfaces/IRoundLedger.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {Base} from "../Base.sol";

/// @title Seats and verdicts. Cases are in Cases.t.sol.
contract CourtTest is Base {
    uint256 internal pool;
    Party[] internal workers;
    Party[] internal seats;

    function setUp() public override {
        super.setUp();
        pool = createPool(defaultParams(), 10_000 ether);
        for (uint256 i; i < 3; ++i) {
            workers.push(party(i));
            join(pool, workers[i], 1);
        }
        for (uint256 i; i < 3; ++i) {
            seats.push(party(100 + i));
            takeSeat(pool, seats[i]);
        }
    }

    function _courtFails(address sender, bytes memory data, bytes memory expected) private {
        fails(sender, address(court), data, expected);
    }

    function _list(Party memory v, uint256 round) private view returns (ICourt.Verdict[] memory) {
        return verdictsOf(pool, round, v, workers, fill(workers.length, ICourt.Outcome.Accept));
    }

    function _revealCall(uint256 round, ICourt.Verdict[] memory list) private view returns (bytes memory) {
        return abi.encodeCall(court.revealVerdicts, (pool, round, list, SPEC));
    }

    function _empty() private pure returns (ICourt.Verdict[] memory) {
        return new ICourt.Verdict[](0);
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
        _courtFails(
            STRANGER,
            abi.encodeCall(court.takeSeat, (pool, v.node)),
            abi.encodeWithSelector(ICourt.OnlyOperator.selector, v.operator)
        );
        _courtFails(
            v.operator,
            abi.encodeCall(court.takeSeat, (pool, v.node)),
            abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 0, 50 ether)
        );
        _courtFails(
            seats[0].operator,
            abi.encodeCall(court.takeSeat, (pool, seats[0].node)),
            abi.encodeWithSelector(ICourt.AlreadySeated.selector, seats[0].node)
        );
        _courtFails(
            v.operator,
            abi.encodeCall(court.takeSeat, (9, v.node)),
            abi.encodeWithSelector(IRoundLedger.UnknownPool.selector, 9)
        );
        vm.prank(CREATOR);
        ledger.endPool(pool);
        _courtFails(v.operator, abi.encodeCall(court.takeSeat, (pool, v.node)), err(IRoundLedger.PoolHasEnded.selector));
    }

    function test_RevertWhen_AllPlacesAreTaken() public {
        for (uint256 i = 3; i < 256; ++i) {
            takeSeat(pool, party(1000 + i));
        }
        Party memory v = party(5000);
        register(v);
        stake(v.operator, 50 ether);
        bytes memory take = abi.encodeCall(court.takeSeat, (pool, v.node));
        _courtFails(v.operator, take, err(ICourt.TooManySeats.selector));
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
        _courtFails(
            STRANGER,
            abi.encodeCall(court.leaveSeat, (pool, 0)),
            abi.encodeWithSelector(ICourt.OnlyOperator.selector, seats[0].operator)
        );
        bytes memory release = abi.encodeCall(court.releaseSeat, (pool, 0));
        _courtFails(STRANGER, release, err(ICourt.NotLeft.selector));
        vm.expectEmit(address(court));
        emit ICourt.SeatLeft(pool, 0, 1);
        vm.prank(seats[0].node); // the node may, too
        court.leaveSeat(pool, 0);
        assertEq(court.liveSeats(pool), 2);
        _courtFails(seats[0].operator, abi.encodeCall(court.leaveSeat, (pool, 0)), err(ICourt.AlreadyDone.selector));
        _courtFails(STRANGER, release, abi.encodeWithSelector(ICourt.StillNeeded.selector, round));

        // it still judges the round that it was live in, and no later one
        judge(pool, round, seats, workers, fill(3, ICourt.Outcome.Accept));
        open(pool);
        assertEq(ledger.auditTerms(pool, 1).liveSeats, 2);
        assertEq(ledger.round(pool, 1).seats, 3);
        vm.expectEmit(address(court));
        emit ICourt.SeatReleased(pool, 0);
        court.releaseSeat(pool, 0);
        assertEq(stakes.account(seats[0].operator).locked, 0);
        _courtFails(STRANGER, release, abi.encodeWithSelector(ICourt.UnknownSeat.selector, 0));
        _courtFails(
            STRANGER, abi.encodeCall(court.leaveSeat, (pool, 3)), abi.encodeWithSelector(ICourt.UnknownSeat.selector, 3)
        );
        _courtFails(
            STRANGER, abi.encodeCall(court.seat, (pool, 3)), abi.encodeWithSelector(ICourt.UnknownSeat.selector, 3)
        );
        _courtFails(seats[0].node, abi.encodeCall(court.commitVerdicts, (pool, 1, SPEC)), err(ICourt.OnlySeat.selector));
    }

    function test_SeatThatLeavesBeforeTheFirstRoundNeverJudges() public {
        vm.prank(seats[2].operator);
        court.leaveSeat(pool, 2);
        uint256 round = play(pool, workers);
        _courtFails(
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
        _courtFails(v.node, abi.encodeCall(court.commitVerdicts, (pool, 0, SPEC)), err(ICourt.OnlySeat.selector));
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
        bytes32 seed = ledger.round(pool, round).seed;
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
            ledger.join(pool, workers[i].node, 1);
        }
        for (uint256 r; r < 12; ++r) {
            uint256 round = play(pool, workers);
            bytes32 seed = ledger.round(pool, round).seed;
            for (uint256 i; i < 3; ++i) {
                bool drawn = Hashes.auditDraw(seed, workers[i].node) < 3000;
                assertEq(court.isAudited(pool, round, workers[i].node), r < 2 || drawn);
            }
        }
    }

    function test_NothingIsAuditedBeforeTheSeedOrWithoutAReveal() public {
        open(pool);
        commit(pool, workers[0]);
        commit(pool, workers[1]);
        pass(101);
        reveal(pool, workers[0]);
        pass(51);
        ledger.sealReveals(pool);
        assertEq(court.isAudited(pool, 0, workers[0].node), false);
        assertEq(court.auditorsOf(pool, 0, workers[0].node).length, 0);
        capture(pool, 0);
        assertEq(court.isAudited(pool, 0, workers[0].node), true);
        assertEq(court.isAudited(pool, 0, workers[1].node), false); // committed only
        assertEq(court.isAudited(pool, 0, workers[2].node), false);
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
        assertEq(court.isAudited(pool, 0, workers[0].node), true);
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
        _courtFails(seats[0].node, commitIt, err(ICourt.AlreadyDone.selector));
        _courtFails(STRANGER, commitIt, err(ICourt.OnlySeat.selector));
        pass(100);
        vm.prank(seats[1].node);
        court.commitVerdicts(pool, round, SPEC);
        pass(1);
        _courtFails(seats[2].node, commitIt, err(ICourt.WrongPhase.selector));
        assertEq(court.verdictRound(pool, round).committed, 2);
    }

    function test_RevertWhen_CommittingBeforeTheSeed() public {
        open(pool);
        bytes memory commitIt = abi.encodeCall(court.commitVerdicts, (pool, 0, SPEC));
        _courtFails(seats[0].node, commitIt, err(ICourt.SeedMissing.selector));
        commit(pool, workers[0]);
        pass(101);
        reveal(pool, workers[0]);
        _courtFails(seats[0].node, commitIt, err(ICourt.SeedMissing.selector));
    }

    function test_CommitsEndEarlyAndRevealsEndTheRound() public {
        uint256 round = play(pool, workers);
        pass(10);
        for (uint256 i; i < 3; ++i) {
            commitVerdicts(pool, round, seats[i], _list(seats[i], round));
        }
        ICourt.VerdictRound memory r = court.verdictRound(pool, round);
        assertEq(r.commitDeadline, now_());
        assertEq(r.revealDeadline, now_() + 50);
        uint256 reserved = rewards.budget(pool).reserved;
        for (uint256 i; i < 3; ++i) {
            assertTrue(!court.isFinal(pool, round), "not yet");
            revealVerdicts(pool, round, seats[i], _list(seats[i], round));
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

    // ---------------------------------------------------------------------------------------------- reveal

    function test_RevealVerdicts() public {
        uint256 round = play(pool, workers);
        address drawn = court.auditorsOf(pool, round, workers[0].node)[0];
        Party memory v = drawn == seats[0].node ? seats[0] : drawn == seats[1].node ? seats[1] : seats[2];
        ICourt.Verdict[] memory list = _list(v, round);
        commitVerdicts(pool, round, v, list);
        _courtFails(v.node, _revealCall(round, list), err(ICourt.WrongPhase.selector)); // others may still commit
        pass(101);
        _courtFails(STRANGER, _revealCall(round, list), err(ICourt.OnlySeat.selector));
        _courtFails(
            v.node,
            abi.encodeCall(court.revealVerdicts, (pool, round, list, GENESIS)),
            err(ICourt.CommitmentMismatch.selector)
        );
        vm.expectEmit(address(court));
        emit ICourt.VerdictsRevealed(pool, round, v.node, list, list.length * 1 ether);
        vm.prank(v.node);
        court.revealVerdicts(pool, round, list, SPEC);
        assertEq(rewards.earned(v.operator), list.length * 1 ether);
        _courtFails(v.node, _revealCall(round, list), err(ICourt.AlreadyDone.selector));
        for (uint256 i; i < 3; ++i) {
            if (seats[i].node == v.node) continue;
            _courtFails(seats[i].node, _revealCall(round, _empty()), err(ICourt.CommitmentMismatch.selector));
        }
    }

    function test_RevertWhen_RevealingTooLate() public {
        uint256 round = play(pool, workers);
        ICourt.Verdict[] memory list = _list(seats[0], round);
        commitVerdicts(pool, round, seats[0], list);
        pass(150);
        assertTrue(court.isFinal(pool, round), "deadline");
        _courtFails(seats[0].node, _revealCall(round, list), err(ICourt.WrongPhase.selector));
    }

    /// A verdict list copied from another validator cannot be opened.
    function test_RevertWhen_VerdictsAreCopied() public {
        uint256 round = play(pool, workers);
        ICourt.Verdict[] memory list = _list(seats[0], round);
        bytes32 commitment = Hashes.verdicts(address(court), pool, round, seats[0].node, list, SPEC);
        vm.prank(seats[1].node);
        court.commitVerdicts(pool, round, commitment);
        pass(101);
        _courtFails(seats[1].node, _revealCall(round, list), err(ICourt.CommitmentMismatch.selector));
    }

    function _onlyRevealOf(ICourt.Verdict[] memory list, bytes memory expected) private {
        uint256 round = play(pool, workers);
        for (uint256 i; i < 3; ++i) {
            commitVerdicts(pool, round, seats[i], list);
        }
        _courtFails(seats[0].node, _revealCall(round, list), expected);
    }

    function test_RevertWhen_VerdictIsAboutAnUndrawnSlot() public {
        ICourt.Verdict[] memory list = new ICourt.Verdict[](1);
        list[0] = ICourt.Verdict(STRANGER, ICourt.Outcome.Mismatch, SPEC);
        _onlyRevealOf(list, abi.encodeWithSelector(ICourt.NotDrawn.selector, STRANGER));
    }

    function test_RevertWhen_VerdictHasNoOutcome() public {
        ICourt.Verdict[] memory list = new ICourt.Verdict[](1);
        list[0] = ICourt.Verdict(workers[0].node, ICourt.Outcome.None, SPEC);
        _onlyRevealOf(list, err(ICourt.BadOutcome.selector));
    }

    function test_RevertWhen_ThereAreTooManyVerdicts() public {
        _onlyRevealOf(new ICourt.Verdict[](65), err(ICourt.TooManyVerdicts.selector));
    }

    function test_RevertWhen_OneSlotIsJudgedTwice() public {
        uint256 round = play(pool, workers);
        address node = workers[0].node;
        address drawn = court.auditorsOf(pool, round, node)[0];
        ICourt.Verdict[] memory list = new ICourt.Verdict[](2);
        list[0] = ICourt.Verdict(node, ICourt.Outcome.Accept, SPEC);
        list[1] = ICourt.Verdict(node, ICourt.Outcome.Mismatch, SPEC);
        for (uint256 i; i < 3; ++i) {
            commitVerdicts(pool, round, seats[i], list);
        }
        _courtFails(drawn, _revealCall(round, list), abi.encodeWithSelector(ICourt.NotDrawn.selector, node));
    }

    function test_FeesStopWithTheBudget() public {
        PoolParams memory p = defaultParams();
        p.verdictBudget = 1;
        pool = createPool(p, 10_000 ether);
        for (uint256 i; i < 3; ++i) {
            stake(workers[i].operator, 100 ether);
            vm.prank(workers[i].operator);
            ledger.join(pool, workers[i].node, 1);
            stake(seats[i].operator, 50 ether);
            vm.prank(seats[i].operator);
            court.takeSeat(pool, seats[i].node);
        }
        uint256 round = play(pool, workers);
        judge(pool, round, seats, workers, fill(3, ICourt.Outcome.Accept));
        assertEq(court.verdictRound(pool, round).paid, 1);
        assertEq(rewards.budget(pool).credited, 1 ether);
    }

    // ---------------------------------------------------------------------------------------------- finality

    function test_FinalWhenNobodyCommits() public {
        uint256 round = play(pool, workers);
        pass(100);
        assertTrue(!court.isFinal(pool, round), "the deadline is in time");
        bytes memory releaseIt = abi.encodeCall(court.releaseVerdictReserve, (pool, round));
        _courtFails(STRANGER, releaseIt, abi.encodeWithSelector(ICourt.RoundNotFinal.selector, round));
        pass(1);
        assertTrue(court.isFinal(pool, round), "final");
        assertEq(court.releaseVerdictReserve(pool, round), 20 ether);
    }

    function test_VerdictRoundBeforeTheSealHasNoDeadlines() public {
        open(pool);
        assertEq(court.verdictRound(pool, 0).commitDeadline, 0);
        assertEq(court.verdictRound(pool, 0).revealDeadline, 0);
        assertTrue(!court.isFinal(pool, 0), "running");
    }
}
