// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IStakeManager} from "../interfaces/IStakeManager.sol";

/// @title Every transition of a stake.
/// @dev `bonded` includes `locked`; `unbonding` is outside it. Amounts are token wei and fit 128 bits, since no account
/// can hold more than the token's supply.
library StakeLib {
    uint256 internal constant BPS = 10_000;

    struct State {
        mapping(address operator => IStakeManager.Account) accounts;
        mapping(address operator => mapping(bytes32 lockId => uint256)) locks;
        uint128 totalBonded;
        uint128 totalUnbonding;
        uint256 seized; // the treasury's share of all slashes, not paid out yet
    }

    function stake(State storage self, address operator, uint128 amount) internal {
        require(amount != 0, IStakeManager.ZeroAmount());
        self.accounts[operator].bonded += amount;
        self.totalBonded += amount;
    }

    function requestUnbond(State storage self, address operator, uint128 amount, uint64 readyAt) internal {
        require(amount != 0, IStakeManager.ZeroAmount());
        IStakeManager.Account storage account = self.accounts[operator];
        _requireFree(account, amount);
        account.bonded -= amount;
        account.unbonding += amount;
        account.readyAt = readyAt;
        self.totalBonded -= amount;
        self.totalUnbonding += amount;
    }

    function rebond(State storage self, address operator) internal returns (uint128 amount) {
        IStakeManager.Account storage account = self.accounts[operator];
        amount = _takeUnbonding(self, account);
        account.bonded += amount;
        self.totalBonded += amount;
    }

    function withdraw(State storage self, address operator) internal returns (uint128 amount) {
        IStakeManager.Account storage account = self.accounts[operator];
        (uint256 readyAt, uint256 openCases) = (account.readyAt, account.openCases);
        amount = _takeUnbonding(self, account);
        require(block.timestamp >= readyAt, IStakeManager.StillUnbonding(uint64(readyAt)));
        require(openCases == 0, IStakeManager.CaseOpen());
    }

    function lock(State storage self, address operator, bytes32 lockId, uint128 amount) internal {
        IStakeManager.Account storage account = self.accounts[operator];
        _requireFree(account, amount);
        account.locked += amount;
        self.locks[operator][lockId] += amount;
    }

    function unlock(State storage self, address operator, bytes32 lockId, uint128 amount) internal {
        uint256 held = self.locks[operator][lockId];
        require(amount <= held, IStakeManager.LockTooSmall(held, amount));
        self.accounts[operator].locked -= amount;
        self.locks[operator][lockId] = held - amount;
    }

    /// @dev Takes at most what the lock holds. The finder's fee rounds down, so the two parts never exceed `taken`.
    function slash(
        State storage self,
        address operator,
        bytes32 lockId,
        uint256 amount,
        address finder,
        uint256 finderFeeBps
    ) internal returns (uint128 taken, uint128 fee) {
        uint256 held = self.locks[operator][lockId];
        taken = uint128(amount < held ? amount : held);
        unchecked {
            // 128 bits times a share of at most MAX_FINDER_FEE.
            if (finder != address(0)) fee = uint128(taken * finderFeeBps / BPS);
        }

        // 1. The lock and its owner lose it.
        IStakeManager.Account storage account = self.accounts[operator];
        account.bonded -= taken;
        account.locked -= taken;
        self.locks[operator][lockId] = held - taken;

        // 2. The finder's share stays bonded, under the finder's name; the rest waits for the treasury.
        if (fee != 0) self.accounts[finder].bonded += fee;
        self.totalBonded -= taken - fee;
        self.seized += taken - fee;
    }

    function takeSeized(State storage self) internal returns (uint256 amount) {
        amount = self.seized;
        require(amount != 0, IStakeManager.ZeroAmount());
        self.seized = 0;
    }

    function _takeUnbonding(State storage self, IStakeManager.Account storage account)
        private
        returns (uint128 amount)
    {
        amount = account.unbonding;
        require(amount != 0, IStakeManager.NothingUnbonding());
        (account.unbonding, account.readyAt) = (0, 0);
        self.totalUnbonding -= amount;
    }

    function _requireFree(IStakeManager.Account storage account, uint128 amount) private view {
        uint256 free = account.bonded - account.locked;
        require(amount <= free, IStakeManager.InsufficientFreeStake(free, amount));
    }
}
