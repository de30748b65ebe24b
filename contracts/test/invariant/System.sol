// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Court} from "../../src/Court.sol";
import {FraudProofs} from "../../src/FraudProofs.sol";
import {NodeRegistry} from "../../src/NodeRegistry.sol";
import {Pools} from "../../src/Pools.sol";
import {Rewards} from "../../src/Rewards.sol";
import {RoundLedger} from "../../src/RoundLedger.sol";
import {StakeManager} from "../../src/StakeManager.sol";
import {TestToken} from "../../src/TestToken.sol";

/// @title The deployed contracts, as a test hands them to a handler.
interface System {
    function tokenOf() external view returns (TestToken);
    function registryOf() external view returns (NodeRegistry);
    function stakesOf() external view returns (StakeManager);
    function rewardsOf() external view returns (Rewards);
    function poolsOf() external view returns (Pools);
    function ledgerOf() external view returns (RoundLedger);
    function courtOf() external view returns (Court);
    function proofsOf() external view returns (FraudProofs);
}
