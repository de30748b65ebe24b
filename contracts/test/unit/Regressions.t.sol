// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IPools, Invite, NewPool, PoolParams} from "../../src/interfaces/IPools.sol";
import {IRewards} from "../../src/interfaces/IRewards.sol";
import {IRoundLedger, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {Base} from "../Base.sol";

/// @title One test for each defect that a neighbouring protocol had, and for each that this one was in danger of.
contract RegressionsTest is Base {
    uint256 private constant INVITER = 4711;

    uint256 internal pool;
    Party internal honest;
    Party internal cheat;
    Party[] internal nodes;
    Party[] internal seats;

    /// A pool with two workers and four seats, funded for two rounds at a time.
    function setUp() public override {
        super.setUp();
        pool = createPool(defaultParams(), 300 ether);
        (honest, cheat) = (party(1), party(2));
        join(pool, honest, 1);
        join(pool, cheat, 1);
        nodes.push(honest);
        nodes.push(cheat);
        for (uint256 i; i < 4; ++i) {
            seats.push(party(100 + i));
            takeSeat(pool, seats[i]);
        }
    }

    /// @dev A round whose auditors accuse the cheat; the jury has not voted.
    function _accuse() private returns (uint256 round, uint256 caseId) {
        round = play(pool, nodes);
        ICourt.Outcome[] memory outcomes = fill(2, ICourt.Outcome.Accept);
        outcomes[1] = ICourt.Outcome.Mismatch;
        judge(pool, round, seats, nodes, outcomes);
        caseId = court.caseAbout(pool, round, cheat.node);
    }

    /// @dev The jury convicts, and nobody appeals.
    function _convict(uint256 caseId) private {
        decide(caseId, seats, ICourt.Outcome.Mismatch);
        while (court.caseOf(caseId).status == ICourt.CaseStatus.Decided) {
            pass(21);
            court.resolveCase(caseId);
        }
        assertEq(court.caseOf(caseId).status, ICourt.CaseStatus.Convicted);
    }

    function _acceptAll(uint256 round) private {
        judge(pool, round, seats, nodes, fill(2, ICourt.Outcome.Accept));
    }

    // ---------------------------------------------------------------------------------------------- of the neighbours

    /// Prime Intellect: stake whose lock has matured escapes a slash. Here a lock does not mature: it ends when no case about
    /// its work can arise any more, and what is unbonding stays while a case is open, ready or not.
    function test_MaturedStakeDoesNotEscapeASlash() public {
        address operator = cheat.operator;
        stake(operator, 50 ether);
        vm.prank(operator);
        stakes.requestUnbond(50 ether);
        bytes memory more = abi.encodeCall(stakes.requestUnbond, (1));
        bytes memory none = abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 0, 1);
        fails(operator, address(stakes), more, none);
        pass(UNBONDING);

        (, uint256 caseId) = _accuse();
        vm.prank(cheat.node);
        ledger.leave(pool, cheat.node);
        fails(operator, address(stakes), abi.encodeCall(stakes.withdraw, ()), err(IStakeManager.CaseOpen.selector));
        bytes memory releasing = abi.encodeCall(ledger.releaseLock, (pool, cheat.node));
        fails(operator, address(ledger), releasing, err(IRoundLedger.StillLocked.selector));
        _convict(caseId);
        assertEq(stakes.account(operator).bonded, 20 ether);
        vm.prank(operator);
        stakes.withdraw();
        assertEq(token.balanceOf(operator), 50 ether);
    }

    /// Prime Intellect: a slash moves the cursor past entries that are unbonding, which nobody can withdraw then. Here there
    /// is one bucket, and a slash of a lock leaves it alone.
    function test_ASlashLosesNoUnbondingEntry() public {
        address operator = cheat.operator;
        stake(operator, 30 ether);
        vm.startPrank(operator);
        stakes.requestUnbond(10 ether);
        stakes.requestUnbond(20 ether);
        vm.stopPrank();
        (, uint256 caseId) = _accuse();
        _convict(caseId);
        assertEq(stakes.account(operator).unbonding, 30 ether);
        assertEq(stakes.totalUnbonding(), 30 ether);
        pass(UNBONDING);
        vm.prank(operator);
        stakes.withdraw();
        assertEq(token.balanceOf(operator), 30 ether);
        assertEq(stakes.totalUnbonding(), 0);
    }

    /// Prime Intellect: who calls the slash is paid it, and nobody can dispute. Here the caller gets nothing, the accuser a
    /// capped fee after a jury's verdict, the treasury the rest.
    function test_ASlashIsNotPaidToItsCaller() public {
        (, uint256 caseId) = _accuse();
        address finder = registry.operatorOf(court.caseOf(caseId).accuser);
        uint256 before = stakes.account(finder).bonded;
        _convict(caseId); // called by this contract
        assertEq(stakes.account(address(this)).bonded, 0);
        assertEq(rewards.earned(address(this)), 0);
        assertEq(stakes.account(finder).bonded - before, 8 ether); // a tenth of 80, at most a fifth
        assertEq(stakes.seized(), 72 ether);
        stakes.payTreasury();
        assertEq(token.balanceOf(TREASURY), 72 ether);
    }

    function _invitePool() private returns (uint256 poolId) {
        NewPool memory p = newPool(defaultParams());
        p.inviteSigner = vm.addr(INVITER);
        vm.prank(CREATOR);
        poolId = pools.createPool(p);
    }

    function _invite(address target, uint256 chain, uint256 poolId, address operator)
        private
        view
        returns (Invite memory invite)
    {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("pi-protocol"),
                keccak256("1"),
                chain,
                target
            )
        );
        bytes32 typehash = keccak256("Invite(uint256 poolId,address operator,uint256 nonce,uint64 deadline)");
        invite.nonce = 7;
        invite.deadline = uint64(now_() + 1000);
        bytes32 inner = keccak256(abi.encode(typehash, poolId, operator, invite.nonce, invite.deadline));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(INVITER, keccak256(abi.encodePacked(hex"1901", domain, inner)));
        invite.signature = abi.encodePacked(r, s, v);
    }

    /// Prime Intellect: an invite hashes neither chain nor contract. Here it works on one chain, in one contract, in one
    /// pool, for one operator, once.
    function test_InvitesAreNotReplayed() public {
        (uint256 a, uint256 b) = (_invitePool(), _invitePool());
        Party memory p = party(50);
        register(p);
        stake(p.operator, 200 ether);
        Invite memory good = _invite(address(pools), block.chainid, a, p.operator);
        bytes memory bad = err(IPools.BadInvite.selector);
        bytes memory joining = abi.encodeCall(pools.join, (b, p.node, 1, good));
        fails(p.operator, address(pools), joining, bad);
        Invite memory other = _invite(address(pools), block.chainid + 1, a, p.operator);
        fails(p.operator, address(pools), abi.encodeCall(pools.join, (a, p.node, 1, other)), bad);
        other = _invite(address(registry), block.chainid, a, p.operator);
        fails(p.operator, address(pools), abi.encodeCall(pools.join, (a, p.node, 1, other)), bad);
        other = _invite(address(pools), block.chainid, a, honest.operator);
        fails(p.operator, address(pools), abi.encodeCall(pools.join, (a, p.node, 1, other)), bad);

        joining = abi.encodeCall(pools.join, (a, p.node, 1, good));
        vm.chainId(block.chainid + 1); // a fork of the chain
        fails(p.operator, address(pools), joining, bad);
        vm.chainId(31_337);
        vm.startPrank(p.operator);
        pools.join(a, p.node, 1, good);
        ledger.leave(a, p.node);
        vm.stopPrank();
        fails(p.operator, address(pools), joining, abi.encodeWithSelector(IPools.InviteUsed.selector, 7));
    }

    /// Prime Intellect, Gensyn: a worker says how much it did. Here it is paid the slots that it declared before the round
    /// and has stake behind, whatever its reveal says.
    function test_UnitsAreNotSelfDeclared() public {
        open(pool);
        Reveal memory w = work(pool, cheat, 0);
        w.width = 4;
        bytes32 commitment = Hashes.commitment(address(ledger), pool, 0, cheat.node, w);
        vm.prank(cheat.node);
        ledger.commit(pool, commitment);
        commit(pool, honest);
        fails(
            cheat.node,
            address(ledger),
            abi.encodeCall(ledger.reveal, (pool, w, SPEC, "")),
            abi.encodeWithSelector(IRoundLedger.BadWidth.selector, 4)
        );
        // and no wider declaration helps in the round that runs
        stake(cheat.operator, 300 ether);
        vm.prank(cheat.operator);
        ledger.setWidth(pool, cheat.node, 4);
        assertEq(ledger.member(pool, cheat.node).width, 1);
    }

    /// A commitment seen in the mempool and sent first. It has its maker inside, so the thief cannot open it, and the maker's
    /// own is not in the way of it.
    function test_CommitmentsAreNotCopied() public {
        open(pool);
        Reveal memory w = work(pool, honest, 0);
        bytes32 copied = commitmentOf(pool, honest, 0);
        vm.prank(cheat.node);
        ledger.commit(pool, copied);
        commit(pool, honest);
        bytes32 own = Hashes.commitment(address(ledger), pool, 0, cheat.node, w);
        bytes32 mask = bytes32(~uint256(type(uint40).max));
        fails(
            cheat.node,
            address(ledger),
            abi.encodeCall(ledger.reveal, (pool, w, SPEC, "")),
            abi.encodeWithSelector(IRoundLedger.CommitmentMismatch.selector, copied & mask, own & mask)
        );
        reveal(pool, honest);
        assertEq(ledger.round(pool, 0).revealed, 1);
    }

    /// Votes and verdicts seen in the mempool. The same: they have the voter inside, and are opened after the last.
    function test_VotesAreNotCopied() public {
        (, uint256 caseId) = _accuse();
        address[] memory jury = court.juryOf(caseId);
        ICourt.Outcome guilty = ICourt.Outcome.Mismatch;
        bytes32 commitment = Hashes.vote(address(court), caseId, jury[0], guilty, GENESIS, SPEC);
        for (uint256 i; i < 2; ++i) {
            vm.prank(jury[i]);
            court.commitVote(caseId, commitment);
        }
        pass(101);
        bytes memory opening = abi.encodeCall(court.revealVote, (caseId, guilty, GENESIS, SPEC));
        fails(jury[1], address(court), opening, err(ICourt.CommitmentMismatch.selector));
        vm.prank(jury[0]);
        court.revealVote(caseId, guilty, GENESIS, SPEC);
        assertEq(court.caseOf(caseId).guilty, 1);
    }

    function test_VerdictsAreNotCopied() public {
        uint256 round = play(pool, nodes);
        ICourt.Verdict[] memory list = verdictsOf(pool, round, seats[0], nodes, fill(2, ICourt.Outcome.Accept));
        bytes32 commitment = Hashes.verdicts(address(court), pool, round, seats[0].node, list, SPEC);
        for (uint256 i; i < 2; ++i) {
            vm.prank(seats[i].node);
            court.commitVerdicts(pool, round, commitment);
        }
        pass(101);
        bytes memory opening = abi.encodeCall(court.revealVerdicts, (pool, round, list, SPEC));
        fails(seats[1].node, address(court), opening, err(ICourt.CommitmentMismatch.selector));
        revealVerdicts(pool, round, seats[0], list);
    }

    /// Prime Intellect: a work key belongs to who names it first. Here the hash of an update is nobody's key: who copied one
    /// and is first keeps nobody out. (The copier fails the replay on its own data.)
    function test_WorkIsNotTakenByWhoNamesItFirst() public {
        open(pool);
        Reveal memory w = work(pool, honest, 0);
        w.salt = SPEC;
        bytes32 commitment = Hashes.commitment(address(ledger), pool, 0, cheat.node, w);
        vm.prank(cheat.node);
        ledger.commit(pool, commitment);
        commit(pool, honest);
        vm.prank(cheat.node);
        ledger.reveal(pool, w, SPEC, "");
        reveal(pool, honest);
        capture(pool, 0);
        close(pool);
        _acceptAll(0);
        open(pool); // from here on the close cannot be done again
        assertEq(ledger.settle(pool, honest.node), 10 ether);
    }

    /// Prime Intellect: rewards are promised without money behind them, and the last claims revert. Here a round that could
    /// cost more than is free does not open, and what is credited was reserved.
    function test_RewardsAreNotPromisedBeyondTheBudget() public {
        _acceptAll(play(pool, nodes)); // 100 reserved; 20 for pay and 2 x 2 for verdicts stay taken
        _acceptAll(play(pool, nodes));
        uint256 left = rewards.free(pool);
        while (left >= 100 ether) {
            _acceptAll(play(pool, nodes));
            left = rewards.free(pool);
        }
        fails(
            ORCHESTRATOR,
            address(ledger),
            abi.encodeCall(ledger.openRound, (pool, 100)),
            abi.encodeWithSelector(IRewards.BudgetTooSmall.selector, left, 100 ether)
        );
        pass(1000);
        // Everybody is paid out of what is there.
        for (uint256 i; i < 2; ++i) {
            ledger.settle(pool, nodes[i].node);
            vm.prank(nodes[i].operator);
            rewards.claim(nodes[i].operator);
        }
        for (uint256 i; i < 4; ++i) {
            if (rewards.earned(seats[i].operator) == 0) continue;
            vm.prank(seats[i].operator);
            rewards.claim(seats[i].operator);
        }
        assertEq(token.balanceOf(address(rewards)), rewards.free(pool));
    }

    /// Many: a permit that somebody else sent first makes the staking revert.
    function test_APermitSentByAnotherDoesNotStopStaking() public {
        address owner = vm.addr(77);
        token.mint(owner, 9);
        bytes32 typehash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 inner = keccak256(abi.encode(typehash, owner, address(stakes), 9, 0, now_()));
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(77, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), inner)));
        vm.prank(STRANGER);
        token.permit(owner, address(stakes), 9, now_(), v, r, s);
        vm.prank(owner);
        stakes.stakeWithPermit(9, now_(), v, r, s);
        assertEq(stakes.account(owner).bonded, 9);
    }

    // ---------------------------------------------------------------------------------------------- our own dangers

    /// The same stake behind two pools, behind a node and a seat, or behind a node and a bond.
    function test_TheSameStakeIsNotLockedTwice() public {
        uint256 other = createPool(defaultParams(), 100 ether);
        bytes memory none = abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 0, 100 ether);
        bytes memory joining = abi.encodeCall(pools.join, (other, honest.node, 1, open_()));
        fails(honest.operator, address(pools), joining, none);
        bytes memory seating = abi.encodeCall(court.takeSeat, (other, honest.node));
        none = abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 0, 50 ether);
        fails(honest.operator, address(court), seating, none);
        none = abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 0, 40 ether);
        fails(honest.operator, address(ledger), abi.encodeCall(ledger.postBond, (other)), none);
        none = abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 0, 1);
        fails(honest.operator, address(stakes), abi.encodeCall(stakes.requestUnbond, (1)), none);
    }

    /// A share of a fixed sum pays the others more when somebody is left out, who then have a reason to. Here a slot has a
    /// price.
    function test_AnExclusionRaisesNobodysPay() public {
        open(pool);
        for (uint256 step; step < 2; ++step) {
            for (uint256 i; i < 2; ++i) {
                if (step == 0) commit(pool, nodes[i]);
                else reveal(pool, nodes[i]);
            }
        }
        capture(pool, 0);
        IRoundLedger.Exclusion[] memory ex = new IRoundLedger.Exclusion[](1);
        ex[0] = IRoundLedger.Exclusion(cheat.node, 1);
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(pool, rootAfter(0), SPEC, ex);
        _acceptAll(0);
        pass(1000);
        assertEq(ledger.settle(pool, honest.node), 10 ether);
        assertEq(ledger.settle(pool, cheat.node), 0);
    }

    /// A poster that steps by updates of its choice, or scales them by factors of its choice, posts another root than all
    /// who recompute it. They name theirs when they open the next round's work: it replaces the posted one, what was left
    /// out is paid, and the bond is gone.
    function test_ACloseWithChosenUpdatesLosesItsBond() public {
        open(pool);
        for (uint256 step; step < 2; ++step) {
            for (uint256 i; i < 2; ++i) {
                if (step == 0) commit(pool, nodes[i]);
                else reveal(pool, nodes[i]);
            }
        }
        IRoundLedger.Exclusion[] memory ex = new IRoundLedger.Exclusion[](1);
        ex[0] = IRoundLedger.Exclusion(honest.node, 1);
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(pool, SPEC, SPEC, ex);
        // While it can be overruled, the bond stays and the exclusion is not settled.
        bytes memory releasing = abi.encodeCall(ledger.releaseBond, (pool));
        fails(ORCHESTRATOR, address(ledger), releasing, err(IRoundLedger.StillLocked.selector));

        pass(101); // the verdicts of round 0
        open(pool);
        assertEq(ledger.settle(pool, honest.node), 0);
        Reveal[] memory w = new Reveal[](2);
        for (uint256 i; i < 2; ++i) {
            w[i] = work(pool, nodes[i], 1);
            w[i].startRoot = rootAfter(0);
            bytes32 commitment = Hashes.commitment(address(ledger), pool, 1, nodes[i].node, w[i]);
            vm.prank(nodes[i].node);
            ledger.commit(pool, commitment);
        }
        for (uint256 i; i < 2; ++i) {
            vm.prank(nodes[i].node);
            ledger.reveal(pool, w[i], SPEC, "");
        }
        assertEq(ledger.round(pool, 1).startRoot, rootAfter(0));
        assertEq(ledger.pool(pool).checkpointRoot, rootAfter(0));
        fails(ORCHESTRATOR, address(ledger), releasing, err(IRoundLedger.StillLocked.selector));
        ledger.punishClose(pool, 0);
        assertEq(stakes.account(ORCHESTRATOR).bonded, 0);
        assertEq(stakes.seized(), 40 ether);
        bytes memory again = abi.encodeCall(ledger.punishClose, (pool, 0));
        fails(STRANGER, address(ledger), again, err(IRoundLedger.NotPunishable.selector));
        pass(1000);
        assertEq(ledger.settle(pool, honest.node), 10 ether);
    }

    /// The same by a proof, which ends up here with the exclusions that it assumed: it must have assumed those of the close.
    function test_ADisproofUsesTheUpdatesOfTheClose() public {
        play(pool, nodes);
        address[] memory one = new address[](1);
        one[0] = honest.node;
        bytes memory disproving = abi.encodeCall(ledger.disprove, (pool, 0, one, STRANGER, 1000));
        bytes memory bad = abi.encodeWithSelector(IRoundLedger.BadExclusion.selector, address(0));
        fails(address(proofs), address(ledger), disproving, bad);
        fails(STRANGER, address(ledger), disproving, err(IRoundLedger.OnlyModule.selector));
        vm.prank(address(proofs));
        ledger.disprove(pool, 0, new address[](0), STRANGER, 1000);
        assertEq(stakes.account(STRANGER).bonded, 4 ether);
        assertEq(stakes.seized(), 36 ether);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Sealed); // to be closed again, and with a new bond
        assertEq(ledger.pool(pool).checkpointRoot, GENESIS);
        bytes memory closing =
            abi.encodeCall(ledger.closeRound, (pool, rootAfter(0), SPEC, new IRoundLedger.Exclusion[](0)));
        bytes memory missing = abi.encodeWithSelector(IRoundLedger.BondMissing.selector, 0, 40 ether);
        fails(ORCHESTRATOR, address(ledger), closing, missing);
    }

    /// Who posts a wrong close could take back what a disproof needs, by having the excluded node settled first.
    function test_SettlingWhoWasLeftOutDoesNotStopADisproof() public {
        open(pool);
        for (uint256 step; step < 2; ++step) {
            for (uint256 i; i < 2; ++i) {
                if (step == 0) commit(pool, nodes[i]);
                else reveal(pool, nodes[i]);
            }
        }
        capture(pool, 0);
        _acceptAll(0); // final before the close
        IRoundLedger.Exclusion[] memory ex = new IRoundLedger.Exclusion[](1);
        ex[0] = IRoundLedger.Exclusion(honest.node, 1);
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(pool, SPEC, SPEC, ex);
        ledger.settle(pool, honest.node);
        ledger.settle(pool, cheat.node);
        address[] memory excluded = new address[](1);
        excluded[0] = honest.node;
        vm.prank(address(proofs));
        ledger.disprove(pool, 0, excluded, STRANGER, 1000);

        // and the next close can still leave out whom it must
        postBond(pool, ORCHESTRATOR);
        ex[0] = IRoundLedger.Exclusion(cheat.node, 2);
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(pool, rootAfter(0), SPEC, ex);
        pass(1000);
        assertEq(ledger.settle(pool, honest.node), 10 ether);
        assertEq(ledger.settle(pool, cheat.node), 0);
    }

    /// Nor does it help to wait until the time for a disproof is over, before the next round opens and renews it.
    function test_WaitingBeforeTheNextRoundDoesNotStopADisproof() public {
        open(pool);
        for (uint256 step; step < 2; ++step) {
            for (uint256 i; i < 2; ++i) {
                if (step == 0) commit(pool, nodes[i]);
                else reveal(pool, nodes[i]);
            }
        }
        IRoundLedger.Exclusion[] memory ex = new IRoundLedger.Exclusion[](1);
        ex[0] = IRoundLedger.Exclusion(honest.node, 1);
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(pool, SPEC, SPEC, ex);
        pass(1000);
        assertTrue(now_() > ledger.disprovableUntil(pool, 0), "over");
        ledger.settle(pool, honest.node);
        open(pool);
        address[] memory excluded = new address[](1);
        excluded[0] = honest.node;
        vm.prank(address(proofs));
        ledger.disprove(pool, 0, excluded, STRANGER, 1000);
        assertEq(stakes.seized(), 36 ether);
    }

    /// A creator that profits from convictions has a reason to buy a jury: stake and pay of the convicted go elsewhere.
    function test_TheCreatorGainsNothingFromAConviction() public {
        (, uint256 caseId) = _accuse();
        uint256 before = rewards.free(pool) + rewards.budget(pool).reserved;
        uint256 reserve = rewards.budget(pool).reserved;
        _convict(caseId);
        pass(1000);
        ledger.settle(pool, cheat.node);
        ledger.settle(pool, honest.node);
        assertEq(rewards.earned(TREASURY), 10 ether); // what the slot would have been paid
        uint256 paid = 20 ether + _voteFees(caseId);
        assertEq(rewards.free(pool) + rewards.budget(pool).reserved, before - paid);
        assertTrue(reserve >= paid, "out of the reserve");
        assertEq(stakes.account(CREATOR).bonded, 0);
        assertEq(rewards.earned(CREATOR), 0);
        assertEq(rewards.earned(cheat.operator), 0);
    }

    function _voteFees(uint256 caseId) private view returns (uint256) {
        return uint256(court.caseOf(caseId).guilty) * 1 ether;
    }

    /// A round that nobody reveals must not hold up the pay of the rounds before it, nor the stakes, nor the pool.
    function test_AnUnrevealedRoundDoesNotFreezeSettlement() public {
        _acceptAll(play(pool, nodes));
        open(pool);
        commit(pool, honest);
        commit(pool, cheat);
        pass(51);
        ledger.sealReveals(pool);
        assertEq(ledger.settle(pool, honest.node), 10 ether);
        pass(31);
        postBond(pool, STRANGER);
        bytes32 same = ledger.pool(pool).checkpointRoot;
        vm.prank(STRANGER);
        ledger.closeRound(pool, same, SPEC, new IRoundLedger.Exclusion[](0));
        assertEq(ledger.settle(pool, cheat.node), 10 ether);
        assertEq(rewards.budget(pool).reserved, 20 ether); // the verdicts that nobody will give
        court.releaseVerdictReserve(pool, 1);
        assertEq(rewards.budget(pool).reserved, 0);
        vm.startPrank(honest.node);
        ledger.leave(pool, honest.node);
        ledger.releaseLock(pool, honest.node);
        vm.stopPrank();
        assertEq(stakes.account(honest.operator).locked, 0);
    }

    /// Who sees the seed and moves its stake away has nothing to lose; who sees it and brings a seat in draws itself.
    function test_StakeDoesNotMoveAfterTheDraw() public {
        uint256 round = play(pool, nodes);
        address[] memory drawn = court.auditorsOf(pool, round, cheat.node);
        vm.prank(cheat.node);
        ledger.leave(pool, cheat.node);
        bytes memory releasing = abi.encodeCall(ledger.releaseLock, (pool, cheat.node));
        fails(cheat.operator, address(ledger), releasing, err(IRoundLedger.StillLocked.selector));
        for (uint256 i; i < 4; ++i) {
            vm.prank(seats[i].node);
            court.leaveSeat(pool, i);
            releasing = abi.encodeCall(court.releaseSeat, (pool, i));
            bytes memory needed = abi.encodeWithSelector(ICourt.StillNeeded.selector, round);
            fails(STRANGER, address(court), releasing, needed);
        }
        takeSeat(pool, party(300));
        address[] memory after_ = court.auditorsOf(pool, round, cheat.node);
        assertEq(keccak256(abi.encode(drawn)), keccak256(abi.encode(after_)));
        fails(
            party(300).node,
            address(court),
            abi.encodeCall(court.commitVerdicts, (pool, round, SPEC)),
            err(ICourt.OnlySeat.selector)
        );
        // All of them still judge, and the cheat still pays.
        ICourt.Outcome[] memory outcomes = fill(2, ICourt.Outcome.Accept);
        outcomes[1] = ICourt.Outcome.Mismatch;
        judge(pool, round, seats, nodes, outcomes);
        _convict(court.caseAbout(pool, round, cheat.node));
        assertEq(stakes.account(cheat.operator).bonded, 20 ether);
    }

    /// The last validator to reveal accuses two workers. The first case finds no juror and ends at once: that must not give
    /// back the reserve that pays the jury of the second.
    function test_TheReserveWaitsForEveryCaseOfTheLastReveal() public {
        PoolParams memory p = defaultParams();
        p.auditors = 1;
        uint256 small = createPool(p, 300 ether);
        Party memory accuser = party(200);
        Party memory judge_ = party(201);
        Party memory own = party(202);
        own.operator = judge_.operator; // its case has no juror: accuser and accused are the only operators of seats
        Party memory other = party(203);
        takeSeat(small, accuser);
        takeSeat(small, judge_);
        join(small, own, 1);
        join(small, other, 1);
        Party[] memory both = new Party[](2);
        (both[0], both[1]) = (own, other);

        // Until the accuser is drawn for both.
        uint256 round;
        ICourt.Verdict[] memory list;
        do {
            round = play(small, both);
            list = verdictsOf(small, round, accuser, both, fill(2, ICourt.Outcome.Mismatch));
            if (list.length != 2) pass(200);
        } while (list.length != 2);
        ICourt.Verdict[] memory none = new ICourt.Verdict[](0);
        commitVerdicts(small, round, judge_, none);
        commitVerdicts(small, round, accuser, list);
        revealVerdicts(small, round, judge_, none);
        uint256 reserved = rewards.budget(small).reserved;
        revealVerdicts(small, round, accuser, list);
        uint256 caseId = court.caseAbout(small, round, other.node);
        assertEq(court.caseOf(caseId - 1).status, ICourt.CaseStatus.Hung);
        assertEq(court.caseOf(caseId).status, ICourt.CaseStatus.Open);
        assertEq(rewards.budget(small).reserved, reserved - 2 ether); // two verdicts are paid, nothing is given back
    }
}
