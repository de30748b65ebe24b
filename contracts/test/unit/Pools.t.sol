// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Pools} from "../../src/Pools.sol";
import {StakeManager} from "../../src/StakeManager.sol";
import {CourtTerms, IPools, NewPool, OuterRule, PoolParams} from "../../src/interfaces/IPools.sol";
import {IRewards} from "../../src/interfaces/IRewards.sol";
import {IRoundLedger} from "../../src/interfaces/IRoundLedger.sol";
import {Base} from "../Base.sol";

/// @title Creation of pools, what a creator may choose, the guardian's pause.
contract PoolsTest is Base {
    Party internal a = party(1);

    // ---------------------------------------------------------------------------------------------- create

    function test_CreatePool() public {
        createPool(defaultParams(), 1);
        NewPool memory p = newPool(defaultParams());
        p.params.rounds = 7;
        p.outer.k = 65;
        p.inviteSigner = GUARDIAN;
        p.requirementsURI = "rules";
        vm.expectEmit(address(pools));
        emit IPools.PoolCreated(2, STRANGER, SPEC, GENESIS, "http://store", "rules");
        vm.expectEmit(address(ledger));
        emit IRoundLedger.PoolAdded(2, STRANGER, GENESIS);
        vm.prank(STRANGER);
        assertEq(pools.createPool(p), 2);
        assertEq(pools.poolCount(), 2);

        assertEq(keccak256(abi.encode(pools.params(2))), keccak256(abi.encode(p.params)));
        assertEq(keccak256(abi.encode(pools.outerRule(2))), keccak256(abi.encode(p.outer)));
        assertEq(pools.runSpecHash(2), SPEC);
        assertEq(pools.inviteSigner(2), GUARDIAN);
        (string memory store, string memory requirements) = pools.uris(2);
        assertEq(keccak256(bytes(store)), keccak256("http://store"));
        assertEq(keccak256(bytes(requirements)), keccak256("rules"));

        IRoundLedger.Pool memory got = ledger.pool(2);
        assertEq(got.creator, STRANGER);
        assertEq(got.checkpointRoot, GENESIS);
        assertEq(got.phase, IRoundLedger.Phase.Idle);
        assertEq(uint256(got.nextRound) + got.members + got.memberSlots, 0);
        assertTrue(!got.ended && !got.last, "begins");
    }

    function test_CourtTermsAreTheParams() public {
        PoolParams memory p = defaultParams();
        uint256 id = createPool(p, 1);
        CourtTerms memory t = pools.courtTerms(id);
        assertEq(t.slashConviction, p.slashConviction);
        assertEq(t.verdictFee, p.verdictFee);
        assertEq(t.verdictBudget, p.verdictBudget);
        assertEq(t.finderFee, p.finderFee);
        assertEq(t.auditRate, p.auditRate);
        assertEq(t.probation, p.probation);
        assertEq(t.slashFalseAccusation, p.slashFalseAccusation);
        assertEq(t.slashAbsence, p.slashAbsence);
        assertEq(t.voteWindow, p.voteWindow);
        assertEq(t.voteRevealWindow, p.voteRevealWindow);
        assertEq(t.slashOverturned, p.slashOverturned);
        assertEq(t.appealBond, p.appealBond);
        assertEq(t.appealWindow, p.appealWindow);
        assertEq(t.auditors, p.auditors);
        assertEq(t.jurySize, p.jurySize);
        assertEq(t.seatStake, p.seatStake);
        assertEq(t.verdictWindow, p.verdictWindow);
        assertEq(t.verdictRevealWindow, p.verdictRevealWindow);
    }

    function test_Constructor() public {
        assertEq(address(pools.registry()), address(registry));
        assertEq(address(pools.stakeManager()), address(stakes));
        assertEq(address(pools.ledger()), address(ledger));
        assertEq(pools.guardian(), GUARDIAN);
        // Five windows of a round, three juries of two windows, two times to appeal: a second each.
        StakeManager s =
            StakeManager(deploy("StakeManager", abi.encode(token, address(ledger), address(court), TREASURY, 13)));
        deploy("Pools", abi.encode(registry, s, ledger, GUARDIAN));
        s = StakeManager(deploy("StakeManager", abi.encode(token, address(ledger), address(court), TREASURY, 12)));
        vm.expectRevert(abi.encodeWithSelector(IPools.BadParams.selector, "unbondingTime"));
        new Pools(registry, s, ledger, GUARDIAN);
    }

    function test_UnknownPool() public {
        createPool(defaultParams(), 1);
        for (uint256 id; id < 3; id += 2) {
            bytes memory unknown = abi.encodeWithSelector(IPools.UnknownPool.selector, id);
            fails(STRANGER, address(pools), abi.encodeCall(pools.params, (id)), unknown);
            fails(STRANGER, address(pools), abi.encodeCall(pools.courtTerms, (id)), unknown);
            fails(STRANGER, address(pools), abi.encodeCall(pools.outerRule, (id)), unknown);
            fails(STRANGER, address(pools), abi.encodeCall(pools.runSpecHash, (id)), unknown);
            fails(STRANGER, address(pools), abi.encodeCall(pools.uris, (id)), unknown);
            fails(STRANGER, address(pools), abi.encodeCall(pools.inviteSigner, (id)), unknown);
        }
        register(a);
        bytes memory joining = abi.encodeCall(pools.join, (2, a.node, 1, open_()));
        fails(a.operator, address(pools), joining, abi.encodeWithSelector(IPools.UnknownPool.selector, 2));
    }

    function test_LargestPoolCanReserve() public {
        PoolParams memory p = defaultParams();
        p.pricePerSlot = type(uint96).max;
        p.verdictFee = type(uint96).max;
        p.maxSlots = 4096;
        p.verdictBudget = type(uint16).max;
        uint256 cost = uint256(type(uint96).max) * (4096 + uint256(type(uint16).max));
        uint256 id = createPool(p, cost);
        join(id, a, 1);
        open(id);
        assertEq(rewards.budget(id).reserved, cost);
    }

    function test_BudgetMustCoverTheRound() public {
        uint256 poor = createPool(defaultParams(), 99 ether);
        join(poor, a, 1);
        fails(
            ORCHESTRATOR,
            address(ledger),
            abi.encodeCall(ledger.openRound, (poor, 50)),
            abi.encodeWithSelector(IRewards.BudgetTooSmall.selector, 99 ether, 100 ether)
        );
        fund(poor, 1 ether);
        open(poor);
        assertEq(rewards.free(poor), 0);
    }

    // ---------------------------------------------------------------------------------------------- pause

    function _pause(bool paused) private {
        vm.expectEmit(address(pools));
        emit IPools.EntryPauseSet(paused);
        vm.prank(GUARDIAN);
        pools.setEntryPaused(paused);
    }

    function test_PauseStopsEntryAndNothingElse() public {
        PoolParams memory p = defaultParams();
        p.rounds = 1;
        uint256 pool = createPool(p, 1000 ether);
        Party memory b = party(2);
        Party memory v = party(3);
        join(pool, a, 2);
        join(pool, b, 1);
        register(v);
        stake(v.operator, 50 ether);
        Party memory late = party(4);
        register(late);
        stake(late.operator, 100 ether);

        _pause(true);
        assertEq(pools.entryPaused(), true);
        bytes memory paused = err(IPools.EntryPaused.selector);
        fails(STRANGER, address(pools), abi.encodeCall(pools.requireEntry, (STRANGER, STRANGER)), paused);
        fails(CREATOR, address(pools), abi.encodeCall(pools.createPool, (newPool(p))), paused);
        fails(late.operator, address(pools), abi.encodeCall(pools.join, (pool, late.node, 1, open_())), paused);
        fails(v.operator, address(court), abi.encodeCall(court.takeSeat, (pool, v.node)), paused);

        // A round, its pay, a wider node, leaving, the pool's end and every withdrawal go on.
        register(party(5));
        stake(a.operator, 100 ether);
        open(pool);
        commit(pool, a);
        vm.prank(b.operator);
        ledger.leave(pool, b.node);
        reveal(pool, a);
        vm.prank(a.operator);
        ledger.setWidth(pool, a.node, 3);
        close(pool);
        fund(pool, 1);
        vm.prank(a.operator);
        ledger.leave(pool, a.node);
        open(pool);
        assertEq(ledger.pool(pool).ended, true);
        court.releaseVerdictReserve(pool, 0);
        pass(131);
        ledger.releaseLock(pool, a.node);
        vm.startPrank(a.operator);
        assertEq(rewards.claim(a.operator), 20 ether);
        stakes.requestUnbond(300 ether);
        pass(UNBONDING);
        stakes.withdraw();
        vm.stopPrank();
        vm.prank(ORCHESTRATOR);
        ledger.releaseBond(pool);
        vm.prank(CREATOR);
        assertEq(rewards.refund(pool), 980 ether + 1);

        _pause(false);
        vm.prank(v.operator);
        vm.expectRevert(err(IRoundLedger.PoolHasEnded.selector));
        court.takeSeat(pool, v.node);
        vm.prank(CREATOR);
        pool = pools.createPool(newPool(p));
        vm.prank(late.operator);
        pools.join(pool, late.node, 1, open_());
        vm.prank(v.operator);
        court.takeSeat(pool, v.node);
    }

    function test_RevertWhen_NotTheGuardianPauses() public {
        bytes memory only = err(IPools.OnlyGuardian.selector);
        fails(STRANGER, address(pools), abi.encodeCall(pools.setEntryPaused, (true)), only);
        fails(CREATOR, address(pools), abi.encodeCall(pools.setEntryPaused, (true)), only);
        fails(STRANGER, address(pools), abi.encodeCall(pools.setEntryPaused, (false)), only);
    }
}
