// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRewards} from "../interfaces/IRewards.sol";

/// @title Every transition of a pool's budget.
/// @notice INVARIANT: reserved + credited + refunded <= funded.
library BudgetLib {
    function free(IRewards.Budget storage self) internal view returns (uint256) {
        return uint256(self.funded) - self.reserved - self.credited - self.refunded;
    }

    function fund(IRewards.Budget storage self, uint128 amount) internal {
        require(amount != 0, IRewards.ZeroAmount());
        self.funded += amount;
    }

    function reserve(IRewards.Budget storage self, uint128 amount) internal {
        uint256 left = free(self);
        require(amount <= left, IRewards.BudgetTooSmall(left, amount));
        self.reserved += amount;
    }

    function release(IRewards.Budget storage self, uint128 amount) internal {
        _take(self, amount);
    }

    function credit(IRewards.Budget storage self, uint128 amount) internal {
        _take(self, amount);
        self.credited += amount;
    }

    function refund(IRewards.Budget storage self) internal returns (uint256 amount) {
        amount = free(self);
        require(amount != 0, IRewards.NothingToClaim());
        self.refunded += uint128(amount);
    }

    function _take(IRewards.Budget storage self, uint128 amount) private {
        uint128 reserved = self.reserved;
        require(amount <= reserved, IRewards.ReserveTooSmall(reserved, amount));
        self.reserved = reserved - amount;
    }
}
