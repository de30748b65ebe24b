// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title A token without value, for local chains and test networks.
/// @notice Anyone mints any amount for anybody. Production pools name a real ERC-20 (no fee on transfer, no rebasing).
contract TestToken is ERC20, ERC20Permit {
    constructor() ERC20("pi-protocol test token", "tPI") ERC20Permit("pi-protocol test token") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
