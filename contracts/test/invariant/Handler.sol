// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {INodeRegistry} from "../../src/interfaces/INodeRegistry.sol";
import {IPools, Invite, NewPool, PoolParams} from "../../src/interfaces/IPools.sol";
import {IRewards} from "../../src/interfaces/IRewards.sol";
import {IRoundLedger, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {MoodyToken} from "../mocks/HostileTokens.sol";
import {Ghosts} from "./Ghosts.sol";
import {System} from "./System.sol";

/// @title Random moves of everybody in two pools.
/// @dev Operators are shared: worker 0 and seat 0 are one operator's, workers 2 and 3 another's, and all of them are in
/// both pools. The second pool is by invite, its prices differ, and it ends after a few rounds.
///
/// A move that the contracts refuse with an error of theirs is a legitimate try; a panic or an empty revert is a bug and
/// fails the run, and so does `Violated`. `done` counts what succeeded, so that a test can tell that the suite gets
/// everywhere.
contract Handler is Ghosts {
    uint256 public constant WORKERS = 4;
    uint256 public constant VALIDATORS = 5;
    uint256 private constant INVITER = uint256(keccak256("inviter"));

    mapping(bytes4 selector => uint256) public done;
    mapping(ICourt.CaseStatus status => uint256) public seen;
    uint256 public overruled;
    uint256 public reentered;

    struct Work {
        bytes32 startRoot;
        uint16 width;
        bool confirmOnly;
    }

    Party[] private _workers; // present ones; stored, since deriving a key's address is slow
    address[] public nodes; // of workers, present and former
    Party[] private _validators;
    mapping(uint256 poolId => mapping(uint256 round => mapping(address node => Work))) private _work;
    /// The root that honest nodes find as the start of a round.
    mapping(uint256 poolId => mapping(uint256 round => bytes32)) private _honest;
    mapping(uint256 poolId => mapping(uint256 round => address[])) private _excluded;
    uint256 private _nonces;
    bool private _inside;

    constructor(System s) {
        (token, registry, stakes, rewards) = (s.tokenOf(), s.registryOf(), s.stakesOf(), s.rewardsOf());
        (pools, ledger, court, proofs) = (s.poolsOf(), s.ledgerOf(), s.courtOf(), s.proofsOf());
        for (uint256 i; i < WORKERS; ++i) {
            _workers.push(party(i));
            nodes.push(_workers[i].node);
        }
        _workers[3].operator = _workers[2].operator;
        for (uint256 i; i < VALIDATORS; ++i) {
            _validators.push(party(100 + i));
        }
        _validators[0].operator = _workers[0].operator;
    }

    /// @dev Creates the pools and brings everybody in.
    function start() external {
        _createPools();
        for (uint256 i; i < WORKERS; ++i) {
            register(worker(i));
            _stake(worker(i).operator, 900 ether - 1);
            joinPool(i, 0, 0);
            joinPool(i, 1, 1);
        }
        for (uint256 i; i < VALIDATORS; ++i) {
            register(validator(i));
            _stake(validator(i).operator, 400 ether - 1);
            takeASeat(i, 0);
            takeASeat(i, 1);
        }
        for (uint256 i; i < 4; ++i) {
            postBond(i, i / 2);
        }
    }

    function _createPools() private {
        PoolParams memory p = defaultParams();
        p.rounds = 1000;
        p.jurySize = 1;
        p.verdictFee = 7 gwei;
        NewPool memory first = newPool(p);
        p = defaultParams();
        p.rounds = 12;
        p.pricePerSlot = 3 ether;
        p.verdictFee = 5 gwei;
        p.jurySize = 2;
        p.auditRate = 5000;
        p.probation = 0;
        p.closeBond = 25 ether;
        p.verdictBudget = 6;
        NewPool memory second = newPool(p);
        second.inviteSigner = vm.addr(INVITER);
        for (uint256 i; i < 2; ++i) {
            vm.prank(CREATOR);
            pool[i] = pools.createPool(i == 0 ? first : second);
            fund(pool[i], 5000 ether);
            _openBook(pool[i], i == 0 ? first.params : second.params);
            _honest[pool[i]][0] = GENESIS;
        }
    }

    // ---------------------------------------------------------------------------------------------- who

    function worker(uint256 i) public view returns (Party memory) {
        return _workers[i % WORKERS];
    }

    function validator(uint256 i) public view returns (Party memory) {
        return _validators[i % VALIDATORS];
    }

    function nodeCount() external view returns (uint256) {
        return nodes.length;
    }

    /// @dev Everybody who may hold stake or pay, the treasury aside.
    function accounts() public view returns (address[] memory list) {
        list = new address[](9);
        for (uint256 i; i < 3; ++i) {
            list[i] = _workers[i].operator;
        }
        for (uint256 i = 1; i < VALIDATORS; ++i) {
            list[2 + i] = _validators[i].operator;
        }
        (list[7], list[8]) = (ORCHESTRATOR, STRANGER);
    }

    function _account(uint256 who) private view returns (address) {
        return accounts()[who % 9];
    }

    // ---------------------------------------------------------------------------------------------- stake

    function stakeSome(uint256 who, uint256 amount) external {
        _stake(_account(who), bound(amount, 1, 300 ether));
    }

    function _stake(address account, uint256 amount) private {
        _mint(account, address(stakes), amount);
        bool ok = _try(account, address(stakes), abi.encodeCall(IStakeManager.stake, (amount)), 0);
        require(!ok || _token().fee() == 0, Violated(6, "staked with a fee"));
    }

    function _topUp(address account, uint256 wanted) private {
        IStakeManager.Account memory a = stakes.account(account);
        if (a.bonded - a.locked < wanted) _stake(account, wanted);
    }

    function unbond(uint256 who, uint256 amount) external {
        IStakeManager.Account memory a = stakes.account(_account(who));
        amount = bound(amount, 0, a.bonded - a.locked);
        _try(_account(who), address(stakes), abi.encodeCall(IStakeManager.requestUnbond, (amount)), 0);
    }

    function rebond(uint256 who) external {
        _try(_account(who), address(stakes), abi.encodeCall(IStakeManager.rebond, ()), 0);
    }

    function withdraw(uint256 who) public {
        address account = _account(who);
        IStakeManager.Account memory a = stakes.account(account);
        bool due = a.unbonding != 0 && now_() >= a.readyAt && casesAbout[account] == 0;
        bool ok = _try(account, address(stakes), abi.encodeCall(IStakeManager.withdraw, ()), 0);
        require(ok == due, Violated(12, "withdraw"));
    }

    function payTreasury() public {
        bool due = stakes.seized() != 0;
        bool ok = _try(STRANGER, address(stakes), abi.encodeCall(IStakeManager.payTreasury, ()), 0);
        require(ok == due, Violated(12, "payTreasury"));
    }

    function donate(uint256 amount, bool toStakes) external {
        amount = bound(amount, 1, 1 ether);
        token.mint(toStakes ? address(stakes) : address(rewards), amount);
        if (toStakes) donatedToStakes += amount;
        else donatedToRewards += amount;
    }

    // ---------------------------------------------------------------------------------------------- pay

    function fundPool(uint256 which, uint256 amount) external {
        amount = bound(amount, 1, 200 ether);
        _mint(CREATOR, address(rewards), amount);
        bool ok = _try(CREATOR, address(rewards), abi.encodeCall(IRewards.fund, (_pool(which), amount)), 0);
        require(!ok || _token().fee() == 0, Violated(6, "funded with a fee"));
    }

    function claim(uint256 who, uint256 to) external {
        claimFor(_account(who), to % 3 == 0 ? address(uint160(0xC1A1 + to % 7)) : _account(who));
    }

    function claimFor(address account, address to) public {
        bool due = earnings[account] != claimed[account];
        bool ok = _try(account, address(rewards), abi.encodeCall(IRewards.claim, (to)), 0);
        require(ok == due, Violated(12, "claim"));
    }

    function refund(uint256 which) public {
        uint256 poolId = _pool(which);
        bool due = ledger.pool(poolId).ended && rewards.free(poolId) != 0;
        bool ok = _try(CREATOR, address(rewards), abi.encodeCall(IRewards.refund, (poolId)), 0);
        require(ok == due, Violated(12, "refund"));
    }

    // ---------------------------------------------------------------------------------------------- hostile surroundings

    function setPaused(uint256 x) external {
        bytes memory data = abi.encodeCall(IPools.setEntryPaused, (x % 12 == 0));
        _try(GUARDIAN, address(pools), data, 0);
    }

    /// @dev A token that takes a fee, or calls back, one time of three.
    function setMood(uint256 x) public {
        _token().setFee(x % 6 == 0 ? 1 : 0);
        _token().setAttacker(x % 6 == 1 ? address(this) : address(0));
    }

    /// @dev Called in the middle of a transfer: tries to be paid twice, or to stake what is counted already.
    function onTransfer() external {
        if (_inside) return;
        _inside = true;
        for (uint256 i; i < 9; i += 4) {
            address account = _account(i);
            _reenter(account, address(stakes), abi.encodeCall(IStakeManager.withdraw, ()));
            _reenter(account, address(rewards), abi.encodeCall(IRewards.claim, (account)));
        }
        _reenter(STRANGER, address(stakes), abi.encodeCall(IStakeManager.payTreasury, ()));
        _mint(STRANGER, address(stakes), 1);
        _reenter(STRANGER, address(stakes), abi.encodeCall(IStakeManager.stake, (1)));
        _inside = false;
    }

    function _reenter(address account, address target, bytes memory data) private {
        vm.prank(account);
        (bool ok,) = target.call(data);
        if (ok) ++reentered;
    }

    // ---------------------------------------------------------------------------------------------- membership

    /// @dev A convicted node's operator comes with a new key.
    function _replaceIfConvicted(uint256 who) private {
        Party storage p = _workers[who % WORKERS];
        if (!ledger.member(pool[0], p.node).convicted && !ledger.member(pool[1], p.node).convicted) return;
        if (nodes.length == 40) return;
        leavePool(who, 0);
        leavePool(who, 1);
        _try(p.operator, address(registry), abi.encodeCall(INodeRegistry.revokeNode, (p.node)), 0);
        Party memory fresh = party(nodes.length + 1000);
        (p.node, p.key) = (fresh.node, fresh.key);
        nodes.push(p.node);
        register(p);
    }

    function joinPool(uint256 who, uint256 which, uint256 x) public {
        _replaceIfConvicted(who);
        Party memory p = worker(who);
        uint256 poolId = _pool(which);
        Invite memory invite;
        if (which % 2 == 1) invite = _invite(poolId, p.operator, x);
        uint16 width = uint16(x % 3 == 2 ? 2 : 1);
        if (x % 4 != 0) _topUp(p.operator, 200 ether);
        _try(p.operator, address(pools), abi.encodeCall(IPools.join, (poolId, p.node, width, invite)), 0);
    }

    /// @dev Who is out joins again, and who has no seat takes one, so that rounds have somebody to work and to judge.
    function _comeBack(uint256 i, uint256 which, uint256 bits) private {
        uint256 poolId = _pool(which);
        if (ledger.pool(poolId).ended) return;
        if (ledger.member(poolId, _workers[i].node).nextWidth == 0) joinPool(i, which, bits & ~uint256(15) | 1);
        if (court.liveSeats(poolId) < 4) takeASeat(bits >> 8, which);
    }

    /// @dev A fresh one, or sometimes an old one again, or one for another operator or for another pool.
    function _invite(uint256 poolId, address operator, uint256 x) private returns (Invite memory invite) {
        invite.nonce = x % 4 == 3 && _nonces != 0 ? x % _nonces : _nonces++;
        address holder = invited[poolId][invite.nonce];
        if (holder == address(0)) holder = x % 16 == 5 ? STRANGER : operator;
        invited[poolId][invite.nonce] = holder;
        invite.deadline = uint64(now_() + 100);
        uint256 named = x % 16 == 4 ? poolId - 1 : poolId;
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("pi-protocol"),
                keccak256("1"),
                block.chainid,
                address(pools)
            )
        );
        bytes32 typehash = keccak256("Invite(uint256 poolId,address operator,uint256 nonce,uint64 deadline)");
        bytes32 inner = keccak256(abi.encode(typehash, named, holder, invite.nonce, invite.deadline));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(INVITER, keccak256(abi.encodePacked(hex"1901", domain, inner)));
        invite.signature = abi.encodePacked(r, s, v);
        if (named != poolId) invited[poolId][invite.nonce] = address(0);
    }

    function setWidth(uint256 who, uint256 which, uint256 x) external {
        Party memory p = worker(who);
        bytes memory data = abi.encodeCall(IRoundLedger.setWidth, (_pool(which), p.node, uint16(x % 4)));
        _try(p.operator, address(ledger), data, 0);
    }

    function leavePool(uint256 who, uint256 which) public {
        Party memory p = worker(who);
        _try(p.node, address(ledger), abi.encodeCall(IRoundLedger.leave, (_pool(which), p.node)), 0);
    }

    function eject(uint256 who, uint256 which) external {
        bytes memory data = abi.encodeCall(IRoundLedger.eject, (_pool(which), worker(who).node));
        _try(CREATOR, address(ledger), data, 0);
    }

    function releaseLock(uint256 who, uint256 which) public {
        bytes memory data = abi.encodeCall(IRoundLedger.releaseLock, (_pool(which), nodes[who % nodes.length]));
        _try(STRANGER, address(ledger), data, 0);
    }

    function settle(uint256 who, uint256 which) public {
        bytes memory data = abi.encodeCall(IRoundLedger.settle, (_pool(which), nodes[who % nodes.length]));
        _try(STRANGER, address(ledger), data, 0);
    }

    function reportMiss(uint256 who, uint256 which, uint256 back) external {
        (uint256 poolId, uint256 round, bool ok) = _recent(which, back);
        if (!ok) return;
        bytes memory data = abi.encodeCall(IRoundLedger.reportMiss, (poolId, round, worker(who).node));
        _try(STRANGER, address(ledger), data, 0);
    }

    // ---------------------------------------------------------------------------------------------- rounds

    /// @dev The next step of the running round, in which most take part.
    function advance(uint256 which, uint256 bits) public {
        uint256 poolId = _pool(which);
        pass(_chance(bits, "long", 4) ? bound(bits, 0, 120) : 5);
        mine(3);
        IRoundLedger.Phase phase = ledger.pool(poolId).phase;
        if (phase == IRoundLedger.Phase.Idle) {
            for (uint256 i; i < WORKERS; ++i) {
                if (_chance(bits, bytes32(i), 3)) _comeBack(i, which, bits);
            }
            _try(ORCHESTRATOR, address(ledger), abi.encodeCall(IRoundLedger.openRound, (poolId, 100)), 0);
        } else if (phase == IRoundLedger.Phase.Commit) {
            for (uint256 i; i < WORKERS; ++i) {
                if (!_chance(bits, bytes32(i), 8)) _commit(poolId, worker(i), bits);
            }
        } else if (phase == IRoundLedger.Phase.Reveal) {
            for (uint256 i; i < WORKERS; ++i) {
                if (!_chance(bits, bytes32(i), 8)) _reveal(poolId, worker(i), running(poolId));
            }
            bytes memory data = abi.encodeCall(IRoundLedger.sealReveals, (poolId));
            if (ledger.pool(poolId).phase == phase) _try(STRANGER, address(ledger), data, 0);
            if (ledger.pool(poolId).phase != phase && !_chance(bits, "seed", 4)) _capture(poolId, running(poolId));
        } else {
            _close(poolId, bits);
        }
    }

    /// @dev A whole round, or what is left of one.
    function playRound(uint256 which, uint256 bits) external {
        for (uint256 i; i < 4; ++i) {
            advance(which, uint256(keccak256(abi.encode(bits, i))));
        }
    }

    function revealLate(uint256 who, uint256 which, uint256 back) external {
        (uint256 poolId, uint256 round, bool ok) = _recent(which, back);
        if (ok) _reveal(poolId, worker(who), round);
    }

    /// @dev Now and then everybody sleeps past every window.
    function sleep(uint256 seconds_) external {
        pass(bound(seconds_, 60, 1200));
        mine(seconds_ & 1 == 0 ? 3 : 300);
    }

    /// @dev Most nodes find the honest root; some take what was posted, or invent one.
    function _commit(uint256 poolId, Party memory p, uint256 bits) private {
        uint256 round = running(poolId);
        Work storage w = _work[poolId][round][p.node];
        if (w.width != 0) {
            // A second one, while the round still takes some.
            if (_chance(bits, "again", 4)) {
                _try(p.node, address(ledger), abi.encodeCall(IRoundLedger.commit, (poolId, SPEC)), 0);
            }
            return;
        }
        bytes32 startRoot = _honest[poolId][round];
        if (_chance(bits, bytes32(bytes20(p.node)), 6)) startRoot = ledger.pool(poolId).checkpointRoot;
        if (_chance(bits, bytes32(bytes20(p.node)) >> 1, 12)) startRoot = SPEC;
        uint16 width = ledger.member(poolId, p.node).width;
        bool confirmOnly = ledger.pool(poolId).last;
        Reveal memory opened = _opened(poolId, round, p.node, Work(startRoot, width, confirmOnly));
        bytes32 commitment = Hashes.commitment(address(ledger), poolId, round, p.node, opened);
        if (_try(p.node, address(ledger), abi.encodeCall(IRoundLedger.commit, (poolId, commitment)), 0)) {
            (w.startRoot, w.width, w.confirmOnly) = (startRoot, width, confirmOnly);
        }
    }

    function _opened(uint256 poolId, uint256 round, address node, Work memory w)
        private
        pure
        returns (Reveal memory opened)
    {
        opened.salt = keccak256(abi.encode(poolId, node, round));
        opened.startRoot = w.startRoot;
        opened.width = w.width;
        if (w.confirmOnly) return opened;
        opened.updateRoot = keccak256(abi.encode(node, round));
        opened.traceRoot = SPEC;
        opened.norm = uint128(round);
    }

    function _reveal(uint256 poolId, Party memory p, uint256 round) private {
        Work memory w = _work[poolId][round][p.node];
        if (w.width == 0) return;
        Reveal memory opened = _opened(poolId, round, p.node, w);
        bytes32 posted = ledger.round(poolId, round).startRoot;
        _try(p.node, address(ledger), abi.encodeCall(IRoundLedger.reveal, (poolId, opened, SPEC, "")), 0);
        if (ledger.round(poolId, round).startRoot != posted) ++overruled;
    }

    /// @dev A right root or a wrong one, with up to two exclusions, by the orchestrator or by whoever else has a bond. Where
    /// nobody's update is left, the old root stays.
    function _close(uint256 poolId, uint256 bits) private {
        uint256 round = running(poolId);
        bytes32 before = ledger.round(poolId, round).startRoot;
        (IRoundLedger.Exclusion[] memory ex, uint256 included) = _exclusions(poolId, round, bits);
        bytes32 root = _chance(bits, "wrong", 4) ? bytes32(bits | 1) : rootAfter(round);
        if (included == 0) root = before;
        address poster = _chance(bits, "poster", 4) ? STRANGER : ORCHESTRATOR;
        bool due = _mayClose(poolId, round, poster);
        if (!due && _chance(bits, "bond", 2)) _postBond(poster, poolId);
        bool ok = _try(poster, address(ledger), abi.encodeCall(IRoundLedger.closeRound, (poolId, root, SPEC, ex)), 0);
        require(ok || !due, Violated(13, "a revealed update cannot be left out"));
        if (!ok) return;
        _honest[poolId][round + 1] = included == 0 ? before : rootAfter(round);
        delete _excluded[poolId][round];
        for (uint256 i; i < ex.length; ++i) {
            _excluded[poolId][round].push(ex[i].node);
        }
    }

    function _exclusions(uint256 poolId, uint256 round, uint256 bits)
        private
        view
        returns (IRoundLedger.Exclusion[] memory ex, uint256 included)
    {
        ex = new IRoundLedger.Exclusion[](_chance(bits, "exclude", 4) ? 2 : 0);
        uint256 n;
        for (uint256 i; i < WORKERS; ++i) {
            if (!_counts(poolId, round, _workers[i].node)) continue;
            if (n < ex.length && _chance(bits, bytes32(i), 2)) ex[n++] = IRoundLedger.Exclusion(_workers[i].node, 1);
            else ++included;
        }
        assembly {
            mstore(ex, n)
        }
    }

    function _mayClose(uint256 poolId, uint256 round, address poster) private view returns (bool) {
        PoolParams memory p = pools.params(poolId);
        if (stakes.lockOf(poster, ledger.bondId(poolId, poster)) < p.closeBond) return false;
        return poster == ORCHESTRATOR || now_() >= ledger.round(poolId, round).sealedAt + p.graceWindow;
    }

    /// @dev Whether an on-time reveal of the running round is in its mean; by what it said, not by the record.
    function _counts(uint256 poolId, uint256 round, address node) private view returns (bool) {
        return ledger.member(poolId, node).lastRevealed == round + 1
            && _work[poolId][round][node].startRoot == ledger.round(poolId, round).startRoot;
    }

    function endPool(uint256 which, uint256 x) external {
        if (x % 4 == 0 && which % 2 == 1) {
            _try(CREATOR, address(ledger), abi.encodeCall(IRoundLedger.endPool, (_pool(which))), 0);
        }
    }

    function rollBack(uint256 which, uint256 x) external {
        uint256 next = ledger.pool(_pool(which)).nextRound;
        bytes memory data = abi.encodeCall(IRoundLedger.rollBack, (_pool(which), x % (next + 1)));
        _try(CREATOR, address(ledger), data, 0);
    }

    // ---------------------------------------------------------------------------------------------- close bonds, proofs

    function _poster(uint256 who) private pure returns (address) {
        return who % 2 == 0 ? ORCHESTRATOR : STRANGER;
    }

    function postBond(uint256 who, uint256 which) public {
        _postBond(_poster(who), _pool(which));
    }

    function _postBond(address poster, uint256 poolId) private {
        _topUp(poster, pools.params(poolId).closeBond);
        _try(poster, address(ledger), abi.encodeCall(IRoundLedger.postBond, (poolId)), 0);
    }

    function releaseBond(uint256 who, uint256 which) public {
        _try(_poster(who), address(ledger), abi.encodeCall(IRoundLedger.releaseBond, (_pool(which))), 0);
    }

    function punishClose(uint256 which, uint256 back) external {
        (uint256 poolId, uint256 round, bool ok) = _recent(which, back);
        if (ok) _try(STRANGER, address(ledger), abi.encodeCall(IRoundLedger.punishClose, (poolId, round)), 0);
    }

    /// @dev What `FraudProofs` asks for when a proof holds. Here it holds of any close: the money does not care.
    function disprove(uint256 which, uint256 back, uint256 who) external {
        (uint256 poolId, uint256 round, bool ok) = _recent(which, back);
        if (!ok) return;
        IRoundLedger.Round memory r = ledger.round(poolId, round);
        bool due = ledger.resultRoot(poolId, round) != 0 && now_() <= ledger.disprovableUntil(poolId, round)
            && r.poster != address(0) && !closePunished[poolId][round][closings[poolId][round]];
        address[] memory excluded = _excluded[poolId][round];
        if (excluded.length == 2 && excluded[0] > excluded[1]) {
            (excluded[0], excluded[1]) = (excluded[1], excluded[0]);
        }
        bytes memory data = abi.encodeCall(
            IRoundLedger.disprove, (poolId, round, excluded, _account(who), pools.params(poolId).finderFee)
        );
        ok = _try(address(proofs), address(ledger), data, 0);
        require(ok || !due, Violated(14, "a wrong close cannot be disproved"));
    }

    function convictProven(uint256 who, uint256 which, uint256 back) external {
        (uint256 poolId, uint256 round, bool ok) = _recent(which, back);
        if (!ok || who % 3 == 0) return;
        PoolParams memory p = pools.params(poolId);
        bytes memory data = abi.encodeCall(
            IRoundLedger.convictProven,
            (poolId, round, worker(back).node, p.slashConviction, _account(who >> 8), p.finderFee)
        );
        _try(address(proofs), address(ledger), data, 0);
    }

    // ---------------------------------------------------------------------------------------------- seats and verdicts

    function takeASeat(uint256 who, uint256 which) public {
        Party memory p = validator(who);
        for (uint256 i; i < court.seatCount(_pool(which)); ++i) {
            if (court.seat(_pool(which), i).node == p.node) releaseSeat(which, i);
        }
        _topUp(p.operator, 60 ether);
        _try(p.operator, address(court), abi.encodeCall(ICourt.takeSeat, (_pool(which), p.node)), 0);
    }

    function leaveSeat(uint256 which, uint256 place) external {
        uint256 poolId = _pool(which);
        if (place % 3 != 0) return; // else there are too few to judge
        place %= court.seatCount(poolId);
        address node = court.seat(poolId, place).node;
        _try(node, address(court), abi.encodeCall(ICourt.leaveSeat, (poolId, place)), 0);
    }

    function releaseSeat(uint256 which, uint256 place) public {
        uint256 poolId = _pool(which);
        place %= court.seatCount(poolId);
        _try(STRANGER, address(court), abi.encodeCall(ICourt.releaseSeat, (poolId, place)), 0);
    }

    function watch(uint256 which, uint256 place, uint256 who) external {
        uint256 poolId = _pool(which);
        address validator_ = court.seat(poolId, place % court.seatCount(poolId)).node;
        _try(validator_, address(court), abi.encodeCall(ICourt.watch, (poolId, worker(who).node)), 0);
    }

    function plant(uint256 which, uint256 who) external {
        uint256 poolId = _pool(which);
        bytes32[] memory hashes = new bytes32[](1);
        hashes[0] = Hashes.plant(address(pools), poolId, ledger.pool(poolId).nextRound, worker(who).node, SPEC);
        _try(CREATOR, address(pools), abi.encodeCall(IPools.plant, (poolId, hashes)), 0);
    }

    function openPlant(uint256 which, uint256 back, uint256 who) external {
        (uint256 poolId, uint256 round, bool ok) = _recent(which, back % 3);
        bytes memory data = abi.encodeCall(IPools.openPlant, (poolId, round, worker(who).node, SPEC));
        if (ok) _try(STRANGER, address(pools), data, 0);
    }

    function captureSeed(uint256 which, uint256 back) external {
        (uint256 poolId, uint256 round, bool ok) = _recent(which, back % 2);
        if (ok) _capture(poolId, round);
    }

    function _capture(uint256 poolId, uint256 round) private {
        mine(2);
        _try(STRANGER, address(court), abi.encodeCall(ICourt.captureSeed, (poolId, round)), round);
    }

    /// @dev Commits and reveals the verdicts of most validators about one of the last four rounds.
    function judgeRound(uint256 which, uint256 back, uint256 bits) external {
        (uint256 poolId, uint256 round, bool ok) = _recent(which, back % 4 == 0 ? back : back % 2);
        if (!ok) return;
        _capture(poolId, round);
        address[][] memory drawn = new address[][](WORKERS);
        for (uint256 i; i < WORKERS; ++i) {
            drawn[i] = court.auditorsOf(poolId, round, worker(i).node);
        }
        for (uint256 i; i < VALIDATORS; ++i) {
            if (_chance(bits, bytes32(i), 16)) continue;
            address v = validator(i).node;
            ICourt.Verdict[] memory list = _verdicts(round, i, drawn);
            bytes32 commitment = Hashes.verdicts(address(court), poolId, round, v, list, SPEC);
            _try(v, address(court), abi.encodeCall(ICourt.commitVerdicts, (poolId, round, commitment)), round);
        }
        if (bits % 4 != 0) _passTo(court.verdictRound(poolId, round).commitDeadline);
        for (uint256 i; i < VALIDATORS; ++i) {
            if (_chance(bits, bytes32(i + 8), 16)) continue;
            ICourt.Verdict[] memory list = _verdicts(round, i, drawn);
            bytes memory data = abi.encodeCall(ICourt.revealVerdicts, (poolId, round, list, SPEC));
            _try(validator(i).node, address(court), data, round);
        }
    }

    /// @dev Every fourth slot is accused by who audits it, but validator 3 finds no fault anywhere.
    function _verdicts(uint256 round, uint256 who, address[][] memory drawn)
        private
        view
        returns (ICourt.Verdict[] memory list)
    {
        list = new ICourt.Verdict[](WORKERS);
        uint256 n;
        for (uint256 i; i < WORKERS; ++i) {
            for (uint256 j; j < drawn[i].length; ++j) {
                if (drawn[i][j] != _validators[who].node) continue;
                address node = worker(i).node;
                bool guilty = who != 3 && uint256(keccak256(abi.encode(node, round))) % 4 == 0;
                ICourt.Outcome outcome = who % 2 == 0 ? ICourt.Outcome.Mismatch : ICourt.Outcome.Withheld;
                list[n++] = ICourt.Verdict(node, guilty ? outcome : ICourt.Outcome.Accept, SPEC);
            }
        }
        assembly {
            mstore(list, n)
        }
    }

    function releaseVerdictReserve(uint256 which, uint256 round) external {
        uint256 poolId = _pool(which);
        uint256 next = ledger.pool(poolId).nextRound;
        if (next == 0) return;
        round %= next;
        _try(STRANGER, address(court), abi.encodeCall(ICourt.releaseVerdictReserve, (poolId, round)), round);
    }

    // ---------------------------------------------------------------------------------------------- cases

    function vote(uint256 id, uint256 bits) external {
        uint256 n = court.caseCount();
        if (n == 0) return;
        id = n - bound(id, 0, n < 4 ? n - 1 : 3);
        if (ended[id] && !ended[n]) id = n;
        ICourt.Case memory c = court.caseOf(id);
        for (uint256 step; step < 2 && c.status == ICourt.CaseStatus.Open; ++step) {
            if (step == 1 && bits % 4 != 0) _passTo(court.caseOf(id).commitDeadline);
            for (uint256 i; i < VALIDATORS; ++i) {
                if (_chance(bits, bytes32(8 * step + i), 16)) continue;
                address node = validator(i).node;
                ICourt.Outcome outcome = _voteOf(id, c.level, i);
                bytes32 commitment = Hashes.vote(address(court), id, node, outcome, SPEC, SPEC);
                bytes memory data = step == 0
                    ? abi.encodeCall(ICourt.commitVote, (id, commitment))
                    : abi.encodeCall(ICourt.revealVote, (id, outcome, SPEC, SPEC));
                _try(node, address(court), data, c.round);
            }
        }
        resolveCase(id);
        if (_chance(bits, "appeal", 2)) _appeal(id);
    }

    /// @dev Juries convict, acquit or are split, another way at each level.
    function _voteOf(uint256 id, uint256 level, uint256 juror) private pure returns (ICourt.Outcome) {
        uint256 kind = uint256(keccak256(abi.encode(id, level))) % 5;
        bool guilty = kind < 2 || (kind == 2 && juror % 2 == 0);
        return guilty ? ICourt.Outcome.Withheld : ICourt.Outcome.Accept;
    }

    function resolveCase(uint256 id) public {
        uint256 round = court.caseOf(id).round;
        if (_try(STRANGER, address(court), abi.encodeCall(ICourt.resolveCase, (id)), round)) {
            ++seen[court.caseOf(id).status];
        }
    }

    function appeal(uint256 id) external {
        uint256 n = court.caseCount();
        if (n != 0) _appeal(n - bound(id, 0, n < 4 ? n - 1 : 3));
    }

    /// @dev By who lost.
    function _appeal(uint256 id) private {
        ICourt.Case memory c = court.caseOf(id);
        if (c.status != ICourt.CaseStatus.Decided) return;
        address appellant = c.guiltyOutcome ? c.operator : registry.operatorOf(c.accuser);
        _topUp(appellant, pools.params(c.poolId).appealBond);
        _try(appellant, address(court), abi.encodeCall(ICourt.appeal, (id)), c.round);
    }

    function reportAbsence(uint256 which, uint256 back, uint256 place) external {
        (uint256 poolId, uint256 round, bool ok) = _recent(which, back);
        if (!ok) return;
        place %= court.seatCount(poolId);
        _try(STRANGER, address(court), abi.encodeCall(ICourt.reportAbsence, (poolId, round, place)), round);
    }

    function reportJuror(uint256 id, uint256 place, uint256 x) external {
        uint256 n = court.caseCount();
        if (n == 0) return;
        id = n - bound(id, 0, n < 6 ? n - 1 : 5);
        for (uint256 k; place % 2 == 0 && k < 6 && k < n; ++k) {
            if (ended[n - k] && court.caseOf(n - k).level != 0) id = n - k; // appealed: there a vote can be overturned
        }
        uint256 level = x % (uint256(court.caseOf(id).level) + 1);
        for (uint256 i; i < VALIDATORS; ++i) {
            _try(STRANGER, address(court), abi.encodeCall(ICourt.reportAbsentJuror, (id, level, i)), 0);
            _try(STRANGER, address(court), abi.encodeCall(ICourt.reportOverturnedVote, (id, level, i)), 0);
        }
    }

    /// @dev Validator 3 said that all was well, and a jury says that it was not.
    function reportVerdict(uint256 id) external {
        uint256 n = court.caseCount();
        for (uint256 k; k < 6 && k < n; ++k) {
            if (court.caseOf(n - k).status == ICourt.CaseStatus.Convicted) return _reportVerdict(n - k);
        }
        if (n != 0) _reportVerdict(n - bound(id, 0, n < 6 ? n - 1 : 5));
    }

    function _reportVerdict(uint256 id) private {
        ICourt.Case memory c = court.caseOf(id);
        (uint256 poolId, uint256 round) = (c.poolId, c.round);
        address[][] memory drawn = new address[][](WORKERS);
        for (uint256 i; i < WORKERS; ++i) {
            drawn[i] = court.auditorsOf(poolId, round, worker(i).node);
        }
        ICourt.Verdict[] memory list = _verdicts(round, 3, drawn);
        for (uint256 place; place < court.seatCount(poolId); ++place) {
            if (court.seat(poolId, place).node != validator(3).node) continue;
            for (uint256 i; i < list.length; ++i) {
                bytes memory data =
                    abi.encodeCall(ICourt.reportOverturnedVerdict, (poolId, round, place, list, SPEC, i));
                _try(STRANGER, address(court), data, round);
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- the end

    // What invariant 16 plays: not among the random moves.

    function openAs(address who, uint256 poolId) external {
        _try(who, address(ledger), abi.encodeCall(IRoundLedger.openRound, (poolId, 10)), 0);
    }

    function closeAs(address who, uint256 poolId, bytes32 root) external {
        bytes memory data =
            abi.encodeCall(IRoundLedger.closeRound, (poolId, root, SPEC, new IRoundLedger.Exclusion[](0)));
        _try(who, address(ledger), data, 0);
    }

    function releaseReserve(uint256 poolId, uint256 round) external {
        _try(STRANGER, address(court), abi.encodeCall(ICourt.releaseVerdictReserve, (poolId, round)), round);
    }

    function punish(uint256 poolId, uint256 round) external {
        _try(STRANGER, address(ledger), abi.encodeCall(IRoundLedger.punishClose, (poolId, round)), 0);
    }

    function emptySeat(uint256 poolId, uint256 place) external {
        ICourt.Seat memory s = court.seat(poolId, place);
        if (s.operator == address(0)) return;
        if (s.leftAt == 0) _try(s.operator, address(court), abi.encodeCall(ICourt.leaveSeat, (poolId, place)), 0);
        _try(STRANGER, address(court), abi.encodeCall(ICourt.releaseSeat, (poolId, place)), 0);
    }

    // ---------------------------------------------------------------------------------------------- internal

    /// @dev Up to just behind a deadline, where it is near.
    function _passTo(uint256 deadline) private {
        if (now_() <= deadline && deadline < now_() + 200) vm.warp(deadline + 1);
    }

    function _pool(uint256 which) private view returns (uint256) {
        return pool[which % 2];
    }

    function _token() private view returns (MoodyToken) {
        return MoodyToken(address(token));
    }

    /// @dev One of the last four rounds; not ok before the first.
    function _recent(uint256 which, uint256 back) private view returns (uint256 poolId, uint256 round, bool ok) {
        poolId = _pool(which);
        uint256 next = ledger.pool(poolId).nextRound;
        if (next == 0) return (poolId, 0, false);
        return (poolId, next - 1 - bound(back, 0, next < 4 ? next - 1 : 3), true);
    }

    /// @dev One time of n.
    function _chance(uint256 bits, bytes32 what, uint256 n) private pure returns (bool) {
        return uint256(keccak256(abi.encode(bits, what))) % n == 0;
    }

    function _mint(address to, address spender, uint256 amount) private {
        token.mint(to, amount);
        vm.prank(to);
        token.approve(spender, amount);
    }

    /// @param round that verdict fees moved by this call belong to
    function _try(address sender, address target, bytes memory data, uint256 round) private returns (bool ok) {
        logVm.recordLogs();
        vm.prank(sender);
        bytes memory got;
        (ok, got) = target.call(data);
        if (ok) {
            ++done[bytes4(data)];
            _observe(bytes4(data), round);
            return true;
        }
        require(got.length >= 4 && bytes4(got) != bytes4(keccak256("Panic(uint256)")), WrongError(got, data));
    }
}
