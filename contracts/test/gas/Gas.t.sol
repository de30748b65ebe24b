// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IFraudProofs} from "../../src/interfaces/IFraudProofs.sol";
import {NewPool, OuterRule, PoolParams} from "../../src/interfaces/IPools.sol";
import {IRoundLedger, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {Base} from "../Base.sol";

/// @title What every operation costs, as whole transactions: 21,000 and the calldata are in.
/// @notice "first" is an account's or a pool's first use, where slots go from zero to something; "steady" is a later one,
/// for rounds the one after the ring has gone round. `tools/gas.py` runs this and keeps `contracts/snapshots/gas.json`.
/// forge-config: default.isolate = true
contract GasTest is Base {
    uint256 private constant STEADY = 18; // rounds after which every ring place has been used
    uint256 private constant BUDGET = 10_000_000 ether;

    uint256 private pool;

    function _record(string memory operation, bool steady) private returns (uint256) {
        return vm.snapshotGasLastCall("gas", string.concat(operation, steady ? "/steady" : "/first"));
    }

    function _parties(uint256 from, uint256 n) private pure returns (Party[] memory list) {
        list = new Party[](n);
        for (uint256 i; i < n; ++i) {
            list[i] = party(from + i);
        }
    }

    /// @dev A pool with this many workers of width 1, whose nodes come through the door's own entry to the ledger.
    function _pool(uint256 workers, uint256 seats) private returns (Party[] memory nodes, Party[] memory validators) {
        PoolParams memory p = defaultParams();
        p.maxSlots = 1024;
        p.verdictBudget = 20;
        pool = createPool(p, BUDGET);
        nodes = _parties(1, workers);
        address operator = party(0).operator;
        stake(operator, uint256(p.stakePerSlot) * workers);
        for (uint256 i; i < workers; ++i) {
            nodes[i].operator = operator;
            vm.prank(address(pools));
            ledger.join(pool, nodes[i].node, operator, 1);
        }
        validators = _parties(2000, seats);
        for (uint256 i; i < seats; ++i) {
            takeSeat(pool, validators[i]);
        }
    }

    function _seatsOf(uint256 round, Party[] memory nodes, Party[] memory validators) private {
        if (validators.length == 0) return;
        judge(pool, round, validators, nodes, fill(nodes.length, ICourt.Outcome.Accept));
    }

    /// @dev Whole rounds, judged where the pool has seats.
    function _rounds(uint256 n, Party[] memory nodes, Party[] memory validators) private {
        for (uint256 i; i < n; ++i) {
            _seatsOf(play(pool, nodes), nodes, validators);
            pass(10);
        }
    }

    /// @dev One whole round of a pool without validators.
    function _unjudged(Party[] memory nodes) private {
        open(pool);
        for (uint256 i; i < nodes.length; ++i) {
            commit(pool, nodes[i]);
        }
        for (uint256 i; i < nodes.length; ++i) {
            reveal(pool, nodes[i]);
        }
        close(pool);
    }

    // ---------------------------------------------------------------------------------------------- stakes

    function _stakeOnce(address operator, uint256 amount, uint256 kept, bool steady) private {
        token.mint(operator, amount + kept);
        vm.prank(operator);
        token.approve(address(stakes), amount);
        vm.prank(operator);
        stakes.stake(amount);
        if (kept != 0) _record("stake", steady);
    }

    function _unbond(address operator) private {
        vm.prank(operator);
        stakes.requestUnbond(10 ether);
    }

    function _withdraw(address operator) private {
        vm.prank(operator);
        stakes.withdraw();
    }

    function test_Stake() public {
        // Somebody else was here before: the totals are the contract's, not the account's.
        _stakeOnce(STRANGER, 100 ether, 0, false);
        _unbond(STRANGER);
        address operator = party(1).operator;
        _stakeOnce(operator, 100 ether, 1 ether, false);
        _stakeOnce(operator, 100 ether, 1 ether, true);
        _unbond(operator);
        _record("unbond", false);
        _unbond(operator);
        _record("unbond", true);
        pass(UNBONDING);
        _withdraw(operator);
        _record("withdraw", true);

        _stakeOnce(CREATOR, 100 ether, 0, false);
        _unbond(CREATOR);
        pass(UNBONDING);
        _withdraw(CREATOR); // has no tokens left
        _record("withdraw", false);
        _unbond(CREATOR);
        vm.prank(CREATOR);
        stakes.rebond();
        _record("rebond", false);
        _unbond(CREATOR);
        vm.prank(CREATOR);
        stakes.rebond();
        _record("rebond", true);
    }

    function test_SlashOfALock() public {
        bytes32 id = keccak256("lock");
        address operator = party(1).operator;
        stake(operator, 300 ether);
        vm.prank(address(ledger));
        stakes.lock(operator, id, 300 ether);
        for (uint256 i; i < 2; ++i) {
            vm.prank(address(ledger));
            stakes.slash(operator, id, 80 ether, STRANGER, 1000);
            _record("slash a lock", i == 1);
        }
    }

    // ---------------------------------------------------------------------------------------------- pools

    function test_Entry() public {
        vm.prank(CREATOR);
        pool = pools.createPool(newPool(defaultParams()));
        _record("create pool", false);
        vm.prank(CREATOR);
        pools.createPool(newPool(defaultParams()));
        _record("create pool", true);

        // The second node of the same operator is the steady case.
        Party memory p = party(1);
        stake(p.operator, 1000 ether);
        for (uint256 i; i < 2; ++i) {
            p = party(1 + i);
            p.operator = party(1).operator;
            register(p);
            _record("register node", i == 1);
            vm.prank(p.operator);
            pools.join(pool, p.node, 1, open_());
            _record("join", i == 1);
        }
        p = party(3);
        p.operator = party(1).operator;
        register(p);
        for (uint256 i; i < 2; ++i) {
            p = party(3 + i);
            p.operator = party(1).operator;
            if (i == 1) register(p);
            vm.prank(p.operator);
            court.takeSeat(pool, p.node);
            _record("take seat", i == 1);
        }
    }

    // ---------------------------------------------------------------------------------------------- rounds

    /// @dev One round, in which the second of the nodes is measured: the others' words are warm neither way, and the
    /// round's own have been written by the first.
    function _measureRound(Party[] memory nodes, bool steady) private returns (uint256 round) {
        open(pool);
        round = running(pool);
        for (uint256 i; i < nodes.length; ++i) {
            commit(pool, nodes[i]);
            if (i == 1) _record("commit", steady);
            if (i == nodes.length - 1) _record("commit, the last of a round", steady);
        }
        for (uint256 i; i < nodes.length; ++i) {
            reveal(pool, nodes[i]);
            if (i == 1) _record("reveal", steady);
            if (i == nodes.length - 1) _record("reveal, the last of a round", steady);
        }
        capture(pool, round);
        _record("capture seed", steady);
        close(pool);
    }

    function test_CommitAndReveal() public {
        (Party[] memory nodes, Party[] memory validators) = _pool(3, 3);
        uint256 round = _measureRound(nodes, false);
        _seatsOf(round, nodes, validators);
        _rounds(STEADY, nodes, validators);
        _measureRound(nodes, true);
    }

    /// @dev Open and close of the first round, and of one after the ring has gone round, with all workers in it.
    function _openAndClose(uint256 workers, uint256 between, string memory size) private {
        (Party[] memory nodes,) = _pool(workers, 3);
        Party[] memory one = new Party[](1);
        one[0] = nodes[0];
        for (uint256 i; i < 2; ++i) {
            open(pool);
            uint256 gas_ = _record(string.concat("open", size), i == 1);
            uint256 round = running(pool);
            for (uint256 k; k < workers; ++k) {
                commit(pool, nodes[k]);
            }
            for (uint256 k; k < workers; ++k) {
                reveal(pool, nodes[k]);
            }
            capture(pool, round);
            close(pool);
            gas_ += _record(string.concat("close", size), i == 1);
            vm.snapshotValue("gas", string.concat("open + close", size, i == 1 ? "/steady" : "/first"), gas_);
            for (uint256 k; i == 0 && k < between; ++k) {
                pass(200); // nobody judged the round before
                open(pool);
                commit(pool, nodes[0]);
                if (workers != 1) pass(101);
                reveal(pool, nodes[0]);
                capture(pool, running(pool));
                close(pool);
            }
            pass(200);
        }
    }

    function test_OpenAndCloseWith1() public {
        _openAndClose(1, STEADY, ", 1 worker");
    }

    function test_OpenAndCloseWith16() public {
        _openAndClose(16, STEADY, ", 16 workers");
    }

    function test_OpenAndCloseWith1000() public {
        _openAndClose(1000, STEADY, ", 1000 workers");
    }

    // ---------------------------------------------------------------------------------------------- pay

    function test_SettleAndClaim() public {
        (Party[] memory nodes,) = _pool(2, 0);
        address operator = nodes[0].operator;
        // Somebody else earns too, so that nothing is settled to the last wei.
        for (uint256 i; i < 2; ++i) {
            for (uint256 k; k < 16; ++k) {
                _unjudged(nodes);
            }
            ledger.settle(pool, nodes[0].node);
            _record("settle 16 rounds", i == 1);
            address to = i == 0 ? operator : STRANGER;
            if (i == 1) token.mint(to, 1);
            vm.prank(operator);
            rewards.claim(to);
            _record("claim", i == 1);
        }
    }

    // ---------------------------------------------------------------------------------------------- verdicts and cases

    function _measureVerdicts(Party[] memory nodes, Party[] memory validators, bool steady) private {
        uint256 round = play(pool, nodes);
        ICourt.Outcome[] memory outcomes = fill(nodes.length, ICourt.Outcome.Accept);
        ICourt.Verdict[][] memory lists = new ICourt.Verdict[][](validators.length);
        for (uint256 i; i < validators.length; ++i) {
            lists[i] = verdictsOf(pool, round, validators[i], nodes, outcomes);
            commitVerdicts(pool, round, validators[i], lists[i]);
            if (i == 1) _record("commit verdicts", steady);
        }
        for (uint256 i; i < validators.length; ++i) {
            revealVerdicts(pool, round, validators[i], lists[i]);
            if (i == 1) _record("reveal verdicts", steady);
        }
        pass(10);
    }

    function test_Verdicts() public {
        (Party[] memory nodes, Party[] memory validators) = _pool(2, 3);
        _measureVerdicts(nodes, validators, false);
        _rounds(STEADY, nodes, validators);
        _measureVerdicts(nodes, validators, true);
    }

    /// @dev The first of the seats drawn for a node accuses it; the jury convicts.
    function _measureConviction(Party[] memory nodes, Party[] memory validators, uint256 cheat, bool steady) private {
        uint256 round = play(pool, nodes);
        ICourt.Outcome[] memory outcomes = fill(nodes.length, ICourt.Outcome.Accept);
        outcomes[cheat] = ICourt.Outcome.Mismatch;
        judge(pool, round, validators, nodes, outcomes);
        uint256 caseId = court.caseAbout(pool, round, nodes[cheat].node);
        _vote(caseId, validators, steady);
        if (court.caseOf(caseId).status == ICourt.CaseStatus.Open) {
            court.resolveCase(caseId);
            _record("decide a case", steady);
        }
        if (court.caseOf(caseId).status == ICourt.CaseStatus.Decided) {
            pass(100);
            court.resolveCase(caseId);
        }
        _record("slash execution (resolve a case)", steady);
        assertEq(uint256(court.caseOf(caseId).status), uint256(ICourt.CaseStatus.Convicted));
        pass(200);
    }

    /// @dev The whole jury finds guilty; its second juror is measured.
    function _vote(uint256 caseId, Party[] memory validators, bool steady) private {
        address[] memory jury = court.juryOf(caseId);
        for (uint256 step; step < 2; ++step) {
            for (uint256 j; j < jury.length; ++j) {
                uint256 i;
                while (validators[i].node != jury[j]) ++i;
                if (step == 0) commitVote(caseId, validators[i], ICourt.Outcome.Mismatch);
                else revealVote(caseId, validators[i], ICourt.Outcome.Mismatch);
                if (j == 1) _record(step == 0 ? "commit vote" : "reveal vote", steady);
            }
        }
    }

    function test_SlashExecution() public {
        // Six seats: one accuses, three are the first jury, so that there is a larger one to appeal to.
        (Party[] memory nodes, Party[] memory validators) = _pool(3, 6);
        _measureConviction(nodes, validators, 0, false);
        Party[] memory rest = new Party[](2);
        (rest[0], rest[1]) = (nodes[1], nodes[2]);
        _rounds(STEADY, rest, validators);
        _measureConviction(rest, validators, 0, true);
    }

    // ---------------------------------------------------------------------------------------------- fraud proofs

    struct Step {
        OuterRule rule;
        bytes32 start;
        bytes32 posted;
        IFraudProofs.Leaf leaf;
        IFraudProofs.Contribution[] reveals;
    }

    /// @dev Vectors of many updates, on the real ledger: their nodes join a pool with their outer rule and reveal what
    /// they say.
    function test_Proof() public {
        _prove("sixteen sparse updates of the reference model", "prove outer step, 16 sparse updates");
    }

    function test_ProofOfTransforms() public {
        _prove("sixteen dct updates", "prove outer step, 16 dct updates");
    }

    /// @dev Each value is below all those before it, which costs the sorting most.
    function test_ProofOfATrimmedMean() public {
        _prove("thirty-two updates in the worst order", "prove outer step, 32 trimmed updates");
    }

    function _prove(string memory vector, string memory operation) private {
        Step memory s = _stepNamed(vector);
        for (uint256 i; i < 2; ++i) {
            _playStep(s);
            s.leaf.poolId = pool;
            s.leaf.round = 0;
            vm.prank(STRANGER);
            proofs.proveOuterStep(s.leaf, s.reveals, new address[](0));
            _record(operation, i == 1);
            assertEq(ledger.resultRoot(pool, 0), bytes32(0));
        }
    }

    function _stepNamed(string memory what) private view returns (Step memory s) {
        string memory json = vm.readFile("tests/vectors/fraud.json");
        bytes32 wanted = keccak256(bytes(what));
        uint256 i;
        string memory key = ".steps[0].";
        while (keccak256(bytes(vm.parseJsonString(json, string.concat(key, "what")))) != wanted) {
            key = string.concat(".steps[", vm.toString(++i), "].");
        }
        s.rule = abi.decode(vm.parseJsonBytes(json, string.concat(key, "rule")), (OuterRule));
        s.start = vm.parseJsonBytes32(json, string.concat(key, "start"));
        s.posted = vm.parseJsonBytes32(json, string.concat(key, "posted"));
        s.leaf = abi.decode(vm.parseJsonBytes(json, string.concat(key, "leaf")), (IFraudProofs.Leaf));
        s.reveals = abi.decode(vm.parseJsonBytes(json, string.concat(key, "reveals")), (IFraudProofs.Contribution[]));
    }

    function _playStep(Step memory s) private {
        NewPool memory fresh = newPool(defaultParams());
        fresh.params.maxSlots = s.rule.trim == 0 ? 1024 : 32;
        fresh.params.maxWidth = 31;
        fresh.outer = s.rule;
        fresh.genesisRoot = s.start;
        vm.prank(CREATOR);
        pool = pools.createPool(fresh);
        fund(pool, BUDGET);
        postBond(pool, ORCHESTRATOR);
        address operator = party(0).operator;
        stake(operator, 1000 * uint256(fresh.params.stakePerSlot));
        for (uint256 i; i < s.reveals.length; ++i) {
            vm.prank(address(pools));
            ledger.join(pool, s.reveals[i].node, operator, s.reveals[i].width);
        }
        open(pool);
        for (uint256 i; i < s.reveals.length; ++i) {
            bytes32 commitment = Hashes.commitment(address(ledger), pool, 0, s.reveals[i].node, _revealOf(s.reveals[i]));
            vm.prank(s.reveals[i].node);
            ledger.commit(pool, commitment);
        }
        for (uint256 i; i < s.reveals.length; ++i) {
            vm.prank(s.reveals[i].node);
            ledger.reveal(pool, _revealOf(s.reveals[i]), 0, "");
        }
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(pool, s.posted, 0, new IRoundLedger.Exclusion[](0));
    }

    function _revealOf(IFraudProofs.Contribution memory c) private pure returns (Reveal memory opened) {
        opened.startRoot = c.startRoot;
        opened.updateRoot = c.updateRoot;
        opened.norm = c.norm;
        opened.width = c.width;
    }
}
