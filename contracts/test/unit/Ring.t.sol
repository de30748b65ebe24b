// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IRoundLedger} from "../../src/interfaces/IRoundLedger.sol";
import {CourtBase} from "./CourtBase.sol";

/// @title Rounds that share a place in the ring, and cases that are older than it.
contract RingTest is CourtBase {
    function setUp() public override {
        super.setUp();
        setUpPool(defaultParams(), 5);
    }

    // ---------------------------------------------------------------------------------------------- commitments

    function _reveal(uint256 round) private {
        for (uint256 i; i < seats.length; ++i) {
            revealVerdicts(pool, round, seats[i], list(seats[i], round));
        }
    }

    function _commit(uint256 round) private {
        for (uint256 i; i < seats.length; ++i) {
            commitVerdicts(pool, round, seats[i], list(seats[i], round));
        }
    }

    /// The next round's verdicts are committed before those of the last one are opened.
    function test_CommitmentsMayOverlap() public {
        uint256 first = play(pool, workers);
        _commit(first);
        uint256 second = play(pool, workers);
        _commit(second);
        _reveal(first);
        for (uint256 i; i < seats.length; ++i) {
            courtFails(seats[i].node, revealCall(first, list(seats[i], first)), err(ICourt.AlreadyDone.selector));
        }
        _reveal(second);
        assertTrue(court.isFinal(pool, first) && court.isFinal(pool, second), "final");
        assertEq(court.verdictRound(pool, first).revealed, 5);
    }

    function test_CommitmentsMayComeInAnyOrder() public {
        uint256 first = play(pool, workers);
        uint256 second = play(pool, workers);
        for (uint256 i; i < 4; ++i) {
            commitVerdicts(pool, second, seats[i], list(seats[i], second));
            commitVerdicts(pool, first, seats[i], list(seats[i], first));
            courtFails(
                seats[i].node,
                abi.encodeCall(court.commitVerdicts, (pool, first, SPEC)),
                err(ICourt.AlreadyDone.selector)
            );
            courtFails(
                seats[i].node,
                abi.encodeCall(court.commitVerdicts, (pool, second, SPEC)),
                err(ICourt.AlreadyDone.selector)
            );
        }
        pass(101);
        for (uint256 i; i < 4; ++i) {
            revealVerdicts(pool, first, seats[i], list(seats[i], first));
            if (i == 0) {
                courtFails(seats[0].node, revealCall(first, list(seats[0], first)), err(ICourt.AlreadyDone.selector));
            }
            revealVerdicts(pool, second, seats[i], list(seats[i], second));
        }
        assertTrue(court.isFinal(pool, first) && court.isFinal(pool, second), "final");
    }

    /// Whoever is silent about one round loses nothing about the next.
    function test_AnUnopenedCommitmentDoesNotStandInTheWay() public {
        uint256 first = play(pool, workers);
        _commit(first);
        pass(50);
        uint256 second = play(pool, workers);
        _commit(second);
        _reveal(second);
        courtFails(seats[0].node, revealCall(first, list(seats[0], first)), err(ICourt.WrongPhase.selector));
        assertEq(court.verdictRound(pool, second).revealed, 5);
    }

    // ---------------------------------------------------------------------------------------------- places

    function test_PlacesAreReused() public {
        for (uint256 i; i < 34; ++i) {
            uint256 round = play(pool, workers);
            accept(round);
            assertEq(court.verdictRound(pool, round).revealed, 5);
            if (round < 16) continue;
            assertTrue(court.isFinal(pool, round - 16), "out of the ring");
            assertEq(court.verdictRound(pool, round - 16).committed, 0); // without a trace
            assertEq(court.releaseVerdictReserve(pool, round - 16), 0);
            courtFails(
                STRANGER, abi.encodeCall(court.reportAbsence, (pool, round - 16, 0)), err(ICourt.NotAbsent.selector)
            );
        }
        // nothing but the running slots is reserved
        for (uint256 i; i < 3; ++i) {
            settleLater(pool, workers[i].node);
        }
        assertEq(rewards.budget(pool).reserved, 0);
    }

    // ---------------------------------------------------------------------------------------------- long cases

    /// @dev A case that is open while its round leaves the ring and the accused goes on working.
    function _outlived() private returns (uint256 caseId) {
        (, caseId) = accuse();
        for (uint256 i; i < 16; ++i) {
            uint256 round = play(pool, workers);
            judge(pool, round, seats, workers, fill(3, ICourt.Outcome.Accept));
        }
        (IRoundLedger.RecordStatus status_,,) = ledger.record(pool, 0, accused.node);
        assertEq(status_, IRoundLedger.RecordStatus.None); // its place was taken
        assertEq(rewards.earned(accused.operator), 0);
    }

    function test_CaseThatOutlivesTheRingPaysAfterAnAcquittal() public {
        uint256 caseId = _outlived();
        end(caseId, ICourt.Outcome.Accept);
        assertEq(rewards.earned(accused.operator), 20 ether);
        settleLater(pool, accused.node);
        assertEq(rewards.earned(accused.operator), 17 * 20 ether);
    }

    function test_CaseThatOutlivesTheRingForfeitsAfterAConviction() public {
        uint256 caseId = _outlived();
        end(caseId, ICourt.Outcome.Mismatch);
        settleLater(pool, accused.node);
        assertEq(rewards.earned(accused.operator), 0);
        assertEq(rewards.earned(TREASURY), 17 * 20 ether);
    }

    /// An excluded slot that is contested and acquitted stays unpaid, in the ring and after it.
    function test_ExcludedSlotIsNotPaidByAnAcquittal() public {
        open(pool);
        for (uint256 i; i < 3; ++i) {
            commit(pool, workers[i]);
        }
        for (uint256 i; i < 3; ++i) {
            reveal(pool, workers[i]);
        }
        capture(pool, 0);
        judge(pool, 0, seats, workers, outcomes(ICourt.Outcome.Mismatch)); // contested before the close
        IRoundLedger.Exclusion[] memory ex = new IRoundLedger.Exclusion[](1);
        ex[0] = IRoundLedger.Exclusion(accused.node, 3);
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(pool, SPEC, 0, ex);
        for (uint256 i; i < 16; ++i) {
            uint256 round = play(pool, workers);
            judge(pool, round, seats, workers, fill(3, ICourt.Outcome.Accept));
        }
        end(1, ICourt.Outcome.Accept);
        assertEq(rewards.earned(accused.operator), 0);
    }

    /// All that a case needs of its round survives: the seed for further juries, the fees, the reserve.
    function test_CaseThatOutlivesTheRingGoesThroughItsJuries() public {
        uint256 caseId = _outlived();
        assertEq(court.openCases(pool), 1);
        ICourt.VerdictRound memory r = court.verdictRound(pool, 0);
        assertTrue(r.seed != 0, "seed");
        assertEq(r.openCases, 1);
        assertEq(r.paid, 6);
        assertEq(court.releaseVerdictReserve(pool, 0), 0); // the case is open
        uint256 reserved = rewards.budget(pool).reserved;
        decide(caseId, seats, ICourt.Outcome.Mismatch);
        appealFor(caseId, accused.operator);
        assertEq(court.caseOf(caseId).jurors, 4);
        decide(caseId, seats, ICourt.Outcome.Accept);
        expectStatus(caseId, ICourt.CaseStatus.Acquitted);
        assertEq(court.openCases(pool), 0);
        assertEq(court.verdictRound(pool, 0).paid, 6 + 3 + 4);
        // 20 were reserved, 6 paid before, 7 votes now, the other 7 released; and the contested slots are paid
        assertEq(rewards.budget(pool).reserved, reserved - 14 ether - 20 ether);
        assertEq(court.releaseVerdictReserve(pool, 0), 0); // once
    }

    function test_SeatWaitsForCasesThatAreOutOfTheRing() public {
        uint256 caseId = _outlived();
        vm.prank(seats[0].operator);
        court.leaveSeat(pool, 0);
        pass(100);
        bytes memory release = abi.encodeCall(court.releaseSeat, (pool, 0));
        courtFails(STRANGER, release, abi.encodeWithSelector(ICourt.StillNeeded.selector, 17));
        hang(caseId);
        pass(19);
        courtFails(STRANGER, release, abi.encodeWithSelector(ICourt.StillNeeded.selector, 17));
        pass(1);
        court.releaseSeat(pool, 0);
    }

    /// Two cases about one round end apart; the second one ends the wait.
    function test_TwoCasesOfOneDisplacedRound() public {
        uint256 round = play(pool, workers);
        judge(pool, round, seats, workers, fill(3, ICourt.Outcome.Mismatch));
        assertEq(court.openCases(pool), 3);
        for (uint256 i; i < 16; ++i) {
            accept(play(pool, workers));
        }
        assertEq(court.openCases(pool), 3);
        for (uint256 caseId = 1; caseId <= 3; ++caseId) {
            end(caseId, ICourt.Outcome.Accept);
            assertEq(court.openCases(pool), 3 - caseId);
        }
        assertEq(court.verdictRound(pool, round).paid, 15);
    }
}
