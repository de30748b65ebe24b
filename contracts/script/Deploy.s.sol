// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Deployer, Deployment} from "./Deployer.sol";

interface Vm {
    function startBroadcast() external;
    function stopBroadcast() external;
    function getNonce(address account) external view returns (uint64);
}

/// @title Deploys the protocol from the broadcasting account.
/// @notice forge script contracts/script/Deploy.s.sol --sig "run(address,address,uint64)" TREASURY GUARDIAN UNBONDING_SECONDS \
///   --broadcast
contract Deploy is Deployer {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    function run(address treasury, address guardian, uint64 unbondingTime)
        external
        returns (Deployment memory deployment)
    {
        vm.startBroadcast();
        deployment = _deploy(msg.sender, vm.getNonce(msg.sender), treasury, guardian, unbondingTime);
        vm.stopBroadcast();
    }
}
