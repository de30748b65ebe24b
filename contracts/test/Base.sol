// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Court} from "../src/Court.sol";
import {FraudProofs} from "../src/FraudProofs.sol";
import {NodeRegistry} from "../src/NodeRegistry.sol";
import {Pools} from "../src/Pools.sol";
import {Rewards} from "../src/Rewards.sol";
import {RoundLedger} from "../src/RoundLedger.sol";
import {StakeManager} from "../src/StakeManager.sol";
import {TestToken} from "../src/TestToken.sol";
import {ICourt} from "../src/interfaces/ICourt.sol";
import {Invite, NewPool, OuterRule, PoolParams} from "../src/interfaces/IPools.sol";
import {IRoundLedger, Reveal} from "../src/interfaces/IRoundLedger.sol";
import {Hashes} from "../src/libraries/Hashes.sol";
import {Vm} from "./Vm.sol";

/// @title Assertions, and the protocol's moves in one line each.
/// @dev Written for this project: forge alone, no test library.
abstract contract Base {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    error Failed(string what);
    error NotEqual(uint256 actual, uint256 expected);
    error WrongError(bytes got, bytes expected);
    error NotEqualBytes32(bytes32 actual, bytes32 expected);

    /// An operator and one node key of theirs.
    struct Party {
        address operator;
        address node;
        uint256 key;
    }

    address internal constant TREASURY = address(0x7EA5);
    address internal constant CREATOR = address(0xC0EA);
    address internal constant ORCHESTRATOR = address(0x04C4);
    address internal constant GUARDIAN = address(0x6A5D);
    address internal constant STRANGER = address(0x5714);
    bytes32 internal constant GENESIS = keccak256("genesis");
    bytes32 internal constant SPEC = keccak256("run spec");
    uint64 internal constant UNBONDING = 1000;

    TestToken internal token;
    NodeRegistry internal registry;
    StakeManager internal stakes;
    Rewards internal rewards;
    Pools internal pools;
    RoundLedger internal ledger;
    Court internal court;
    FraudProofs internal proofs;

    function setUp() public virtual {
        vm.warp(1_000_000);
        vm.roll(1000);
        uint64 nonce = vm.getNonce(address(this));
        address pools_ = vm.computeCreateAddress(address(this), nonce + 4);
        address ledger_ = vm.computeCreateAddress(address(this), nonce + 5);
        address court_ = vm.computeCreateAddress(address(this), nonce + 6);
        address proofs_ = vm.computeCreateAddress(address(this), nonce + 7);
        token = TestToken(deploy("TestToken", ""));
        registry = NodeRegistry(deploy("NodeRegistry", ""));
        stakes = StakeManager(deploy("StakeManager", abi.encode(token, ledger_, court_, TREASURY, UNBONDING)));
        rewards = Rewards(deploy("Rewards", abi.encode(token, ledger_, court_, TREASURY)));
        pools = Pools(deploy("Pools", abi.encode(registry, stakes, ledger_, GUARDIAN)));
        ledger = RoundLedger(deploy("RoundLedger", abi.encode(stakes, rewards, pools_, court_, proofs_)));
        court = Court(deploy("Court", abi.encode(stakes, rewards, pools, ledger)));
        proofs = FraudProofs(deploy("FraudProofs", abi.encode(pools, ledger)));
        assertEq(address(pools), pools_);
        assertEq(address(ledger), ledger_);
        assertEq(address(court), court_);
        assertEq(address(proofs), proofs_);
    }

    /// @dev Deploys the optimised artifact of a contract of contracts/src, where `new` would deploy what tests are
    /// compiled to (foundry.toml). Coverage (tools/coverage.py) needs the code that it has compiled itself.
    function deploy(string memory name, bytes memory args) internal returns (address) {
        bool covered = vm.envOr("PI_COVERAGE", false);
        string memory artifact = string.concat(name, covered ? ".sol:" : ".sol/", name);
        return vm.deployCode(covered ? artifact : string.concat("contracts/out/", artifact, ".json"), args);
    }

    // ---------------------------------------------------------------------------------------------- assertions

    function assertTrue(bool ok, string memory what) internal pure {
        require(ok, Failed(what));
    }

    function assertEq(uint256 actual, uint256 expected) internal pure {
        require(actual == expected, NotEqual(actual, expected));
    }

    function assertEq(address actual, address expected) internal pure {
        require(actual == expected, NotEqual(uint160(actual), uint160(expected)));
    }

    function assertEq(bytes32 actual, bytes32 expected) internal pure {
        require(actual == expected, NotEqualBytes32(actual, expected));
    }

    function assertEq(bool actual, bool expected) internal pure {
        require(actual == expected, NotEqual(actual ? 1 : 0, expected ? 1 : 0));
    }

    function assertEq(IRoundLedger.RecordStatus actual, IRoundLedger.RecordStatus expected) internal pure {
        assertEq(uint256(actual), uint256(expected));
    }

    function assertEq(IRoundLedger.Phase actual, IRoundLedger.Phase expected) internal pure {
        assertEq(uint256(actual), uint256(expected));
    }

    function assertEq(ICourt.CaseStatus actual, ICourt.CaseStatus expected) internal pure {
        assertEq(uint256(actual), uint256(expected));
    }

    /// @dev `value` folded into [low, high].
    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }

    /// @dev An error without arguments, as `expectRevert` wants it.
    function err(bytes4 selector) internal pure returns (bytes memory) {
        return abi.encodePacked(selector);
    }

    /// @dev Sends a call that must revert with exactly these error bytes.
    function fails(address sender, address target, bytes memory data, bytes memory expected) internal {
        vm.prank(sender);
        (bool ok, bytes memory got) = target.call(data);
        require(!ok, Failed("the call must revert"));
        require(keccak256(got) == keccak256(expected), WrongError(got, expected));
    }

    // ---------------------------------------------------------------------------------------------- people

    function party(uint256 n) internal pure returns (Party memory) {
        uint256 key = uint256(keccak256(abi.encode("node", n)));
        return Party({operator: address(uint160(0x1000 + n)), node: vm.addr(key), key: key});
    }

    function authorization(Party memory p, uint256 deadline) internal view returns (bytes memory) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("pi-protocol"),
                keccak256("1"),
                block.chainid,
                address(registry)
            )
        );
        bytes32 inner = keccak256(
            abi.encode(
                keccak256("NodeAuthorization(address operator,address node,uint256 deadline)"),
                p.operator,
                p.node,
                deadline
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(p.key, keccak256(abi.encodePacked(hex"1901", domain, inner)));
        return abi.encodePacked(r, s, v);
    }

    function register(Party memory p) internal {
        bytes memory signature = authorization(p, now_() + 60);
        vm.prank(p.operator);
        registry.registerNode(p.node, now_() + 60, signature);
    }

    function stake(address operator, uint256 amount) internal {
        token.mint(operator, amount);
        vm.startPrank(operator);
        token.approve(address(stakes), amount);
        stakes.stake(amount);
        vm.stopPrank();
    }

    // ---------------------------------------------------------------------------------------------- pools

    function defaultParams() internal pure returns (PoolParams memory p) {
        p.pricePerSlot = 10 ether;
        p.stakePerSlot = 100 ether;
        p.seatStake = 50 ether;
        p.verdictFee = 1 ether;
        p.slashConviction = 80 ether;
        p.slashFalseAccusation = 20 ether;
        p.slashMiss = 5 ether;
        p.closeBond = 40 ether;
        p.slashAbsence = 1 ether;
        p.slashOverturned = 3 ether;
        p.appealBond = 10 ether;
        p.appealWindow = 20;
        p.orchestrator = ORCHESTRATOR;
        p.rounds = 40;
        p.minTrainWindow = 10;
        p.maxTrainWindow = 100;
        p.revealWindow = 50;
        p.graceWindow = 30;
        p.verdictWindow = 100;
        p.verdictRevealWindow = 50;
        p.voteWindow = 100;
        p.voteRevealWindow = 50;
        p.maxSlots = 8;
        p.maxWidth = 4;
        p.minSlots = 1;
        p.minSeats = 0;
        p.verdictBudget = 20;
        p.auditRate = 10_000;
        p.probation = 2;
        p.finderFee = 1000;
        p.auditors = 2;
        p.jurySize = 3;
    }

    function defaultOuter() internal pure returns (OuterRule memory) {
        return OuterRule({
            codec: 1,
            k: 64,
            maxStep: 1 << 22,
            rule: 0,
            lr: 98_304,
            momentum: 0,
            parameters: 828_544,
            fragments: 1,
            guard: 0,
            trim: 0
        });
    }

    function newPool(PoolParams memory p) internal pure returns (NewPool memory) {
        return NewPool({
            params: p,
            outer: defaultOuter(),
            runSpecHash: SPEC,
            genesisRoot: GENESIS,
            inviteSigner: address(0),
            storeURI: "http://store",
            requirementsURI: ""
        });
    }

    /// @dev A funded pool whose orchestrator has its bond posted.
    function createPool(PoolParams memory p, uint256 budget) internal returns (uint256 poolId) {
        vm.prank(CREATOR);
        poolId = pools.createPool(newPool(p));
        fund(poolId, budget);
        postBond(poolId, ORCHESTRATOR);
    }

    function postBond(uint256 poolId, address poster) internal {
        uint256 bond = pools.params(poolId).closeBond;
        if (bond == 0) return;
        stake(poster, bond);
        vm.prank(poster);
        ledger.postBond(poolId);
    }

    function open_() internal pure returns (Invite memory none) {}

    function fund(uint256 poolId, uint256 amount) internal {
        token.mint(CREATOR, amount);
        vm.startPrank(CREATOR);
        token.approve(address(rewards), amount);
        rewards.fund(poolId, amount);
        vm.stopPrank();
    }

    /// @dev Registers, stakes exactly what is needed and joins.
    function join(uint256 poolId, Party memory p, uint16 width) internal {
        register(p);
        stake(p.operator, uint256(pools.params(poolId).stakePerSlot) * width);
        vm.prank(p.operator);
        pools.join(poolId, p.node, width, open_());
    }

    function takeSeat(uint256 poolId, Party memory p) internal returns (uint256 index) {
        register(p);
        stake(p.operator, pools.params(poolId).seatStake);
        vm.prank(p.operator);
        index = court.takeSeat(poolId, p.node);
    }

    function isAudited(uint256 poolId, uint256 round, address node) internal view returns (bool) {
        return court.auditorsOf(poolId, round, node).length != 0;
    }

    // ---------------------------------------------------------------------------------------------- rounds

    function open(uint256 poolId) internal {
        vm.prank(ORCHESTRATOR);
        ledger.openRound(poolId, 100);
    }

    /// @dev What a node would reveal in a round, its state chained to its latest on-time reveal.
    function work(uint256 poolId, Party memory p, uint256 round) internal view returns (Reveal memory) {
        return Reveal({
            salt: keccak256(abi.encode("salt", p.node, round)),
            startRoot: ledger.round(poolId, round).startRoot,
            updateRoot: keccak256(abi.encode("update", p.node, round)),
            traceRoot: keccak256(abi.encode("trace", p.node, round)),
            stateIn: ledger.member(poolId, p.node).stateOut,
            stateOut: keccak256(abi.encode("state", p.node, round)),
            norm: uint128(1000 + round),
            width: ledger.member(poolId, p.node).width
        });
    }

    function commitmentOf(uint256 poolId, Party memory p, uint256 round) internal view returns (bytes32) {
        return Hashes.commitment(address(ledger), poolId, round, p.node, work(poolId, p, round));
    }

    function running(uint256 poolId) internal view returns (uint256) {
        return ledger.pool(poolId).nextRound - 1;
    }

    function commit(uint256 poolId, Party memory p) internal {
        bytes32 commitment = commitmentOf(poolId, p, running(poolId));
        vm.prank(p.node);
        ledger.commit(poolId, commitment);
    }

    function reveal(uint256 poolId, Party memory p) internal {
        Reveal memory opened = work(poolId, p, running(poolId));
        vm.prank(p.node);
        ledger.reveal(poolId, opened, keccak256("file"), "http://store");
    }

    function mine(uint256 blocks) internal {
        vm.roll(vm.getBlockNumber() + blocks);
    }

    function pass(uint256 seconds_) internal {
        vm.warp(now_() + seconds_);
    }

    /// @dev The compiler may assume that `block.timestamp` does not change inside a test; this never caches.
    function now_() internal view returns (uint256) {
        return vm.getBlockTimestamp();
    }

    function capture(uint256 poolId, uint256 round) internal {
        mine(2);
        court.captureSeed(poolId, round);
    }

    function rootAfter(uint256 round) internal pure returns (bytes32) {
        return keccak256(abi.encode("root", round));
    }

    function close(uint256 poolId) internal {
        bytes32 root = rootAfter(running(poolId));
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(poolId, root, keccak256("checkpoint"), new IRoundLedger.Exclusion[](0));
    }

    /// @dev One whole round in which all of `nodes` work; its seed is captured, it is not judged yet.
    function play(uint256 poolId, Party[] memory nodes) internal returns (uint256 round) {
        open(poolId);
        round = running(poolId);
        for (uint256 i; i < nodes.length; ++i) {
            commit(poolId, nodes[i]);
        }
        for (uint256 i; i < nodes.length; ++i) {
            reveal(poolId, nodes[i]);
        }
        capture(poolId, round);
        close(poolId);
    }

    // ---------------------------------------------------------------------------------------------- verdicts

    /// @dev The list that this validator owes: its drawn slots of `nodes`, each with the outcome given for it.
    function verdictsOf(
        uint256 poolId,
        uint256 round,
        Party memory v,
        Party[] memory nodes,
        ICourt.Outcome[] memory outcomes
    ) internal view returns (ICourt.Verdict[] memory list) {
        list = new ICourt.Verdict[](nodes.length);
        uint256 n;
        for (uint256 i; i < nodes.length; ++i) {
            address[] memory drawn = court.auditorsOf(poolId, round, nodes[i].node);
            for (uint256 j; j < drawn.length; ++j) {
                if (drawn[j] != v.node) continue;
                list[n++] = ICourt.Verdict(nodes[i].node, outcomes[i], keccak256(abi.encode(v.node, nodes[i].node)));
            }
        }
        assembly {
            mstore(list, n)
        }
    }

    function commitVerdicts(uint256 poolId, uint256 round, Party memory v, ICourt.Verdict[] memory list) internal {
        bytes32 commitment = Hashes.verdicts(address(court), poolId, round, v.node, list, SPEC);
        vm.prank(v.node);
        court.commitVerdicts(poolId, round, commitment);
    }

    function revealVerdicts(uint256 poolId, uint256 round, Party memory v, ICourt.Verdict[] memory list) internal {
        vm.prank(v.node);
        court.revealVerdicts(poolId, round, list, SPEC);
    }

    function fill(uint256 n, ICourt.Outcome outcome) internal pure returns (ICourt.Outcome[] memory outcomes) {
        outcomes = new ICourt.Outcome[](n);
        for (uint256 i; i < n; ++i) {
            outcomes[i] = outcome;
        }
    }

    /// @dev All of `seats` judge a round; one list of outcomes for all.
    function judge(
        uint256 poolId,
        uint256 round,
        Party[] memory seats,
        Party[] memory nodes,
        ICourt.Outcome[] memory outcomes
    ) internal {
        ICourt.Verdict[][] memory lists = new ICourt.Verdict[][](seats.length);
        for (uint256 i; i < seats.length; ++i) {
            lists[i] = verdictsOf(poolId, round, seats[i], nodes, outcomes);
            commitVerdicts(poolId, round, seats[i], lists[i]);
        }
        for (uint256 i; i < seats.length; ++i) {
            revealVerdicts(poolId, round, seats[i], lists[i]);
        }
    }

    function commitVote(uint256 caseId, Party memory v, ICourt.Outcome outcome) internal {
        bytes32 commitment = Hashes.vote(address(court), caseId, v.node, outcome, GENESIS, SPEC);
        vm.prank(v.node);
        court.commitVote(caseId, commitment);
    }

    function revealVote(uint256 caseId, Party memory v, ICourt.Outcome outcome) internal {
        vm.prank(v.node);
        court.revealVote(caseId, outcome, GENESIS, SPEC);
    }

    /// @dev The jury of a case votes alike and the case is resolved.
    function decide(uint256 caseId, Party[] memory seats, ICourt.Outcome outcome) internal {
        address[] memory jury = court.juryOf(caseId);
        for (uint256 step; step < 2; ++step) {
            for (uint256 i; i < seats.length; ++i) {
                for (uint256 j; j < jury.length; ++j) {
                    if (jury[j] != seats[i].node) continue;
                    if (step == 0) commitVote(caseId, seats[i], outcome);
                    else revealVote(caseId, seats[i], outcome);
                }
            }
        }
        court.resolveCase(caseId);
    }
}
