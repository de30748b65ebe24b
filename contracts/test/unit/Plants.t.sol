// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IPools} from "../../src/interfaces/IPools.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {CourtBase} from "./CourtBase.sol";

/// @title Slots that the creator has made bad on purpose: they cost their node nothing, and who accepts them much.
contract PlantsTest is CourtBase {
    function setUp() public override {
        super.setUp();
        setUpPool(defaultParams(), 6);
    }

    function _hashes(uint256 round) private view returns (bytes32[] memory hashes) {
        hashes = new bytes32[](1);
        hashes[0] = Hashes.plant(address(pools), pool, round, accused.node, SPEC);
    }

    function _plant(uint256 round) private {
        vm.prank(CREATOR);
        pools.plant(pool, _hashes(round));
    }

    /// @dev One auditor accuses the planted slot, the others accept it.
    function _accuseAlone(uint256 round) private returns (uint256 caseId, Party memory lazy, uint256 place) {
        address[] memory drawn = court.auditorsOf(pool, round, accused.node);
        ICourt.Verdict[][] memory said = new ICourt.Verdict[][](seats.length);
        for (uint256 i; i < seats.length; ++i) {
            bool accuses = seats[i].node == drawn[0];
            if (seats[i].node == drawn[1]) (lazy, place) = (seats[i], i);
            said[i] = verdictsOf(
                pool, round, seats[i], workers, outcomes(accuses ? ICourt.Outcome.Mismatch : ICourt.Outcome.Accept)
            );
            vm.prank(seats[i].node);
            court.commitVerdicts(
                pool, round, Hashes.verdicts(address(court), pool, round, seats[i].node, said[i], SPEC)
            );
        }
        for (uint256 i; i < seats.length; ++i) {
            vm.prank(seats[i].node);
            court.revealVerdicts(pool, round, said[i], SPEC);
        }
        caseId = court.caseAbout(pool, round, accused.node);
    }

    function test_PlantedSlotCostsItsNodeNothingAndWhoAcceptedItMuch() public {
        vm.expectEmit(address(pools));
        emit IPools.Planted(pool, 0, _hashes(0));
        _plant(0);
        uint256 round = play(pool, workers);
        (uint256 caseId, Party memory lazy, uint256 place) = _accuseAlone(round);
        uint256 locked = stakes.account(accused.operator).locked;
        pools.openPlant(pool, round, accused.node, SPEC);
        assertEq(pools.isPlanted(pool, round, accused.node), true);
        end(caseId, ICourt.Outcome.Mismatch);

        expectStatus(caseId, ICourt.CaseStatus.Convicted);
        assertEq(stakes.account(accused.operator).locked, locked);
        assertEq(ledger.member(pool, accused.node).convicted, false);

        uint256 before = stakes.account(lazy.operator).bonded;
        ICourt.Verdict[] memory said = verdictsOf(pool, round, lazy, workers, outcomes(ICourt.Outcome.Accept));
        uint256 which;
        while (said[which].node != accused.node) ++which;
        court.reportOverturnedVerdict(pool, round, place, said, SPEC, which);
        assertEq(before - stakes.account(lazy.operator).bonded, pools.params(pool).slashOverturned);

        open(pool);
        ledger.settle(pool, accused.node);
        assertEq(rewards.earned(accused.operator), 2 * pools.params(pool).pricePerSlot);
    }

    function test_WithoutBeingOpenedItIsAConvictionLikeAnyOther() public {
        _plant(0);
        (, uint256 caseId) = accuse();
        end(caseId, ICourt.Outcome.Mismatch);
        assertEq(ledger.member(pool, accused.node).convicted, true);
    }

    /// Else whoever is caught would say so.
    function test_RevertWhen_TheSlotWasNotPlantedBeforeItsRoundOpened() public {
        bytes memory none = err(IPools.NotPlanted.selector);
        bytes memory opening = abi.encodeCall(pools.openPlant, (pool, 0, accused.node, SPEC));
        fails(STRANGER, address(pools), opening, none);
        open(pool);
        _plant(0);
        fails(STRANGER, address(pools), opening, none);
        _plant(1);
        fails(STRANGER, address(pools), abi.encodeCall(pools.openPlant, (pool, 1, accused.node, bytes32(0))), none);
        pools.openPlant(pool, 1, accused.node, SPEC);
    }

    function test_RevertWhen_SomebodyElsePlants() public {
        bytes memory data = abi.encodeCall(pools.plant, (pool, _hashes(0)));
        fails(ORCHESTRATOR, address(pools), data, abi.encodeWithSelector(IPools.OnlyCreator.selector, CREATOR));
        data = abi.encodeCall(pools.plant, (pool + 1, _hashes(0)));
        fails(CREATOR, address(pools), data, abi.encodeWithSelector(IPools.UnknownPool.selector, pool + 1));
    }
}
