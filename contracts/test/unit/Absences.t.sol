// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {PoolParams} from "../../src/interfaces/IPools.sol";
import {CourtBase} from "./CourtBase.sol";

/// @title What silent and overturned seats lose.
contract AbsencesTest is CourtBase {
    function setUp() public override {
        super.setUp();
        setUpPool(defaultParams(), 5);
    }

    function _lock(Party memory v) private view returns (uint256) {
        return stakes.lockOf(v.operator, court.seatLockId(pool, v.node));
    }

    function _absence(uint256 round, uint256 index) private view returns (bytes memory) {
        return abi.encodeCall(court.reportAbsence, (pool, round, index));
    }

    // ---------------------------------------------------------------------------------------------- verdicts

    function test_SilentSeatPaysOnce() public {
        uint256 round = play(pool, workers);
        for (uint256 i; i < 4; ++i) {
            commitVerdicts(pool, round, seats[i], list(seats[i], round));
        }
        courtFails(STRANGER, _absence(round, 4), abi.encodeWithSelector(ICourt.RoundNotFinal.selector, round));
        pass(101);
        for (uint256 i; i < 3; ++i) {
            revealVerdicts(pool, round, seats[i], list(seats[i], round));
        }
        courtFails(STRANGER, _absence(round, 3), abi.encodeWithSelector(ICourt.RoundNotFinal.selector, round));
        pass(50);
        for (uint256 i; i < 3; ++i) {
            courtFails(STRANGER, _absence(round, i), err(ICourt.NotAbsent.selector));
        }
        courtFails(STRANGER, _absence(round, 5), abi.encodeWithSelector(ICourt.UnknownSeat.selector, 5));
        courtFails(STRANGER, _absence(round, 300), abi.encodeWithSelector(ICourt.UnknownSeat.selector, 300));
        // one never revealed, one never committed
        for (uint256 i = 3; i < 5; ++i) {
            vm.expectEmit(address(court));
            emit ICourt.AbsencePunished(pool, round, seats[i].node, 0, 1 ether);
            court.reportAbsence(pool, round, i);
            assertEq(_lock(seats[i]), 49 ether);
            courtFails(STRANGER, _absence(round, i), err(ICourt.NotAbsent.selector));
        }
        assertEq(stakes.seized(), 2 ether);
        assertEq(court.liveSeats(pool), 5);
    }

    /// The marks of the round that had the ring place before do not count.
    function test_NobodyJudgesInAReusedPlace() public {
        for (uint256 i; i < 16; ++i) {
            accept(play(pool, workers));
        }
        uint256 round = play(pool, workers);
        pass(101);
        for (uint256 i; i < 5; ++i) {
            court.reportAbsence(pool, round, i);
            courtFails(STRANGER, _absence(round, i), err(ICourt.NotAbsent.selector));
        }
        assertEq(stakes.seized(), 5 ether);
    }

    function test_SeatThatWasNotLiveIsNotAbsent() public {
        open(pool);
        takeSeat(pool, party(200));
        vm.prank(seats[0].operator);
        court.leaveSeat(pool, 0);
        for (uint256 i; i < 3; ++i) {
            commit(pool, workers[i]);
        }
        for (uint256 i; i < 3; ++i) {
            reveal(pool, workers[i]);
        }
        capture(pool, 0);
        close(pool);
        courtFails(STRANGER, _absence(1, 0), err(ICourt.NotAbsent.selector)); // not even open
        uint256 round = play(pool, workers);
        pass(101);
        courtFails(STRANGER, _absence(0, 5), abi.encodeWithSelector(ICourt.UnknownSeat.selector, 5));
        courtFails(STRANGER, _absence(round, 0), abi.encodeWithSelector(ICourt.UnknownSeat.selector, 0));
        court.reportAbsence(pool, 0, 0); // it was still in
        court.reportAbsence(pool, round, 5);
    }

    /// Whoever took the place of a seat that was released does not answer for it.
    function test_NextHolderIsNotAbsent() public {
        uint256 round = play(pool, workers);
        vm.prank(seats[0].operator);
        court.leaveSeat(pool, 0);
        pass(101 + 50 + 20);
        court.releaseSeat(pool, 0);
        assertEq(takeSeat(pool, party(200)), 0);
        courtFails(STRANGER, _absence(round, 0), abi.encodeWithSelector(ICourt.UnknownSeat.selector, 0));
    }

    function test_SeatWithTooLittleStakeLeaves() public {
        PoolParams memory p = defaultParams();
        p.slashFalseAccusation = p.seatStake;
        pool = createPool(p, 10_000 ether);
        for (uint256 i; i < 3; ++i) {
            stake(workers[i].operator, 100 ether);
            vm.prank(workers[i].operator);
            pools.join(pool, workers[i].node, 1, open_());
        }
        stake(seats[0].operator, 50 ether);
        vm.prank(seats[0].operator);
        court.takeSeat(pool, seats[0].node);
        uint256 first = play(pool, workers);
        uint256 second = play(pool, workers);
        pass(101);
        vm.expectEmit(address(court));
        emit ICourt.SeatLeft(pool, 0, 2);
        court.reportAbsence(pool, first, 0);
        assertEq(court.liveSeats(pool), 0);
        court.reportAbsence(pool, second, 0); // it was in, and leaves once
        assertEq(_lock(seats[0]), 48 ether);
    }

    // ---------------------------------------------------------------------------------------------- jurors

    function test_SilentJurorPaysOnce() public {
        (uint256 round, uint256 caseId) = accuse();
        address[] memory jury = court.juryOf(caseId);
        uint256 silent = indexOf(jury[0]);
        bytes memory report = abi.encodeCall(court.reportAbsentJuror, (caseId, 0, silent));
        for (uint256 i; i < 3; ++i) {
            commitVote(caseId, seatOf(jury[i]), ICourt.Outcome.Mismatch);
        }
        for (uint256 i = 1; i < 3; ++i) {
            revealVote(caseId, seatOf(jury[i]), ICourt.Outcome.Mismatch);
        }
        pass(50);
        court.resolveCase(caseId);
        courtFails(STRANGER, report, err(ICourt.WrongPhase.selector)); // it can be appealed
        endUnappealed(caseId);
        expectStatus(caseId, ICourt.CaseStatus.Convicted);
        vm.expectEmit(address(court));
        emit ICourt.AbsencePunished(pool, round, jury[0], caseId, 1 ether);
        court.reportAbsentJuror(caseId, 0, silent);
        assertEq(_lock(seats[silent]), 49 ether);
        courtFails(STRANGER, report, err(ICourt.AlreadyDone.selector));
        for (uint256 i; i < 5; ++i) {
            if (i == silent) continue; // voters, and who was not drawn
            courtFails(
                STRANGER, abi.encodeCall(court.reportAbsentJuror, (caseId, 0, i)), err(ICourt.NotAbsent.selector)
            );
        }
        for (uint256 level = 1; level < 4; ++level) {
            courtFails(
                STRANGER,
                abi.encodeCall(court.reportAbsentJuror, (caseId, level, silent)),
                err(ICourt.NotAbsent.selector)
            );
        }
    }

    /// A hung case costs the parties nothing, but its silent jurors on every level.
    function test_SilentJurorsOfAHungCase() public {
        (, uint256 caseId) = accuse();
        address[] memory jury = court.juryOf(caseId);
        hang(caseId);
        court.reportAbsentJuror(caseId, 0, indexOf(jury[0]));
        court.reportAbsentJuror(caseId, 1, indexOf(jury[0]));
        assertEq(_lock(seatOf(jury[0])), 48 ether);
        bytes memory report = abi.encodeCall(court.reportOverturnedVote, (caseId, 0, indexOf(jury[0])));
        courtFails(STRANGER, report, err(ICourt.NotOverturned.selector));
    }

    function test_ReleasedJurorIsOutOfReach() public {
        (, uint256 caseId) = accuse();
        uint256 index = indexOf(court.juryOf(caseId)[0]);
        vm.prank(seats[index].operator);
        court.leaveSeat(pool, index);
        hang(caseId);
        pass(20);
        court.releaseSeat(pool, index);
        assertEq(takeSeat(pool, party(200)), index);
        courtFails(
            STRANGER,
            abi.encodeCall(court.reportAbsentJuror, (caseId, 0, index)),
            abi.encodeWithSelector(ICourt.UnknownSeat.selector, index)
        );
    }

    // ---------------------------------------------------------------------------------------------- overturned

    function test_OverturnedVotePaysOnce() public {
        (uint256 round, uint256 caseId) = accuse();
        address[] memory jury = court.juryOf(caseId);
        uint256 wrong = indexOf(jury[2]);
        bytes memory report = abi.encodeCall(court.reportOverturnedVote, (caseId, 0, wrong));
        vote(caseId, 2, 1);
        courtFails(STRANGER, report, err(ICourt.WrongPhase.selector));
        endUnappealed(caseId);
        vm.expectEmit(address(court));
        emit ICourt.OverturnPunished(pool, round, jury[2], caseId, 3 ether);
        court.reportOverturnedVote(caseId, 0, wrong);
        assertEq(_lock(seats[wrong]), 47 ether);
        courtFails(STRANGER, report, err(ICourt.AlreadyDone.selector));
        courtFails(
            STRANGER,
            abi.encodeCall(court.reportOverturnedVote, (caseId, 0, indexOf(jury[0]))),
            err(ICourt.NotOverturned.selector)
        );
        courtFails(
            STRANGER, abi.encodeCall(court.reportAbsentJuror, (caseId, 0, wrong)), err(ICourt.NotAbsent.selector)
        );
    }

    /// Who was told nothing and said so was right then: the accused served only the next jury.
    function test_WithheldVotesAreNotOverturnedByServingTheNextJury() public {
        (, uint256 caseId) = accuse(ICourt.Outcome.Withheld);
        address[] memory jury = court.juryOf(caseId);
        decide(caseId, seats, ICourt.Outcome.Withheld);
        appealFor(caseId, accused.operator);
        decide(caseId, seats, ICourt.Outcome.Accept);
        expectStatus(caseId, ICourt.CaseStatus.Acquitted);
        courtFails(
            STRANGER,
            abi.encodeCall(court.reportOverturnedVote, (caseId, 0, indexOf(jury[0]))),
            err(ICourt.NotOverturned.selector)
        );
    }

    /// The first jury convicts, the larger one acquits: the first one was wrong.
    function test_OverturnedJury() public {
        (, uint256 caseId) = accuse();
        address[] memory jury = court.juryOf(caseId);
        decide(caseId, seats, ICourt.Outcome.Mismatch);
        appealFor(caseId, accused.operator);
        decide(caseId, seats, ICourt.Outcome.Accept);
        expectStatus(caseId, ICourt.CaseStatus.Acquitted);
        for (uint256 i; i < 3; ++i) {
            court.reportOverturnedVote(caseId, 0, indexOf(jury[i]));
            assertEq(_lock(seatOf(jury[i])), 47 ether);
            courtFails(
                STRANGER,
                abi.encodeCall(court.reportOverturnedVote, (caseId, 1, indexOf(jury[i]))),
                err(ICourt.NotOverturned.selector)
            );
        }
    }

    /// @dev A round in which one of the accused's auditors accuses and the other accepts.
    function _split() private returns (uint256 round, uint256 caseId, uint256 index, ICourt.Verdict[] memory wrong) {
        round = play(pool, workers);
        address[] memory drawn = court.auditorsOf(pool, round, accused.node);
        index = indexOf(drawn[1]);
        wrong = list(seats[index], round);
        for (uint256 step; step < 2; ++step) {
            for (uint256 i; i < 5; ++i) {
                ICourt.Outcome said = seats[i].node == drawn[0] ? ICourt.Outcome.Mismatch : ICourt.Outcome.Accept;
                ICourt.Verdict[] memory own = verdictsOf(pool, round, seats[i], workers, outcomes(said));
                if (step == 0) commitVerdicts(pool, round, seats[i], own);
                else revealVerdicts(pool, round, seats[i], own);
            }
        }
        caseId = court.caseAbout(pool, round, accused.node);
    }

    function _which(ICourt.Verdict[] memory verdicts) private view returns (uint256 which) {
        while (verdicts[which].node != accused.node) ++which;
    }

    function _overturned(uint256 round, uint256 index, ICourt.Verdict[] memory verdicts, bytes32 salt, uint256 which)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(court.reportOverturnedVerdict, (pool, round, index, verdicts, salt, which));
    }

    function test_OverturnedVerdictPaysOnce() public {
        (uint256 round, uint256 caseId, uint256 index, ICourt.Verdict[] memory wrong) = _split();
        uint256 which = _which(wrong);
        bytes memory report = _overturned(round, index, wrong, SPEC, which);
        bytes memory notOverturned = err(ICourt.NotOverturned.selector);
        courtFails(STRANGER, report, notOverturned); // the case is open
        end(caseId, ICourt.Outcome.Mismatch);
        courtFails(STRANGER, _overturned(round, index, wrong, GENESIS, which), err(ICourt.CommitmentMismatch.selector));
        courtFails(STRANGER, _overturned(round, index, wrong, SPEC, wrong.length), notOverturned);
        courtFails(
            STRANGER, _overturned(round, (index + 1) % 5, wrong, SPEC, which), err(ICourt.CommitmentMismatch.selector)
        );
        courtFails(
            STRANGER, _overturned(round, 7, wrong, SPEC, which), abi.encodeWithSelector(ICourt.UnknownSeat.selector, 7)
        );
        // what nobody was convicted for
        for (uint256 i; i < wrong.length; ++i) {
            if (i != which) courtFails(STRANGER, _overturned(round, index, wrong, SPEC, i), notOverturned);
        }
        // the next rounds' commitments leave it provable
        accept(play(pool, _others()));
        accept(play(pool, _others()));
        uint256 before = _lock(seats[index]);
        vm.expectEmit(address(court));
        emit ICourt.OverturnPunished(pool, round, seats[index].node, caseId, 3 ether);
        court.reportOverturnedVerdict(pool, round, index, wrong, SPEC, which);
        assertEq(_lock(seats[index]), before - 3 ether);
        courtFails(STRANGER, report, err(ICourt.AlreadyDone.selector));
    }

    function _others() private view returns (Party[] memory nodes) {
        nodes = new Party[](2);
        (nodes[0], nodes[1]) = (workers[0], workers[2]);
    }

    function test_AccusersVerdictIsNotOverturned() public {
        (uint256 round, uint256 caseId,,) = _split();
        Party memory accuser = accuserOf(caseId);
        ICourt.Verdict[] memory said = verdictsOf(pool, round, accuser, workers, outcomes(ICourt.Outcome.Mismatch));
        end(caseId, ICourt.Outcome.Mismatch);
        courtFails(
            STRANGER,
            _overturned(round, indexOf(accuser.node), said, SPEC, _which(said)),
            err(ICourt.NotOverturned.selector)
        );
    }

    function test_RevertWhen_TheSlotWasAcquitted() public {
        (uint256 round, uint256 caseId, uint256 index, ICourt.Verdict[] memory wrong) = _split();
        end(caseId, ICourt.Outcome.Accept);
        courtFails(STRANGER, _overturned(round, index, wrong, SPEC, _which(wrong)), err(ICourt.NotOverturned.selector));
    }

    /// Verdicts that were never opened are an absence, not an overturned verdict.
    function test_RevertWhen_TheVerdictWasNotOpened() public {
        uint256 round = play(pool, workers);
        address[] memory drawn = court.auditorsOf(pool, round, accused.node);
        uint256 index = indexOf(drawn[1]);
        ICourt.Verdict[] memory wrong = list(seats[index], round);
        for (uint256 i; i < 5; ++i) {
            ICourt.Outcome said = seats[i].node == drawn[0] ? ICourt.Outcome.Mismatch : ICourt.Outcome.Accept;
            commitVerdicts(pool, round, seats[i], verdictsOf(pool, round, seats[i], workers, outcomes(said)));
        }
        for (uint256 i; i < 5; ++i) {
            ICourt.Outcome said = seats[i].node == drawn[0] ? ICourt.Outcome.Mismatch : ICourt.Outcome.Accept;
            if (i == index) continue;
            revealVerdicts(pool, round, seats[i], verdictsOf(pool, round, seats[i], workers, outcomes(said)));
        }
        pass(50);
        uint256 caseId = court.caseAbout(pool, round, accused.node);
        end(caseId, ICourt.Outcome.Mismatch);
        accept(play(pool, _others()));
        courtFails(
            STRANGER, _overturned(round, index, wrong, SPEC, _which(wrong)), err(ICourt.CommitmentMismatch.selector)
        );
        court.reportAbsence(pool, round, index);
    }
}
