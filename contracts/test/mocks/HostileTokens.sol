// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

import {TestToken} from "../../src/TestToken.sol";

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

/// @title A token that turns hostile and back: it keeps one wei of every transfer, or calls an attacker in the middle of it.
contract MoodyToken is TestToken {
    uint256 public fee;
    address public attacker;

    function setFee(uint256 fee_) external {
        fee = fee_;
    }

    function setAttacker(address attacker_) external {
        attacker = attacker_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (from == address(0) || to == address(0)) return;
        if (fee != 0) super._update(to, address(0), fee);
        if (attacker == address(0)) return;
        (bool ok, bytes memory reason) = attacker.call(abi.encodeWithSignature("onTransfer()"));
        require(ok, string(reason));
    }
}
