// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {PoolParams} from "../../src/interfaces/IPools.sol";
import {CourtBase, History} from "./CourtBase.sol";

/// @title The audit seed, and what becomes of a round without one.
contract SeedsTest is CourtBase {
    address private constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;

    function setUp() public override {
        super.setUp();
        setUpPool(defaultParams(), 3);
    }

    /// @dev A sealed round whose seed nobody has captured.
    function _sealed() private returns (uint256 round, uint256 seedBlock) {
        open(pool);
        round = running(pool);
        for (uint256 i; i < 3; ++i) {
            commit(pool, workers[i]);
        }
        for (uint256 i; i < 3; ++i) {
            reveal(pool, workers[i]);
        }
        seedBlock = ledger.round(pool, round).seedBlock;
    }

    function _capture(uint256 poolId, uint256 round) private view returns (bytes memory) {
        return abi.encodeCall(court.captureSeed, (poolId, round));
    }

    // ---------------------------------------------------------------------------------------------- the hash

    function test_CaptureSeed() public {
        (uint256 round, uint256 seedBlock) = _sealed();
        assertEq(court.verdictRound(pool, round).seedBlock, seedBlock);
        assertEq(court.verdictRound(pool, round).seed, bytes32(0));
        mine(1);
        courtFails(STRANGER, _capture(pool, round), abi.encodeWithSelector(ICourt.SeedNotReady.selector, seedBlock));
        mine(1);
        bytes32 hash = blockhash(seedBlock);
        vm.expectEmit(address(court));
        emit ICourt.SeedCaptured(pool, round, hash);
        court.captureSeed(pool, round);
        ICourt.VerdictRound memory r = court.verdictRound(pool, round);
        assertEq(r.seed, hash);
        assertEq(r.seedBlock, seedBlock);
        assertEq(r.seats, 3);
        // once: a later call does nothing, not even after the end
        mine(300);
        court.captureSeed(pool, round);
        pass(1000);
        court.captureSeed(pool, round);
        assertEq(court.verdictRound(pool, round).seed, hash);
    }

    function test_HistoryReachesFurther() public {
        (uint256 round, uint256 seedBlock) = _sealed();
        more.etch(HISTORY, address(new History()).code);
        mine(8000);
        History(HISTORY).set(seedBlock, keccak256("old"));
        court.captureSeed(pool, round);
        assertEq(court.verdictRound(pool, round).seed, keccak256("old"));
    }

    /// The history of a chain may know less than its last 256 blocks, or answer something else.
    function test_HistoryThatFails() public {
        more.etch(HISTORY, address(new History()).code);
        (uint256 round, uint256 seedBlock) = _sealed();
        mine(2);
        court.captureSeed(pool, round);
        assertEq(court.verdictRound(pool, round).seed, blockhash(seedBlock));
        close(pool);
        more.etch(HISTORY, hex"60105ff3"); // 16 bytes
        (round, seedBlock) = _sealed();
        mine(2);
        court.captureSeed(pool, round);
        assertEq(court.verdictRound(pool, round).seed, blockhash(seedBlock));
    }

    function test_Repin() public {
        (uint256 round, uint256 seedBlock) = _sealed();
        mine(300);
        assertEq(blockhash(seedBlock), bytes32(0));
        uint256 pinned = vm.getBlockNumber() + 1;
        vm.expectEmit(address(court));
        emit ICourt.SeedRepinned(pool, round, uint64(pinned));
        court.captureSeed(pool, round);
        assertEq(court.verdictRound(pool, round).seedBlock, pinned);
        assertEq(court.verdictRound(pool, round).seed, bytes32(0));
        courtFails(STRANGER, _capture(pool, round), abi.encodeWithSelector(ICourt.SeedNotReady.selector, pinned));
        courtFails(
            seats[0].node, abi.encodeCall(court.commitVerdicts, (pool, round, SPEC)), err(ICourt.SeedMissing.selector)
        );
        mine(2);
        court.captureSeed(pool, round);
        assertEq(court.verdictRound(pool, round).seed, blockhash(pinned));
        assertEq(court.verdictRound(pool, round).seedBlock, pinned);
        close(pool);
        accept(round);
        assertTrue(court.isFinal(pool, round), "judged");
    }

    function test_RepinTwice() public {
        (uint256 round,) = _sealed();
        mine(300);
        court.captureSeed(pool, round);
        mine(300);
        court.captureSeed(pool, round);
        mine(2);
        court.captureSeed(pool, round);
        assertTrue(court.verdictRound(pool, round).seed != 0, "captured");
    }

    // ---------------------------------------------------------------------------------------------- nothing to judge

    function test_RevertWhen_ThereIsNothingToJudge() public {
        courtFails(STRANGER, _capture(9, 0), abi.encodeWithSelector(ICourt.NothingToJudge.selector, 0));
        courtFails(STRANGER, _capture(pool, 0), abi.encodeWithSelector(ICourt.NothingToJudge.selector, 0));
        open(pool);
        courtFails(STRANGER, _capture(pool, 0), abi.encodeWithSelector(ICourt.NothingToJudge.selector, 0));
        pass(101);
        ledger.sealReveals(pool); // without a reveal
        mine(2);
        courtFails(STRANGER, _capture(pool, 0), abi.encodeWithSelector(ICourt.NothingToJudge.selector, 0));
        assertTrue(court.isFinal(pool, 0), "nothing revealed");
        assertEq(court.verdictRound(pool, 0).seats, 0);
        assertEq(court.releaseVerdictReserve(pool, 0), 20 ether);
        assertEq(court.releaseVerdictReserve(pool, 0), 0);
    }

    function test_RoundWithoutSeatsIsFinalAtItsSeal() public {
        for (uint256 i; i < 3; ++i) {
            vm.prank(seats[i].operator);
            court.leaveSeat(pool, i);
        }
        (uint256 round,) = _sealed();
        mine(2);
        courtFails(STRANGER, _capture(pool, round), abi.encodeWithSelector(ICourt.NothingToJudge.selector, round));
        assertTrue(court.isFinal(pool, round), "nobody judges");
        assertEq(court.releaseVerdictReserve(pool, round), 20 ether);
    }

    /// A pool in which nobody ever took a seat: the court learns its terms when it releases.
    function test_PoolWithoutSeats() public {
        pool = createPool(defaultParams(), 10_000 ether);
        stake(workers[0].operator, 100 ether);
        vm.prank(workers[0].operator);
        pools.join(pool, workers[0].node, 1, open_());
        open(pool);
        commit(pool, workers[0]);
        bytes memory releaseIt = abi.encodeCall(court.releaseVerdictReserve, (pool, 0));
        courtFails(STRANGER, releaseIt, abi.encodeWithSelector(ICourt.RoundNotFinal.selector, 0));
        reveal(pool, workers[0]);
        assertEq(court.releaseVerdictReserve(pool, 0), 20 ether);
        assertEq(court.releaseVerdictReserve(pool, 0), 0);
        close(pool);
        settleLater(pool, workers[0].node);
        assertEq(rewards.budget(pool).reserved, 0);
    }

    /// Nothing was set aside for the confirm-only round, so nothing comes back.
    function test_ConfirmOnlyRoundReleasesNothing() public {
        PoolParams memory p = defaultParams();
        p.rounds = 1;
        pool = createPool(p, 10_000 ether);
        stake(workers[0].operator, 100 ether);
        vm.prank(workers[0].operator);
        pools.join(pool, workers[0].node, 1, open_());
        open(pool);
        commit(pool, workers[0]);
        reveal(pool, workers[0]);
        close(pool);
        open(pool); // the confirm-only round
        assertEq(running(pool), 1);
        pass(11);
        ledger.sealReveals(pool);
        assertEq(ledger.pool(pool).ended, true);
        assertTrue(court.isFinal(pool, 1), "nothing to judge");
        uint256 reserved = rewards.budget(pool).reserved;
        assertEq(court.releaseVerdictReserve(pool, 1), 0);
        assertEq(rewards.budget(pool).reserved, reserved);
        assertEq(court.releaseVerdictReserve(pool, 0), 20 ether);
        mine(2);
        courtFails(STRANGER, _capture(pool, 1), abi.encodeWithSelector(ICourt.NothingToJudge.selector, 1));
    }

    // ---------------------------------------------------------------------------------------------- never captured

    function test_NeverCaptured() public {
        (uint256 round,) = _sealed();
        close(pool);
        pass(100);
        assertTrue(!court.isFinal(pool, round), "the deadline is in time");
        pass(1);
        assertTrue(court.isFinal(pool, round), "final");
        mine(2);
        courtFails(STRANGER, _capture(pool, round), err(ICourt.WrongPhase.selector));
        // nobody could commit, so nobody was absent
        for (uint256 i; i < 3; ++i) {
            courtFails(STRANGER, abi.encodeCall(court.reportAbsence, (pool, round, i)), err(ICourt.NotAbsent.selector));
        }
        assertEq(isAudited(pool, round, workers[0].node), false);
        assertEq(court.releaseVerdictReserve(pool, round), 20 ether);
        assertEq(court.releaseVerdictReserve(pool, round), 0);
    }

    function test_RepinnedAndForgotten() public {
        (uint256 round,) = _sealed();
        close(pool);
        mine(300);
        court.captureSeed(pool, round);
        pass(101);
        assertTrue(court.isFinal(pool, round), "final");
        courtFails(STRANGER, abi.encodeCall(court.reportAbsence, (pool, round, 0)), err(ICourt.NotAbsent.selector));
        for (uint256 i; i < 16; ++i) {
            uint256 next = play(pool, workers); // opening round 16 releases round 0
            accept(next);
        }
        assertTrue(court.isFinal(pool, round), "still");
        assertEq(court.releaseVerdictReserve(pool, round), 0);
        assertEq(court.verdictRound(pool, 16).revealed, 3);
    }
}
