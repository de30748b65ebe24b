// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRewards} from "../../src/interfaces/IRewards.sol";
import {IRoundLedger} from "../../src/interfaces/IRoundLedger.sol";
import {LedgerCase} from "./LedgerCase.sol";

/// @title What becomes of revealed work: settled when asked, or by the reveal that takes its ring place.
contract SettlementTest is LedgerCase {
    function setUp() public override {
        super.setUp();
        pool = createPool(_longParams(), 100_000 ether);
        join(pool, a, 1);
        join(pool, b, 2);
    }

    function _contest(uint256 round, Party memory p) private {
        vm.prank(address(court));
        ledger.contest(pool, round, p.node);
    }

    function _resolve(uint256 round, Party memory p, bool convicted) private {
        vm.prank(address(court));
        ledger.resolve(pool, round, p.node, convicted);
    }

    // ---------------------------------------------------------------------------------------------- settle

    function test_SettleWaitsForTheCloseAndFinality() public {
        takeSeat(pool, party(100));
        _toSealed(_list(a, b));
        pass(101);
        assertTrue(court.isFinal(pool, 0), "final");
        assertEq(ledger.settle(pool, b.node), 0); // not closed
        close(pool);
        open(pool);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Settled(pool, b.node, 20 ether, 0, 0);
        vm.expectEmit(address(rewards));
        emit IRewards.Credited(pool, b.operator, 20 ether);
        assertEq(ledger.settle(pool, b.node), 20 ether);
        assertEq(ledger.settle(pool, b.node), 0); // once
        assertEq(_status(0, b), IRoundLedger.RecordStatus.None);

        commit(pool, a);
        commit(pool, b);
        reveal(pool, a);
        reveal(pool, b);
        close(pool);
        open(pool);
        assertEq(ledger.settle(pool, a.node), 10 ether); // round 0; round 1 is not final
        assertEq(rewards.earned(a.operator), 10 ether);
        assertEq(_status(1, a), IRoundLedger.RecordStatus.Revealed);
    }

    /// A close that is disproved before the next round opens is done again, and may leave others out.
    function test_SettleWaitsWhileTheRoundMayBeClosedAgain() public {
        _round(_list(a, b));
        assertEq(ledger.settle(pool, a.node), 0);
        pass(CHALLENGE);
        assertEq(ledger.settle(pool, a.node), 0);
        pass(1);
        assertEq(ledger.settle(pool, a.node), PRICE);
        open(pool);
        assertEq(ledger.settle(pool, b.node), 2 * PRICE);
    }

    /// Who counts what the contract says: paid, forfeited and released are all that was revealed.
    function test_PaidForfeitedAndReleased() public {
        for (uint256 i; i < 3; ++i) {
            _round(_list(a, b));
        }
        _toSealed(_list(a, b));
        _closeAs(ORCHESTRATOR, rootAfter(3), _one(b, 1));
        _round(_list(a, b));
        uint256 reserved = _reserved();
        vm.prank(address(proofs));
        ledger.convictProven(pool, 2, b.node, 1 ether, STRANGER, 0);
        open(pool);
        pass(101);
        ledger.sealReveals(pool);
        pass(CHALLENGE + 1);
        reserved = _reserved();
        // Rounds 0 and 1 are paid, 2 and 4 forfeited, 3 was excluded.
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Settled(pool, b.node, 40 ether, 40 ether, 20 ether);
        assertEq(ledger.settle(pool, b.node), 40 ether);
        assertEq(_reserved(), reserved - 100 ether);
        assertEq(rewards.earned(b.operator), 40 ether);
        assertEq(rewards.earned(TREASURY), 40 ether);
        assertEq(ledger.settle(pool, b.node), 0);
        assertEq(_reserved(), reserved - 100 ether);
    }

    function test_NothingToSettle() public {
        assertEq(ledger.settle(pool, a.node), 0);
        open(pool);
        pass(101);
        ledger.sealReveals(pool);
        _closeAs(ORCHESTRATOR, GENESIS, _none());
        assertEq(ledger.settle(pool, a.node), 0);
        assertEq(_reserved(), 20 ether);
    }

    // ---------------------------------------------------------------------------------------------- the ring

    function _accrued(Party memory p) private view returns (uint256) {
        return ledger.member(pool, p.node).accrued;
    }

    function test_RevealSettlesTheWorkWhosePlaceItTakes() public {
        for (uint256 i; i < 16; ++i) {
            _round(_list(a, b));
        }
        assertEq(_accrued(b), 0);
        uint256 reserved = _reserved();
        _toSealed(_list(a, b));
        assertEq(_accrued(b), 2);
        assertEq(rewards.earned(b.operator), 0); // credited when asked
        assertEq(_reserved(), reserved + 80 ether); // round 16's; round 0's stays until it is credited
        assertEq(_status(0, b), IRoundLedger.RecordStatus.None);
        close(pool);
        open(pool);
        assertEq(ledger.settle(pool, b.node), 17 * 20 ether);
        assertEq(_accrued(b), 0);
        assertEq(ledger.settle(pool, b.node), 0);
        assertEq(ledger.settle(pool, a.node), 17 * 10 ether);
    }

    /// Work of the places that were passed over is settled by the next reveal as well.
    function test_RevealAfterMissedRounds() public {
        for (uint256 i; i < 14; ++i) {
            _round(_list(a, b)); // places 0 to 13
        }
        for (uint256 i; i < 5; ++i) {
            _round(_list(b)); // 14 to 18
        }
        assertEq(_accrued(a), 0);
        _toSealed(_list(a, b)); // 19: the places 14, 15, 0, 1, 2 and 3
        assertEq(_accrued(a), 4);
        assertEq(_status(3, a), IRoundLedger.RecordStatus.None);
        assertEq(_status(4, a), IRoundLedger.RecordStatus.Revealed);
        assertEq(_status(19, a), IRoundLedger.RecordStatus.Revealed);
        for (uint256 i = 14; i < 19; ++i) {
            assertEq(_status(i, a), IRoundLedger.RecordStatus.None);
        }
        close(pool);
        open(pool);
        assertEq(ledger.settle(pool, a.node), 15 * PRICE);
    }

    /// Exactly a lap and more than a lap: every place is of an older round.
    function test_RevealAfterMoreThanALap() public {
        for (uint256 missed = 15; missed < 34; missed += 9) {
            for (uint256 i; i < 4; ++i) {
                _round(_list(a, b));
            }
            for (uint256 i; i < missed; ++i) {
                _round(_list(b));
            }
            uint256 before = _accrued(a);
            uint256 round = _toSealed(_list(a, b));
            close(pool);
            // With 15 rounds missed the first of the four has its place still; it was settled before, if ever.
            assertEq(_accrued(a), before + 4);
            assertEq(_status(round, a), IRoundLedger.RecordStatus.Revealed);
            open(pool);
            pass(101);
            ledger.sealReveals(pool);
            _closeAs(ORCHESTRATOR, ledger.pool(pool).checkpointRoot, _none());
            pass(CHALLENGE + 1);
            assertEq(ledger.settle(pool, a.node), 5 * PRICE);
        }
    }

    /// A node that never comes back is paid for what its places still hold, long after they left the ring.
    function test_RecordsOlderThanTheRingAreSettled() public {
        _round(_list(a, b));
        for (uint256 i; i < 20; ++i) {
            _round(_list(b));
        }
        assertEq(_status(0, a), IRoundLedger.RecordStatus.None);
        assertEq(ledger.settle(pool, a.node), PRICE);
        assertEq(ledger.settle(pool, a.node), 0);
    }

    function test_RevealReleasesExcludedWork() public {
        _toSealed(_list(a, b));
        _closeAs(ORCHESTRATOR, rootAfter(0), _one(b, 1));
        for (uint256 i; i < 15; ++i) {
            _round(_list(a, b));
        }
        open(pool);
        commit(pool, a);
        commit(pool, b);
        uint256 reserved = _reserved();
        reveal(pool, a);
        assertEq(_reserved(), reserved);
        reveal(pool, b);
        assertEq(_reserved(), reserved - 20 ether);
        assertEq(_accrued(b), 0);
        assertEq(_accrued(a), 1);
    }

    // ---------------------------------------------------------------------------------------------- contests

    /// @dev Round 0's work of `a` is contested and loses its ring place; 17 rounds are played.
    function _displace() private {
        _round(_list(a, b));
        _contest(0, a);
        assertEq(_status(0, a), IRoundLedger.RecordStatus.Contested);
        for (uint256 i; i < 16; ++i) {
            _round(_list(a, b));
        }
        assertEq(_accrued(a), 0);
        assertEq(_accrued(b), 2);
    }

    function test_ContestedWorkIsNotSettled() public {
        _round(_list(a, b));
        _contest(0, a);
        open(pool);
        assertEq(ledger.settle(pool, a.node), 0);
        _resolve(0, a, false);
        assertEq(_status(0, a), IRoundLedger.RecordStatus.Revealed);
        assertEq(ledger.settle(pool, a.node), PRICE);
    }

    function test_AcquittedAfterItsPlaceWasTaken() public {
        _displace();
        open(pool);
        assertEq(ledger.settle(pool, a.node), 0); // a conviction would forfeit the later rounds, too
        uint256 reserved = _reserved();
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Settled(pool, a.node, PRICE, 0, 0);
        _resolve(0, a, false);
        assertEq(ledger.settle(pool, a.node), 16 * PRICE);
        assertEq(rewards.earned(a.operator), 17 * PRICE);
        assertEq(_reserved(), reserved - 17 * PRICE);
    }

    function test_ConvictedAfterItsPlaceWasTaken() public {
        _displace();
        open(pool);
        uint256 reserved = _reserved();
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Convicted(pool, 0, a.node);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Settled(pool, a.node, 0, PRICE, 0);
        _resolve(0, a, true);
        assertEq(rewards.earned(TREASURY), PRICE);
        assertEq(ledger.settle(pool, a.node), 0); // the later rounds, too
        assertEq(rewards.earned(TREASURY), 17 * PRICE);
        assertEq(_reserved(), reserved - 17 * PRICE);
    }

    /// Excluded and contested, then out of its place: it is not paid, whatever the case finds.
    function test_ExcludedWorkStaysUnpaidAfterAnAcquittal() public {
        _toSealed(_list(a, b));
        _closeAs(ORCHESTRATOR, rootAfter(0), _one(a, 1));
        _contest(0, a);
        for (uint256 i; i < 16; ++i) {
            _round(_list(a, b));
        }
        uint256 reserved = _reserved();
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Settled(pool, a.node, 0, 0, PRICE);
        _resolve(0, a, false);
        assertEq(_reserved(), reserved - PRICE);
        assertEq(rewards.earned(a.operator), 0);
    }

    // ---------------------------------------------------------------------------------------------- all together

    /// Whoever reveals when, is excluded, settles early or late: each slot is paid once or released once.
    /// forge-config: default.fuzz.runs = 24
    function testFuzz_EverySlotIsPaidOrReleasedOnce(uint256 seed) public {
        join(pool, c, 3);
        Party[] memory all = _list(a, b, c);
        uint256[3] memory paid;
        uint256 rounds = 20 + seed % 24;
        for (uint256 r; r < rounds; ++r) {
            uint256 dice = uint256(keccak256(abi.encode(seed, r)));
            _playRandom(all, paid, dice);
            if (dice & 0x700 == 0) ledger.settle(pool, all[(dice >> 16) % 3].node);
        }
        vm.prank(CREATOR);
        ledger.endPool(pool);
        open(pool);
        pass(11);
        ledger.sealReveals(pool);
        pass(CHALLENGE + 1);
        uint256 total;
        for (uint256 i; i < 3; ++i) {
            ledger.settle(pool, all[i].node);
            assertEq(rewards.earned(all[i].operator), paid[i] * PRICE);
            total += paid[i] * PRICE;
        }
        for (uint256 r = rounds > 15 ? rounds - 15 : 0; r < rounds; ++r) {
            court.releaseVerdictReserve(pool, r);
        }
        assertEq(_reserved(), 0);
        assertEq(rewards.budget(pool).credited, total);
    }

    function _playRandom(Party[] memory all, uint256[3] memory paid, uint256 dice) private {
        Party[] memory present = new Party[](3);
        uint256 n;
        for (uint256 i; i < 3; ++i) {
            if ((dice >> (2 * i)) & 3 != 0) present[n++] = all[i];
        }
        assembly {
            mstore(present, n)
        }
        _toSealed(present);
        uint256 out = (dice >> 32) % 4; // that one is excluded, where it is there and not alone
        bool excluded = n > 1 && out < n;
        if (n == 0) _closeAs(ORCHESTRATOR, ledger.pool(pool).checkpointRoot, _none());
        else _closeAs(ORCHESTRATOR, keccak256(abi.encode(dice)), excluded ? _one(present[out], 1) : _none());
        for (uint256 i; i < 3; ++i) {
            for (uint256 j; j < n; ++j) {
                bool counts = present[j].node == all[i].node && !(excluded && j == out);
                if (counts) paid[i] += i + 1;
            }
        }
    }
}
