// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {PoolParams} from "../../src/interfaces/IPools.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {CourtBase} from "./CourtBase.sol";

/// @title Verdicts: what a reveal checks and pays, and when a round is final.
contract VerdictsTest is CourtBase {
    function setUp() public override {
        super.setUp();
        setUpPool(defaultParams(), 3);
    }

    function _empty() private pure returns (ICourt.Verdict[] memory) {
        return new ICourt.Verdict[](0);
    }

    // ---------------------------------------------------------------------------------------------- reveal

    function test_RevealVerdicts() public {
        uint256 round = play(pool, workers);
        address drawn = court.auditorsOf(pool, round, workers[0].node)[0];
        Party memory v = drawn == seats[0].node ? seats[0] : drawn == seats[1].node ? seats[1] : seats[2];
        ICourt.Verdict[] memory list = list(v, round);
        commitVerdicts(pool, round, v, list);
        courtFails(v.node, revealCall(round, list), err(ICourt.WrongPhase.selector)); // others may still commit
        pass(101);
        courtFails(STRANGER, revealCall(round, list), err(ICourt.OnlySeat.selector));
        courtFails(
            v.node,
            abi.encodeCall(court.revealVerdicts, (pool, round, list, GENESIS)),
            err(ICourt.CommitmentMismatch.selector)
        );
        vm.expectEmit(address(court));
        emit ICourt.VerdictsRevealed(pool, round, v.node, list, list.length * 1 ether);
        vm.prank(v.node);
        court.revealVerdicts(pool, round, list, SPEC);
        assertEq(rewards.earned(v.operator), list.length * 1 ether);
        courtFails(v.node, revealCall(round, list), err(ICourt.AlreadyDone.selector));
        for (uint256 i; i < 3; ++i) {
            if (seats[i].node == v.node) continue;
            courtFails(seats[i].node, revealCall(round, _empty()), err(ICourt.CommitmentMismatch.selector));
        }
    }

    function test_RevertWhen_RevealingTooLate() public {
        uint256 round = play(pool, workers);
        ICourt.Verdict[] memory list = list(seats[0], round);
        commitVerdicts(pool, round, seats[0], list);
        pass(150);
        assertTrue(court.isFinal(pool, round), "deadline");
        courtFails(seats[0].node, revealCall(round, list), err(ICourt.WrongPhase.selector));
    }

    /// A verdict list copied from another validator cannot be opened.
    function test_RevertWhen_VerdictsAreCopied() public {
        uint256 round = play(pool, workers);
        ICourt.Verdict[] memory list = list(seats[0], round);
        bytes32 commitment = Hashes.verdicts(address(court), pool, round, seats[0].node, list, SPEC);
        vm.prank(seats[1].node);
        court.commitVerdicts(pool, round, commitment);
        pass(101);
        courtFails(seats[1].node, revealCall(round, list), err(ICourt.CommitmentMismatch.selector));
    }

    function _onlyRevealOf(ICourt.Verdict[] memory list, bytes memory expected) private {
        uint256 round = play(pool, workers);
        for (uint256 i; i < 3; ++i) {
            commitVerdicts(pool, round, seats[i], list);
        }
        courtFails(seats[0].node, revealCall(round, list), expected);
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
        courtFails(drawn, revealCall(round, list), abi.encodeWithSelector(ICourt.NotDrawn.selector, node));
    }

    function test_FeesStopWithTheBudget() public {
        PoolParams memory p = defaultParams();
        p.verdictBudget = 1;
        pool = createPool(p, 10_000 ether);
        for (uint256 i; i < 3; ++i) {
            stake(workers[i].operator, 100 ether);
            vm.prank(workers[i].operator);
            pools.join(pool, workers[i].node, 1, open_());
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
        courtFails(STRANGER, releaseIt, abi.encodeWithSelector(ICourt.RoundNotFinal.selector, round));
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
