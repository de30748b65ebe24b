// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IRewards} from "./interfaces/IRewards.sol";
import {IRoundLedger} from "./interfaces/IRoundLedger.sol";
import {BudgetLib} from "./libraries/BudgetLib.sol";

/// @title Custody of the pools' budgets and of earned pay.
/// @dev What a pool still owes is `reserved`; `credited` belongs to the accounts, claimed or not, for ever.
contract Rewards is IRewards {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;
    using BudgetLib for BudgetLib.State;

    /// @dev One word, so that a claim leaves something in it and the next credit finds it.
    struct Pay {
        uint128 unclaimed;
        uint128 claimed;
    }

    IERC20 public immutable token;
    IRoundLedger public immutable ledger;
    address public immutable court;
    address public immutable treasury;

    mapping(uint256 poolId => BudgetLib.State) private _budgets;
    mapping(address account => Pay) private _pay;

    modifier onlyModule() {
        require(msg.sender == address(ledger) || msg.sender == court, OnlyModule());
        _;
    }

    constructor(IERC20 token_, IRoundLedger ledger_, address court_, address treasury_) {
        token = token_;
        ledger = ledger_;
        court = court_;
        treasury = treasury_;
    }

    /// @inheritdoc IRewards
    function fund(uint256 poolId, uint256 amount) external {
        ledger.pool(poolId); // reverts for an unknown one
        _budgets[poolId].fund(amount.toUint128());
        emit PoolFunded(poolId, msg.sender, amount);
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        require(token.balanceOf(address(this)) == before + amount, InexactTransfer());
    }

    /// @inheritdoc IRewards
    function claim(address to) external returns (uint256 amount) {
        Pay storage pay = _pay[msg.sender];
        (uint128 unclaimed, uint128 claimed) = (pay.unclaimed, pay.claimed);
        require(unclaimed != 0, NothingToClaim());
        (pay.unclaimed, pay.claimed) = (0, claimed + unclaimed);
        amount = unclaimed;
        emit Claimed(msg.sender, to, amount);
        token.safeTransfer(to, amount);
    }

    /// @inheritdoc IRewards
    function refund(uint256 poolId) external returns (uint256 amount) {
        IRoundLedger.Pool memory pool = ledger.pool(poolId);
        require(msg.sender == pool.creator, OnlyPoolCreator());
        require(pool.ended, PoolNotEnded());
        amount = _budgets[poolId].refund();
        emit Refunded(poolId, msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IRewards
    function reserve(uint256 poolId, uint256 amount) external {
        require(msg.sender == address(ledger), OnlyModule());
        _budgets[poolId].reserve(amount.toUint128());
        emit Reserved(poolId, amount);
    }

    /// @inheritdoc IRewards
    function release(uint256 poolId, uint256 amount) external onlyModule {
        _budgets[poolId].release(amount.toUint128());
        emit Released(poolId, amount);
    }

    /// @inheritdoc IRewards
    function credit(uint256 poolId, address account, uint256 amount) external onlyModule {
        if (account == address(0)) account = treasury;
        uint128 earned_ = amount.toUint128();
        _budgets[poolId].credit(earned_);
        _pay[account].unclaimed += earned_;
        emit Credited(poolId, account, amount);
    }

    /// @inheritdoc IRewards
    function budget(uint256 poolId) external view returns (Budget memory) {
        return _budgets[poolId].budget();
    }

    /// @inheritdoc IRewards
    function free(uint256 poolId) external view returns (uint256) {
        return _budgets[poolId].free;
    }

    /// @inheritdoc IRewards
    function earned(address account) external view returns (uint256) {
        return _pay[account].unclaimed;
    }

    /// @inheritdoc IRewards
    function totalEarned(address account) external view returns (uint256) {
        Pay storage pay = _pay[account];
        return uint256(pay.unclaimed) + pay.claimed;
    }
}
