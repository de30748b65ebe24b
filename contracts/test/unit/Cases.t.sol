// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IRoundLedger} from "../../src/interfaces/IRoundLedger.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {CourtBase} from "./CourtBase.sol";

/// @title From an accusation to its end.
contract CasesTest is CourtBase {
    function setUp() public override {
        super.setUp();
        setUpPool(defaultParams(), 5);
    }

    function _status(uint256 round) private view returns (IRoundLedger.RecordStatus status) {
        (status,,) = ledger.record(pool, round, accused.node);
    }

    function test_AccusationOpensOneCase() public {
        (uint256 round, uint256 caseId) = accuse();
        assertEq(caseId, 1);
        assertEq(court.caseCount(), 1); // both auditors accused, one case
        ICourt.Case memory c = court.caseOf(1);
        assertEq(c.poolId, pool);
        assertEq(c.round, round);
        assertEq(c.node, accused.node);
        assertEq(c.operator, accused.operator);
        assertEq(c.width, 2);
        assertEq(uint256(c.fault), uint256(ICourt.Outcome.Mismatch));
        assertEq(c.status, ICourt.CaseStatus.Open);
        assertEq(c.commitDeadline, now_() + 100);
        assertEq(c.revealDeadline, now_() + 150);
        assertEq(_status(round), IRoundLedger.RecordStatus.Contested);
        assertEq(stakes.account(accused.operator).openCases, 1);
        assertEq(ledger.settle(pool, accused.node), 0); // its pay waits
    }

    function test_JuryIsDrawnFromNeitherParty() public {
        Party memory own = party(300);
        own.operator = accused.operator;
        takeSeat(pool, own);
        seats.push(own);
        (uint256 round, uint256 caseId) = accuse();
        address accuser = court.caseOf(caseId).accuser;
        address[] memory jury = court.juryOf(caseId);
        assertEq(jury.length, 3);
        for (uint256 i; i < 3; ++i) {
            assertTrue(jury[i] != own.node && jury[i] != accuser, "party");
            assertTrue(jury[i] != jury[(i + 1) % 3], "twice");
        }
        // one of them is where the first draw points, or the next eligible
        uint256 place = Hashes.jurorDraw(court.verdictRound(pool, round).seed, caseId, 0, 6);
        while (seats[place].node == accuser || seats[place].node == own.node) place = (place + 1) % 6;
        address first = seats[place].node;
        assertTrue(jury[0] == first || jury[1] == first || jury[2] == first, "first draw");
    }

    function test_Conviction() public {
        (uint256 round, uint256 caseId) = accuse();
        address finder = seatOf(court.caseOf(caseId).accuser).operator;
        end(caseId, ICourt.Outcome.Withheld); // convicts, whatever the fault's name
        assertEq(court.caseOf(caseId).status, ICourt.CaseStatus.Convicted);
        assertEq(court.caseOf(caseId).guilty, 3);
        assertEq(stakes.account(accused.operator).bonded, 40 ether); // 200 - 2 * 80
        assertEq(stakes.account(finder).bonded, 50 ether + 16 ether);
        assertEq(stakes.seized(), 144 ether);
        assertEq(stakes.account(accused.operator).openCases, 0);
        assertEq(_status(round), IRoundLedger.RecordStatus.Revealed);
        settleLater(pool, accused.node);
        assertEq(rewards.earned(TREASURY), 20 ether);
        assertEq(rewards.earned(accused.operator), 0);
        assertEq(rewards.earned(CREATOR), 0); // the creator gains nothing
        IRoundLedger.Member memory m = ledger.member(pool, accused.node);
        assertEq(m.convicted, true);
        assertEq(m.leftAt, 1);
        courtFails(STRANGER, abi.encodeCall(court.resolveCase, (caseId)), err(ICourt.WrongPhase.selector));
    }

    /// A convicted node gets the rest of its lock back, and never joins this pool again.
    function test_ConvictedNodeIsOutForGood() public {
        (, uint256 caseId) = accuse();
        fails(
            STRANGER,
            address(ledger),
            abi.encodeCall(ledger.releaseLock, (pool, accused.node)),
            err(IRoundLedger.StillLocked.selector)
        );
        end(caseId, ICourt.Outcome.Mismatch);
        ledger.releaseLock(pool, accused.node);
        assertEq(stakes.account(accused.operator).locked, 0);
        stake(accused.operator, 100 ether);
        fails(
            accused.operator,
            address(pools),
            abi.encodeCall(pools.join, (pool, accused.node, 1, open_())),
            abi.encodeWithSelector(IRoundLedger.NodeConvicted.selector, accused.node)
        );
    }

    function test_LockStaysWhileACaseIsOpen() public {
        (, uint256 caseId) = accuse();
        vm.prank(accused.operator);
        ledger.leave(pool, accused.node);
        pass(1000);
        fails(
            STRANGER,
            address(ledger),
            abi.encodeCall(ledger.releaseLock, (pool, accused.node)),
            err(IRoundLedger.StillLocked.selector)
        );
        hang(caseId); // nobody voted
        ledger.releaseLock(pool, accused.node);
    }

    function test_ConvictionForfeitsThisAndLaterPayOnly() public {
        uint256 clean = play(pool, workers);
        judge(pool, clean, seats, workers, fill(3, ICourt.Outcome.Accept));
        (, uint256 caseId) = accuse();
        uint256 later = play(pool, workers);
        judge(pool, later, seats, workers, fill(3, ICourt.Outcome.Accept));
        end(caseId, ICourt.Outcome.Mismatch);
        settleLater(pool, accused.node);
        assertEq(rewards.earned(accused.operator), 20 ether); // the clean round
        assertEq(rewards.earned(TREASURY), 40 ether);
    }

    function test_ConvictedInTheCommitPhaseIsNotWaitedFor() public {
        (, uint256 caseId) = accuse();
        open(pool);
        commit(pool, workers[0]);
        commit(pool, workers[2]);
        end(caseId, ICourt.Outcome.Mismatch);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Reveal);
        assertEq(ledger.round(pool, 1).expected, 2);
    }

    function test_SecondConvictionTakesWhatIsLeft() public {
        (, uint256 first) = accuse();
        uint256 round = play(pool, workers);
        judge(pool, round, seats, workers, outcomes(ICourt.Outcome.Withheld));
        uint256 second = court.caseAbout(pool, round, accused.node);
        end(second, ICourt.Outcome.Mismatch);
        end(first, ICourt.Outcome.Mismatch);
        assertEq(stakes.account(accused.operator).bonded, 0);
        settleLater(pool, accused.node);
        assertEq(rewards.earned(TREASURY), 40 ether);
        assertEq(ledger.pool(pool).members, 2);
        assertEq(ledger.pool(pool).memberSlots, 2);
    }

    function test_AcquittalCostsTheAccuserAndPaysTheSlot() public {
        (uint256 round, uint256 caseId) = accuse();
        address accuser = court.caseOf(caseId).accuser;
        end(caseId, ICourt.Outcome.Accept);
        assertEq(court.caseOf(caseId).status, ICourt.CaseStatus.Acquitted);
        assertEq(stakes.account(seatOf(accuser).operator).bonded, 30 ether);
        assertEq(stakes.seized(), 20 ether);
        assertEq(_status(round), IRoundLedger.RecordStatus.Revealed);
        settleLater(pool, accused.node);
        assertEq(rewards.earned(accused.operator), 20 ether);
        assertEq(court.liveSeats(pool), 5); // 30 ether still stand behind the seat
    }

    /// A seat that cannot pay for the next false accusation leaves.
    function test_SeatLeavesWhenItsStakeIsUsedUp() public {
        uint256 lost;
        for (uint256 i; i < 12 && court.liveSeats(pool) == 5; ++i) {
            (, uint256 caseId) = accuse();
            end(caseId, ICourt.Outcome.Accept);
            lost += 20 ether;
        }
        assertEq(court.liveSeats(pool), 4);
        assertEq(stakes.seized(), lost);
    }

    /// One each way, one silent: no two thirds of three. A larger jury is drawn at once.
    function test_HungJuryHandsTheCaseOn() public {
        (, uint256 caseId) = accuse();
        address[] memory jury = court.juryOf(caseId);
        commitVote(caseId, seatOf(jury[0]), ICourt.Outcome.Mismatch);
        commitVote(caseId, seatOf(jury[1]), ICourt.Outcome.Accept);
        courtFails(STRANGER, abi.encodeCall(court.resolveCase, (caseId)), err(ICourt.WrongPhase.selector));
        pass(101);
        revealVote(caseId, seatOf(jury[0]), ICourt.Outcome.Mismatch);
        courtFails(STRANGER, abi.encodeCall(court.resolveCase, (caseId)), err(ICourt.WrongPhase.selector));
        revealVote(caseId, seatOf(jury[1]), ICourt.Outcome.Accept);
        court.resolveCase(caseId);
        ICourt.Case memory c = court.caseOf(caseId);
        assertEq(c.status, ICourt.CaseStatus.Open);
        assertEq(c.level, 1);
        assertEq(c.jurors, 4); // all but the accuser
        assertEq(uint256(c.committed) + c.guilty + c.innocent, 0);
        assertEq(c.commitDeadline, now_() + 100);
        assertEq(c.revealDeadline, now_() + 150);
    }

    /// Nobody pays when even the largest jury finds neither way.
    function test_HungForGoodCostsNobody() public {
        (uint256 round, uint256 caseId) = accuse();
        vote(caseId, 1, 1);
        address[] memory jury = court.juryOf(caseId);
        for (uint256 i; i < 2; ++i) {
            commitVote(caseId, seatOf(jury[i]), ICourt.Outcome.Mismatch);
        }
        pass(101);
        revealVote(caseId, seatOf(jury[0]), ICourt.Outcome.Mismatch);
        pass(49);
        vm.expectEmit(address(court));
        emit ICourt.CaseResolved(caseId, ICourt.CaseStatus.Hung, 1, 0, 0);
        court.resolveCase(caseId);
        assertEq(stakes.seized(), 0);
        settleLater(pool, accused.node);
        assertEq(rewards.earned(accused.operator), 20 ether);
        assertEq(_status(round), IRoundLedger.RecordStatus.None); // settled
    }

    function test_TwoOfThreeConvict() public {
        (, uint256 caseId) = accuse();
        address[] memory jury = court.juryOf(caseId);
        for (uint256 i; i < 3; ++i) {
            commitVote(caseId, seatOf(jury[i]), i == 0 ? ICourt.Outcome.Accept : ICourt.Outcome.Mismatch);
        }
        for (uint256 i; i < 3; ++i) {
            revealVote(caseId, seatOf(jury[i]), i == 0 ? ICourt.Outcome.Accept : ICourt.Outcome.Mismatch);
        }
        court.resolveCase(caseId);
        assertEq(court.caseOf(caseId).guiltyOutcome, true);
        endUnappealed(caseId);
        assertEq(court.caseOf(caseId).status, ICourt.CaseStatus.Convicted);
    }

    function test_JurorWhoDoesNotRevealCountsForNobody() public {
        (, uint256 caseId) = accuse();
        address[] memory jury = court.juryOf(caseId);
        for (uint256 i; i < 3; ++i) {
            commitVote(caseId, seatOf(jury[i]), ICourt.Outcome.Mismatch);
        }
        revealVote(caseId, seatOf(jury[0]), ICourt.Outcome.Mismatch);
        pass(50);
        court.resolveCase(caseId);
        assertEq(court.caseOf(caseId).level, 1); // hung
    }

    function test_VotePhases() public {
        (, uint256 caseId) = accuse();
        Party memory juror = seatOf(court.juryOf(caseId)[0]);
        bytes memory revealIt = abi.encodeCall(court.revealVote, (caseId, ICourt.Outcome.Accept, GENESIS, SPEC));
        bytes memory commitIt = abi.encodeCall(court.commitVote, (caseId, SPEC));
        courtFails(STRANGER, commitIt, abi.encodeWithSelector(ICourt.NotJuror.selector, STRANGER));
        address accuser = court.caseOf(caseId).accuser;
        courtFails(accuser, commitIt, abi.encodeWithSelector(ICourt.NotJuror.selector, accuser));
        courtFails(STRANGER, revealIt, abi.encodeWithSelector(ICourt.NotJuror.selector, STRANGER));
        courtFails(
            juror.node, abi.encodeCall(court.commitVote, (caseId, bytes32(0))), err(ICourt.CommitmentMismatch.selector)
        );
        bytes32 commitment = Hashes.vote(address(court), caseId, juror.node, ICourt.Outcome.Accept, GENESIS, SPEC);
        vm.expectEmit(address(court));
        emit ICourt.VoteCommitted(caseId, juror.node, commitment);
        vm.prank(juror.node);
        court.commitVote(caseId, commitment);
        courtFails(juror.node, commitIt, err(ICourt.AlreadyDone.selector));
        courtFails(juror.node, revealIt, err(ICourt.WrongPhase.selector)); // others may still commit
        pass(101);
        Party memory late = seatOf(court.juryOf(caseId)[1]);
        courtFails(late.node, commitIt, err(ICourt.WrongPhase.selector));
        courtFails(late.node, revealIt, err(ICourt.CommitmentMismatch.selector)); // never committed
        courtFails(
            juror.node,
            abi.encodeCall(court.revealVote, (caseId, ICourt.Outcome.None, GENESIS, SPEC)),
            err(ICourt.BadOutcome.selector)
        );
        courtFails(
            juror.node,
            abi.encodeCall(court.revealVote, (caseId, ICourt.Outcome.Mismatch, GENESIS, SPEC)),
            err(ICourt.CommitmentMismatch.selector)
        );
        uint256 before = rewards.earned(juror.operator);
        vm.expectEmit(address(court));
        emit ICourt.VoteRevealed(caseId, juror.node, ICourt.Outcome.Accept, GENESIS);
        vm.prank(juror.node);
        court.revealVote(caseId, ICourt.Outcome.Accept, GENESIS, SPEC);
        assertEq(rewards.earned(juror.operator), before + 1 ether);
        courtFails(juror.node, revealIt, err(ICourt.AlreadyDone.selector));
        hang(caseId);
        courtFails(juror.node, commitIt, err(ICourt.WrongPhase.selector));
        courtFails(juror.node, revealIt, err(ICourt.WrongPhase.selector));
    }

    /// A vote copied from another juror cannot be opened.
    function test_RevertWhen_AVoteIsCopied() public {
        (, uint256 caseId) = accuse();
        address[] memory jury = court.juryOf(caseId);
        bytes32 commitment = Hashes.vote(address(court), caseId, jury[0], ICourt.Outcome.Accept, GENESIS, SPEC);
        vm.prank(jury[1]);
        court.commitVote(caseId, commitment);
        pass(101);
        courtFails(
            jury[1],
            abi.encodeCall(court.revealVote, (caseId, ICourt.Outcome.Accept, GENESIS, SPEC)),
            err(ICourt.CommitmentMismatch.selector)
        );
    }

    function test_VotesEndEarly() public {
        (, uint256 caseId) = accuse();
        pass(10);
        address[] memory jury = court.juryOf(caseId);
        for (uint256 i; i < 3; ++i) {
            commitVote(caseId, seatOf(jury[i]), ICourt.Outcome.Accept);
        }
        assertEq(court.caseOf(caseId).commitDeadline, now_());
        assertEq(court.caseOf(caseId).revealDeadline, now_() + 50);
        pass(50);
        courtFails(
            jury[0],
            abi.encodeCall(court.revealVote, (caseId, ICourt.Outcome.Accept, GENESIS, SPEC)),
            err(ICourt.WrongPhase.selector)
        );
    }

    function test_UnknownCase() public {
        bytes memory unknown = abi.encodeWithSelector(ICourt.UnknownCase.selector, 1);
        courtFails(STRANGER, abi.encodeCall(court.caseOf, (1)), unknown);
        courtFails(STRANGER, abi.encodeCall(court.juryOf, (1)), unknown);
        courtFails(STRANGER, abi.encodeCall(court.resolveCase, (1)), unknown);
        courtFails(STRANGER, abi.encodeCall(court.commitVote, (1, SPEC)), unknown);
        courtFails(STRANGER, abi.encodeCall(court.revealVote, (1, ICourt.Outcome.Accept, 0, 0)), unknown);
        courtFails(STRANGER, abi.encodeCall(court.caseOf, (0)), abi.encodeWithSelector(ICourt.UnknownCase.selector, 0));
    }

    function test_WithoutAnEligibleJurorTheCaseHangsAtOnce() public {
        uint256 lonely = createPool(defaultParams(), 1000 ether);
        Party[] memory nodes = new Party[](1);
        nodes[0] = party(50);
        join(lonely, nodes[0], 1);
        Party[] memory judges = new Party[](1);
        judges[0] = party(150);
        takeSeat(lonely, judges[0]);
        uint256 round = play(lonely, nodes);
        judge(lonely, round, judges, nodes, fill(1, ICourt.Outcome.Mismatch));
        assertEq(court.caseOf(1).status, ICourt.CaseStatus.Hung);
        assertEq(court.caseOf(1).jurors, 0);
        settleLater(lonely, nodes[0].node);
        assertEq(rewards.earned(nodes[0].operator), 10 ether);
        assertEq(rewards.budget(lonely).reserved, 0);
    }

    function test_JuryIsAsLargeAsThereAreSeats() public {
        uint256 small = createPool(defaultParams(), 1000 ether);
        Party[] memory nodes = new Party[](1);
        nodes[0] = party(50);
        join(small, nodes[0], 1);
        Party[] memory judges = new Party[](2);
        for (uint256 i; i < 2; ++i) {
            judges[i] = party(150 + i);
            takeSeat(small, judges[i]);
        }
        uint256 round = play(small, nodes);
        judge(small, round, judges, nodes, fill(1, ICourt.Outcome.Withheld));
        assertEq(court.caseOf(1).jurors, 1);
        decide(1, judges, ICourt.Outcome.Withheld);
        assertEq(court.caseOf(1).status, ICourt.CaseStatus.Convicted);
    }

    /// Any seat of the round may have to judge it on a higher level.
    function test_SeatsOfARoundStayWhileItsCaseIsOpen() public {
        (uint256 round, uint256 caseId) = accuse();
        for (uint256 i; i < 5; ++i) {
            vm.prank(seats[i].operator);
            court.leaveSeat(pool, i);
        }
        pass(1000);
        assertTrue(court.isFinal(pool, round), "final");
        bytes memory needed = abi.encodeWithSelector(ICourt.StillNeeded.selector, round);
        for (uint256 i; i < 5; ++i) {
            courtFails(STRANGER, abi.encodeCall(court.releaseSeat, (pool, i)), needed);
        }
        hang(caseId);
        // no time to report the silent jurors yet
        courtFails(STRANGER, abi.encodeCall(court.releaseSeat, (pool, 0)), needed);
        pass(20);
        for (uint256 i; i < 5; ++i) {
            court.releaseSeat(pool, i);
        }
        assertEq(court.liveSeats(pool), 0);
    }

    /// A case about a later round does not hold a seat that had left before.
    function test_ACaseHoldsNoSeatThatLeftBefore() public {
        uint256 clean = play(pool, workers);
        accept(clean);
        vm.prank(seats[4].operator);
        court.leaveSeat(pool, 4);
        Party[] memory rest = new Party[](4);
        for (uint256 i; i < 4; ++i) {
            rest[i] = seats[i];
        }
        uint256 round = play(pool, workers);
        judge(pool, round, rest, workers, outcomes(ICourt.Outcome.Mismatch));
        assertEq(court.openCases(pool), 1);
        pass(20);
        court.releaseSeat(pool, 4);
    }

    function test_VerdictReserveWaitsForTheCase() public {
        (uint256 round, uint256 caseId) = accuse();
        assertTrue(court.isFinal(pool, round), "final");
        assertEq(court.releaseVerdictReserve(pool, round), 0);
        end(caseId, ICourt.Outcome.Accept);
        // 6 verdicts and 3 votes were paid, the rest is free; four slots wait for settlement
        assertEq(court.verdictRound(pool, round).paid, 9);
        assertEq(rewards.budget(pool).credited, 9 ether);
        assertEq(rewards.budget(pool).reserved, 40 ether);
    }

    function test_OpenCaseBlocksWithdrawal() public {
        stake(accused.operator, 10 ether);
        vm.prank(accused.operator);
        stakes.requestUnbond(10 ether);
        (, uint256 caseId) = accuse();
        pass(UNBONDING);
        fails(
            accused.operator, address(stakes), abi.encodeCall(stakes.withdraw, ()), err(IStakeManager.CaseOpen.selector)
        );
        hang(caseId);
        vm.prank(accused.operator);
        stakes.withdraw();
    }

    /// The first case of the last reveal ends at once for want of a jury; the second one's vote is still paid.
    function test_ACaseThatEndsAtOnceLeavesTheReserveToTheOthers() public {
        uint256 small = createPool(defaultParams(), 1000 ether);
        Party[] memory nodes = new Party[](2);
        Party[] memory judges = new Party[](2);
        for (uint256 i; i < 2; ++i) {
            nodes[i] = party(50 + i);
            join(small, nodes[i], 1);
            judges[i] = party(150 + i);
        }
        judges[1].operator = nodes[0].operator;
        takeSeat(small, judges[0]);
        takeSeat(small, judges[1]);
        uint256 round = play(small, nodes);
        ICourt.Outcome[] memory all = fill(2, ICourt.Outcome.Mismatch);
        ICourt.Verdict[] memory accusations = verdictsOf(small, round, judges[0], nodes, all);
        assertEq(accusations.length, 2);
        ICourt.Verdict[] memory one = verdictsOf(small, round, judges[1], nodes, fill(2, ICourt.Outcome.Accept));
        commitVerdicts(small, round, judges[0], accusations);
        commitVerdicts(small, round, judges[1], one);
        revealVerdicts(small, round, judges[1], one);
        revealVerdicts(small, round, judges[0], accusations);
        assertEq(court.caseOf(1).status, ICourt.CaseStatus.Hung);
        assertEq(court.caseOf(2).status, ICourt.CaseStatus.Open);
        uint256 reserved = rewards.budget(small).reserved;
        uint256 earned = rewards.earned(judges[1].operator);
        commitVote(2, judges[1], ICourt.Outcome.Accept);
        revealVote(2, judges[1], ICourt.Outcome.Accept);
        assertEq(rewards.budget(small).reserved, reserved - 1 ether);
        assertEq(rewards.earned(judges[1].operator), earned + 1 ether);
    }
}
