// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Court} from "../src/Court.sol";
import {FraudProofs} from "../src/FraudProofs.sol";
import {NodeRegistry} from "../src/NodeRegistry.sol";
import {Pools} from "../src/Pools.sol";
import {Rewards} from "../src/Rewards.sol";
import {RoundLedger} from "../src/RoundLedger.sol";
import {StakeManager} from "../src/StakeManager.sol";
import {TestToken} from "../src/TestToken.sol";

struct Deployment {
    TestToken token;
    NodeRegistry registry;
    StakeManager stakes;
    Rewards rewards;
    Pools pools;
    RoundLedger ledger;
    Court court;
    FraudProofs proofs;
}

/// @title The eight contracts in their order.
/// @notice They know each other through immutables, so five of the addresses are predicted from the deployer's nonce. The
/// Python client deploys in the same order.
abstract contract Deployer {
    error WrongAddress(string name);

    /// @param deployer the account that creates, at `nonce` now
    /// @param guardian may pause entry, and nothing else
    function _deploy(address deployer, uint256 nonce, address treasury, address guardian, uint64 unbondingTime)
        internal
        returns (Deployment memory d)
    {
        address rewards = _created(deployer, nonce + 3);
        address pools = _created(deployer, nonce + 4);
        address ledger = _created(deployer, nonce + 5);
        address court = _created(deployer, nonce + 6);
        address proofs = _created(deployer, nonce + 7);

        d.token = new TestToken();
        d.registry = new NodeRegistry();
        d.stakes = new StakeManager(d.token, ledger, court, treasury, unbondingTime);
        d.rewards = new Rewards(d.token, RoundLedger(ledger), court, treasury);
        d.pools = new Pools(d.registry, d.stakes, RoundLedger(ledger), guardian);
        d.ledger = new RoundLedger(d.stakes, d.rewards, pools, Court(court), proofs);
        d.court = new Court(d.stakes, d.rewards, d.pools, d.ledger);
        d.proofs = new FraudProofs(d.pools, d.ledger);

        require(address(d.rewards) == rewards, WrongAddress("Rewards"));
        require(address(d.pools) == pools, WrongAddress("Pools"));
        require(address(d.ledger) == ledger, WrongAddress("RoundLedger"));
        require(address(d.court) == court, WrongAddress("Court"));
        require(address(d.proofs) == proofs, WrongAddress("FraudProofs"));
    }

    /// @dev The address of a contract created at `nonce`: keccak of the RLP list of both. Nonces below 2^24.
    function _created(address deployer, uint256 nonce) internal pure returns (address) {
        bytes memory rlp;
        if (nonce == 0) rlp = abi.encodePacked(hex"d694", deployer, hex"80");
        else if (nonce < 0x80) rlp = abi.encodePacked(hex"d694", deployer, uint8(nonce));
        else if (nonce < 0x100) rlp = abi.encodePacked(hex"d794", deployer, hex"81", uint8(nonce));
        else if (nonce < 0x10000) rlp = abi.encodePacked(hex"d894", deployer, hex"82", uint16(nonce));
        else rlp = abi.encodePacked(hex"d994", deployer, hex"83", uint24(nonce));
        return address(uint160(uint256(keccak256(rlp))));
    }
}
