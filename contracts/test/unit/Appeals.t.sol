// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {PoolParams} from "../../src/interfaces/IPools.sol";
import {CourtBase} from "./CourtBase.sol";

/// @title From a jury to a larger one: one seat, three, then all five that are no party.
contract AppealsTest is CourtBase {
    function setUp() public override {
        super.setUp();
        PoolParams memory p = defaultParams();
        p.jurySize = 1;
        setUpPool(p, 6);
    }

    function _bond(address operator, uint256 caseId, uint256 level) private view returns (uint256) {
        return stakes.lockOf(operator, court.appealLockId(caseId, level));
    }

    function _appeal(uint256 caseId) private view returns (bytes memory) {
        return abi.encodeCall(court.appeal, (caseId));
    }

    // ---------------------------------------------------------------------------------------------- without an appeal

    function test_OutcomeWaitsForAnAppeal() public {
        (, uint256 caseId) = accuse();
        assertEq(court.caseOf(caseId).jurors, 1);
        address juror = court.juryOf(caseId)[0];
        commitVote(caseId, seatOf(juror), ICourt.Outcome.Withheld);
        revealVote(caseId, seatOf(juror), ICourt.Outcome.Withheld);
        vm.expectEmit(address(court));
        emit ICourt.CaseDecided(caseId, 0, true, uint64(now_() + 20));
        court.resolveCase(caseId);
        ICourt.Case memory c = court.caseOf(caseId);
        assertEq(c.status, ICourt.CaseStatus.Decided);
        assertEq(c.guiltyOutcome, true);
        assertEq(c.appealDeadline, now_() + 20);
        assertEq(court.openCases(pool), 1);
        assertEq(stakes.account(accused.operator).openCases, 1);
        bytes memory resolve = abi.encodeCall(court.resolveCase, (caseId));
        courtFails(STRANGER, resolve, err(ICourt.WrongPhase.selector));
        pass(20);
        courtFails(STRANGER, resolve, err(ICourt.WrongPhase.selector));
        pass(1);
        courtFails(accused.operator, _appeal(caseId), err(ICourt.WrongPhase.selector));
        court.resolveCase(caseId);
        expectStatus(caseId, ICourt.CaseStatus.Convicted);
        assertEq(court.caseOf(caseId).appealDeadline, 0);
        assertEq(court.openCases(pool), 0);
        courtFails(STRANGER, resolve, err(ICourt.WrongPhase.selector));
        courtFails(accused.operator, _appeal(caseId), err(ICourt.NoAppeal.selector));
    }

    function test_RevertWhen_ThereIsNothingToAppealAgainst() public {
        (, uint256 caseId) = accuse();
        courtFails(accused.operator, _appeal(caseId), err(ICourt.WrongPhase.selector)); // the jury is out
        courtFails(STRANGER, _appeal(9), abi.encodeWithSelector(ICourt.UnknownCase.selector, 9));
        vote(caseId, 1, 0);
        courtFails(STRANGER, _appeal(caseId), err(ICourt.NoAppeal.selector));
        courtFails(accuserOf(caseId).operator, _appeal(caseId), err(ICourt.NoAppeal.selector)); // who won
        courtFails(accused.node, _appeal(caseId), err(ICourt.NoAppeal.selector));
        courtFails(
            accused.operator,
            _appeal(caseId),
            abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 0, 10 ether)
        );
    }

    // ---------------------------------------------------------------------------------------------- with appeals

    function test_AppealDrawsALargerJury() public {
        (, uint256 caseId) = accuse();
        address first = court.juryOf(caseId)[0];
        vote(caseId, 1, 0);
        appealFor(caseId, accused.operator);
        assertEq(_bond(accused.operator, caseId, 0), 10 ether);
        ICourt.Case memory c = court.caseOf(caseId);
        assertEq(c.status, ICourt.CaseStatus.Open);
        assertEq(c.level, 1);
        assertEq(c.jurors, 3);
        assertEq(uint256(c.committed) + c.guilty + c.innocent, 0);
        assertEq(c.appealDeadline, 0);
        assertEq(c.commitDeadline, now_() + 100);
        address[] memory jury = court.juryOf(caseId);
        for (uint256 i; i < 3; ++i) {
            assertTrue(jury[i] != c.accuser && jury[i] != jury[(i + 1) % 3], "juror");
        }
        // who was on the first jury and is not on this one has no vote here
        if (jury[0] != first && jury[1] != first && jury[2] != first) {
            courtFails(
                first,
                abi.encodeCall(court.commitVote, (caseId, SPEC)),
                abi.encodeWithSelector(ICourt.NotJuror.selector, first)
            );
        }
    }

    /// A vote counts before the jury that it was meant for.
    function test_JurorOfTwoLevelsVotesTwice() public {
        (, uint256 caseId) = accuse();
        Party memory juror = seatOf(court.juryOf(caseId)[0]);
        vote(caseId, 1, 0);
        appealFor(caseId, accused.operator);
        vote(caseId, 2, 0);
        appealFor(caseId, accused.operator);
        assertEq(court.caseOf(caseId).jurors, 5); // it is among them
        bytes memory open_0 = abi.encodeCall(court.revealVote, (caseId, ICourt.Outcome.Mismatch, GENESIS, SPEC));
        pass(101);
        courtFails(juror.node, open_0, err(ICourt.CommitmentMismatch.selector));
    }

    function test_WonAppealFreesItsBond() public {
        (, uint256 caseId) = accuse();
        vote(caseId, 1, 0);
        appealFor(caseId, accused.operator);
        vote(caseId, 1, 2);
        assertEq(court.caseOf(caseId).guiltyOutcome, false);
        assertEq(_bond(accused.operator, caseId, 0), 10 ether); // the accuser may appeal yet
        pass(21);
        vm.expectEmit(address(court));
        emit ICourt.AppealEnded(caseId, accused.operator, true);
        court.resolveCase(caseId);
        expectStatus(caseId, ICourt.CaseStatus.Acquitted);
        assertEq(_bond(accused.operator, caseId, 0), 0);
        assertEq(stakes.account(accused.operator).bonded, 210 ether);
        assertEq(stakes.account(accused.operator).locked, 200 ether);
        assertEq(stakes.account(accuserOf(caseId).operator).bonded, 30 ether);
        assertEq(stakes.seized(), 20 ether);
    }

    function test_LostAppealsCostTheirBonds() public {
        (, uint256 caseId) = accuse();
        vote(caseId, 1, 0);
        appealFor(caseId, accused.operator);
        vote(caseId, 3, 0);
        appealFor(caseId, accused.operator);
        assertEq(court.caseOf(caseId).level, 2);
        assertEq(court.juryOf(caseId).length, 5);
        vote(caseId, 4, 1); // the largest jury: at once
        expectStatus(caseId, ICourt.CaseStatus.Convicted);
        assertEq(_bond(accused.operator, caseId, 0) + _bond(accused.operator, caseId, 1), 0);
        assertEq(stakes.account(accused.operator).bonded, 40 ether); // 220 - 2 * 10 - 2 * 80
        assertEq(stakes.seized(), 20 ether + 144 ether);
        courtFails(accused.operator, _appeal(caseId), err(ICourt.NoAppeal.selector));
    }

    function test_BothSidesAppeal() public {
        (, uint256 caseId) = accuse();
        address accuser = accuserOf(caseId).operator;
        vote(caseId, 1, 0);
        appealFor(caseId, accused.operator);
        vote(caseId, 0, 3);
        courtFails(accused.operator, _appeal(caseId), err(ICourt.NoAppeal.selector));
        stake(accuser, 10 ether);
        vm.prank(accuser);
        court.appeal(caseId);
        assertEq(_bond(accuser, caseId, 1), 10 ether);
        vote(caseId, 5, 0);
        expectStatus(caseId, ICourt.CaseStatus.Convicted);
        assertEq(_bond(accuser, caseId, 1), 0);
        assertEq(stakes.account(accuser).bonded, 50 ether + 10 ether + 16 ether); // bond free, finder's fee
        assertEq(stakes.account(accused.operator).bonded, 40 ether); // 210 - 10 - 160
    }

    /// The accuser loses first, appeals and loses again.
    function test_AccuserAppealsInVain() public {
        (, uint256 caseId) = accuse();
        address accuser = accuserOf(caseId).operator;
        vote(caseId, 0, 1);
        stake(accuser, 10 ether);
        vm.expectEmit(address(stakes));
        emit IStakeManager.Locked(accuser, court.appealLockId(caseId, 0), 10 ether);
        vm.prank(accuser);
        court.appeal(caseId);
        vote(caseId, 0, 3);
        pass(21);
        vm.expectEmit(address(court));
        emit ICourt.AppealEnded(caseId, accuser, false);
        court.resolveCase(caseId);
        assertEq(stakes.account(accuser).bonded, 30 ether);
        assertEq(stakes.seized(), 30 ether);
    }

    function test_HungAtTheEndFreesAllBonds() public {
        (, uint256 caseId) = accuse();
        vote(caseId, 1, 0);
        appealFor(caseId, accused.operator);
        vote(caseId, 2, 0);
        appealFor(caseId, accused.operator);
        vote(caseId, 3, 2);
        expectStatus(caseId, ICourt.CaseStatus.Hung);
        assertEq(stakes.seized(), 0);
        assertEq(stakes.account(accused.operator).locked, 200 ether);
        settleLater(pool, accused.node);
        assertEq(rewards.earned(accused.operator), 20 ether);
    }

    function test_AppealedAndHungGoesOnByItself() public {
        (, uint256 caseId) = accuse();
        vote(caseId, 1, 0);
        appealFor(caseId, accused.operator);
        vote(caseId, 1, 1);
        assertEq(court.caseOf(caseId).level, 2);
        vote(caseId, 0, 4); // four of five
        expectStatus(caseId, ICourt.CaseStatus.Acquitted);
        assertEq(stakes.account(accused.operator).bonded, 210 ether);
        assertEq(stakes.account(accused.operator).locked, 200 ether);
    }

    // ---------------------------------------------------------------------------------------------- juries

    function test_HungThroughAllLevels() public {
        (, uint256 caseId) = accuse();
        for (uint256 level; level < 3; ++level) {
            assertEq(court.caseOf(caseId).level, level);
            assertEq(court.caseOf(caseId).jurors, level == 0 ? 1 : level == 1 ? 3 : 5);
            pass(151);
            if (level < 2) {
                more.expectEmit(true, true, true, false, address(court));
                emit ICourt.CaseEscalated(caseId, uint8(level + 1), address(0), new address[](0));
            }
            court.resolveCase(caseId);
        }
        expectStatus(caseId, ICourt.CaseStatus.Hung);
    }

    function test_NoPartyOnAnyJury() public {
        Party memory own = party(300);
        own.operator = accused.operator;
        takeSeat(pool, own);
        Party memory friend = party(301);
        friend.operator = seats[0].operator; // of one who may accuse
        takeSeat(pool, friend);
        seats.push(own);
        seats.push(friend);
        (, uint256 caseId) = accuse();
        address accuser = accuserOf(caseId).operator;
        while (status(caseId) == ICourt.CaseStatus.Open) {
            address[] memory jury = court.juryOf(caseId);
            for (uint256 i; i < jury.length; ++i) {
                address operator = seatOf(jury[i]).operator;
                assertTrue(operator != accused.operator && operator != accuser, "party");
            }
            pass(151);
            court.resolveCase(caseId);
        }
        assertEq(court.caseOf(caseId).jurors, accuser == seats[0].operator ? 5 : 6);
    }

    /// Seats that left after the round judge its cases; seats that came after it do not.
    function test_JuryOfTheRoundsSeats() public {
        (, uint256 caseId) = accuse();
        open(pool);
        for (uint256 i; i < 6; ++i) {
            vm.prank(seats[i].operator);
            court.leaveSeat(pool, i);
        }
        takeSeat(pool, party(200));
        vote(caseId, 1, 0);
        appealFor(caseId, accused.operator);
        vote(caseId, 3, 0);
        appealFor(caseId, accused.operator);
        assertEq(court.caseOf(caseId).jurors, 5);
        vote(caseId, 5, 0);
        expectStatus(caseId, ICourt.CaseStatus.Convicted);
    }

    /// Without larger juries to go to, the first outcome is the last.
    function test_LargestJuryDecidesAtOnce() public {
        PoolParams memory p = defaultParams();
        p.jurySize = 5;
        delete workers;
        delete seats;
        pool = createPool(p, 10_000 ether);
        for (uint256 i; i < 3; ++i) {
            workers.push(party(20 + i));
            join(pool, workers[i], uint16(1 + i % 2));
        }
        accused = workers[1];
        for (uint256 i; i < 6; ++i) {
            seats.push(party(120 + i));
            takeSeat(pool, seats[i]);
        }
        (, uint256 caseId) = accuse();
        vote(caseId, 4, 1);
        expectStatus(caseId, ICourt.CaseStatus.Convicted);
    }

    /// A worker may answer by serving the jury: then the accuser lost less than a liar does.
    function test_FalseWithheldCostsAnOverturnedVerdict() public {
        (, uint256 caseId) = accuse(ICourt.Outcome.Withheld);
        end(caseId, ICourt.Outcome.Accept);
        expectStatus(caseId, ICourt.CaseStatus.Acquitted);
        assertEq(stakes.account(accuserOf(caseId).operator).bonded, 47 ether);
    }
}
