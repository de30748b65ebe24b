// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IPools, PoolParams} from "../../src/interfaces/IPools.sol";
import {IRewards} from "../../src/interfaces/IRewards.sol";
import {IRoundLedger, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {Base} from "../Base.sol";

/// @dev Cheat codes that only the invariant suite uses.
interface LogVm {
    struct Log {
        bytes32[] topics;
        bytes data;
        address emitter;
    }

    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
    function etch(address target, bytes calldata code) external;
}

/// @title A second book-keeping, from the events alone.
/// @dev Whatever the contracts say happened is booked here by simpler rules; the invariants compare the two. What cannot
/// be right whatever the rest of the state is stops the run at once with `Violated`, which names the invariant.
/// Prices are whole ether and fees are gwei, so that an amount tells how many slots and how many fees are in it.
abstract contract Ghosts is Base {
    LogVm internal constant logVm = LogVm(address(vm));
    uint256 internal constant ETHER = 1 ether;

    error Violated(uint256 invariant, string what);

    struct PoolBook {
        uint256 price;
        uint256 fee;
        uint256 feeBudget;
        uint256 maxSlots;
        uint256 openSlots; // reserved for rounds that were never closed
        uint256 revealed; // slots whose pay is not resolved
        uint256 fees; // reserved for verdicts and votes
        uint256 paidFees; // every credit of a fee
        uint256 funded;
        uint256 credited;
        uint256 refunded;
    }

    uint256[2] public pool;
    mapping(uint256 poolId => PoolBook) internal _books;
    mapping(uint256 poolId => mapping(address node => uint256)) public unresolved;
    /// What a round still has for its verdicts; plus one, so that zero means: none, or given back.
    mapping(uint256 poolId => mapping(uint256 round => uint256)) public feesOf;
    mapping(uint256 poolId => mapping(uint256 round => bool)) public wasClosed;

    mapping(address operator => uint256) public held; // bonded and unbonding
    mapping(address operator => mapping(bytes32 lockId => uint256)) public locks;
    mapping(address operator => bytes32[]) internal _lockIds;
    mapping(address operator => mapping(bytes32 lockId => bool)) internal _knownLock;
    uint256 public staked;
    uint256 public withdrawn;
    uint256 public treasuryPaid;
    uint256 public donatedToStakes;
    uint256 public donatedToRewards;

    mapping(address account => uint256) public earnings;
    mapping(address account => uint256) public claimed;
    uint256 public totalClaimed;

    mapping(uint256 poolId => mapping(uint256 round => mapping(address node => bytes32))) public committed;
    mapping(uint256 caseId => bool) public ended;
    mapping(uint256 caseId => mapping(uint256 level => bool)) public appealPending;
    mapping(uint256 caseId => uint256) internal _appealsPending;
    mapping(address operator => uint256) public casesAbout; // that have not ended
    mapping(uint256 poolId => mapping(uint256 nonce => bool)) public inviteUsed;
    mapping(uint256 poolId => mapping(uint256 nonce => address)) public invited;
    mapping(uint256 poolId => mapping(uint256 round => mapping(uint256 closing => bool))) public closePunished;
    /// Pool -> the round that the next one goes back to, plus one.
    mapping(uint256 poolId => uint256) private _rollback;
    mapping(uint256 poolId => mapping(uint256 round => uint256)) public closings;

    function book(uint256 i) external view returns (PoolBook memory) {
        return _books[pool[i]];
    }

    function lockIdsOf(address operator) external view returns (bytes32[] memory) {
        return _lockIds[operator];
    }

    function _openBook(uint256 poolId, PoolParams memory p) internal {
        PoolBook storage b = _books[poolId];
        b.price = p.pricePerSlot;
        b.fee = p.verdictFee;
        b.feeBudget = p.verdictBudget;
        b.maxSlots = p.maxSlots;
        b.funded = rewards.budget(poolId).funded;
    }

    /// @dev Books one successful call. `round` is the round that its verdict fees would belong to.
    function _observe(bytes4 move, uint256 round) internal {
        LogVm.Log[] memory logs = logVm.getRecordedLogs();
        uint256 settled; // slots released by `Settled`, so that a reveal's own releases can be told
        address revealer;
        for (uint256 i; i < logs.length; ++i) {
            bytes32[] memory t = logs[i].topics;
            address emitter = logs[i].emitter;
            if (emitter == address(stakes)) _bookStake(t, logs[i].data);
            else if (emitter == address(rewards)) _bookRewards(move, round, t, logs[i].data);
            else if (emitter == address(court)) _bookCourt(t, logs[i].data);
            else if (emitter == address(pools)) _bookPools(t, logs[i].data);
            else if (emitter != address(ledger)) continue;
            else if (t[0] == IRoundLedger.Settled.selector) settled += _bookSettled(t, logs[i].data);
            else if (t[0] == IRoundLedger.Revealed.selector) revealer = _bookRevealed(t, logs[i].data);
            else _bookLedger(t, logs[i].data);
        }
        // What a reveal releases are older slots of its node that turned out unpaid.
        if (revealer != address(0)) _resolve(uint256(_released.pool), revealer, _released.slots - settled);
        else if (move == IRoundLedger.closeRound.selector) require(_released.slots == _unused, Violated(8, "close"));
        else require(_released.slots == settled, Violated(8, "released without a settlement"));
        delete _released;
        _unused = 0;
    }

    struct ReleasedSlots {
        uint256 pool;
        uint256 slots;
    }

    ReleasedSlots private _released;
    uint256 private _unused; // slots that the close of this call found unrevealed

    function _bookStake(bytes32[] memory t, bytes memory data) private {
        bytes32 e = t[0];
        if (e == IStakeManager.TreasuryPaid.selector) {
            treasuryPaid += abi.decode(data, (uint256));
            return;
        }
        address operator = address(uint160(uint256(t[1])));
        if (e == IStakeManager.Staked.selector) {
            held[operator] += abi.decode(data, (uint256));
            staked += abi.decode(data, (uint256));
        } else if (e == IStakeManager.Withdrawn.selector) {
            require(casesAbout[operator] == 0, Violated(5, "withdrawn in an open case"));
            held[operator] -= abi.decode(data, (uint256));
            withdrawn += abi.decode(data, (uint256));
        } else if (e == IStakeManager.Locked.selector) {
            if (!_knownLock[operator][t[2]]) _lockIds[operator].push(t[2]);
            _knownLock[operator][t[2]] = true;
            locks[operator][t[2]] += abi.decode(data, (uint256));
        } else if (e == IStakeManager.Unlocked.selector) {
            uint256 freed = abi.decode(data, (uint256));
            require(freed <= locks[operator][t[2]], Violated(4, "unlocked more than the lock"));
            locks[operator][t[2]] -= freed;
        } else if (e == IStakeManager.Slashed.selector) {
            (uint256 amount, uint256 fee) = abi.decode(data, (uint256, uint256));
            require(amount <= locks[operator][t[2]], Violated(4, "slashed more than the lock"));
            require(fee <= amount / 5, Violated(4, "finder's fee above the cap"));
            locks[operator][t[2]] -= amount;
            held[operator] -= amount;
            held[address(uint160(uint256(t[3])))] += fee;
        }
    }

    function _bookRewards(bytes4 move, uint256 round, bytes32[] memory t, bytes memory data) private {
        bytes32 e = t[0];
        if (e == IRewards.Claimed.selector) {
            uint256 paid = abi.decode(data, (uint256));
            claimed[address(uint160(uint256(t[1])))] += paid;
            totalClaimed += paid;
            return;
        }
        uint256 poolId = uint256(t[1]);
        PoolBook storage b = _books[poolId];
        uint256 amount = abi.decode(data, (uint256));
        if (e == IRewards.PoolFunded.selector) b.funded += amount;
        if (e == IRewards.Refunded.selector) b.refunded += amount;
        if (e == IRewards.Credited.selector) {
            b.credited += amount;
            earnings[address(uint160(uint256(t[2])))] += amount;
            uint256 fees = (amount % ETHER) / b.fee;
            if (fees != 0) {
                require(feesOf[poolId][round] > fees, Violated(8, "a fee without a reserve"));
                feesOf[poolId][round] -= fees;
                b.fees -= fees;
                b.paidFees += fees;
            }
        }
        if (e == IRewards.Released.selector) {
            uint256 fees = (amount % ETHER) / b.fee;
            if (move == IRoundLedger.openRound.selector) {
                // The round whose place is taken; where the pool ends at once, without members, nothing takes it.
                IRoundLedger.Pool memory p = ledger.pool(poolId);
                round = p.nextRound - (p.ended ? 0 : 1) - ledger.RING();
            }
            if (fees != 0) {
                require(feesOf[poolId][round] == fees + 1, Violated(8, "fees released twice or in part"));
                feesOf[poolId][round] = 0;
                b.fees -= fees;
            }
            _released = ReleasedSlots({pool: poolId, slots: _released.slots + amount / b.price});
        }
    }

    function _bookSettled(bytes32[] memory t, bytes memory data) private returns (uint256 released) {
        uint256 price = _books[uint256(t[1])].price;
        (uint256 paid, uint256 forfeited, uint256 unpaid) = abi.decode(data, (uint256, uint256, uint256));
        released = unpaid / price;
        _resolve(uint256(t[1]), address(uint160(uint256(t[2]))), (paid + forfeited) / price + released);
    }

    function _bookRevealed(bytes32[] memory t, bytes memory data) private returns (address node) {
        uint256 poolId = uint256(t[1]);
        node = address(uint160(uint256(t[3])));
        _released.pool = poolId;
        if (ledger.pool(poolId).last) return node; // nothing is paid in the confirm-only round
        Reveal memory opened;
        (opened,,) = abi.decode(data, (Reveal, bytes32, string));
        unresolved[poolId][node] += opened.width;
        _books[poolId].revealed += opened.width;
    }

    function _resolve(uint256 poolId, address node, uint256 slots) private {
        if (slots == 0) return;
        require(slots <= unresolved[poolId][node], Violated(8, "a slot resolved twice"));
        unresolved[poolId][node] -= slots;
        _books[poolId].revealed -= slots;
    }

    function _bookLedger(bytes32[] memory t, bytes memory data) private {
        bytes32 e = t[0];
        uint256 poolId = uint256(t[1]);
        uint256 round = t.length > 2 ? uint256(t[2]) : 0;
        PoolBook storage b = _books[poolId];
        if (e == IRoundLedger.RolledBack.selector) {
            _rollback[poolId] = abi.decode(data, (uint256)) + 1;
        } else if (e == IRoundLedger.RoundOpened.selector) {
            (bytes32 startRoot,,) = abi.decode(data, (bytes32, uint64, uint32));
            _bookStart(poolId, round, startRoot);
            if (ledger.pool(poolId).last) return;
            b.openSlots += b.maxSlots;
            b.fees += b.feeBudget;
            feesOf[poolId][round] = b.feeBudget + 1;
        } else if (e == IRoundLedger.Committed.selector) {
            address node = address(uint160(uint256(t[3])));
            require(committed[poolId][round][node] == 0, Violated(9, "committed twice"));
            committed[poolId][round][node] = abi.decode(data, (bytes32));
        } else if (e == IRoundLedger.RoundClosed.selector) {
            ++closings[poolId][round];
            if (wasClosed[poolId][round]) return;
            wasClosed[poolId][round] = true;
            b.openSlots -= b.maxSlots;
            _unused = b.maxSlots - ledger.round(poolId, round).revealedSlots;
        } else if (e == IRoundLedger.ClosePunished.selector) {
            uint256 closing = closings[poolId][round];
            require(!closePunished[poolId][round][closing], Violated(10, "a close punished twice"));
            closePunished[poolId][round][closing] = true;
        }
    }

    /// @dev A rollback takes effect once; then the last close is out of reach.
    function _bookStart(uint256 poolId, uint256 round, bytes32 startRoot) private {
        uint256 to = _rollback[poolId];
        if (to == 0) return;
        _rollback[poolId] = 0;
        require(startRoot == ledger.round(poolId, to - 1).startRoot, Violated(14, "not what was gone back to"));
        closePunished[poolId][round - 1][closings[poolId][round - 1]] = true;
    }

    function _bookCourt(bytes32[] memory t, bytes memory data) private {
        bytes32 e = t[0];
        uint256 id = uint256(t[1]);
        if (e == ICourt.CaseOpened.selector) {
            ++casesAbout[court.caseOf(id).operator];
        } else if (e == ICourt.CaseResolved.selector) {
            require(!ended[id], Violated(10, "a case ended twice"));
            ended[id] = true;
            --casesAbout[court.caseOf(id).operator];
        } else if (e == ICourt.CaseEscalated.selector && t.length > 2 && t[2] != 0) {
            (uint8 level,) = abi.decode(data, (uint8, address[]));
            require(!appealPending[id][level - 1], Violated(10, "one outcome appealed twice"));
            appealPending[id][level - 1] = true;
            ++_appealsPending[id];
        } else if (e == ICourt.AppealEnded.selector) {
            require(_appealsPending[id] != 0, Violated(10, "an appeal ended twice"));
            --_appealsPending[id];
        }
    }

    function _bookPools(bytes32[] memory t, bytes memory data) private {
        if (t[0] != IPools.InviteAccepted.selector) return;
        uint256 nonce = abi.decode(data, (uint256));
        address operator = address(uint160(uint256(t[2])));
        require(!inviteUsed[uint256(t[1])][nonce], Violated(11, "an invite used twice"));
        require(invited[uint256(t[1])][nonce] == operator, Violated(11, "an invite of somebody else"));
        inviteUsed[uint256(t[1])][nonce] = true;
    }

    function appealsPending(uint256 id) external view returns (uint256) {
        return _appealsPending[id];
    }
}
