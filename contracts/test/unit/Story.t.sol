// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {PoolParams} from "../../src/interfaces/IPools.sol";
import {IRoundLedger, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {Base} from "../Base.sol";

/// @title Whole runs, from creation to refund: at the end everybody has what is theirs, and the custodians hold nothing.
contract StoryTest is Base {
    uint256 internal constant ROUNDS = 20;
    uint256 internal constant BUDGET = 5000 ether;

    Party[] internal workers;
    Party[] internal seats;
    uint256 internal pool;

    function setUp() public override {
        super.setUp();
        PoolParams memory p = defaultParams();
        p.rounds = uint32(ROUNDS);
        pool = createPool(p, BUDGET);
        for (uint256 i; i < 3; ++i) {
            workers.push(party(i));
            join(pool, workers[i], 1);
        }
        for (uint256 i; i < 4; ++i) {
            seats.push(party(100 + i));
            takeSeat(pool, seats[i]);
        }
    }

    function _honest() private returns (uint256 round) {
        round = play(pool, workers);
        judge(pool, round, seats, workers, fill(3, ICourt.Outcome.Accept));
        assertTrue(court.isFinal(pool, round), "final");
    }

    /// @dev The last round: whoever is still in votes for the posted root.
    function _confirm() private {
        open(pool);
        uint256 round = running(pool);
        Party[] memory present = new Party[](3);
        Reveal[] memory votes = new Reveal[](3);
        uint256 n;
        for (uint256 i; i < 3; ++i) {
            uint16 width = ledger.member(pool, workers[i].node).width;
            if (width == 0) continue;
            present[n] = workers[i];
            votes[n].startRoot = ledger.round(pool, round).startRoot;
            votes[n++].width = width;
        }
        for (uint256 i; i < n; ++i) {
            bytes32 commitment = _hash(present[i], round, votes[i]);
            vm.prank(present[i].node);
            ledger.commit(pool, commitment);
        }
        for (uint256 i; i < n; ++i) {
            vm.prank(present[i].node);
            ledger.reveal(pool, votes[i], 0, "");
        }
        assertEq(ledger.pool(pool).ended, true);
    }

    function _hash(Party memory p, uint256 round, Reveal memory r) private view returns (bytes32) {
        return Hashes.commitment(address(ledger), pool, round, p.node, r);
    }

    /// @dev Everything that anybody can take out.
    function _everybodyGoes() private {
        pass(200);
        for (uint256 i; i < 3; ++i) {
            if (ledger.member(pool, workers[i].node).nextWidth != 0) {
                vm.prank(workers[i].operator);
                ledger.leave(pool, workers[i].node);
            }
            ledger.releaseLock(pool, workers[i].node);
        }
        for (uint256 i; i < 4; ++i) {
            vm.prank(seats[i].operator);
            court.leaveSeat(pool, i);
            court.releaseSeat(pool, i);
        }
        vm.prank(ORCHESTRATOR);
        ledger.releaseBond(pool);
        for (uint256 i; i < 3; ++i) {
            _request(workers[i].operator);
        }
        for (uint256 i; i < 4; ++i) {
            _request(seats[i].operator);
        }
        _request(ORCHESTRATOR);
        pass(UNBONDING);
        for (uint256 i; i < 3; ++i) {
            _withdraw(workers[i].operator);
        }
        for (uint256 i; i < 4; ++i) {
            _withdraw(seats[i].operator);
        }
        _withdraw(ORCHESTRATOR);
        if (stakes.seized() != 0) stakes.payTreasury();
        if (rewards.earned(TREASURY) != 0) {
            vm.prank(TREASURY);
            rewards.claim(TREASURY);
        }
        for (uint256 r = ROUNDS - 15; r < ledger.pool(pool).nextRound; ++r) {
            court.releaseVerdictReserve(pool, r);
        }
        vm.prank(CREATOR);
        rewards.refund(pool);
        assertEq(token.balanceOf(address(stakes)), 0);
        assertEq(token.balanceOf(address(rewards)), 0);
        assertEq(stakes.totalBonded() + stakes.totalUnbonding(), 0);
    }

    function _request(address operator) private {
        assertEq(stakes.account(operator).locked, 0);
        uint256 bonded = stakes.account(operator).bonded;
        vm.startPrank(operator);
        if (bonded != 0) stakes.requestUnbond(bonded);
        if (rewards.earned(operator) != 0) rewards.claim(operator);
        vm.stopPrank();
    }

    function _withdraw(address operator) private {
        if (stakes.account(operator).unbonding == 0) return;
        vm.prank(operator);
        stakes.withdraw();
    }

    function test_HonestRunPaysEveryoneAndRefundsTheRest() public {
        for (uint256 r; r < ROUNDS; ++r) {
            _honest();
        }
        assertEq(ledger.pool(pool).last, true);
        _confirm();
        assertEq(ledger.pool(pool).checkpointRoot, rootAfter(ROUNDS - 1));
        _everybodyGoes();

        for (uint256 i; i < 3; ++i) {
            assertEq(token.balanceOf(workers[i].operator), 100 ether + ROUNDS * 10 ether);
        }
        // Two verdicts on each of three slots in each round.
        uint256 fees;
        for (uint256 i; i < 4; ++i) {
            fees += token.balanceOf(seats[i].operator) - 50 ether;
        }
        assertEq(fees, ROUNDS * 6 ether);
        assertEq(token.balanceOf(ORCHESTRATOR), 40 ether);
        assertEq(token.balanceOf(TREASURY), 0);
        assertEq(token.balanceOf(CREATOR), BUDGET - ROUNDS * 36 ether);
    }

    function test_CheatIsConvictedAndPaysFinderAndTreasury() public {
        uint256 round = play(pool, workers);
        ICourt.Outcome[] memory outcomes = fill(3, ICourt.Outcome.Accept);
        outcomes[1] = ICourt.Outcome.Mismatch;
        judge(pool, round, seats, workers, outcomes);
        uint256 caseId = court.caseAbout(pool, round, workers[1].node);
        assertEq(caseId, 1);
        assertEq(stakes.account(workers[1].operator).openCases, 1);
        assertEq(court.caseOf(caseId).jurors, 3);
        address finder = registry.operatorOf(court.caseOf(caseId).accuser);

        decide(caseId, seats, ICourt.Outcome.Mismatch);
        assertEq(court.caseOf(caseId).status, ICourt.CaseStatus.Convicted);
        assertEq(stakes.account(workers[1].operator).bonded, 20 ether);
        assertEq(stakes.account(workers[1].operator).openCases, 0);
        assertEq(stakes.account(finder).bonded, 58 ether);
        assertEq(stakes.seized(), 72 ether);
        assertEq(ledger.member(pool, workers[1].node).convicted, true);
        assertEq(ledger.member(pool, workers[1].node).leftAt, 1);
        assertEq(ledger.pool(pool).members, 2);

        // The run goes on without the cheat, and ends as any other.
        Party[] memory rest = new Party[](2);
        (rest[0], rest[1]) = (workers[0], workers[2]);
        for (uint256 r = 1; r < ROUNDS; ++r) {
            round = play(pool, rest);
            judge(pool, round, seats, rest, fill(2, ICourt.Outcome.Accept));
        }
        _confirm();
        _everybodyGoes();
        assertEq(token.balanceOf(workers[0].operator), 100 ether + ROUNDS * 10 ether);
        assertEq(token.balanceOf(workers[1].operator), 20 ether);
        assertEq(token.balanceOf(TREASURY), 72 ether + 10 ether); // of the stake, and the pay
        // 6 verdicts and 3 votes in the first round, 4 verdicts in every later one.
        uint256 fees = 9 ether + (ROUNDS - 1) * 4 ether;
        assertEq(token.balanceOf(CREATOR), BUDGET - ROUNDS * 20 ether - 10 ether - fees);
    }

    function test_FalseAccusationCostsTheAccuser() public {
        uint256 round = play(pool, workers);
        ICourt.Outcome[] memory outcomes = fill(3, ICourt.Outcome.Accept);
        outcomes[0] = ICourt.Outcome.Mismatch;
        judge(pool, round, seats, workers, outcomes);
        address accuser = registry.operatorOf(court.caseOf(1).accuser);
        decide(1, seats, ICourt.Outcome.Accept);
        assertEq(court.caseOf(1).status, ICourt.CaseStatus.Acquitted);
        assertEq(stakes.account(accuser).bonded, 30 ether);
        assertEq(stakes.seized(), 20 ether);
        assertEq(ledger.member(pool, workers[0].node).convicted, false);
        (IRoundLedger.RecordStatus status,,) = ledger.record(pool, round, workers[0].node);
        assertEq(status, IRoundLedger.RecordStatus.Revealed);

        for (uint256 r = 1; r < ROUNDS; ++r) {
            _honest();
        }
        _confirm();
        _everybodyGoes();
        for (uint256 i; i < 3; ++i) {
            assertEq(token.balanceOf(workers[i].operator), 100 ether + ROUNDS * 10 ether);
        }
        assertEq(token.balanceOf(TREASURY), 20 ether);
    }
}
