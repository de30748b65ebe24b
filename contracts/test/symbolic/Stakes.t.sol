// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRewards} from "../../src/interfaces/IRewards.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {BudgetLib} from "../../src/libraries/BudgetLib.sol";
import {StakeLib} from "../../src/libraries/StakeLib.sol";
import {Vm} from "../Vm.sol";

/// @title Proofs about stakes: for every state that the invariants allow, what each transition leaves, to the last field.
/// @dev For halmos (`make halmos`); forge does not run these. A reverting path proves nothing and is skipped; where a
/// transition must not revert, it is called from outside. That sums equal totals, and that no money is made or lost, follows
/// line by line: what one side gains, the other loses, in the same words.
contract StakesSymbolic {
    using StakeLib for StakeLib.State;

    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    // Not constants: the compiler would hash a constant key itself, and halmos would not know the same slot again.
    address private op = address(0x0B);
    address private finder = address(0xF1);
    bytes32 private lock = keccak256("lock");
    bytes32 private otherLock = keccak256("other lock");

    StakeLib.State private s;

    /// @dev One operator with two locks, a finder, and the totals of everybody.
    struct World {
        uint128 bonded;
        uint128 locked;
        uint128 unbonding;
        uint64 readyAt;
        uint32 openCases;
        uint128 held;
        uint128 otherHeld;
        uint128 finder;
        uint128 totalBonded;
        uint128 totalUnbonding;
        uint128 seized;
    }

    function _given(World memory x) private {
        vm.assume(uint256(x.held) + x.otherHeld <= x.locked && x.locked <= x.bonded);
        vm.assume(uint256(x.bonded) + x.finder <= x.totalBonded && x.unbonding <= x.totalUnbonding);
        // A token whose supply fits 128 bits.
        vm.assume(uint256(x.totalBonded) + x.totalUnbonding + x.seized <= type(uint128).max);
        s.accounts[op] = IStakeManager.Account(x.bonded, x.locked, x.unbonding, x.readyAt, x.openCases);
        s.accounts[finder].bonded = x.finder;
        s.locks[op][lock] = x.held;
        s.locks[op][otherLock] = x.otherHeld;
        (s.totalBonded, s.totalUnbonding, s.seized) = (x.totalBonded, x.totalUnbonding, x.seized);
    }

    function _is(World memory x) private view {
        IStakeManager.Account memory a = s.accounts[op];
        assert(a.bonded == x.bonded && a.locked == x.locked && a.locked <= a.bonded);
        assert(a.unbonding == x.unbonding && a.readyAt == x.readyAt && a.openCases == x.openCases);
        assert(s.locks[op][lock] == x.held && s.locks[op][otherLock] == x.otherHeld);
        IStakeManager.Account memory f = s.accounts[finder];
        assert(f.bonded == x.finder && f.locked == 0 && f.unbonding == 0 && f.readyAt == 0 && f.openCases == 0);
        assert(s.totalBonded == x.totalBonded && s.totalUnbonding == x.totalUnbonding && s.seized == x.seized);
    }

    function check_Stake(World memory x, uint128 amount) public {
        _given(x);
        s.stake(op, amount);
        assert(amount != 0);
        (x.bonded, x.totalBonded) = (x.bonded + amount, x.totalBonded + amount);
        _is(x);
    }

    function check_Unbond(World memory x, uint128 amount, uint64 readyAt) public {
        _given(x);
        s.requestUnbond(op, amount, readyAt);
        assert(amount != 0 && amount <= x.bonded - x.locked);
        (x.bonded, x.unbonding, x.readyAt) = (x.bonded - amount, x.unbonding + amount, readyAt);
        (x.totalBonded, x.totalUnbonding) = (x.totalBonded - amount, x.totalUnbonding + amount);
        _is(x);
    }

    function check_Rebond(World memory x) public {
        _given(x);
        uint128 amount = s.rebond(op);
        assert(amount == x.unbonding && amount != 0);
        (x.bonded, x.unbonding, x.readyAt) = (x.bonded + amount, 0, 0);
        (x.totalBonded, x.totalUnbonding) = (x.totalBonded + amount, x.totalUnbonding - amount);
        _is(x);
    }

    /// @dev Nothing leaves early, or while a case is open; and then all of the bucket, once.
    function check_Withdraw(World memory x) public {
        _given(x);
        uint128 amount = s.withdraw(op);
        assert(block.timestamp >= x.readyAt && x.openCases == 0 && amount == x.unbonding && amount != 0);
        (x.unbonding, x.readyAt, x.totalUnbonding) = (0, 0, x.totalUnbonding - amount);
        _is(x);
    }

    /// @dev The same stake cannot be locked twice.
    function check_Lock(World memory x, uint128 amount) public {
        _given(x);
        s.lock(op, lock, amount);
        assert(amount <= x.bonded - x.locked);
        (x.locked, x.held) = (x.locked + amount, x.held + amount);
        _is(x);
    }

    function check_Unlock(World memory x, uint128 amount) public {
        _given(x);
        s.unlock(op, lock, amount);
        assert(amount <= x.held);
        (x.locked, x.held) = (x.locked - amount, x.held - amount);
        _is(x);
    }

    function doUnlock(uint128 amount) external {
        s.unlock(op, lock, amount);
    }

    function check_WhatALockHoldsCanBeUnlocked(World memory x, uint128 amount) public {
        _given(x);
        vm.assume(amount <= x.held);
        (bool ok,) = address(this).call(abi.encodeCall(this.doUnlock, (amount)));
        assert(ok);
    }

    /// @dev The finder gets its share, rounded down, the treasury the rest; nobody else gains, and no other lock loses. For
    /// locks and amounts of 24 bits, here and below: a product and a quotient of symbolic numbers are beyond the solver at 128, and
    /// nothing about them depends on the size.
    function check_Slash(World memory x, uint24 held, uint24 amount, bool found) public {
        x.held = held;
        _given(x);
        (uint128 taken, uint128 fee) = s.slash(op, lock, amount, found ? finder : address(0), 1000);
        assert(taken == (amount < x.held ? amount : x.held));
        unchecked {
            assert(fee == (found ? uint256(taken) * 1000 / 10_000 : 0));
        }
        (x.bonded, x.locked, x.held) = (x.bonded - taken, x.locked - taken, x.held - taken);
        (x.finder, x.seized) = (x.finder + fee, x.seized + (taken - fee));
        x.totalBonded -= taken - fee;
        _is(x);
    }

    /// @dev The share of any finder's fee, for 12 bits: here the share is symbolic too.
    function check_TheFeeIsAtMostTheCap(World memory x, uint16 held, uint16 amount, uint16 share) public {
        vm.assume(share <= 2000 && held < 4096 && amount < 4096);
        x.held = held;
        _given(x);
        (uint256 taken, uint256 fee) = s.slash(op, lock, amount, finder, share);
        assert(fee * 10_000 <= taken * share && taken * share < (fee + 1) * 10_000);
    }

    function doSlash(uint256 amount, address to) external {
        s.slash(op, lock, amount, to, 1000);
    }

    function check_ASlashNeverFails(World memory x, uint24 held, uint24 amount, bool found) public {
        x.held = held;
        _given(x);
        (bool ok,) = address(this).call(abi.encodeCall(this.doSlash, (amount, found ? finder : address(0))));
        assert(ok);
    }

    function check_TheTreasuryTakesAllThatIsSeized(World memory x) public {
        _given(x);
        assert(s.takeSeized() == x.seized && x.seized != 0);
        x.seized = 0;
        _is(x);
    }
}

/// @title Proofs about budgets: what each transition leaves, and that a reserve lasts for its round.
contract BudgetsSymbolic {
    using BudgetLib for BudgetLib.State;

    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    BudgetLib.State private s;

    function _given(BudgetLib.State memory x) private {
        vm.assume(uint256(x.free) + x.reserved + x.refunded <= x.funded);
        s = x;
    }

    function _is(BudgetLib.State memory x) private view {
        assert(s.free == x.free && s.reserved == x.reserved && s.funded == x.funded && s.refunded == x.refunded);
    }

    function check_Fund(BudgetLib.State memory x, uint128 amount) public {
        _given(x);
        s.fund(amount);
        assert(amount != 0);
        (x.free, x.funded) = (x.free + amount, x.funded + amount);
        _is(x);
    }

    function check_Reserve(BudgetLib.State memory x, uint128 amount) public {
        _given(x);
        s.reserve(amount);
        assert(amount <= x.free);
        (x.free, x.reserved) = (x.free - amount, x.reserved + amount);
        _is(x);
    }

    function check_Release(BudgetLib.State memory x, uint128 amount) public {
        _given(x);
        s.release(amount);
        assert(amount <= x.reserved);
        (x.free, x.reserved) = (x.free + amount, x.reserved - amount);
        _is(x);
    }

    function check_Credit(BudgetLib.State memory x, uint128 amount) public {
        _given(x);
        s.credit(amount);
        assert(amount <= x.reserved);
        x.reserved -= amount;
        _is(x);
    }

    function check_Refund(BudgetLib.State memory x) public {
        _given(x);
        uint128 amount = s.refund();
        assert(amount == x.free && amount != 0);
        (x.free, x.refunded) = (0, x.refunded + amount);
        _is(x);
    }

    /// @dev What was credited is what is missing, so that the four parts are what was funded.
    function check_TheBudgetAddsUp(BudgetLib.State memory x) public {
        _given(x);
        IRewards.Budget memory b = s.budget();
        assert(b.funded == x.funded && b.reserved == x.reserved && b.refunded == x.refunded);
        assert(b.credited == x.funded - x.free - x.reserved - x.refunded);
    }

    function doReserveAndGiveBack(uint128 amount, uint128 credited) external {
        s.reserve(amount);
        s.credit(credited);
        s.release(amount - credited);
    }

    /// @dev What a round reserves can always be paid out or given back. For budgets of 32 bits: long chains of sums take the
    /// solver minutes at 128, and nothing about them depends on the size.
    function check_AReserveLastsForItsRound(BudgetLib.State memory x, uint128 amount, uint128 credited) public {
        _given(x);
        vm.assume(x.funded <= type(uint32).max && amount <= x.free && credited <= amount);
        (bool ok,) = address(this).call(abi.encodeCall(this.doReserveAndGiveBack, (amount, credited)));
        assert(ok);
    }
}
