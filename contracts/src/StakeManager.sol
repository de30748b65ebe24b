// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IStakeManager} from "./interfaces/IStakeManager.sol";
import {StakeLib} from "./libraries/StakeLib.sol";

/// @title Custody of stakes.
/// @notice INVARIANT: the token balance is at least totalBonded + totalUnbonding + seized, and exactly that when nobody
/// donates. Calls nothing but the token.
contract StakeManager is IStakeManager {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;
    using StakeLib for StakeLib.State;

    /// A finder never gets more than this share of a slash, whatever a pool says (basis points).
    uint256 public constant MAX_FINDER_FEE = 2000;

    IERC20 public immutable token;
    address public immutable ledger;
    address public immutable court;
    address public immutable treasury;
    uint64 public immutable unbondingTime;

    StakeLib.State private _state;

    modifier onlyModule() {
        require(msg.sender == ledger || msg.sender == court, OnlyModule());
        _;
    }

    constructor(IERC20 token_, address ledger_, address court_, address treasury_, uint64 unbondingTime_) {
        token = token_;
        ledger = ledger_;
        court = court_;
        treasury = treasury_;
        unbondingTime = unbondingTime_;
    }

    /// @inheritdoc IStakeManager
    function stake(uint256 amount) external {
        _stake(amount);
    }

    /// @inheritdoc IStakeManager
    function stakeWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        // Anybody may have sent the permit first; what counts is the allowance that the transfer finds.
        try IERC20Permit(address(token)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        _stake(amount);
    }

    /// @inheritdoc IStakeManager
    function requestUnbond(uint256 amount) external {
        uint64 readyAt = uint64(block.timestamp) + unbondingTime;
        _state.requestUnbond(msg.sender, amount.toUint128(), readyAt);
        emit UnbondRequested(msg.sender, amount, readyAt);
    }

    /// @inheritdoc IStakeManager
    function rebond() external {
        uint256 amount = _state.rebond(msg.sender);
        emit Rebonded(msg.sender, amount);
    }

    /// @inheritdoc IStakeManager
    function withdraw() external {
        uint256 amount = _state.withdraw(msg.sender);
        emit Withdrawn(msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IStakeManager
    function payTreasury() external {
        uint256 amount = _state.takeSeized();
        emit TreasuryPaid(amount);
        token.safeTransfer(treasury, amount);
    }

    /// @inheritdoc IStakeManager
    function lock(address operator, bytes32 lockId, uint256 amount) external onlyModule {
        _state.lock(operator, lockId, amount.toUint128());
        emit Locked(operator, lockId, amount);
    }

    /// @inheritdoc IStakeManager
    function unlock(address operator, bytes32 lockId, uint256 amount) external onlyModule {
        _state.unlock(operator, lockId, amount.toUint128());
        emit Unlocked(operator, lockId, amount);
    }

    /// @inheritdoc IStakeManager
    function slash(address operator, bytes32 lockId, uint256 amount, address finder, uint256 finderFeeBps)
        external
        onlyModule
        returns (uint256 taken)
    {
        require(finderFeeBps <= MAX_FINDER_FEE, FinderFeeTooHigh());
        uint256 fee;
        (taken, fee) = _state.slash(operator, lockId, amount, finder, finderFeeBps);
        emit Slashed(operator, lockId, taken, finder, fee);
    }

    /// @inheritdoc IStakeManager
    function caseOpened(address operator) external onlyModule {
        _state.accounts[operator].openCases += 1;
    }

    /// @inheritdoc IStakeManager
    function caseClosed(address operator) external onlyModule {
        _state.accounts[operator].openCases -= 1;
    }

    /// @inheritdoc IStakeManager
    function account(address operator) external view returns (Account memory) {
        return _state.accounts[operator];
    }

    /// @inheritdoc IStakeManager
    function lockOf(address operator, bytes32 lockId) external view returns (uint256) {
        return _state.locks[operator][lockId];
    }

    /// @inheritdoc IStakeManager
    function seized() external view returns (uint256) {
        return _state.seized;
    }

    /// @inheritdoc IStakeManager
    function totalBonded() external view returns (uint256) {
        return _state.totalBonded;
    }

    /// @inheritdoc IStakeManager
    function totalUnbonding() external view returns (uint256) {
        return _state.totalUnbonding;
    }

    function _stake(uint256 amount) private {
        _state.stake(msg.sender, amount.toUint128());
        emit Staked(msg.sender, amount);
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        require(token.balanceOf(address(this)) == before + amount, InexactTransfer());
    }
}
