// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token that keeps one wei of every transfer.
contract FeeToken is ERC20 {
    constructor() ERC20("fee", "FEE") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (from != address(0) && to != address(0)) super._update(to, address(0), 1);
    }
}

/// @title A token that calls its receiver's hook, like ERC-777.
contract HookToken is ERC20 {
    constructor() ERC20("hook", "HOOK") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (from != address(0) && to.code.length != 0) {
            (bool ok,) = to.call(abi.encodeWithSignature("received()"));
            ok; // receivers without the hook are fine
        }
    }
}
