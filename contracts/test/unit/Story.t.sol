// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IRoundLedger} from "../../src/interfaces/IRoundLedger.sol";
import {Base} from "../Base.sol";

/// @title Whole runs, from creation to refund.
contract StoryTest is Base {
    Party[] internal workers;
    Party[] internal seats;
    uint256 internal pool;

    function setUp() public override {
        super.setUp();
        pool = createPool(defaultParams(), 10_000 ether);
        for (uint256 i; i < 3; ++i) {
            workers.push(party(i));
            join(pool, workers[i], 1);
        }
        for (uint256 i; i < 4; ++i) {
            seats.push(party(100 + i));
            takeSeat(pool, seats[i]);
        }
    }

    function test_HonestRunPaysEveryoneAndRefundsTheRest() public {
        for (uint256 r; r < 40; ++r) {
            uint256 round = play(pool, workers);
            judge(pool, round, seats, workers, fill(3, ICourt.Outcome.Accept));
            assertTrue(court.isFinal(pool, round), "final");
        }
        assertEq(ledger.pool(pool).ended, true);
        assertEq(ledger.pool(pool).checkpointRoot, rootAfter(39));
        for (uint256 i; i < 3; ++i) {
            ledger.settle(pool, workers[i].node);
            assertEq(rewards.earned(workers[i].operator), 400 ether);
        }
        assertEq(rewards.budget(pool).reserved, 0);
        // 2 verdicts on each of 3 slots in each of 40 rounds
        assertEq(rewards.budget(pool).credited, 1200 ether + 240 ether);

        vm.prank(CREATOR);
        assertEq(rewards.refund(pool), 10_000 ether - 1440 ether);
        for (uint256 i; i < 3; ++i) {
            vm.startPrank(workers[i].operator);
            rewards.claim(workers[i].operator);
            ledger.leave(pool, workers[i].node);
            ledger.releaseLock(pool, workers[i].node);
            stakes.requestUnbond(100 ether);
            vm.stopPrank();
            pass(UNBONDING);
            vm.prank(workers[i].operator);
            stakes.withdraw();
            assertEq(token.balanceOf(workers[i].operator), 500 ether);
        }
    }

    function test_CheatIsConvictedAndPaysFinderAndTreasury() public {
        uint256 round = play(pool, workers);
        ICourt.Outcome[] memory outcomes = fill(3, ICourt.Outcome.Accept);
        outcomes[1] = ICourt.Outcome.Mismatch;
        judge(pool, round, seats, workers, outcomes);
        uint256 caseId = court.caseAbout(pool, round, workers[1].node);
        assertEq(caseId, 1);
        assertEq(stakes.account(workers[1].operator).openCases, 1);
        ICourt.Case memory c = court.caseOf(caseId);
        assertEq(c.jurors, 3);

        decide(caseId, seats, ICourt.Outcome.Mismatch);
        assertEq(court.caseOf(caseId).status, ICourt.CaseStatus.Convicted);
        assertEq(stakes.account(workers[1].operator).bonded, 20 ether);
        assertEq(stakes.account(workers[1].operator).openCases, 0);
        assertEq(stakes.seized(), 72 ether);
        assertEq(rewards.earned(TREASURY), 10 ether); // its pay
        assertEq(rewards.earned(workers[1].operator), 0);
        assertEq(ledger.member(pool, workers[1].node).convicted, true);
        assertEq(ledger.member(pool, workers[1].node).leftAt, 1);
        assertEq(ledger.pool(pool).members, 2);
    }

    function test_FalseAccusationCostsTheAccuser() public {
        uint256 round = play(pool, workers);
        ICourt.Outcome[] memory outcomes = fill(3, ICourt.Outcome.Accept);
        outcomes[0] = ICourt.Outcome.Withheld;
        judge(pool, round, seats, workers, outcomes);
        address accuser = registry.operatorOf(court.caseOf(1).accuser);
        decide(1, seats, ICourt.Outcome.Accept);
        assertEq(court.caseOf(1).status, ICourt.CaseStatus.Acquitted);
        assertEq(stakes.account(accuser).bonded, 30 ether);
        assertEq(stakes.seized(), 20 ether);
        assertEq(rewards.earned(workers[0].operator), 10 ether);
        assertEq(ledger.member(pool, workers[0].node).convicted, false);
        (IRoundLedger.RecordStatus status,,) = ledger.record(pool, round, workers[0].node);
        assertEq(status, IRoundLedger.RecordStatus.Settled);
    }
}
